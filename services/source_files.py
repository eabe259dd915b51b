"""Definitions in YAML or JSON files: the file named, and those beside it that hold sub-jobs."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from warrener.domain.definition.check import check
from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.yaml_face import parse
from warrener.domain.errors import DefinitionError, Problem, UsageError
from warrener.services.endpoints import REGISTRY
from warrener.services.sources import FILE_SUFFIXES, Module, Work, load_modules
from warrener.services.submission import Source

READ_BYTES_MAX: Final = 1024 * 1024  # more than any file of definitions may have
FILES_MAX: Final = 500


class Document(msgspec.Struct, frozen=True):
    """A definition with the file that it stands in and the places of its parts."""

    definition: JobDefinition
    file: Path
    places: Any


class Documents:
    """All definitions that can be reached from one file, and the modules that the files name."""

    def __init__(self, file: Path) -> None:
        """Read the file, and then whatever its sub-jobs need."""
        self.found: dict[str, Document] = {}
        self.modules: list[Module] = []
        self._files: set[Path] = set()
        self.main = self._read(file).name
        waiting = deque(self.found.values())
        while waiting:
            document = waiting.popleft()
            for name in sub_jobs(document.definition):
                beside = None if name in self.found else _beside(document.file, name)
                if beside is not None:
                    before = set(self.found)
                    self._read(beside)
                    waiting.extend(self.found[new] for new in self.found.keys() - before)

    def _read(self, file: Path) -> JobDefinition:
        """Take over the definitions of a file; return the first one."""
        if len(self._files) >= FILES_MAX:
            raise UsageError(f"{file}: more than {FILES_MAX} files of definitions")
        self._files.add(file)
        parsed = parse(_text(file), str(file))
        for definition, places in zip(parsed.definitions, parsed.places, strict=True):
            self.found.setdefault(definition.name, Document(definition, file, places))
        self.modules += [Module.named(name, file.parent) for name in parsed.endpoints]
        return parsed.definitions[0]

    def problems(self, given: Collection[str] = (), *, alone: bool = False) -> list[Problem]:
        """Return every problem of every definition; `given` are endpoints known beside ours.

        With `alone` it does not matter whether endpoints and sub-jobs are known.
        """
        endpoints = None if alone else sorted({*REGISTRY.names(), *given})
        jobs = None if alone else sorted(self.found)
        return [
            problem
            for each in self.found.values()
            for problem in check(
                each.definition, each.places, str(each.file), endpoints=endpoints, jobs=jobs
            )
        ]

    def source(self) -> Source:
        """Return the first definition with all that it starts, itself only if it recurs."""
        started = list(self._started(self.main))
        library = {name: self.found[name].definition for name in sorted(started)}
        return Source(self.found[self.main].definition, library)

    def _started(self, name: str) -> Iterator[str]:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for below in sub_jobs(self.found[waiting.pop()].definition):
                if below not in seen and below in self.found:
                    seen.add(below)
                    waiting.append(below)
                    yield below


def load_file(file: Path, modules: Sequence[Module], given: Collection[str] = ()) -> Work:
    """Load a file with all sub-jobs, import the modules, check everything."""
    documents = Documents(file)
    wanted = tuple(dict.fromkeys((*documents.modules, *modules)))
    load_modules(wanted)
    problems = documents.problems(given)
    if problems:
        raise DefinitionError(problems)
    return Work(documents.source(), wanted)


def read_file(file: Path) -> Source:
    """Return a job with those of its sub-jobs that can be found; no module is loaded.

    Raises `DefinitionError`. What the definitions call, nobody need know.
    """
    documents = Documents(file)
    problems = documents.problems(alone=True)
    if problems:
        raise DefinitionError(problems)
    return documents.source()


def sub_jobs(definition: JobDefinition) -> list[str]:
    """Return the names of the jobs that a definition starts."""
    return sorted({step.job for step in definition.steps.values() if step.job is not None})


def _beside(file: Path, name: str) -> Path | None:
    candidates = (file.with_name(name + suffix) for suffix in FILE_SUFFIXES)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _text(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(READ_BYTES_MAX)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
