"""YAML and JSON text to plain values, with the line of every part.

Only what JSON can say is taken: no aliases, tags or merge keys, no duplicate keys, and of plain
words only null, true, false and numbers mean something else than text. Sizes and depths are
bounded before they can cost anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import yaml

from warrener.domain.definition.findings import Findings, shown
from warrener.domain.errors import DefinitionError, Problem
from warrener.domain.expression_scope import why_not_json

BYTES_MAX = 256 * 1024
DEPTH_MAX = 50
DOCUMENTS_MAX = 100
_DIGITS_MAX = 400

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[-+]?(?:\.(?:inf|Inf|INF)|Infinity)|\.(?:nan|NaN|NAN)|NaN", re.ASCII)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document(NamedTuple):
    """A document's value, and the lines (from 1) of its parts by path."""

    value: Any
    places: dict[str, int]


def documents(text: str | bytes, file: str = "") -> list[Document]:
    """Return the documents of a file; raises `DefinitionError` and nothing else."""
    source = _decoded(text, file)
    if source.lstrip()[:1] in ("{", "["):
        source = _without_tabs(source)
    try:
        return _Builder(source, file).run()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "not YAML"
        hint = "indent with spaces" if "\\t" in reason or "tab" in reason else ""
        _refuse(f"not YAML: {reason}", file, mark.line + 1 if mark else None, hint)
    except yaml.YAMLError as error:
        _refuse(f"not YAML: {shown(str(error).splitlines()[0], 200)}", file)


def _decoded(text: str | bytes, file: str) -> str:
    try:
        data = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError:
        _refuse("the text holds half a surrogate pair", file)
    if len(data) > BYTES_MAX:
        _refuse(
            f"{len(data)} bytes are over the limit of {BYTES_MAX} bytes for a file",
            file,
            hint="put sub-jobs into files of their own, and data into parameters",
        )
    try:
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse("the file is not UTF-8", file, line, "save it as UTF-8")
    odd = next((at for at, char in enumerate(source) if _is_odd(char)), None)
    if odd is not None:
        line = source.count("\n", 0, odd) + 1
        _refuse(f"the character {source[odd]!a} cannot stand in YAML", file, line)
    return source


def _is_odd(char: str) -> bool:
    return (
        (char < " " and char not in "\t\n\r") or "\x7f" <= char <= "\x9f" or char in "\ufffe\uffff"
    )


def _without_tabs(source: str) -> str:
    """Turn tabs of valid JSON, where they are white space only, into spaces, which YAML wants."""
    if "\t" not in source:
        return source
    try:
        json.loads(source)
    except (ValueError, RecursionError):
        return source
    return source.replace("\t", " ")


def _refuse(message: str, file: str, line: int | None = None, hint: str = "") -> NoReturn:
    problem = Problem(message=message, file=file, line=line, hint=hint)
    raise DefinitionError([problem]) from None


def _line(event: Any) -> int:
    """Return the line on which a part begins, counted from 1."""
    line: int = event.start_mark.line
    return line + 1


class _Builder:
    """Builds values from the parser's events, so that nothing is composed before it is checked."""

    def __init__(self, source: str, file: str) -> None:
        self._events: Iterator[Any] = yaml.parse(source, Loader=_LOADER)
        self._file = file
        self._places: dict[str, int] = {}
        self._findings = Findings(self._places, file)

    def run(self) -> list[Document]:
        found: list[Document] = []
        problems: list[Problem] = []
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            if len(found) >= DOCUMENTS_MAX:
                self._stop(event, f"more than {DOCUMENTS_MAX} documents in a file")
            self._places = {"": _line(event)}
            self._findings = Findings(self._places, self._file)
            found.append(Document(self._node(next(self._events), "", 0), self._places))
            problems += self._findings.all()
        if problems:
            raise DefinitionError(problems)
        return found

    def _stop(self, event: Any, message: str) -> NoReturn:
        _refuse(message, self._file, _line(event))

    def _node(self, event: Any, path: str, depth: int) -> Any:
        self._places.setdefault(path, _line(event))
        if isinstance(event, yaml.AliasEvent):
            self._findings.add(path, f"the alias *{shown(event.anchor)}", "write the value out")
            return None
        self._check_properties(event, path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if depth >= DEPTH_MAX:
            self._stop(event, f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        return self._mapping(path, depth)

    def _check_properties(self, event: Any, path: str) -> None:
        if event.anchor is not None:
            self._findings.add(path, f"the anchor &{shown(event.anchor)}", "leave it out")
        if event.tag is not None:
            self._findings.add(path, f"the tag {shown(event.tag)}", "write plain values, no tags")

    def _sequence(self, path: str, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, f"{path}[{len(items)}]", depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(event, "a key that is not plain text")
            key = self._whole_text(event.value, path)
            inner = f"{path}.{key}" if path else key
            if key in values:
                first = self._places[inner]
                self._places[inner] = _line(event)
                self._findings.add(
                    inner, f"the key {shown(key)} stands twice, first on line {first}"
                )
            self._places[inner] = _line(event)
            self._check_properties(event, inner)
            if key == "<<":
                self._findings.add(inner, "merge keys are not supported", "write the values out")
            values[key] = self._node(next(self._events), inner, depth + 1)
        return values

    def _scalar(self, event: Any, path: str) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return self._whole_text(text, path)
        if text in _WORDS:
            return _WORDS[text]
        if _NO_NUMBER.fullmatch(text):
            self._findings.add(path, f"{text} is no JSON value", "quote it if it is text")
            return None
        if not _NUMBER.fullmatch(text):
            return self._whole_text(text, path)
        whole = _WHOLE.fullmatch(text) is not None
        number: Any = int(text) if whole and len(text) < _DIGITS_MAX else float(text)
        reason = why_not_json(number)
        if reason is not None:
            self._findings.add(path, shown(reason, 100), "quote it if it is text")
        return number

    def _whole_text(self, text: str, path: str) -> str:
        """Join the halves of characters that JSON writes as two escapes."""
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._findings.add(path, "the text holds half a surrogate pair")
            return ""
