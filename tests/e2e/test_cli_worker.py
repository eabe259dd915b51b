"""`warrener worker`: what it refuses before it takes any order."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import ENDPOINTS, Cli

from warrener.domain.errors import UsageError
from warrener.services.cli.worker import size_bytes

NOWHERE = ("--broker", "amqp://127.0.0.1:1")  # nobody listens on port 1


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.write(endpoints_py=ENDPOINTS)
    return made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a module with endpoints"),
        (("--endpoints", "nowhere.py"), "there is no file"),
        (("--endpoints", "nowhere"), "there is no module nowhere"),
        (("--endpoints", "endpoints.py", "--threads", "--asyncio"), "exclude each other"),
        (("--endpoints", "endpoints.py", "--slots", "0"), "--slots"),
        (("--endpoints", "endpoints.py", "--memory-max", "much"), "write a size such as 512M"),
        (("--endpoints", "endpoints.py", "--threads", "--memory-max", "1G"), "--processes"),
        (("--endpoints", "endpoints.py", "--queues", "a/b"), "--queues a/b"),
        (("--endpoints", "endpoints.py", "--name", "a b"), "--name a b"),
        (("--endpoints", "endpoints.py", "--broker", "memory:"), "a broker that its reactor"),
        (("--endpoints", "endpoints.py", "--broker", "http://x"), "broker"),
    ],
)
def test_a_wrong_command_line_is_refused(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    done = cli("worker", *NOWHERE, *arguments)

    assert done.code == 2
    assert message in done.err
    assert done.out == ""


@pytest.mark.parametrize("mode", ["--processes", "--threads", "--asyncio"])
@pytest.mark.parametrize(
    ("text", "line", "error"),
    [
        ("\nimport nothing_of_this_name\n", 2, "ModuleNotFoundError"),
        ("def f(:\n", 1, "SyntaxError"),
        ("x = 1\n\nraise SystemExit(0)\n", 3, "SystemExit"),
    ],
)
def test_a_module_that_cannot_be_imported_gives_one_clear_error(
    cli: Cli, mode: str, text: str, line: int, error: str
) -> None:
    cli.write(broken_py=text)

    done = cli("worker", "--endpoints", "broken.py", mode, *NOWHERE)

    assert done.code == 2
    assert f"broken.py:{line}: {error}" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("mode", ["--processes", "--threads"])
def test_a_module_without_endpoints_is_refused(cli: Cli, mode: str) -> None:
    cli.write(empty_py="x = 1\n")

    done = cli("worker", "--endpoints", "empty.py", mode, *NOWHERE)

    assert done.code == 2
    assert "there are no endpoints in empty.py" in done.err


def test_a_broker_that_cannot_be_reached_has_its_own_exit_code(cli: Cli) -> None:
    done = cli("worker", "--endpoints", "endpoints.py", "--threads", *NOWHERE)

    assert done.code == 4
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("64k", 65_536), ("512M", 512 << 20), ("2 GiB", 2 << 30)]
)
def test_sizes_are_in_powers_of_1024(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1M", "1X", "1.5G", "MM", "9" * 13])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--memory-max"):
        size_bytes(text)
