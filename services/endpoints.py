"""Endpoints: functions of users that steps call, known by name.

Outside a traced job an endpoint is the plain function; inside one a call records a step.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NoReturn, ParamSpec, TypeVar

import msgspec

from warrener.domain.definition import tracing
from warrener.domain.definition.durations import seconds
from warrener.domain.definition.handles import refuse
from warrener.domain.definition.model import RetryRule
from warrener.domain.messages import DEFAULT_QUEUE
from warrener.services.plans import Plan

P = ParamSpec("P")
R = TypeVar("R")

NAMES_SHOWN_MAX = 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}\Z", re.ASCII)


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a `retry` list; see `RetryRule`. Durations are text such as "2s", or seconds."""

    on: str = "*"
    max: int | None = None
    first: str | float = 1.0
    factor: float = 2.0
    cap: str | float = 300.0
    jitter: Literal["full", "none"] = "full"
    wait: Literal["backoff", "retry-after"] = "backoff"

    def rule(self) -> RetryRule:
        """Return the rule as the definition keeps it; raises `ValueError`."""
        fields = msgspec.structs.asdict(self)
        fields.update(first=seconds(self.first), cap=seconds(self.cap), factor=float(self.factor))
        return msgspec.convert(fields, RetryRule)


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on the time of one attempt or of all of them. Not supported yet."""

    queue: str | float | None = None
    run: str | float | None = None
    beat: str | float | None = None
    total: str | float | None = None


class Limit(msgspec.Struct, frozen=True):
    """A bound on how much runs at once or per time under one key. Not supported yet."""

    name: str
    key: str | None = None
    rate: str | None = None
    burst: int | None = None
    slots: int | None = None


def wait_for(*_: Any, **__: Any) -> NoReturn:
    """Wait for a signal or a user's answer. Not supported yet."""
    refuse("wait_for(...) is not supported yet")


class Endpoint(Generic[P, R]):
    """A function that steps call. `function` is the plain function with its own types.

    A call returns what the function returns, or the step's handle inside a traced job; hence the
    type `Any`.
    """

    def __init__(
        self,
        function: Callable[P, R],
        name: str,
        queue: str | None = None,
        retry: tuple[RetryRule, ...] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.queue = queue
        self.retry = retry
        self.signature = inspect.signature(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the function, or record a step inside a traced job."""
        trace = tracing.current()
        if trace is None:
            return self.function(*args, **kwargs)
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            refuse(f"{self.name}: {error}", f"its parameters are {self.signature}")
        fields = {"queue": self.queue, "retry": self.retry}
        return trace.add(
            self.function.__name__,
            _flat(bound),
            result_fields=self.result_fields,
            call=self.name,
            **fields,
        )

    def __repr__(self) -> str:
        return f"<endpoint {self.name}>"

    @property
    def place(self) -> tuple[str, int, str]:
        """Return file, line and qualified name of the function."""
        function: Any = inspect.unwrap(self.function)
        return (
            function.__code__.co_filename,
            function.__code__.co_firstlineno,
            function.__qualname__,
        )

    @functools.cached_property
    def result_fields(self) -> frozenset[str]:
        """Return the names of the fields of the result, as far as its annotation tells them."""
        try:
            returned = typing.get_type_hints(self.function).get("return")
        except Exception:  # told when the endpoint is loaded
            return frozenset()
        return frozenset(getattr(returned, "__annotations__", ()))

    @functools.cached_property
    def plan(self) -> Plan:
        """Return how the function is called with JSON; raises `UsageError` if it cannot be."""
        return Plan(self.name, self.function, self.signature)


class Registry:
    """Endpoints by name."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint[..., Any]] = {}

    def add(self, endpoint: Endpoint[..., Any]) -> None:
        """Make an endpoint known; a second function of the same name is refused."""
        known = self._endpoints.get(endpoint.name)
        if known is not None and known.place != endpoint.place:
            file, line, function = known.place
            refuse(
                f"the endpoint {endpoint.name} is defined twice",
                f"the other one is {function} at {file}:{line}",
            )
        self._endpoints[endpoint.name] = endpoint

    def get(self, name: str) -> Endpoint[..., Any] | None:
        """Return the endpoint of this name."""
        return self._endpoints.get(name)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._endpoints)

    def queues(self) -> dict[str, str]:
        """Return the queue that each endpoint's steps go to unless they name one, by name."""
        return {name: self._endpoints[name].queue or DEFAULT_QUEUE for name in self.names()}

    def nearest(self, name: str) -> str:
        """Say in words what is known in place of an unknown name."""
        import difflib

        close = difflib.get_close_matches(name, self._endpoints, n=1)
        if close:
            return f"did you mean {close[0]}?"
        known = self.names()
        shown = ", ".join(known[:NAMES_SHOWN_MAX]) + (", ..." if known[NAMES_SHOWN_MAX:] else "")
        return f"known are: {shown}" if known else "no endpoints are loaded"


REGISTRY = Registry()


def endpoint(
    name: str,
    *,
    queue: str | None = None,
    retry: Sequence[Retry] | None = None,
    timeout: Timeout | str | float | None = None,
    limits: Sequence[Limit] = (),
    registry: Registry = REGISTRY,
) -> Callable[[Callable[P, R]], Endpoint[P, R]]:
    """Make a function an endpoint of this name; `queue` and `retry` go into steps that call it.

    The function may be `async def`. Its arguments and its result are JSON values, checked and
    converted by its annotations.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        refuse(f"{name!r} is not a name of an endpoint", 'write such as @endpoint("crm.load")')
    if timeout is not None or limits:
        refuse(f"{name}: {'timeout' if timeout is not None else 'limits'} is not supported yet")
    rules = None if retry is None else tuple(_rule(name, line) for line in retry)

    def decorate(function: Callable[P, R]) -> Endpoint[P, R]:
        _check_function(name, function)
        made = Endpoint(function, name, queue, rules)
        registry.add(made)
        return made

    return decorate


def _rule(name: str, line: Retry) -> RetryRule:
    if not isinstance(line, Retry):
        refuse(f"{name}: {line!r} in retry is not a Retry(...)")
    try:
        return line.rule()
    except ValueError as error:
        refuse(f"{name}: retry: {error}")


def _check_function(name: str, function: Any) -> None:
    if not inspect.isfunction(inspect.unwrap(function)):
        refuse(f"{name}: an endpoint is a function, not {type(function).__name__}")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            refuse(f"{name}: *{parameter.name} is not supported", "arguments go by name")


def _flat(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return arguments by name, those that `**kwargs` took among them."""
    given = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name, {}))
    return given
