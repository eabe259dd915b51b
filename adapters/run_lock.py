"""Keeps two processes from doing the same work on the same SQLite file.

The lock is an advisory one on a byte of a file beside the store; the kernel gives it back when the
process ends, however it ends. Two jobs share a byte once in 2**58 pairs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid5

from warrener.domain.errors import StoreUnavailable, UsageError
from warrener.domain.ids import NAMESPACE

SUFFIX = ".lock"
_OFFSET_BITS = 62  # an offset in a file is a signed 64-bit number


@contextmanager
def run_lock(store_path: str, root: UUID) -> Iterator[None]:
    """Hold the right to work on a root job; raises `UsageError` if another process holds it.

    Within one process the lock may be taken once at a time: `fcntl` locks belong to a process.
    """
    refusal = f"job {root} is being worked on by another process: wait for it, or stop it first"
    with _locked(store_path, root, refusal):
        yield


@contextmanager
def role_lock(store_path: str, role: str) -> Iterator[None]:
    """Hold a role that one process has at a time, as `run_lock` does with a job."""
    refusal = f"another {role} works on this store: stop it first"
    with _locked(store_path, uuid5(NAMESPACE, f"role/{role}"), refusal):
        yield


@contextmanager
def _locked(store_path: str, what: UUID, refusal: str) -> Iterator[None]:
    try:
        descriptor = os.open(store_path + SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"cannot lock {store_path}: {error.strerror}") from error
    try:
        _take(descriptor, store_path, what, refusal)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, store_path: str, what: UUID, refusal: str) -> None:
    offset = what.int >> (128 - _OFFSET_BITS)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
    except BlockingIOError as error:
        raise UsageError(refusal) from error
    except OSError as error:
        raise StoreUnavailable(f"cannot lock {store_path}: {error.strerror}") from error
