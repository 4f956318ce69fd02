"""Does the kernel's commands in a TaskGroup, and appends what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import orjson

from remit.core import entries as e
from remit.core import kernel as k
from remit.core.canonical import canonical, plain
from remit.core.graph import Agent, Graph
from remit.core.lifecycle import RunStatus, TaskStatus, parent_of
from remit.core.people import deadline
from remit.core.reviews import ReviewState, ReviewStatus
from remit.errors import Conflict, JournalError, RemitError, RunError
from remit.logs import bound, get, is_on
from remit.runtime.ambient import stamp
from remit.runtime.context import Context, TaskRun
from remit.runtime.gate import Gate
from remit.runtime.outside import cause, in_task_of_its_own, place_of, traceback_of, words
from remit.runtime.registry import Registry
from remit.runtime.stream import Draft, RunStream
from remit.runtime.whose import belonging_to
from remit.store.journal import Append

_log = get(__name__)
_BETWEEN_LOOKS = 0.1
"""Seconds between looks for rulings, while other tasks of the run are busy."""


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task failed: the type of the error, its words and, where this process saw it, `path/app.py:12`."""

    task: str
    cause: str
    message: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.task}: {self.cause}: {self.message}" + (f" (at {self.place})" if self.place else "")


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run stands: `status` is done, failed or waiting; `reviews` are the open ones it waits for.

    `failed` are the tasks that failed so far, and `errors` say why. A run in which one failed comes to no good end any
    more, also while it still waits.
    """

    run: str
    status: str
    output: object = None
    failed: tuple[str, ...] = ()
    reviews: tuple[str, ...] = ()
    errors: tuple[TaskError, ...] = ()


class Drive:
    """Drives a run that this worker owns, as far as it goes: to its end, or until it only waits for people."""

    def __init__(self, gate: Gate, registry: Registry, graph: Graph, stream: RunStream) -> None:
        self._gate = gate
        self._registry = registry
        self._graph = graph
        self._stream = stream
        self._live: set[str] = set()
        self._lists: dict[str, list[object]] = {}
        self._places: dict[str, str] = {}
        self._wake = asyncio.Event()

    async def drive(self) -> RunReport:
        """Returns when the run is over or parked.

        Raises:
            RunError, JournalError: it can't go on here; whatever was acknowledged is in the journal.
        """
        with bound(run=self._stream.state.run):
            _log.info("driving", graph=self._graph.name, epoch=self._stream.state.epoch)
            await self._drive()
            report = self.report()
            _log.info("run " + report.status, reviews=",".join(report.reviews), failed=",".join(report.failed))
            return report

    async def _drive(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch())
                while await self._step(group):
                    await self._wake.wait()
                    self._wake.clear()
                watcher.cancel()
        except BaseExceptionGroup as errors:
            self._stream.check()
            raise _first(errors) from errors
        self._stream.check()

    def report(self) -> RunReport:
        """Returns how the run stands."""
        state = self._stream.state
        errors = tuple(self._errors())
        failed = tuple(error.task for error in errors)
        if state.status is RunStatus.RUNNING:
            open_ = sorted(id for id, review in self._stream.reviews.items() if _is_open(review))
            return RunReport(state.run, "waiting", failed=failed, reviews=tuple(open_), errors=errors)
        finished = state.finished
        output = None
        if finished is not None and finished.output is not None and self._stream.has(state.head.seq, "/output"):
            output = orjson.loads(self._stream.value(state.head.seq, "/output", finished.output))
        return RunReport(state.run, state.status.value, output, finished.failed if finished else (), errors=errors)

    def _errors(self) -> Iterator[TaskError]:
        """Why tasks failed; of one whose words were erased, that they were."""
        for id, task in sorted(self._stream.state.tasks.items()):
            if task.status is TaskStatus.FAILED:
                there = self._stream.has(task.seq, "/error")
                said = plain(self._stream.value(task.seq, "/error", task.commitment)) if there else "(erased)"
                yield TaskError(id, task.cause, str(said), self._places.get(id, ""))

    async def _step(self, group: asyncio.TaskGroup) -> bool:
        """Does all that can be done now. Returns whether something is still running."""
        while True:
            self._stream.check()
            commands = k.next_commands(self._graph, self._stream.state, self._stream.reviews, self._stream.now())
            changed = False
            for command in commands:
                changed = await self._do(command, group) or changed
            if not changed:
                return bool(self._live)

    async def _do(self, command: k.Command, group: asyncio.TaskGroup) -> bool:
        if isinstance(command, (k.StartTask, k.ContinueTask)):
            return self._go(command, group)
        if isinstance(command, k.ExpandTask):
            await self._expand(command.task)
        elif isinstance(command, k.SkipTask):
            self._enqueue(e.TaskSkipped(command.task, command.because))
        elif isinstance(command, k.ExpireReview):
            await self._expire(command.review)
        else:
            await self._finish(command)
        return True

    def _enqueue(self, body: e.Fact) -> None:
        self._stream.enqueue(self._stream.draft(), "scheduler", body)

    # --- tasks ---

    def _go(self, command: k.StartTask | k.ContinueTask, group: asyncio.TaskGroup) -> bool:
        """Starts the task's agent, where it isn't running already and the limits permit."""
        id = command.task
        parent = parent_of(id)
        task = self._graph.tasks[parent or id]
        busy = sum(1 for live in self._live if parent_of(live) == parent) if parent else 0
        if id in self._live or len(self._live) >= self._graph.limit or (task.limit and busy >= task.limit):
            return False
        if isinstance(command, k.StartTask):
            self._enqueue(e.TaskStarted(id, task.runs.name, task.runs.version, self._labels(task.id)))
        self._live.add(id)
        group.create_task(self._run(id, task.runs))
        return True

    def _labels(self, id: str) -> tuple[str, ...]:
        """Labels of the outputs that a task is given."""
        needs = self._graph.tasks[id].needs
        return tuple(sorted({label for need in needs for label in self._stream.state.tasks[need].labels}))

    async def _expand(self, id: str) -> None:
        try:
            self._enqueue(e.TaskExpanded(id, len(self._items(id)), self._labels(id)))
        except TypeError as error:
            await self._ended(id, b"", error)

    async def _run(self, id: str, agent: Agent) -> None:
        run = TaskRun(self._gate, self._registry, self._stream, id, agent.name, agent.version)
        error: BaseException | None = None
        data = b"null"
        with bound(task=id):
            try:
                data = await self._agent(id, agent, Context(run))
            except (RunError, JournalError) as stop:
                self._stream.break_(stop)
                raise
            except Exception as raised:  # noqa: BLE001 - an agent may raise anything; its task has then failed
                error = raised
            if error is not None and not run.parked:
                await run.quiet()  # what it left under way is written before its task ends
            run.over = True
            self._stream.check()
            if not run.parked:
                try:
                    run.check_complete()
                except RunError as stop:
                    self._stream.break_(stop)
                    raise
                await self._ended(id, data, error)
            self._live.discard(id)
            self._wake.set()

    async def _agent(self, id: str, agent: Agent, context: Context) -> bytes:
        arguments = [agent.input.load(self._input(id))] if agent.takes_input else []
        work = partial(belonging_to, context, partial(agent.function, context, *arguments))
        data = agent.output.dump(await in_task_of_its_own(f"agent {agent.name} of task {id}", work))
        if len(data) > (most := self._gate.limits.output):
            raise ValueError(
                f"what agent `{agent.name}` returned has {len(data):,} bytes as JSON, and may have {most:,}: return a"
                " reference, or raise `Limits.output`"
            )
        return data

    async def _ended(self, id: str, data: bytes, error: BaseException | None) -> None:
        draft = self._stream.draft()
        if error is None:
            body = e.TaskFinished(id, True, output=draft.commit("/output", data))
        else:
            said = draft.commit("/error", canonical(words(error)))
            if place := place_of(error):
                self._places[id] = place
            if is_on("info"):
                trace = traceback_of(error)
                _log.info("task failed", error=f"{cause(error)}: {words(error)}", at=place, traceback=trace)
            body = e.TaskFinished(id, False, error=said, cause=cause(error))
        await asyncio.shield(self._stream.enqueue(draft, "scheduler", body, keep=True))

    # --- inputs and outputs ---

    def _input(self, id: str) -> bytes:
        parent = parent_of(id)
        task = self._graph.tasks[parent or id]
        if parent:
            return canonical(self._items(parent)[int(id[len(parent) + 1 : -1])])
        if not task.needs:
            started = self._stream.state.started
            return self._stream.value(0, "/input", started.input)
        if len(task.needs) == 1:
            return canonical(self._output(task.needs[0]))
        return canonical({need: self._output(need) for need in task.needs})

    def _items(self, id: str) -> list[object]:
        """The list that a fan-out runs over."""
        if id not in self._lists:
            over = self._graph.tasks[id].over or ""
            found = self._output(over)
            if not isinstance(found, list):
                raise TypeError(f"it runs over the output of `{over}`, which is no list but {type(found).__name__}")
            self._lists[id] = found
        return self._lists[id]

    def _output(self, id: str) -> object:
        task = self._stream.state.tasks[id]
        if task.status is TaskStatus.EXPANDED:
            return [self._output(f"{id}[{index}]") for index in range(task.count)]
        return plain(self._stream.value(task.seq, "/output", task.commitment))

    async def _finish(self, command: k.FinishRun) -> None:
        draft = self._stream.draft()
        output = None
        if not command.failed:
            leaves = self._graph.leaves
            value = self._output(leaves[0]) if len(leaves) == 1 else {leaf: self._output(leaf) for leaf in leaves}
            output = draft.commit("/output", canonical(value))
        body = e.RunFinished(not command.failed, output, command.failed)
        await asyncio.shield(self._stream.enqueue(draft, "scheduler", body, keep=True))

    # --- reviews ---

    async def _expire(self, review: str) -> None:
        state = self._stream.reviews[review]
        draft = Draft(f"review/{review}", state.head, self._stream.ambient)
        body: e.Fact = e.ReviewExpired(review)
        queue = self._gate.policies.people.queue(state.terms.next) if state.waits and state.terms.next else None
        if queue is not None:
            expires = stamp(deadline(self._stream.ambient.now(), queue))
            body = e.ReviewHandedOn(review, queue.name, expires, queue.terms)
        with suppress(Conflict):  # then somebody ruled, in time
            await self._stream.journal.append(Append((draft.seal("scheduler", body),)))
        await self.refresh()

    async def refresh(self) -> None:
        """Reads on what others may have written: the rulings on this run's reviews."""
        changed = False
        for id, seen in list(self._stream.reviews.items()):
            if seen.waits or seen.status is ReviewStatus.APPROVED:
                changed = await self._stream.read_on(id) or changed
        if changed:
            self._wake.set()

    async def _watch(self) -> None:
        """Notices rulings while other tasks of the run are busy."""
        journal, ambient = self._stream.journal, self._stream.ambient
        position = await journal.position()
        while True:
            position = await journal.wait(position, 60.0)
            if self._stream.state.waiting:
                await self.refresh()
            await ambient.sleep(_BETWEEN_LOOKS)


def _is_open(review: ReviewState) -> bool:
    return review.waits


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that says most: ours before others, the first before later ones."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in flat if isinstance(error, RemitError)), flat[0])
