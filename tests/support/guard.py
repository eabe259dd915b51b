"""Programs that end with the process they belong to, however that ends.

Between owner and program stands a guard, a small process. It ends the program, and all that the
program has started, when it is told to or when the owner is gone. Why so: `kill -9` of the owner
runs no handler; PR_SET_PDEATHSIG alone fires when the *thread* that started the program ends, and
does not reach what put itself into another session (epmd); a process group needs somebody alive to
signal it. The guard is a subreaper, so all orphans below it become its children. Should the guard
itself be killed, PR_SET_PDEATHSIG ends the program.

This file is both the module and, run as a script, the guard.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
OWNER_CHECK_SECONDS = 0.2
END_SECONDS = 10.0
LAST_WRITES_SECONDS = 1.0  # other guards of the same owner end programs that write to the folder


class GuardedProgram:
    """A program that runs until it ends, is ended, or its owner is gone.

    `pid` is the program's own; its output is appended to `log`. `owner` is the process it belongs
    to, by default this one; if that is gone without ending the program, `folder` is removed.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        owner: int | None = None,
        folder: Path | None = None,
    ) -> None:
        belongings = [str(owner or os.getpid()), str(folder or "")]
        guard = [sys.executable, "-I", "-S", __file__, *belongings, *command]
        with log.open("ab") as output:
            # A session of its own: Ctrl-C is for the owner, who ends things in order.
            self.guard = subprocess.Popen(
                guard,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                env=env,
                start_new_session=True,
            )
        assert self.guard.stdout is not None
        with self.guard.stdout as pipe:
            self.pid = _read_pid(pipe, self.guard, log)

    @property
    def running(self) -> bool:
        return self.guard.poll() is None

    def kill(self) -> None:
        """End the program by SIGKILL, at once; harmless if it has ended."""
        self._signal(signal.SIGKILL)
        self.guard.wait(END_SECONDS)

    def terminate(self, wait_seconds: float) -> None:
        """Ask the program to end; raise `subprocess.TimeoutExpired` if it does not."""
        self._signal(signal.SIGTERM)
        self.guard.wait(wait_seconds)

    def _signal(self, number: int) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _read_pid(pipe: IO[bytes], guard: subprocess.Popen[bytes], log: Path) -> int:
    line = pipe.readline()
    if not line:
        raise RuntimeError(f"the guard ended with {guard.wait()}: {log.read_text()[-1000:]}")
    return int(line)


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that has ended, but that nobody has waited for, does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # ended in between, or there is no /proc
        return not Path("/proc/self").exists()
    return state not in "ZX"


def end_guard(guard: int) -> None:
    """End a guard and its program, from whatever process; harmless if they have ended."""
    try:
        command = Path(f"/proc/{guard}/cmdline").read_bytes()
    except OSError:  # it has ended, or there is no /proc: then it ends with its owner
        return
    if __file__.encode() not in command:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(guard, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while is_alive(guard) and time.monotonic() < deadline:
        time.sleep(0.01)


def guard_program(owner: int, command: list[str]) -> int:
    """Run the command until it ends, SIGTERM comes or the owner is gone; return its exit code."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    child = _start(command)
    os.write(1, b"%d\n" % child)
    os.dup2(2, 1)
    try:
        while is_alive(owner):
            ready, _, _ = select.select([wake], [], [], OWNER_CHECK_SECONDS)
            asked = bool(ready) and set(os.read(wake, 512)) - {signal.SIGCHLD}
            code = _reap(child)
            if asked or code is not None:
                return code or 0
        return 0
    finally:
        _end_descendants(child)


def _start(command: list[str]) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == guard:  # else it was killed before that call
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it
            os.dup2(2, 1)
            os.execvp(command[0], command)
    except BaseException as error:
        os.write(2, f"cannot run {command[0]}: {error}\n".encode())
    os._exit(127)


def _reap(program: int) -> int | None:
    """Wait for whatever has ended; return the program's exit code if it is among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitpid(-1, os.WNOHANG):
            if ended[0] == 0:
                break
            if ended[0] == program:
                code = os.waitstatus_to_exitcode(ended[1])
    return code if code is None or code >= 0 else 128 - code


def _end_descendants(program: int) -> None:
    """Kill the children, and the orphans that become ours by that, until there are none."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        pids = [int(word) for word in listing.read_text().split()] if listing.exists() else []
        for pid in pids if listing.exists() else [program]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def main(owner: int, folder: str, command: list[str]) -> int:
    code = guard_program(owner, command)
    if folder and not is_alive(owner):
        time.sleep(LAST_WRITES_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
