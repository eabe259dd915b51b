"""Makes the read models anew from the logs."""

from __future__ import annotations

from warrener.domain.partitions import Logs
from warrener.projections.ports import ViewStore
from warrener.services.commits import Progress
from warrener.services.projector import catch_up_all


def rebuild(logs: Logs, views: ViewStore, on_progress: Progress | None = None) -> int:
    """Forget all documents and fold the logs again; return how many events were folded.

    The seam for a rebuild beside read models that are in use, and for more than one partition.
    """
    views.reset()
    return sum(catch_up_all(logs, views, on_progress))
