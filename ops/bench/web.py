"""Measures the web service over a store with many jobs: one JSON line per figure.

    python ops/bench/web.py [--jobs N] [--rate N] [--seconds N] [--streams N]

The service runs as users start it, in a process of its own; requests come at fixed times from
another one, whether or not those before them were answered, and count from when they were due.
`bare` is a route of the same framework under the same server that gives as many bytes out of
memory: the ratio to it says what is ours.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests")]

from run import say  # noqa: E402
from support.driving import Driver  # noqa: E402
from support.web import report  # noqa: E402

from warrener.domain.events import DefinitionStored, JobEvent, JobSubmitted, Recorded  # noqa: E402
from warrener.domain.ids import job_id, step_id  # noqa: E402
from warrener.domain.ports import EventStore  # noqa: E402
from warrener.domain.step_events import StepEvent, StepProgressed  # noqa: E402
from warrener.services.projector import catch_up  # noqa: E402
from warrener.services.wiring import open_store, open_views  # noqa: E402

BATCH_JOBS = 500
CONNECTIONS = 32
EVENTS_A_STEP = 4  # it goes out, begins, ends, and its job goes on
BARE = """
import sys
from litestar import Litestar, Response, get
from warrener.services.web.server import listening, serve, server

BODY = b"x" * int(sys.argv[1])

@get("/bare", sync_to_thread=False)
def bare() -> Response[bytes]:
    return Response(BODY, media_type="application/json")

at = listening("127.0.0.1", 0)
ready = lambda: print(f"http://127.0.0.1:{at.getsockname()[1]}/", flush=True)
serve(server(Litestar([bare], openapi_config=None, logging_config=None), ready), at)
"""
SERVICE = "from warrener.services.cli import main; main()"


# --- the store -----------------------------------------------------------------------------------


def fill(url: str, count: int) -> list[UUID]:
    """Write so many jobs that have ended and fold them; return their ids."""
    pattern, job = one_job()
    store, views = open_store(url), open_views(url)
    jobs = [job_id(f"bench-{number}") for number in range(count)]
    if store.last(jobs[-1]) is not None:
        return jobs  # of a run before
    store.commit([each for each in pattern if isinstance(each.event, DefinitionStored)], {})
    own = [each for each in pattern if isinstance(each.event, JobEvent | StepEvent)]
    for start in range(0, count, BATCH_JOBS):
        copies = [
            copied(each, job, new, timedelta(seconds=start + number))
            for number, new in enumerate(jobs[start : start + BATCH_JOBS])
            for each in own
        ]
        store.commit(copies, {})
    catch_up(store, views)
    views.close()
    store.close()
    return jobs


def one_job() -> tuple[list[Recorded], UUID]:
    driver = Driver(samples=False)
    job = driver.submit(report(), {}, labels={"team": "bench"})
    while driver.orders:
        orders, driver.orders = driver.orders, []
        for order in orders:
            driver.succeed(order, {"rows": 17, "file": "s3://bucket/part"})
    return [each.recorded for each in driver.store.read(0, 1_000)], job


def copied(recorded: Recorded, job: UUID, new: UUID, later: timedelta) -> Recorded:
    event = msgspec.structs.replace(recorded.event, at=recorded.event.at - timedelta(1500) + later)
    stream = recorded.originator_id
    if isinstance(event, JobSubmitted):
        event = msgspec.structs.replace(event, root=new)
    if isinstance(event, StepEvent):
        event, stream = msgspec.structs.replace(event, job=new), step_id(new, event.path)
    return Recorded(new if stream == job else stream, recorded.originator_version, event)


# --- servers -------------------------------------------------------------------------------------


@contextmanager
def running(*arguments: object) -> Iterator[tuple[str, int]]:
    """Start a server; give its URL and process id."""
    command = [sys.executable, "-c", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                found = re.search(r"http://127.0.0.1:(\d+)/", line.decode())
                if found is not None:
                    threading.Thread(target=process.stdout.read, daemon=True).start()
                    yield found[0], process.pid
                    return
            raise RuntimeError("the server ended")
        finally:
            process.terminate()


def rss_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


# --- load ----------------------------------------------------------------------------------------


async def fetch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> int:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None, head
    return len(await reader.readexactly(int(length[1])))


async def load(port: int, paths: Sequence[str], rate: float) -> dict[str, list[float]]:
    """Ask for all paths, each at its time; return seconds by the kind of path."""
    connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        connections.put_nowait(await asyncio.open_connection("127.0.0.1", port, limit=2**22))
    found: dict[str, list[float]] = {}
    began = time.perf_counter() + 0.1

    async def ask(number: int, path: str) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        connection = await connections.get()
        await fetch(*connection, path)
        connections.put_nowait(connection)
        kind = "jobs" if "?" in path else "job" if "jobs" in path else "bare"
        found.setdefault(kind, []).append(time.perf_counter() - due)

    await asyncio.gather(*(ask(number, path) for number, path in enumerate(paths)))
    return found


def p95(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def measure_requests(url: str, jobs: list[UUID], rate: float, seconds: int) -> dict[str, float]:
    chosen = random.Random(1)
    paths = [
        f"/api/v1/jobs/{chosen.choice(jobs)}" if number % 2 else "/api/v1/jobs?limit=50"
        for number in range(int(rate * seconds))
    ]
    asyncio.run(load(port_of(url), paths[:200], rate))  # warm
    found = asyncio.run(load(port_of(url), paths, rate))
    for kind, values in found.items():
        say(
            f"web.{kind}.p95",
            1_000 * p95(values),
            "ms",
            p50=round(1_000 * statistics.median(values), 2),
            rate=rate,
            jobs=len(jobs),
        )
    return {kind: p95(values) for kind, values in found.items()}


def size_of(url: str, path: str) -> int:
    async def ask() -> int:
        return await fetch(*await asyncio.open_connection("127.0.0.1", port_of(url)), path)

    return asyncio.run(ask())


# --- notices -------------------------------------------------------------------------------------


class Page:
    """Listens, and notes when it heard of which position."""

    def __init__(self, url: str) -> None:
        self.heard: list[tuple[int, float]] = []
        self._port = port_of(url)
        self._opened = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True).start()
        assert self._opened.wait(20)

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
        writer.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while line := await reader.readline():
            self._opened.set()
            if line.startswith(b"id: "):
                self.heard.append((int(line.rpartition(b":")[2]), time.perf_counter()))


def measure_notices(url: str, store: EventStore, job: UUID, rate: int, seconds: int) -> None:
    """Commit so many events a second, in batches; say how long after it a page hears of each."""
    page = Page(url)
    committed: list[tuple[int, float]] = []
    stream, batch = step_id(job, "load"), max(1, rate // 20)
    last_one = store.last(stream)
    assert last_one is not None
    version = last_one.originator_version + 1
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + seconds:
        events = [Recorded(stream, version + each, progressed(job)) for each in range(batch)]
        version += batch
        committed.append((store.commit(events, {}), time.perf_counter()))
        time.sleep(max(0.0, batch / rate - (time.perf_counter() - now)))
    last = committed[-1][0]
    while page.heard[-1][0] < last:
        time.sleep(0.01)
    waits = [
        next(at for heard, at in page.heard if heard >= position) - when
        for position, when in committed
    ]
    say(
        "web.notice.p95",
        1_000 * p95(waits),
        "ms",
        p50=round(1_000 * statistics.median(waits), 1),
        max=round(1_000 * max(waits), 1),
        events_per_second=rate,
    )


def progressed(job: UUID) -> StepProgressed:
    return StepProgressed(
        at=datetime.now(UTC),
        cause="bench",
        job=job,
        path="load",
        attempt=1,
        worker="w",
        progress=0.5,
    )


async def open_streams(port: int, count: int, wait: float) -> list[asyncio.StreamWriter]:
    found = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        found.append(writer)
    await asyncio.sleep(wait)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500, help="a second, while a page listens")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--store", default="", help="a file that is kept, and used again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{given.store or Path(folder, 'jobs.db')}"
        os.environ["HOME"] = folder
        began = time.perf_counter()
        jobs = fill(url, given.jobs)
        say("web.filled", time.perf_counter() - began, "s", jobs=len(jobs))
        with running(SERVICE, "web", "--port", 0, "--store", url, "--log", "json,info") as at:
            base = rss_mib(at[1])
            ours = measure_requests(at[0], jobs, given.rate, given.seconds)
            size = size_of(at[0], "/api/v1/jobs?limit=50")
            store = open_store(url)
            measure_notices(at[0], store, jobs[0], EVENTS_A_STEP * given.steps, given.seconds)
            store.close()
            before = rss_mib(at[1])
            asyncio.run(measure_streams(at, given.streams, base, before))
        with running(BARE, size) as at:
            asyncio.run(load(port_of(at[0]), ["/bare"] * 200, given.rate))
            bare = asyncio.run(
                load(port_of(at[0]), ["/bare"] * int(given.rate * given.seconds), given.rate)
            )["bare"]
        say("web.bare.p95", 1_000 * p95(bare), "ms", bytes=size)
        for kind, value in ours.items():
            say(f"web.{kind}.ratio", value / p95(bare), "of bare")


async def measure_streams(at: tuple[str, int], count: int, base: float, before: float) -> None:
    opened = await open_streams(port_of(at[0]), count, 3.0)
    after = rss_mib(at[1])
    say(
        "web.streams.rss",
        after,
        "MiB",
        streams=count,
        before=round(before, 1),
        at_start=round(base, 1),
        kib_each=round(1_024 * (after - before) / count, 1),
    )
    for writer in opened:
        writer.close()


if __name__ == "__main__":
    main()
