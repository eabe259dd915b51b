"""`cancel`, `pause`, `resume`, `retry`, `rerun` and `signal`: steering a job while it runs."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import typer

from warrener.services.cli import options, targets, values
from warrener.services.cli import steer_options as own
from warrener.services.cli.session import Session

_CANCEL_EXAMPLES = """Examples:

warrener cancel 5f2c71e0 --reason "wrong account"

warrener cancel 5f2c71e0 --broker amqp://operator:secret@rabbit --json"""
_PAUSE_EXAMPLES = """Examples:

warrener pause 5f2c71e0 --reason "the API is down"

warrener pause '5f2c71e0/groups[3]'"""
_RESUME_EXAMPLES = """Examples:

warrener resume 5f2c71e0

warrener resume '5f2c71e0/groups[3]'"""
_RETRY_EXAMPLES = """Examples:

warrener retry 5f2c71e0

warrener retry '5f2c71e0/groups[3]/merge' --reason "disk is free again" """
_RERUN_EXAMPLES = """Examples:

warrener rerun 5f2c71e0 --from merge --reason "template corrected"

warrener rerun 5f2c71e0 --from load --key monday"""
_SIGNAL_EXAMPLES = """Examples:

warrener signal 5f2c71e0 approval --data '{"approved": true}'

warrener signal 5f2c71e0 files-arrived --data @files.json --key delivery-17"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("cancel", epilog=_CANCEL_EXAMPLES)(cancel)
    app.command("pause", epilog=_PAUSE_EXAMPLES)(pause)
    app.command("resume", epilog=_RESUME_EXAMPLES)(resume)
    app.command("retry", epilog=_RETRY_EXAMPLES)(retry)
    app.command("rerun", epilog=_RERUN_EXAMPLES)(rerun)
    app.command("signal", epilog=_SIGNAL_EXAMPLES)(signal)


def cancel(
    *,
    job: options.Job,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Stop a job and everything below it; clean-up and compensation still run."""
    session = Session(as_json=as_json, store=store, broker=broker)
    found = targets.whole_job(session, job)
    with session.steering() as steering:
        targets.answered(steering.cancel(found, reason, by=by))
    targets.tell(session, "cancel", f"job {found} is being cancelled", job=found)


def pause(
    *,
    job: own.JobOrPart,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Let nothing more of a job, and of what is below it, go out; what runs may finish."""
    session = Session(as_json=as_json, store=store, broker=broker)
    found = targets.job_or_part(session, job)
    with session.steering() as steering:
        targets.answered(steering.pause(found, by=by, reason=reason))
    targets.tell(session, "pause", f"job {found} is paused", job=found)


def resume(
    *,
    job: own.JobOrPart,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Let a paused job go on."""
    session = Session(as_json=as_json, store=store, broker=broker)
    found = targets.job_or_part(session, job)
    with session.steering() as steering:
        targets.answered(steering.resume(found, by=by, reason=reason))
    targets.tell(session, "resume", f"job {found} is no longer paused", job=found)
    targets.say_how_to_go_on(session, found)


def retry(
    *,
    job: own.JobOrStep,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Try again now what failed or waits for its next attempt: one step, or all of a job."""
    session = Session(as_json=as_json, store=store, broker=broker)
    place = targets.job_or_step(session, job)
    with session.steering() as steering:
        targets.answered(steering.retry(place.job, place.path, by=by, reason=reason))
    what = f"job {place.job}" if place.path is None else f"step {place.path} of job {place.job}"
    targets.tell(session, "retry", f"{what} is tried again", job=place.job, step=place.path)
    targets.say_how_to_go_on(session, place.job)


def rerun(
    *,
    job: options.Job,
    step: Annotated[
        str, typer.Option("--from", metavar="STEP", help="The first step to run again.")
    ],
    key: own.Key = None,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Run a step and all that follows it once more; what was recorded stays in the history."""
    session = Session(as_json=as_json, store=store, broker=broker)
    found, key = targets.whole_job(session, job), str(uuid4()) if key is None else key
    with session.steering() as steering:
        targets.answered(steering.rerun(found, step, key, by=by, reason=reason))
    sentence = f"job {found} runs again from step {step}"
    targets.tell(session, "rerun", sentence, job=found, step=step, key=key)
    targets.say_how_to_go_on(session, found)


def signal(
    *,
    job: own.JobOrPart,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What a wait: step waits for.")],
    data: own.Data = None,
    key: own.Key = None,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Send a signal to a job: to the step that waits for it, or kept for the next that does."""
    session = Session(as_json=as_json, store=store, broker=broker)
    value = None if data is None else values.json_or_file("--data", data)
    found, key = targets.job_or_part(session, job), str(uuid4()) if key is None else key
    with session.steering() as steering:
        targets.answered(steering.signal(found, name, value, key, by=by, reason=reason))
    sentence = f"job {found} has the signal {name}"
    targets.tell(session, "signal", sentence, job=found, name=name, key=key)
    targets.say_how_to_go_on(session, found)
