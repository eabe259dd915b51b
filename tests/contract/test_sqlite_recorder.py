"""The library's own test cases for recorders, unchanged, over ours."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.tests import persistence as cases
from eventsourcing.utils import Environment

from warrener.adapters.sqlite_events import SqliteAggregateRecorder, SqliteRecorder, open_sqlite
from warrener.adapters.sqlite_factory import SqliteFactory
from warrener.adapters.sqlite_file import SqliteFile


class OnFile(TestCase):
    """Gives each recorder a fresh file."""

    def fresh_path(self) -> str:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return str(Path(folder.name) / "log.db")

    def create_recorder(self) -> SqliteRecorder:
        recorder = open_sqlite(f"sqlite:///{self.fresh_path()}")
        self.addCleanup(recorder.close)
        return recorder


class InMemory(TestCase):
    """Gives each recorder a fresh memory."""

    def create_recorder(self) -> SqliteRecorder:
        recorder = open_sqlite("sqlite:///:memory:")
        self.addCleanup(recorder.close)
        return recorder


class TestAggregateRecorder(OnFile, cases.AggregateRecorderTestCase):
    def create_recorder(self) -> SqliteAggregateRecorder:  # type: ignore[override]
        file = SqliteFile(self.fresh_path())
        self.addCleanup(file.close)
        return SqliteAggregateRecorder(file, "stored_snapshots")


class TestApplicationRecorder(OnFile, cases.ApplicationRecorderTestCase[SqliteRecorder]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestApplicationRecorderInMemory(InMemory, cases.ApplicationRecorderTestCase[SqliteRecorder]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnFile, cases.TrackingRecorderTestCase):
    pass


class TestTrackingRecorderInMemory(InMemory, cases.TrackingRecorderTestCase):
    pass


class TestProcessRecorder(OnFile, cases.ProcessRecorderTestCase):
    pass


class TestProcessRecorderInMemory(InMemory, cases.ProcessRecorderTestCase):
    pass


class TestPositionsDoNotInterleave(OnFile, cases.NonInterleavingNotificationIDsBaseCase):
    pass


class TestPositionsDoNotInterleaveInMemory(InMemory, cases.NonInterleavingNotificationIDsBaseCase):
    pass


class OwnTrackingRecorder(SqliteRecorder):
    pass


class TestFactory(OnFile, cases.InfrastructureFactoryTestCase[SqliteFactory]):
    def setUp(self) -> None:
        settings = {
            InfrastructureFactory.PERSISTENCE_MODULE: "warrener.adapters.sqlite_factory",
            SqliteFactory.STORE_URL: f"sqlite:///{self.fresh_path()}",
        }
        self.env = Environment("TestCase", settings)
        super().setUp()

    def expected_factory_class(self) -> type[SqliteFactory]:
        return SqliteFactory

    def expected_aggregate_recorder_class(self) -> type[SqliteAggregateRecorder]:
        return SqliteAggregateRecorder

    def expected_application_recorder_class(self) -> type[SqliteRecorder]:
        return SqliteRecorder

    def expected_tracking_recorder_class(self) -> type[SqliteRecorder]:
        return SqliteRecorder

    def tracking_recorder_subclass(self) -> type[SqliteRecorder]:
        return OwnTrackingRecorder

    def expected_process_recorder_class(self) -> type[SqliteRecorder]:
        return SqliteRecorder
