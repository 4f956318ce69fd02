"""What the streams `run/<id>` say."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import CallRecord, Commitment, Fact, Ruling, VerdictRecord


class RunStarted(Fact, frozen=True):
    run: str
    graph: str
    graph_digest: str
    principal: str
    starter: str
    """Who started the run on this machine; not always the principal it acts for."""
    target: str
    """Where the graph is found again: `module:graph` or `path/file.py:graph`."""
    policies: str
    input: Commitment
    endorsed: Commitment | None = None
    """Sources that the principal endorses in advance, and labels of the input, where there are any."""
    purpose: str = ""
    """What the principal started it for, of purposes.yaml."""
    pinned: bool = False
    """It is decided under `policies` to its end, whatever is activated meanwhile; its graph says so."""


class RunVouched(Fact, frozen=True):
    """The word of somebody in the stream `flow/<run>` is taken into account from here on: `hash` is its entry's."""

    hash: str
    by: str
    source: Commitment
    label: str = ""
    """Removed from what comes from the source; where there is none, the source is endorsed."""


class Owned(Fact, frozen=True):
    """`worker` may append from here on; every owner before it may not."""

    epoch: int
    worker: str


class TaskStarted(Fact, frozen=True):
    task: str
    agent: str
    version: str = ""
    labels: tuple[str, ...] = ()
    """Labels of the outputs it was given."""


class TaskExpanded(Fact, frozen=True):
    """A task over a list became `count` tasks `task[0]` to `task[count - 1]`."""

    task: str
    count: int
    labels: tuple[str, ...] = ()
    """Labels of the list: a fan-out over none has them too."""


class CallDecided(Fact, frozen=True):
    """Requested and decided; `key` when it was also intended, `reviews` when it waits."""

    call: CallRecord
    verdict: VerdictRecord
    facts: Commitment
    key: str = ""
    reviews: tuple[str, ...] = ()
    cost: str = "0"
    findings: Commitment | None = None
    """Where guardrails found something in the arguments, and which of them failed."""
    edited: dict[str, Commitment] = {}  # noqa: RUF012 - msgspec copies it
    """The arguments that obligations changed: it was decided, is shown and is run with these."""
    digest: str = ""
    """Of the call with these arguments."""
    asked: Commitment | None = None
    """The facts of the call as it was asked for, where obligations changed it."""
    covered: tuple[str, ...] = ()
    """Those of the changed arguments that were masked or redacted: as asked for they leave in no export."""
    grants: tuple[str, ...] = ()
    """Grants that it was allowed by, each used in this append."""


class CallRejected(Fact, frozen=True):
    """The arguments didn't fit the tool's schema, or there is no such tool: nothing was decided."""

    id: str
    task: str
    tool: str
    args: Commitment
    error: Commitment
    covered: bool = False
    """Obligations masked some of it, and so the tool doesn't take it: as asked for it leaves in no export."""


class CallDecidedAgain(Fact, frozen=True):
    """Decided again after every review was approved; `key` when it was also intended."""

    id: str
    verdict: VerdictRecord
    facts: Commitment
    rulings: tuple[Ruling, ...]
    key: str = ""
    reviews: tuple[str, ...] = ()
    """Where rules escalate that the reviewers were not shown: new reviews, and the approvals that still count."""
    edited: dict[str, Commitment] = {}  # noqa: RUF012 - msgspec copies it
    """The arguments that a reviewer changed: it was decided, and is run, with these."""
    editor: str = ""
    digest: str = ""
    """Of the call with these arguments."""


class CallRefused(Fact, frozen=True):
    """A waiting call that won't run: `because` is `ruled`, `expired`, `used`, or `unfit` for its tool, once edited."""

    id: str
    because: str
    rulings: tuple[Ruling, ...] = ()


class CallAnswered(Fact, frozen=True):
    """A reviewer answered in the tool's place; nothing ran."""

    id: str
    result: Commitment
    reviewer: str
    rulings: tuple[Ruling, ...]
    labels: tuple[str, ...] = ()


class CallSettled(Fact, frozen=True):
    """The effect's end. `result` when it succeeded, `error` (its words) when it didn't.

    Where it is `ok` and has an `error` and no `result`, it succeeded, and its result can't be had: `cause` is
    `ResultLost` where it can't be kept, `ResultRefused` where it may not be shown.
    """

    id: str
    ok: bool
    result: Commitment | None = None
    error: Commitment | None = None
    cause: str = ""
    attempts: int = 1
    milliseconds: int = 0
    labels: tuple[str, ...] = ()
    """Labels of the result."""
    findings: Commitment | None = None
    """Where guardrails found something in the result."""
    original: Commitment | None = None
    """The result before it was masked, where that was to be kept."""
    guarded: tuple[str, ...] = ()
    """What guardrails did to the result: `secrets:mask`."""
    verdict: VerdictRecord | None = None
    """Of a call in doubt that was to run again: the deny by which it did not."""
    facts: Commitment | None = None
    """What that verdict is on."""


class CallInDoubt(Fact, frozen=True):
    """Intended, and nobody knows whether it happened: `review` asks a person."""

    id: str
    review: str


class CallIntendedAgain(Fact, frozen=True):
    """It is run again with the same key: because its `repeat` permits, or a person said so, and `verdict` allows it."""

    id: str
    key: str
    because: str
    rulings: tuple[Ruling, ...] = ()
    verdict: VerdictRecord | None = None
    """Older journals have none."""
    facts: Commitment | None = None


class Recorded(Fact, frozen=True):
    """What `ctx.now`, `ctx.uuid` or `ctx.random` gave, so that it gives the same again."""

    id: str
    task: str
    what: str
    value: str


class TaskFinished(Fact, frozen=True):
    task: str
    ok: bool
    output: Commitment | None = None
    error: Commitment | None = None
    cause: str = ""


class TaskSkipped(Fact, frozen=True):
    task: str
    because: str


class RunFinished(Fact, frozen=True):
    ok: bool
    output: Commitment | None = None
    failed: tuple[str, ...] = ()


KINDS: Mapping[str, type[Fact]] = {
    "run.started": RunStarted,
    "run.owned": Owned,
    "run.vouched": RunVouched,
    "run.finished": RunFinished,
    "task.started": TaskStarted,
    "task.expanded": TaskExpanded,
    "task.finished": TaskFinished,
    "task.skipped": TaskSkipped,
    "call.decided": CallDecided,
    "call.rejected": CallRejected,
    "call.decided_again": CallDecidedAgain,
    "call.refused": CallRefused,
    "call.answered": CallAnswered,
    "call.settled": CallSettled,
    "call.in_doubt": CallInDoubt,
    "call.intended_again": CallIntendedAgain,
    "call.recorded": Recorded,
}
