"""Takes secrets out of spans before they leave: out of error texts, labels, notes and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from warrener.domain.spans import Attributes, Span
from warrener.services.histories.rules import Rules
from warrener.services.histories.values import Seen, Values
from warrener.services.span_parts import LABEL

_TEXTS: Final = ("warrener.reason", "warrener.note")


class SpanRedactor:
    """Gives spans without what looks like a secret, or stands under the name of one."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Take patterns of names beside our own; raises `UsageError`."""
        self._values = Values(Rules(patterns), Seen())

    def __call__(self, span: Span) -> Span:
        """Return a span as it may leave."""
        return replace(
            span,
            error=None if span.error is None else self._values.text(span.error),
            attributes=self._cleaned(span.attributes),
            events=tuple(
                replace(each, attributes=self._cleaned(each.attributes)) for each in span.events
            ),
        )

    def _cleaned(self, attributes: Attributes) -> Attributes:
        """The others are ids and numbers, and names that definitions give."""
        found = dict(attributes)
        for name, value in attributes.items():
            if name.startswith(LABEL):
                found[name] = self._values.keyed(name.removeprefix(LABEL), str(value))
            elif name in _TEXTS:
                found[name] = self._values.text(str(value))
        return found
