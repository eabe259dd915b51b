"""`flow`: how ready steps are released, what goes on in the queues, and what is set about it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from warrener.domain.errors import UsageError
from warrener.domain.flow.settings import IntakeMode, Mode
from warrener.services.cli import options, targets, values
from warrener.services.cli import steer_options as own
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.domain.flow.settings import FlowSettings

POINTS = 30  # of a sparkline; a sample is taken every few seconds
WATCH_SECONDS = 2.0
_DEFAULT = "default"
_EXAMPLES = """Examples:

warrener flow

warrener flow --watch

warrener flow --policy fair --weight team-a=3 --reason "the quarter ends"

warrener flow --mode advise --bound 2m

warrener flow --weight team-a=default"""


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


_Policy = Annotated[
    str | None, _option("--policy", "P", "Release by this policy, such as finish-first or fair.")
]
_Weight = Annotated[
    list[str] | None,
    _option(
        "--weight",
        "KEY=N",
        "The weight of a fairness key, 1 if nothing is said; KEY=default takes it back. May be"
        " repeated.",
    ),
]
_Mode = Annotated[
    str | None,
    _option("--mode", "MODE", "What becomes of starvation: off, observe, advise or act."),
]
_Bound = Annotated[
    str | None, _option("--bound", "TIME", "A step starves once it waits longer, such as 60s.")
]
_Intake = Annotated[
    str | None,
    _option("--intake", "MODE", "Jobs beyond the limit @jobs: accept, queue or refuse."),
]
_Watch = Annotated[bool, typer.Option("--watch", help="Show it again and again.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("flow", epilog=_EXAMPLES)(flow)


def flow(
    *,
    policy: _Policy = None,
    weight: _Weight = None,
    mode: _Mode = None,
    bound: _Bound = None,
    intake: _Intake = None,
    watch: _Watch = False,
    reason: own.Reason = "",
    by: own.By = None,
    store: options.Store = None,
    broker: options.Broker = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what goes on in the queues, or change how ready steps are released, from now on.

    For each queue and stage (the steps of one name in jobs of one name): what waits, what is held
    back and why, what is out, how long waits are, what takes the time of workers, what is to come.
    """
    session = Session(as_json=as_json, store=store, broker=broker)
    changes = _changes(policy, mode, bound, intake)
    if not changes and not weight:
        _show(session, watch=watch)
        return
    if watch:
        raise UsageError("--watch only shows: change first, then watch")
    if weight:
        changes["weights"] = _weights(_present(session).weights, weight)
    with session.steering() as steering:
        targets.answered(steering.change_flow(**changes, by=by, reason=reason))
    targets.tell(session, "flow", f"flow: {_sentence(changes)}", **changes)


def _show(session: Session, *, watch: bool) -> None:
    from warrener.services.cli.flow_tables import flow_tables

    with session.queries() as queries:
        while True:
            found = queries.flow(POINTS)
            if session.output.as_json:
                session.output.json(found)
            else:
                open_ones = queries.starvation(limit=10)
                if watch and session.output.out.is_terminal:
                    session.output.out.clear()
                session.output.show(*flow_tables(found, open_ones))
            if not watch:
                return
            time.sleep(WATCH_SECONDS)


# --- changes -------------------------------------------------------------------------------------


def _changes(
    policy: str | None, mode: str | None, bound: str | None, intake: str | None
) -> dict[str, Any]:
    """Return what is to be changed, checked; weights are another matter."""
    from warrener.services.policies import check_known, orders

    if policy is not None:
        check_known(policy, orders())
    _check_word("--mode", mode, get_args(Mode))
    _check_word("--intake", intake, get_args(IntakeMode))
    seconds = None if bound is None else _seconds(bound)
    wanted = {"policy": policy, "mode": mode, "bound_seconds": seconds, "intake": intake}
    return {name: value for name, value in wanted.items() if value is not None}


def _check_word(option: str, word: str | None, known: Sequence[str]) -> None:
    if word is None or word in known:
        return
    near = get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"{option} {word}: {hint}Known are {', '.join(known)}")


def _seconds(bound: str) -> float:
    from warrener.domain.definition.durations import seconds

    try:
        found = seconds(bound)
    except ValueError as error:
        raise UsageError(f"--bound {bound}: {error}") from None
    if found <= 0:
        raise UsageError(f"--bound {bound}: a time longer than nothing is needed")
    return found


def _present(session: Session) -> FlowSettings:
    """Return what is set now, by the log."""
    from warrener.domain import ids
    from warrener.domain.control_events import flow_settings

    with session.logs() as logs:
        return flow_settings(logs.log(0).last(ids.FLOW_ID))


def _weights(present: Mapping[str, float], pairs: Sequence[str]) -> dict[str, float]:
    """Return all weights after changes; what they do not name stays as it is."""
    wanted = dict(present)
    for pair in pairs:
        key, text = values.split_pair("--weight", pair)
        if text == _DEFAULT:
            wanted.pop(key, None)
            continue
        try:
            wanted[key] = _finite(float(text))
        except ValueError:
            raise UsageError(f"--weight {pair}: write a number, or {_DEFAULT}") from None
    return wanted


def _finite(number: float) -> float:
    if not isfinite(number):
        raise ValueError(number)
    return number


def _sentence(changes: Mapping[str, Any]) -> str:
    from warrener.domain.definition.durations import duration_text

    told = []
    for name, value in changes.items():
        if name == "bound_seconds":
            told.append(f"bound {duration_text(value)}")
        elif name == "weights":
            pairs = ", ".join(f"{key}={weight:g}" for key, weight in value.items())
            told.append(f"weights {pairs or 'as without any'}")
        else:
            told.append(f"{name} {value}")
    return ", ".join(told)
