"""Where `replay` finds a job: in the store, an exported file, or the archive of a pruned one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from warrener.domain.errors import UsageError
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.domain.partitions import Logs
    from warrener.services.places import Place
    from warrener.services.queries import Queries
    from warrener.services.upkeep.pruned import PrunedJob


@contextmanager
def opened(session: Session, what: str | None) -> Iterator[tuple[Logs, Queries, Place]]:
    """Give the logs that have a job, what is asked about them, and where the job or step is.

    Of a pruned job that is its archive.
    """
    from warrener.domain.errors import UnknownJob
    from warrener.services.upkeep.pruned import find_pruned

    with session.logs() as logs, session.queries(logs) as queries:
        text = what or _only_job(queries)
        try:
            place = queries.locate(text)
        except UnknownJob:
            pruned = find_pruned(logs, text.partition("/")[0])
            if pruned is None:
                raise
        else:
            yield logs, queries, place
            return
        with _archived(logs, pruned) as (tree, archived):
            _, slash, path = text.partition("/")
            yield tree, archived, archived.locate(f"{pruned.job}{slash}{path}")


@contextmanager
def _archived(logs: Logs, pruned: PrunedJob) -> Iterator[tuple[Logs, Queries]]:
    """Open the tree of a pruned job as logs of its own."""
    from warrener.services import wiring
    from warrener.services.logs import LogSet
    from warrener.services.queries import Queries
    from warrener.services.settings import MEMORY
    from warrener.services.upkeep.pruned import pruned_log

    views = wiring.open_views(f"sqlite:///{MEMORY}")
    try:
        tree = LogSet([pruned_log(logs, pruned)])
        yield tree, Queries(tree, views)
    finally:
        views.close()


def _only_job(queries: Queries) -> str:
    """Return the one tree of jobs that a file has."""
    found = queries.jobs(limit=2)
    if len(found) != 1:
        raise UsageError("name a job: warrener replay JOB; `warrener jobs` lists them")
    return str(found[0].job)
