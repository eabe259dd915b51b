"""Keeps two processes from working on the same job in the same SQLite file.

The lock is an advisory one on a byte of a file beside the store; the kernel gives it back when the
process ends, however it ends. Two jobs share a byte once in 2**58 pairs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from warrener.domain.errors import StoreUnavailable, UsageError

SUFFIX = ".lock"
_OFFSET_BITS = 62  # an offset in a file is a signed 64-bit number


@contextmanager
def run_lock(store_path: str, root: UUID) -> Iterator[None]:
    """Hold the right to work on a root job; raises `UsageError` if another process holds it.

    Within one process the lock may be taken once at a time: `fcntl` locks belong to a process.
    """
    try:
        descriptor = os.open(store_path + SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"cannot lock {store_path}: {error.strerror}") from error
    try:
        _take(descriptor, store_path, root)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, store_path: str, root: UUID) -> None:
    offset = root.int >> (128 - _OFFSET_BITS)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
    except BlockingIOError as error:
        raise UsageError(
            f"job {root} is being worked on by another process: wait for it, or stop it first"
        ) from error
    except OSError as error:
        raise StoreUnavailable(f"cannot lock {store_path}: {error.strerror}") from error
