"""The text of expressions: tokens, and what an expression reads, found without evaluating it.

CEL itself parses and evaluates; this module finds the select chains (`steps.load.result.base`)
that an expression reads, so that only those values are handed to CEL, and refuses early what CEL
would refuse only at run time, such as an unknown variable or function.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import NamedTuple

from warrener.domain.errors import UsageError

TEXT_LENGTH_MAX = 4096
NESTING_MAX = 50
OPEN = "${{"
VARIABLES = ("params", "steps", "item", "index", "job")
STEP_FIELDS = ("result", "results", "status", "error")
JOB_FIELDS = ("id", "root", "parent", "depth", "attempt", "labels")

_LITERALS = frozenset({"true", "false", "null"})
_TYPES = frozenset(
    {"int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type"}
)
_FUNCTIONS = frozenset(
    {"size", "has", "string", "int", "uint", "double", "bytes", "timestamp", "duration", "type"}
    | {"dyn"}
)
_MACROS = frozenset({"map", "filter", "all", "exists", "exists_one", "existsOne"})
_TIME_PARTS = (
    *("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear"),
    *("Hours", "Minutes", "Seconds", "Milliseconds"),
)
_METHODS = _MACROS | {"size", "contains", "startsWith", "endsWith", "matches"}
_METHODS |= {f"get{part}" for part in _TIME_PARTS}
_TOKEN = re.compile(
    r"""
      (?P<space> (?: \s+ | //[^\n]* )+ )
    | (?P<text>
          (?: [rR][bB]? | [bB][rR] ) (?: \"""[\s\S]*?\""" | '''[\s\S]*?'''
                                     | "[^"\r\n]*" | '[^'\r\n]*' )
        | [bB]? (?: \"""(?:\\[\s\S]|[^\\])*?\""" | '''(?:\\[\s\S]|[^\\])*?'''
                  | "(?:\\[^\r\n]|[^"\\\r\n])*" | '(?:\\[^\r\n]|[^'\\\r\n])*' )
      )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number> 0[xX][0-9a-fA-F]+[uU]? | (?: \d+(?:\.\d+)? | \.\d+ ) (?: [eE][+-]?\d+ )? [uU]? )
    | (?P<sign> == | != | <= | >= | && | \|\| | [-+*/%<>!?:.,()\[\]{}] )
    | (?P<odd> [\s\S] )
    """,
    re.VERBOSE | re.ASCII,
)
_PLAIN_KEY = re.compile(r"""["']([^"'\\]*)["']\Z""")

Chain = tuple[str, ...]


class ExpressionSyntaxError(UsageError):
    """The text of an expression cannot be used; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)


class Token(NamedTuple):
    """A piece of the text: its kind (a group of the pattern), its text, where it begins."""

    kind: str
    text: str
    start: int


class Reading(NamedTuple):
    """What an expression reads: select chains with the number of loops around each."""

    chains: frozenset[Chain]
    looped: frozenset[Chain]  # those read inside the body of map, filter, exists, ...
    path: Chain | None  # the whole expression, where it is one chain


def nearest(name: str, known: object) -> str:
    """Return a hint that names the most similar of the known names, or an empty text."""
    names = [str(item) for item in known]  # type: ignore[attr-defined]
    found = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""


def tokens(text: str) -> list[Token]:
    """Split a text of acceptable length into tokens, white space and comments included."""
    return [
        Token(str(match.lastgroup), match.group(), match.start()) for match in _TOKEN.finditer(text)
    ]


def end_of(text: str, start: int) -> int:
    """Return where the `}}` stands that closes an expression begun before `start`, or -1.

    Braces inside text literals and of map literals do not close it.
    """
    depth = 0
    window = text[start : start + TEXT_LENGTH_MAX + 2]
    for match in _TOKEN.finditer(window):
        sign = match.group()
        if sign == "{":
            depth += 1
        elif sign == "}" and depth:
            depth -= 1
        elif sign == "}" and window.startswith("}}", match.start()):
            return start + match.start()
    return text.find("}}", start)


def normalised(text: str) -> str:
    """Return the text with each run of white space and comments between tokens as one space."""
    return "".join(" " if token.kind == "space" else token.text for token in tokens(text)).strip()


def read(text: str) -> Reading:
    """Find what a normalised expression that CEL accepts reads.

    Raises `ExpressionSyntaxError` on what would fail at every evaluation.
    """
    return _Reader([token for token in tokens(text) if token.kind != "space"]).run()


def check_nesting(text: str) -> None:
    """Refuse brackets nested too deep for a parser that recurses."""
    depth = 0
    for token in tokens(text):
        if token.kind == "sign" and token.text in "([{":
            depth += 1
        elif token.kind == "sign" and token.text in ")]}":
            depth -= 1
        if depth > NESTING_MAX:
            raise ExpressionSyntaxError(
                f"brackets are nested deeper than {NESTING_MAX} levels",
                "compute this in an endpoint",
            )


class _Reader:
    """One walk over the tokens of an expression."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._chains: set[Chain] = set()
        self._looped: set[Chain] = set()
        self._brackets: list[str | None] = []  # open brackets; the local name of a loop's
        self._path: Chain | None = None

    def run(self) -> Reading:
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == "name":
                self._name(token)
            elif token.kind == "sign":
                self._sign(token.text)
            else:
                self._at += 1
        return Reading(frozenset(self._chains), frozenset(self._looped), self._path)

    def _text(self, offset: int) -> str:
        place = self._at + offset
        return self._tokens[place].text if 0 <= place < len(self._tokens) else ""

    def _kind(self, offset: int) -> str:
        place = self._at + offset
        return self._tokens[place].kind if 0 <= place < len(self._tokens) else ""

    def _sign(self, sign: str) -> None:
        if sign in ("(", "[", "{"):
            self._brackets.append(self._loop_variable())
        elif sign in (")", "]", "}") and self._brackets:
            self._brackets.pop()
        self._at += 1

    def _loop_variable(self) -> str | None:
        """Return the name that `.map(x, ...)` and the like bind, if this bracket opens one."""
        is_macro = self._text(0) == "(" and self._text(-1) in _MACROS and self._text(-2) == "."
        if not is_macro or self._kind(1) != "name" or self._text(2) != ",":
            return None
        name = self._text(1)
        if name in VARIABLES or name in _LITERALS:
            raise ExpressionSyntaxError(
                f"the loop variable {name} hides the variable {name}", "give it another name"
            )
        return name

    def _name(self, token: Token) -> None:
        if self._text(-1) == ".":
            self._selected(token)
        elif self._text(1) == "(" and token.text != "in":
            _check_known("function", token.text, _FUNCTIONS)
        elif self._text(1) == "{":
            raise ExpressionSyntaxError(
                f"{token.text}{{...}} is no value here", 'write a map as {"key": value}'
            )
        elif token.text in VARIABLES:
            self._chain(token)
            return
        elif not self._is_known(token.text):
            raise ExpressionSyntaxError(
                f"unknown variable {token.text}",
                nearest(token.text, VARIABLES) or f"known are {', '.join(VARIABLES)}",
            )
        self._at += 1

    def _is_known(self, name: str) -> bool:
        return name in self._brackets or name in _LITERALS or name in _TYPES or name == "in"

    def _selected(self, token: Token) -> None:
        """A name after a dot: a field of a value that is no chain, or a method."""
        if self._kind(-2) not in ("name", "text", "number") and self._text(-2) not in list(")]}"):
            raise ExpressionSyntaxError(f"nothing stands before .{token.text}")
        if self._text(1) == "(":
            _check_known("method", token.text, _METHODS)

    def _chain(self, token: Token) -> None:
        """Take the longest chain of fields that begins at this variable."""
        parts = [token.text]
        whole = self._at == 0
        self._at += 1
        while (width := self._part(parts)) > 0:
            self._at += width
        chain = tuple(parts)
        _check_chain(chain)
        self._chains.add(chain)
        if any(self._brackets):
            self._looped.add(chain)
        if whole and self._at == len(self._tokens):
            self._path = chain

    def _part(self, parts: list[str]) -> int:
        """Add the next field to the parts; return how many tokens it took, 0 if there is none."""
        if self._text(0) == "." and self._kind(1) == "name" and self._text(2) != "(":
            parts.append(self._text(1))
            return 2
        key = _PLAIN_KEY.match(self._text(1)) if self._kind(1) == "text" else None
        is_field = self._text(0) == "[" and key is not None and self._text(2) == "]"
        if not is_field or key is None or (parts[0] == "steps" and len(parts) < 3):
            return 0
        parts.append(key.group(1))
        return 3


def _check_known(kind: str, name: str, known: frozenset[str]) -> None:
    if name not in known:
        raise ExpressionSyntaxError(
            f"unknown {kind} {name}",
            nearest(name, known) or f"known are {', '.join(sorted(known))}",
        )


def _check_chain(chain: Chain) -> None:
    root, *fields = chain
    if root == "steps" and (len(fields) < 2 or fields[1] not in STEP_FIELDS):
        raise ExpressionSyntaxError(
            f"{'.'.join(chain)} is not something that can be read of a step",
            _step_hint(fields),
        )
    if root == "job" and fields and fields[0] not in JOB_FIELDS:
        raise ExpressionSyntaxError(
            f"the job has no field {fields[0]}",
            nearest(fields[0], JOB_FIELDS) or f"it has {', '.join(JOB_FIELDS)}",
        )


def _step_hint(fields: list[str]) -> str:
    if not fields:
        return "write steps.NAME.result, with the name of the step as it is"
    near = nearest(fields[1], STEP_FIELDS) if len(fields) > 1 else ""
    choices = ", ".join(f"steps.{fields[0]}.{field}" for field in STEP_FIELDS)
    return near or f"read one of {choices}"
