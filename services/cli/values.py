"""Reading the values of options: parameters, labels, given results, times."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from warrener.domain.errors import ParameterError, PayloadError, UsageError
from warrener.domain.payloads import PAYLOAD_BYTES_MAX, decode_json
from warrener.services.labels import RESERVED

_AGO = re.compile(r"(\d{1,9})(s|m|h|d|w)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def params(whole: str | None, single: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of `--params JSON|@FILE` with those of `--param K=V` on top."""
    values = {} if whole is None else _object(whole)
    for pair in single:
        name, text = split_pair("--param", pair)
        values[name] = json_or_text(f"--param {name}", text)
    return values


def labels(pairs: Sequence[str]) -> dict[str, str]:
    """Return labels from `K=V` pairs."""
    found = dict(split_pair("--label", pair) for pair in pairs)
    for name, value in found.items():
        if name.startswith(RESERVED):
            raise UsageError(f"--label {name}: labels that begin with {RESERVED} are reserved")
        _check_encodable(f"--label {name}", name + value)
    return found


def given(pairs: Sequence[str]) -> dict[str, Any]:
    """Return results by step from `STEP=JSON` pairs."""
    found = {}
    for pair in pairs:
        step, text = split_pair("--given", pair)
        found[step] = _decoded(f"--given {step}", text)
    return found


def split_pair(option: str, pair: str) -> tuple[str, str]:
    """Return both sides of `K=V`."""
    name, equals, value = pair.partition("=")
    if not name or not equals:
        raise UsageError(f"{option} {pair}: write {option} NAME=VALUE")
    return name, value


def json_or_text(what: str, text: str) -> Any:
    """Return a value from JSON where it is JSON, else the text itself."""
    try:
        msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
    except msgspec.MsgspecError:
        _check_encodable(what, text)
        return text
    except RecursionError:
        pass  # said properly below
    return _decoded(what, text)


def since(text: str, now: datetime) -> datetime:
    """Return a point in time from RFC 3339 text, or from an age such as `90m` or `2d`."""
    ago = _AGO.fullmatch(text.strip().lower())
    try:
        if ago is not None:
            return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        hint = "write such as 2026-01-31, 2026-01-31T08:00:00Z, 90m or 2d"
        raise UsageError(f"{text!r} is not a time: {hint}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def point(text: str, now: datetime) -> int | datetime:
    """Return a position of the log from a whole number, else a point in time as `since` does."""
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit() and len(stripped) < 19:
        return int(stripped)
    return since(text, now)


def check_state(state: str) -> None:
    """Refuse a state that no job can be in."""
    from warrener.domain.states import JOB_MOVES

    known = sorted({*(source for source, _ in JOB_MOVES), *JOB_MOVES.values()})
    if state not in known:
        raise UsageError(f"--state {state}: jobs are {', '.join(known)}")


def json_or_file(option: str, given: str) -> Any:
    """Return the value of an option that takes `JSON|@FILE`; `@-` is the standard input."""
    if given.startswith("@"):
        return _decoded(f"{option} {given}", _read(option, given.removeprefix("@")))
    return _decoded(option, given)


def _object(whole: str) -> dict[str, Any]:
    value = json_or_file("--params", whole)
    if not isinstance(value, dict):
        raise ParameterError('--params: parameters are a JSON object, such as {"account": "a-1"}')
    return value


def _read(option: str, name: str) -> bytes:
    try:
        if name == "-":
            return sys.stdin.buffer.read(PAYLOAD_BYTES_MAX + 1)
        with Path(name).open("rb") as stream:
            return stream.read(PAYLOAD_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{option} @{name}: cannot be read: {error.strerror}") from error


def _decoded(what: str, text: str | bytes) -> Any:
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    try:
        return decode_json(data)
    except PayloadError as error:
        raise ParameterError(f"{what}: {error}") from None


def _check_encodable(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ParameterError(f"{what}: not UTF-8 text") from None


def comma_separated(given: Iterable[str]) -> list[str]:
    """Return the names in comma-separated lists, each once."""
    names = [name.strip() for part in given for name in part.split(",")]
    return list(dict.fromkeys(filter(None, names)))
