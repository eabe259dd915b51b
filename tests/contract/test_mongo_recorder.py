"""The library's own test cases for recorders, unchanged, over ours in MongoDB."""

from __future__ import annotations

from unittest import TestCase

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.tests import persistence as cases
from eventsourcing.utils import Environment
from support.mongo import forget_database, fresh_mongo_url

from warrener.adapters.mongo_client import MongoDatabase
from warrener.adapters.mongo_events import MongoAggregateRecorder, MongoRecorder
from warrener.adapters.mongo_factory import MongoFactory


class OnServer(TestCase):
    """Gives each recorder a fresh database."""

    def fresh_url(self) -> str:
        url = fresh_mongo_url()
        self.addCleanup(forget_database, url)
        return url

    def create_recorder(self) -> MongoRecorder:
        recorder = MongoRecorder(self.fresh_url())
        self.addCleanup(recorder.close)
        return recorder


class TestAggregateRecorder(OnServer, cases.AggregateRecorderTestCase):
    def create_recorder(self) -> MongoAggregateRecorder:  # type: ignore[override]
        database = MongoDatabase(self.fresh_url())
        self.addCleanup(database.close)
        return MongoAggregateRecorder(database, "stored_snapshots")


class TestApplicationRecorder(OnServer, cases.ApplicationRecorderTestCase[MongoRecorder]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnServer, cases.TrackingRecorderTestCase):
    pass


class TestProcessRecorder(OnServer, cases.ProcessRecorderTestCase):
    pass


class TestPositionsDoNotInterleave(OnServer, cases.NonInterleavingNotificationIDsBaseCase):
    pass


class OwnTrackingRecorder(MongoRecorder):
    pass


class TestFactory(OnServer, cases.InfrastructureFactoryTestCase[MongoFactory]):
    def setUp(self) -> None:
        settings = {
            InfrastructureFactory.PERSISTENCE_MODULE: "warrener.adapters.mongo_factory",
            MongoFactory.STORE_URL: self.fresh_url(),
        }
        self.env = Environment("TestCase", settings)
        super().setUp()

    def expected_factory_class(self) -> type[MongoFactory]:
        return MongoFactory

    def expected_aggregate_recorder_class(self) -> type[MongoAggregateRecorder]:
        return MongoAggregateRecorder

    def expected_application_recorder_class(self) -> type[MongoRecorder]:
        return MongoRecorder

    def expected_tracking_recorder_class(self) -> type[MongoRecorder]:
        return MongoRecorder

    def tracking_recorder_subclass(self) -> type[MongoRecorder]:
        return OwnTrackingRecorder

    def expected_process_recorder_class(self) -> type[MongoRecorder]:
        return MongoRecorder
