"""TLS as a client of other people's servers."""

from __future__ import annotations

import ssl
from typing import Final

import httpx

_CUT: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def client_context() -> ssl.SSLContext:
    """Return a context that checks certificates and names.

    It trusts the roots that come with httpx and those of the system; where `SSL_CERT_FILE` or
    `SSL_CERT_DIR` is set, only what that names.
    """
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


def is_about_tls(error: BaseException) -> bool:
    """Say whether TLS itself failed, such as for a certificate, and not just the connection."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _CUT):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
