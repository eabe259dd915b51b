"""What a mail about a notification says. Nothing of it is trusted: see `domain.text`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

from warrener.domain.notices import FAILED, Notification
from warrener.domain.text import clean, one_line

SUBJECT_CHARACTERS_MAX: Final = 150
FIELDS_MAX: Final = 50
QUOTE: Final = "  | "  # before every line of others, which so cannot pass for ours


def mail_of(notification: Notification, sender: str, recipients: str, domain: str) -> EmailMessage:
    """Return the mail; the same notification always gives the same Message-ID."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = recipients
    message["Subject"] = one_line(_subject(notification), SUBJECT_CHARACTERS_MAX)
    message["Date"] = format_datetime(notification.at)
    message["Message-ID"] = f"<{notification.id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(_lines(notification)) + "\n")
    return message


def _subject(notification: Notification) -> str:
    name = notification.name
    if notification.event == FAILED:
        return f"[warrener] job {name} failed"
    again = f" (reminder {notification.reminder})" if notification.reminder else ""
    return f"[warrener] {name or 'the service'} waits for you: {notification.action}{again}"


def _lines(notification: Notification) -> Iterator[str]:
    failed = notification.event == FAILED
    what = "has failed" if failed else "waits for you"
    who = "service itself" if notification.job is None else f"job {one_line(notification.name)}"
    yield f"The {who} {what}."
    yield ""
    yield from _quoted(_words(notification))
    yield ""
    yield from _facts(notification)
    yield ""
    if failed:
        yield "See what happened, then try it again:"
        yield f"    warrener show {notification.job}"
        yield f"    warrener retry {notification.job}"
        return
    yield from _form(notification.form)
    yield "Answer with:"
    yield f"    {one_line(notification.answer or '', 4_000)}"


def _words(notification: Notification) -> str:
    error = notification.error
    if error is not None:
        return f"{error.code}: {error.message}"
    return notification.message or notification.action or ""


def _facts(notification: Notification) -> Iterator[str]:
    error_path = notification.error.path if notification.error is not None else None
    rows: Mapping[str, object] = {
        "Action": notification.action,
        "Cause": notification.cause,
        "Job": notification.job,
        "Top job": None if notification.root == notification.job else notification.root,
        "Step": notification.path or error_path,
        "Labels": ", ".join(f"{key}={value}" for key, value in notification.labels.items()),
        "Since": notification.at.isoformat(),
        "Reminder": notification.reminder or None,
    }
    return (f"{name + ':':10}{one_line(value, 500)}" for name, value in rows.items() if value)


def _form(form: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a line for each field that the answer has, as far as the schema names them."""
    properties = (form or {}).get("properties")
    if not isinstance(properties, dict) or not properties:
        return
    listed = (form or {}).get("required")
    required = listed if isinstance(listed, list) else []
    yield "The answer has these fields:"
    for name, schema in list(properties.items())[:FIELDS_MAX]:
        yield f"    {one_line(_field(name, schema, required=name in required), 500)}"
    if len(properties) > FIELDS_MAX:
        yield f"    and {len(properties) - FIELDS_MAX} more"
    yield ""


def _field(name: str, schema: Any, *, required: bool) -> str:
    said = schema if isinstance(schema, dict) else {}
    choices = said.get("enum")
    parts = [
        str(said["type"]) if "type" in said else "",
        "required" if required else "",
        "one of " + ", ".join(map(str, choices)) if isinstance(choices, list) else "",
    ]
    facts = ", ".join(part for part in parts if part)
    words = said.get("title") or said.get("description") or ""
    return f"{name}{f' ({facts})' if facts else ''}{f': {words}' if words else ''}"


def _quoted(text: str) -> Iterator[str]:
    return (QUOTE + line for line in clean(text).splitlines())
