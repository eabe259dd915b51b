"""Python's debugger on an endpoint: at its first line, or where it raised."""

from __future__ import annotations

import inspect
import os
import pdb
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

from warrener.domain.errors import UsageError
from warrener.services.endpoints import Endpoint
from warrener.services.modules import is_users
from warrener.services.perform import users_frames

# What the debugger does not step into: the way between the command and the endpoint.
_BETWEEN = (
    "warrener.services.perform",
    "warrener.services.plans",
    "warrener.services.debugging",
    "asyncio.*",
)
R = TypeVar("R")


class Debugger:
    """Looks into one run of an endpoint, on the terminal that this process has."""

    def __init__(self, endpoint: Endpoint[..., Any]) -> None:
        self._endpoint = endpoint
        self._folder = os.path.dirname(endpoint.place[0])
        self._tracer: _Tracer | None = None

    @property
    def was_quit(self) -> bool:
        """Say whether somebody quit the debugger before the endpoint had ended."""
        return self._tracer is not None and self._tracer.quitting

    def call(self, run: Callable[[], R]) -> R:
        """Call what calls the endpoint, and stop at the endpoint's first line.

        While the endpoint goes on, Ctrl-C stops it where it is.
        """
        self._tracer = _Tracer(self._endpoint)
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            self._tracer.begin(sys._getframe())
            return run()
        finally:
            sys.settrace(None)
            signal.signal(signal.SIGINT, interrupt)

    def post_mortem(self, error: BaseException) -> bool:
        """Let somebody look at where the endpoint raised; False if it was not in the endpoint."""
        sys.settrace(None)
        frames = users_frames(error)
        if self.was_quit:
            return True
        if frames is None:
            return False
        looking = pdb.Pdb()
        above = self._above(frames)
        if above:
            looking.cmdqueue.append(f"up {above}")
        looking.reset()
        try:
            looking.interaction(None, frames)  # no frame is left: only the traceback
        except pdb.Restart:
            looking.message("run the command again to begin anew")
        return True

    def _above(self, frames: TracebackType) -> int:
        """Return how far above the place that raised the last line of the user is."""
        files = list(_files(frames))
        theirs = [number for number, file in enumerate(files) if self._is_theirs(file)]
        return len(files) - 1 - theirs[-1] if theirs else 0

    def _is_theirs(self, file: str) -> bool:
        """Say whether code is the user's, who may have installed his endpoints as a package."""
        return is_users(file) or os.path.dirname(file) == self._folder


class _Tracer(pdb.Pdb):
    """The debugger from the first line of an endpoint to its end."""

    def __init__(self, endpoint: Endpoint[..., Any]) -> None:
        super().__init__(skip=_BETWEEN)
        self._code = inspect.unwrap(endpoint.function).__code__

    def begin(self, frame: FrameType) -> None:
        """Run on to the endpoint; what is above this frame is not looked at."""
        code = self._code
        problem: str | None = self.set_break(
            code.co_filename, code.co_firstlineno, temporary=True, funcname=code.co_name
        )
        if problem:
            raise UsageError(f"cannot stop in the endpoint: {problem}")
        self.reset()
        self.botframe = frame
        self.set_continue()
        sys.settrace(self.trace_dispatch)

    def sigint_handler(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Stop where the endpoint is; nothing is printed, for it may be printing itself."""
        if getattr(self, "allow_kbdint", False):  # while a command of the debugger runs
            raise KeyboardInterrupt
        self.set_trace(frame)

    def user_return(self, frame: FrameType, value: Any) -> None:
        """Show what a function returns; after the endpoint itself there is nothing to step to."""
        super().user_return(frame, value)
        if frame.f_code is self._code and not self.quitting and not _may_pause(frame):
            self.set_continue()

    def do_run(self, arg: str) -> None:  # noqa: ARG002
        """Say that there is no beginning anew."""
        self.message("quit, and run the command again to begin anew")

    do_restart = do_run


def _may_pause(frame: FrameType) -> bool:
    """Say whether a return may be a pause, as in a coroutine that waits."""
    return bool(frame.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_GENERATOR))


def _files(frames: TracebackType | None) -> Iterator[str]:
    while frames is not None:
        yield frames.tb_frame.f_code.co_filename
        frames = frames.tb_next
