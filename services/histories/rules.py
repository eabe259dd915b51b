"""What counts as a secret: names of JSON keys, and shapes of text.

Names are compared without case and separators: `apiKey`, `api-key` and `API_KEY` are one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from typing import Final

import msgspec

from warrener.domain.errors import UsageError

MARK: Final = "[redacted]"
PATTERNS_MAX: Final = 200
PATTERN_CHARACTERS_MAX: Final = 200
NAMES_KEPT_MAX: Final = 10_000

NAMES: Final = (
    "*password*",
    "*passwd",
    "pwd",
    "*passphrase",
    "*secret*",
    "*token",
    "*apikey",
    "*authorization",
    "*cookie",
    "cookies",
    "*privatekey",
    "*accesskey",
    "*accesskeyid",
    "*credential",
    "*credentials",
    "session",
    "sessionid",
    "sessionkey",
)
_NAME_WORDS: Final = (
    "passw(?:or)?d|passphrase|secret|token|credential|(?:api|access|private)[_-]?key"
)


class Shape(msgspec.Struct, frozen=True):
    """Text that looks like a secret. The group `secret` is taken out; `hints` must be in the text.

    What a shape that `teaches` has found is looked for elsewhere, too.
    """

    name: str
    hints: tuple[str, ...]  # in small letters
    pattern: re.Pattern[str]
    teaches: bool = False


def _shape(name: str, hints: str, pattern: str, *, teaches: bool = False) -> Shape:
    return Shape(name, tuple(hints.split("|")), re.compile(pattern, re.DOTALL), teaches)


# No pattern tries a place twice, or more than a bounded stretch from it: their cost is linear.
SHAPES: Final = (
    _shape(
        "private keys",
        "private key",
        r"(?P<secret>-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z))",
    ),
    _shape(
        "passwords in URLs",
        "://",
        r"://[^\s/:@?#]{0,256}:(?P<secret>[^\s/@]{1,512})@",
        teaches=True,
    ),
    _shape(
        "authorization headers",
        "bearer|basic",
        r"(?<![A-Za-z])(?i:bearer|basic)\s{1,4}"
        r"(?P<secret>(?![a-z]{8,19}(?![\w.~+/=-]))[\w.~+/=-]{8,8192})",  # no word of a language
    ),
    _shape(
        "JSON web tokens",
        "eyj",
        r"(?<![\w-])(?P<secret>eyJ[\w-]{8,8192}\.[\w-]{8,65536}\.[\w-]{0,8192})",
    ),
    _shape(
        "keys of known services",
        "akia|asia|gh|xox|glpat-|aiza|sk-|sk_|rk_|npm_|pypi-|sg.|hvs.|shpat_",
        r"(?<![\w-])(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Z])"
        r"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_\w{22,255}|xox[abeoprs]-[\w-]{10,255}"
        r"|glpat-[\w-]{20,255}|AIza[\w-]{35}|sk-[\w-]{20,255}|[sr]k_(?:live|test)_\w{16,255}"
        r"|npm_[A-Za-z0-9]{36}|pypi-[\w-]{32,255}|SG\.[\w-]{16,64}\.[\w-]{16,64}"
        r"|hvs\.[\w-]{20,255}|shpat_[0-9a-f]{32})",
    ),
    _shape(
        "cookies",
        "cookie",
        r"(?i)cookie[\"']?\s{0,4}:\s{0,4}(?P<secret>[^\s\"'][^\n\"']{0,4096})",
    ),
    _shape(  # also in JSON that is itself a text in JSON
        "assignments in text",
        "passw|passphrase|secret|token|credential|api|access|private",
        rf"(?i)(?:{_NAME_WORDS})s?\\{{0,8}}[\"']?\s{{0,4}}[:=]\s{{0,4}}"
        r"(?P<secret>\\{0,8}\"[^\"\n]{1,512}\"|\\{0,8}'[^'\n]{1,512}'"
        r"|[^\s,;&\"'<>()\[\]{}\\]{1,512})",
    ),
)


HINTS: Final = re.compile("|".join(re.escape(hint) for shape in SHAPES for hint in shape.hints))


class Rules:
    """The rules that hold for one file: ours, and the patterns that were asked for beside them."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Take globs on keys, or on dotted paths that lead to them; raises `UsageError`."""
        asked = tuple(dict.fromkeys(_checked(pattern) for pattern in patterns))
        if len(asked) > PATTERNS_MAX:
            raise UsageError(
                f"{len(asked)} patterns to redact are over the limit of {PATTERNS_MAX}"
            )
        self._names = [(name, _glob(name)) for name in NAMES]
        self._names += [(name, _glob(name)) for name in asked if "." not in name]
        self._paths = [(path, _path_glob(path)) for path in asked if "." in path]
        self._known: dict[str, str | None] = {}
        self.names = (*(f"key {name}" for name in (*NAMES, *asked)), *_SHAPE_NAMES)

    def of(self, key: str, path: Sequence[str]) -> str | None:
        """Return the rule for what stands under a key; `path` are the keys that lead to it."""
        if key not in self._known:
            if len(self._known) >= NAMES_KEPT_MAX:
                self._known.clear()
            self._known[key] = _first(self._names, plain(key))
        found = self._known[key]
        if found is None and self._paths:
            found = _first(self._paths, ".".join(map(plain, (*path, key))))
        return found


_SHAPE_NAMES: Final = tuple(shape.name for shape in SHAPES)
_Globs = list[tuple[str, Callable[[str], object]]]


def plain(key: str) -> str:
    """Return a key without case and separators."""
    return "".join(character for character in key.casefold() if character.isalnum())


def _first(globs: _Globs, text: str) -> str | None:
    return next((f"key {name}" for name, matches in globs if matches(text)), None)


def _glob(pattern: str) -> Callable[[str], object]:
    return re.compile(translate(_plain_pattern(pattern))).match


def _path_glob(pattern: str) -> Callable[[str], object]:
    """A path matches by its end: what leads to it need not be told."""
    wanted = ".".join(map(_plain_pattern, pattern.split(".")))
    return re.compile(f"(?:.*\\.)?{translate(wanted)}", re.DOTALL).match


def _plain_pattern(pattern: str) -> str:
    return "".join(c for c in pattern.casefold() if c.isalnum() or c in "*?")


def _checked(pattern: str) -> str:
    """Return a pattern that says something; one without a letter would take out everything."""
    text = pattern.strip()
    if len(text) > PATTERN_CHARACTERS_MAX:
        raise UsageError(f"a pattern to redact has over {PATTERN_CHARACTERS_MAX} characters")
    if not all(_plain_pattern(part) for part in text.split(".")):
        raise UsageError(
            f"{pattern!r} is no pattern to redact: give the name of a key such as iban or *_code,"
            " or a path such as customer.email"
        )
    return text
