"""Looking at files for the census: what they are written in, and how much of it there is.

File names are bytes to the system and need not be UTF-8, while JSON carries text alone. `as_text`
and `as_path` go between the two without loss.
"""

from __future__ import annotations

import ast
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

import msgspec

BLOCK_BYTES = 256 * 1024
PARSED_BYTES_MAX = 8 * 1024 * 1024  # generated files beyond this cost seconds and gigabytes

_LANGUAGES = {
    "Assembly": "asm s",
    "Binary": "a bin class dll dylib exe o pyc pyd pyo so wasm",
    "C": "c h",
    "C#": "cs",
    "C++": "cc cpp cxx hh hpp hxx ipp",
    "CSS": "css less scss",
    "CSV": "csv tsv",
    "Certificates": "crt pem",
    "Cython": "pxd pxi pyx",
    "Fortran": "f f90 f95",
    "Go": "go",
    "HTML": "htm html xhtml",
    "Images": "bmp gif ico jpeg jpg png svg webp",
    "Java": "java",
    "JavaScript": "cjs js jsx mjs",
    "JSON": "ipynb json jsonl",
    "Lua": "lua",
    "Markdown": "markdown md",
    "Perl": "pl pm",
    "PHP": "php",
    "Python": "py pyi pyw",
    "reStructuredText": "rst",
    "Ruby": "rb",
    "Rust": "rs",
    "Settings": "cfg conf ini properties toml",
    "Shell": "bash bat csh fish ps1 sh zsh",
    "SQL": "sql",
    "Swift": "swift",
    "TeX": "bib cls sty tex",
    "Text": "log text txt",
    "Translations": "mo po pot",
    "TypeScript": "ts tsx",
    "XML": "xml xsd xsl",
    "YAML": "yaml yml",
    "Archives": "7z bz2 gz jar rar tar whl xz zip zst",
}
_BY_SUFFIX = {s: name for name, suffixes in _LANGUAGES.items() for s in suffixes.split()}
_BY_NAME = {"makefile": "Make", "dockerfile": "Dockerfile", "license": "Text", "readme": "Text"}
_ESCAPED = re.compile("[%\x00-\x1f\x7f\udc80-\udcff]")
_SPACE = frozenset(b" \t\n\r\x0b\x0c")
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_warnings_lock = threading.Lock()  # the warning filters belong to the whole process


class Tally(msgspec.Struct):
    """Files, their bytes (as the directory says), and lines and words of those that are text."""

    files: int = 0
    bytes: int = 0
    lines: int = 0
    words: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.files += other.files
        self.bytes += other.bytes
        self.lines += other.lines
        self.words += other.words


def as_text(path: str) -> str:
    """Return a path of the system as text for JSON: odd bytes, control characters and % as %XX."""
    text = os.fsencode(path).decode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda found: f"%{ord(found.group()) & 0xFF:02X}", text)


def as_path(text: str) -> str:
    """Return the path of the system that a text from `as_text` stands for."""
    return os.fsdecode(unquote_to_bytes(text))


def language(name: str) -> str:
    """Return what a file of this name is written in, as far as its suffix tells."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return _BY_NAME.get(name.lower(), "Other")
    return _BY_SUFFIX.get(suffix.lower(), "Other")


def is_python(name: str) -> bool:
    """Say whether a file of this name holds Python."""
    return language(name) == "Python"


def entries(folder: str) -> Iterator[tuple[os.DirEntry[str], bool]]:
    """Yield the folders and plain files right in a folder, with whether it is a file.

    Symbolic links, pipes, sockets and devices are neither. Raises `OSError`.
    """
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield entry, False
            elif entry.is_file(follow_symlinks=False):
                yield entry, True


def count(path: str, size: int) -> Tally:
    """Count lines (newlines) and words of a file of `size` bytes; raises `OSError`.

    A file with a NUL in its first block is not text: its lines and words are not counted. Nothing
    is read beyond `size`, so that a file that grows, or one without an end, ends the count.
    """
    tally = Tally(files=1, bytes=size)
    inside_word = False
    for number, block in enumerate(_blocks(path, size)):
        if number == 0 and b"\0" in block:
            break
        tally.lines += block.count(b"\n")
        tally.words += len(block.split()) - (inside_word and block[0] not in _SPACE)
        inside_word = block[-1] not in _SPACE
    return tally


def definitions(path: str, size: int) -> tuple[int, int]:
    """Return how many functions and classes a Python file defines.

    Raises `OSError`, and `ValueError` (or `SyntaxError`) if it cannot be parsed.
    """
    if size > PARSED_BYTES_MAX:
        raise ValueError(f"{size} bytes are too many to parse")
    source = b"".join(_blocks(path, size))
    try:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (RecursionError, MemoryError) as error:
        raise ValueError("nested too deeply to parse") from error
    return _count_definitions(tree)


def _count_definitions(tree: ast.Module) -> tuple[int, int]:
    functions = classes = 0
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        functions += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        classes += isinstance(node, ast.ClassDef)
        left.extend(_statements_in(node))
    return functions, classes


def _statements_in(node: ast.AST) -> Iterable[ast.AST]:
    """Return the statements right below a node; expressions cannot define anything."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(node, field, ())
        yield from inner if isinstance(inner, list) else ()


def _blocks(path: str, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a plain file; what took its place meanwhile is not read."""
    if size == 0:
        return
    descriptor = os.open(path, _FLAGS)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no plain file any longer")
        left = size
        while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
            left -= len(block)
            yield block
