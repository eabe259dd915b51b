"""URLs of MongoDB: `mongodb://user:password@host:port,host:port/database?option=value`.

`mongodb+srv://` asks the DNS for the hosts. The database must be named; what Warrener keeps goes
there. Options are those of MongoDB's connection strings, and one of ours:

    warrener_standalone     yes: accept a server that is not part of a replica set. It cannot
                            promise that what it acknowledged survives the loss of the machine

What the log stands on is not for the URL to weaken: writes are acknowledged by a majority and are
in the journal, and what is read is what a majority has, from the primary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final
from urllib.parse import parse_qsl, unquote, unquote_plus

import msgspec
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_userinfo, split_hosts, validate_options

from warrener.domain.errors import UsageError

SCHEMES: Final = ("mongodb", "mongodb+srv")
STANDALONE: Final = "warrener_standalone"
EXAMPLE: Final = "mongodb://user:password@host:27017/database"
NAME_BYTES_MAX: Final = 63
# Those of MongoDB's that make sense here; how documents are read and written is our business.
OPTIONS: Final = (
    STANDALONE,
    *("replicaSet", "directConnection", "loadBalanced", "srvServiceName", "srvMaxHosts"),
    *("authSource", "authMechanism", "authMechanismProperties"),
    *("tls", "ssl", "tlsCAFile", "tlsCertificateKeyFile", "tlsCertificateKeyFilePassword"),
    *("tlsCRLFile", "tlsInsecure", "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames"),
    *("tlsDisableOCSPEndpointCheck", "appName", "compressors", "zlibCompressionLevel"),
    *("connectTimeoutMS", "socketTimeoutMS", "serverSelectionTimeoutMS", "wTimeoutMS"),
    *("heartbeatFrequencyMS", "localThresholdMS", "serverMonitoringMode"),
    *("maxPoolSize", "minPoolSize", "maxIdleTimeMS", "maxConnecting", "waitQueueTimeoutMS"),
    *("w", "journal", "readConcernLevel", "readPreference", "retryReads", "retryWrites"),
)
_SYSTEM: Final = ("admin", "config", "local")
_NOT_IN_NAMES: Final = re.compile(r'[/\\. "$*<>:|?\x00-\x1f]')
# What an option may say that decides how sure a write or a read is.
_FIXED: Final[Mapping[str, tuple[str, ...]]] = {
    "w": ("majority",),
    "journal": ("true",),
    "readconcernlevel": ("majority",),
    "readpreference": ("primary",),
}
_SWITCH: Final = {"yes": True, "true": True, "no": False, "false": False}


class MongoTarget(msgspec.Struct, frozen=True):
    """What a URL names."""

    url: str  # as the driver takes it: without our own option
    database: str
    shown: str  # hosts and database, for messages
    standalone: bool  # accept a server that is not part of a replica set
    options: frozenset[str]  # names that the URL sets, in small letters


def mongo_target(url: str) -> MongoTarget:
    """Return what a URL names; raises `UsageError` for what is none, never with its password."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise UsageError(f"the store's URL is not one of MongoDB, such as {EXAMPLE}")
    before, mark, query = rest.partition("?")
    place, _, path = before.partition("/")
    user, at, hosts = place.rpartition("@")
    options = _options(query if mark else "")
    _check_place(scheme, user if at else None, hosts)
    database = _database(path)
    kept = "&".join(part for part in query.split("&") if _name(part) != STANDALONE)
    return MongoTarget(
        f"{scheme}://{place}/{path}{'?' if kept else ''}{kept}",
        database,
        f"{scheme}://{hosts}/{database}",
        _switch(options.get(STANDALONE, "no")),
        frozenset(options) - {STANDALONE},
    )


def _check_place(scheme: str, user: str | None, hosts: str) -> None:
    try:
        if user is not None:
            parse_userinfo(user)
        found = split_hosts(hosts, default_port=None)
    except (PyMongoError, ValueError):  # its text may quote a password, taken for a port
        raise UsageError(
            "the store's URL cannot be read: is its port a number, and are / @ : ? # % in its"
            " password written as %2F %40 %3A %3F %23 %25?"
        ) from None
    if scheme == "mongodb+srv" and (len(found) != 1 or found[0][1] is not None):
        raise UsageError("a mongodb+srv:// URL has one host name and no port: the DNS knows them")


def _database(path: str) -> str:
    name = unquote_plus(path)
    if not name:
        raise UsageError(f"the store's URL names no database: end it with one, as in {EXAMPLE}")
    if "@" in name:  # a password with a slash in it
        raise UsageError("the store's URL cannot be read: is a / in its password written as %2F?")
    if _NOT_IN_NAMES.search(name) or len(name.encode()) > NAME_BYTES_MAX:
        raise UsageError(
            f"{name[:80]!r} cannot be the name of a MongoDB database: use letters, digits, - and _,"
            f" at most {NAME_BYTES_MAX}"
        )
    if name in _SYSTEM:
        raise UsageError(f"the database {name!r} is MongoDB's own: name another in the URL")
    return name


def _options(query: str) -> dict[str, str]:
    """Return the options by name in small letters, each checked as the driver does."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise UsageError(
            "what follows the ? in the store's URL are options like name=value, joined by &;"
            " a ? in its password is written as %3F"
        ) from None
    found: dict[str, str] = {}
    for written, value in pairs:
        name = written.lower()
        if name != STANDALONE:
            _check_option(written, value, quotable="@" not in unquote(query))
        if name in found:
            raise UsageError(f"the option {written} is in the store's URL twice")
        found[name] = value
    return found


def _check_option(name: str, value: str, *, quotable: bool) -> None:
    known = {option.lower(): option for option in OPTIONS}
    if name.lower() not in known:
        near = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        hint = f": did you mean {known[near[0]]}?" if near and quotable else ""
        shown = repr(name) if quotable else "(is a ? in its password written as %3F?)"
        raise UsageError(f"unknown option in the store's URL {shown}{hint}")
    allowed = _FIXED.get(name.lower())
    if allowed and value.lower() not in allowed:
        raise UsageError(
            f"the option {name} in the store's URL must be {allowed[0]} or be left out:"
            " the log needs it"
        )
    try:
        validate_options({name: value}, warn=False)
    except OSError as error:
        raise UsageError(
            f"the file of the option {known[name.lower()]} in the store's URL cannot be read:"
            f" {error.strerror}"
        ) from None
    except (PyMongoError, ValueError, TypeError):  # its text may quote a secret
        raise UsageError(
            f"the option {known[name.lower()]} in the store's URL has a value that it cannot have"
        ) from None


def _switch(value: str) -> bool:
    if value.lower() not in _SWITCH:
        raise UsageError(f"{STANDALONE} in the store's URL is {value[:20]!r}: it is yes or no")
    return _SWITCH[value.lower()]


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0]).lower()
