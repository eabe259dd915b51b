"""Takes secrets out of JSON values and texts, and counts by which rule.

What a key says is a secret is looked for wherever else it stands: a password goes from the
parameters into arguments under another name, and into the message of the error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from warrener.services.histories.rules import HINTS, MARK, SHAPES, Rules, Shape

SEEN_CHARACTERS_MIN: Final = 6  # shorter ones stand in many a text by chance
SEEN_CHARACTERS_MAX: Final = 4_096
SEEN_MAX: Final = 100_000  # whole values that are looked for
SOUGHT_MAX: Final = 256  # of them also as a part of other texts
SEEN: Final = "values of these keys elsewhere"

Leaf = Callable[[str, str | None], str]
Path = tuple[str, ...]


class Seen:
    """Secrets that were found under a key, bounded."""

    def __init__(self) -> None:
        """Begin with none."""
        self.whole: dict[str, None] = {}
        self.sought: list[str] = []

    def add(self, text: str) -> None:
        """Remember a secret if it is long enough to be told from other text."""
        if not SEEN_CHARACTERS_MIN <= len(text) <= SEEN_CHARACTERS_MAX or text in self.whole:
            return
        if len(self.whole) < SEEN_MAX:
            self.whole[text] = None
        if len(self.sought) < SOUGHT_MAX:
            self.sought.append(text)
            self.sought.sort(key=len, reverse=True)  # one may be a part of another


class Values:
    """Takes secrets out; with `learns` it only finds out what `Seen` is to have."""

    def __init__(self, rules: Rules, seen: Seen, *, learns: bool = False) -> None:
        """Take the rules, and what was seen under keys so far."""
        self._rules = rules
        self._seen = seen
        self._learns = learns
        self.counts: Counter[str] = Counter()

    def json(
        self, value: Any, path: Path = (), rule: str | None = None, leaf: Leaf | None = None
    ) -> Any:
        """Return a JSON value without secrets; with `rule` all of it is one.

        Lists and objects keep their shape, as steps may go over them; truth values and null stay.
        `leaf` takes texts in another way than `text` does.
        """
        if isinstance(value, str):
            return (leaf or self.leaf)(value, rule)
        if isinstance(value, dict):
            return self._dict(value, path, rule, leaf)
        if isinstance(value, list):
            return [self.json(inner, path, rule, leaf) for inner in value]
        if rule is not None and isinstance(value, int | float) and not isinstance(value, bool):
            self.counts[rule] += 1
            return MARK
        return value

    def leaf(self, text: str, rule: str | None) -> str:
        """Return a text without secrets; with `rule` all of it is one."""
        return self.text(text) if rule is None else self.secret(text, rule)

    def secret(self, text: str, rule: str) -> str:
        """Return what stands for a text that is a secret."""
        if not text or text == MARK:
            return text
        if self._learns:
            self._seen.add(text)
        self.counts[rule] += 1
        return MARK

    def text(self, text: str) -> str:
        """Return a text without what looks like a secret, or is one that was seen under a key."""
        if len(text) < SEEN_CHARACTERS_MIN:  # no shape is as short
            return text
        lowered = text.lower()
        if HINTS.search(lowered):
            for shape in SHAPES:
                if any(hint in lowered for hint in shape.hints):
                    text = self._without(shape, text)
        return text if self._learns else self._unseen(text)

    def keyed(self, key: str, text: str) -> str:
        """Return the text under a key that is no part of a JSON value, such as a label."""
        return self.leaf(text, self._rules.of(key, ()))

    def rule(self, key: str, path: Path) -> str | None:
        """Return the rule for what stands under a key."""
        return self._rules.of(key, path)

    def _dict(
        self, value: dict[str, Any], path: Path, rule: str | None, leaf: Leaf | None
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, inner in value.items():
            of_key = rule or self._rules.of(key, path)
            name = shown = self.text(key)
            while name in found:  # two keys were secrets
                name = f"{shown} {len(found)}"
            found[name] = self.json(inner, (*path, key), of_key, leaf)
        return found

    def _without(self, shape: Shape, text: str) -> str:
        def replaced(match: Any) -> str:
            secret = match["secret"]
            if MARK in secret or secret.startswith("[redacted"):
                return str(match[0])
            if shape.teaches and self._learns:
                self._seen.add(secret)
            self.counts[shape.name] += 1
            begin, end = match.span("secret")
            whole, at = match[0], match.start()
            return f"{whole[: begin - at]}{MARK}{whole[end - at :]}"

        return shape.pattern.sub(replaced, text)

    def _unseen(self, text: str) -> str:
        if text in self._seen.whole:
            self.counts[SEEN] += 1
            return MARK
        for secret in self._seen.sought:
            if secret in text:
                self.counts[SEEN] += text.count(secret)
                text = text.replace(secret, MARK)
        return text
