"""What the fleet lacks to run a step."""

from __future__ import annotations

from warrener.domain.control_events import FleetChanged
from warrener.domain.fleet import ENDPOINTS_TOLD_MAX
from warrener.projections.why.model import moment


def unserved(fleet: FleetChanged | None, queue: str, endpoint: str) -> str:
    """Return what the fleet lacks to run a step, "" if nothing or if that is not known."""
    if fleet is None:
        return ""
    if not fleet.slots.get(queue):
        return f"no worker serves the queue {queue}, as of {moment(fleet.at)}"
    told = fleet.endpoints
    if told and endpoint not in told and len(told) < ENDPOINTS_TOLD_MAX:
        return f"no worker knows the endpoint {endpoint}, as of {moment(fleet.at)}"
    return ""


def serve(queue: str, lacking: str) -> str:
    """Return what to do about what the fleet lacks."""
    what = f"warrener worker --queues {queue}"
    return what if "the queue" in lacking else f"{what} --endpoints a module that has it"
