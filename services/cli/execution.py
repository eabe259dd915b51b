"""Working on one job in this process: lock, workers, progress, and a clean stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from warrener.services import wiring_runs, wiring_traces
from warrener.services.cli.failures import Interrupted
from warrener.services.cli.progress import live
from warrener.services.logs import log_of_root

if TYPE_CHECKING:
    from uuid import UUID

    from warrener.domain.partitions import Logs
    from warrener.services.cli.requests import Task
    from warrener.services.cli.session import Session
    from warrener.services.embedded import Embedded, Progress
    from warrener.services.outcomes import Outcome
    from warrener.services.wiring_runs import Mode

Tick = Callable[["Embedded"], None]


def execute(
    session: Session,
    logs: Logs,
    task: Task,
    *,
    workers: int | None,
    mode: Mode,
    tick: Tick | None = None,
    wait_for_user: bool = False,
) -> Outcome:
    """Work on a job until it has ended, or cannot go on without people.

    `tick` is called now and then meanwhile; with `wait_for_user` people are waited for.

    Raises `Interrupted`, with the command that goes on, on Ctrl-C and SIGTERM.
    """
    submitted = False
    settings = session.settings
    with (
        wiring_runs.hold_job(settings, task.root),
        wiring_traces.tracing(settings, logs),
        _traced_endpoints(settings.otlp_url, mode),
        _stoppable(),
    ):
        embedded = wiring_runs.open_embedded(
            log_of_root(logs, task.root),
            queues=task.source.queues(),
            workers=workers or cpus(),
            modules=[module.name for module in task.modules],
            mode=mode,
            otlp_url=settings.otlp_url,
        )
        try:
            begin(embedded, task)
            submitted = True
            session.output.note(f"job {task.root}")
            with _reporting(session, embedded, tick) as on_progress:
                return embedded.run(task.root, on_progress, wait_for_user=wait_for_user)
        except KeyboardInterrupt:
            raise _interrupted(session, task.root, submitted) from None
        finally:
            embedded.close()


@contextmanager
def _traced_endpoints(otlp_url: str, mode: Mode) -> Iterator[None]:
    """Run endpoints of this process inside spans; processes see to that themselves."""
    end = wiring_traces.trace_endpoints("" if mode == "processes" else otlp_url)
    try:
        yield
    finally:
        end()


def cpus() -> int:
    """Return how many CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def begin(embedded: Embedded, task: Task) -> None:
    """Submit the job, or go on with it."""
    if task.message is None:
        embedded.resume(task.root)
    else:
        embedded.submit(task.message)


@contextmanager
def _reporting(
    session: Session, embedded: Embedded, tick: Tick | None
) -> Iterator[Callable[[Progress], None]]:
    """Give what takes the progress of a run, for the terminal and for `tick`."""
    with live(session.output) as report:

        def on_progress(progress: Progress) -> None:
            if report is not None:
                report(progress)
            if tick is not None:
                tick(embedded)

        yield on_progress


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM stop the run as Ctrl-C does."""

    def stop(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupted(session: Session, root: UUID, submitted: bool) -> Interrupted:
    if not submitted:
        return Interrupted()
    if not session.keeps_jobs:
        return Interrupted(root, "; the store was in memory, so nothing is kept")
    return Interrupted(root, f"; go on with: {session.command('run', '--resume', root)}")
