"""Differences in sentences. The runs are A and B."""

from __future__ import annotations

from typing import Any

import msgspec

from warrener.projections.diff.model import Divergence
from warrener.projections.diff.values import ABSENT

VALUE_CHARACTERS_MAX = 120


def sentence(found: Divergence) -> str:
    """Return a difference in one sentence."""
    what = found.path or "the job"
    at = f" at {found.place}" if found.place else ""
    match found.kind:
        case "definition":
            return f"the definition of {what} differs{at}"
        case "params":
            return f"the parameters of {what} differ{at}"
        case "part":
            return f"not the same part of {what} was run"
        case "only-in-a" | "only-in-b":
            return f"{what} is in {found.kind[-1].upper()} only"
        case "edge":
            return f"{what} needed {found.place} in {_where(found)}"
        case "when":
            return f"the condition of {what} held in {_where(found)}"
        case "order":
            return f"{what} was decided in A {_blind(found.a)}, in B {_blind(found.b)}"
        case "inputs":
            return f"the input of {what} differs{at}"
        case "count":
            return f"{what} has {found.a} items in A, {found.b} in B"
        case "state":
            return f"{what} is {found.a} in A, {found.b} in B"
        case "attempts":
            return f"the attempts of {what} differ{at}: {value_text(found.a)} in A," + (
                f" {value_text(found.b)} in B"
            )
        case _:
            return f"the {found.kind} of {what} differs{at}"


def _where(found: Divergence) -> str:
    return "A, and not in B" if found.a else "B, and not in A"


def _blind(names: Any) -> str:
    return f"before {', '.join(names)} had ended" if names else "when all that it needs had ended"


def value_text(value: Any) -> str:
    """Return a value on one line, cut where it is too long."""
    if value is ABSENT:
        return "none"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[: VALUE_CHARACTERS_MAX - 3]}..."
