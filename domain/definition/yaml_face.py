"""The YAML and JSON face: the text of a file gives the definitions in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from warrener.domain.definition.findings import Findings
from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.normalise import normalise
from warrener.domain.definition.reader import endpoint_modules, read_job
from warrener.domain.definition.yaml_text import documents
from warrener.domain.errors import DefinitionError, Problem


class Source(NamedTuple):
    """What a file holds: the main job first, then the sub-jobs of its further documents.

    `places` maps, for each definition, paths such as `steps.merge.with` to lines from 1;
    `endpoints` are the modules that the file names.
    """

    definitions: tuple[JobDefinition, ...]
    endpoints: tuple[str, ...]
    places: tuple[Mapping[str, int], ...]
    file: str = ""


def parse(text: str | bytes, file: str = "") -> Source:
    """Read the text of a file, YAML or JSON; raises `DefinitionError` with every problem.

    Keys and types are checked here; what the definitions mean is for `check`, with `places`.
    """
    found = [document for document in documents(text, file) if document.value is not None]
    if not found:
        raise DefinitionError([Problem(message="the file holds no definition", file=file)])
    definitions: list[JobDefinition] = []
    problems: list[Problem] = []
    endpoints: dict[str, None] = {}
    for value, places in found:
        findings = Findings(places, file)
        definition = read_job(findings, value)
        if definition is None:
            problems += findings.all()
            continue
        if any(definition.name == other.name for other in definitions):
            findings.add("job", f"a second job named {definition.name} in one file")
            problems += findings.all()
        definitions.append(definition)
        endpoints.update(dict.fromkeys(endpoint_modules(value)))
    if problems:
        raise DefinitionError(problems)
    return Source(
        tuple(map(normalise, definitions)),
        tuple(endpoints),
        tuple(places for _, places in found),
        file,
    )
