"""`worker`: the daemon that runs endpoints."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import structlog
import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options, values
from warrener.services.cli import worker_options as own
from warrener.services.cli.failures import DONE
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.services.worker_daemon import WorkerMode

_EXAMPLES = """Examples:

warrener worker --endpoints reports.endpoints --broker amqp://worker:secret@rabbit --slots 8

warrener worker --endpoints endpoints.py --queues fetch,default --asyncio --log json

warrener worker --endpoints endpoints.py --max-tasks-per-child 1000 --memory-max 512M"""
_SIZE = re.compile(r"(\d{1,12})\s*([KMGT]?)(i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker", epilog=_EXAMPLES)(worker)


def worker(
    *,
    endpoints: options.Endpoints = None,
    queues: own.Queues = None,
    fixed: own.Fixed = False,
    slots: own.Slots = None,
    processes: own.Processes = False,
    threads: own.Threads = False,
    asyncio: own.Asyncio = False,
    name: own.Name = None,
    max_tasks_per_child: own.MaxTasksPerChild = None,
    memory_max: own.MemoryMax = None,
    drain_seconds: own.DrainSeconds = 30.0,
    beat_seconds: own.BeatSeconds = 10.0,
    broker: options.Broker = None,
    log: options.Log = None,
) -> None:
    """Run endpoints: take orders from queues of the broker, and report what became of them.

    SIGTERM drains: running steps end and report, others go back to their queues. A second one
    stops at once.

    Where WARRENER_OTLP_URL names a collector, endpoints run inside spans of their attempts' traces.
    """
    from warrener.services.worker_daemon import WorkerOptions

    mode = _mode(processes=processes, threads=threads, asyncio=asyncio)
    if not endpoints:
        raise UsageError("name a module with endpoints: --endpoints package.module or file.py")
    wanted = WorkerOptions(
        modules=tuple(endpoints),
        mode=mode,
        slots=slots or _slots(mode),
        name=name,
        queues=tuple(values.comma_separated(queues or ())),
        fixed=fixed,
        beat_seconds=beat_seconds,
        drain_seconds=drain_seconds,
        children_tasks_max=max_tasks_per_child,
        children_memory_bytes_max=None if memory_max is None else size_bytes(memory_max),
    )
    session = Session(as_json=False, broker=broker, log=log, log_level="info", runs_users_code=True)
    _serve(session, wanted)
    raise typer.Exit(DONE)


def _serve(session: Session, wanted: Any) -> None:
    from warrener.services import wiring_daemons
    from warrener.services.cli.daemons import stopping_on_signals
    from warrener.services.notify import Notifier

    notifier = Notifier()
    with (
        wiring_daemons.open_worker(
            session.settings,
            wanted,
            trace=structlog.get_logger().is_enabled_for(logging.DEBUG),
            on_ready=notifier.ready,
            on_turn=notifier.alive,
        ) as daemon,
        stopping_on_signals(daemon.stop, notifier.stopping),
    ):
        daemon.run()


def size_bytes(text: str) -> int:
    """Return the bytes that a size such as `512M` or `2GiB` stands for (1K is 1024)."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise UsageError(f"--memory-max {text}: write a size such as 512M or 2G")
    return int(found[1]) * _UNITS[found[2].upper()]


def _mode(**chosen: bool) -> WorkerMode:
    names: list[Any] = [name for name, given in chosen.items() if given]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(f'--{name}' for name in names)} exclude each other")
    return names[0] if names else "processes"


def _slots(mode: str) -> int:
    from warrener.services.cli.execution import cpus

    return own.ASYNCIO_SLOTS if mode == "asyncio" else cpus()
