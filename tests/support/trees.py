"""Directory trees that are hard to count, and what `find` says about a tree."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

ODD_NAMES = [
    b"caf\xc3\xa9.py",
    b"latin1-\xe9.py",
    b"new\nline.txt",
    b"per%20cent.txt",
    b"%",
    b"\xff\xfe",
    b" spaces ",
    b"quote'\"<b>${{ params }}.md",
    b"-rf",
    b".hidden",
]
PYTHON = b"class A:\n    def a(self):\n        async def b(): pass\n\ndef c(): return lambda: 0\n"


def find(folder: Path) -> tuple[int, int]:
    """Return the number of plain files below a folder and the sum of their bytes, by `find`."""
    command = ["find", os.fsencode(folder), "-type", "f", "-printf", "%s\\n"]
    found = subprocess.run(command, capture_output=True, check=False).stdout.split()
    return len(found), sum(map(int, found))


def nasty_tree(folder: Path, large_bytes: int = 20_000_000) -> Path:
    """Make a tree with odd names, links in circles, pipes, empty, sparse and large files."""
    root = os.fsencode(folder)
    os.makedirs(root, exist_ok=True)
    for name in ODD_NAMES:
        _write(root, name, PYTHON)
        below = os.path.join(root, b"dir-" + name)
        os.mkdir(below)
        _write(below, name, b"one two\nthree\n")
    os.makedirs(os.path.join(root, b"empty", b"emptier"))
    os.makedirs(os.path.join(root, *[b"deep"] * 40))
    _write(root, b"nothing", b"")
    _write(root, b"large.txt", b"seven words in every line of it\n" * (large_bytes // 32))
    _write(root, b"bad.py", b"def broken(:\n")
    _write(root, b"nul.py", b"x = 1\0\n")
    _specials(root)
    locked = os.path.join(root, b"locked")
    os.mkdir(locked)
    _write(locked, b"inside.txt", b"out of reach unless you are root\n")
    os.chmod(locked, 0)
    return folder


def unlock(folder: Path) -> None:
    """Let the tree be deleted."""
    os.chmod(folder / "locked", 0o700)


def _specials(root: bytes) -> None:
    """Make what is neither a folder nor a plain file, and links to all of it."""
    os.mkfifo(os.path.join(root, b"pipe.py"))
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(root, os.O_RDONLY)  # the path of a socket may only be short
        try:
            made.bind(f"/proc/self/fd/{here}/socket")
        finally:
            os.close(here)
    for target, name in [
        (b".", b"loop"),
        (b"..", b"empty/up"),
        (b"missing", b"dangling"),
        (b"large.txt", b"link.txt"),
        (b"pipe.py", b"link.py"),
    ]:
        os.symlink(target, os.path.join(root, name))


def _write(folder: bytes, name: bytes, data: bytes) -> None:
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)
