"""Orders as the tests of endpoints and workers give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.ids import step_id
from warrener.domain.messages import RunStep, StepReport
from warrener.domain.topology import results_queue
from warrener.services.runners import Finished, Task, attempt_of

JOB = UUID("11111111-1111-5111-8111-111111111111")
BASIC = "support/endpoints_basic.py"  # from the folder of the tests


class SteppingClock:
    """Goes on by one second whenever it is read."""

    def __init__(self) -> None:
        self._now = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


def order(endpoint: str, _path: str = "some", _raw: bytes | None = None, **args: Any) -> RunStep:
    return RunStep(
        job=JOB,
        step=step_id(JOB, _path),
        path=_path,
        endpoint=endpoint,
        attempt=2,
        token="secret-token",
        args=msgspec.Raw(msgspec.json.encode(args) if _raw is None else _raw),
        reply_to=results_queue(),
        context={"root": str(JOB), "labels": {"team": "red"}},
    )


def task(tag: int, run: RunStep) -> Task:
    return Task(tag, run, msgspec.json.encode(run), attempt_of(run))


def report_of(finished: Finished) -> StepReport:
    return msgspec.json.decode(finished.report, type=StepReport)


def result_of(report: StepReport) -> Any:
    assert report.error is None, report.error
    return msgspec.json.decode(report.result)
