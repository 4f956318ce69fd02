"""What agent code sees: `ctx.call`, `ctx.branches`, `ctx.now`, `ctx.uuid`, `ctx.random`.

Calls are numbered in their order within a task. An agent that was interrupted runs again from the top,
and everything it asks for here is answered from the journal until the frontier is reached: so what it does
between these calls must depend on nothing else.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from remit.core.entries import Recorded
from remit.core.lifecycle import CallStatus
from remit.core.typed import Tool
from remit.errors import JournalError, Misuse, RunError
from remit.logs import bound, get
from remit.runtime.ambient import stamp
from remit.runtime.answers import told
from remit.runtime.drafts import Ask
from remit.runtime.gate import Gate, Waiting
from remit.runtime.recover import answer, mismatch
from remit.runtime.registry import Registry
from remit.runtime.stream import RunStream
from remit.runtime.whose import belonging_to, belongs_here

_log = get(__name__)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class TaskRun:
    """One going of one task: what its context and the contexts of its branches share."""

    def __init__(self, gate: Gate, registry: Registry, stream: RunStream, task: str, agent: str, version: str) -> None:
        self.gate = gate
        self.registry = registry
        self.stream = stream
        self.task = task
        self.agent = agent
        self.version = version
        self.parked = False
        self.over = False
        """Whether the agent has ended: its contexts are of no more use."""
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Future[None]] = set()
        prefix = f"{task}#"
        state = stream.state
        self._asked: list[str] = []
        self._unanswered = {id for ids in (state.calls, state.recorded) for id in ids if id.startswith(prefix)}

    def answered(self, id: str) -> None:
        """Notes that the agent came by what the journal has under this id."""
        self._unanswered.discard(id)

    def begins(self, id: str) -> asyncio.Future[None]:
        """Notes that a call is under way; the future that it returns is set when it isn't any more."""
        self._asked.append(id)
        ended: asyncio.Future[None] = self._loop.create_future()
        self._under_way.add(ended)
        ended.add_done_callback(self._under_way.discard)
        return ended

    async def quiet(self) -> None:
        """Waits for the calls that the agent has left under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def check_owner(self, context: Context) -> None:
        """Raises Misuse where other code than the one that the context was made for uses it."""
        whose = f"this context is of task `{self.task}` of run `{self.stream.state.run}`"
        if self.over:
            raise Misuse(f"{whose}, which has ended: a context is of use only while its agent runs")
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if not here:
            raise Misuse(f"{whose}: it is used in the event loop of its run only, not in another thread")
        if not belongs_here(context):
            raise Misuse(
                f"{whose}, or of one of its branches, and it is used by other code: each agent and each branch uses the"
                " context that it was given"
            )

    def check_complete(self) -> None:
        """Raises where the agent left calls open.

        Raises:
            ReplayMismatch: the journal has calls that it no longer makes.
            RunError: it walked away from a call that was begun: nobody knows what became of it.
        """
        for id in self._asked:
            call = self.stream.state.calls.get(id)
            if call is not None and call.status is CallStatus.INTENDED:
                raise RunError(
                    f"run `{self.stream.state.run}`: the agent ended while its call `{id}` was under way:"
                    " await every call, and let the tool's own timeout end it; resume the run to settle it"
                )
        if self._unanswered:
            first = min(self._unanswered)
            call = self.stream.state.calls.get(first)
            then = {"tool": call.tool} if call else {"recorded": self.stream.state.recorded[first].what}
            raise mismatch(self.stream, first, then, {})


class Context:
    """An agent's only way to the world."""

    def __init__(self, run: TaskRun, prefix: str = "") -> None:
        self._run = run
        self._prefix = prefix
        self._next = 0
        self._busy = False
        self._parked = False
        self._notices: list[str] = []

    @property
    def notices(self) -> tuple[str, ...]:
        """What policies and people changed of this context's calls, in words, in order: the same at every replay.

        A call that a reviewer edited returns the result of what ran, and one they answered what they said.
        """
        return tuple(self._notices)

    @property
    def run(self) -> str:
        """The run's id."""
        return self._run.stream.state.run

    @property
    def task(self) -> str:
        """The task's id; `task[3]` in a fan-out."""
        return self._run.task

    @property
    def principal(self) -> str:
        """The user or service this run acts for."""
        return self._run.stream.state.started.principal

    async def call(self, tool: Tool[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Asks for a tool to be run, and returns its result. The only way to run one.

        Where people have to be asked first, the task parks here, and the agent is run again from the top once
        they have ruled, in this process or another.

        Raises:
            InvalidArguments: the arguments don't fit the tool's schema.
            Denied: a policy or a person said no.
            ToolFailed: the tool ran and failed.
            Misuse: another call of this context is under way: use `ctx.branches`. Or the context is another agent's or
                branch's, or its agent has ended.
        """
        if not isinstance(tool, Tool):
            raise Misuse(f"`ctx.call` takes a tool, not {type(tool).__name__}: make one with `@tool`")
        return tool.results.load(await self._governed(tool.name, _by_name(tool, args, kwargs)))

    async def _governed(self, tool: str, arguments: dict[str, Any]) -> bytes:
        run, stream = self._run, self._run.stream
        self._check()
        ask = Ask(self._id(), run.task, run.agent, run.version, tool, arguments)
        self._busy = True
        ended = run.begins(ask.id)
        try:
            with bound(call=ask.id):
                result = await self._gated(ask)
            if words := told(stream.state.calls[ask.id]):
                self._notices.append(words)
            return result
        except Waiting:
            run.parked = self._parked = True
            # Unwinds the agent as a cancellation does: `except Exception` can't stop it, `finally` runs.
            raise asyncio.CancelledError from None
        except (RunError, JournalError) as error:
            stream.break_(error)  # whatever the agent makes of it, nothing more happens on this run here
            raise
        finally:
            self._busy = False
            if not ended.done():
                ended.set_result(None)

    async def _gated(self, ask: Ask) -> bytes:
        """Through the gate, or from the journal where that has the call already."""
        run, stream = self._run, self._run.stream
        known = stream.state.calls.get(ask.id)
        try:
            if known is None and ask.id not in stream.state.recorded:
                return await run.gate.call(stream, ask)
            run.answered(ask.id)
            if known is None:
                what = stream.state.recorded[ask.id].what
                raise mismatch(stream, ask.id, {"recorded": what}, {"tool": ask.tool})
            return await answer(run.gate, run.registry, stream, ask, known)
        except Waiting:
            _log.info("parked", tool=ask.tool)
            raise

    async def branches(self, *functions: Callable[[Context], Awaitable[T]]) -> list[T]:
        """Runs functions of a context at once, each with a numbering of its own, and returns their results.

        All of them go on to their end, or until they wait for people; then the first error in their order is raised.
        """
        self._check()
        contexts = [Context(self._run, f"{self._prefix}{self._next}.{index}.") for index in range(len(functions))]
        self._next += 1
        results: list[T | Exception | None] = [None] * len(functions)

        async def branch(index: int) -> None:
            context = contexts[index]
            try:
                results[index] = await belonging_to(context, partial(functions[index], context))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                if not contexts[index]._parked:
                    results[index] = RuntimeError("a branch cancelled itself")
            except Exception as error:  # noqa: BLE001 - raised below, once the others have come to an end
                results[index] = error

        self._busy = True
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(len(functions)):
                    group.create_task(branch(index))
        finally:
            self._busy = False
        if any(context._parked for context in contexts):
            self._parked = True
            raise asyncio.CancelledError
        found: list[T] = []
        for result in results:
            if isinstance(result, Exception):
                raise result
            found.append(cast(T, result))
        return found

    def now(self) -> datetime:
        """The time, in UTC: recorded, so that it is the same when the agent is run again."""
        return datetime.fromisoformat(self._recorded("now", lambda: stamp(self._run.stream.ambient.now())))

    def uuid(self) -> uuid.UUID:
        """A random UUID (version 4): recorded."""
        entropy = self._run.stream.ambient.entropy
        return uuid.UUID(self._recorded("uuid", lambda: str(uuid.UUID(bytes=entropy(16), version=4))))

    def random(self) -> float:
        """A random number from 0 up to 1, 53 bits of it: recorded."""
        entropy = self._run.stream.ambient.entropy
        return int(self._recorded("random", lambda: str(int.from_bytes(entropy(7)) >> 3))) / 2**53

    def _recorded(self, what: str, make: Callable[[], str]) -> str:
        self._check()
        run, stream = self._run, self._run.stream
        id = self._id()
        known = stream.state.recorded.get(id)
        if known is not None and known.what == what:
            run.answered(id)
            return known.value
        if known is not None or id in stream.state.calls:
            then = {"recorded": known.what} if known else {"tool": stream.state.calls[id].tool}
            error = mismatch(stream, id, then, {"recorded": what})
            stream.break_(error)
            raise error
        value = make()
        # Not waited for: the writer keeps the order, so it is in the journal before any effect that follows.
        stream.enqueue(stream.draft(), f"agent:{run.agent}", Recorded(id, run.task, what, value))
        return value

    def _id(self) -> str:
        position = f"{self._prefix}{self._next}"
        self._next += 1
        return f"{self._run.task}#{position}"

    def _check(self) -> None:
        self._run.check_owner(self)
        if self._parked:
            raise asyncio.CancelledError
        self._run.stream.check()
        if self._busy:
            raise Misuse("this context is waiting for another call: for calls at once use `ctx.branches(...)`")


def _by_name(tool: Tool[..., Any], args: tuple[object, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Names positional arguments. One too many, or one given twice, gets a name that no tool can have: one that
    ends in a blank.

    So it is refused where every call is, and the refusal is in the journal.
    """
    names = [*tool.spec.names, *(f"positional argument {n + 1} " for n in range(len(args)))]
    named = dict(kwargs)
    for name, value in zip(names, args, strict=False):
        named[f"{name}, given twice " if name in kwargs else name] = value
    return named
