"""Loading what users name: modules with endpoints, and jobs as `module:job` or `file.py:job`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.python_face import JobFunction
from warrener.domain.errors import DefinitionError, UsageError
from warrener.domain.ids import content_hash
from warrener.services.endpoints import REGISTRY


def load_endpoint_modules(names: Sequence[str], base: Path | None = None) -> None:
    """Import modules (`package.module`, or a path to a `.py` file) so that endpoints are known.

    Relative paths count from `base`, the current folder by default. Loading twice does nothing.
    Raises `UsageError` that names the place of the fault.
    """
    for name in names:
        load_module(name, base)
    for name in REGISTRY.names():
        endpoint = REGISTRY.get(name)
        if endpoint is not None:
            _ = endpoint.plan  # refuses annotations that cannot be checked


def load_job(
    reference: str, base: Path | None = None
) -> tuple[JobDefinition, dict[str, JobDefinition]]:
    """Return the definition of a job, and those of the jobs that it starts, by name.

    The job itself is among them if it starts itself, at whatever distance.
    """
    found = load_job_function(reference, base)
    return found.definition, found.library()


def load_job_function(reference: str, base: Path | None = None) -> JobFunction[..., Any]:
    """Return the job that `package.module:job` or `file.py:job` names."""
    name, _, attribute = reference.rpartition(":")
    if not name or not attribute.isidentifier():
        raise UsageError(f"{reference!r} is not a job: write package.module:job or file.py:job")
    module = load_module(name, base)
    found = getattr(module, attribute, None)
    if isinstance(found, JobFunction):
        return found
    jobs = sorted(key for key, value in vars(module).items() if isinstance(value, JobFunction))
    known = f"it has {', '.join(jobs)}" if jobs else "it has none"
    raise UsageError(f"{name} has no job {attribute}: {known}")


def load_module(name: str, base: Path | None = None) -> ModuleType:
    """Import a module by its dotted name or by the path of its file."""
    folder = (base or Path.cwd()).resolve()
    try:
        if name.endswith(".py") or os.sep in name:
            return _load_file(name, (folder / Path(name).expanduser()).resolve())
        _search(str(folder))
        return importlib.import_module(name)
    except DefinitionError:
        raise
    except (Exception, SystemExit) as error:
        raise _failure(name, error) from error


def _load_file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(path.name) and Path(file).resolve() == path:
            return module
    _search(str(path.parent))
    unique = f"{path.stem}_{content_hash(str(path).encode())[:8]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{name} is not a Python file")
    module = sys.modules[unique] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


def _search(folder: str) -> None:
    """Let modules beside the user's files be found, after everything that is found already."""
    if folder not in sys.path:
        sys.path.append(folder)


def _failure(name: str, error: BaseException) -> UsageError:
    """Return one clear error that names the line of the user's fault."""
    if isinstance(error, UsageError):
        return error
    if (
        isinstance(error, ModuleNotFoundError)
        and error.name
        and f"{name}.".startswith(error.name + ".")
    ):
        return UsageError(f"there is no module {name} in {Path.cwd()} or on Python's path")
    place = _fault_place(error)
    return UsageError(f"cannot load {name}: {place}{type(error).__name__}: {error}")


def _fault_place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    places = [place for place in _places(error.__traceback__) if is_users(place[0])]
    return f"{places[-1][0]}:{places[-1][1]}: " if places else ""


def _places(traceback: TracebackType | None) -> list[tuple[str, int]]:
    found = []
    while traceback is not None:
        found.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    return found


def is_users(file: str) -> bool:
    """Say whether a file of code is one of the user's: no library, and not ours."""
    paths = sysconfig.get_paths()
    libraries = (*(paths[name] for name in ("stdlib", "purelib", "platlib")), _OURS)
    return not file.startswith(("<", *libraries))


_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
