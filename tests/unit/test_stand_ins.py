"""Who waits for whom once failures are caught, against the rules as they are written down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from warrener.domain.definition.check import check
from warrener.domain.definition.model import Catch, JobDefinition, StepDefinition
from warrener.domain.definition.reading import topological
from warrener.domain.definition.stand_ins import outcome_graph
from warrener.domain.plan import build_plan

NAMES = "abcdef"
GRAPHS = st.fixed_dictionaries({name: st.sets(st.sampled_from(NAMES)) for name in NAMES})


def closure(name: str, handlers: dict[str, set[str]]) -> set[str]:
    """Return the handlers of a step, theirs, and so on."""
    found: set[str] = set()
    waiting = set(handlers[name])
    while waiting:
        handler = waiting.pop()
        if handler not in found:
            found.add(handler)
            waiting |= handlers[handler]
    return found


def by_the_rules(reads: dict[str, set[str]], handlers: dict[str, set[str]]) -> dict[str, set[str]]:
    """A handler follows its step; who else reads a step follows its handlers, and theirs."""
    waits = {name: set(found) for name, found in reads.items()}
    for name in reads:
        for handler in handlers[name]:
            waits[handler].add(name)
        for reader in reads:
            if name in reads[reader] and reader not in handlers[name]:
                waits[reader] |= closure(name, handlers)
    return waits


def circles(waits: dict[str, set[str]]) -> bool:
    return len(topological(waits)) < len(waits)


@given(GRAPHS, GRAPHS)
def test_the_graph_of_outcomes_has_a_circle_where_the_rules_give_one(reads, handlers):
    reads = {name: {read for read in found if read < name} for name, found in reads.items()}
    handlers = {name: found - {name} for name, found in handlers.items()}

    made = outcome_graph(reads, {name: sorted(found) for name, found in handlers.items() if found})

    assert circles(made) == circles(by_the_rules(reads, handlers))


@given(GRAPHS, GRAPHS)
def test_every_circle_is_told_of_and_nothing_else(reads, handlers):
    reads = {name: {read for read in found if read != name} for name, found in reads.items()}
    handlers = {name: found - {name} for name, found in handlers.items()}
    steps = {
        name: StepDefinition(
            sets=1,
            after=tuple(sorted(reads[name])),
            catch=tuple(Catch(go=handler) for handler in sorted(handlers[name])),
        )
        for name in NAMES
    }

    definition = JobDefinition(name="a", steps=steps)
    problems = check(definition)

    assert bool(problems) == circles(by_the_rules(reads, handlers))
    assert problems or build_plan(definition).steps.keys() == set(NAMES)
    assert all(problem.message.startswith("steps wait for each other") for problem in problems)


def test_long_chains_of_handlers_are_checked_in_a_moment():
    names = [f"s{number}" for number in range(3_000)]
    following = [*names[1:], None]
    steps = {
        name: StepDefinition(
            sets=f"${{{{ steps.s{max(number - 1, 0)}.error }}}}" if number else 1,
            catch=() if after is None else (Catch(go=after),),
        )
        for number, (name, after) in enumerate(zip(names, following, strict=True))
    }
    readers = {f"r{number}": StepDefinition(sets=1, after=("s0",)) for number in range(3_000)}

    assert check(JobDefinition(name="long", steps={**steps, **readers})) == []
