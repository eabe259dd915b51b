"""What users are told about steps that wait, jobs that are steered, requests and limits."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.histories import REPORT, History, definition, finish_report, half_done_report

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain import ids
from warrener.domain.definition.model import Rate, StepDefinition, Wait
from warrener.domain.errors import UsageError
from warrener.domain.payloads import Payload
from warrener.services.logs import LogSet
from warrener.services.places import Place
from warrener.services.queries import Queries
from warrener.services.shapes import Waiting
from warrener.services.step_queries import step_kind

PHASES = definition(
    "phases",
    book={"call": "a.book", "compensate": "a.cancel", "catch": [{"on": "*", "go": "mend"}]},
    mend={"call": "a.mend"},
    tell={"call": "a.tell", "after": ["book"]},
    tidy={"call": "a.tidy", "always": True},
)


def asked(history: History) -> Queries:
    return Queries(LogSet([history.store]), MemoryViewStore())


def as_json(shape: object) -> Any:
    return json.loads(msgspec.json.encode(shape))


def why(history: History, job: UUID, path: str) -> Waiting:
    found = asked(history).step(Place(job, path)).waiting
    assert found is not None
    return found


def begun(what: Any = None) -> tuple[History, UUID]:
    history = History()
    job = history.submit(what or definition())
    history.start(job)
    return history, job


def test_a_step_that_waits_for_a_person_names_the_cause_and_how_to_answer() -> None:
    history, job = begun()
    history.release(job, "only")
    request = history.ask(job, "only", subject="facebook:page", message="Reconnect your page")
    history.park(job, "only", request, patience=60)

    waiting = why(history, job, "only")

    assert waiting.kind == "user-action"
    assert waiting.sentence == "waits for a person, about facebook:page: Reconnect your page"
    assert waiting.release.startswith(f"warrener answer {request}, or the time 2026-")
    assert [(each.kind, each.id, each.state) for each in waiting.blockers] == [
        ("user-action", request, "open")
    ]


def test_a_wait_names_its_signal_and_its_request_and_a_sleep_its_end() -> None:
    history, job = begun(definition(hold={"call": "a.b"}, nap={"call": "a.b"}))
    request = history.ask(job, "hold", subject=f"{job}/hold")
    history.wait_for(job, "hold", "approval", request=request)
    history.wait_for(job, "nap", until=history.now)

    hold, nap = why(history, job, "hold"), why(history, job, "nap")

    assert (hold.kind, hold.sentence) == (
        "signal", "waits for the signal approval or a person's answer"
    )  # fmt: skip
    assert hold.release == f"warrener signal {job} approval, or warrener answer {request}"
    assert (nap.kind, nap.until) == ("timer", "2026-01-02T03:04:10.000000Z")


def test_what_a_paused_job_holds_back_says_who_paused_it_also_below() -> None:
    history, job, child = half_done_report()
    history.advance(child, readied={"load": ()})
    history.pause(job)

    below, item = why(history, child, "load"), why(history, job, "parts[1]")

    for waiting in (below, item, why(history, job, "parts[3]")):
        assert waiting.kind == "paused"
        assert waiting.sentence == f"is held back: job {job} was paused by ada: lunch"
        assert waiting.release == f"warrener resume {job}"
    assert [(each.kind, each.id) for each in below.blockers] == [("job", job)]


def test_undoing_cleaning_up_and_catching_wait_for_their_time() -> None:
    history, job = begun(PHASES)
    history.release(job, "book")

    steps = asked(history).show(job).steps

    assert list(steps)[-1] == "book.compensate"
    told = {name: step.waiting.sentence for name, step in steps.items() if step.waiting}
    assert told == {
        "mend": "runs only if book fails: 1 step has not ended",
        "tell": "waits for book (released)",
        "tidy": "cleans up when everything else has ended: 3 steps have not ended",
        "book.compensate": (
            "undoes book if the job fails or is cancelled, when its steps have ended:"
            " 3 steps have not ended"
        ),
    }


def test_readers_of_a_caught_failure_wait_for_who_answers_for_it() -> None:
    history, job = begun(PHASES)
    history.release(job, "book")
    history.fail(job, "book")
    history.advance(job, settled={"book": "failed"}, caught={"book": "mend"}, readied={"mend": ()})

    steps = asked(history).show(job).steps

    assert steps["book"].caught_by == "mend"
    tell = steps["tell"].waiting
    assert tell is not None
    assert [blocker.path for blocker in tell.blockers] == ["mend"]


def test_a_step_that_undoes_another_is_found_by_its_path() -> None:
    history, job = begun(PHASES)
    queries = asked(history)

    assert queries.locate(f"{job}/book.compensate") == Place(job, "book.compensate")
    assert queries.step(Place(job, "book.compensate")).kind == "call"


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (StepDefinition(wait=Wait(signal="go")), "wait"),
        (StepDefinition(sleep=0), "sleep"),
        (StepDefinition(sets={}), "set"),
    ],
)
def test_waits_and_sleeps_are_kinds_of_their_own(step: StepDefinition, kind: str) -> None:
    assert step_kind(step) == kind


def test_show_tells_progress_and_who_steered() -> None:
    history, job, _ = half_done_report()
    history.release(job, "parts[2]")
    history.begin(job, "parts[2]")
    history.progress(job, "parts[2]", 0.25, "a quarter")
    history.adjust(job, "parts", window=5, tolerated=1)
    history.signal(job, "go", "k1")
    history.pause(job)

    shown, queries = as_json(asked(history).show(job)), asked(history)

    assert shown["paused"] == {"by": "ada", "reason": "lunch", "at": shown["paused"]["at"]}
    assert (shown["generation"], shown["cancelling"], shown["closing"]) == (1, None, False)
    assert [signal["name"] for signal in shown["signals"]] == ["go"]
    parts = shown["steps"]["parts"]
    assert (parts["window"], parts["tolerated"], parts["adjusted"]["by"]) == (5, 1, "ada")
    item = queries.step(Place(job, "parts[2]"))
    assert (item.progress, item.note) == (0.25, "a quarter")


def test_a_new_generation_shows_nothing_of_the_old_one() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    history.rerun(job, ["parts", "sub", "merge", "sorry"])
    history.open_items(job, "parts", count=3, begun=1)
    fresh = history.open_child(job, "sub", REPORT, generation=2)
    queries = asked(history)

    steps = queries.show(job).steps
    item = queries.step(Place(job, "parts[2]"))
    tree = queries.tree(job)

    assert (steps["merge"].state, steps["merge"].result, steps["merge"].generation) == (
        "pending", None, 2
    )  # fmt: skip
    assert (steps["load"].state, steps["load"].generation) == ("succeeded", 1)
    assert queries.items(job, "parts") == []
    assert (item.state, item.result, item.generation) == ("pending", None, 2)
    assert {node.job: node.superseded for node in tree.children} == {child: True, fresh: False}
    assert [step.path for step in queries.slowest(job)] == ["load"]


def test_an_item_that_never_began_is_cancelled_with_its_fan_out() -> None:
    history, job, _ = half_done_report()
    history.fail(job, "parts", attempt=None)
    history.advance(job, settled={"parts": "failed"})

    item = asked(history).step(Place(job, "parts[4]"))

    assert (item.state, item.waiting) == ("cancelled", None)


# --- requests, limits, fleet ----------------------------------------------------------------------


def test_an_action_tells_who_waits_and_until_when() -> None:
    history, job, child = half_done_report()
    form = {"type": "object", "required": ["token"]}
    request = history.ask(job, "parts[2]", message="Reconnect", form=Payload(json.dumps(form)))
    for owner, path, patience in [(job, "parts[2]", 90), (child, "load", 30)]:
        history.release(owner, path)
        history.park(owner, path, request, patience)
    history.remind(request)

    (line,) = asked(history).actions()

    shown = as_json(line)
    assert set(shown) >= {
        "action", "cause", "message", "form", "steps", "jobs", "opened_at", "expires_at"
    }  # fmt: skip
    assert (line.request, line.action, line.cause) == (request, "reconnect", "facebook:page")
    assert (line.form, line.message, line.reminders) == (form, "Reconnect", 1)
    assert (line.steps, line.jobs) == (2, 2)
    assert line.expires_at == min(waiter.until or "" for waiter in line.waiting)
    assert {(waiter.job, waiter.path) for waiter in line.waiting} == {
        (job, "parts[2]"), (child, "load")
    }  # fmt: skip


def test_actions_are_those_that_are_open_unless_others_are_asked_for() -> None:
    history, job = begun()
    first = history.ask(job, "only", subject="a")
    second = history.ask(job, "only", subject="b")
    history.answer(first, {"x": 1}, by="ada")
    queries = asked(history)

    assert [line.request for line in queries.actions()] == [second]
    assert [line.request for line in queries.actions(cause="b")] == [second]
    assert queries.actions(cause="a") == []
    (answered,) = queries.actions(state="answered")
    assert (answered.request, answered.by, answered.data) == (first, "ada", {"x": 1})
    assert len(queries.actions(state=None)) == 2


def test_at_most_twenty_of_those_who_wait_are_named() -> None:
    history = History()
    job = history.submit(REPORT)
    history.open_items(job, "parts", count=30, begun=30)
    request = history.ask(job, "parts[0]")
    for index in range(30):
        history.release(job, f"parts[{index}]")
        history.park(job, f"parts[{index}]", request)

    (line,) = asked(history).actions()

    assert (line.steps, line.jobs, len(line.waiting)) == (30, 1, 20)


def test_an_action_is_found_by_its_id_the_start_of_it_and_the_cause_of_an_open_one() -> None:
    history, job = begun()
    request = history.ask(job, "only", subject="facebook:page")
    queries = asked(history)

    for text in (str(request), request.hex[:6], "facebook:page"):
        assert queries.find_action(text).request == request
    for text in ("facebook", "", "ffffffff", str(ids.job_id("x"))):
        with pytest.raises(UsageError, match=f"open are {request}"):
            queries.find_action(text)
    with pytest.raises(UsageError, match="none is open"):
        asked(History()).find_action("abcd")


def test_limits_and_fleet_are_as_they_were_last_changed() -> None:
    history = History()
    nothing = asked(history)
    none = (nothing.limits(), nothing.fleet())
    history.change_limit("api", rate=Rate(20, 60), by="ada", reason="they asked")
    history.change_limit("slots", slots=0)
    history.change_fleet({"default": 4, "fetch": 0}, "crm.load")
    queries = asked(history)

    assert none == ([], None)
    assert [line.name for line in queries.limits()] == ["api", "slots"]
    assert as_json(queries.limits("api")[0]) == {
        "name": "api", "slots": None, "rate": {"count": 20.0, "seconds": 60.0}, "burst": None,
        "by": "ada", "reason": "they asked", "since": "2026-01-02T03:04:06.000000Z",
        "defined": None, "waiting": 0, "holders": None, "keys": [],
    }  # fmt: skip
    assert queries.limits("other") == []
    fleet = queries.fleet()
    assert fleet is not None
    assert (fleet.slots, fleet.endpoints) == ({"default": 4, "fetch": 0}, ("crm.load",))
