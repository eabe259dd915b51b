"""The tables of `flow` and `starvation`, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from warrener.domain.definition.durations import duration_text
from warrener.domain.flow.orders import ORDERS
from warrener.services.cli.output import (
    duration,
    moment,
    one_line,
    plain,
    share_text,
    spark_text,
    table,
)
from warrener.services.flow_shapes import (
    ActionTaken,
    FlowNow,
    QueueFlow,
    StageFlow,
    StarvationLine,
    VictimLine,
)

STAGES_SHOWN_MAX: Final = 40  # of a queue
NAMED_MAX: Final = 5
TREND_CELLS: Final = 10
ID_SHOWN: Final = 8  # characters of an incident in a table
NO_FIGURES: Final = "no figures yet: a reactor tells them while there is something to do"


# --- flow ----------------------------------------------------------------------------------------


def flow_tables(found: FlowNow, open_ones: Sequence[StarvationLine]) -> Iterator[Any]:
    """Yield what is set, a table for each queue, and who starves."""
    yield _settings(found)
    if not found.queues:
        yield plain(NO_FIGURES, "dim")
    for queue in found.queues:
        yield _head(queue)
        if queue.stages:
            yield _stages(queue.stages)
        if queue.held:
            yield _held(queue.stages)
    for line in open_ones:
        yield plain(f"! {starving(line)}", "bold red")
    if open_ones:
        yield plain("more: warrener starvation", "dim")


def _settings(found: FlowNow) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column()
    facts.add_column(overflow="fold")
    order = ORDERS.get(found.policy)
    weights = ", ".join(f"{key}={weight:g}" for key, weight in found.weights.items())
    starving_after = f"after {duration_text(found.bound_seconds)}"
    rows = {
        "policy": f"{found.policy}{f': {order.summary}' if order else ''}",
        "weights": weights,
        "starvation": f"{starving_after}, then {_MODES.get(found.mode, found.mode)}",
        "intake": found.intake,
        "set": _who(found.since, found.by, found.reason),
        "as of": moment(found.as_of),
    }
    for name, value in rows.items():
        if value:
            facts.add_row(plain(name, "dim"), plain(value))
    return facts


_UNITS: Final = (("h", 3_600.0), ("min", 60.0), ("s", 1.0), ("ms", 0.001))
_MODES: Final = {
    "off": "nothing: it is not looked for (off)",
    "observe": "it is told (observe)",
    "advise": "a person is asked (advise)",
    "act": "something is done about it (act)",
}


def _who(since: str | None, by: str, reason: str) -> str:
    if since is None:
        return ""
    return f"{moment(since)}{f' by {by}' if by else ''}{f' ({one_line(reason)})' if reason else ''}"


def _head(queue: QueueFlow) -> Text:
    parts = [
        f"{queue.busy} of {queue.slots} slots busy",
        *([f"{queue.workers} workers"] if queue.workers else []),
        f"{queue.out} out of a window of {queue.window}",
        f"{queue.arrival_rate:.3g}/s in, {queue.completion_rate:.3g}/s done",
        f"backlog {_drained(queue)}",
    ]
    head = Text.assemble(plain(f"\n{queue.queue} ", "bold"), share_text(queue.utilisation))
    head.append_text(plain(f"  {' · '.join(parts)}", "dim"))
    if queue.unknown:
        named = ", ".join(queue.unknown[:NAMED_MAX])
        head.append_text(plain(f"\nno worker knows {named}", "bold red"))
    return head


def _drained(queue: QueueFlow) -> str:
    if queue.drain_seconds is None:
        return f"of {duration(queue.work_seconds)} of work grows"
    if queue.drain_seconds == 0:
        return "empty"
    return f"done in {duration(queue.drain_seconds)}"


def _stages(stages: Sequence[StageFlow]) -> Table:
    rows = table(
        "stage",
        ">ready",
        "trend",
        ">held",
        ">out",
        ">oldest",
        ">p50/p95/p99",
        ">service",
        "of time",
        ">in/s",
        ">done/s",
        ">to come",
    )
    rows.padding = (0, 0)  # twelve columns on 120 characters
    for stage in _most_telling(stages):
        rows.add_row(
            plain(f"{stage.job}/{stage.step}", "bold red" if stage.incidents else ""),
            str(stage.ready),
            spark_text(stage.series.ready if stage.series else (), TREND_CELLS),
            str(sum(stage.held.values()) or ""),
            str(stage.out),
            _short(stage.oldest_wait),
            _percentiles(stage),
            "" if stage.service_seconds is None else _short(stage.service_seconds),
            share_text(stage.share, 5),
            f"{stage.arrival_rate:.3g}",
            f"{stage.completion_rate:.3g}",
            f"{stage.coming:.0f}" if stage.coming else "",
        )
    left = len(stages) - STAGES_SHOWN_MAX
    if left > 0:
        rows.caption = plain(f"{left} more stages: --json has all")
    return rows


def _percentiles(stage: StageFlow) -> str:
    """Return the percentiles of waits, in the unit of the longest."""
    waits = (stage.wait_p50, stage.wait_p95, stage.wait_p99)
    unit, size = next((each for each in _UNITS if max(waits) >= each[1]), _UNITS[-1])
    return f"{'/'.join(f'{wait / size:.2g}' for wait in waits)} {unit}" if max(waits) else ""


def _most_telling(stages: Sequence[StageFlow]) -> list[StageFlow]:
    """Return stages in their order; of too many, those with most to do."""
    if len(stages) <= STAGES_SHOWN_MAX:
        return list(stages)
    most = sorted(stages, key=lambda stage: -(stage.ready + stage.out + sum(stage.held.values())))
    kept = {id(stage) for stage in most[:STAGES_SHOWN_MAX]}
    return [stage for stage in stages if id(stage) in kept]


def _held(stages: Iterable[StageFlow]) -> Text:
    reasons: Counter[str] = Counter()
    for stage in stages:
        reasons.update(stage.held)
    named = [
        f"{count} by {one_line(reason, 60)}" for reason, count in reasons.most_common(NAMED_MAX)
    ]
    more = len(reasons) - len(named)
    return plain(f"held back: {', '.join(named)}{f', and {more} more' if more else ''}", "yellow")


def _short(seconds: float) -> str:
    """Return a time in few characters."""
    if seconds < 0.0005:
        return "0"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 600:
        return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3_600:.0f} h"


# --- starvation ----------------------------------------------------------------------------------


def starving(line: StarvationLine) -> str:
    """Return an incident in a sentence."""
    victims = _victims(line.victims)
    return f"{line.cause} in queue {line.queue} since {moment(line.opened_at)}: {victims}"


def _victims(victims: Sequence[VictimLine]) -> str:
    named = [
        f"{each.job}/{each.step} ({each.waiting} wait, {_short(each.oldest_wait)})"
        for each in victims[:NAMED_MAX]
    ]
    more = len(victims) - len(named)
    return ", ".join([*named, *([f"{more} more"] if more else [])])


def incidents_table(found: Sequence[StarvationLine]) -> Table:
    """Return a list of incidents."""
    rows = table("incident", "cause", "queue", "opened", "lasts", "who starves", "what is done")
    for line in found:
        rows.add_row(
            str(line.incident)[:ID_SHOWN],
            plain(line.cause, "bold red" if line.state == "open" else "dim"),
            plain(line.queue),
            moment(line.opened_at),
            "still" if line.closed_at is None else duration(_lasted(line)),
            plain(_victims(line.victims)),
            plain(", ".join(_done(line.actions))),
        )
    return rows


def _lasted(line: StarvationLine) -> float:
    opened, closed = map(datetime.fromisoformat, (line.opened_at, line.closed_at or line.opened_at))
    return (closed - opened).total_seconds()


def _done(actions: Sequence[ActionTaken]) -> list[str]:
    """Return what is done, and of what has ended or was proposed how often."""
    counted = Counter((each.kind, each.why or each.state) for each in actions)
    return [
        f"{kind} ({state}{f', {count} times' if count > 1 else ''})"
        for (kind, state), count in counted.items()
    ]


def incident_tables(line: StarvationLine) -> Iterator[Any]:
    """Yield everything about one incident."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column()
    facts.add_column(overflow="fold")
    several = len(line.partitions) > 1
    rows = {
        "cause": line.cause,
        "queue": line.queue,
        "partitions": ", ".join(map(str, line.partitions)) if several else "",
        "waiting since": moment(line.since),
        "opened": moment(line.opened_at),
        "closed": moment(line.closed_at),
        "why closed": line.why,
    }
    for name, value in rows.items():
        if value:
            facts.add_row(plain(name, "dim"), plain(value))
    for name, value in line.evidence.items():
        number = f"{value:g}" if isinstance(value, int | float) else str(value)
        facts.add_row(plain(name, "dim"), plain(number))
    yield Text.assemble(plain(f"{line.incident} ", "bold"), plain(line.state))
    yield facts
    victims = table("who starves", ">waiting", ">oldest wait")
    for victim in line.victims:
        stage = plain(f"{victim.job}/{victim.step}")
        victims.add_row(stage, str(victim.waiting), _short(victim.oldest_wait))
    yield victims
    if line.actions:
        yield _actions(line.actions)


def _actions(actions: Sequence[ActionTaken]) -> Table:
    rows = table("measure", "about", ">amount", "state", "from", "until", "by", "why")
    for each in actions:
        about = f"{each.job}/{each.step}" if each.step else each.queue
        rows.add_row(
            each.kind,
            plain(about),
            str(each.amount or ""),
            each.state,
            moment(each.taken_at or each.proposed_at),
            moment(each.ended_at or each.until),
            plain(each.by),
            each.why or (f"asked: {each.request}" if each.request else ""),
        )
    return rows
