"""Endpoints that the tests of workers run, also in child processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from warrener import PermanentError, RetryLater, UserActionRequired, current_step, endpoint


@endpoint("basic.double")
def double(number: int) -> int:
    return 2 * number


@endpoint("basic.double_later")
async def double_later(number: int) -> int:
    import asyncio

    await asyncio.sleep(0)
    return 2 * number


@endpoint("basic.echo")
def echo(value: object = None) -> object:
    return value


@endpoint("basic.where")
def where() -> dict[str, object]:
    step = current_step()
    return {"pid": os.getpid(), "path": step.path, "token": step.token}


@endpoint("basic.print")
def shout(text: str) -> str:
    print(text)
    print(text, file=sys.stderr)
    os.write(1, b"written to descriptor 1\n")
    return text


@endpoint("basic.exit")
def leave(code: int) -> None:
    os._exit(code)


@endpoint("basic.die")
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@endpoint("basic.touch_and_hang")
def touch_and_hang(file: Path) -> None:
    file.write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


@endpoint("basic.fail")
def fail(how: str) -> None:
    raise {
        "error": ValueError("no such thing"),
        "exit": SystemExit("leaving"),
        "permanent": PermanentError("gone", "it is gone"),
        "later": RetryLater(after=30, code="throttled"),
        "user": UserActionRequired("reconnect", message="Reconnect your page"),
    }[how]


@endpoint("basic.hold_until_cancelled")
def hold_until_cancelled(file: Path) -> str:
    current_step().progress(0.25, "a quarter")
    file.write_text(str(os.getpid()))
    while not current_step().cancelled:
        time.sleep(0.005)
    return "stopped by myself"


@endpoint("basic.wait_for_ever")
async def wait_for_ever(file: Path) -> None:
    import asyncio

    current_step().progress(note="waiting")
    file.write_text(str(os.getpid()))
    try:
        await asyncio.sleep(3600)
    finally:
        file.write_text("cancelled" if current_step().cancelled else "odd")


_kept: list[bytes] = []


@endpoint("basic.keep")
def keep(mib: int) -> int:
    _kept.append(b"x" * (mib * 1024 * 1024))
    return os.getpid()


@endpoint("basic.keep_and_hang")
def keep_and_hang(mib: int) -> None:
    keep(mib)
    while True:
        time.sleep(0.05)


@endpoint("basic.hold_for_file")
def hold_for_file(file: Path) -> str:
    file.write_text(str(os.getpid()))
    while not file.with_suffix(".go").exists():
        time.sleep(0.005)
    return "held"
