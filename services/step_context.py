"""What an endpoint runs inside: ids that are bound to all that it logs, and perhaps a span.

`structlog` adds what is bound by itself (its processor `merge_contextvars` must be among the
configured ones, as it is by default). For the `logging` of the standard library there is a filter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import Final

from structlog.contextvars import bind_contextvars, get_contextvars

from warrener.domain.messages import RunStep

FIELDS: Final = ("job", "root", "path", "attempt", "endpoint", "worker")
Around = Callable[[RunStep], AbstractContextManager[object]]

# Those that `bind_contextvars` sets for these names. Setting them one by one takes a quarter of the
# time, which counts where steps are short.
_VARIABLES: Final = tuple(
    token.var
    for token in copy_context().run(bind_contextvars, **dict.fromkeys(FIELDS, ...)).values()
)
_NOTHING: Final = nullcontext()
_arounds: list[Around] = []  # one at most


def bind_step(order: RunStep, worker: str) -> None:
    """Bind the ids of an attempt in the context that runs this; they end with that context."""
    job, root, path, attempt, endpoint, by = _VARIABLES
    text = str(order.job)
    job.set(text)
    root.set(order.context.get("root", text))
    path.set(order.path)
    attempt.set(order.attempt)
    endpoint.set(order.endpoint)
    by.set(worker)


def run_inside(around: Around | None) -> None:
    """Have every endpoint of this process run inside what `around` gives; None ends that."""
    _arounds[:] = [] if around is None else [around]


def surroundings(order: RunStep) -> AbstractContextManager[object]:
    """Return what the endpoint of an order is to run inside."""
    return _arounds[0](order) if _arounds else _NOTHING


class StepFilter(logging.Filter):
    """Gives records of `logging` the fields `job`, `root`, `path`, `attempt`, `endpoint`, `worker`.

    They are of the step that runs where the record is made, and None outside of steps. Add it to a
    handler, so that it sees the records of all loggers:

        handler = logging.StreamHandler()
        handler.addFilter(warrener.StepFilter())
        handler.setFormatter(logging.Formatter("%(job)s %(path)s #%(attempt)s %(message)s"))
        logging.getLogger().addHandler(handler)
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields that the record does not have yet; let it pass."""
        bound = get_contextvars()
        for name in FIELDS:
            if not hasattr(record, name):
                setattr(record, name, bound.get(name))
        return True
