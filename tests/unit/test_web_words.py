"""The dashboard and the routes use the words of the domain: states, roles, kinds, modes, events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from warrener.adapters.codec import TOPICS
from warrener.domain.control_events import UserActionEvent
from warrener.domain.events import EventPruned, JobEvent
from warrener.domain.flow.orders import ORDERS
from warrener.domain.flow.settings import IntakeMode, Mode
from warrener.domain.plan import Kind
from warrener.domain.states import JOB_ENDED, JOB_STATES, STEP_ENDED, step_machine
from warrener.domain.step_events import StepEvent
from warrener.domain.tokens import ROLES
from warrener.services.causes import in_words
from warrener.services.web.routes import jobs
from warrener.services.wiring_web import STATIC

STEP_STATES = set(step_machine().states)


def constant(file: str, name: str) -> str:
    """Return the text of a constant of a script, up to the semicolon at its end."""
    text = Path(STATIC, "js", file).read_text("utf-8")
    found = re.search(rf"^(?:export )?const {name} = (.*?);$", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{file} has no {name}"
    return found[1]


def words(file: str, name: str) -> list[str]:
    """Return the texts in a constant."""
    return re.findall(r'"([^"]*)"', constant(file, name))


def table(file: str, name: str) -> dict[str, str]:
    """Return an object of texts or numbers."""
    pairs = re.findall(r'"?([\w-]+)"?: (?:"([^"]*)"|(\d+))', constant(file, name))
    return {key: text or number for key, text, number in pairs}


def test_states_are_those_of_jobs_and_steps() -> None:
    ended = words("ui.js", "STEP_ENDED")

    assert set(words("ui.js", "JOB_STATES")) == set(get_args(jobs.State)) == set(JOB_STATES)
    assert set(words("ui.js", "JOB_ENDED")) == JOB_ENDED
    assert {*words("ui.js", "JOB_ENDED"), *ended} == STEP_ENDED
    assert set(get_args(jobs.StepState)) == STEP_STATES
    assert {*JOB_STATES, *STEP_STATES} <= set(table("ui.js", "MARKS"))


def test_roles_rank_as_they_do_here() -> None:
    ranks = table("session.js", "RANK")

    assert sorted(ranks, key=lambda role: ranks[role]) == list(ROLES)


def test_kinds_of_steps_are_all_there() -> None:
    assert set(table("job/data.js", "KINDS")) == {*get_args(Kind), "for_each"}


def test_what_may_be_set_about_the_flow_is_offered() -> None:
    assert set(words("pages/flow.js", "POLICIES")) == set(ORDERS)
    assert set(table("pages/flow.js", "MODES")) == set(get_args(Mode))
    assert set(table("pages/flow.js", "INTAKES")) == set(get_args(IntakeMode))


def test_every_event_that_a_job_can_have_is_told_in_words() -> None:
    of_jobs = (JobEvent, StepEvent, UserActionEvent, EventPruned)
    known = {kind.__name__ for kind in TOPICS.values() if issubclass(kind, of_jobs)}

    assert set(table("job/words.js", "EVENTS")) == known


def test_causes_of_our_own_are_told_in_the_words_of_the_command_line() -> None:
    own = table("job/words.js", "OWN")

    assert own == {cause: in_words(cause, {}, lambda _step: None) for cause in own}
    assert set(own) >= {"recovery", "flow", "fleet", "take-over"}
