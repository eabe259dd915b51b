"""What a traced job cannot say is refused at the user's line, with the way to say it."""

from __future__ import annotations

import inspect
from typing import TypedDict

import pytest

from warrener import DefinitionError, compute, each, endpoint, job, need
from warrener.services.endpoints import Registry

REGISTRY = Registry()


@endpoint("a.call", registry=REGISTRY)
def call(value=None, other=None): ...


class Order(TypedDict):
    status: str


@endpoint("an.order", registry=REGISTRY)
def order() -> Order: ...


def refusal(function):
    """Trace the function and return the one problem."""
    with pytest.raises(DefinitionError) as caught:
        _ = job("some-job")(function).definition
    (problem,) = caught.value.problems
    return problem


def truth(x):
    if x:
        call()  # LINE is the one before


def loop(x):
    for item in x.groups:
        call(item)


def length(x):
    call(len(x))


def text(x):
    call(f"hello {x}")


def text_of(x):
    call(str(x))


def membership(x):
    call("a" in x)


def membership_of_handle(x):
    call(x in ["a", "b"])


def number(x):
    call(int(x))


def index(x):
    call([1, 2][x])


def chained(x):
    call(1 < x < 3)


def negation(x):
    call().when(not x)


def key(x):
    call({x: 1})


def called(x):
    call(x.strip())


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (truth, ".when("),
        (loop, "each("),
        (length, "size({})"),
        (text, "join text with +"),
        (text_of, "join text with +"),
        (membership, "{} in {}"),
        (membership_of_handle, ".when("),
        (number, "int({})"),
        (index, "int({})"),
        (chained, ".when("),
        (negation, ".when("),
        (key, "as an argument"),
        (called, "endpoint"),
    ],
)
def test_what_needs_the_value_now_is_refused_at_its_line_with_a_hint(function, hint):
    problem = refusal(function)

    first = inspect.getsourcelines(function)[1]
    assert (problem.file, problem.line) == (__file__, first + 1)
    assert hint in problem.hint


def is_not_none(x):
    call().when(x is not None)


def need_of_a_field(x):
    done = call()
    call(need(done.field, when=x))


def returned_need(x):
    return need(call(), when=x)


def two_conditions(x):
    done = call()
    call(need(done, when=x.a), need(done, when=x.b))


def unknown_join(x):
    call().join("some")


def bad_name(x):
    call().named("Bad-Name")


def bad_argument(x):
    call(unknown=x)


def not_json(x):
    call(object())


def not_a_number(x):
    call(float("nan"))


def too_large(x):
    call(2**63)


def odd_key(x):
    call({1: x})


def two_calls_in_each(x):
    each(x, lambda item: call(call(item)))


def no_call_in_each(x):
    each(x, lambda item: item.name)


def each_in_each(x):
    each(x, lambda item: each(item, call))


def compute_in_each(x):
    each(x, lambda item: compute({"a": item}))


def after_a_value(x):
    call().after(x)


def status_of_two_kinds(x):
    call().when(order().status == "paid")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (is_not_none, "not something to be decided at run time"),
        (need_of_a_field, "takes a whole step"),
        (returned_need, "arguments of a call"),
        (two_conditions, "two conditions"),
        (unknown_join, "'some' is not a join"),
        (bad_name, "not a name of a step"),
        (bad_argument, "unexpected keyword argument 'unknown'"),
        (not_json, "type object cannot stand in a job"),
        (not_a_number, "not a JSON number"),
        (too_large, "beyond 64 bits"),
        (odd_key, "is not text"),
        (two_calls_in_each, "made 2 calls"),
        (no_call_in_each, "made 0 calls"),
        (each_in_each, "instead of returning one"),
        (compute_in_each, "compute"),
        (after_a_value, "takes a whole step"),
        (status_of_two_kinds, "its result has a field status, too"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(function, words):
    problem = refusal(function)

    assert words in problem.message
    assert problem.file == __file__
    assert problem.line is not None


def test_two_steps_of_one_name_are_refused():
    def traced():
        call().named("same")
        call().named("same")

    assert "two steps are named same" in refusal(traced).message


def test_a_handle_of_another_job_is_refused():
    kept = []

    @job("first")
    def first():
        kept.append(call())

    def second():
        call(kept[0])

    _ = first.definition

    assert "handle of another job" in refusal(second).message


def test_an_exception_in_the_traced_function_is_told_with_its_line():
    def traced(x):
        return undefined_name  # noqa: F821

    problem = refusal(traced)

    assert "NameError" in problem.message
    assert problem.line == inspect.getsourcelines(traced)[1] + 1


def test_a_job_called_outside_a_trace_says_how_to_run_it():
    @job("lonely")
    def lonely(): ...

    with pytest.raises(DefinitionError, match="warrener run"):
        lonely()


def test_two_different_jobs_of_one_name_are_refused():
    def make():
        @job("twin")
        def twin(): ...

        return twin

    first, second = make(), make()

    def traced():
        first()
        second()

    assert "two different jobs are named twin" in refusal(traced).message


@pytest.mark.parametrize("name", ["Social", "-a", "a_b", "", 3])
def test_a_bad_name_of_a_job_is_refused(name):
    with pytest.raises(DefinitionError, match="not a name of a job"):
        job(name)


def test_open_parameters_of_a_job_are_refused():
    def describe(*names): ...

    with pytest.raises(DefinitionError, match=r"\*names is not supported"):
        job("open")(describe)


def test_need_outside_a_job_is_refused():
    with pytest.raises(DefinitionError, match="only works inside a traced job"):
        need(None)
