"""Which limits with reserved names are set: looked up once for each stage and each job name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from warrener.domain import caps
from warrener.domain.control_events import LimitChanged
from warrener.domain.flow.ready import Stage, Standing
from warrener.domain.limit_state import Claim

KNOWN_MAX = 10_000


class Caps:
    """The limits with reserved names that steps and root jobs come under."""

    def __init__(self, change: Callable[[str], LimitChanged | None]) -> None:
        """Take what tells how people have set a limit, if they have."""
        self._change = change
        self._known: dict[Stage | str, tuple[str, ...]] = {}

    def of_step(self, standing: Standing) -> Sequence[Claim]:
        """Return the claims of an order beside those of its definition."""
        names = self._known.get(standing.stage)
        if names is None:
            names = self._look_up(standing.stage, caps.names_for_step(standing.stage))
        return [caps.claim(each, standing.root) for each in names] if names else ()

    def of_job(self, name: str) -> Sequence[Claim]:
        """Return the claims of a root job, by the name of its definition."""
        names = self._known.get(name)
        if names is None:
            names = self._look_up(name, caps.names_for_job(name))
        return [caps.claim(each) for each in names] if names else ()

    def changed(self) -> None:
        """People have set a limit, or set it back."""
        self._known.clear()

    def _look_up(self, about: Stage | str, names: Sequence[str]) -> tuple[str, ...]:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        found = tuple(name for name in names if caps.is_set(self._change(name)))
        self._known[about] = found
        return found
