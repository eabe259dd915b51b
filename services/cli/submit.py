"""`submit`: hands a job to a running fleet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options, values
from warrener.services.cli import run_options as own
from warrener.services.cli.failures import DONE, JOB_FAILED
from warrener.services.cli.output import StdoutClosed
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from uuid import UUID

    from warrener.services.api_client import ApiClient
    from warrener.services.client import Client

_EXAMPLES = """Examples:

warrener submit report.yaml --param account=ada --broker amqp://submitter:secret@rabbit

warrener submit reports:social_report --params @input.json --key ada-today --wait --json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("submit", epilog=_EXAMPLES)(submit)


def submit(
    *,
    what: options.What,
    param: own.Param = None,
    params: own.Params = None,
    endpoints: options.Endpoints = None,
    key: own.Key = None,
    label: own.Label = None,
    priority: Annotated[
        int, typer.Option("--priority", min=-1_000, max=1_000, metavar="N", help="Higher is first.")
    ] = 0,
    fair: Annotated[
        str | None, typer.Option("--fair", metavar="KEY", help="Jobs of a key share fairly.")
    ] = None,
    deadline: own.Deadline = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end, as `run` does.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0.0, metavar="S", help="With --wait: at most so long."),
    ] = None,
    broker: options.Broker = None,
    log: options.Log = None,
    as_json: options.AsJson = False,
) -> None:
    """Submit a job to a running fleet and print its id.

    Without a broker it goes to the service at WARRENER_API_URL, with WARRENER_API_TOKEN if set.
    """
    session = Session(as_json=as_json, broker=broker, log=log, runs_users_code=True)
    from warrener.services.current_trace import callers_traceparent
    from warrener.services.sources import load
    from warrener.services.submission import deadline_of, submission

    message = submission(
        load(what, endpoints or ()).source,
        values.params(params, param or ()),
        key=key or str(uuid4()),
        labels=values.labels(label or ()),
        priority=priority,
        fair=fair,
        deadline=deadline_of(deadline, datetime.now(UTC)),
        traceparent=callers_traceparent(),
    )
    with _open(session) as client:
        job = client.send(message)
        if not wait:
            session.output.json({"job": job}) if as_json else session.output.show(str(job))
            raise typer.Exit(DONE)
        session.output.note(f"job {job}")
        _print(session, _wait(client, job, timeout))


@contextlib.contextmanager
def _open(session: Session) -> Iterator[Client | ApiClient]:
    from warrener.services.client import Client

    if session.has_service:
        yield session.service()
        return
    if not session.has_fleet:
        raise UsageError(
            "no fleet is named: --broker amqp://host, or WARRENER_API_URL of a `warrener up`"
        )
    with Client(session.settings.broker_url) as client:
        yield client


def _wait(client: Client | ApiClient, job: UUID, timeout: float | None) -> Any:
    from warrener.domain.errors import ServiceUnavailable

    try:
        return client.wait(job, timeout)
    except TimeoutError as error:
        raise ServiceUnavailable(f"{error}; it goes on without you") from error


def _print(session: Session, outcome: Any) -> None:
    from warrener.services.cli.run import print_outcome

    with contextlib.suppress(StdoutClosed):
        print_outcome(session, outcome)
    raise typer.Exit(DONE if outcome.state == "succeeded" else JOB_FAILED)
