"""Endpoints: functions of users that steps call, known by name.

Outside a traced job an endpoint is the plain function; inside one a call records a step.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import msgspec

from warrener.domain.definition import python_options as options
from warrener.domain.definition import tracing
from warrener.domain.definition.handles import refuse
from warrener.domain.definition.model import RetryRule, Timeout, UserActionRule
from warrener.domain.expression_text import OPEN
from warrener.domain.messages import DEFAULT_QUEUE
from warrener.services.plans import Plan

P = ParamSpec("P")
R = TypeVar("R")

NAMES_SHOWN_MAX = 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}\Z", re.ASCII)


class StepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint says of the steps that call it."""

    queue: str | None = None
    retry: tuple[RetryRule, ...] | None = None
    timeout: Timeout | None = None
    limits: tuple[options.Limit, ...] = ()
    on_user_action: UserActionRule | None = None
    compensate: str | None = None


class Endpoint(options.Called, Generic[P, R]):
    """A function that steps call. `function` is the plain function with its own types.

    A call returns what the function returns, or the step's handle inside a traced job; hence the
    type `Any`.
    """

    def __init__(
        self,
        function: Callable[P, R],
        name: str,
        steps: StepOptions | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.steps = StepOptions() if steps is None else steps
        self.queue = self.steps.queue
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
        given = _flat(bound)
        handle = trace.add(
            self.function.__name__,
            given,
            result_fields=self.result_fields,
            defaults=_left_out(self.signature, given),
            call=self.name,
            queue=self.steps.queue,
            retry=self.steps.retry,
            timeout=self.steps.timeout,
            on_user_action=self.steps.on_user_action,
            compensate=self.steps.compensate,
        )
        return handle.limits(*self.steps.limits) if self.steps.limits else handle

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
    retry: Sequence[options.Retry] | None = None,
    timeout: options.Timeout | str | float | None = None,
    limits: Sequence[options.Limit] = (),
    on_user_action: options.UserActionRule | None = None,
    compensate: Endpoint[..., Any] | str | None = None,
    registry: Registry = REGISTRY,
) -> Callable[[Callable[P, R]], Endpoint[P, R]]:
    """Make a function an endpoint of this name; the rest goes into steps that call it.

    The function may be `async def`. Its arguments and its result are JSON values, checked and
    converted by its annotations. `compensate` is the endpoint that undoes what this one did.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        refuse(f"{name!r} is not a name of an endpoint", 'write such as @endpoint("crm.load")')
    undo = None if compensate is None else options.endpoint_name(f"{name}: compensate", compensate)
    steps = StepOptions(
        queue=queue,
        retry=None if retry is None else options.retry(name, retry),
        timeout=options.timeout(name, timeout),
        limits=options.limits(name, limits),
        on_user_action=options.user_action(name, on_user_action),
        compensate=undo,
    )

    def decorate(function: Callable[P, R]) -> Endpoint[P, R]:
        _check_function(name, function)
        made = Endpoint(function, name, steps)
        _check_keys(made)
        registry.add(made)
        return made

    return decorate


def _check_function(name: str, function: Any) -> None:
    if not inspect.isfunction(inspect.unwrap(function)):
        refuse(f"{name}: an endpoint is a function, not {type(function).__name__}")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            refuse(f"{name}: *{parameter.name} is not supported", "arguments go by name")


def _check_keys(made: Endpoint[..., Any]) -> None:
    """Refuse keys of limits that name no argument, before the first call does."""
    parameters = made.signature.parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for limit in made.steps.limits:
        key = limit.key
        known = isinstance(key, str) and (OPEN in key or key in parameters)
        if key is not None and not known:
            refuse(
                f"{made.name}: the key {key!r} of the limit {limit.name} is no argument",
                f"it has {', '.join(parameters) or 'none'}; or write a text with ${{{{ }}}}",
            )


def _left_out(signature: inspect.Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the arguments that are not given."""
    parameters = signature.parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.default is not parameter.empty and parameter.name not in given
    }


def _flat(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return arguments by name, those that `**kwargs` took among them."""
    given = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name, {}))
    return given
