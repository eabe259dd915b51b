"""Tokens that let people and programs in over HTTP: only their digests are kept, never they."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import msgspec

from warrener.domain.messages import Time

Role = Literal["viewer", "submitter", "operator"]
ROLES: Final[tuple[Role, ...]] = ("viewer", "submitter", "operator")  # each may what those before

TOKENS_MAX: Final = 1_000
SECRET_BYTES: Final = 32


class AccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token: whose it is, what it allows, and the SHA-256 of its text in hex."""

    name: str
    role: Role
    digest: str
    created_at: Time
    expires_at: Time | None = None


class Tokens(Protocol):
    """Keeps tokens, and a secret by which sessions are signed.

    Obligations: of several that are added under one name at the same time one is kept, and the
    others get `Conflict`, as does whoever adds one where there are `TOKENS_MAX`. What `add` and
    `remove` have done is there for every process at once, and after a crash. `secret` makes its
    bytes out of the given ones when it is asked first, and gives the same to everybody ever after.
    Errors are `StoreUnavailable`.
    """

    def add(self, token: AccessToken) -> None:
        """Keep a token; raises `Conflict` if the name is taken or there are too many."""
        ...

    def all(self) -> Sequence[AccessToken]:
        """Return all tokens by name."""
        ...

    def remove(self, name: str) -> bool:
        """Forget a token; say whether there was one."""
        ...

    def secret(self, fresh: bytes) -> bytes:
        """Return the secret; `fresh` becomes it if there is none yet."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
