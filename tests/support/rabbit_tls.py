"""Throw-away certificates for tests: an authority, a server and a client, valid for a day."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

NEW_KEY = ("openssl", "req", "-x509", "-nodes", "-days", "1", "-newkey", "ec")
CURVE = ("-pkeyopt", "ec_paramgen_curve:prime256v1")


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files. The server is `localhost` and 127.0.0.1; the keys have no passphrase."""

    authority: Path
    server_certificate: Path
    server_key: Path
    client_certificate: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make them in a folder; raise `subprocess.CalledProcessError` where openssl (3.0) fails."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, authority_key = _make(folder, "authority", "basicConstraints=critical,CA:TRUE")
    signed = ("-CA", str(authority), "-CAkey", str(authority_key))
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    server, server_key = _make(folder, "server", names, *signed)
    client, client_key = _make(folder, "client", "extendedKeyUsage=clientAuth", *signed)
    return Certificates(authority, server, server_key, client, client_key)


def _make(folder: Path, name: str, extension: str, *signed: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    subject = ("-subj", f"/CN={'localhost' if name == 'server' else name}", "-addext", extension)
    files = ("-out", str(certificate), "-keyout", str(key))
    command = [*NEW_KEY, *CURVE, *subject, *files, *signed]
    if signed:
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key
