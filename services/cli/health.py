"""The checks of `doctor`. Each looks at one thing and never raises."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import msgspec

from warrener.domain.errors import WarrenerError
from warrener.domain.partitions import Logs
from warrener.services import wiring
from warrener.services.cli.health_views import findings
from warrener.services.lag import lag
from warrener.services.logs import each_log
from warrener.services.settings import (
    MEMORY,
    MEMORY_BROKER,
    Settings,
    data_folder,
    redacted_url,
    sqlite_path,
    store_kind,
)

State = Literal["ok", "warning", "failed"]

FREE_BYTES_WARNED: Final = 1024**3
FREE_BYTES_NEEDED: Final = 64 * 1024**2
FSYNC_SECONDS_WARNED: Final = 0.1
CLOCK_SECONDS_WARNED: Final = 5.0
_PACKAGE = re.compile(r"[A-Za-z0-9._-]+")


class Check(msgspec.Struct, frozen=True):
    """What was looked at, what was found, and what to do about it."""

    check: str
    state: State
    detail: str
    advice: str = ""


def examine(settings: Settings) -> list[Check]:
    """Run every check."""
    found = [_python(), _packages(), _settings(settings), _terminal()]
    return [*found, *_store(settings), *_broker(settings.broker_url)]


def _broker(url: str) -> list[Check]:
    if url == MEMORY_BROKER:
        return []
    try:
        findings = wiring.open_broker_admin(url).check(["default"])
    except WarrenerError as error:
        advice = "check the URL, the user and the network"
        return [Check("broker", "failed", str(error), advice)]
    return [
        Check("broker", "ok" if each.ok else "warning", each.detail, each.advice)
        for each in findings
    ]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{version} at {sys.executable}")


def _packages() -> Check:
    try:
        wanted = metadata.requires("warrener") or []
    except metadata.PackageNotFoundError:
        return Check("packages", "failed", "warrener is not installed", "pip install warrener")
    names = [match[0] for each in wanted if ";" not in each and (match := _PACKAGE.match(each))]
    found, missing = [f"warrener {metadata.version('warrener')}"], []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        advice = f"pip install {' '.join(missing)}"
        return Check("packages", "failed", f"missing: {', '.join(missing)}", advice)
    return Check("packages", "ok", ", ".join(found))


def _settings(settings: Settings) -> Check:
    shown = (f"{name}={value}" for name, value in settings.redacted().items() if value)
    return Check("settings", "ok", " ".join(shown))


def _terminal() -> Check:
    encoding = (sys.stdout.encoding or "").lower()
    width = shutil.get_terminal_size().columns
    kind = f"{width} columns" if sys.stdout.isatty() else "no terminal"
    colour = "no colour" if os.environ.get("NO_COLOR") else "colour on a terminal"
    detail = f"{kind}, {encoding}, {colour}"
    if encoding.replace("-", "") != "utf8":
        return Check("terminal", "warning", detail, "set LANG=C.UTF-8 to see every character")
    return Check("terminal", "ok", detail)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < FREE_BYTES_NEEDED:
        return Check("disk", "failed", detail, "make room: the store cannot grow")
    if free < FREE_BYTES_WARNED:
        return Check("disk", "warning", detail, "make room soon")
    return Check("disk", "ok", detail)


def _fsync(path: str) -> Check:
    """Write durably beside the store, as every commit does."""
    folder = _folder(path)
    began = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"warrener")
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    detail = f"{seconds * 1000:.1f} ms at {folder}"
    if seconds > FSYNC_SECONDS_WARNED:
        return Check("fsync", "warning", detail, "put the store on a faster disk")
    return Check("fsync", "ok", detail)


def _store(settings: Settings) -> list[Check]:
    """Look at the store, and where it is a file at the disk that it is on."""
    if store_kind(settings.store_url) == "mongodb":
        return _opened(settings, redacted_url(settings.store_url))
    path = sqlite_path(settings.store_url)
    if path == MEMORY:
        return _opened(settings, path)
    disk = [_try("disk", lambda: _disk(_folder(path))), _try("fsync", lambda: _fsync(path))]
    return [*disk, *(_file(path) or _opened(settings, path))]


def _file(path: str) -> list[Check]:
    """Say what keeps the file of a store from being opened, if anything does."""
    if not Path(path).exists():
        if not Path(path).parent.is_dir() and Path(path).parent != data_folder():
            advice = f"mkdir -p {Path(path).parent}"
            return [Check("store", "failed", f"the folder of {path} does not exist", advice)]
        return [Check("store", "ok", f"{path} does not exist yet", "the first run makes it")]
    if not os.access(path, os.W_OK):
        return [Check("store", "failed", f"{path} cannot be written", "check its permissions")]
    return []


def _opened(settings: Settings, name: str) -> list[Check]:
    try:
        return _open_store(settings, name)
    except WarrenerError as error:
        advice = "check the store and its permissions, or take another --store"
        return [Check("store", "failed", str(error), advice)]


def _open_store(settings: Settings, name: str) -> list[Check]:
    logs = wiring.open_logs(settings.store_url, create=False)
    try:
        heads = [(log, log.head()) for log in each_log(logs)]
        newest = [log.read(head - 1, 1)[0].recorded.event.at for log, head in heads if head]
        events = sum(head for _, head in heads)
        places = f" in {logs.count} partitions" if logs.count > 1 else ""
        found = [Check("store", "ok", f"{name}: {events} events{places}")]
        if newest:
            found.append(_clock(max(newest)))
        return [*found, *_views(settings, logs)]
    finally:
        logs.close()


def _clock(newest: datetime) -> Check:
    ahead = (newest - datetime.now(UTC)).total_seconds()
    if ahead > CLOCK_SECONDS_WARNED:
        detail = f"the newest event is {ahead:.0f} s in the future"
        return Check("clock", "warning", detail, "set this machine's clock")
    return Check("clock", "ok", f"the newest event is from {newest:%Y-%m-%d %H:%M:%S}Z")


def _views(settings: Settings, logs: Logs) -> list[Check]:
    now = datetime.now(UTC)
    with ExitStack() as stack:
        views = wiring.open_views(settings.views_url)
        stack.callback(views.close)
        leases = wiring.open_leases(settings.store_url, "projector")
        stack.callback(leases.close)
        found, projectors = lag(logs, views, now), len(leases.members(now))
    return [Check("views", *each) for each in findings(found, projectors)]


def _folder(path: str) -> Path:
    """Return the nearest folder above a path that exists."""
    above: Sequence[Path] = Path(path).absolute().parents
    return next(folder for folder in above if folder.is_dir())


def _try(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except OSError as error:
        return Check(name, "failed", str(error), "check permissions and mounts")
