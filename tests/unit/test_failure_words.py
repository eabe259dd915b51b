"""What a definition says of failures, waiting and limits: read, checked, brought into one form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.domain.definition.check import check
from warrener.domain.definition.model import (
    Catch,
    JobDefinition,
    Limit,
    Rate,
    Timeout,
    UserActionRule,
    Wait,
)
from warrener.domain.definition.yaml_face import parse
from warrener.domain.errors import DefinitionError, Problem
from warrener.domain.plan import build_plan

ENDPOINTS = ("x.do", "x.undo")
HEAD = "job: words\nsteps:\n"
REST = "\n  other: {call: x.do}\n  last: {call: x.do, always: true}\n"
LINE = 3  # of the step x


def read(text: str) -> JobDefinition:
    """Return the definition in a file."""
    return parse(text, "words.yaml").definitions[0]


def step(text: str):
    """Return the step of this text."""
    return read(f"{HEAD}  x: {text}{REST}").steps["x"]


def problems(text: str) -> list[Problem]:
    """Return what is wrong with a file, wherever it is found."""
    try:
        source = parse(text, "words.yaml")
    except DefinitionError as error:
        return list(error.problems)
    return check(source.definitions[0], source.places[0], "words.yaml", ENDPOINTS)


def of_step(text: str) -> list[Problem]:
    return problems(f"{HEAD}  x: {text}{REST}")


# --- what is said ------------------------------------------------------------------------------


def test_a_wait_is_a_name_or_a_map():
    whole = step("{wait: {for: approval, form: {type: object}, expire: 3d}}")

    assert step("{wait: approval}").wait == Wait(signal="approval")
    assert whole.wait == Wait(signal="approval", form={"type": "object"}, expire=3 * 86400.0)


@pytest.mark.parametrize(
    ("text", "sleep"),
    [
        ("14d", 14 * 86400.0),
        ("90", 90.0),
        ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z"),
        ("'2026-03-01 09:00:00.50+01:00'", "2026-03-01T08:00:00.500000Z"),
        ('"${{params.wait}}"', "${{ params.wait }}"),
    ],
)
def test_a_sleep_is_a_duration_an_instant_or_an_expression(text, sleep):
    assert step(f"{{sleep: {text}}}").sleep == sleep
    assert of_step(f"{{sleep: {text}}}") == []


def test_one_duration_as_a_timeout_bounds_the_run():
    assert step("{call: x.do, timeout: 90s}").timeout == Timeout(run=90.0)
    assert step("{call: x.do, timeout: {run: 1.5m}}") == step("{call: x.do, timeout: 90}")


def test_the_four_timeouts_stand_side_by_side():
    bounds = step("{call: x.do, timeout: {queue: 10m, run: 60s, beat: 20s, total: 6h}}").timeout

    assert bounds == Timeout(queue=600.0, run=60.0, beat=20.0, total=21600.0)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20/min", Rate(20.0, 60.0)),
        ("5/s", Rate(5.0, 1.0)),
        ("5/sec", Rate(5.0, 1.0)),
        ("1.5/h", Rate(1.5, 3600.0)),
        ("2/hour", Rate(2.0, 3600.0)),
        ("3/day", Rate(3.0, 86400.0)),
        ("1/10s", Rate(1.0, 10.0)),
        (" 40 / 2m ", Rate(40.0, 120.0)),
    ],
)
def test_a_rate_is_a_count_in_a_time(text, rate):
    assert step(f"{{call: x.do, limits: [{{name: a, rate: {text}}}]}}").limits[0].rate == rate


def test_limits_have_a_key_slots_and_a_burst():
    text = (
        '{call: x.do, limits: [{name: a, key: "${{ params.a }}", slots: 4, rate: 1/s, burst: 5}]}'
    )

    assert step(text).limits == (
        Limit(name="a", key="${{ params.a }}", slots=4, rate=Rate(1.0, 1.0), burst=5),
    )


def test_the_rest_is_read_as_it_stands():
    found = step(
        "{call: x.do, compensate: x.undo, catch: [{on: a, go: other}, {go: other}],"
        " on_user_action: {expire: 14d, remind: 24h, then: skip}}"
    )

    assert found.compensate == "x.undo"
    assert found.catch == (Catch(on="a", go="other"), Catch(go="other"))
    assert found.on_user_action == UserActionRule(expire=1209600.0, remind=86400.0, then="skip")
    assert read(f"job: a\ndeadline: 6h\n{HEAD[11:]}  x: {{set: 1}}").deadline == 21600.0
    assert step("{call: x.do, always: true}").always


@pytest.mark.parametrize(
    "text",
    [
        "{call: x.do, for_each: [], limits: [{name: a, key: '${{ item[index] }}', slots: 1}]}",
        "{job: words, timeout: {total: 3h}, compensate: x.undo}",
        "{call: x.do, catch: [{go: other}], may_fail: true, for_each: [1]}",
        "{call: x.do, catch: [{go: h1}]}\n  h1: {set: '${{ steps.x.error }}', catch: [{go: h2}]}\n"
        "  h2: {set: '${{ steps.h1.error }}'}\n"
        "  r: {set: '${{ steps.x.result }}', after: [h1]}",
        "{call: x.do, always: true, after: [other, last], when: '${{ params.x }}', may_fail: true}",
        "{wait: a, always: true, needs: {other: {when: '${{ params.x }}'}}}",
        "{wait: {for: a, form: {}}, catch: [{on: wait-expired, go: other}], after: [y]}\n"
        "  y: {sleep: 0s}",
        "{call: x.do, timeout: 24h, on_user_action: {remind: 1s}, retry: never}",
    ],
)
def test_what_makes_sense_is_accepted(text):
    assert of_step(text) == []


# --- what is refused ---------------------------------------------------------------------------

READING = [
    ("{wait: 3}", "wait", "a whole number where a map is needed", "the name of a signal"),
    ("{wait: {form: {}}}", "wait", "for: is missing", "{for: NAME"),
    ("{wait: {for: a, form: [1]}}", "wait.form", "must be a map", ""),
    ("{wait: {for: a, until: 3d}}", "wait.until", "unknown key until", "known: expire"),
    ("{sleep: [1]}", "sleep", "must be a duration, an instant or an expression", "14d"),
    ("{sleep: -1}", "sleep", "no duration between 0 and 100 years", ""),
    ("{call: x.do, catch: {go: other}}", "catch", "must be a list", "{on: CODE, go: STEP}"),
    ("{call: x.do, catch: [other]}", "catch[0]", "where a map is needed", "{on: CODE, go: STEP}"),
    ("{call: x.do, catch: [{on: a}]}", "catch[0]", "go: is missing", "{on: CODE, go: STEP}"),
    ("{call: x.do, catch: [{}]}", "catch[0]", "go: is missing", ""),
    ("{call: x.do, catch: [{go: other, max: 3}]}", "catch[0].max", "unknown key", "known: go, on"),
    ("{call: x.do, always: 1}", "always", "must be true or false", ""),
    ("{call: x.do, compensate: [x.undo]}", "compensate", "must be text", ""),
    ("{call: x.do, timeout: [1]}", "timeout", "where a map is needed", "{queue: 10m, run: 60s"),
    ("{call: x.do, timeout: soon}", "timeout", "is not a duration", ""),
    ("{call: x.do, timeout: {runs: 3s}}", "timeout.runs", "unknown key runs", "did you mean run?"),
    ("{call: x.do, limits: a}", "limits", "must be a list", "{name: NAME, rate: 20/min}"),
    ("{call: x.do, limits: [{slots: 1}]}", "limits[0]", "name: is missing", "{name: NAME"),
    ("{call: x.do, limits: [{name: a, rate: 3}]}", "limits[0].rate", "must be text such as", ""),
    ("{call: x.do, limits: [{name: a, rate: 3/x}]}", "limits[0].rate", "after / stands", ""),
    ("{call: x.do, limits: [{name: a, rate: min}]}", "limits[0].rate", "is not a rate", ""),
    ("{call: x.do, limits: [{name: a, slots: 1.5}]}", "limits[0].slots", "a whole number", ""),
    ("{call: x.do, limits: [{name: a, key: 3}]}", "limits[0].key", "must be text", ""),
    ("{call: x.do, on_user_action: 3d}", "on_user_action", "where a map is needed", "expire: 14d"),
    (
        "{call: x.do, on_user_action: {then: cancel}}",
        "on_user_action.then",
        "is no choice",
        "retry or fail or skip",
    ),
    ("{call: x.do, finally: true}", "finally", "unknown key finally", "did you mean always?"),
    ("{call: x.do, undo: x.undo}", "undo", "unknown key undo", "did you mean compensate?"),
]

KINDS = [
    ("{}", "", "the step does nothing", "wait: a signal, sleep: a time"),
    ("{wait: a, sleep: 1s}", "", "the step has wait and sleep", "say only one of"),
    ("{call: x.do, wait: a}", "", "the step has call and wait", "say only one of"),
    ("{wait: a, with: {b: 1}}", "with", "with has no meaning on a wait: step", "is the result"),
    ("{sleep: 1s, with: {b: 1}}", "with", "no meaning on a sleep: step", "in sleep: itself"),
    ("{wait: a, for_each: [1]}", "for_each", "cannot stand on a wait: step", "in the sub-job"),
    ("{sleep: 1s, for_each: [1]}", "for_each", "cannot stand on a sleep: step", "in the sub-job"),
    ("{wait: a, retry: never}", "retry", "retry goes with call: only", "sub-job"),
    ("{sleep: 1s, queue: a}", "queue", "queue goes with call: only", ""),
    ("{wait: a, timeout: 3s}", "timeout", "goes with call: or job: only", "expire:"),
    ("{set: 1, compensate: x.undo}", "compensate", "goes with call: or job: only", "undone"),
    ("{job: a, limits: [{name: a, slots: 1}]}", "limits", "goes with call: only", "endpoints"),
    ("{job: a, on_user_action: {remind: 1h}}", "on_user_action", "goes with call: only", "expire"),
    ("{job: a, timeout: 3s}", "timeout.run", "timeout.run goes with call: only", "{total: ...}"),
    ("{job: a, timeout: {beat: 3s}}", "timeout.beat", "goes with call: only", "{total: ...}"),
    (
        "{job: a, for_each: [1], compensate: x.undo}",
        "compensate",
        "cannot stand on a fan-out",
        "on the steps of a sub-job",
    ),
]

BOUNDS = [
    ("{wait: {for: a b}}", "wait.for", "is not a name of a signal", "letters, digits"),
    ("{wait: ''}", "wait.for", "is not a name of a signal", "letters, digits"),
    ("{wait: {for: a, expire: 0s}}", "wait.expire", "from 10ms to 100 years", ""),
    ("{wait: {for: a, form: {type: 3}}}", "wait.form.type", "not a valid JSON Schema", ""),
    ("{wait: {for: a, form: {$ref: 'http://x'}}}", "wait.form.$ref", "$ref to", "nothing is"),
    ("{wait: {for: a, form: {pattern: '['}}}", "wait.form.pattern", "regular expression", ""),
    ("{wait: {for: a, form: {title: '${{ 1 }}'}}}", "wait.form.title", "no expressions", "stands"),
    ("{sleep: soon}", "sleep", "or an instant such as 2026-03-01T08:00:00Z", ""),
    ("{sleep: 2026-03-01T08:00:00}", "sleep", "has no time zone: add Z", "14d"),
    ("{sleep: 2026-13-01T08:00:00Z}", "sleep", "month must be in 1..12", "14d"),
    ("{sleep: 2026-03-01}", "sleep", "is not an instant", ""),
    ("{sleep: 200000d}", "sleep", "is no duration between", ""),
    ("{sleep: '${{ params.n }}d'}", "sleep", "one expression and no text around", "string("),
    ("{sleep: '${{ params. }}'}", "sleep", "syntax error", ""),
    ("{sleep: '${{ item }}'}", "sleep", "there is no item here", "for_each"),
    ("{sleep: '${{ steps.y.result }}'}", "sleep", "unknown step y", ""),
    ("{call: x.do, timeout: 0}", "timeout.run", "from 10ms to 1d", ""),
    ("{call: x.do, timeout: 25h}", "timeout.run", "from 10ms to 1d", ""),
    ("{call: x.do, timeout: {beat: 1ms}}", "timeout.beat", "from 10ms to 1d", ""),
    ("{call: x.do, timeout: {queue: 0}}", "timeout.queue", "from 10ms to 100 years", ""),
    ("{call: x.do, timeout: {total: 0}}", "timeout.total", "from 10ms to 100 years", ""),
    ("{call: x.do, on_user_action: {expire: 0}}", "on_user_action.expire", "from 10ms", ""),
    ("{call: x.do, on_user_action: {remind: 0}}", "on_user_action.remind", "from 1s to", ""),
    ("{call: x.do, on_user_action: {then: skip}}", "on_user_action.then", "there is none", "14d"),
    ("{call: x.do, limits: [{name: a}]}", "limits[0]", "bounds nothing", "rate: 20/min, slots: 4"),
    ("{call: x.do, limits: [{name: -, slots: 1}]}", "limits[0].name", "not a name of a limit", "l"),
    ("{call: x.do, limits: [{name: a, slots: 0}]}", "limits[0].slots", "from 1 to", ""),
    ("{call: x.do, limits: [{name: a, rate: 0/s}]}", "limits[0].rate", "above 0", "slots=0"),
    ("{call: x.do, limits: [{name: a, rate: 1/0s}]}", "limits[0].rate", "above 0", "20/min"),
    ("{call: x.do, limits: [{name: a, slots: 1, burst: 2}]}", "limits[0].burst", "with rate", "at"),
    ("{call: x.do, limits: [{name: a, rate: 1/s, burst: 0}]}", "limits[0].burst", "from 1 to", ""),
    (
        "{call: x.do, limits: [{name: a, slots: 1}, {name: a, rate: 1/s}]}",
        "limits[1]",
        "the limit a stands twice",
        "give it rate and slots",
    ),
    (f"{{call: x.do, limits: [{'{name: a, slots: 1},' * 21}]}}", "limits", "over the limit", ""),
    (
        "{call: x.do, limits: [{name: a, slots: 1, key: '${{ index }}'}]}",
        "limits[0].key",
        "there is no index here",
        "`limits.key` of a step with for_each",
    ),
    ("{call: x.do, compensate: 3-}", "compensate", "is not a name of an endpoint", "crm.load"),
    ("{call: x.do, compensate: x.undoo}", "compensate", "unknown endpoint", "did you mean x.undo?"),
]

GRAPH = [
    ("{call: x.do, catch: [{on: '', go: other}]}", "catch[0].on", "must be an error code", ""),
    (f"{{call: x.do, catch: [{'{go: other},' * 51}]}}", "catch", "over the limit of 50", ""),
    ("{call: x.do, catch: [{go: othr}]}", "catch[0].go", "unknown step othr", "mean other?"),
    ("{call: x.do, catch: [{go: x}]}", "catch[0].go", "answers for itself", "retry:"),
    ("{call: x.do, catch: [{go: last}]}", "catch[0].go", "last runs always", "runs anyway"),
    (
        "{call: x.do, catch: [{go: h}]}\n  h: {set: '${{ steps.r.result }}'}\n"
        "  r: {set: '${{ steps.x.result }}'}",
        "catch[0].go",
        "steps wait for each other: h -> r -> x -> h",
        "h answers for x: it follows x, and what reads x waits for h",
    ),
    (
        "{call: x.do, catch: [{go: h}], after: [h]}\n  h: {set: 1}",
        "catch[0].go",
        "steps wait for each other: h -> x -> h",
        "h answers for x",
    ),
    (
        "{call: x.do, catch: [{on: a, go: other}, {go: h}]}\n  h: {set: 1, catch: [{go: x}]}",
        "catch[1].go",
        "steps wait for each other: h -> x -> h",
        "answers for",
    ),
    (
        "{set: 1, needs: {y: {when: '${{ params.x }}'}}}\n  y: {call: x.do, catch: [{go: x}]}",
        "needs.y",
        "x answers for y: whether it waits for y has no condition",
        "when: on x itself",
    ),
    ("{call: x.do, after: [last]}", "after", "last runs always", "say always: true on x, too"),
    ("{set: '${{ steps.last.status }}'}", "set", "last runs always", "always: true"),
    (
        "{call: x.do, needs: {last: {when: '${{ true }}'}}}",
        "needs.last",
        "last runs always",
        "always: true",
    ),
    (
        "{call: x.do, always: true, join: all_done}",
        "join",
        "join: all_done on a step",
        "leave join",
    ),
    ("{call: x.do, always: true, cancel_rest: true}", "cancel_rest", "no rest to cancel", ""),
    (
        "{call: x.do, always: true, catch: [{go: other}]}",
        "catch",
        "catch on a step that runs always",
        "may_fail: true",
    ),
    (
        "{call: x.do, always: true, compensate: x.undo}",
        "compensate",
        "begins when all was undone already",
        "another always step",
    ),
    (
        "{set: 1, join: any_failed, after: [y]}\n  y: {call: x.do, catch: [{go: x}]}",
        "join",
        "depends on no other than those it answers for",
        "name its dependencies",
    ),
]


@pytest.mark.parametrize(("text", "path", "words", "hint"), [*READING, *KINDS, *BOUNDS, *GRAPH])
def test_what_makes_no_sense_is_refused_at_its_place_with_a_hint(text, path, words, hint):
    found = of_step(text)

    place = f"steps.x.{path}".rstrip(".")
    fitting = [problem for problem in found if problem.path == place and words in problem.message]
    assert fitting, found
    assert hint in fitting[0].hint
    assert fitting[0].file == "words.yaml"
    assert fitting[0].line == LINE


def test_a_handler_of_a_handler_does_not_read_the_first_step_which_waits_for_it():
    found = of_step(
        "{call: x.do, catch: [{go: g}]}\n  g: {set: 1, catch: [{go: h}]}\n"
        "  h: {set: '${{ steps.x.error }}'}"
    )

    assert [problem.message for problem in found] == ["steps wait for each other: g -> h -> x -> g"]


def test_a_reader_waits_for_handlers_of_handlers_too():
    found = of_step(
        "{call: x.do, catch: [{go: g}]}\n  g: {set: 1, catch: [{go: h}]}\n"
        "  h: {set: 1, after: [r]}\n  r: {set: '${{ steps.x.status }}'}"
    )

    (problem,) = found
    assert problem.message == "steps wait for each other: g -> h -> r -> x -> g"
    assert problem.path in ("steps.x.catch[0].go", "steps.g.catch[0].go")


@pytest.mark.parametrize(
    ("deadline", "words"),
    [("0s", "from 10ms to 100 years"), ("soon", "not a duration"), ("[1]", "must be a duration")],
)
def test_a_deadline_is_a_duration_above_zero(deadline, words):
    (problem,) = problems(f"job: a\ndeadline: {deadline}\nsteps:\n  x: {{set: 1}}\n")

    assert (problem.path, problem.line) == ("deadline", 2)
    assert words in problem.message


def test_the_places_of_parts_over_several_lines_are_their_own():
    text = f"{HEAD}  x:\n    call: x.do\n    limits:\n      - name: a\n        slots: 0\n"

    (problem,) = problems(text)

    assert (problem.path, problem.line) == ("steps.x.limits[0].slots", 7)


def test_a_wait_is_for_one_thing_at_a_time_and_all_faults_are_told_at_once():
    found = of_step("{wait: {for: '', expire: 0s, form: {type: 3}}, timeout: 1s, with: {a: 1}}")

    assert {problem.path.removeprefix("steps.x.") for problem in found} == {
        "wait.for", "wait.expire", "wait.form.type", "timeout", "with"
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "{call: x.do, limits: [{name: b, slots: 1}, {name: a, slots: 1,"
        " key: '${{ steps.y.result }}'}]}",
        "{sleep: '${{ steps.y.result.until }}'}",
    ],
)
def test_keys_of_limits_and_sleeps_make_dependencies(text):
    definition = read(f"{HEAD}  x: {text}\n  y: {{call: x.do}}\n")

    (edge,) = build_plan(definition).steps["x"].edges
    assert edge.dependency == "y"


WORDS = (
    *("call", "job", "wait", "sleep", "set", "with", "for_each", "always", "retry", "timeout"),
    *("limits", "catch", "compensate", "on_user_action", "when", "join", "after"),
)
PARTS = (
    *("for", "form", "expire", "remind", "then", "on", "go", "name", "key", "slots", "rate"),
    *("burst", "queue", "run", "beat", "total", "type", "$ref", "pattern"),
)
TEXTS = (
    "",
    "x",
    "y",
    "3s",
    "2026-01-01T00:00:00Z",
    "5/min",
    "${{ item }}",
    "${{ steps.y.result }}",
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(TEXTS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PARTS), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=5), VALUES)
def test_whatever_stands_in_a_file_is_accepted_or_told_of(x, deadline):
    steps = {"x": x, "y": {"set": 1, "catch": [{"go": "x"}]}}

    found = problems(json.dumps({"job": "a", "deadline": deadline, "steps": steps}))

    assert all(problem.message and problem.file == "words.yaml" for problem in found)


# --- one form ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{call: x.do, timeout: {}}", "{call: x.do}"),
        ("{call: x.do, timeout: 60}", "{call: x.do, timeout: {run: 1m}}"),
        ("{call: x.do, on_user_action: {}}", "{call: x.do}"),
        ("{call: x.do, on_user_action: {then: fail, remind: 60m}}", "{call: x.do, on_user_action: {remind: 1h}}"),  # noqa: E501
        ("{call: x.do, limits: []}", "{call: x.do}"),
        ("{call: x.do, catch: []}", "{call: x.do}"),
        ("{call: x.do, always: false}", "{call: x.do}"),
        ("{call: x.do, catch: [{on: '*', go: other}]}", "{call: x.do, catch: [{go: other}]}"),
        ("{call: x.do, limits: [{name: a, rate: 60/m, burst: 1}]}", "{call: x.do, limits: [{name: a, rate: 60/60s}]}"),  # noqa: E501
        ("{call: x.do, limits: [{name: a, key: '${{params.a}}', slots: 1}]}", "{call: x.do, limits: [{name: a, key: '${{  params.a }}', slots: 1}]}"),  # noqa: E501
        ("{wait: a}", "{wait: {for: a}}"),
        ("{sleep: 1h}", "{sleep: 3600}"),
        ("{sleep: 2026-03-01T08:00:00Z}", "{sleep: 2026-03-01T10:00:00+02:00}"),
    ],
)  # fmt: skip
def test_what_means_the_same_has_one_hash(one, other):
    first, second = (read(f"{HEAD}  x: {text}{REST}") for text in (one, other))

    assert first.to_json() == second.to_json()


def test_a_form_that_takes_anything_is_not_no_form():
    assert step("{wait: {for: a, form: {}}}") != step("{wait: a}")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("social-report", "c973ee39ba38f927dde6b3f69b669522e1d655dc0bd608b694dc6cb824653b40"),
        ("census", "278370f11a6f543ed23eba4e2a69e298da81335f3ece90c7e43ff313a1833f46"),
        ("hello", "b8cbda950fb929c10f7cacc946a811f41af553cf44727d6e5f158388920dd7db"),
    ],
)
def test_definitions_without_these_words_keep_the_hash_that_they_had_before(name, digest):
    from warrener.services.sources import load

    assert load(f"ops/examples/{name}.yaml").source.main.hash == digest


def test_what_is_written_down_comes_back_the_same():
    import msgspec

    for text in (
        "{call: x.do, compensate: x.undo, timeout: 1s, catch: [{go: other}],"
        " limits: [{name: a, rate: 20/min, key: k}], on_user_action: {expire: 1d, then: skip}}",
        "{wait: {for: a, form: {}, expire: 1d}}",
        "{sleep: 90s}",
        "{sleep: 2026-03-01T08:00:00Z}",
    ):
        definition = read(f"{HEAD}  x: {text}{REST}")

        assert msgspec.json.decode(definition.to_json(), type=JobDefinition) == definition
