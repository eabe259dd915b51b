"""A RabbitMQ node of this machine: where it is, and what tests ask it to do."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

MISSING = (
    "rabbitmq-server is missing: apt install rabbitmq-server, or name a RabbitMQ with "
    "WARRENER_TEST_BROKER_URL=amqp://..."
)
DEBIAN_SCRIPTS = Path("/usr/lib/rabbitmq/bin")
COOKIE = "warrener-tests"
COMMAND_SECONDS = 60.0
# Below the ports that Linux and macOS give to outgoing connections: those of other tests would
# take the port of a server that is being restarted.
PORTS = range(20_000, 32_000)
LOOPBACK_DISTRIBUTION = "-kernel inet_dist_use_interface {127,0,0,1}"


class RabbitError(Exception):
    """The private server is missing, did not start, or refused a command."""


def server_scripts() -> Path:
    """Return the folder of RabbitMQ's scripts; raise `RabbitError` where there is none."""
    found = shutil.which("rabbitmq-server")
    for folder in (DEBIAN_SCRIPTS, Path(found).resolve().parent if found else None):
        if folder and (folder / "rabbitmqctl").exists():
            return folder
    raise RabbitError(MISSING)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RabbitError("no free port")


@dataclass(frozen=True)
class Place:
    """Where a node is: enough to find it from another process. `home` holds the cookie."""

    home: Path
    port: int
    distribution_port: int
    epmd_port: int
    tls_port: int | None = None

    @property
    def name(self) -> str:
        return f"rabbit{self.port}@localhost"

    @property
    def folder(self) -> Path:
        return self.home / self.name

    @property
    def environment(self) -> dict[str, str]:
        """What RabbitMQ's scripts need; nothing of the machine's own RabbitMQ gets in."""
        return {
            "PATH": f"{os.environ.get('PATH', '')}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            # The script becomes the Erlang VM, so that its pid is the VM's; no shell, no Ctrl-C.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_SERVER_START_ARGS": "-noinput +B i",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LOOPBACK_DISTRIBUTION,
        }


class RabbitNode:
    """A node that runs somewhere on this machine, and what tests do with it."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @property
    def port(self) -> int:
        return self.place.port

    def url(self, vhost: str = "/", user: str = "guest", password: str = "guest") -> str:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"amqp://{login}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def tls_url(self, vhost: str = "/", user: str = "guest", password: str = "guest") -> str:
        """Return the amqps URL; a client certificate of `certificates` is asked for."""
        if self.place.tls_port is None:
            raise RabbitError("this server was started without tls=True")
        plain = self.url(vhost, user, password)
        host = f"@localhost:{self.place.tls_port}/"
        return plain.replace("amqp:", "amqps:", 1).replace(f"@127.0.0.1:{self.port}/", host)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl (about half a second) and return what it prints."""
        command = [str(server_scripts() / "rabbitmqctl"), "--quiet", *arguments]
        return self._run(command, "")

    def evaluate(self, expression: str) -> str:
        """Let the node evaluate an Erlang expression: milliseconds, where erl_call is there."""
        if not (erl_call := shutil.which("erl_call")):
            return self.ctl("eval", expression)
        # A name for each caller: of two with the same, the node refuses the second.
        caller = f"tests-{secrets.token_hex(6)}"
        address = f"localhost:{self.place.distribution_port}"
        command = [erl_call, "-address", address, "-h", caller, "-c", COOKIE, "-e"]
        return self._run(command, expression + "\n")

    def _run(self, command: list[str], text: str) -> str:
        done = subprocess.run(
            command,
            input=text,
            env=self.place.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode or done.stdout.startswith("{error"):
            raise RabbitError(f"{command[0]} failed: {text} {done.stdout} {done.stderr}".strip())
        return done.stdout

    def add_vhost(self, name: str) -> None:
        """Make a virtual host in which guest may do everything. There already: no error."""
        vhost, everything = _binary(name), _binary(".*")
        self.evaluate(
            f"ok = rabbit_vhost:add({vhost}, {_binary('tests')}),"
            f"ok = rabbit_auth_backend_internal:set_permissions({_binary('guest')}, {vhost},"
            f" {everything}, {everything}, {everything}, {_binary('tests')})."
        )

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all in it; its connections are closed. Absent: no error.

        The server closes them a little later than it takes their permissions away: in between it
        refuses what they publish, which is another case than that nobody is there.
        """
        vhost = _binary(name)
        self.evaluate(
            f"case rabbit_vhost:exists({vhost}) of false -> ok;"
            f" true -> rabbit_vhost:delete({vhost}, {_binary('tests')}) end,"
            " Closed = fun Again(0) -> late; Again(Left) ->"
            f" case rabbit_connection_tracking:list({vhost}) of [] -> ok;"
            " _ -> timer:sleep(10), Again(Left - 1) end end, Closed(500)."
        )

    def add_user(self, name: str, password: str, *tags: str) -> None:
        self.ctl("add_user", name, password)
        self.ctl("set_user_tags", name, *tags)

    def set_permissions(
        self, user: str, vhost: str, configure: str = "", write: str = "", read: str = ""
    ) -> None:
        """Set what a user may do in a virtual host, as regular expressions of names."""
        self.ctl("set_permissions", "-p", vhost, user, configure, write, read)

    def import_definitions(self, path: Path) -> None:
        self.ctl("import_definitions", str(path))

    def alarm(self, on: bool) -> None:
        """Raise or clear the memory alarm: while it is on, publishing connections are blocked."""
        self.ctl("set_vm_memory_high_watermark", "0" if on else "0.4")

    def queue_names(self, vhost: str = "/") -> list[str]:
        listed = self.ctl("list_queues", "-p", vhost, "name", "--formatter", "json")
        return sorted(row["name"] for row in json.loads(listed))


def _binary(text: str) -> str:
    """Return a text as an Erlang binary, in ASCII."""
    plain = (c if " " <= c <= "~" and c not in '"\\' else f"\\x{{{ord(c):x}}}" for c in text)
    return f'<<"{"".join(plain)}"/utf8>>'
