"""Tokens in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from warrener.domain.errors import Conflict
from warrener.domain.tokens import TOKENS_MAX, AccessToken


class MemoryTokens:
    """Keeps tokens by name."""

    def __init__(self) -> None:
        """Begin without any."""
        self._tokens: dict[str, AccessToken] = {}
        self._secret: bytes | None = None

    def add(self, token: AccessToken) -> None:
        """Keep a token."""
        if token.name in self._tokens:
            raise Conflict(f"there is a token {token.name!r} already")
        if len(self._tokens) >= TOKENS_MAX:
            raise Conflict(f"there are {TOKENS_MAX} tokens already")
        self._tokens[token.name] = token

    def all(self) -> Sequence[AccessToken]:
        """Return all tokens by name."""
        return [token for _, token in sorted(self._tokens.items())]

    def remove(self, name: str) -> bool:
        """Forget a token; say whether there was one."""
        return self._tokens.pop(name, None) is not None

    def secret(self, fresh: bytes) -> bytes:
        """Return the secret."""
        if self._secret is None:
            self._secret = fresh
        return self._secret

    def close(self) -> None:
        """Nothing to release."""
