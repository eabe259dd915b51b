"""The process that keeps a ledger: `ledger_server.py SOCKET FILE`, a line of FILE for each telling.

It needs nothing but Python, and so do the endpoints that `tell` it.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
from pathlib import Path
from typing import Any

LINE_BYTES_MAX = 4096


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def _serve(address: str, file: str) -> None:
    with Path(file).open("ab", buffering=0) as ledger:

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline(LINE_BYTES_MAX)
                if line.endswith(b"\n"):
                    ledger.write(line)
                    self.wfile.write(b"k")

        with _Server(address, Handler) as server:
            server.serve_forever()


def tell(address: str, **effect: Any) -> None:
    """Tell the ledger of an effect; return when it is written down."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(address)
        link.sendall(json.dumps(effect).encode() + b"\n")
        assert link.recv(1) == b"k"


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
