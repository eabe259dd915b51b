"""Measures the read models: one JSON line per figure.

    python ops/bench/views.py [--quick] [--items N] [--jobs N] [--events N] [--mongo URL]

A log is written by a reactor with in-line steps, and folded into each kind of store: events/s of
each read model beside those that the reactor wrote. Then lists of jobs, one large job, and a
rebuild of `--events` events in a process of its own, for its time and peak memory. Without
`--mongo` it starts SecantusDB, which is written in Python: judge shapes by it, not absolutes.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests")]

import endpoints  # noqa: E402, F401  (registers the endpoints)
from run import fan, say  # noqa: E402
from support.mongo import forget_database, fresh_mongo_url  # noqa: E402

from warrener.domain.payloads import NULL  # noqa: E402
from warrener.projections.apply import READ_MODELS  # noqa: E402
from warrener.projections.ports import JobFilter, ViewStore  # noqa: E402
from warrener.projections.views import JOBS, JobView  # noqa: E402
from warrener.services.folding import Folding  # noqa: E402
from warrener.services.logs import LogSet  # noqa: E402
from warrener.services.projector import BATCH_EVENTS_MAX, catch_up  # noqa: E402
from warrener.services.queries import Queries  # noqa: E402
from warrener.services.submission import Source, submission  # noqa: E402
from warrener.services.upkeep.rebuild import rebuild  # noqa: E402
from warrener.services.wiring import open_store, open_views  # noqa: E402
from warrener.services.wiring_runs import open_embedded  # noqa: E402

START = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("succeeded", "failed", "running", "cancelled")
TEAMS = 20
ASKED = 9


class Pace(NamedTuple):
    """What events took, by the wall clock and of this process alone: others disturb that less."""

    per_second: float
    cpu_us: float


def written(url: str, items: int, events: int = 0) -> tuple[Pace, UUID]:
    """Run fan-outs until the log has so many events; return the reactor's pace, and a job."""
    store = open_store(url)
    embedded = open_embedded(store, queues=["default"], workers=1, modules=[], mode="inline")
    definition, params = fan(items)
    job: UUID | None = None

    def run() -> None:
        nonlocal job
        while job is None or store.head() < events:
            job = embedded.submit(submission(Source(definition), params, key=secrets.token_hex(8)))
            embedded.run(job)

    pace = paced(run, store.head)
    embedded.close()
    store.close()
    assert job is not None
    return pace, job


def paced(work: Callable[[], object], events: Callable[[], int]) -> Pace:
    cpu = time.process_time()
    seconds = timed(work)
    count = events()
    return Pace(count / seconds, 1e6 * (time.process_time() - cpu) / count)


@contextmanager
def places(
    folder: Path, mongo: str | None, *, with_mongo: bool, with_sqlite: bool
) -> Iterator[dict[str, str]]:
    """Give the URL of an empty place for each kind of store."""
    urls = {"SQLite": f"sqlite:///{folder / secrets.token_hex(4)}.db"} if with_sqlite else {}
    if with_mongo:
        urls["MongoDB"] = mongo or fresh_mongo_url()
    yield urls
    if with_mongo and not mongo:
        forget_database(urls["MongoDB"])


def folding(log: str, views: ViewStore, batch: int, kind: str, reactor: Pace) -> None:
    """Print what each read model, and all of them, fold in a second."""
    store = open_store(log)
    for model in READ_MODELS:
        views.reset()
        work = Folding(store, views, models=[model])
        pace = paced(lambda work=work: drained(work, batch), store.head)
        told(f"{kind}: {model.name}", pace, reactor)
    views.reset()
    pace = paced(lambda: catch_up(store, views, batch_size=batch), store.head)
    told(f"{kind}: all read models", pace, reactor)
    store.close()


def told(figure: str, pace: Pace, reactor: Pace) -> None:
    more = {
        "ratio_to_reactor": round(pace.per_second / reactor.per_second, 2),
        "cpu_us_per_event": round(pace.cpu_us, 1),
        "ratio_of_cpu": round(reactor.cpu_us / pace.cpu_us, 2),
    }
    say(figure, pace.per_second, "events/s", **more)


def drained(work: Folding, batch: int) -> None:
    while work.turn(datetime.now(UTC), batch):
        pass


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def listing(views: ViewStore, count: int, kind: str) -> None:
    """Print how long it takes to list 50 of many jobs, by what people ask for."""
    views.reset()
    views.positions()
    for start in range(0, count, BATCH_EVENTS_MAX):
        made = {view.job: view for view in map(made_job, range(start, min(count, start + 2_000)))}
        views.save("jobs", start, start + len(made), {JOBS: made})
    asked = {
        "label and state": JobFilter(labels={"team": "t7"}, state="failed"),
        "label": JobFilter(labels={"team": "t7"}),
        "state": JobFilter(state="failed"),
        "two labels and state": JobFilter(labels={"team": "t7", "env": "e3"}, state="failed"),
        "label, state, last day": JobFilter(
            labels={"team": "t7"}, state="failed", since=START + timedelta(seconds=count - 3600)
        ),
    }
    for name, wanted in asked.items():
        assert views.find_jobs(wanted)
        value = median_ms(lambda wanted=wanted: views.find_jobs(wanted))
        say(f"{kind}: list 50 of {count:,} jobs by {name}", value, "ms")


def made_job(number: int) -> JobView:
    # Drawn, so that every team has jobs in every state and of every kind.
    chosen = random.Random(number)
    return JobView(
        position=number + 1,
        job=uuid4(),
        name=f"job{number % 7}",
        version=1,
        definition="h",
        state=chosen.choice(STATES),
        params=NULL,
        root=uuid4(),
        submitted_at=START + timedelta(seconds=number),
        labels={"team": f"t{chosen.randrange(TEAMS)}", "env": f"e{number % 5}"},
    )


def showing(log: str, views: ViewStore, job: UUID, kind: str) -> None:
    """Print how long it takes to show a large job, and to page through its items."""
    store = open_store(log)
    queries = Queries(LogSet([store]), views)
    catch_up(store, views)
    total = sum(queries.show(job).counts.values())
    say(f"{kind}: show a job of {total:,} steps", median_ms(lambda: queries.show(job)), "ms")
    fan_out = next(step for step in views.named_steps(job) if step.count)
    for after in (0, total // 2):
        value = median_ms(lambda after=after: views.items(fan_out, after=after))
        say(f"{kind}: 100 items after {after:,} of {total:,}", value, "ms")
    say(f"{kind}: 100 slowest steps", median_ms(lambda: views.slowest(job, 100)), "ms")
    store.close()


def median_ms(work: Callable[[], object]) -> float:
    work()
    return statistics.median(timed(work) for _ in range(ASKED)) * 1_000


def rebuilding(log: str, views: str, kind: str) -> None:
    """Print time and peak memory of a rebuild; it has a process of its own."""
    command = [sys.executable, __file__, "--rebuild", log, views]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    rate = found["events"] / found["seconds"]
    say(f"{kind}: rebuild of {found['events']:,} events", found["seconds"], "s", rate=round(rate))
    say(f"{kind}: peak memory of it", found["mib"], "MiB", at_start=round(found["start_mib"]))


def rebuilt(log: str, url: str) -> None:
    store, views = open_store(log), open_views(url)
    start = peak_mib()
    begun = time.perf_counter()
    events = rebuild(LogSet([store]), views)
    seconds = time.perf_counter() - begun
    print(json.dumps({"events": events, "seconds": seconds, "mib": peak_mib(), "start_mib": start}))


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--items", type=int, default=10_000, help="steps of the large job")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs to list 50 of")
    parser.add_argument("--events", type=int, default=100_000, help="events of the rebuild")
    parser.add_argument("--batch", type=int, default=BATCH_EVENTS_MAX, help="events of a batch")
    parser.add_argument("--mongo", help="URL of an empty database")
    parser.add_argument("--no-mongo", action="store_true")
    parser.add_argument("--no-sqlite", action="store_true")
    parser.add_argument("--rebuild", nargs=2, metavar=("LOG", "VIEWS"), help=argparse.SUPPRESS)
    options: Any = parser.parse_args(arguments)
    if options.rebuild:
        rebuilt(*options.rebuild)
        return
    if options.quick:
        options.items, options.jobs, options.events = 1_000, 2_000, 5_000
    with tempfile.TemporaryDirectory() as name:
        measured(Path(name), options)


def measured(folder: Path, options: Any) -> None:
    log, long_log = (f"sqlite:///{folder / name}" for name in ("log.db", "long.db"))
    reactor, job = written(log, options.items)
    told("reactor with in-line steps, SQLite FULL", reactor, reactor)
    written(long_log, options.items, options.events)
    kinds = {"with_mongo": not options.no_mongo, "with_sqlite": not options.no_sqlite}
    with places(folder, options.mongo, **kinds) as urls:
        for kind, url in urls.items():
            views = open_views(url)
            folding(log, views, options.batch, kind, reactor)
            showing(log, views, job, kind)
            listing(views, options.jobs, kind)
            views.reset()
            views.close()
            rebuilding(long_log, url, kind)


if __name__ == "__main__":
    main()
