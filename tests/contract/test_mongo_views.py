"""What the read models in MongoDB owe beside the rest: halves, slow projectors, plans, layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import pytest
from pymongo.collection import Collection
from support.histories import START, History, half_done_report
from support.random_histories import ACTIONS as RANDOM_ACTIONS
from support.random_histories import played
from support.scale import scaled

from warrener.adapters import mongo_generations, mongo_queries, mongo_view_writes, mongo_views
from warrener.adapters.memory_views import MemoryViewStore
from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.adapters.mongo_generations import collection, collection_name
from warrener.adapters.mongo_places import Place
from warrener.adapters.mongo_queries import Query
from warrener.adapters.mongo_tables import LAYOUT_VERSION, TABLES, Keys
from warrener.adapters.mongo_views import MongoViewStore
from warrener.domain.definition.check import BYTES_MAX
from warrener.domain.errors import Conflict, StoredDataError
from warrener.projections.apply import READ_MODELS
from warrener.projections.attempt_views import AttemptView
from warrener.projections.ports import (
    ActionFilter,
    Documents,
    IncidentFilter,
    JobCursor,
    JobFilter,
)
from warrener.projections.views import DEFINITIONS, JOBS, STEPS, DefinitionView, StepView
from warrener.services.projector import apply_batch, catch_up

JOB = UUID(int=1)


@pytest.fixture
def views(mongo_url: str) -> Iterator[MongoViewStore]:
    store = MongoViewStore(mongo_url)
    yield store
    store.close()


@pytest.fixture
def others(mongo_url: str) -> Iterator[MongoViewStore]:
    """Give what another process opened."""
    store = MongoViewStore(mongo_url)
    yield store
    store.close()


def assert_folded_whole(views: MongoViewStore, history: History) -> None:
    plain = MemoryViewStore()
    catch_up(history.store, plain)
    tables = plain.tables()
    assert views.load({table: list(found) for table, found in tables.items()}) == tables
    assert views.positions() == plain.positions()
    assert stored(views) == {table: len(found) for table, found in tables.items()}


def stored(views: MongoViewStore) -> dict[str, int]:
    """Return how many documents each table has."""
    with views._generations.using() as db:
        return {
            table: collection(db, views._generation, table).count_documents({}) for table in TABLES
        }


# --- batches without transactions -----------------------------------------------------------------


class PowerCut(Exception):
    pass


class HalfWriting(MongoViewStore):
    """Writes only the first so many documents of a batch of jobs, then breaks; None: all."""

    halves: list[int | None]

    def save(
        self,
        model: str,
        after: int,
        position: int,
        changes: Documents,
        partition: int = 0,
        *,
        loaded: Documents | None = None,
    ) -> None:
        left = self.halves.pop() if self.halves else None
        if left is None:
            return super().save(model, after, position, changes, partition, loaded=loaded)
        place = self._place(partition)
        with self._generations.using() as db:
            for table, views in changes.items():
                part = dict(list(views.items())[:left])
                left -= len(part)
                before = (loaded or {}).get(table, {})
                of = collection(db, self._generation, table)
                mongo_view_writes.write_documents(of, table, part, before, place)
        raise PowerCut


def test_batches_that_were_half_written_are_folded_to_the_same_documents(mongo_url: str) -> None:
    views = HalfWriting(mongo_url)
    for seed in range(scaled(6)):
        history, chosen = random_history(seed), Random(seed)
        views.reset()
        views.halves = [chosen.choice((None, chosen.randrange(20))) for _ in range(30)]

        while views.halves:
            try:
                catch_up(history.store, views, batch_size=chosen.randrange(2, 80))
                views.halves.clear()
            except PowerCut:
                pass
        catch_up(history.store, views, batch_size=5 + seed)

        assert_folded_whole(views, history)
    views.close()


def random_history(seed: int) -> History:
    chosen = Random(seed)
    actions = [(chosen.choice(RANDOM_ACTIONS), chosen.randrange(400)) for _ in range(120)]
    return played(actions).history


class Pauses:
    """Calls `meanwhile` once, before the document or table that comes as number `at`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.asleep = -1, False
        self.meanwhile: Callable[[], None] = lambda: None
        write, load = mongo_view_writes.write_documents, MongoViewStore._load

        def one_by_one(
            of: Collection[Document],
            table: str,
            views: Mapping[Any, Any],
            loaded: Mapping[Any, Any],
            place: Place,
        ) -> None:
            for key, view in views.items():
                self._pass()
                write(of, table, {key: view}, loaded, place)

        def table_by_table(
            store: MongoViewStore, generation: int, table: str, keys: list[Any]
        ) -> dict[Any, Any]:
            self._pass()
            return load(store, generation, table, keys)

        monkeypatch.setattr(mongo_views, "write_documents", one_by_one)
        monkeypatch.setattr(MongoViewStore, "_load", table_by_table)

    def before(self, at: int, meanwhile: Callable[[], None]) -> None:
        self.at, self.meanwhile = at, meanwhile

    def _pass(self) -> None:
        if self.asleep:
            return
        self.at -= 1
        if self.at == -1:
            self.asleep = True
            self.meanwhile()
            self.asleep = False


def test_a_projector_that_slept_anywhere_in_a_batch_spoils_nothing(
    mongo_url: str, views: MongoViewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on meanwhile, and break off in the middle of a batch of theirs."""
    others = HalfWriting(mongo_url)
    pauses, refused = Pauses(monkeypatch), 0
    for seed in range(scaled(25)):
        history, chosen = random_history(seed), Random(seed)
        views.reset()
        others.halves = []
        head = history.store.head()
        start = chosen.randrange(head)
        go_on(others, history, start, chosen.randrange(5, 80))
        others.halves = [chosen.randrange(30)]
        theirs = chosen.randrange(5, 80)
        until = chosen.randrange(start, head) + 1

        pauses.before(chosen.randrange(40), partial(go_on, others, history, until, theirs))
        batch = history.store.read(start, chosen.randrange(5, 80))
        try:
            apply_batch(views, batch, views.positions())
        except Conflict:
            refused += 1
        pauses.before(-1, lambda: None)
        catch_up(history.store, views, batch_size=50)

        assert_folded_whole(views, history)
    assert refused > 3
    others.close()


def go_on(others: HalfWriting, history: History, head: int, size: int) -> None:
    """Bring the others up to a position, or to where they break off."""
    try:
        while (at := min(others.positions().get(name, 0) for name in MODELS)) < head:
            batch = history.store.read(at, min(size, head - at))
            apply_batch(others, batch, others.positions())
    except PowerCut:
        pass


MODELS = tuple(model.name for model in READ_MODELS)


def test_a_document_that_another_has_written_meanwhile_ends_the_batch_there(
    views: MongoViewStore, others: MongoViewStore
) -> None:
    first, second, third = (StepView(job=JOB, path=path, root=JOB) for path in "abc")
    views.save("jobs", 0, 1, {STEPS: {each.key: at(1, each) for each in (first, second, third)}})
    loaded = views.load({STEPS: [first.key, second.key, third.key]})
    others.save("jobs", 1, 3, {STEPS: {second.key: at(3, second)}}, loaded=loaded)
    changed = {each.key: at(2, each) for each in (first, second, third)}

    with pytest.raises(Conflict):
        mongo_write(views, STEPS, changed, loaded[STEPS])

    found = views.load({STEPS: list(changed)})[STEPS]
    assert [found[each.key].position for each in (first, second, third)] == [2, 3, 1]


def test_a_new_document_that_another_has_added_meanwhile_is_not_replaced(
    views: MongoViewStore, others: MongoViewStore
) -> None:
    step = StepView(job=JOB, path="a", root=JOB)
    mongo_write(others, STEPS, {step.key: at(3, step)}, {})

    with pytest.raises(Conflict):
        mongo_write(views, STEPS, {step.key: at(2, step)}, {})
    mongo_write(views, STEPS, {step.key: at(3, step)}, {})

    assert views.load({STEPS: [step.key]})[STEPS][step.key].position == 3


def test_the_largest_definition_fits_whatever_is_in_it(views: MongoViewStore) -> None:
    quoted = DefinitionView(hash="h", name="n", version=1, json='"' * BYTES_MAX, steps=1)

    views.save("jobs", 0, 1, {DEFINITIONS: {"h": quoted}})

    assert views.load({DEFINITIONS: ["h"]}) == {DEFINITIONS: {"h": quoted}}


def test_a_document_that_is_too_large_is_told_from_a_store_that_is_away(
    views: MongoViewStore,
) -> None:
    large = DefinitionView(hash="h", name="n", version=1, json="x" * 2**24, steps=1)

    with pytest.raises(StoredDataError, match="too large"):
        views.save("jobs", 0, 1, {DEFINITIONS: {"h": large}})

    assert views.positions() == {}


def test_a_document_that_is_gone_is_not_written_again(views: MongoViewStore) -> None:
    step = StepView(job=JOB, path="a", root=JOB)
    views.save("jobs", 0, 1, {STEPS: {step.key: at(1, step)}})
    loaded = views.load({STEPS: [step.key]})[STEPS]
    views.forget_jobs([JOB])

    with pytest.raises(Conflict):
        mongo_write(views, STEPS, {step.key: at(2, step)}, loaded)

    assert stored(views)[STEPS] == 0


def at(position: int, step: StepView) -> StepView:
    return StepView(position=position, job=step.job, path=step.path, root=step.root)


def mongo_write(
    views: MongoViewStore, table: str, changed: Mapping[Any, Any], loaded: Mapping[Any, Any]
) -> None:
    with views._generations.using() as db:
        of = collection(db, views._generation, table)
        mongo_view_writes.write_documents(of, table, changed, loaded, views._place(0))


def test_positions_of_partitions_move_apart(views: MongoViewStore) -> None:
    views.save("jobs", 0, 5, {}, 0)
    views.save("jobs", 0, 7, {}, 3)
    views.save("history", 0, 9, {}, 3)

    assert views.positions(0) == {"jobs": 5}
    assert views.positions(3) == {"jobs": 7, "history": 9}
    assert views.positions(1) == {}


# --- layouts --------------------------------------------------------------------------------------


def test_views_of_an_older_layout_are_emptied(
    mongo_url: str, views: MongoViewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, job, _ = half_done_report()
    catch_up(history.store, views)
    newer = LAYOUT_VERSION + 1

    with monkeypatch.context() as patch:
        patch.setattr(mongo_generations, "LAYOUT_VERSION", newer)
        new = MongoViewStore(mongo_url)
        emptied = new.positions()
        catch_up(history.store, new)
        found = new.load({JOBS: [job]})[JOBS][job].state
        new.close()

    assert emptied == {}
    assert found == "running"
    with pytest.raises(StoredDataError, match="newer version"):
        MongoViewStore(mongo_url)
    with pytest.raises(StoredDataError, match="newer version"):
        views.positions()


def test_what_else_is_in_the_database_is_left_alone(mongo_url: str) -> None:
    database = MongoDatabase(mongo_url)
    names = {"commits", "view", "view_x_jobs", "my_view_1_jobs"}
    with database.using() as db:
        for name in names:
            db[name].insert_one({"_id": 1})
    views = MongoViewStore(mongo_url)
    old = collection_name(views._generation, JOBS)
    views.save("jobs", 0, 1, {})

    views.reset()

    with database.using() as db:
        left = set(db.list_collection_names())
    assert names < left
    assert old not in left
    views.close()
    database.close()


# --- plans ----------------------------------------------------------------------------------------

FILTERS = [
    JobFilter(roots_only=roots, state=state, name=name, labels=labels, since=since, after=after)
    for roots in (True, False)
    for state in (None, "failed")
    for name in (None, "report")
    for labels in ({}, {"team": "x"}, {"team": "x", "env": "y"})
    for since in (None, START)
    for after in (None, JobCursor(START, JOB))
]


def test_every_query_is_one_whose_order_an_index_gives(views: MongoViewStore) -> None:
    for query in asked_of(views):
        assert serving(query), query


def test_no_query_scans_a_collection(views: MongoViewStore) -> None:
    """SecantusDB tells so of the fields that an index has; MongoDB looks at the others itself.

    Whether MongoDB sorts is told by the test above: SecantusDB sorts in memory what stands behind
    equal fields, and scans for a range of ids, whatever the index.
    """
    history, *_ = half_done_report()
    catch_up(history.store, views)
    told = 0

    for query in asked_of(views):
        index = serving(query)
        if index is None or index[0][0] == "_id":
            continue
        indexed = {name for name, _ in index}
        fields = {name: value for name, value in query.wanted.items() if name in indexed}
        if not any(isinstance(value, dict) and "$all" in value for value in fields.values()):
            assert stages(views, query, fields) == {"FETCH", "IXSCAN"}, query
            told += 1

    assert told > 50


def asked_of(views: MongoViewStore) -> list[Query]:
    """Return every query of the port."""
    asked: list[Query] = []
    find = views._found

    def recorded(query: Query, fields: dict[str, Any]) -> Any:
        asked.append(query)
        return find(query, fields)

    views._found = recorded  # type: ignore[method-assign]
    fan_out = StepView(job=JOB, path="parts", root=JOB)
    again = StepView(job=JOB, path="parts", root=JOB, births=(3, 9))
    for wanted in FILTERS:
        views.find_jobs(wanted)
    for state in (None, "failed"):
        views.items(fan_out, state=state)
        views.items(again, state=state, after=3)
        for subject in (None, "a"):
            views.find_actions(ActionFilter(state=state, subject=subject))
    views.actions_between(JOB, JOB, 1)
    views.jobs_between(JOB, JOB, 1)
    views.limits(1)
    for state in (None, "open"):
        for since in (None, START):
            views.find_incidents(IncidentFilter(state=state, since=since))
    views.incidents_between(JOB, JOB, 1)
    views.children(JOB, None, 1)
    views.named_steps(JOB)
    views.slowest(JOB, 1)
    views.attempts(JOB, "a")
    attempt = AttemptView(job=JOB, path="a", attempt=1, root=JOB, begun_at=START)
    for after in (None, attempt):
        views.timeline(job=JOB, root=None, after=after, limit=1)
        views.timeline(job=None, root=JOB, after=after, limit=1)
    views.history(job=JOB, root=None, after=0, limit=1)
    views.history(job=None, root=JOB, after=0, limit=1)
    assert views.waiters(JOB, 1).steps == 0
    asked.append(mongo_queries.waiters(JOB, 1))
    assert len(asked) == len(FILTERS) + 27
    return asked


def serving(query: Query) -> Keys | None:
    """Return the index that finds and sorts: fields asked for by value, then the order.

    MongoDB reads such an index from one end of a range to the other, and need not sort.
    """
    keys = [index.keys for index in TABLES[query.table].indexes]
    return next((each for each in (*keys, (("_id", 1),)) if serves(each, query)), None)


def serves(index: Keys, query: Query) -> bool:
    ranges = {
        name
        for name, value in query.wanted.items()
        if name == "$or" or (isinstance(value, dict) and "$all" not in value)
    }
    count = 0
    while count < len(index) and index[count][0] in set(query.wanted) - ranges:
        count += 1
    rest = index[count : count + len(query.order)]
    turned = tuple((name, -way) for name, way in query.order)
    exact = {name for name, _ in query.order} & ranges or count
    return bool(exact) and (not query.order or rest in (query.order, turned))


def stages(views: MongoViewStore, query: Query, fields: dict[str, Any]) -> set[str]:
    with views._generations.using() as db:
        plan = collection(db, views._generation, query.table).find(fields).explain()
    found, node = set(), plan["queryPlanner"]["winningPlan"]
    while node:
        found.add(node["stage"])
        node = node.get("inputStage")
    return found


def test_counting_who_waits_reads_an_index_alone() -> None:
    """Equal fields, and every field that the stages use: MongoDB opens no document for it."""
    stages = mongo_queries.counted_waiters(JOB)
    used = {"waits.request", "waits.job", "waits.until"}

    names = [{name for name, _ in index.keys} for index in TABLES[STEPS].indexes]

    assert list(stages[0]["$match"]) == ["waits.request"]
    assert any(used <= each for each in names)
