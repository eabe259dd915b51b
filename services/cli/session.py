"""What every command begins with: settings, log, output, and the store while it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from warrener.domain.errors import UsageError
from warrener.services import settings as settings_of
from warrener.services.cli.output import Output
from warrener.services.settings import Settings

if TYPE_CHECKING:
    from uuid import UUID

    from warrener.domain.partitions import Logs
    from warrener.projections.ports import ViewStore
    from warrener.services.api_client import ApiClient
    from warrener.services.places import Place
    from warrener.services.queries import Queries
    from warrener.services.steering_calls import SteeringCalls


class Session:
    """Settings and output of one command. `store` is the flag as it was given."""

    def __init__(
        self,
        *,
        as_json: bool,
        store: str | None = None,
        broker: str | None = None,
        log: str | None = None,
        log_level: str = "warning",
        runs_users_code: bool = False,
    ) -> None:
        """Read the settings and set the log up; `runs_users_code` keeps stdout for the answer.

        `log_level` holds unless the settings name one.
        """
        from warrener.services.program_log import configure

        self.store_flag = store
        self.settings: Settings = settings_of.load(
            {"store_url": store, "broker_url": broker, "log": log}
        )
        self.output = Output(as_json=as_json, keep_stdout=runs_users_code)
        configure(self.settings.log, "error" if as_json else log_level)

    @property
    def keeps_jobs(self) -> bool:
        """Say whether the store outlives this process."""
        return settings_of.store_kind(self.settings.store_url) != "memory"

    @property
    def has_fleet(self) -> bool:
        """Say whether a broker is named, and with it the fleet that works on the jobs."""
        return self.settings.broker_url != settings_of.MEMORY_BROKER

    @property
    def has_service(self) -> bool:
        """Say whether commands go over the HTTP API: one is named, and no broker."""
        return bool(self.settings.api_url) and not self.has_fleet

    @contextmanager
    def logs(self, *, create: bool = False) -> Iterator[Logs]:
        """Open the logs of the store, with `create` to write them."""
        from warrener.services import wiring

        if create:
            settings_of.refuse_history(self.settings.store_url)
        logs = wiring.open_logs(self.settings.store_url, create=create)
        try:
            yield logs
        finally:
            logs.close()

    @contextmanager
    def queries(self, logs: Logs | None = None) -> Iterator[Queries]:
        """Open the read models, on logs that are open or on some of their own."""
        from warrener.services import wiring
        from warrener.services.cli.progress import catching_up

        with ExitStack() as stack:
            opened = logs or stack.enter_context(self.logs())
            with catching_up(self.output) as report:
                queries = wiring.open_queries(self.settings, opened, report)
                found = stack.enter_context(queries)
            yield found

    @contextmanager
    def views(self) -> Iterator[ViewStore]:
        """Open the read models as they are; whoever opened `queries` has brought them up."""
        from warrener.services import wiring

        views = wiring.open_views(self.settings.views_url)
        try:
            yield views
        finally:
            views.close()

    @contextmanager
    def steering(self) -> Iterator[SteeringCalls]:
        """Give what carries commands out: the fleet if one is named, a service, else the store."""
        if self.has_fleet:
            from warrener.services.client import Client

            with Client(self.settings.broker_url) as client:
                yield client
        elif self.has_service:
            yield self.service()
        else:
            from warrener.services import wiring_runs

            with self.logs() as logs:
                yield wiring_runs.open_steering(self.settings, logs)

    def service(self) -> ApiClient:
        """Return what speaks to the service whose address is set."""
        from warrener.services.api_client import ApiClient

        return ApiClient(self.settings.api_url, self.settings.api_token)

    def find_job(self, logs: Logs, text: str) -> UUID:
        """Return the id of the job that a text names: an id, or the start of one."""
        with self.queries(logs) as queries:
            return job_named(queries, text)

    def command(self, *words: object) -> str:
        """Return a command to try next, on the same store."""
        flag = ["--store", self.store_flag] if self.store_flag is not None else []
        return " ".join(map(_quoted, ["warrener", *map(str, words), *flag]))


def job_named(queries: Queries, text: str) -> UUID:
    """Return the id of the job that a text names; raises `UsageError` if it names a step."""
    return job_of(queries.locate(text), text)


def job_of(place: Place, text: str) -> UUID:
    """Return the job that was found for a text; raises `UsageError` if the text names a step."""
    if place.path is not None:
        raise UsageError(f"{text} is a step: name its job alone")
    return place.job


def _quoted(word: str) -> str:
    from shlex import quote

    return quote(word)
