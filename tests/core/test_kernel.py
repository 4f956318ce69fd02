"""next_commands: small graphs in their whole space, random ones against a simulator."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit import Context, Graph, Task
from remit.core import entries as e
from remit.core.entries import Head, Outcome, seal, unseal
from remit.core.kernel import (
    Command,
    ContinueTask,
    ExpandTask,
    ExpireReview,
    FinishRun,
    SkipTask,
    StartTask,
    deadline,
    next_commands,
)
from remit.core.lifecycle import ReviewState, RunState, RunStatus, TaskStatus, apply, standing

AT = "2026-01-05T09:00:00.000000Z"
NOW = "2026-01-05T09:30:00.000000Z"
EXPIRES = "2026-01-05T10:00:00.000000Z"
HASH = "ab" * 32


async def work(ctx: Context, input: Any) -> int:
    return 1


def fold(state: Any, *bodies: e.Fact) -> Any:
    for body in bodies:
        review = isinstance(body, e.ReviewOpened) or isinstance(state, ReviewState)
        stream = "review/v1" if review else "run/r1"
        state = apply(state, unseal(seal(stream, state.head if state else Head(), AT, "t", body).bytes))
    return state


def begun() -> RunState:
    started = e.RunStarted("r1", "app", HASH, "me", "me", "", HASH, HASH)
    found: RunState = fold(None, started, e.Owned(1, "w"))
    return found


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 7))
    tasks = []
    for number in range(count):
        before = [f"t{one}" for one in range(number)]
        after = draw(st.lists(st.sampled_from(before), max_size=3, unique=True)) if before else []
        over = draw(st.none() | st.sampled_from(before)) if before else None
        tasks.append(Task(f"t{number}", work, after=after, over=over))
    return Graph("app", draw(st.permutations(tasks)))


class Simulator:
    """The oracle: does what is commanded, in any order, and checks that it was right to command it."""

    def __init__(self, graph: Graph, draw: Any) -> None:
        self.graph = graph
        self.draw = draw
        self.state = begun()
        self.live: set[str] = set()

    def parent(self, id: str) -> str:
        return id.partition("[")[0]

    def may_start(self, id: str) -> bool:
        needs = self.graph.tasks[self.parent(id)].needs
        return all(standing(self.state, need) is TaskStatus.DONE for need in needs)

    def do(self, command: Command) -> None:
        if isinstance(command, StartTask):
            assert command.task not in self.state.tasks
            assert self.may_start(command.task)
            self.state = fold(self.state, e.TaskStarted(command.task, "agent"))
            self.live.add(command.task)
        elif isinstance(command, ExpandTask):
            assert self.may_start(command.task)
            assert self.graph.tasks[command.task].over
            count = self.draw(st.integers(-1, 3))
            failed = e.TaskFinished(command.task, False, error=HASH)
            self.state = fold(self.state, e.TaskExpanded(command.task, count) if count >= 0 else failed)
        elif isinstance(command, SkipTask):
            needs = self.graph.tasks[command.task].needs
            assert any(standing(self.state, need) in (TaskStatus.FAILED, TaskStatus.SKIPPED) for need in needs)
            self.state = fold(self.state, e.TaskSkipped(command.task, command.because))
        elif isinstance(command, ContinueTask):
            assert command.task in self.live
            assert self.state.tasks[command.task].status is TaskStatus.RUNNING
        else:
            raise AssertionError(command)

    def finish_one(self) -> None:
        id = self.draw(st.sampled_from(sorted(self.live)))
        self.live.discard(id)
        ok = self.draw(st.booleans() | st.just(True))
        self.state = fold(self.state, e.TaskFinished(id, ok, HASH if ok else None, None if ok else HASH))


@settings(max_examples=150)
@given(graphs(), st.data())
def test_a_run_ends_exactly_when_all_has_ended_and_no_task_begins_before_those_it_needs(
    graph: Graph, data: st.DataObject
) -> None:
    world = Simulator(graph, data.draw)
    for _ in range(1_000):
        commands = next_commands(graph, world.state, {}, NOW)
        assert commands == next_commands(graph, world.state, {}, NOW)  # asking changes nothing
        assert len(set(commands)) == len(commands)
        ended = {TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.SKIPPED}
        over = all(standing(world.state, name) in ended for name in graph.tasks)
        assert over == any(isinstance(command, FinishRun) for command in commands)
        if over:
            lost = tuple(name for name in graph.order if standing(world.state, name) is not TaskStatus.DONE)
            assert commands == (FinishRun(lost),)
            break
        new = [command for command in commands if not isinstance(command, ContinueTask)]
        assert {command.task for command in commands if isinstance(command, ContinueTask)} == world.live
        if new and (not world.live or data.draw(st.booleans())):
            world.do(data.draw(st.sampled_from(new)))  # one of them, in any order, and then it is asked again
        else:
            world.finish_one()
    else:
        raise AssertionError("it never ended")
    over_ = fold(world.state, e.RunFinished(not lost, HASH, lost))
    assert next_commands(graph, over_, {}, NOW) == ()
    assert over_.status is (RunStatus.FAILED if lost else RunStatus.DONE)


# --- what waits ---------------------------------------------------------------------------------------------

ONE = Graph("app", [Task("work", work)])


def waiting(*reviews: str) -> RunState:
    record = e.CallRecord("work#0", "agent", "1", "work", "pay", HASH, {}, HASH)
    body = e.CallDecided(record, e.VerdictRecord(Outcome.ESCALATE, HASH), HASH, "", reviews)
    found: RunState = fold(begun(), e.TaskStarted("work", "agent"), body)
    return found


def review(*bodies: e.Fact, expires: str = EXPIRES) -> ReviewState:
    opened = e.ReviewOpened("v1", "r1", "work#0", HASH, "pay", "desk", expires, HASH)
    found: ReviewState = fold(None, opened, *bodies)
    return found


YES, NO = e.ReviewRuled("v1", HASH, True, "ann", single_operator=True), e.ReviewRuled("v1", HASH, False, "ann")
CONTINUE, EXPIRE = ContinueTask("work"), ExpireReview("v1")


@pytest.mark.parametrize(
    ("bodies", "now", "commands"),
    [
        ((), NOW, ()),
        ((YES,), NOW, (CONTINUE,)),
        ((NO,), NOW, (CONTINUE,)),
        ((), EXPIRES, (EXPIRE, CONTINUE)),
        ((YES,), EXPIRES, (EXPIRE, CONTINUE)),
        ((NO,), EXPIRES, (CONTINUE,)),
        ((e.ReviewExpired("v1"),), NOW, (CONTINUE,)),
        ((YES, e.ReviewConsumed("v1", "r1", "work#0", HASH)), NOW, (CONTINUE,)),
    ],
)
def test_a_task_that_waits_goes_on_when_its_call_has_an_answer(
    bodies: tuple[e.Fact, ...], now: str, commands: tuple[Command, ...]
) -> None:
    assert next_commands(ONE, waiting("v1"), {"v1": review(*bodies)}, now) == commands


def test_a_call_with_two_reviews_waits_for_both_unless_one_says_no() -> None:
    state = waiting("v1", "v2")
    assert next_commands(ONE, state, {"v1": review(YES), "v2": review()}, NOW) == ()
    assert next_commands(ONE, state, {"v1": review(NO), "v2": review()}, NOW) == (CONTINUE,)
    assert next_commands(ONE, state, {"v1": review(YES), "v2": review(YES)}, NOW) == (CONTINUE,)


def test_the_next_deadline_is_the_first_of_the_open_reviews() -> None:
    late = "2026-01-06T00:00:00.000000Z"
    state = waiting("v1", "v2")
    assert deadline(state, {"v1": review(expires=late), "v2": review()}) == EXPIRES
    assert deadline(state, {"v1": review(expires=late), "v2": review(YES)}) == late
    assert deadline(state, {}) == deadline(begun(), {}) == ""
