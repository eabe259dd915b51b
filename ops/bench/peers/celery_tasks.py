"""The workloads for Celery. Run as a script, this is the client that submits and waits.

What was set, and why; all else is Celery's default:

- A prefetch of 128, as its optimizing guide says for many short tasks.
- The pool `solo`, which runs tasks in the worker's own process: the fastest here. `prefork`, the
  default, adds a second process and a pipe to it; see `--pool`.
- Results are stored only where something reads them: by a chord, and the last of a job by the
  client (`ignore_result` elsewhere). The Redis backend joins chords itself, without polling.
- The client waits with `propagate=False`: otherwise each sign of life makes it ask Redis about all
  the steps before, which took most of the time.
- No gossip, mingle and heartbeats between workers, for there is only one; no task events.
- Acknowledged before it runs and published without confirms, as Celery does by default: faster than
  what Warrener does, and less safe. Messages are persistent, also by default.
- Quorum queues, where asked for: `task_default_queue_type`, with the detection that is on already.
"""

from __future__ import annotations

from celery import Celery, chain, group
from workloads import (
    BROKER_URL,
    PAYLOAD,
    QUEUE,
    QUEUE_TYPE,
    REDIS_URL,
    WAIT_SECONDS,
    report,
)

app = Celery("bench", broker=BROKER_URL, backend=REDIS_URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=QUEUE,
    task_default_queue_type=QUEUE_TYPE,
    worker_prefetch_multiplier=128,
    worker_enable_remote_control=False,
)


@app.task(name="bench.echo")
def echo(x):
    return x


@app.task(name="bench.pass_on", ignore_result=True)
def pass_on(x):
    return x


@app.task(name="bench.join")
def join(xs):
    return xs[0]


@app.task(name="bench.length")
def length(xs):
    return len(xs)


def diamonds(count):
    job = chain(pass_on.si(PAYLOAD), group(echo.s(), echo.s()), join.s())
    for started in [job.apply_async() for _ in range(count)]:
        assert started.get(timeout=WAIT_SECONDS, propagate=False) == PAYLOAD


def fan(count):
    items = group(echo.si(PAYLOAD) for _ in range(count))
    started = chain(pass_on.si(PAYLOAD), items, length.s()).apply_async()
    assert started.get(timeout=WAIT_SECONDS, propagate=False) == count


def long_chain(count):
    steps = [pass_on.si(PAYLOAD), *(pass_on.s() for _ in range(count - 2)), echo.s()]
    assert chain(steps).apply_async().get(timeout=WAIT_SECONDS, propagate=False) == PAYLOAD


if __name__ == "__main__":
    report(diamonds=diamonds, fan=fan, chain=long_chain)
