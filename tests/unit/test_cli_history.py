"""Following a history: it ends with the event that ends the job, wherever the read models are."""

from __future__ import annotations

import pytest
from support.histories import half_done_report

from warrener.adapters.memory_views import MemoryViewStore
from warrener.projections.apply import READ_MODELS
from warrener.services.cli import history as command
from warrener.services.folding import fold_into
from warrener.services.logs import LogSet
from warrener.services.queries import Queries


def test_read_models_that_are_behind_each_by_itself_lose_no_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, job, _ = half_done_report()
    made.fail_job(job)
    logs, views, head = LogSet([made.store]), MemoryViewStore(), made.store.head()
    reached = {model.name: 0 for model in READ_MODELS}

    def bring(name: str, position: int) -> None:
        model = next(each for each in READ_MODELS if each.name == name)
        batch = made.store.read(reached[name], position - reached[name])
        fold_into(views, model, batch, reached[name])
        reached[name] = position

    bring("jobs", head)  # it knows that the job has ended
    bring("history", head - 3)
    monkeypatch.setattr(
        command.time, "sleep", lambda _: bring("history", min(head, reached["history"] + 2))
    )

    queries = Queries(logs, views, folds=False)
    lines = list(command._followed(logs, queries, job, True, 0))

    assert lines[-1].type == "JobFailed"
    assert [line.position for line in lines] == [
        line.position for line in Queries(logs, MemoryViewStore()).history(job, tree=True)
    ]


def test_following_from_beyond_the_end_gives_nothing() -> None:
    made, job, _ = half_done_report()
    made.fail_job(job)
    logs = LogSet([made.store])

    queries = Queries(logs, MemoryViewStore())

    assert list(command._followed(logs, queries, job, False, made.store.head())) == []
