"""Making, keeping and checking tokens. The text of a token is shown once, when it is made."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from warrener.domain.errors import Conflict, UsageError
from warrener.domain.tokens import ROLES, SECRET_BYTES, AccessToken, Role, Tokens

PREFIX: Final = "wr_"  # so that scanners for leaked secrets can find them
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def make(
    tokens: Tokens, name: str, role: str, now: datetime, expires_at: datetime | None = None
) -> str:
    """Keep a new token of 256 random bits under a name and return its text.

    Raises `UsageError` for a name or a role that cannot be, or if the name is taken.
    """
    if not _NAME.fullmatch(name):
        hint = "use letters, digits, and . _ @ - after the first, at most 64"
        raise UsageError(f"{name!r} is not the name of a token: {hint}")
    if expires_at is not None and expires_at <= now:
        raise UsageError("the token would have expired already")
    text = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    token = AccessToken(
        name=name,
        role=checked_role(role),
        digest=digest_of(text),
        created_at=now,
        expires_at=expires_at,
    )
    try:
        tokens.add(token)
    except Conflict as error:
        raise UsageError(f"{error}: remove it first, or take another name") from error
    return text


def checked_role(role: str) -> Role:
    """Return a role; raises `UsageError` if there is none of this name."""
    for known in ROLES:
        if role == known:
            return known
    raise UsageError(f"there is no role {role!r}: roles are {', '.join(ROLES)}")


def digest_of(text: str) -> str:
    """Return what is kept of a token. It has all its strength already: no salt, no slow hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def found_by(kept: Iterable[AccessToken], digest: str, now: datetime) -> AccessToken | None:
    """Return the token with this digest that has not expired; it takes as long for any digest."""
    found = None
    for token in kept:
        if hmac.compare_digest(token.digest.encode(), digest.encode()):
            found = token
    expired = found is not None and found.expires_at is not None and found.expires_at <= now
    return None if expired else found


def secret_of(tokens: Tokens) -> bytes:
    """Return the secret of the store, made when it is asked for first."""
    return tokens.secret(secrets.token_bytes(SECRET_BYTES))
