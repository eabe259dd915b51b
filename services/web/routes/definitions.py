"""Definitions of jobs: those that jobs run by, and checking new ones."""

from __future__ import annotations

import msgspec
from litestar import post
from litestar.params import FromPath, RequestBody

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import DefinitionError
from warrener.services.web import bodies, shapes
from warrener.services.web.cursors import cursor_of, place_in
from warrener.services.web.definitions import read
from warrener.services.web.parts import Given
from warrener.services.web.problems import faults_of
from warrener.services.web.reader import Opened
from warrener.services.web.routes.common import Cursor, Limit, changes, reads


@reads("/definitions")
async def list_definitions(
    parts: Given, cursor: Cursor = None, limit: Limit = 50
) -> shapes.DefinitionsPage:
    """List the definitions that the newest jobs run by."""
    after = None if cursor is None else place_in(cursor, shapes.JobPlace).cursor

    def ask(opened: Opened) -> shapes.DefinitionsPage:
        found, more = opened.queries.definitions(limit, after)
        place = None if more is None else shapes.JobPlace(more.submitted_at, more.job)
        lines = tuple(map(line_of, found))
        return shapes.DefinitionsPage(items=lines, next=cursor_of(place) if place else None)

    return await parts.reader.ask(ask)


@reads("/definitions/{content_hash:str}")
async def show_definition(parts: Given, content_hash: FromPath[str]) -> shapes.DefinitionWhole:
    """Show a definition by its hash."""
    found = await parts.reader.ask(lambda opened: opened.queries.definition_of(content_hash))
    line = msgspec.structs.asdict(line_of(found))
    return shapes.DefinitionWhole(**line, definition=msgspec.json.decode(found.to_json()))


@changes(post, "/definitions/check", "submitter", status_code=200)
async def check_definition(
    parts: Given, data: RequestBody[bodies.DefinitionBody]
) -> shapes.Checked:
    """Check definitions: every problem with its place and a hint. Nothing is kept."""

    def check() -> shapes.Checked:
        try:
            found = read(data.definition, data.library)
        except DefinitionError as error:
            return shapes.Checked(valid=False, problems=faults_of(error.problems), jobs=())
        jobs = {found.main.name: found.main, **found.library}
        return shapes.Checked(
            valid=not found.problems,
            problems=faults_of(found.problems),
            jobs=tuple(map(line_of, jobs.values())),
        )

    return await parts.checked(check)


def line_of(definition: JobDefinition) -> shapes.DefinitionLine:
    """Return a line about a definition."""
    return shapes.DefinitionLine(
        hash=definition.hash,
        name=definition.name,
        version=definition.version,
        steps=len(definition.steps),
    )


HANDLERS = (list_definitions, show_definition, check_definition)
