"""Warrener: event-sourced distributed job control.

The public names are imported when they are first used, so that `import warrener` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warrener.domain.definition.model import Budget, JobDefinition
    from warrener.domain.definition.python_face import job
    from warrener.domain.definition.python_options import Limit, Retry, Timeout, UserActionRule
    from warrener.domain.definition.words import compute, each, expr, need, sleep, wait_for
    from warrener.domain.errors import (
        DefinitionError,
        PermanentError,
        RetryLater,
        UserActionRequired,
        WarrenerError,
    )
    from warrener.services.client import Client
    from warrener.services.client_async import AsyncClient
    from warrener.services.endpoints import endpoint
    from warrener.services.perform import CurrentStep, current_step
    from warrener.services.step_context import StepFilter

__all__ = [
    "AsyncClient",
    "Budget",
    "Client",
    "CurrentStep",
    "DefinitionError",
    "JobDefinition",
    "Limit",
    "PermanentError",
    "Retry",
    "RetryLater",
    "StepFilter",
    "Timeout",
    "UserActionRequired",
    "UserActionRule",
    "WarrenerError",
    "compute",
    "current_step",
    "each",
    "endpoint",
    "expr",
    "job",
    "need",
    "sleep",
    "wait_for",
]

_HOMES = {
    "domain.definition.model": ("Budget", "JobDefinition"),
    "domain.definition.python_face": ("job",),
    "domain.definition.words": ("compute", "each", "expr", "need", "sleep", "wait_for"),
    "domain.definition.python_options": ("Limit", "Retry", "Timeout", "UserActionRule"),
    "domain.errors": (
        "DefinitionError",
        "PermanentError",
        "RetryLater",
        "UserActionRequired",
        "WarrenerError",
    ),
    "services.client": ("Client",),
    "services.client_async": ("AsyncClient",),
    "services.endpoints": ("endpoint",),
    "services.perform": ("CurrentStep", "current_step"),
    "services.step_context": ("StepFilter",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'warrener' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"warrener.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
