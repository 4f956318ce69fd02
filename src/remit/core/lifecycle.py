"""Transition tables of run, task, call and review; `apply(state, entry) -> state`.

This is the one fold: live, at recovery, in projections and in verification. A table that has no row for
what an entry says means the entry can't be there, and `apply` raises. The docs draw their diagrams from
the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import msgspec
from rpds import HashTrieMap

from remit.core import entries as e
from remit.core.counting import CounterState, apply_counter
from remit.core.entries import Entry, Head, Outcome
from remit.core.grants import GrantState, apply_grant
from remit.core.obligations import joined
from remit.core.reviews import ReviewState, apply_review
from remit.errors import Tampered


class RunStatus(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class TaskStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    EXPANDED = "expanded"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class CallStatus(StrEnum):
    REQUESTED = "requested"
    REJECTED = "rejected"
    REFUSED = "refused"
    WAITING = "waiting"
    INTENDED = "intended"
    IN_DOUBT = "in_doubt"
    SETTLED = "settled"


TASKS: Mapping[tuple[TaskStatus, str], TaskStatus] = {
    (TaskStatus.PENDING, "started"): TaskStatus.RUNNING,
    (TaskStatus.PENDING, "expanded"): TaskStatus.EXPANDED,
    (TaskStatus.PENDING, "skipped"): TaskStatus.SKIPPED,
    (TaskStatus.PENDING, "failed"): TaskStatus.FAILED,
    (TaskStatus.RUNNING, "finished"): TaskStatus.DONE,
    (TaskStatus.RUNNING, "failed"): TaskStatus.FAILED,
}

CALLS: Mapping[tuple[CallStatus, str], CallStatus] = {
    (CallStatus.REQUESTED, "rejected"): CallStatus.REJECTED,
    (CallStatus.REQUESTED, "denied"): CallStatus.REFUSED,
    (CallStatus.REQUESTED, "escalated"): CallStatus.WAITING,
    (CallStatus.REQUESTED, "allowed"): CallStatus.INTENDED,
    (CallStatus.WAITING, "denied"): CallStatus.REFUSED,
    (CallStatus.WAITING, "refused"): CallStatus.REFUSED,
    (CallStatus.WAITING, "escalated"): CallStatus.WAITING,
    (CallStatus.WAITING, "allowed"): CallStatus.INTENDED,
    (CallStatus.WAITING, "answered"): CallStatus.SETTLED,
    (CallStatus.INTENDED, "settled"): CallStatus.SETTLED,
    (CallStatus.INTENDED, "in doubt"): CallStatus.IN_DOUBT,
    (CallStatus.INTENDED, "intended again"): CallStatus.INTENDED,
    (CallStatus.IN_DOUBT, "in doubt"): CallStatus.IN_DOUBT,
    (CallStatus.IN_DOUBT, "intended again"): CallStatus.INTENDED,
    (CallStatus.IN_DOUBT, "settled"): CallStatus.SETTLED,
}

FRUITLESS = 5
"""Owners in a row without progress, after which a run is quarantined: only `remit resume RUN` takes it up."""

_EVENT = {Outcome.ALLOW: "allowed", Outcome.ESCALATE: "escalated", Outcome.DENY: "denied"}

# --- states ------------------------------------------------------------------------------------------


class Spent(msgspec.Struct, frozen=True):
    """What was intended so far: number of calls, and their cost."""

    calls: int = 0
    cost: Decimal = Decimal(0)


class History(msgspec.Struct, frozen=True):
    """How the decisions in a run came out so far."""

    allowed: int = 0
    escalated: int = 0
    denied: int = 0


class TaskState(msgspec.Struct, frozen=True):
    """A task, or one instance `task[i]` of a fan-out; `seq` is the entry that holds its output or error."""

    id: str
    status: TaskStatus = TaskStatus.PENDING
    agent: str = ""
    count: int = 0
    """Of an expanded task: how many instances, and how many of them ended, and ended well."""
    ended: int = 0
    succeeded: int = 0
    labels: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    """Ids of its calls that wait for people."""
    seq: int = -1
    commitment: str = ""
    cause: str = ""


class CallState(msgspec.Struct, frozen=True):
    """A call; `seq` is the entry it was requested in, `settled` the one that holds its result or error."""

    id: str
    task: str
    tool: str
    status: CallStatus
    seq: int
    record: e.CallRecord | None = None
    key: str = ""
    cost: str = "0"
    verdict: e.VerdictRecord | None = None
    decided: int = -1
    """The entry with the latest verdict."""
    facts: str = ""
    """The commitment to what that verdict is on."""
    reviews: tuple[str, ...] = ()
    because: str = ""
    settled: int = -1
    commitment: str = ""
    ok: bool = False
    cause: str = ""
    attempts: int = 0
    labels: tuple[str, ...] = ()
    """Of its result."""
    said: str = ""
    """Of a rejected call: the commitment to what was asked for."""
    edited: dict[str, tuple[str, int]] = {}
    """Arguments that obligations or a reviewer changed: commitment, and the entry that holds it."""
    digest: str = ""
    """Of the call with these; `record` is what the agent asked for."""
    editor: str = ""
    obliged: tuple[e.Obligation, ...] = ()
    """By every decision on it so far."""
    answered: str = ""
    """The reviewer who answered in the tool's place."""
    grants: tuple[str, ...] = ()
    """Those that it was allowed by."""

    @property
    def lost(self) -> bool:
        """Whether it ran to a good end, and its result can't be had: `commitment` is then of the reason in words."""
        return self.ok and self.cause != ""

    @property
    def kept(self) -> str:
        """Where the entry of its end keeps what came of it: `/result` or `/error`."""
        return "/result" if self.ok and not self.lost else "/error"

    @property
    def current(self) -> e.CallRecord | None:
        """The call as it is decided and run: with what reviewers changed."""
        if self.record is None or not self.edited:
            return self.record
        args = {**self.record.args, **{name: said for name, (said, _) in self.edited.items()}}
        return msgspec.structs.replace(self.record, args=args, digest=self.digest)

    @property
    def by_people(self) -> frozenset[str]:
        """Names of the arguments that a reviewer changed; what obligations did, the entry of the request holds."""
        return frozenset(name for name, (_, seq) in self.edited.items() if seq != self.seq)

    @property
    def places(self) -> dict[str, tuple[int, str, str]]:
        """Where each argument is found as it is decided and run: entry, path, and the commitment to it."""
        args = self.record.args if self.record else {}
        found = {name: (self.seq, f"/args/{name}", said) for name, said in args.items()}
        return found | {name: (seq, f"/edited/{name}", said) for name, (said, seq) in self.edited.items()}


class Vouching(msgspec.Struct, frozen=True):
    """Somebody's word that the run has taken into account, and the entry that says so."""

    seq: int
    body: e.RunVouched

    @property
    def hash(self) -> str:
        """Of the entry that holds their word."""
        return self.body.hash


class RunState(msgspec.Struct, frozen=True):
    """Everything a run's stream says."""

    run: str
    started: e.RunStarted
    at: str
    head: Head
    status: RunStatus = RunStatus.RUNNING
    epoch: int = 0
    worker: str = ""
    fruitless: int = 0
    """How many owners in a row came and went without any progress."""
    tasks: HashTrieMap[str, TaskState] = HashTrieMap()
    calls: HashTrieMap[str, CallState] = HashTrieMap()
    recorded: HashTrieMap[str, e.Recorded] = HashTrieMap()
    spent: Spent = Spent()
    spent_by_tool: HashTrieMap[str, Spent] = HashTrieMap()
    history: History = History()
    last: HashTrieMap[str, str] = HashTrieMap()
    """Tool to the outcome of its latest decision."""
    settled: HashTrieMap[str, int] = HashTrieMap()
    """Tool to how many of its calls came to a good end."""
    finished: e.RunFinished | None = None
    ended: str = ""
    """When it finished, RFC 3339; empty while it hasn't."""
    waiting: int = 0
    """How many calls wait for people."""
    vouched: tuple[Vouching, ...] = ()


State = RunState | ReviewState | GrantState | CounterState
_K = TypeVar("_K", bound=StrEnum)

# --- the fold ----------------------------------------------------------------------------------------


def fold(entries: Iterable[Entry]) -> State | None:
    """Returns the state that a stream's entries say, first to last; None for no entry."""
    state: State | None = None
    for entry in entries:
        state = apply(state, entry)
    return state


def apply(state: State | None, entry: Entry) -> State:
    """Returns the state after `entry`; `state` is None before the first of a stream.

    Raises:
        Tampered: no transition table has a row for it: such an entry can't be there.
    """
    body = entry.body
    if state is None:
        if isinstance(body, e.RunStarted) and entry.stream == f"run/{body.run}":
            return RunState(run=body.run, started=body, at=entry.at, head=entry.head)
        if isinstance(body, e.ReviewOpened) and entry.stream == f"review/{body.review}":
            return ReviewState(opened=body, at=entry.at, head=entry.head)
        if isinstance(body, e.GrantMade) and entry.stream == f"grant/{body.grant}":
            return GrantState(made=body, at=entry.at, head=entry.head)
        if isinstance(body, e.CounterCounted) and entry.stream.startswith("counter/"):
            return apply_counter(None, entry)
        raise _wrong(entry, f"a stream can't begin with `{entry.kind}`")
    if isinstance(state, ReviewState):
        return apply_review(state, entry)
    if isinstance(state, GrantState):
        return apply_grant(state, entry)
    if isinstance(state, CounterState):
        return apply_counter(state, entry)
    if state.status is not RunStatus.RUNNING:
        raise _wrong(entry, f"the run is {state.status} already")
    state = _run(state, entry)
    return msgspec.structs.replace(state, head=entry.head)


def _run(state: RunState, entry: Entry) -> RunState:
    body = entry.body
    if isinstance(body, e.Owned):
        if body.epoch != state.epoch + 1:
            raise _wrong(entry, f"epoch {body.epoch} after {state.epoch}")
        return msgspec.structs.replace(state, epoch=body.epoch, worker=body.worker, fruitless=state.fruitless + 1)
    if state.fruitless and not (isinstance(body, e.CallIntendedAgain) and body.because != "ruled"):
        # Beginning a call once more, as the owner before did, is no progress: perhaps it is what kills them.
        state = msgspec.structs.replace(state, fruitless=0)
    if isinstance(body, (e.TaskStarted, e.TaskExpanded, e.TaskSkipped, e.TaskFinished)):
        return _task(state, entry, body)
    if isinstance(body, e.RunVouched):
        return msgspec.structs.replace(state, vouched=(*state.vouched, Vouching(entry.seq, body)))
    if isinstance(body, e.Recorded):
        return msgspec.structs.replace(state, recorded=state.recorded.insert(body.id, body))
    if isinstance(body, e.RunFinished):
        status = RunStatus.DONE if body.ok else RunStatus.FAILED
        return msgspec.structs.replace(state, status=status, finished=body, ended=entry.at)
    return _call(state, entry)


def _task(
    state: RunState, entry: Entry, body: e.TaskStarted | e.TaskExpanded | e.TaskSkipped | e.TaskFinished
) -> RunState:
    task = state.tasks.get(body.task) or TaskState(id=body.task)
    change = msgspec.structs.replace
    if isinstance(body, e.TaskStarted):
        task = change(task, status=_step(TASKS, task.status, "started", entry), agent=body.agent, labels=body.labels)
    elif isinstance(body, e.TaskExpanded):
        task = change(task, status=_step(TASKS, task.status, "expanded", entry), count=body.count, labels=body.labels)
    elif isinstance(body, e.TaskSkipped):
        task = change(task, status=_step(TASKS, task.status, "skipped", entry), cause=body.because)
    else:
        status = _step(TASKS, task.status, "finished" if body.ok else "failed", entry)
        commitment = (body.output if body.ok else body.error) or ""
        task = change(task, status=status, seq=entry.seq, commitment=commitment, cause=body.cause)
    tasks = state.tasks.insert(task.id, task)
    if isinstance(body, e.TaskFinished) and (parent := tasks.get(parent_of(task.id))) is not None:
        parent = change(parent, ended=parent.ended + 1, succeeded=parent.succeeded + body.ok)
        parent_labels = tuple(sorted({*parent.labels, *task.labels}))
        tasks = tasks.insert(parent.id, change(parent, labels=parent_labels))
    return change(state, tasks=tasks)


def _call(state: RunState, entry: Entry) -> RunState:
    body = entry.body
    if isinstance(body, e.CallRejected):
        call = CallState(
            body.id, body.task, body.tool, CallStatus.REJECTED, entry.seq, commitment=body.error, said=body.args
        )
        return _put(state, entry, None, call)
    if isinstance(body, e.CallDecided):
        record = body.call
        status = _step(CALLS, CallStatus.REQUESTED, _EVENT[body.verdict.outcome], entry)
        call = CallState(
            record.id, record.task, record.tool, status, entry.seq, record=record, key=body.key, cost=body.cost,
            verdict=body.verdict, decided=entry.seq, reviews=body.reviews, digest=body.digest, facts=body.facts,
            edited={name: (said, entry.seq) for name, said in body.edited.items()}, obliged=body.verdict.obliged,
            grants=body.grants,
        )  # fmt: skip
        state = _count(_put(state, entry, None, call), record.tool, body.verdict.outcome)
        return _spend(state, entry, call) if body.key else state
    if not isinstance(
        body,
        (e.CallDecidedAgain, e.CallRefused, e.CallAnswered, e.CallSettled, e.CallInDoubt, e.CallIntendedAgain),
    ):
        raise _wrong(entry, f"`{entry.kind}` does not belong in a run's stream")
    old = state.calls.get(body.id)
    if old is None:
        raise _wrong(entry, f"there is no call `{body.id}`")
    change = msgspec.structs.replace
    if isinstance(body, e.CallDecidedAgain):
        status = _step(CALLS, old.status, _EVENT[body.verdict.outcome], entry)
        reviews = body.reviews or old.reviews
        call = change(
            old, status=status, verdict=body.verdict, decided=entry.seq, facts=body.facts, key=body.key, reviews=reviews
        )
        if body.verdict.obliged:
            call = change(call, obliged=joined(old.obliged, body.verdict.obliged))
        if body.edited:
            edited = {**old.edited, **{name: (said, entry.seq) for name, said in body.edited.items()}}
            call = change(call, edited=edited, digest=body.digest, editor=body.editor)
        state = _count(_put(state, entry, old, call), old.tool, body.verdict.outcome)
        return _spend(state, entry, call) if body.key else state
    if isinstance(body, e.CallRefused):
        call = change(old, status=_step(CALLS, old.status, "refused", entry), because=body.because)
    elif isinstance(body, e.CallAnswered):
        status = _step(CALLS, old.status, "answered", entry)
        call = change(
            old, status=status, settled=entry.seq, commitment=body.result, ok=True, answered=body.reviewer,
            labels=body.labels,
        )  # fmt: skip
        state = _read(state, old.task, body.labels)
    elif isinstance(body, e.CallInDoubt):
        call = change(old, status=_step(CALLS, old.status, "in doubt", entry), reviews=(body.review,))
    elif isinstance(body, e.CallIntendedAgain):
        call = change(old, status=_step(CALLS, old.status, "intended again", entry))
    else:
        status = _step(CALLS, old.status, "settled", entry)
        commitment = body.result or body.error or ""
        call = change(
            old, status=status, settled=entry.seq, ok=body.ok, cause=body.cause, commitment=commitment,
            attempts=body.attempts, labels=body.labels,
        )  # fmt: skip
        state = _read(state, call.task, body.labels)
        if body.ok:
            done = state.settled.get(call.tool) or 0
            state = change(state, settled=state.settled.insert(call.tool, done + 1))
    return _put(state, entry, old, call)


def _put(state: RunState, entry: Entry, old: CallState | None, call: CallState) -> RunState:
    """Stores the call, and keeps the lists of what waits."""
    if old is None and call.id in state.calls:
        raise _wrong(entry, f"call `{call.id}` was requested before")
    task = state.tasks.get(call.task)
    if task is None or task.status is not TaskStatus.RUNNING:
        raise _wrong(entry, f"call `{call.id}`: task `{call.task}` is not running")
    calls = state.calls.insert(call.id, call)
    was, is_ = old is not None and is_waiting(old), is_waiting(call)
    if was == is_:
        return msgspec.structs.replace(state, calls=calls)
    waiting = (*task.waiting, call.id) if is_ else tuple(id for id in task.waiting if id != call.id)
    tasks = state.tasks.insert(task.id, msgspec.structs.replace(task, waiting=waiting))
    return msgspec.structs.replace(state, calls=calls, tasks=tasks, waiting=state.waiting + (1 if is_ else -1))


def _count(state: RunState, tool: str, outcome: Outcome) -> RunState:
    old = state.history
    history = History(
        old.allowed + (outcome is Outcome.ALLOW),
        old.escalated + (outcome is Outcome.ESCALATE),
        old.denied + (outcome is Outcome.DENY),
    )
    return msgspec.structs.replace(state, history=history, last=state.last.insert(tool, outcome.value))


def _spend(state: RunState, entry: Entry, call: CallState) -> RunState:
    try:
        cost = Decimal(call.cost)
    except ArithmeticError as error:
        raise _wrong(entry, f"the cost `{call.cost}` is not a number") from error
    tool = state.spent_by_tool.get(call.tool) or Spent()
    return msgspec.structs.replace(
        state,
        spent=Spent(state.spent.calls + 1, state.spent.cost + cost),
        spent_by_tool=state.spent_by_tool.insert(call.tool, Spent(tool.calls + 1, tool.cost + cost)),
    )


def _read(state: RunState, task_id: str, labels: tuple[str, ...]) -> RunState:
    task = state.tasks.get(task_id)
    if task is None or set(labels) <= set(task.labels):
        return state
    task = msgspec.structs.replace(task, labels=tuple(sorted({*task.labels, *labels})))
    return msgspec.structs.replace(state, tasks=state.tasks.insert(task_id, task))


# --- reading a state ---------------------------------------------------------------------------------


def is_quarantined(state: RunState) -> bool:
    """Whether workers leave the run alone: it ended one owner after the other without getting anywhere."""
    return state.status is RunStatus.RUNNING and state.fruitless >= FRUITLESS


def is_waiting(call: CallState) -> bool:
    """Whether the call waits for people."""
    return call.status in (CallStatus.WAITING, CallStatus.IN_DOUBT)


def failed_tasks(state: RunState) -> list[str]:
    """Returns the tasks that failed so far, sorted. A run in which one failed comes to no good end any more."""
    return sorted(id for id, task in state.tasks.items() if task.status is TaskStatus.FAILED)


def parent_of(task: str) -> str:
    """Returns `task` for `task[3]`, and "" for a task that is no instance."""
    return task.rpartition("[")[0] if task.endswith("]") else ""


def standing(state: RunState, task: str) -> TaskStatus:
    """Returns a task's status as those who depend on it see it: a fan-out is done when all of it is."""
    found = state.tasks.get(task)
    if found is None:
        return TaskStatus.PENDING
    if found.status is TaskStatus.EXPANDED and found.ended == found.count:
        return TaskStatus.DONE if found.succeeded == found.count else TaskStatus.FAILED
    return found.status


def _step(table: Mapping[tuple[_K, str], _K], status: _K, event: str, entry: Entry) -> _K:
    after = table.get((status, event))
    if after is None:
        raise _wrong(entry, f"what is {status} can't be {event}")
    return after


def _wrong(entry: Entry, why: str) -> Tampered:
    return Tampered(f"{entry.stream}#{entry.seq} {entry.kind}: {why}")
