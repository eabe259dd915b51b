"""The options of `worker`, one type each."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

ASYNCIO_SLOTS: Final = 100


def _option(name: str, metavar: str, text: str, **bounds: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False, **bounds)


Queues = Annotated[
    list[str] | None,
    _option("--queues", "Q,..", "Queues to serve. Default: those that the endpoints name."),
]
Fixed = Annotated[
    bool,
    typer.Option(
        "--fixed",
        help="Serve no other queues for a time when the controller advises it, to relieve them.",
    ),
]
Slots = Annotated[
    int | None,
    _option(
        "--slots",
        "N",
        f"How many endpoints run at once. Default: one for each CPU; with --asyncio,"
        f" {ASYNCIO_SLOTS}.",
        min=1,
        max=1_000,
    ),
]
Processes = Annotated[
    bool, typer.Option("--processes", help="Run endpoints in child processes. The default.")
]
Threads = Annotated[
    bool,
    typer.Option("--threads", help="Run endpoints in threads, which nothing can end by force."),
]
Asyncio = Annotated[bool, typer.Option("--asyncio", help="Run async endpoints on one event loop.")]
Name = Annotated[
    str | None, _option("--name", "NAME", "Unique in the fleet. Default: host and process id.")
]
MaxTasksPerChild = Annotated[
    int | None,
    _option("--max-tasks-per-child", "N", "Replace a child process after so many steps.", min=1),
]
MemoryMax = Annotated[
    str | None,
    _option(
        "--memory-max",
        "SIZE",
        "Replace a child process that holds more, such as 512M; kill it far above.",
    ),
]
DrainSeconds = Annotated[
    float,
    typer.Option(
        "--drain-seconds",
        min=0.0,
        max=86_400.0,
        metavar="S",
        help="How long running steps may take to end after SIGTERM.",
    ),
]
BeatSeconds = Annotated[
    float,
    typer.Option(
        "--beat-seconds",
        min=0.1,
        max=3_600.0,
        metavar="S",
        help="How often to give a sign of life, with the progress of long steps.",
    ),
]
