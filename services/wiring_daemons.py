"""The wiring of the daemons: reactor, projector, notifier and worker, made from their parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from structlog.contextvars import bound_contextvars

from warrener.domain.errors import UsageError
from warrener.services.logs import each_log
from warrener.services.settings import (
    MEMORY_BROKER,
    Settings,
    listed,
    notify_kinds,
    sqlite_path,
    store_kind,
    switched,
)
from warrener.services.shares import LEASE_SECONDS, Identity
from warrener.services.wiring import (
    open_broker,
    open_chance,
    open_clock,
    open_leases,
    open_limit_shares,
    open_positions,
    open_views,
    process_name,
)

if TYPE_CHECKING:
    from warrener.domain.notices import Notifier
    from warrener.domain.partitions import Logs
    from warrener.domain.ports import Broker, Clock
    from warrener.services.folding import Folded
    from warrener.services.histograms import PaceHistograms
    from warrener.services.notifier import NotifierDaemon
    from warrener.services.projector_daemon import ProjectorDaemon
    from warrener.services.reactor import Reactor
    from warrener.services.reactor_daemon import ReactorDaemon
    from warrener.services.runners import Runner
    from warrener.services.worker_daemon import WorkerDaemon, WorkerOptions

SECRET_CHARACTERS_MIN = 16
ROLE_SECONDS = 300.0  # longer than a turn of the notifier may take


@contextmanager
def open_reactor(
    settings: Settings,
    logs: Logs,
    *,
    name: str | None = None,
    lease_seconds: float = LEASE_SECONDS,
    on_ready: Callable[[], None] = lambda: None,
    on_turn: Callable[[], None] = lambda: None,
    on_round: Callable[[Mapping[int, Reactor]], None] = lambda _: None,
    broker: Broker | None = None,
    histograms: PaceHistograms | None = None,
) -> Iterator[ReactorDaemon]:
    """Put a reactor daemon together over logs that are open already.

    With `broker` it works over that one, whatever the settings name; with `histograms` its pace is
    measured.
    """
    from warrener.services.pace import Pace
    from warrener.services.policies import orders
    from warrener.services.reactor_daemon import ReactorDaemon

    identity = Identity(name or process_name(), lease_seconds=lease_seconds)
    measured = partial(Pace, histograms.committed, histograms.confirmed) if histograms else Pace
    with ExitStack() as stack:
        stack.enter_context(bound_contextvars(reactor=identity.name))
        leases = open_leases(settings.store_url)
        stack.callback(leases.close)
        shares = open_limit_shares(settings.store_url) if logs.count > 1 else None
        if shares is not None:
            stack.callback(shares.close)
        yield ReactorDaemon(
            identity,
            logs,
            leases,
            # A frozen one lets go about then.
            broker or open_broker(settings.broker_url, lease_seconds),
            clock=open_clock(),
            chance=open_chance(),
            limit_shares=shares,
            orders=orders(),
            on_ready=on_ready,
            on_turn=on_turn,
            on_round=on_round,
            pace=measured,
        )


@contextmanager
def open_projector(
    settings: Settings,
    logs: Logs,
    *,
    name: str | None = None,
    lease_seconds: float = 6.0,
    on_ready: Callable[[], None] = lambda: None,
    on_turn: Callable[[], None] = lambda: None,
    on_folded: Folded = lambda *_: None,
) -> Iterator[ProjectorDaemon]:
    """Put a projector daemon together over logs that are open already."""
    from warrener.services.projector_daemon import ProjectorDaemon

    if "memory" in (store_kind(settings.store_url), store_kind(settings.views_url, "views")):
        raise UsageError("a projector needs a store that others use: --store sqlite:///...")
    identity = Identity(name or process_name(), lease_seconds)
    with ExitStack() as stack:
        stack.enter_context(bound_contextvars(projector=identity.name))
        views = open_views(settings.views_url)
        stack.callback(views.close)
        leases = open_leases(settings.store_url, "projector")
        stack.callback(leases.close)
        yield ProjectorDaemon(
            identity,
            logs,
            views,
            leases,
            clock=open_clock(),
            on_ready=on_ready,
            on_turn=on_turn,
            on_folded=on_folded,
        )


@contextmanager
def open_notifier(
    settings: Settings,
    logs: Logs,
    *,
    from_now: bool = False,
    on_ready: Callable[[], None] = lambda: None,
    on_turn: Callable[[], None] = lambda: None,
) -> Iterator[NotifierDaemon]:
    """Put what tells people together over logs that are open already; one works on them at once."""
    from warrener.services.notices import Notices
    from warrener.services.notifier import NotifierDaemon, Teller

    if store_kind(settings.store_url) == "memory":
        raise UsageError("a notifier needs a store that others write to: --store sqlite:///...")
    clock = open_clock()
    notifiers = _notifiers(settings, clock)
    kinds = notify_kinds(settings.notify_on)
    with ExitStack() as stack:
        keep = stack.enter_context(_alone(settings, "notifier", clock))
        positions = open_positions(settings.store_url)
        stack.callback(positions.close)

        def turn() -> None:
            keep()
            on_turn()

        yield NotifierDaemon(
            [
                Teller(notifier, log, positions, Notices(log, kinds), partition=partition)
                for notifier in notifiers
                for partition, log in enumerate(each_log(logs))
            ],
            clock,
            from_now=from_now,
            on_ready=on_ready,
            on_turn=turn,
        )


@contextmanager
def _alone(settings: Settings, role: str, clock: Clock) -> Iterator[Callable[[], None]]:
    """Hold a role that one process has at a time; give what is to be called often meanwhile.

    Raises `UsageError` if another one holds it, then or later.
    """
    if store_kind(settings.store_url) == "sqlite":
        from warrener.adapters.run_lock import role_lock

        with role_lock(sqlite_path(settings.store_url), role):
            yield lambda: None
        return
    leases, name = open_leases(settings.store_url, role), process_name()

    def keep() -> None:
        if not leases.take(0, name, clock.now(), ROLE_SECONDS):
            raise UsageError(f"another {role} works on this store: stop it first")

    try:
        keep()
        yield keep
    finally:
        leases.give_up(0, name)
        leases.close()


def _notifiers(settings: Settings, clock: Clock) -> Sequence[Notifier]:
    """Return a notifier for each way of telling that is set."""
    found: list[Notifier] = []
    if settings.webhook_url:
        found.append(_webhook(settings, clock))
    if settings.smtp_url:
        from warrener.adapters.notify_mail_url import addresses_of, relay_of
        from warrener.adapters.notify_smtp import MailNotifier

        relay = relay_of(settings.smtp_url)
        found.append(MailNotifier(relay, addresses_of(settings.mail_from, settings.mail_to)))
    if not found:
        raise UsageError(
            "nobody is to be told: set WARRENER_WEBHOOK_URL and WARRENER_WEBHOOK_SECRET, or"
            " WARRENER_SMTP_URL, WARRENER_MAIL_FROM and WARRENER_MAIL_TO"
        )
    return found


def _webhook(settings: Settings, clock: Clock) -> Notifier:
    from warrener.adapters.notify_webhook import WebhookNotifier
    from warrener.adapters.notify_webhook_url import target_of

    target = target_of(
        settings.webhook_url,
        hosts=listed(settings.webhook_allow),
        plain=switched(settings.webhook_plain, "WARRENER_WEBHOOK_PLAIN"),
    )
    if len(settings.webhook_secret) < SECRET_CHARACTERS_MIN:
        raise UsageError(
            f"WARRENER_WEBHOOK_SECRET needs {SECRET_CHARACTERS_MIN} characters or more:"
            " receivers know by it that a notification is ours"
        )
    private = switched(settings.webhook_private, "WARRENER_WEBHOOK_PRIVATE")
    return WebhookNotifier(target, settings.webhook_secret, clock, private=private)


@contextmanager
def open_worker(
    settings: Settings,
    options: WorkerOptions,
    *,
    trace: bool = False,
    on_ready: Callable[[], None] = lambda: None,
    on_turn: Callable[[], None] = lambda: None,
    broker: Broker | None = None,
) -> Iterator[WorkerDaemon]:
    """Load the endpoints, connect, and put a worker daemon together; `trace` logs every step.

    With `broker` it takes orders from that one, whatever the settings name.
    """
    from warrener.services.worker import Worker
    from warrener.services.worker_daemon import WorkerDaemon

    options.check()
    if broker is None and settings.broker_url == MEMORY_BROKER:
        raise UsageError("a worker needs a broker that its reactor reaches: --broker amqp://...")
    name, clock = options.name or process_name(), open_clock()
    with ExitStack() as stack:
        stack.enter_context(bound_contextvars(worker=name))
        runner, served = _serving_runner(options, settings, name, clock, stack)
        queues = options.queues or tuple(sorted(set(served.values())))
        channel = (broker or open_broker(settings.broker_url)).channel()
        stack.callback(channel.close)
        worker = Worker(
            channel,
            runner,
            queues,
            options.slots,
            name=name,
            clock=clock,
            beat_seconds=options.beat_seconds,
            endpoints=tuple(served),
            able=tuple(sorted(set(served.values()))),
            fixed=options.fixed,
            trace=trace,
        )
        yield WorkerDaemon(
            worker,
            drain_seconds=options.drain_seconds,
            facts={
                "mode": options.mode,
                "slots": options.slots,
                "queues": list(queues),
                "endpoints": len(served),
            },
            on_ready=on_ready,
            on_turn=on_turn,
        )


def _serving_runner(
    options: WorkerOptions, settings: Settings, name: str, clock: Clock, stack: ExitStack
) -> tuple[Runner, Mapping[str, str]]:
    """Return a runner that has loaded the endpoints, and their queues by name."""
    runner: Runner
    if options.mode == "processes":
        from warrener.services.worker_crew import Policy
        from warrener.services.worker_processes import ProcessRunner

        policy = Policy(
            tasks_max=options.children_tasks_max,
            memory_bytes_max=options.children_memory_bytes_max,
            pulse_seconds=options.beat_seconds / 2,
        )
        children = ProcessRunner(
            options.slots,
            options.modules,
            clock,
            worker=name,
            policy=policy,
            log=settings.log,
            otlp_url=settings.otlp_url,
        )
        stack.callback(children.close)
        served = children.start()
        runner = children
    else:
        from warrener.services.endpoints import REGISTRY
        from warrener.services.modules import load_endpoint_modules
        from warrener.services.wiring_traces import trace_endpoints
        from warrener.services.worker_asyncio import AsyncioRunner
        from warrener.services.worker_threads import ThreadRunner

        load_endpoint_modules(options.modules)
        stack.callback(trace_endpoints(settings.otlp_url))
        served = REGISTRY.queues()
        kind = ThreadRunner if options.mode == "threads" else AsyncioRunner
        runner = kind(options.slots, clock, name)
        stack.callback(runner.close)
    if not served:
        raise UsageError(f"there are no endpoints in {', '.join(options.modules)}")
    return runner, served
