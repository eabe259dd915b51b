"""The log of the program itself: structlog, configured once, always to stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer

from warrener.domain.text import clean
from warrener.services.settings import log_parts


class _Stderr:
    """Whatever stderr is at the moment, so that a progress bar can move out of the way."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(log: str, default_level: str = "warning") -> None:
    """Set format and level by the `log` setting: JSON lines if asked for, else for people.

    Lines carry what is bound in the context that logs, such as the ids of the step that runs.
    Tracebacks come without the values of variables, which may be secrets.
    """
    form, level = log_parts(log)
    number = logging.getLevelNamesMapping()[(level or default_level).upper()]
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        tracebacks = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        processors += [tracebacks, structlog.processors.JSONRenderer(default=str)]
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        processors += [structlog.processors.format_exc_info, _neutralise, renderer]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(_Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


def _neutralise(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = clean(value)
    return event
