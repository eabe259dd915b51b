"""How the `eventsourcing` library makes an `Application` of its own on a store in MongoDB."""

from __future__ import annotations

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from warrener.adapters.mongo_client import MongoDatabase
from warrener.adapters.mongo_events import MongoAggregateRecorder, MongoRecorder
from warrener.adapters.mongo_url import EXAMPLE
from warrener.domain.errors import UsageError


class MongoFactory(InfrastructureFactory[MongoRecorder]):
    """Builds recorders over one database for an `Application` of the library.

    Set `PERSISTENCE_MODULE` to this module and `STORE_URL` to a `mongodb://` URL.
    """

    STORE_URL = "STORE_URL"
    CREATE_TABLE = "CREATE_TABLE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        """Open the database; raises `UsageError` without a URL, else as `MongoDatabase` does."""
        super().__init__(env)
        url = self.env.get(self.STORE_URL)
        if url is None:
            raise UsageError(f"{self.STORE_URL} must be like {EXAMPLE}")
        self.database = MongoDatabase(url)

    def aggregate_recorder(self, purpose: str = "events") -> MongoAggregateRecorder:
        """Return a recorder for snapshots or the like, in a collection of its own."""
        return MongoAggregateRecorder(
            self.database, f"stored_{purpose}", create_table=self._creates_tables()
        )

    def application_recorder(self) -> MongoRecorder:
        """Return the recorder of the log."""
        return self.process_recorder()

    def tracking_recorder(
        self, tracking_recorder_class: type[MongoRecorder] | None = None
    ) -> MongoRecorder:
        """Return a recorder of the given class, or of that named by `TRACKING_RECORDER_TOPIC`."""
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        named = resolve_topic(topic) if topic else MongoRecorder
        class_: type[MongoRecorder] = tracking_recorder_class or named
        return class_(self.database, create_table=self._creates_tables())

    def process_recorder(self) -> MongoRecorder:
        """Return the recorder of the log."""
        return MongoRecorder(self.database, create_table=self._creates_tables())

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def _creates_tables(self) -> bool:
        return strtobool(self.env.get(self.CREATE_TABLE, "yes"))
