"""From WHAT on the command line to checked definitions and the modules of their endpoints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.python_face import JobFunction
from warrener.domain.errors import DefinitionError, UsageError
from warrener.services.submission import Source

What = JobFunction[..., Any] | JobDefinition | str | Path
FILE_SUFFIXES: Final = (".yaml", ".yml", ".json")


class Module(msgspec.Struct, frozen=True, array_like=True):
    """A module with endpoints; `folder` is where its name is looked up."""

    name: str
    folder: str

    @classmethod
    def named(cls, name: str, folder: Path) -> Module:
        """Return a module as someone named it; a path becomes absolute."""
        if name.endswith(".py") or "/" in name:
            name = str((folder / Path(name).expanduser()).resolve())
        return cls(name, str(folder.resolve()))


class Work(msgspec.Struct, frozen=True):
    """Definitions that were checked, and the modules that workers load for them."""

    source: Source
    modules: tuple[Module, ...] = ()


def is_file(what: str) -> bool:
    """Say whether WHAT names a file of definitions."""
    return what.lower().endswith(FILE_SUFFIXES)


def is_python(what: str) -> bool:
    """Say whether WHAT names a job in a Python module."""
    return not is_file(what) and ":" in what


def load(what: str, endpoints: Sequence[str] = (), given: Collection[str] = ()) -> Work:
    """Load and check; raises `DefinitionError` with every problem, `UsageError` for the rest.

    `endpoints` are modules to load; `given` names endpoints that no module need define.
    """
    modules = tuple(Module.named(name, Path.cwd()) for name in endpoints)
    if is_file(what):
        from warrener.services.source_files import load_file

        return load_file(Path(what), modules, given)
    if is_python(what):
        return _load_python(what, modules, given)
    raise UsageError(f"{what} is not a job: {_hint(what)}")


def read(what: str, endpoints: Sequence[str] = ()) -> Source:
    """Return definitions that are not to be run here; raises as `load` does.

    Without `endpoints`, what is in a file may call any, and start sub-jobs that are elsewhere.
    """
    if is_file(what) and not endpoints:
        from warrener.services.source_files import read_file

        return read_file(Path(what))
    return load(what, endpoints).source


def load_modules(modules: Sequence[Module]) -> None:
    """Import the modules, so that their endpoints are known here."""
    from warrener.services.modules import load_endpoint_modules

    for module in modules:
        load_endpoint_modules([module.name], Path(module.folder))


def _load_python(what: str, modules: tuple[Module, ...], given: Collection[str]) -> Work:
    from warrener.domain.definition.check import check
    from warrener.services.endpoints import REGISTRY
    from warrener.services.modules import load_job_function
    from warrener.services.submission import Source

    modules = (Module.named(what.rpartition(":")[0], Path.cwd()), *modules)
    function = load_job_function(what)
    main, library = function.definition, function.library()
    load_modules(modules)
    definitions = {**library, main.name: main}
    lines = {f"steps.{name}": line for name, (_, line) in function.places.items() if line}
    problems = [
        problem
        for definition in definitions.values()
        for problem in check(
            definition,
            lines if definition is main else None,
            function.function.__code__.co_filename,
            sorted({*REGISTRY.names(), *given}),
            definitions,
        )
    ]
    if problems:
        raise DefinitionError(problems)
    return Work(Source(main, library), modules)


def _hint(what: str) -> str:
    for suffix in FILE_SUFFIXES:
        if Path(what + suffix).is_file():
            return f"did you mean {what}{suffix}?"
    if what.endswith(".py"):
        return f"name the job in it, such as {what}:job"
    return "give a .yaml or .json file, module:job or file.py:job"


def source_of(what: What, given: Collection[str] = ()) -> Source:
    """Return a job by its function, its definition, or what the command line takes for it.

    `given` names endpoints that no module need define.
    """
    if isinstance(what, JobFunction):
        return Source(what.definition, what.library())
    if isinstance(what, JobDefinition):
        return Source(what)
    return load(str(what), given=given).source
