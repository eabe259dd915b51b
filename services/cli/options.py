"""Options and arguments that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[
    bool, typer.Option("--json", help="JSON on stdout, and errors as JSON on stderr.")
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Event store, such as sqlite:///jobs.db; to look at only, history:FILE.",
        show_default=False,
    ),
]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="URL",
        help="Message broker, such as amqp://user:password@host:5672/vhost.",
        show_default=False,
    ),
]
Log = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="FORMAT,LEVEL",
        help="Log to stderr: console or json, and a level such as debug.",
        show_default=False,
    ),
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoints",
        metavar="MODULE",
        help="Module with endpoints: package.module or a .py file. May be repeated.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=1_000,
        metavar="N",
        help="How many endpoints run at once; default: one for each CPU.",
        show_default=False,
    ),
]
What = Annotated[
    str, typer.Argument(metavar="WHAT", help="A YAML or JSON file, module:job or file.py:job.")
]
Job = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job, or the start of one (4 digits or more).")
]
DaemonName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="Default: host and process id.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65_535,
        metavar="N",
        help="Serve metrics for Prometheus at this port, at /metrics; 0 takes a free one.",
        show_default=False,
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option("--metrics-host", metavar="HOST", help="The address that they are served at."),
]
LeaseSeconds = Annotated[
    float,
    typer.Option(
        "--lease-seconds",
        min=1.0,
        max=3600.0,
        metavar="S",
        help="How long others of its kind wait before they take over from a silent one.",
    ),
]
