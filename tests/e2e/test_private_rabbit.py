"""The servers that other tests stand on."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker
from support import rabbit_node
from support.guard import GuardedProgram, is_alive
from support.rabbit import PrivateRabbit, RabbitError, RabbitNode
from support.rabbit_shared import BROKER_URL, ExternalRabbit, shared_broker_url

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 60.0
PERSISTENT = pika.BasicProperties(delivery_mode=2)
QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRabbit]:
    with PrivateRabbit() as rabbit:
        yield rabbit


def connect(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def store_message(url: str, queue: str, body: bytes, **arguments: str) -> None:
    with connect(url) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True, arguments=arguments)
        channel.basic_publish("", queue, body, PERSISTENT, mandatory=True)


def take_message(url: str, queue: str) -> bytes | None:
    with connect(url) as connection:
        _, _, body = connection.channel().basic_get(queue, auto_ack=True)
        return body if body is None else bytes(body)


def listeners(port: int) -> set[str]:
    """Return the addresses on which this machine listens, as /proc has them."""
    tables = [Path("/proc/net", name).read_text().splitlines() for name in ("tcp", "tcp6")]
    sockets = [line.split() for table in tables for line in table]
    places = [words[1].split(":") for words in sockets if words[3] == "0A"]
    return {address for address, number in places if int(number, 16) == port}


def test_restarts_and_kills_keep_durable_messages(server: PrivateRabbit) -> None:
    store_message(server.url(), "kept", b"one")
    server.restart()
    assert take_message(server.url(), "kept") == b"one"

    store_message(server.url(), "kept-quorum", b"two", **{"x-queue-type": "quorum"})
    before = server.pid
    server.kill()
    assert not is_alive(before)
    server.start()

    assert server.pid != before
    assert take_message(server.url(), "kept-quorum") == b"two"


def test_it_listens_on_the_loopback_interface_only(server: PrivateRabbit) -> None:
    place = server.place

    for port in (place.port, place.distribution_port, place.epmd_port):
        assert "0100007F" in listeners(port)
        assert listeners(port) <= {"0100007F", "00000000000000000000000001000000"}


def test_a_deleted_virtual_host_is_gone_with_its_queues_and_connections(
    server: PrivateRabbit,
) -> None:
    server.add_vhost("a/ü")
    connection = connect(server.url("a/ü"))
    connection.channel().queue_declare("q", durable=True)
    assert server.queue_names("a/ü") == ["q"]

    server.delete_vhost("a/ü")
    server.delete_vhost("a/ü")

    with pytest.raises(AMQPError):
        connection.process_data_events(WAIT_SECONDS)
    with pytest.raises(AMQPError):
        connect(server.url("a/ü"))
    server.add_vhost("a/ü")
    assert server.queue_names("a/ü") == []


def test_a_user_can_do_what_permissions_say(server: PrivateRabbit) -> None:
    server.add_user("reader", "p:@/ss")
    server.set_permissions("reader", "/", read="^kept")

    with connect(server.url(user="reader", password="p:@/ss")) as connection:
        channel = connection.channel()
        with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
            channel.queue_declare("other")


def test_definitions_are_imported(server: PrivateRabbit, tmp_path: Path) -> None:
    file = tmp_path / "definitions.json"
    file.write_text('{"vhosts": [{"name": "imported"}]}')

    server.import_definitions(file)

    assert "imported" in server.ctl("list_vhosts").splitlines()


def test_an_alarm_blocks_who_publishes_until_it_is_cleared(server: PrivateRabbit) -> None:
    told: list[str] = []
    with connect(server.url()) as connection:
        connection.add_on_connection_blocked_callback(lambda *_: told.append("blocked"))
        connection.add_on_connection_unblocked_callback(lambda *_: told.append("unblocked"))
        server.alarm(on=True)
        connection.channel().basic_publish("", "nowhere", b"")
        wait_for(connection, lambda: told == ["blocked"])

        server.alarm(on=False)

        wait_for(connection, lambda: told == ["blocked", "unblocked"])


def wait_for(connection: pika.BlockingConnection, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        connection.process_data_events(0.05)


def test_a_refused_command_is_an_error(server: PrivateRabbit) -> None:
    with pytest.raises(RabbitError, match="badmatch"):
        server.evaluate("1 = 2.")
    with pytest.raises(RabbitError, match="no_such_command"):
        server.ctl("no_such_command")


def test_stop_leaves_neither_processes_nor_files() -> None:
    rabbit = PrivateRabbit(tls=True).start()
    assert rabbit.program is not None
    assert rabbit.epmd is not None
    programs = [rabbit.program, rabbit.epmd.program]
    pids = [pid for program in programs for pid in (program.pid, program.guard.pid)]
    assert all(is_alive(pid) for pid in pids)
    assert_tls(rabbit)

    rabbit.stop()

    assert not any(is_alive(pid) for pid in pids)
    assert not rabbit.place.home.exists()


def assert_tls(rabbit: PrivateRabbit) -> None:
    files = rabbit.certificates
    assert files is not None
    context = ssl.create_default_context(cafile=str(files.authority))
    parameters = pika.URLParameters(rabbit.tls_url())
    parameters.ssl_options = pika.SSLOptions(context, "localhost")
    with pytest.raises((AMQPError, OSError)):
        pika.BlockingConnection(parameters)  # no client certificate

    context.load_cert_chain(files.client_certificate, files.client_key)
    with pika.BlockingConnection(parameters) as connection:
        assert connection.is_open


STARTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.rabbit import PrivateRabbit
rabbit = PrivateRabbit().start()
epmd = rabbit.epmd.program
print(rabbit.pid, rabbit.program.guard.pid, epmd.pid, epmd.guard.pid, rabbit.place.home, flush=True)
sys.stdin.read()
"""


def test_a_killed_test_process_leaves_no_server_behind() -> None:
    command = [sys.executable, "-c", STARTER, str(ROOT / "tests")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        *words, home = process.stdout.readline().split()
        pids = [int(word) for word in words]
        assert len(pids) == 4
        assert all(is_alive(pid) for pid in pids)

        process.kill()

    until(lambda: not any(is_alive(pid) for pid in pids), "the end of the server")
    until(lambda: not os.path.exists(home), "the removal of its folder")


def test_a_killed_guard_takes_its_program_along(tmp_path: Path) -> None:
    program = GuardedProgram(["sleep", "600"], tmp_path / "log")

    os.kill(program.guard.pid, signal.SIGKILL)

    until(lambda: not is_alive(program.pid), "the end of the program")
    program.guard.wait()


def test_a_guard_ends_what_its_program_has_detached(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = (
        f"setsid sleep 600 & echo $! >{pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600"
    )
    program = GuardedProgram(["sh", "-c", script], tmp_path / "log")
    until(pid_file.exists, "the detached process")
    detached = int(pid_file.read_text())
    assert is_alive(detached)

    program.kill()

    assert not is_alive(detached)


def test_a_guard_passes_on_how_its_program_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended = GuardedProgram(["sh", "-c", "echo said; exit 7"], log)
    missing = GuardedProgram(["/no/such/program"], log)

    assert ended.guard.wait(WAIT_SECONDS) == 7
    assert missing.guard.wait(WAIT_SECONDS) == 127
    assert "said" in log.read_text()
    assert "cannot run /no/such/program" in log.read_text()


def test_each_test_has_a_virtual_host_of_its_own(
    broker_url: str, rabbit: RabbitNode | ExternalRabbit
) -> None:
    with connect(broker_url) as connection:
        channel: BlockingChannel = connection.channel()
        channel.queue_declare("q", durable=True, arguments=QUORUM)

        assert rabbit.queue_names(broker_url.rpartition("/")[2]) == ["q"]


TESTS_OF_A_SESSION = """
import os
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(4))
def test_it(number, rabbit, broker_url):
    pid = rabbit.evaluate("os:getpid().")
    Path(os.environ["FOUND"], f"{number}").write_text(f"{rabbit.place.home}\\n{pid}")
"""


def test_the_processes_of_a_session_share_one_server_and_leave_nothing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_shared.py").write_text(TESTS_OF_A_SESSION)
    found = tmp_path / "found"
    found.mkdir()

    done = run_pytest(tmp_path, "-n", "2", FOUND=str(found))

    assert done.returncode == 0, done.stdout + done.stderr
    answers = {file.read_text() for file in found.iterdir()}
    assert len(answers) == 1
    home, _, pid = answers.pop().partition("\n")
    assert not is_alive(int("".join(filter(str.isdigit, pid))))
    assert not Path(home).exists()


def run_pytest(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", BROKER_URL))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(folder)],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT / "tests")} | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_named_server_is_used_through_its_management_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = rabbit_node.free_port()
    settings = {"management.tcp.port": str(port), "management.tcp.ip": "127.0.0.1"}
    with PrivateRabbit(plugins=["rabbitmq_management"], settings=settings) as server:
        monkeypatch.setenv(BROKER_URL, server.url())
        monkeypatch.setenv("WARRENER_TEST_BROKER_API_URL", f"http://127.0.0.1:{port}")
        external = ExternalRabbit(shared_broker_url())
        external.add_vhost("x/y")
        store_message(external.url("x/y"), "q", b"one")
        external.add_user("u", "p")

        assert external.queue_names("x/y") == ["q"]

        external.delete_vhost("x/y")
        external.delete_vhost("x/y")
        assert "x/y" not in server.ctl("list_vhosts").splitlines()


def test_a_missing_server_fails_tests_in_one_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    hide = "from support import rabbit_node\nrabbit_node.DEBIAN_SCRIPTS = rabbit_node.Path('/no')\n"
    (tmp_path / "test_it.py").write_text(hide + "def test_it(broker_url): pass\n")

    done = run_pytest(tmp_path, PATH="/nowhere")

    assert done.returncode == 1
    assert "ERROR test_it.py::test_it - Failed: rabbitmq-server is missing: apt" in done.stdout
    assert "Traceback" not in done.stdout
