"""Definitions as clients send them: as JSON, or as the text of a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from warrener.domain.definition.check import check
from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.yaml_face import parse
from warrener.domain.errors import DefinitionError, Problem
from warrener.domain.payloads import encode_json
from warrener.services.submission import Source

TEXT_BYTES_MAX: Final = 1024 * 1024
LIBRARY_MAX: Final = 500


class Definitions(msgspec.Struct, frozen=True):
    """A definition that was checked, and those of the jobs that it may start, by name."""

    main: JobDefinition
    library: Mapping[str, JobDefinition]
    problems: Sequence[Problem]

    def source(self) -> Source:
        """Return what is submitted; raises `DefinitionError` with every problem."""
        if self.problems:
            raise DefinitionError(self.problems)
        return Source(self.main, dict(self.library))


def read(definition: Any, library: Mapping[str, Any]) -> Definitions:
    """Read and check definitions; raises `DefinitionError` for those that cannot be read at all.

    Which endpoints there are only the fleet knows.
    """
    if len(library) > LIBRARY_MAX:
        raise DefinitionError([Problem(message=f"more than {LIBRARY_MAX} jobs in the library")])
    parsed = [("", parse(_text(definition)))]
    parsed += [(name, parse(_text(value), name)) for name, value in library.items()]
    found: dict[str, JobDefinition] = {}
    placed = []
    for file, source in parsed:
        for each, places in zip(source.definitions, source.places, strict=True):
            if each.name not in found:
                found[each.name] = each
                placed.append((each, places, file))
    problems = [
        problem
        for each, places, file in placed
        for problem in check(each, places, file, jobs=sorted(found))
    ]
    main = parsed[0][1].definitions[0]
    recurs = any(step.job == main.name for each in found.values() for step in each.steps.values())
    others = {name: each for name, each in found.items() if name != main.name or recurs}
    return Definitions(main, others, problems)


def _text(value: Any) -> bytes:
    text = value.encode("utf-8", "replace") if isinstance(value, str) else encode_json(value)
    if len(text) > TEXT_BYTES_MAX:
        problem = Problem(message=f"the text is longer than {TEXT_BYTES_MAX} bytes")
        raise DefinitionError([problem])
    return text
