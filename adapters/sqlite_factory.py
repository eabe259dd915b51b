"""How the `eventsourcing` library makes an `Application` of its own on a Warrener store."""

from __future__ import annotations

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment, EnvType, resolve_topic, strtobool

from warrener.adapters.sqlite_events import URL_PREFIX, SqliteAggregateRecorder, SqliteRecorder
from warrener.adapters.sqlite_file import SqliteFile
from warrener.domain.errors import UsageError


class SqliteFactory(InfrastructureFactory[SqliteRecorder]):
    """Builds recorders over one file for an `Application` of the library.

    Set `PERSISTENCE_MODULE` to this module and `STORE_URL` to `sqlite:///PATH`.
    """

    STORE_URL = "STORE_URL"
    CREATE_TABLE = "CREATE_TABLE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        """Open the file; raises `UsageError` without a URL, else as `SqliteFile` does."""
        super().__init__(env)
        url = self.env.get(self.STORE_URL)
        if url is None or not url.startswith(URL_PREFIX):
            raise UsageError(f"{self.STORE_URL} must be {URL_PREFIX}PATH, not {url!r}")
        self.file = SqliteFile(url.removeprefix(URL_PREFIX))

    def aggregate_recorder(self, purpose: str = "events") -> SqliteAggregateRecorder:
        """Return a recorder for snapshots or the like, in a table of its own."""
        return SqliteAggregateRecorder(
            self.file, f"stored_{purpose}", create_table=self._creates_tables()
        )

    def application_recorder(self) -> SqliteRecorder:
        """Return the recorder of the log."""
        return self.process_recorder()

    def tracking_recorder(
        self, tracking_recorder_class: type[SqliteRecorder] | None = None
    ) -> SqliteRecorder:
        """Return a recorder of the given class, or of that named by `TRACKING_RECORDER_TOPIC`."""
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        named = resolve_topic(topic) if topic else SqliteRecorder
        class_: type[SqliteRecorder] = tracking_recorder_class or named
        return class_(self.file, create_table=self._creates_tables())

    def process_recorder(self) -> SqliteRecorder:
        """Return the recorder of the log."""
        return SqliteRecorder(self.file, create_table=self._creates_tables())

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _creates_tables(self) -> bool:
        return strtobool(self.env.get(self.CREATE_TABLE, "yes"))
