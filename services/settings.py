"""Settings: one frozen structure, read once at the edge.

Flags win over `WARRENER_*` variables, these over `warrener.toml`, and that over the defaults.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.notices import KINDS, REMINDED, REQUESTED

FILE_NAME: Final = "warrener.toml"
FILE_BYTES_MAX: Final = 64 * 1024
PREFIX: Final = "WARRENER_"
LOG_FORMATS: Final = ("console", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
MEMORY: Final = ":memory:"
MEMORY_BROKER: Final = "memory:"

_OTHER_VARIABLES = frozenset({"DEBUG"})  # read elsewhere; no settings
# Kubernetes sets these for every service whose name begins with "warrener".
_KUBERNETES = re.compile(r"(.*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)\Z")
MONGO_SCHEMES: Final = frozenset({"mongodb", "mongodb+srv"})
HISTORY: Final = "history"
StoreKind = Literal["memory", "sqlite", "mongodb", "history"]
_LATER = {
    "postgresql": "a PostgreSQL store",
    "postgres": "a PostgreSQL store",
}
_STORES = (
    "what works is sqlite:///PATH, sqlite:///:memory:, mongodb://HOST/DATABASE and, to read only,"
    " history:FILE"
)
_BROKERS = "what works is memory: and amqp://user:password@host/vhost (or amqps://)"
_BROKER_SCHEMES = frozenset({"amqp", "amqps"})


# Of a webhook's URL the path is a secret as often as not.
_SECRETS = ("api_token", "webhook_url", "webhook_secret")
_SWITCH: Final[Mapping[str, bool]] = {
    "": False,
    **dict.fromkeys(("no", "false", "0", "off"), False),
    **dict.fromkeys(("yes", "true", "1", "on"), True),
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is set from outside. `log` is a format, a level, or `format,level`."""

    store_url: str
    views_url: str
    broker_url: str = "memory:"
    api_url: str = ""
    api_token: str = ""
    log: str = ""
    webhook_url: str = ""
    webhook_secret: str = ""
    webhook_allow: str = ""  # hosts, separated by commas
    webhook_private: str = ""  # yes or no
    webhook_plain: str = ""  # yes or no
    smtp_url: str = ""
    mail_from: str = ""
    mail_to: str = ""
    notify_on: str = f"{REQUESTED},{REMINDED}"
    otlp_url: str = ""  # of a collector of traces; OTEL_EXPORTER_OTLP_* say how it is spoken to
    redact: str = ""  # patterns of keys whose values leave no store, separated by commas

    def redacted(self) -> dict[str, str]:
        """Return the settings as they may be shown: without passwords and tokens."""
        values: dict[str, str] = msgspec.structs.asdict(self)
        shown = {key: redacted_url(value) for key, value in values.items()}
        shown["smtp_url"] = _redacted(self.smtp_url)  # one URL, whose password may have commas
        for name in _SECRETS:
            shown[name] = "***" if values[name] else ""
        return shown

    def __repr__(self) -> str:
        return f"Settings({self.redacted()})"


NAMES: Final = Settings.__struct_fields__


def load(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> Settings:
    """Return the settings for these flags (None: not given), variables and working folder.

    Raises `UsageError` for unknown keys and unusable values.
    """
    given = {
        **_from_file(_file(folder or Path.cwd(), environ)),
        **_from_variables(environ),
        **{name: value for name, value in flags.items() if value is not None},
    }
    store_url = given.get("store_url") or default_store_url(environ)
    values = {**given, "store_url": store_url}
    values["views_url"] = given.get("views_url") or store_url
    if store_kind(store_url) == HISTORY:
        values["views_url"] = store_url  # what is in a file is not for anybody's read models
    settings = msgspec.convert(values, Settings)
    if store_kind(settings.views_url, "views") == HISTORY != store_kind(store_url):
        raise UsageError(f"{settings.views_url}: a history is no place for read models")
    check_broker_url(settings.broker_url)
    log_parts(settings.log)
    notify_kinds(settings.notify_on)
    check_otlp_url(settings.otlp_url)
    return settings


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the user's data folder for Warrener; it may not exist yet."""
    return _user_folder("XDG_DATA_HOME", ".local/share", environ)


def default_store_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the URL of the store that is used when none is given."""
    return f"sqlite:///{data_folder(environ) / 'warrener.db'}"


def store_kind(url: str, what: str = "store") -> StoreKind:
    """Return what a URL of a store or of read models names; raises `UsageError` for others.

    What is wrong with the rest of a `mongodb://` URL is told by whoever connects to it.
    """
    if url.partition(":")[0].lower() in MONGO_SCHEMES:
        return "mongodb"
    if is_history(url):
        history_path(url)
        return HISTORY
    return "memory" if sqlite_path(url, what) == MEMORY else "sqlite"


def is_history(url: str) -> bool:
    """Say whether a URL names a history that was exported into a file."""
    return url.startswith(f"{HISTORY}:")


def history_path(url: str) -> str:
    """Return the path that a `history:` URL names, relative to the working folder."""
    path = url.removeprefix(f"{HISTORY}:")
    if not path or "\0" in path:
        raise UsageError(f"{url!r} names no file: {_STORES}")
    return str(Path(path).expanduser())


def refuse_history(url: str) -> None:
    """Raise `UsageError` if a URL names a history: it is for looking at only."""
    if is_history(url):
        raise UsageError(
            f"{url} is the history of jobs that ran elsewhere: it can be looked at with show, why,"
            " history, replay and such, but nothing can be run or changed in it. Name another"
            " --store for that"
        )


def sqlite_path(url: str, what: str = "store") -> str:
    """Return the path that a `sqlite:///` URL names, `:memory:` for a store that keeps nothing.

    `sqlite:///path` is relative to the working folder, `sqlite:////path` is absolute.
    """
    refuse_history(url)
    scheme, colon, rest = url.partition(":")
    if scheme.lower() in MONGO_SCHEMES and colon:
        raise UsageError(
            f"this needs a store in a file, which {redacted_url(url)} is not: use `warrener submit`"
            " with a fleet, or another --store"
        )
    if scheme.lower() in _LATER and colon:
        raise UsageError(f"{_LATER[scheme.lower()]} is not supported yet: {_STORES}")
    if scheme.lower() != "sqlite" or not rest.startswith("///"):
        raise UsageError(f"{redacted_url(url)!r} is not the URL of a {what}: {_STORES}")
    path = rest.removeprefix("///")
    if not path or "\0" in path or path.endswith("/"):
        raise UsageError(f"{url!r} names no file: {_STORES}")
    if "?" in path:
        raise UsageError(f"{url!r}: options after a question mark are not supported")
    return str(Path(path).expanduser()) if path != MEMORY else path


def check_broker_url(url: str) -> None:
    """Refuse what names no broker; the nodes of one broker may be separated by commas."""
    if url == MEMORY_BROKER:
        return
    for node in url.split(","):
        scheme, colon, rest = node.strip().partition("://")
        if scheme.lower() not in _BROKER_SCHEMES or not colon or not rest:
            raise UsageError(f"{redacted_url(node)!r} is not the URL of a broker: {_BROKERS}")


def check_otlp_url(url: str) -> None:
    """Refuse what is no URL of a collector of traces; none at all is fine."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"{redacted_url(url)!r} is not the URL of a collector of traces:"
            " write such as http://localhost:4318 (OTLP over HTTP)"
        )


def log_parts(text: str) -> tuple[str | None, str | None]:
    """Return format and level of the log, None for what is not said."""
    chosen: dict[str, str] = {}
    for part in filter(None, (part.strip().lower() for part in text.split(","))):
        kind = "format" if part in LOG_FORMATS else "level" if part in LOG_LEVELS else None
        if kind is None:
            known = (*LOG_FORMATS, *LOG_LEVELS)
            raise UsageError(f"log cannot be {part!r}: {_nearest(part, known)}")
        if kind in chosen:
            raise UsageError(f"log names two {kind}s: {text!r}")
        chosen[kind] = part
    return chosen.get("format"), chosen.get("level")


def notify_kinds(text: str) -> frozenset[str]:
    """Return the events that people are told of, from a list with commas."""
    found = listed(text)
    for name in found:
        if name not in KINDS:
            raise UsageError(f"notify_on cannot be {name!r}: {_nearest(name, KINDS)}")
    return frozenset(found)


def listed(text: str) -> tuple[str, ...]:
    """Return the parts of a list with commas."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def switched(text: str, name: str) -> bool:
    """Return what a setting says that is yes or no."""
    on = _SWITCH.get(text.strip().lower())
    if on is None:
        raise UsageError(f"{name} is yes or no, not {text!r}")
    return on


def redacted_url(url: str) -> str:
    """Return a URL, or several separated by commas, without passwords.

    One of MongoDB may have several hosts: it is one all the same.
    """
    if url.partition(":")[0].lower() in MONGO_SCHEMES:
        return _redacted(url)
    return ",".join(map(_redacted, url.split(","))) if "," in url else _redacted(url)


def _redacted(url: str) -> str:
    if "://" not in url:
        return "***" if "@" in url else url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***" if "@" in url else url
    user, at, host = parts.netloc.rpartition("@")
    if not at or ":" not in user:
        return url
    return parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}").geturl()


def _from_variables(environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or not value:
            continue
        name = variable.removeprefix(PREFIX)
        if name.lower() in NAMES and name.isupper():
            found[name.lower()] = value
        elif not _is_other(name):
            known = [f"{PREFIX}{each.upper()}" for each in NAMES]
            raise UsageError(f"unknown variable {variable}: {_nearest(variable, known)}")
    return found


def _is_other(name: str) -> bool:
    return (
        name in _OTHER_VARIABLES
        or name.startswith("TEST_")
        or _KUBERNETES.fullmatch(name) is not None
    )


def _file(folder: Path, environ: Mapping[str, str]) -> Path | None:
    config = _user_folder("XDG_CONFIG_HOME", ".config", environ)
    for candidate in (folder / FILE_NAME, config / FILE_NAME):
        if candidate.is_file():
            return candidate
    return None


def _from_file(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        with file.open("rb") as stream:
            text = stream.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise UsageError(f"{file}: larger than {FILE_BYTES_MAX} bytes")
        values: dict[str, Any] = tomllib.loads(text.decode())
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not valid TOML: {error}") from error
    for name, value in values.items():
        if name not in NAMES:
            raise UsageError(f"{file}: unknown key {name!r}: {_nearest(name, NAMES)}")
        if not isinstance(value, str):
            raise UsageError(f"{file}: {name} must be text in quotes")
    return values


def _user_folder(variable: str, below_home: str, environ: Mapping[str, str]) -> Path:
    base = environ.get(variable, "")
    if not base.startswith("/"):  # the XDG specification: a relative path is to be ignored
        home = environ.get("HOME") or str(Path("~").expanduser())
        base = f"{home}/{below_home}"
    return Path(base) / "warrener"


def _nearest(text: str, known: Iterable[str]) -> str:
    known = list(known)
    near = get_close_matches(text, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
