"""The Python face: a function that is traced once gives the definition of a job."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Literal, ParamSpec, TypeVar

import msgspec

from warrener.domain.definition import python_options as options
from warrener.domain.definition.handles import Handle, refuse, users_place
from warrener.domain.definition.model import Budget, JobDefinition
from warrener.domain.definition.normalise import normalise
from warrener.domain.definition.python_schema import params_schema
from warrener.domain.definition.step_handle import template
from warrener.domain.definition.tracing import Trace, current, rename, tracing
from warrener.domain.errors import DefinitionError, Problem

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-z][a-z0-9-]*\Z", re.ASCII)
_OPEN_KINDS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class JobFunction(Generic[P, R]):
    """A function that describes a job; see `job`. `definition` is what it describes."""

    def __init__(
        self,
        function: Callable[P, R],
        name: str,
        *,
        version: int,
        budget: Budget,
        on_failure: Literal["continue", "stop"],
        deadline: float | None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.version = version
        self.budget = budget
        self.on_failure = on_failure
        self.deadline = deadline
        self.signature = inspect.signature(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Start the job as a sub-job; only inside another traced job (or this one)."""
        trace = current()
        if trace is None:
            file, function = self.function.__code__.co_filename, self.function.__name__
            refuse(
                f"the job {self.name} cannot be called: its function only describes it",
                f"run it with `warrener run {file}:{function}`, or call it inside another job",
            )
        if trace.callees.setdefault(self.name, self) is not self:
            refuse(f"two different jobs are named {self.name}", "name them differently")
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            refuse(f"{self.name}: {error}", f"its parameters are {self.signature}")
        return trace.add(self.name, bound.arguments, job=self.name)

    def __repr__(self) -> str:
        return f"<job {self.name}>"

    @property
    def definition(self) -> JobDefinition:
        """The definition; the function is traced when it is first asked for.

        Raises `DefinitionError` with the file and line of the fault.
        """
        return self._traced[0]

    @property
    def places(self) -> dict[str, tuple[str, int | None]]:
        """File and line of each step, for messages about it."""
        return self._traced[2]

    def library(self) -> dict[str, JobDefinition]:
        """Return the definitions of all jobs that this one starts, directly or not, by name.

        The job itself is among them if it recurs.
        """
        found: dict[str, JobFunction[..., Any]] = {}
        waiting = list(self._traced[1].values())
        while waiting:
            callee = waiting.pop()
            known = found.setdefault(callee.name, callee)
            if known is not callee:
                _refuse_at(callee, f"two different jobs are named {callee.name}")
            waiting.extend(c for n, c in callee._traced[1].items() if found.get(n) is not c)
        return {name: found[name].definition for name in sorted(found)}

    @functools.cached_property
    def _traced(
        self,
    ) -> tuple[JobDefinition, dict[str, JobFunction[..., Any]], dict[str, tuple[str, int | None]]]:
        with tracing() as trace:
            result = self._run()
            steps = trace.steps()
            names = trace.names()
            returned = rename(self._returned(result), names)
        definition = JobDefinition(
            name=self.name,
            version=self.version,
            params=params_schema(self.name, self.function, self.signature),
            budget=self.budget,
            on_failure=self.on_failure,
            deadline=self.deadline,
            steps=steps,
            result=returned,
        )
        return normalise(definition), dict(trace.callees), _places(trace, names)

    def _returned(self, result: Any) -> Any:
        try:
            return template(result, None)
        except DefinitionError as error:
            code = self.function.__code__  # the fault is in no line that is running any more
            raise DefinitionError(
                [
                    msgspec.structs.replace(
                        problem, file=code.co_filename, line=code.co_firstlineno, path="result"
                    )
                    for problem in error.problems
                ]
            ) from None

    def _run(self) -> Any:
        handles: dict[str, Any] = {
            name: Handle(f"params.{name}") for name in self.signature.parameters
        }
        bound = self.signature.bind_partial()
        bound.arguments.update(handles)
        function: Any = self.function
        try:
            return function(*bound.args, **bound.kwargs)
        except DefinitionError:
            raise
        except Exception as error:
            file, line = _fault_place(error, function.__code__.co_filename)
            problem = Problem(
                message=f"tracing the job {self.name} failed: {type(error).__name__}: {error}",
                hint="a job's function only describes; computing and I/O belong in endpoints",
                file=file,
                line=line,
            )
            raise DefinitionError([problem]) from error


def job(
    name: str,
    *,
    version: int = 1,
    budget: Budget | None = None,
    on_failure: Literal["continue", "stop"] = "continue",
    deadline: str | float | None = None,
) -> Callable[[Callable[P, R]], JobFunction[P, R]]:
    """Make a function describe a job.

    The function runs once, on handles in place of values; each call of an endpoint or of a job in
    it becomes a step, and what it returns is the job's result. `deadline` is text such as "6h", or
    seconds, from the submission on.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        refuse(f"{name!r} is not a name of a job", "use small letters, digits and -: social-report")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        refuse(f"{name}: version {version!r} is not a whole number from 1")
    if on_failure not in {"continue", "stop"}:
        refuse(f"{name}: on_failure is {on_failure!r}", 'use "continue" or "stop"')

    limit = options.seconds(f"{name}: deadline", deadline)

    def decorate(function: Callable[P, R]) -> JobFunction[P, R]:
        if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
            refuse(f"{name}: a job is described by a plain function (not async, not a class)")
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in _OPEN_KINDS:
                refuse(f"{name}: {parameter} is not supported", "a job's parameters have names")
        return JobFunction(
            function,
            name,
            version=version,
            budget=budget or Budget(),
            on_failure=on_failure,
            deadline=limit,
        )

    return decorate


def _places(trace: Trace, names: dict[str, str]) -> dict[str, tuple[str, int | None]]:
    return {names[draft.mark]: draft.place for draft in trace.drafts}


def _fault_place(error: BaseException, file: str) -> tuple[str, int | None]:
    """Return the innermost line of the traced function's own file that the error passed."""
    traceback: TracebackType | None = error.__traceback__
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return (file, line) if line is not None else users_place()


def _refuse_at(callee: JobFunction[..., Any], message: str) -> None:
    code = callee.function.__code__
    problem = Problem(message=message, file=code.co_filename, line=code.co_firstlineno)
    raise DefinitionError([problem])
