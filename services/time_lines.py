"""Time lines: after a restore from a backup the log goes on from an earlier point than the world.

What a worker was ordered to do before the restore must not be taken for what it was ordered since,
though job, step, attempt and token are the same. So orders of a restored log mark their tokens.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from warrener.domain.messages import Beat, StepReport

_SIGN = "@"
Answer = TypeVar("Answer", StepReport, Beat)


def marked(token: str, epoch: int) -> str:
    """Return a token as orders carry it; `epoch` is how often the log was restored."""
    return f"{token}{_SIGN}{epoch}" if epoch else token


def unmarked(answer: Answer, epoch: int) -> Answer:
    """Return a report or beat with the token that the log knows, "" for one of a lost time line."""
    if not epoch:
        return answer
    token, sign, found = answer.token.rpartition(_SIGN)
    known = token if sign and found == str(epoch) else ""
    return msgspec.structs.replace(answer, token=known)
