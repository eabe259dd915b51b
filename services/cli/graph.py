"""`graph`: draws a definition, or a job coloured by state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from warrener.services.cli import options
from warrener.services.cli.session import Session, job_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warrener.domain.definition.model import JobDefinition

_EXAMPLES = """Examples:

warrener graph report.yaml --format svg > report.svg

warrener graph 5f2c71e0

warrener graph reports:social_report --format dot | dot -Tpdf > report.pdf"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("graph", epilog=_EXAMPLES)(graph)


def graph(
    *,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT|JOB", help="A YAML or JSON file, module:job, file.py:job or a job's id."
        ),
    ],
    form: Annotated[
        Literal["mermaid", "dot", "svg", "json"], typer.Option("--format", help="What to write.")
    ] = "mermaid",
    endpoints: options.Endpoints = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Draw the graph of a definition, or of a job with the states of its steps."""
    from warrener.services.sources import is_file, is_python

    session = Session(as_json=as_json, store=store, runs_users_code=True)
    if is_file(what) or is_python(what):
        from warrener.services.sources import load

        _draw(session, load(what, endpoints or ()).source.main, form)
        return
    with session.queries() as queries:
        job = job_named(queries, what)
        steps = queries.show(job, whole=False).steps
        states = {name: step.state for name, step in steps.items()}
        items = {name: step.items for name, step in steps.items() if step.items is not None}
        _draw(session, queries.definition(job), form, states, items)


def _draw(
    session: Session,
    definition: JobDefinition,
    form: str,
    states: Mapping[str, str] | None = None,
    items: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    import msgspec

    from warrener.projections.drawing import draw

    if session.output.as_json:
        session.output.json(msgspec.json.decode(draw(definition, states, "json", items)))
    else:
        session.output.write(draw(definition, states, form, items))
