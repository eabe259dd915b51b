"""The workloads for Dramatiq. Run as a script, this is the client that submits and waits.

What was set, and why; all else is Dramatiq's default:

- One worker process with 2 threads: the fastest of 1, 2, 4 and 8 (the default) for trivial work.
  A larger prefetch (`dramatiq_queue_prefetch`) changed nothing.
- A chain is a pipeline. A join is a group with a completion callback. Dramatiq has no message that
  carries a group's results, so the callback reads them from the result backend.
- Results are stored only where something reads them (`store_results`).
- Published without confirms, as it does by default: faster than what Warrener does, and less safe.
  Messages are persistent, also by default, and acknowledged when the actor is done.
- Its queues are classic: it has no setting for quorum queues.
"""

from __future__ import annotations

import secrets

import dramatiq
import redis
from dramatiq import group, pipeline
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as BarrierBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from workloads import (
    BROKER_URL,
    PAYLOAD,
    QUEUE,
    REDIS_URL,
    WAIT_SECONDS,
    report,
)

client = redis.Redis.from_url(REDIS_URL)
results = RedisBackend(client=client)
broker = RabbitmqBroker(url=BROKER_URL)
broker.add_middleware(GroupCallbacks(BarrierBackend(client=client)))
broker.add_middleware(Results(backend=results))  # the later one acts first when an actor is done
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=QUEUE)
def pass_on(x):
    return x


@dramatiq.actor(queue_name=QUEUE, store_results=True)
def echo(x):
    return x


def members(job, count, *args):
    """Return the messages of a group. Their ids follow from the job, so nobody must carry them."""
    return [echo.message(*args).copy(message_id=f"{job}-{number}") for number in range(count)]


@dramatiq.actor(queue_name=QUEUE)
def spread(x, job, count, done):
    """Start a group of echoes, and `gather` when all have run."""
    together = group(members(job, count, x))
    together.add_completion_callback(gather.message(job, count, done))
    together.run()


@dramatiq.actor(queue_name=QUEUE)
def gather(job, count, done):
    found = [results.get_result(message) for message in members(job, count)]
    client.rpush(done, len(found))


def wait_for(done, jobs, count):
    for _ in range(jobs):
        answer = client.blpop(done, timeout=WAIT_SECONDS)
        assert answer is not None
        assert int(answer[1]) == count
    client.delete(done)


def diamonds(count):
    done = secrets.token_hex(8)
    for _ in range(count):
        spread.send(PAYLOAD, secrets.token_hex(8), 2, done)
    wait_for(done, count, 2)


def fan(count):
    done = secrets.token_hex(8)
    spread.send(PAYLOAD, secrets.token_hex(8), count, done)
    wait_for(done, 1, count)


def long_chain(count):
    steps = [pass_on.message(PAYLOAD), *(pass_on.message() for _ in range(count - 2))]
    job = pipeline([*steps, echo.message()]).run()
    assert job.get_result(block=True, timeout=int(1000 * WAIT_SECONDS)) == PAYLOAD


if __name__ == "__main__":
    report(diamonds=diamonds, fan=fan, chain=long_chain)
