"""`simulate`: the recorded load under other policies and fleets, on a virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options
from warrener.services.cli.output import duration, plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from datetime import datetime

    from rich.table import Table

    from warrener.domain.flow.settings import Mode
    from warrener.domain.partitions import Logs
    from warrener.domain.simulation.record import Record
    from warrener.domain.simulation.summary import Group, Summary
    from warrener.services.cli.output import Output
    from warrener.services.simulate.what_if import Load, Question

_EXAMPLES = """Examples:

warrener simulate --store sqlite:///jobs.db --policy fifo --policy finish-first

warrener simulate --policy fair --workers 40 --workers gpu=4 --plot what-if.svg

warrener history 5f2c71e0 --tree --json > job.jsonl && warrener simulate --history job.jsonl

warrener replay 5f2c71e0 --export job.jsonl && warrener simulate --history job.jsonl

The policy plain is fifo with all that is ready released at once, as in the queues of a broker."""
RECORDED = "as recorded"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate", epilog=_EXAMPLES)(simulate)


def simulate(
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NAME",
            help="Order of release; may be given again.  [default: all]",
            show_default=False,
        ),
    ] = None,
    history: Annotated[
        list[Path] | None,
        typer.Option(
            "--history",
            metavar="FILE",
            help="Exported histories instead of a store, of replay --export or history --json;"
            " may be given again.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        list[str] | None,
        typer.Option(
            "--workers",
            metavar="[QUEUE=]N",
            help="So many workers, of all queues or of one.  [default: as recorded]",
            show_default=False,
        ),
    ] = None,
    slots: Annotated[
        int, typer.Option("--slots", min=1, max=10_000, metavar="N", help="Of each such worker.")
    ] = 1,
    speed_up: Annotated[
        float,
        typer.Option(
            "--speed-up", min=0.001, max=1_000_000.0, help="Jobs come so many times as fast."
        ),
    ] = 1.0,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Jobs submitted from then on: a time, or such as 2h.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="TIME", help="Jobs submitted up to then.", show_default=False
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="off|observe|act",
            help="Whether starvation is looked for, and acted upon.",
        ),
    ] = "off",
    seed: Annotated[
        int, typer.Option("--seed", help="For times of attempts that had not ended.")
    ] = 0,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw into an .svg or .png.", show_default=False
        ),
    ] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Play the recorded load under other policies and fleets, much faster than life.

    Release and limits are those of the controller; times of work, failures and fan-outs are those
    of the record. Prints how long jobs waited and took, by policy, job name and fairness key.
    """
    from warrener.services.cli.progress import working
    from warrener.services.simulate import what_if

    if history and store is not None:
        raise UsageError("--history and --store exclude each other: name one of them")
    session = Session(as_json=as_json, store=store)
    output = session.output
    policies = what_if.checked_policies(policy or [])
    if plot is not None:
        from warrener.services.simulate.plot import check_plot

        check_plot(plot)
    when, mode_asked = _times_asked(since, until), _mode(mode)
    asked = what_if.Question(
        since=when[0],
        until=when[1],
        workers=tuple(workers or ()),
        slots=slots,
        speed_up=speed_up,
        seed=seed,
        mode=mode_asked,
    )
    load = _load(session, history or [], asked)
    summaries: list[Summary] = []
    records: dict[str, Record] = {}
    for name in policies:
        with working(output, "jobs", f"policy {name}") as progress:
            summary, record = what_if.simulate(load, name, progress)
        summaries.append(summary)
        if plot is not None:
            records[name] = record
    if plot is not None:
        from warrener.services.simulate.plot import draw

        draw(plot, records)
    _tell(output, load, summaries)


def _times_asked(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    from warrener.services import wiring
    from warrener.services.cli import values

    now = wiring.open_clock().now()
    return (
        None if since is None else values.since(since, now),
        None if until is None else values.since(until, now),
    )


def _mode(text: str) -> Mode:
    known: dict[str, Mode] = {"off": "off", "observe": "observe", "act": "act"}
    if text not in known:
        raise UsageError(f"--mode {text}: simulations know off, observe and act")
    return known[text]


def _load(session: Session, files: list[Path], question: Question) -> Load:
    from warrener.services.cli.progress import working
    from warrener.services.simulate.facts import read_files, read_store
    from warrener.services.simulate.what_if import Rules, gather

    rules = Rules()
    if files and _are_histories(files):
        logs = _histories(session, files)
        return gather(read_store(logs, rules.take, lambda *_: None), rules, question, infer=False)
    if files:
        with working(session.output, "bytes", "reading the history") as progress:
            return gather(read_files(files, progress), rules, question, infer=True)
    with (
        session.logs() as logs,
        working(session.output, "events", "reading the log") as progress,
    ):
        return gather(read_store(logs, rules.take, progress), rules, question, infer=False)


def _are_histories(files: list[Path]) -> bool:
    """Say whether files were made by `replay --export`, and not by `history --json`."""
    from warrener.services.histories.read import is_history

    found = {is_history(file) for file in files}
    if len(found) > 1:
        raise UsageError("some of the files are of replay --export and some are not: give one kind")
    return True in found


def _histories(session: Session, files: list[Path]) -> Logs:
    from warrener.services import wiring
    from warrener.services.cli.progress import working
    from warrener.services.logs import LogSet

    with working(session.output, "bytes", "reading the history") as progress:
        return LogSet([wiring.read_history(file, progress).log for file in files])


def _tell(output: Output, load: Load, summaries: list[Summary]) -> None:
    from warrener.services.simulate.document import document

    if output.as_json:
        output.json(document(load, summaries))
        return
    for note in load.notes:
        output.note(note)
    crews = ", ".join(
        f"{crew.workers} x {crew.slots} for {' '.join(crew.queues)}" for crew in load.crews[:5]
    )
    more = f" and {len(load.crews) - 5} more groups" if len(load.crews) > 5 else ""
    output.show(
        f"{len(load.jobs)} jobs with {load.steps} steps; workers x slots: {crews}{more}",
        _policies(load, summaries),
        _figures(summaries),
        _groups("job name", summaries, "names"),
    )
    for each in summaries:
        if each.incidents:
            output.show(
                f"{each.policy}: starvation {_counts(each.incidents)};"
                f" measures {_counts(each.measures) or 'none'}"
            )
    if any(len(summary.keys) > 1 for summary in summaries):
        output.show(_groups("fairness key", summaries, "keys"))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} x {count}" for name, count in sorted(counts.items()))


def _policies(load: Load, summaries: list[Summary]) -> Table:
    made = table("policy", *_TIMES)
    made.add_row(RECORDED, *_times(load.recorded))
    for each in summaries:
        made.add_row(plain(each.policy), *_times(each.all))
    return made


def _figures(summaries: list[Summary]) -> Table:
    columns = (">makespan", ">slots in use", ">fairness (Jain)", ">oldest wait", ">jobs open")
    made = table("policy", *columns)
    for each in summaries:
        made.add_row(
            plain(each.policy),
            duration(each.seconds),
            f"{each.utilisation:.1%}",
            "" if each.fairness is None else f"{each.fairness:.3f}",
            duration(each.oldest_wait),
            str(each.unfinished),
        )
    return made


_TIMES = (">jobs", ">wait p50", ">p95", ">p99", ">completion p50", ">p95", ">p99")


def _groups(title: str, summaries: list[Summary], groups: str) -> Table:
    made = table(title, "policy", *_TIMES)
    names = dict.fromkeys(name for each in summaries for name in getattr(each, groups))
    for name in names:
        for number, each in enumerate(summaries):
            found: Group | None = getattr(each, groups).get(name)
            if found is not None:
                shown = plain(name or "(none)") if number == 0 else ""
                made.add_row(shown, plain(each.policy), *_times(found))
    return made


def _times(group: Group) -> tuple[str, ...]:
    wait, completion = group.wait, group.completion
    times = (wait.p50, wait.p95, wait.p99, completion.p50, completion.p95, completion.p99)
    return (str(group.jobs), *map(duration, times))
