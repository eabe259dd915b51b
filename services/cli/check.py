"""`check`: validates definitions without running anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import typer

from warrener.domain.errors import DefinitionError
from warrener.services.cli import options
from warrener.services.cli.output import plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.domain.definition.model import JobDefinition
    from warrener.services.sources import Work

_EXAMPLES = """Examples:

warrener check report.yaml

warrener check reports:social_report --json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", epilog=_EXAMPLES)(check)


def check(
    *,
    what: options.What,
    endpoints: options.Endpoints = None,
    as_json: options.AsJson = False,
) -> None:
    """Validate a job and those that it starts: every problem, with its place and a hint."""
    from warrener.services.sources import load

    session = Session(as_json=as_json, runs_users_code=True)
    try:
        work = load(what, endpoints or ())
    except DefinitionError as error:
        if as_json:
            problems = [msgspec.to_builtins(problem) for problem in error.problems]
            session.output.json({"valid": False, "problems": problems, "jobs": []})
        raise
    if as_json:
        session.output.json({"valid": True, "problems": [], "jobs": _jobs(work)})
        return
    found = table("job", ">version", ">steps", "endpoints", "hash")
    for job in _jobs(work):
        names = ", ".join(job["endpoints"])
        values = (job["name"], job["version"], job["steps"], names, job["hash"][:12])
        found.add_row(*map(plain, values))
    session.output.show(found, f"{what}: no problems")


def _jobs(work: Work) -> list[dict[str, Any]]:
    source = work.source
    definitions = {source.main.name: source.main, **source.library}
    return [
        {
            "name": definition.name,
            "version": definition.version,
            "hash": definition.hash,
            "steps": len(definition.steps),
            "endpoints": _endpoints(definition),
        }
        for definition in definitions.values()
    ]


def _endpoints(definition: JobDefinition) -> list[str]:
    steps = definition.steps.values()
    names = {name for step in steps for name in (step.call, step.compensate)}
    return sorted(name for name in names if name is not None)
