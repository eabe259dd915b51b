"""What Python says of failures, waiting and limits is what a person writes in YAML."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from warrener import (
    DefinitionError,
    Limit,
    Retry,
    Timeout,
    UserActionRule,
    compute,
    each,
    endpoint,
    job,
    sleep,
    wait_for,
)
from warrener.domain.definition.yaml_face import parse
from warrener.services.endpoints import Registry

REGISTRY = Registry()


@endpoint("crm.release", registry=REGISTRY)
def release(input, result): ...


@endpoint(
    "crm.load",
    timeout=Timeout(queue="10m", run="60s", beat="20s", total="6h"),
    retry=[Retry(on="throttled", wait="retry-after"), Retry(max=4, first="2s")],
    limits=[
        Limit("crm", rate="20/min", burst=5),
        Limit("per-account", key="account", slots=4),
        Limit("per-page", key="page", slots=1),
        Limit("per-root", key="${{ job.root }}", rate="1/10s"),
    ],
    on_user_action=UserActionRule(expire="14d", remind="24h", then="retry"),
    compensate=release,
    registry=REGISTRY,
)
def load(account, page="first", size=10): ...


@endpoint("a.call", timeout="30s", compensate="crm.release", registry=REGISTRY)
def call(value=None, other=None): ...


@job("leaf")
def leaf(value): ...


def python(function, **settings):
    return job("words", **settings)(function).definition


def yaml(text: str):
    return parse(f"job: words\n{text}").definitions[0]


LOADED = """
    call: crm.load
    timeout: {queue: 10m, run: 60s, beat: 20s, total: 6h}
    retry: [{on: throttled, wait: retry-after}, {max: 4, first: 2s}]
    on_user_action: {expire: 14d, remind: 24h, then: retry}
    compensate: crm.release
"""


def settings_of_the_endpoint(account):
    load(account, "second")


def defaults_as_keys(account):
    load(account.name)


def numbers_as_keys():
    load(7)


def keys_of_items(names):
    each(names, lambda name: load(name, page="p").compensate("x.undo")).named("load")


def methods(account):
    first = call(account)
    handler = call(first.error.code).named("handler")
    first.catch("declined", go=handler).catch(go=call().named("rest"))
    first.compensate(release).timeout(Timeout(run="5m", total=3600)).retry()
    first.limits(Limit("a", key="value", slots=1), Limit("b", key=account.id, rate="3/day"))
    first.on_user_action(UserActionRule(remind=3600))
    leaf(first).timeout(Timeout(total="1d")).compensate("x.undo")
    call(handler).always().named("tidy")


METHODS = """
params: {type: object, required: [account], properties: {account: {}}}
steps:
  call:
    call: a.call
    with: {value: "${{ params.account }}"}
    catch: [{on: declined, go: handler}, {on: "*", go: rest}]
    compensate: crm.release
    timeout: {run: 5m, total: 1h}
    retry: never
    limits:
      - {name: a, key: "${{ params.account }}", slots: 1}
      - {name: b, key: "${{ params.account.id }}", rate: 3/day}
    on_user_action: {remind: 1h}
  handler:
    call: a.call
    with: {value: "${{ steps.call.error.code }}"}
    timeout: 30s
    compensate: crm.release
  rest: {call: a.call, timeout: 30s, compensate: crm.release}
  leaf:
    job: leaf
    with: {value: "${{ steps.call.result }}"}
    timeout: {total: 24h}
    compensate: x.undo
  tidy:
    call: a.call
    with: {value: "${{ steps.handler.result }}"}
    always: true
    timeout: 30s
    compensate: crm.release
"""


def waiting(account, until):
    answer = wait_for("approval", form={"type": "object"}, expire="3d").after(call(account))
    wait_for("Go.Ahead").named("second")
    sleep("14d").after(answer)
    sleep(90)
    sleep(timedelta(hours=2))
    sleep(datetime(2026, 3, 1, 9, tzinfo=UTC))
    sleep("2026-03-01T10:00:00+01:00")
    sleep(until.at)
    return compute(answer.approved).named("approved")


WAITING = """
params: {type: object, required: [account, until], properties: {account: {}, until: {}}}
steps:
  call:
    call: a.call
    with: {value: "${{ params.account }}"}
    timeout: 30s
    compensate: crm.release
  approval: {wait: {for: approval, form: {type: object}, expire: 72h}, after: [call]}
  second: {wait: Go.Ahead}
  sleep: {sleep: 336h, after: [approval]}
  sleep_2: {sleep: 90s}
  sleep_3: {sleep: 120m}
  sleep_4: {sleep: 2026-03-01T09:00:00Z}
  sleep_5: {sleep: 2026-03-01T09:00:00Z}
  sleep_6: {sleep: "${{ params.until.at }}"}
  approved: {set: "${{ steps.approval.result.approved }}"}
result: "${{ steps.approved.result }}"
"""


def limits(account: str, page: str) -> str:
    return f"""    limits:
      - {{name: crm, rate: 20/min, burst: 5}}
      - {{name: per-account, key: "{account}", slots: 4}}
      - {{name: per-page, key: "{page}", slots: 1}}
      - {{name: per-root, key: "${{{{ job.root }}}}", rate: 1/10s}}
"""


def params(name: str) -> str:
    return f"params: {{type: object, required: [{name}], properties: {{{name}: {{}}}}}}\nsteps:\n"


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (
            settings_of_the_endpoint,
            params("account")
            + f"  load:{LOADED}{limits('${{ params.account }}', 'second')}"
            + '    with: {account: "${{ params.account }}", page: second}\n',
        ),
        (
            defaults_as_keys,
            params("account")
            + f"  load:{LOADED}{limits('${{ params.account.name }}', 'first')}"
            + '    with: {account: "${{ params.account.name }}"}\n',
        ),
        (
            numbers_as_keys,
            f"steps:\n  load:{LOADED}{limits('${{ 7 }}', 'first')}    with: {{account: 7}}\n",
        ),
        (
            keys_of_items,
            params("names")
            + f"  load:{LOADED.replace('crm.release', 'x.undo')}{limits('${{ item }}', 'p')}"
            + '    with: {account: "${{ item }}", page: p}\n    for_each: "${{ params.names }}"\n',
        ),
        (methods, METHODS),
        (waiting, WAITING),
    ],
)
def test_both_faces_give_one_definition(function, text):
    assert python(function).to_json() == yaml(text).to_json()


def test_a_deadline_is_text_or_seconds():
    def traced():
        call()

    assert python(traced, deadline="6h").deadline == 21600.0
    assert python(traced, deadline=90).deadline == 90.0
    assert python(traced).deadline is None


def test_the_methods_of_one_call_leave_the_next_as_the_endpoint_says():
    def traced():
        call().timeout("1s").compensate("x.other").limits(Limit("a", slots=1))
        call()

    first, second = python(traced).steps.values()

    assert (first.timeout.run, first.compensate, len(first.limits)) == (1.0, "x.other", 1)
    assert (second.timeout.run, second.compensate, second.limits) == (30.0, "crm.release", ())


def test_text_that_looks_like_an_expression_is_no_key_of_a_limit_by_chance():
    def traced():
        load("${{ params.secret }}")

    key = python(traced).steps["load"].limits[1].key

    assert key.count("${{") == 1
    assert "params" in key
    assert "u007b" in key  # quoted


def test_a_key_may_read_a_step_that_is_named_later():
    def traced():
        first = leaf(1)
        call().limits(Limit("a", key=first.account, slots=1))
        first.named("account")

    assert python(traced).steps["call"].limits[0].key == "${{ steps.account.result.account }}"


def test_arguments_by_name_may_be_keys():
    @endpoint("open.call", limits=[Limit("a", key="who", slots=1)], registry=Registry())
    def open_call(**names): ...

    def traced(name):
        open_call(who=name)

    assert python(traced).steps["open_call"].limits[0].key == "${{ params.name }}"


def self_made(handle):
    call().timeout(handle)


def no_timeout(x):
    call().timeout("soon")


def no_retry(x):
    call().retry("never")


def no_limit(x):
    call().limits("crm")


def no_rate(x):
    call().limits(Limit("crm", rate="much"))


def no_key(x):
    call(x).limits(Limit("crm", key="account", slots=1))


def large_key(x):
    load([x])


def catch_by_name(x):
    call().catch("declined", go="handler")


def compensate_by_a_job(x):
    call().compensate(leaf)


def no_rule(x):
    call().on_user_action("14d")


def odd_rule(x):
    call().on_user_action(UserActionRule(then="cancel"))


def nameless_wait(x):
    wait_for(x)


def form_of_a_type(x):
    wait_for("a", form=str)


def handle_in_a_form(x):
    wait_for("a", form={"title": x})


def no_expiry(x):
    wait_for("a", expire="later")


def sleep_soon(x):
    sleep("soon")


def sleep_without_zone(x):
    sleep(datetime(2026, 3, 1))  # noqa: DTZ001


def wait_in_each(x):
    each(x, lambda item: wait_for("a"))


def sleep_in_each(x):
    each(x, sleep)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (self_made, "is not a Timeout(...)"),
        (no_timeout, "'soon' is not a duration"),
        (no_retry, "'never' is not a Retry(...)"),
        (no_limit, "'crm' is not a Limit(...)"),
        (no_rate, "limit crm: 'much' is not a rate"),
        (no_key, "the key 'account' of the limit crm is no argument of this call"),
        (large_key, "has the argument account as its key, which is more than a value"),
        (catch_by_name, "takes a whole step"),
        (compensate_by_a_job, "<job leaf> is not an endpoint"),
        (no_rule, "'14d' is not a UserActionRule(...)"),
        (odd_rule, "Invalid enum value 'cancel'"),
        (nameless_wait, "a signal has a name"),
        (form_of_a_type, "is not a JSON Schema, a dict"),
        (handle_in_a_form, "cannot stand in a job"),
        (no_expiry, "expire: 'later' is not a duration"),
        (sleep_soon, "or an instant such as"),
        (sleep_without_zone, "has no time zone"),
        (wait_in_each, "each(...) cannot go over wait_for(...)"),
        (sleep_in_each, "each(...) cannot go over sleep(...)"),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_users_line(function, words):
    with pytest.raises(DefinitionError) as caught:
        python(function)

    (problem,) = caught.value.problems
    assert words in problem.message
    assert problem.file == __file__
    assert problem.line == function.__code__.co_firstlineno + 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": Timeout(run="soon")}, "a.b: timeout: 'soon' is not a duration"),
        ({"timeout": []}, "is not a Timeout(...)"),
        ({"limits": [Limit("x", key="who", slots=1)]}, "'who' of the limit x is no argument"),
        ({"limits": [Limit("x", key=3, slots=1)]}, "3 of the limit x is no argument"),
        ({"limits": [Limit("x", rate="often")]}, "a.b: limit x: 'often' is not a rate"),
        ({"limits": ["x"]}, "a.b: limits: 'x' is not a Limit(...)"),
        ({"on_user_action": UserActionRule(expire="x")}, "a.b: on_user_action: 'x' is not"),
        ({"compensate": print}, "a.b: compensate: <built-in function print> is not an endpoint"),
    ],
)
def test_settings_of_an_endpoint_are_refused_where_it_is_defined(settings, words):
    with pytest.raises(DefinitionError) as caught:

        @endpoint("a.b", registry=Registry(), **settings)
        def odd(account): ...

    assert words in str(caught.value)
    assert caught.value.problems[0].file == __file__


def test_a_job_without_a_sensible_deadline_is_refused():
    with pytest.raises(DefinitionError, match="late: deadline: 'x' is not a duration"):
        job("late", deadline="x")


@pytest.mark.parametrize("word", [lambda: wait_for("a"), lambda: sleep("1s")])
def test_waiting_words_only_work_inside_a_traced_job(word):
    with pytest.raises(DefinitionError, match="only works inside a traced job"):
        word()


def test_the_checks_find_the_line_of_a_step_of_the_python_face(tmp_path):
    from warrener.services.sources import load as load_work

    file = tmp_path / "late.py"
    file.write_text(
        "from warrener import endpoint, job, wait_for\n\n\n"
        '@endpoint("late.call", timeout="25h")\ndef call(): ...\n\n\n'
        '@job("late")\ndef late():\n    call()\n    wait_for("a b")\n'
    )

    with pytest.raises(DefinitionError) as caught:
        load_work(f"{file}:late")

    found = {(p.file, p.line, p.path) for p in caught.value.problems}
    assert found == {
        (str(file), 10, "steps.call.timeout.run"),
        (str(file), 11, "steps.a_b.wait.for"),
    }
