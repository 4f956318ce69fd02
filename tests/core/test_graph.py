"""Graphs: what can't run is refused, and the place is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit import Context, FactRequest, Graph, Task, agent, fact, tool
from remit.errors import GraphError, RemitError


async def work(ctx: Context, input: Any) -> int:
    return 1


async def alone(ctx: Context) -> int:
    return 1


def not_async(ctx: Context) -> int:
    return 1


async def no_result(ctx: Context):  # type: ignore[no-untyped-def]
    return 1


async def three(ctx: Context, a: int, b: int) -> int:
    return 1


async def none() -> int:
    return 1


@tool(effect="read", repeat="idempotent")
def look(what: str) -> str:
    return what


@tool(name="look")
def other_look(what: str) -> str:
    return what


@fact(tools=[look])
def known(request: FactRequest) -> bool:
    return True


@pytest.mark.parametrize(
    ("name", "tasks", "options", "words"),
    [
        ("app", [], {}, "graph `app`: it has no task"),
        ("1", [Task("a", work)], {}, "graph `1`: a name is"),
        ("app", [Task("a", work), Task("a", work)], {}, "two tasks are called `a`"),
        ("app", [Task("a", work)], {"tools": [look, other_look]}, "two tools are called `look`"),
        ("app", [Task("a", work)], {"tools": [look], "facts": [known, known]}, "two facts are called `known`"),
        ("app", [Task("a", work)], {"facts": [known]}, "fact `known`: tool `look` is not one of the graph's tools"),
        ("app", [Task("a", work)], {"limit": 0}, "limit 0"),
        ("app", [Task("A", work)], {}, "task `A`: an id is"),
        ("app", [Task("a[0]", work)], {}, "task `a\\[0\\]`: an id is"),
        ("app", [Task("a#", work)], {}, "an id is"),
        ("app", [Task("a", work, after="b")], {}, "task `a`: it depends on `b`, which is not a task; there are `a`"),
        ("app", [Task("a", work, over="b")], {}, "it depends on `b`"),
        ("app", [Task("a", work, after="a")], {}, "a cycle: a -> a"),
        (
            "app",
            [Task("a", work, after="b"), Task("b", work, over="a")],
            {},
            "a cycle: a -> b -> a|a cycle: b -> a -> b",
        ),
        ("app", [Task("a", work, limit=2)], {}, "limit without `over`"),
        ("app", [Task("a", work), Task("b", work, over="a", limit=0)], {}, "limit 0"),
        ("app", [Task("a", not_async)], {}, "agent `not_async` is not an async function"),
        ("app", [Task("a", no_result)], {}, "agent `no_result`: its result has no annotation"),
        ("app", [Task("a", three)], {}, "agent `three` takes"),
        ("app", [Task("a", none)], {}, "agent `none` takes"),
    ],
)
def test_a_graph_that_can_not_run_is_refused_and_the_place_named(
    name: str, tasks: list[Task], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(RemitError, match=words):
        Graph(name, tasks, **options)


@given(st.dictionaries(st.integers(0, 7), st.frozensets(st.integers(0, 7), max_size=3), min_size=1, max_size=8))
def test_a_graph_loads_exactly_when_every_task_can_come_after_those_it_needs(needs: dict[int, frozenset[int]]) -> None:
    def order() -> list[int] | None:  # Kahn's algorithm: the oracle
        done: list[int] = []
        while len(done) < len(needs):
            ready = [one for one in needs if one not in done and needs[one] <= set(done)]
            if not ready:
                return None
            done += ready
        return done

    tasks = [Task(f"t{one}", work, after=[f"t{need}" for need in sorted(before)]) for one, before in needs.items()]
    if order() is None:
        with pytest.raises(GraphError, match=r"a cycle|which is not a task"):
            Graph("app", tasks)
        return
    graph = Graph("app", tasks)
    places = {name: place for place, name in enumerate(graph.order)}
    assert set(places) == set(graph.tasks)
    assert all(places[need] < places[task.id] for task in graph.tasks.values() for need in task.needs)
    assert graph.order == Graph("app", reversed(tasks)).order
    assert graph.digest == Graph("app", reversed(tasks)).digest
    needed = {need for task in tasks for need in task.needs}
    assert set(graph.leaves) == set(graph.tasks) - needed


def test_what_a_run_must_be_resumed_on_is_in_the_digest_and_nothing_else() -> None:
    def make(*tasks: Task, **options: Any) -> str:
        return Graph("app", tasks, **options).digest

    first = Task("a", work)
    base = make(first)
    others = [
        make(Task("b", work)),
        make(Task("a", alone)),
        make(Task("a", agent(version="2")(work))),
        make(Task("a", agent(name="w")(work))),
        make(first, Task("b", work)),
        make(first, Task("b", work, after="a")),
        make(first, Task("b", work, over="a")),
        Graph("other", [first]).digest,
    ]
    assert len({base, *others}) == 1 + len(others)
    assert base == make(first, limit=3) == make(first, tools=[look], facts=[known])
    assert make(first, Task("b", work, over="a")) == make(first, Task("b", work, over="a", limit=1))


def test_the_needs_of_a_task_are_each_named_once() -> None:
    assert Task("a", work, after="b").needs == ("b",)
    assert Task("a", work, after=["b", "c", "b"], over="c").needs == ("b", "c")
    assert Task("a", work).needs == ()
    assert not Task("a", alone).runs.takes_input
    assert Task("a", work).runs.takes_input
