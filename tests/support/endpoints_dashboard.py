"""Endpoints of a small fleet that pages show: quick work, and work that waits for a person."""

from __future__ import annotations

from typing import Any

from warrener import UserActionRequired, current_step, endpoint

FORM: dict[str, Any] = {
    "type": "object",
    "required": ["token", "network"],
    "properties": {
        "token": {"type": "string", "title": "Access token", "format": "password"},
        "network": {"enum": ["facebook", "<b>twitter</b>"]},
        "days": {"type": "integer", "minimum": 1, "default": 7},
        "again": {"type": "boolean"},
        "more": {"type": "array", "items": {"type": "string"}},
    },
}
MESSAGE = "Connect <i>again</i>, \u202eplease"


@endpoint("dash.work")
def work(number: int) -> int:
    """Return the number."""
    return number


@endpoint("dash.ask")
def ask(cause: str) -> Any:
    """Wait for a person's answer, and return it."""
    if current_step().answer is None:
        raise UserActionRequired("reconnect", cause=cause, message=MESSAGE, form=FORM)
    return current_step().answer
