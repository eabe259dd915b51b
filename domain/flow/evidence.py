"""The evidence of a diagnosis: figures by name, and a sentence for people.

Shares are parts of 1, waits and services are in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from warrener.domain.caps import NO_KEY
from warrener.domain.flow.figures import PAUSED, FlowSample, StageSample
from warrener.domain.flow.history import Span, StageSpan
from warrener.domain.flow.rates import rates

Evidence = dict[str, float | str]


def main_reason(stage: StageSample) -> str:
    """Return the reason for which most steps of a stage are held back, such as `slots api/7`."""
    limits = {reason: count for reason, count in stage.held.items() if reason != PAUSED}
    return max(limits, key=lambda reason: limits[reason], default="")


def no_worker(span: Span, victims: Sequence[StageSpan]) -> Evidence:
    """Nobody serves the queue, or knows the endpoint."""
    endpoint = victims[0].now.endpoint
    if not span.now.slots:
        return _facts(span, victims, f"no worker serves the queue {span.now.queue}")
    why = f"no worker of the queue {span.now.queue} knows the endpoint {endpoint}"
    return _facts(span, victims, why, endpoint=endpoint)


def limit(span: Span, victims: Sequence[StageSpan], reason: str) -> Evidence:
    """A limit holds them back."""
    kind, _, name = reason.partition(" ")
    stage = victims[0].now
    told = name.removesuffix(f"/{NO_KEY}")
    if kind == "slots":
        why = f"all slots of the limit {told} are taken"
    else:
        why = f"the limit {told} lets no more go out in its time"
    held = float(stage.held.get(reason, 0))
    released = victims[0].change.released / span.seconds
    arrived = victims[0].change.arrived / span.seconds
    return _facts(
        span,
        victims,
        why,
        limit=name,
        held=held,
        released_per_second=released,
        arrived_per_second=arrived,
    )


def slow_store(span: Span, flow: FlowSample, victims: Sequence[StageSpan]) -> Evidence:
    """Slots are free: what is ready does not reach the workers."""
    figures = {
        "commit_seconds": flow.commit_seconds,
        "confirm_seconds": flow.confirm_seconds,
        "unconfirmed_seconds": flow.unconfirmed,
    }
    what = max(figures, key=lambda name: figures[name]).removesuffix("_seconds")
    worst = max(figures.values())
    words = {
        "commit": f"commits to the store take {worst:.1f} s",
        "confirm": f"the broker confirms after {worst:.1f} s",
        "unconfirmed": f"the broker has confirmed nothing for {worst:.1f} s",
    }
    slow = words[what] if worst >= 1.0 else "orders or reports are under way for long"
    why = f"only {span.busy:.0%} of the slots work, for {slow}"
    return _facts(span, victims, why, window=span.now.window, out=span.now.out, **figures)


def poison(
    span: Span, victims: Sequence[StageSpan], failing: Sequence[StageSpan], share: float
) -> Evidence:
    """Attempts that fail take the time of workers, or the room of a limit."""
    worst = max(failing, key=lambda stage: (stage.change.failed_seconds, stage.change.failed))
    failed = worst.change.failed / span.seconds
    why = f"failing attempts, most of {worst.name}, take {share:.0%} of the time there is"
    return _facts(
        span,
        victims,
        why,
        failing_stage=worst.name,
        failing_share=share,
        failed_per_second=failed,
        failed_of_ended=worst.change.failed / max(1, worst.change.ended),
    )


def slow(span: Span, victims: Sequence[StageSpan], guilty: StageSpan) -> Evidence:
    """Steps of a stage take longer than they did, or have the workers for very long."""
    seconds = guilty.seconds
    if seconds is None:
        seconds = guilty.now.service_seconds or 0.0
    if guilty.change.ended == 0:
        seconds = max(seconds, guilty.stuck_seconds)
    usual = guilty.usual_seconds
    then = "" if usual is None else f" ({usual:.2f} s before)"
    share = guilty.running / span.slots
    why = f"a step of {guilty.name} takes {seconds:.2f} s{then}; they have {share:.0%} of the slots"
    known: Evidence = {} if usual is None else {"usual_seconds": usual}
    return _facts(
        span, victims, why, slow_stage=guilty.name, slow_seconds=seconds, slow_share=share, **known
    )


def priority(span: Span, victims: Sequence[StageSpan], lowest: int, share: float) -> Evidence:
    """Higher priorities go first."""
    why = f"{share:.0%} of the workers' time goes to higher priorities than theirs, {lowest}"
    return _facts(span, victims, why, priority=lowest, higher_share=share)


def flood(span: Span, victims: Sequence[StageSpan], guilty: StageSpan, share: float) -> Evidence:
    """Earlier stages have the workers."""
    own = guilty.running / span.slots
    why = f"earlier stages have {share:.0%} of the slots, {guilty.name} alone {own:.0%}"
    return _facts(
        span, victims, why, producer=guilty.name, producer_share=own, upstream_share=share
    )


def too_few(span: Span, victims: Sequence[StageSpan]) -> Evidence:
    """The workers have too much to do."""
    now = rates(span.before, span.now, span.seconds)
    if now.load > 1.0:
        why = f"{now.load:.0%} of what the {span.now.slots} slots can do arrives"
    else:
        work = now.work_seconds / max(1, span.now.slots)
        why = f"the {span.now.slots} slots are busy and have work for {work:.0f} s"
    drain = -1.0 if now.drain_seconds is None else now.drain_seconds
    return _facts(
        span,
        victims,
        why,
        load=now.load,
        arrived_per_second=now.arrived,
        ended_per_second=now.ended,
        work_seconds=now.work_seconds,
        drain_seconds=drain,
    )


def _facts(span: Span, victims: Sequence[StageSpan], why: str, **rest: float | str) -> Evidence:
    worst = max(victims, key=_wait)
    facts: Evidence = {
        "sentence": f"steps of {worst.name} wait for {_wait(worst):.0f} s: {why}",
        "slots": float(span.now.slots),
        "busy_share": span.busy,
        **rest,
    }
    return {name: fact if isinstance(fact, str) else round(fact, 4) for name, fact in facts.items()}


def _wait(stage: StageSpan) -> float:
    now = stage.now
    return max(now.oldest_wait, now.held_wait) or stage.stuck_seconds
