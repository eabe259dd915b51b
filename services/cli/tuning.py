"""`limits` and `adjust`: what bounds running jobs, seen and changed while they run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options, targets, values
from warrener.services.cli import steer_options as own
from warrener.services.cli.output import moment, one_line, plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.domain.definition.model import Rate
    from warrener.services.control_shapes import LimitLine, RateLimit

_DEFAULT = "default"
_PARTS = ("slots", "rate", "burst")
_UNITS = {1.0: "s", 60.0: "min", 3_600.0: "h", 86_400.0: "day"}
_LIMITS_EXAMPLES = """Examples:

warrener limits

warrener limits facebook-api

warrener limits @job:report --set slots=20

warrener limits facebook-api --set rate=20/min --set burst=5 --reason "new contract"

warrener limits facebook-api --set slots=default

warrener limits facebook-api --reset"""
_ADJUST_EXAMPLES = """Examples:

warrener adjust 5f2c71e0/groups --window 20 --tolerate 5

warrener adjust 5f2c71e0/load --retry '[{"on": "throttled", "max": 20, "first": "30s"}]'"""
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PART=VALUE",
        help="rate=20/min, slots=4 or burst=5; `default` is what definitions say. May be repeated.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("limits", epilog=_LIMITS_EXAMPLES)(limits)
    app.command("adjust", epilog=_ADJUST_EXAMPLES)(adjust)


def limits(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Of one limit.", show_default=False)
    ] = None,
    changes: _Set = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Back to what definitions say, before any --set.")
    ] = False,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Show limits that are in use or were changed, or change one for all jobs, from now on.

    In use are those whose slots are held, and those that hold steps back. What definitions say is
    dimmed, what people changed is bold. Reserved names bound what has no limit of its own: @root,
    @jobs, @jobs:NAME, @job:NAME, @step:NAME/STEP and @queue:NAME.
    """
    session = Session(as_json=as_json, store=store, broker=broker)
    if not changes and not reset:
        _show(session, name)
        return
    if name is None:
        raise UsageError("say which limit to change: warrener limits NAME --set rate=20/min")
    wanted = _wanted(session, name, changes or (), reset=reset)
    with session.steering() as steering:
        targets.answered(steering.change_limit(name, **wanted, by=by, reason=reason))
    parts = ", ".join(f"{part} {value}" for part, value in wanted.items() if value is not None)
    sentence = f"limit {name}: {parts or 'as definitions say'}"
    targets.tell(session, "limits", sentence, name=name, **wanted)


def adjust(
    *,
    step: own.Step,
    window: Annotated[
        int | None,
        typer.Option("--window", min=1, metavar="N", help="Items in flight at most."),
    ] = None,
    tolerate: Annotated[
        int | None,
        typer.Option("--tolerate", min=0, metavar="N", help="Items that may fail."),
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option("--retry", metavar="JSON|@FILE", help="Retry rules, as in a definition."),
    ] = None,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Change parameters of a step of a running job; what is not given stays as it is."""
    from warrener.domain.definition.retry_rules import retry_rules

    if window is None and tolerate is None and retry is None:
        raise UsageError("say what to change: --window N, --tolerate N or --retry JSON")
    session = Session(as_json=as_json, store=store, broker=broker)
    rules = None if retry is None else retry_rules(values.json_or_file("--retry", retry))
    place = targets.step_of(session, step)
    changes: dict[str, Any] = {"window": window, "tolerated": tolerate, "retry": rules}
    path = place.path or ""
    with session.steering() as steering:
        targets.answered(steering.adjust(place.job, path, **changes, by=by, reason=reason))
    sentence = f"step {path} of job {place.job} is adjusted"
    targets.tell(session, "adjust", sentence, job=place.job, step=path, **changes)


def _show(session: Session, name: str | None) -> None:
    from warrener.services.cli.progress import catching_up

    with session.queries() as queries, catching_up(session.output) as report:
        found = queries.limits(name, holders_at=datetime.now(UTC), on_progress=report)
    if session.output.as_json:
        for line in found:
            session.output.json(line)
        return
    none = "no limit was changed, and none is in use" if name is None else f"{name} is not in use"
    session.output.show(_list(found) if found else none)
    if name is not None and found and found[0].keys:
        session.output.show(_keys(found[0]))


def _list(found: Sequence[LimitLine]) -> Any:
    rows = table(
        "limit", ">held", ">waiting", ">slots", ">rate", ">burst", "changed", "by", "reason"
    )
    for line in found:
        who = (moment(line.since), plain(line.by), plain(one_line(line.reason)))
        counts = ("" if line.holders is None else str(line.holders), str(line.waiting))
        rows.add_row(plain(line.name), *counts, *_parts(line), *who)
    return rows


def _parts(line: LimitLine) -> list[Any]:
    """Return slots, rate and burst: as people changed them, else dimmed as definitions say."""
    shown = []
    for part in _PARTS:
        changed = getattr(line, part)
        value = getattr(line.defined, part, None) if changed is None else changed
        text = "" if value is None else _rate_text(value) if part == "rate" else str(value)
        shown.append(plain(text, "dim" if changed is None else "bold"))
    return shown


def _keys(line: LimitLine) -> Any:
    from warrener.domain.caps import NO_KEY

    rows = table("key", ">held", ">waiting", "for")
    for each in line.keys:
        held = "" if each.holders is None else str(each.holders)
        rows.add_row(
            plain("." if each.key == NO_KEY else each.key),
            held,
            str(each.waiting),
            each.lacking or "",
        )
    return rows


def _rate_text(rate: Rate | RateLimit) -> str:
    """Return a rate as it is written, such as `20/min`."""
    from warrener.domain.definition.durations import duration_text

    count = f"{Decimal(repr(float(rate.count))):f}".removesuffix(".0")  # all of it: it is read back
    return f"{count}/{_UNITS.get(rate.seconds) or duration_text(rate.seconds)}"


def _wanted(session: Session, name: str, changes: Sequence[str], *, reset: bool) -> dict[str, Any]:
    """Return all parts of a limit after changes; what they do not name stays as it is now."""
    wanted = dict.fromkeys(_PARTS) if reset else _present(session, name)
    for change in changes:
        part, value = values.split_pair("--set", change)
        if part not in _PARTS:
            raise UsageError(f"--set {change}: parts of a limit are {', '.join(_PARTS)}")
        if value == _DEFAULT:
            wanted[part] = None
        else:
            wanted[part] = value if part == "rate" else _whole(change, value)
    return wanted


def _present(session: Session, name: str) -> dict[str, Any]:
    """Return the parts of a limit that were changed before, by the log."""
    from warrener.domain import ids
    from warrener.domain.control_events import LimitChanged
    from warrener.domain.events import event_of

    with session.logs() as logs:
        event = event_of(logs.log(0).last(ids.limit_id(name)), LimitChanged)
    if event is None:
        return dict.fromkeys(_PARTS)
    rate = None if event.rate is None else _rate_text(event.rate)
    return {"slots": event.slots, "rate": rate, "burst": event.burst}


def _whole(change: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"--set {change}: write a whole number, or {_DEFAULT}") from None
