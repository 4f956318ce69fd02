"""next_commands(state): the whole orchestration, without doing any of it.

The scheduler does what is said here and appends what happened; then it asks again. Asking twice gives
the same answer, so a wake-up that was lost or came double does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from remit.core.graph import Graph, Task
from remit.core.judging import Standing, judge
from remit.core.lifecycle import (
    CallState,
    RunState,
    RunStatus,
    TaskState,
    TaskStatus,
    is_waiting,
    standing,
)
from remit.core.reviews import ReviewState, ReviewStatus, is_expired


@dataclass(frozen=True, slots=True)
class StartTask:
    """The task (or instance) is ready: append that it started, and run its agent."""

    task: str


@dataclass(frozen=True, slots=True)
class ContinueTask:
    """The task was started before and can go on: run its agent from the top, if it isn't running here."""

    task: str


@dataclass(frozen=True, slots=True)
class ExpandTask:
    """The list the task runs over is there: append how many instances it has."""

    task: str


@dataclass(frozen=True, slots=True)
class SkipTask:
    """A task it needs didn't succeed."""

    task: str
    because: str


@dataclass(frozen=True, slots=True)
class ExpireReview:
    """The review's deadline has passed without a ruling that was used."""

    review: str


@dataclass(frozen=True, slots=True)
class FinishRun:
    """Every task has ended; `failed` are those that didn't succeed."""

    failed: tuple[str, ...]


Command = StartTask | ContinueTask | ExpandTask | SkipTask | ExpireReview | FinishRun

_ENDED = (TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.SKIPPED)


def next_commands(graph: Graph, state: RunState, reviews: Mapping[str, ReviewState], now: str) -> tuple[Command, ...]:
    """Returns what can be done next; nothing where the run waits for people, or is over."""
    if state.status is not RunStatus.RUNNING:
        return ()
    commands: list[Command] = []
    failed: list[str] = []
    over = True
    for name in graph.order:
        status = standing(state, name)
        over = over and status in _ENDED
        if status in (TaskStatus.FAILED, TaskStatus.SKIPPED):
            failed.append(name)
        elif status is TaskStatus.PENDING:
            commands.extend(_ready(graph.tasks[name], state))
        elif status is TaskStatus.EXPANDED:
            commands.extend(_instances(state, state.tasks[name], reviews, now))
        elif status is TaskStatus.RUNNING:
            commands.extend(_going(state, state.tasks[name], reviews, now))
    return (FinishRun(tuple(failed)),) if over else tuple(commands)


def _ready(task: Task, state: RunState) -> Iterator[Command]:
    needs = {need: standing(state, need) for need in task.needs}
    lost = [need for need, status in needs.items() if status in (TaskStatus.FAILED, TaskStatus.SKIPPED)]
    if lost:
        yield SkipTask(task.id, f"{lost[0]} {needs[lost[0]]}")
    elif all(status is TaskStatus.DONE for status in needs.values()):
        yield ExpandTask(task.id) if task.over else StartTask(task.id)


def _instances(state: RunState, parent: TaskState, reviews: Mapping[str, ReviewState], now: str) -> Iterator[Command]:
    for index in range(parent.count):
        task = state.tasks.get(f"{parent.id}[{index}]")
        if task is None:
            yield StartTask(f"{parent.id}[{index}]")
        elif task.status is TaskStatus.RUNNING:
            yield from _going(state, task, reviews, now)


def _going(state: RunState, task: TaskState, reviews: Mapping[str, ReviewState], now: str) -> Iterator[Command]:
    """A task that waits for people goes on when any of its calls has an answer."""
    answered = not task.waiting
    for id in task.waiting:
        call = state.calls[id]
        found = [reviews[review] for review in call.reviews if review in reviews]
        for review in found:
            if (review.waits or review.status is ReviewStatus.APPROVED) and is_expired(review, now):
                yield ExpireReview(review.opened.review)
        answered = answered or judge(found, _digest(call), now, None).standing is not Standing.OPEN
    if answered:
        yield ContinueTask(task.id)


def _digest(call: CallState) -> str:
    return call.current.digest if call.current else ""


def deadline(state: RunState, reviews: Mapping[str, ReviewState]) -> str:
    """Returns when the first open review of the run expires (RFC 3339); "" if none is open."""
    waiting = {review for call in state.calls.values() if is_waiting(call) for review in call.reviews}
    times = [reviews[id].expires for id in waiting if id in reviews and reviews[id].waits]
    return min(times, default="")
