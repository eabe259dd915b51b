"""Deterministic ids: the same thing always gets the same id, so that sending twice is harmless."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1d8a3e-52a4-5c0e-9b1d-0d7a0c6c2b11")


def job_id(key: str) -> UUID:
    """Return the id of the root job submitted with this idempotency key."""
    return uuid5(NAMESPACE, f"job/{key}")


def definition_id(content_hash: str) -> UUID:
    """Return the id of the stream that keeps the definition with this content hash."""
    return uuid5(NAMESPACE, f"definition/{content_hash}")


def user_action_id(step: UUID, attempt: int) -> UUID:
    """Return the id of the stream of the user action that an attempt of a step asked for first.

    Incidents ask, too: by their id, and the number of what they propose.
    """
    return uuid5(step, f"action/{attempt}")


def limit_id(name: str) -> UUID:
    """Return the id of the stream that keeps the changes of a limit."""
    return uuid5(NAMESPACE, f"limit/{name}")


def incident_id(reply_to: str, queue: str, diagnosis: str, at: datetime) -> UUID:
    """Return the id of the stream of an incident that the controller of `reply_to` found."""
    return uuid5(NAMESPACE, f"incident/{reply_to}/{queue}/{diagnosis}/{at.isoformat()}")


FLEET_ID = uuid5(NAMESPACE, "fleet")
FLOW_ID = uuid5(NAMESPACE, "flow")
FLOW_SAMPLES_ID = uuid5(NAMESPACE, "flow/samples")
WRITERS_ID = uuid5(NAMESPACE, "writers")


def step_id(job: UUID, path: str) -> UUID:
    """Return the id of a step from its job and its path in it, such as `merge` or `groups[3]`."""
    return uuid5(job, path)


def child_job_id(step: UUID, generation: int = 1) -> UUID:
    """Return the id of the job that a step starts in a generation of it."""
    return uuid5(step, f"child/{generation}")


INDEX_DIGITS_MAX = 9
PATHS_KEPT_MAX = 8_192  # taken apart already: each is asked for many times in a row
COMPENSATE = ".compensate"  # no name of a step in a definition has a dot


def compensation(step: str) -> str:
    """Return the name of the step that undoes another."""
    return f"{step}{COMPENSATE}"


def message_id(step: UUID, attempt: int, kind: str) -> str:
    """Return the id of a message about an attempt; `kind` is `run` or `report`."""
    return f"{step}/{attempt}/{kind}"


def item_path(step: str, index: int) -> str:
    """Return the path of an item of a fan-out, such as `groups[3]`."""
    return f"{step}[{index}]"


@lru_cache(PATHS_KEPT_MAX)
def split_path(path: str) -> tuple[str, int | None]:
    """Return step name and item index (None if it is no item) of a step's path in its own job."""
    if not path.endswith("]"):
        return path, None
    name, _, index = path[:-1].rpartition("[")
    digits = index.isascii() and index.isdigit() and len(index) <= INDEX_DIGITS_MAX
    if name and digits and index == str(int(index)):  # [01] would be one more name of [1]
        return name, int(index)
    return path, None  # no step has such a name


def joined_path(above: str, path: str) -> str:
    """Return the path of a step below a job, from where its own job is ("" for that job itself)."""
    return "/".join(part for part in (above, path) if part)


def content_hash(data: bytes) -> str:
    """Return the hash that names definitions and blobs: SHA-256, 64 hexadecimal digits."""
    return sha256(data).hexdigest()
