"""A private RabbitMQ for tests: own port, name, data, cookie and epmd; on 127.0.0.1 only.

    with PrivateRabbit() as rabbit:
        rabbit.add_vhost("mine")
        pika.BlockingConnection(pika.URLParameters(rabbit.url("mine")))

Debian's `rabbitmq-server` command insists on the system's account and folders, so its own scripts
below /usr/lib/rabbitmq are run. All processes are guarded, see `support.guard`.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from support.guard import GuardedProgram
from support.rabbit_node import (
    COOKIE,
    MISSING,
    Place,
    RabbitError,
    RabbitNode,
    free_port,
    server_scripts,
)
from support.rabbit_tls import Certificates, make_certificates

__all__ = ["PrivateCluster", "PrivateRabbit", "RabbitError", "RabbitNode", "free_port"]

START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.02


class Epmd:
    """The port mapper of Erlang nodes, our own: one that a node starts would outlive it."""

    def __init__(self, home: Path, owner: int | None) -> None:
        self.port = free_port()
        command = ["epmd", "-port", str(self.port), "-address", "127.0.0.1"]
        if not shutil.which(command[0]):
            raise RabbitError(MISSING)
        self.program = GuardedProgram(command, home / "epmd.log", owner=owner, folder=home)
        _wait_until_open(self.port, self.program, b"", home / "epmd.log")


class PrivateRabbit(RabbitNode):
    """A server of one's own, for as long as the `with` block or until `stop()`.

    `settings` are lines of rabbitmq.conf. With `tls=True` there is also a TLS listener, and
    `certificates` gives the files. `owner` is the pid of the process with which all of it ends, by
    default this one. `cluster` shares home and epmd with other nodes. Raises `RabbitError`.
    """

    def __init__(
        self,
        *,
        tls: bool = False,
        plugins: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        owner: int | None = None,
        cluster: PrivateCluster | None = None,
    ) -> None:
        server_scripts()
        self.owner = owner
        self.cluster = cluster
        self.plugins = plugins
        self.settings = dict(settings or {})
        self.certificates: Certificates | None = None
        self.epmd: Epmd | None = None
        self.program: GuardedProgram | None = None
        self._tls = tls
        home = cluster.home if cluster else make_home()
        epmd_port = cluster.epmd.port if cluster else 0
        super().__init__(Place(home, free_port(), free_port(), epmd_port))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the Erlang VM."""
        assert self.program is not None, "the server has not been started"
        return self.program.pid

    @property
    def log(self) -> str:
        return (self.place.folder / "output.log").read_text(errors="replace")

    def start(self) -> Self:
        """Start the server, on the data it has; return when it answers. About 4 s."""
        self.launch()
        return self.wait_until_ready()

    def launch(self) -> None:
        """Start the server without waiting for it."""
        if not self.place.folder.exists():
            self._prepare()
        self.program = GuardedProgram(
            [str(server_scripts() / "rabbitmq-server")],
            self.place.folder / "output.log",
            self.place.environment,
            self.owner,
        )

    def wait_until_ready(self) -> Self:
        assert self.program is not None, "the server has not been started"
        hello = b"AMQP\x00\x00\x09\x01"
        _wait_until_open(self.port, self.program, hello, self.place.folder / "output.log")
        return self

    def kill(self) -> None:
        """End the Erlang VM by SIGKILL; `start()` goes on with its data.

        The table of queues is written first. RabbitMQ writes it up to a second after a quorum queue
        is declared, and a queue that is missing in it never has a leader again (seen in 3.10.8).
        """
        if self.program and self.program.running:
            with suppress(RabbitError, subprocess.TimeoutExpired):
                self.evaluate("[dets:sync(Table) || Table <- dets:all()].")
            self.program.kill()

    def shut_down(self) -> None:
        """End the server in order, and keep its data for `start()`."""
        if self.program:
            self.program.terminate(STOP_SECONDS)

    def restart(self) -> None:
        """Shut the server down and start it again; return when it answers."""
        self.shut_down()
        self.start()

    def stop(self) -> None:
        """End everything, at once, and remove the data."""
        if self.program:
            self.program.kill()
        if self.epmd:
            self.epmd.program.kill()
        if not self.cluster:
            shutil.rmtree(self.place.home, ignore_errors=True)

    def _prepare(self) -> None:
        place = self.place
        if not self.cluster:
            self.epmd = Epmd(place.home, self.owner)
        tls_port = free_port() if self._tls else None
        epmd_port = self.epmd.port if self.epmd else place.epmd_port
        ports = (place.port, place.distribution_port, epmd_port, tls_port)
        self.place = place = Place(place.home, *ports)
        lines = self.settings | self._fixed_settings()
        place.folder.mkdir()
        text = "".join(f"{key} = {value}\n" for key, value in lines.items())
        (place.folder / "rabbitmq.conf").write_text(text)
        (place.folder / "advanced.config").write_text("[].\n")
        (place.folder / "enabled_plugins").write_text(f"[{','.join(self.plugins)}].\n")

    def _fixed_settings(self) -> dict[str, str]:
        settings = {"disk_free_limit.absolute": "1MB", "log.file.level": "warning"}
        if self.place.tls_port is None:
            return settings
        self.certificates = files = make_certificates(self.place.home / "certificates")
        return settings | {
            "listeners.ssl.1": f"127.0.0.1:{self.place.tls_port}",
            "ssl_options.cacertfile": str(files.authority),
            "ssl_options.certfile": str(files.server_certificate),
            "ssl_options.keyfile": str(files.server_key),
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "true",
        }


class PrivateCluster:
    """Nodes that have joined each other; each one can be killed and started again."""

    def __init__(self, nodes: int = 3, owner: int | None = None) -> None:
        server_scripts()
        self.home = make_home()
        self.epmd = Epmd(self.home, owner)
        self.nodes = [PrivateRabbit(owner=owner, cluster=self) for _ in range(nodes)]
        for node in self.nodes:
            node.settings = self._discovery()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def urls(self) -> list[str]:
        """The URLs of all nodes, with the virtual host /."""
        return [node.url() for node in self.nodes]

    def start(self) -> Self:
        """Start all nodes at once; return when all have joined and answer. About 10 s."""
        with ExitStack() as stack:
            stack.callback(self.stop)
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.wait_until_ready()
            self._check_members()
            stack.pop_all()
        return self

    def kill(self, node: int) -> None:
        """End a node by SIGKILL; `nodes[node].start()` brings it back."""
        self.nodes[node].kill()

    def stop(self) -> None:
        """End everything, at once, and remove the data."""
        for node in self.nodes:
            node.stop()
        self.epmd.program.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def _discovery(self) -> dict[str, str]:
        key = "cluster_formation.classic_config.nodes"
        members = {f"{key}.{n}": node.place.name for n, node in enumerate(self.nodes, start=1)}
        return {"cluster_formation.peer_discovery_backend": "classic_config"} | members

    def _check_members(self) -> None:
        status = json.loads(self.nodes[0].ctl("cluster_status", "--formatter", "json"))
        if len(status["running_nodes"]) != len(self.nodes):
            raise RabbitError(f"the nodes did not join: {status['running_nodes']}")


def make_home() -> Path:
    """Make the folder of a server or cluster, with the cookie its nodes know each other by."""
    home = Path(tempfile.mkdtemp(prefix="warrener-rabbit-"))
    cookie = home / ".erlang.cookie"
    cookie.write_text(COOKIE)
    cookie.chmod(0o400)
    return home


def _wait_until_open(port: int, program: GuardedProgram, hello: bytes, log: Path) -> None:
    """Wait until the port is open, and answers the hello if there is one."""
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port, hello):
        if not program.running or time.monotonic() > deadline:
            program.kill()
            end = log.read_text(errors="replace")[-2000:]
            raise RabbitError(f"{log.stem} on port {port} did not start: {end}")
        time.sleep(POLL_SECONDS)


def _answers(port: int, hello: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            connection.sendall(hello)
            return not hello or connection.recv(1) == b"\x01"  # a method frame: Connection.Start
    except OSError:
        return False
