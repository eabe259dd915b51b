"""Measures Celery and Dramatiq at the work of Warrener's benchmark: one JSON line per figure.

    python ops/bench/peers/run.py [--broker URL] [--library celery|dramatiq] [--pool P] [--quorum]

500 diamonds (A -> B, C -> D), 1 -> 1,000 -> 1 and a chain of 200, with one worker process, trivial
tasks and payloads of 100 bytes; RabbitMQ as broker, a private Redis for results, chords and
barriers. Each library has a virtual environment of its own below .bench/, made the first time. Its
settings, and why, are in `celery_tasks.py` and `dramatiq_actors.py`. Queues are classic, as both
libraries declare them; `--quorum` adds Celery with quorum queues.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import pika
from pika.exceptions import AMQPError
from support.guard import GuardedProgram
from support.rabbit import PrivateRabbit, free_port
from workloads import STEPS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CACHE = ROOT / ".bench"
DRIVER_SECONDS = 900.0
INSTALL_SECONDS = 600.0
START_SECONDS = 30.0
POOLS = ("solo", "prefork", "threads")  # of Celery; the first one is the fastest here
TITLES = {"diamonds": "500 diamonds", "fan": "1 -> 1,000 -> 1", "chain": "chain of 200"}


class Library(NamedTuple):
    """A library: what to install, its driver, and the arguments of its worker."""

    requirement: str
    driver: str
    worker: tuple[str, ...]


LIBRARIES = {
    "celery": Library(
        "celery[redis]>=5.7,<5.8",
        "celery_tasks",
        (
            *("-m", "celery", "-A", "celery_tasks", "worker", "-l", "warning", "-c", "1"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
    ),
    "dramatiq": Library(
        "dramatiq[rabbitmq,redis]>=2.2,<2.3",
        "dramatiq_actors",
        ("-m", "dramatiq", "dramatiq_actors", "-p", "1", "-t", "2"),
    ),
}


def environment_of(name: str) -> Path:
    """Return the Python of a library's own virtual environment, made where it is missing."""
    folder, requirement = CACHE / name, LIBRARIES[name].requirement
    stamp = folder / "requirement"
    if not stamp.exists() or stamp.read_text() != requirement:
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        pip = (str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")
        _run(*pip, "install", "--quiet", requirement)
        stamp.write_text(requirement)
    return folder / "bin" / "python"


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def private_redis() -> Iterator[str]:
    """Start a Redis of our own that keeps nothing on disk; give its URL."""
    ensure = 'program=bench root="$0"; . "$0/ops/lib/environment.sh"; . "$0/ops/lib/programs.sh"'
    subprocess.run(["bash", "-c", f"set -eu; {ensure}; ensure_redis", str(ROOT)], check=True)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        server = shutil.which("redis-server", path=f"{os.environ['PATH']}:/usr/sbin")
        program = GuardedProgram([str(server), *options], Path(folder, "log"))
        try:
            _wait_until_open(port, program)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            program.kill()


def _wait_until_open(port: int, program: GuardedProgram) -> None:
    deadline = time.monotonic() + START_SECONDS
    while program.running and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise RuntimeError(f"redis-server did not start on port {port}")


def figures(
    url: str, name: str, queue_type: str = "classic", rounds: int = 3, pool: str = POOLS[0]
) -> dict[str, float]:
    """Return the seconds that a library takes for each workload, the medians of some rounds.

    `pool` is for Celery alone. Raises `RuntimeError` with the output of a client that failed.
    """
    python, library = str(environment_of(name)), LIBRARIES[name]
    options = ("-P", pool) if name == "celery" else ()
    queue = f"bench-{name}-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder, private_redis() as redis_url:
        variables = os.environ | {
            "BENCH_BROKER_URL": url,
            "BENCH_REDIS_URL": redis_url,
            "BENCH_QUEUE": queue,
            "BENCH_QUEUE_TYPE": queue_type,
            "PYTHONPATH": str(HERE),
        }
        log = Path(folder, "log")
        worker = GuardedProgram([python, *library.worker, *options], log, variables)
        try:
            driver = [python, "-m", library.driver]
            found: dict[str, list[float]] = {workload: [] for workload in STEPS}
            for workload in rounds * list(STEPS):
                found[workload].append(_drive([*driver, workload], variables, log))
            return {workload: statistics.median(times) for workload, times in found.items()}
        finally:
            worker.kill()
            _delete_queues(url, queue)


def _drive(command: list[str], variables: dict[str, str], log: Path) -> float:
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, check=False, timeout=DRIVER_SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"{done.stderr[-2000:]}\nthe worker: {log.read_text()[-2000:]}")
    return float(done.stdout)


def _delete_queues(url: str, queue: str) -> None:
    with suppress(AMQPError), pika.BlockingConnection(pika.URLParameters(url)) as connection:
        for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
            connection.channel().queue_delete(name)


def by_workload(url: str) -> dict[str, dict[str, float]]:
    """Return steps per second of `diamonds` and `fan`, ms per step of `chain`; by library."""
    seconds = {name: figures(url, name) for name in LIBRARIES}
    return {
        workload: {name: _value(workload, found[workload]) for name, found in seconds.items()}
        for workload in STEPS
    }


def _value(workload: str, seconds: float) -> float:
    steps = STEPS[workload]
    return 1000 * seconds / steps if workload == "chain" else steps / seconds


def print_figures(url: str, name: str, queue_type: str, options: argparse.Namespace) -> None:
    title = f"{name} ({options.pool})" if name == "celery" else name
    found = figures(url, name, queue_type, options.rounds, options.pool)
    for workload, seconds in found.items():
        line: dict[str, Any] = {
            "figure": f"{title}, {TITLES[workload]}, {queue_type}",
            "value": round(STEPS[workload] / seconds, 1),
            "unit": "steps/s",
        }
        if workload == "chain":
            line["ms_per_step"] = round(_value(workload, seconds), 3)
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--broker", help="amqp URL; default: a private RabbitMQ")
    parser.add_argument("--library", choices=list(LIBRARIES), action="append")
    parser.add_argument("--pool", choices=POOLS, default=POOLS[0], help="the pool of Celery")
    parser.add_argument("--quorum", action="store_true", help="Celery with quorum queues, too")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with nullcontext() if options.broker else PrivateRabbit() as private:
        url = private.url() if private else options.broker
        for name in options.library or LIBRARIES:
            print_figures(url, name, "classic", options)
            if options.quorum and name == "celery":
                print_figures(url, name, "quorum", options)


if __name__ == "__main__":
    main()
