"""`ops/demo`, `ops/test` and `.ci/run`, with a stand-in for Python and all it would install."""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = (
    "ops/demo",
    "ops/test",
    "ops/lib/environment.sh",
    "ops/lib/programs.sh",
    ".ci/run",
    "pyproject.toml",
)
TOOLS = ("python", "warrener", "ruff", "mypy", "lint-imports")

# What the tests need beside Python, and what the scripts themselves use.
PROGRAMS = ("rabbitmq-server", "node", "npm", "chromium", "promtool")
COMMANDS = "bash cat cp chmod date dirname flock grep id mkdir mktemp mv nproc readlink rm tail"

# Notes every call that would do something, and fails where FAILING names it.
STAND_IN = """#!/bin/bash
name="${0##*/}"
case "$*" in
*_base_executable*) [ "${FAILING:-}" = version ] || echo "$BASE"; exit ;;
*"import ensurepip"*) [ "${FAILING:-}" != ensurepip ]; exit ;;
"-I -c "*) exit 0 ;;
"-m venv "*) mkdir -p "$3/bin"; for tool in TOOLS; do cp "$0" "$3/bin/$tool"; done ;;
esac
[ "$name" = id ] && echo 0 && exit
[ "$name $1" = "apt-get -o" ] && shift 2 && cp "$DPKG_ROOT/usr/sbin/policy-rc.d" "$CALLS.policy"
[ "$1" = -m ] && name="$2" && shift 2
{ printf %s "$name"; printf " <%s>" "$@"; echo; } >>"$CALLS"
[ "${FAILING:-}" = "$name" ] || exit 0
echo "the output of $name"
exit 5
"""


@dataclass(frozen=True)
class Checkout:
    """A copy of what the scripts touch, and a PATH whose Pythons are all stand-ins."""

    root: Path
    pythons: Path
    calls_file: Path

    def run(self, script: str, *arguments: str, **variables: str) -> CompletedProcess[str]:
        with self.start(script, *arguments, **variables) as process:
            stdout, stderr = process.communicate(timeout=60)
        return CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, script: str, *arguments: str, **variables: str) -> Popen[str]:
        environment = {
            "PATH": f"{self.pythons}:{os.environ['PATH']}",
            "HOME": str(self.root),
            "BASE": str(self.pythons / "python3"),
            "CALLS": str(self.calls_file),
        }
        return Popen(
            ["bash", str(self.root / script), *arguments],
            cwd=self.pythons,
            env=environment | variables,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
        )

    def calls(self) -> list[str]:
        """What has been called since the last time this was asked, by name and in order."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return [line.split()[0] for line in lines]


def stand_in(path: Path) -> None:
    path.write_text(STAND_IN.replace("TOOLS", " ".join(TOOLS)))
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a checkout"
    for name in ("ops/lib", "warrener", "domain", ".ci"):
        (root / name).mkdir(parents=True)
    for name in SCRIPTS:
        shutil.copy(ROOT / name, root / name)
    (root / "warrener" / "domain").symlink_to("../domain")
    pythons = tmp_path / "pythons"
    pythons.mkdir()
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15)), *PROGRAMS):
        stand_in(pythons / name)
    return Checkout(root, pythons, tmp_path / "calls")


def test_the_demo_installs_once_and_then_only_runs(checkout: Checkout) -> None:
    assert checkout.run("ops/demo").returncode == 0
    assert checkout.calls() == ["venv", "pip", "warrener"]

    assert checkout.run("ops/demo").returncode == 0
    assert checkout.calls() == ["warrener"]


def test_the_demo_hands_its_arguments_and_its_exit_code_through(checkout: Checkout) -> None:
    done = checkout.run("ops/demo", "some folder", "--chaos", FAILING="warrener")

    assert done.returncode == 5
    assert done.stdout == "the output of warrener\n"
    last = checkout.calls_file.read_text().splitlines()[-1]
    assert last == "warrener <demo> <some folder> <--chaos>"


def test_a_changed_project_file_is_installed_again_in_the_same_environment(
    checkout: Checkout,
) -> None:
    checkout.run("ops/demo")
    checkout.calls()

    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")

    assert checkout.run("ops/demo").returncode == 0
    assert checkout.calls() == ["pip", "warrener"]


def test_what_the_tests_need_serves_the_demo_too(checkout: Checkout) -> None:
    checkout.run("ops/test")
    checkout.calls()

    assert checkout.run("ops/demo").returncode == 0
    assert checkout.calls() == ["warrener"]


def test_an_installation_that_failed_is_shown_and_made_anew(checkout: Checkout) -> None:
    failed = checkout.run("ops/demo", FAILING="pip")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-2] == "the output of pip"
    assert failed.stderr.splitlines()[-1].startswith("ops/demo: installing with pip failed")
    checkout.calls()

    assert checkout.run("ops/demo").returncode == 0
    assert checkout.calls() == ["venv", "pip", "warrener"]


def test_a_failed_second_installation_is_not_taken_for_a_good_one(checkout: Checkout) -> None:
    checkout.run("ops/demo")
    assert checkout.run("ops/test", FAILING="pip").returncode == 1
    checkout.calls()

    assert checkout.run("ops/demo").returncode == 0
    assert checkout.calls() == ["venv", "pip", "warrener"]


def test_two_installations_take_turns(checkout: Checkout) -> None:
    lock = os.open(checkout.root, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    with checkout.start("ops/demo") as second:
        assert second.stderr is not None
        first_line = second.stderr.readline()
        called_meanwhile = checkout.calls()
        os.close(lock)
        second.communicate(timeout=60)

    assert "waiting for another installation" in first_line
    assert called_meanwhile == []
    assert second.returncode == 0
    assert checkout.calls() == ["venv", "pip", "warrener"]


def test_another_python_gets_another_environment(checkout: Checkout) -> None:
    checkout.run("ops/demo")
    checkout.calls()

    other = str(checkout.pythons / "python3.13")
    assert checkout.run("ops/demo", PYTHON=other, BASE=other).returncode == 0
    assert checkout.calls() == ["venv", "pip", "warrener"]


def test_a_moved_checkout_gets_another_environment(checkout: Checkout) -> None:
    checkout.run("ops/demo")
    checkout.calls()

    moved = Checkout(
        checkout.root.rename(checkout.root.with_name("moved")),
        checkout.pythons,
        checkout.calls_file,
    )

    assert moved.run("ops/demo").returncode == 0
    assert moved.calls() == ["venv", "pip", "warrener"]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"FAILING": "version"}, "python3 3.11 or newer is needed: apt install python3"),
        ({"FAILING": "version", "PYTHON": "python3"}, "PYTHON=python3 is no Python 3.11 or newer"),
        ({"PYTHON": "/no/such/python"}, "PYTHON=/no/such/python is no Python 3.11 or newer"),
        ({"FAILING": "ensurepip"}, "has no venv and ensurepip modules: name another Python"),
    ],
)
def test_a_python_that_does_not_fit_is_refused_in_one_sentence(
    checkout: Checkout, variables: dict[str, str], sentence: str
) -> None:
    done = checkout.run("ops/demo", **variables)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert sentence in done.stderr
    assert not (checkout.root / ".venv").exists()


def test_a_checkout_without_its_links_is_refused_in_one_sentence(checkout: Checkout) -> None:
    (checkout.root / "warrener" / "domain").unlink()

    done = checkout.run("ops/demo")

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "the links in warrener/ are missing" in done.stderr


@pytest.mark.parametrize("tool", ["ruff", "mypy", "lint-imports", "pytest"])
def test_all_checks_run_and_the_run_fails_if_one_does(checkout: Checkout, tool: str) -> None:
    done = checkout.run("ops/test", FAILING=tool)

    assert done.returncode == 1
    assert checkout.calls()[-5:] == ["ruff", "ruff", "mypy", "lint-imports", "pytest"]
    table = done.stdout.partition("check          result")[2].splitlines()[1:6]
    assert sum("FAILED (5)" in row for row in table) == (2 if tool == "ruff" else 1)


def test_a_run_without_a_failure_says_so_last(checkout: Checkout) -> None:
    done = checkout.run("ops/test", "-k", "some name")

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "ops/test: all 5 checks are fine"
    assert checkout.calls_file.read_text().splitlines()[-1].endswith(" <-k> <some name>")


def test_continuous_integration_fails_when_pytest_finds_no_tests(checkout: Checkout) -> None:
    assert checkout.run(".ci/run").returncode == 0
    assert checkout.run(".ci/run", FAILING="pytest").returncode == 1


@dataclass(frozen=True)
class BareMachine:
    """A machine without the programs that the tests need; `policy` says if daemons may start."""

    checkout: Checkout
    commands: Path
    system: Path

    @property
    def policy(self) -> Path:
        return self.system / "usr" / "sbin" / "policy-rc.d"

    def run_tests(self, **variables: str) -> CompletedProcess[str]:
        path = f"{self.checkout.pythons}:{self.commands}"
        variables = {"PATH": path, "DPKG_ROOT": str(self.system)} | variables
        return self.checkout.run("ops/test", **variables)


@pytest.fixture
def bare_machine(checkout: Checkout, tmp_path: Path) -> BareMachine:
    commands, system = tmp_path / "commands", tmp_path / "system"
    commands.mkdir()
    (system / "usr" / "sbin").mkdir(parents=True)
    for name in COMMANDS.split():
        (commands / name).symlink_to(str(shutil.which(name)))
    for name in PROGRAMS:
        (checkout.pythons / name).unlink()
    for name in ("apt-get", "id"):
        stand_in(checkout.pythons / name)
    return BareMachine(checkout, commands, system)


def test_root_gets_missing_programs_from_the_distribution(bare_machine: BareMachine) -> None:
    done = bare_machine.run_tests()

    assert done.returncode == 0, done.stderr
    lines = bare_machine.checkout.calls_file.read_text().splitlines()
    options = "<install> <--yes> <--no-install-recommends>"
    assert lines[0] == f"apt-get {options} <rabbitmq-server>"
    assert lines[1] == f"apt-get {options} <nodejs> <npm>"
    assert lines[2] == f"apt-get {options} <chromium> <fonts-dejavu-core>"
    assert lines[3] == f"apt-get {options} <prometheus>"
    assert lines[4].startswith("venv ")


@pytest.mark.parametrize("program", ["rabbitmq-server", "node"])
def test_a_failed_installation_of_a_program_ends_the_run_in_one_sentence(
    bare_machine: BareMachine, program: str
) -> None:
    if program == "node":
        stand_in(bare_machine.system / "usr" / "sbin" / "rabbitmq-server")

    done = bare_machine.run_tests(FAILING="apt-get")

    assert done.returncode == 1
    assert "apt-get could not install it" in done.stderr.splitlines()[-1]
    assert program in done.stderr.splitlines()[-1]
    assert set(bare_machine.checkout.calls()) == {"apt-get"}


def test_who_may_not_install_is_told_what_is_missing_in_one_sentence(
    bare_machine: BareMachine,
) -> None:
    (bare_machine.checkout.pythons / "apt-get").unlink()

    done = bare_machine.run_tests()

    assert done.returncode == 1
    assert done.stderr == (
        "ops/test: rabbitmq-server is missing: apt install rabbitmq-server, "
        "or name a RabbitMQ with WARRENER_TEST_BROKER_URL=amqp://...\n"
    )
    assert bare_machine.checkout.calls() == []


def test_with_another_broker_no_server_is_installed(bare_machine: BareMachine) -> None:
    done = bare_machine.run_tests(WARRENER_TEST_BROKER_URL="amqp://localhost")

    assert done.returncode == 0
    assert "rabbitmq-server" not in bare_machine.checkout.calls_file.read_text()


@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 0\n"])
@pytest.mark.parametrize("failing", ["", "apt-get"])
def test_no_daemon_may_start_during_an_installation_and_the_policy_is_put_back(
    bare_machine: BareMachine, before: str | None, failing: str
) -> None:
    if before:
        bare_machine.policy.write_text(before)

    bare_machine.run_tests(FAILING=failing)

    meanwhile = bare_machine.checkout.calls_file.with_suffix(".policy").read_text()
    assert meanwhile.startswith("#!/bin/sh\n")
    assert meanwhile.endswith("\nexit 101\n")
    assert (bare_machine.policy.read_text() if bare_machine.policy.exists() else None) == before
    assert not bare_machine.policy.with_name("policy-rc.d.kept").exists()


@pytest.mark.parametrize("scale", ["0", "-1", "1.5", "many"])
def test_a_scale_that_is_no_whole_number_is_refused_before_anything_runs(
    checkout: Checkout, scale: str
) -> None:
    done = checkout.run("ops/test", WARRENER_TEST_SCALE=scale)

    assert done.returncode == 1
    assert f"not '{scale}'" in done.stderr
    assert checkout.calls() == []


def test_help_runs_nothing(checkout: Checkout) -> None:
    done = checkout.run("ops/test", "--help")

    assert done.returncode == 0
    assert "WARRENER_TEST_SCALE" in done.stdout
    assert checkout.calls() == []
