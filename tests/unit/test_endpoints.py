"""What becomes of one call of an endpoint."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.endpoints_orders import JOB, SteppingClock, order, result_of

from warrener import (
    DefinitionError,
    PermanentError,
    Retry,
    RetryLater,
    UserActionRequired,
    current_step,
    endpoint,
)
from warrener.domain.definition.model import RetryRule
from warrener.domain.errors import UsageError
from warrener.domain.events import ERROR_CHARACTERS_MAX, TRACEBACK_CHARACTERS_MAX
from warrener.domain.payloads import PAYLOAD_BYTES_MAX
from warrener.domain.retry import WAIT_SECONDS_MAX
from warrener.services.endpoints import Registry
from warrener.services.perform import (
    bounded_seconds,
    perform,
)


@dataclass
class Post:
    title: str
    when: date
    likes: int = 0


def run(function, _raw=None, **args):
    """Make the function an endpoint and perform one order of it."""
    registry = Registry()
    endpoint("an.endpoint", registry=registry)(function)
    return perform(order("an.endpoint", _raw=_raw, **args), "worker-1", SteppingClock(), registry)


def raising(error):
    def function():
        raise error

    return run(function)


def test_arguments_are_converted_and_the_result_is_written_as_json():
    def publish(post: Post, to: Path, times: float = 1) -> list[Post]:
        assert isinstance(post, Post)
        assert isinstance(to, Path)
        return [Post(post.title.upper(), post.when, likes=int(times))]

    report = run(publish, post={"title": "hello", "when": "2030-05-01"}, to="/tmp")

    assert report.outcome == "succeeded"
    assert result_of(report) == [{"title": "HELLO", "when": "2030-05-01", "likes": 1}]


def test_a_report_names_the_attempt_and_its_times():
    report = run(lambda: None)

    asked = order("an.endpoint")
    assert (report.job, report.step) == (asked.job, asked.step)
    assert (report.attempt, report.token, report.worker) == (2, "secret-token", "worker-1")
    assert report.started_at == datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert report.ended_at - report.started_at == timedelta(seconds=1)


def test_an_async_endpoint_is_awaited_and_knows_its_step():
    async def later(number: int) -> str:
        import asyncio

        await asyncio.sleep(0)
        return f"{current_step().path} {number}"

    assert result_of(run(later, number=3)) == "some 3"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "missing argument `post`"),
        ({"post": {"title": "a", "when": "2030-05-01"}, "pots": 1}, "unknown argument `pots`"),
        ({"post": {"title": 3, "when": "2030-05-01"}}, "argument `post.title`"),
        ({"post": {"title": "a"}}, "argument `post`"),
        ({"post": {"title": "a", "when": "2030-05-01"}, "n": "3"}, "argument `n`"),
        ({"post": {"title": "a", "when": "2030-05-01"}, "to": 3}, "argument `to`"),
    ],
)
def test_arguments_that_do_not_fit_are_a_permanent_error_that_names_the_field(args, words):
    def publish(post: Post, n: int = 1, to: Path = Path()) -> None:
        raise AssertionError("must not run")

    report = run(publish, **args)

    assert (report.outcome, report.error.code) == ("permanent", "bad-input")
    assert words in report.error.message


@pytest.mark.parametrize(
    "raw", [b"[1]", b"3", b'{"a": NaN}', b'{"a": ', b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}"]
)
def test_arguments_that_are_no_json_object_are_refused(raw):
    report = run(lambda a=None: None, _raw=raw)

    assert (report.outcome, report.error.code) == ("permanent", "bad-input")


def test_defaults_stand_in_for_arguments_left_out():
    marker = ["shared"]

    def endpoint_function(a, /, b=marker, *, c: int = 3, **rest: int):
        assert b is marker
        return [a, c, rest]

    assert result_of(run(endpoint_function, a=1, x=5)) == [1, 3, {"x": 5}]
    assert "x" in run(endpoint_function, a=1, x="five").error.message


def text_for_a_number() -> int:
    return "three"


def wrong_item() -> list[Post]:
    return [{"title": "a", "when": "soon"}]


def nothing_for_a_number() -> int:
    return None


def something_for_nothing() -> None:
    return 3


def not_a_number():
    return {"share": math.nan}


def no_json():
    return object()


def too_deep():
    value = []
    for _ in range(200):
        value = [value]
    return value


def without_end():
    value = []
    value.append(value)
    return value


def too_large_a_number():
    return 2**70


def half_a_letter():
    return "\ud800"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (text_for_a_number, "Expected `int`, got `str`"),
        (wrong_item, "result `[0].when`"),
        (nothing_for_a_number, "Expected `int`, got `null`"),
        (something_for_nothing, "Expected `null`"),
        (not_a_number, "float"),
        (no_json, "`object` cannot be written as JSON"),
        (too_deep, "nested"),
        (without_end, "nested"),
        (too_large_a_number, "result"),
        (half_a_letter, "result"),
    ],
)
def test_a_result_that_does_not_fit_is_a_permanent_error(function, words):
    report = run(function)

    assert (report.outcome, report.error.code) == ("permanent", "bad-result")
    assert words in report.error.message


def test_a_result_over_the_cap_is_a_permanent_error_of_its_own():
    report = run(lambda: "x" * PAYLOAD_BYTES_MAX)

    assert (report.outcome, report.error.code) == ("permanent", "payload-too-large")
    assert str(PAYLOAD_BYTES_MAX) in report.error.message


def test_retry_later_carries_its_code_and_its_seconds():
    report = raising(RetryLater(after=30, code="throttled"))

    assert (report.outcome, report.error.code) == ("retry_later", "throttled")
    assert report.retry_after == 30.0


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        (-5, 0.0),
        (math.inf, WAIT_SECONDS_MAX),
        (1e300, WAIT_SECONDS_MAX),
        (math.nan, None),
        ("soon", None),
        (timedelta(minutes=1), 60.0),
    ],
)
def test_seconds_asked_for_are_kept_within_bounds(after, seconds):
    assert bounded_seconds(after) == seconds


def test_a_permanent_error_keeps_its_code():
    report = raising(PermanentError("gone", "it is gone"))

    assert (report.outcome, report.error.code) == ("permanent", "gone")
    assert report.error.message == "it is gone"


def test_a_required_user_action_is_an_outcome_of_its_own():
    report = raising(UserActionRequired("reconnect", message="Reconnect your page"))

    assert (report.outcome, report.error.code) == ("user_action", "user-action")
    assert report.error.message == "Reconnect your page"


@pytest.mark.parametrize("error", [ValueError("no such thing"), SystemExit("no such thing")])
def test_any_other_exception_is_a_failure_with_class_and_traceback(error):
    report = raising(error)

    assert (report.outcome, report.error.code) == ("failed", "error")
    assert (report.error.type, report.error.message) == (type(error).__name__, "no such thing")
    assert f'{Path(__file__).name}", line' in report.error.traceback
    assert "perform.py" not in report.error.traceback


def test_an_interrupt_from_the_keyboard_goes_through():
    with pytest.raises(KeyboardInterrupt):
        raising(KeyboardInterrupt())


def test_messages_and_tracebacks_are_bounded_and_keep_the_innermost_part():
    report = raising(ValueError("x" * 100_000 + "the end"))

    assert len(report.error.message) == ERROR_CHARACTERS_MAX
    assert len(report.error.traceback) <= TRACEBACK_CHARACTERS_MAX + 10
    assert report.error.traceback.rstrip().endswith("the end")


def test_an_exception_that_cannot_be_shown_is_still_reported():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    report = raising(Odd())

    assert (report.outcome, report.error.type) == ("failed", "Odd")


def test_text_that_json_cannot_carry_does_not_lose_the_report():
    report = raising(PermanentError("c\ud800", "m\udfff"))

    assert msgspec.json.decode(msgspec.json.encode(report))["error"]["message"] == "m\\udfff"


def test_an_unknown_endpoint_is_a_failure_that_names_the_nearest():
    registry = Registry()
    endpoint("facebook.posts", registry=registry)(lambda: None)

    report = perform(order("facebok.posts"), "worker-1", SteppingClock(), registry)

    assert (report.outcome, report.error.code) == ("failed", "unknown-endpoint")
    assert "did you mean facebook.posts?" in report.error.message


def test_the_current_step_is_known_inside_and_refused_outside():
    seen = []
    report = run(lambda: seen.append(current_step()))

    (step,) = seen
    assert report.outcome == "succeeded"
    assert (step.job, step.root, step.path, step.attempt) == (JOB, JOB, "some", 2)
    assert (step.token, step.labels) == ("secret-token", {"team": "red"})
    with pytest.raises(UsageError, match="outside a step"):
        current_step()


def test_a_second_function_of_the_same_name_is_refused_with_both_places():
    registry = Registry()
    endpoint("same.name", registry=registry)(run)

    with pytest.raises(DefinitionError, match="defined twice") as caught:
        endpoint("same.name", registry=registry)(raising)

    assert f"run at {__file__}" in str(caught.value)
    assert registry.get("same.name").function is run


def test_the_same_function_loaded_again_takes_the_place_of_the_first():
    registry = Registry()

    def make():
        return endpoint("same.name", registry=registry)(lambda: None)

    make()
    again = make()

    assert registry.get("same.name") is again


@pytest.mark.parametrize("name", ["", "a b", "3", None, "a" * 300])
def test_a_bad_name_of_an_endpoint_is_refused(name):
    with pytest.raises(DefinitionError, match="not a name of an endpoint"):
        endpoint(name)


def test_what_cannot_be_called_by_name_is_refused():
    def positional(*items): ...

    with pytest.raises(DefinitionError, match=r"\*items"):
        endpoint("a.b", registry=Registry())(positional)
    with pytest.raises(DefinitionError, match="is a function, not type"):
        endpoint("a.b", registry=Registry())(Path)


def test_durations_of_retry_lines_are_seconds_in_the_rule():
    line = Retry(max=4, first="1m30s", cap="1h")

    assert line.rule() == RetryRule(max=4, first=90.0, cap=3600.0)


@pytest.mark.parametrize("line", [Retry(first="soon"), Retry(max="4"), Retry(wait="never"), "2s"])
def test_a_retry_line_that_makes_no_sense_is_refused(line):
    with pytest.raises(DefinitionError, match="retry"):
        endpoint("a.b", retry=[line], registry=Registry())


def test_annotations_that_cannot_be_read_are_told_by_name():
    def function(x: Unknown): ...  # noqa: F821

    made = endpoint("a.b", registry=Registry())(function)

    with pytest.raises(UsageError, match=r"endpoint a\.b: .*Unknown"):
        _ = made.plan


def test_performing_a_small_order_leaves_no_reference_to_it():
    held = order("an.endpoint")
    registry = Registry()
    endpoint("an.endpoint", registry=registry)(lambda: None)
    before = sys.getrefcount(held)

    perform(held, "worker-1", SteppingClock(), registry)

    assert sys.getrefcount(held) == before
