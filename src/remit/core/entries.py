"""Every fact the journal holds: one frozen model each, versioned.

An entry is `{actor, at, body, kind, prev, seq, stream, v}`, canonical JSON. Its hash is the RFC 6962 leaf
hash of exactly those bytes, and `prev` is the hash of the entry before it in its stream. Personal data
(arguments, results, messages, facts, reasons in words) is never in an entry: a salted commitment is, and
the payload beside the journal holds salt and value, so that a value can be erased and the proof stays.

Kinds are past tense. A kind's fields are only ever added, with a default; another meaning is another kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from remit.core.canonical import GENESIS, commitment, link
from remit.errors import JournalError, NewerJournal, Tampered, TooLarge

VERSION = 1
LARGEST_ENTRY = 65_535
"""Bytes; what a tile of C2SP tlog-tiles can hold."""

Commitment = str
"""A salted SHA-256 in hex; see `canonical.commitment`."""


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an entry's body says."""


class Outcome(StrEnum):
    """What a decision says of a call, from least to most strict."""

    ALLOW = "allow"
    ESCALATE = "escalate"
    DENY = "deny"


# --- streams `run/<id>` ------------------------------------------------------------------------------


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


class CallRecord(Fact, frozen=True):
    """A call as it was requested: what its digest is over (see `core.tools.Call`)."""

    id: str
    agent: str
    version: str
    task: str
    tool: str
    tool_digest: str
    args: dict[str, Commitment]
    digest: str


class RuleHit(Fact, frozen=True):
    """A rule that was true, or broke (`error`), for a call; `digest` names its exact text."""

    policy: str
    rule: str
    digest: str
    effect: Outcome
    queue: str = ""
    error: bool = False


class VerdictRecord(Fact, frozen=True):
    outcome: Outcome
    policies: str
    rules: tuple[RuleHit, ...] = ()
    """Those that determined the outcome."""
    broken: tuple[RuleHit, ...] = ()
    """Every enforced rule that was in error, whether or not it determined the outcome."""
    shadow: tuple[RuleHit, ...] = ()
    """Rules in mode `shadow` that would have applied. Never enforced."""
    reasons: Commitment | None = None


class Ruling(Fact, frozen=True):
    """Points at a ruling: the review and the hash of the entry that holds it."""

    review: str
    hash: str


class CallDecided(Fact, frozen=True):
    """Requested and decided; `key` when it was also intended, `reviews` when it waits."""

    call: CallRecord
    verdict: VerdictRecord
    facts: Commitment
    key: str = ""
    reviews: tuple[str, ...] = ()
    cost: str = "0"


class CallRejected(Fact, frozen=True):
    """The arguments didn't fit the tool's schema, or there is no such tool: nothing was decided."""

    id: str
    task: str
    tool: str
    args: Commitment
    error: Commitment


class CallDecidedAgain(Fact, frozen=True):
    """Decided again after every review was approved; `key` when it was also intended."""

    id: str
    verdict: VerdictRecord
    facts: Commitment
    rulings: tuple[Ruling, ...]
    key: str = ""
    reviews: tuple[str, ...] = ()
    """Where rules escalate that the reviewers were not shown: new reviews, and the approvals that still count."""


class CallRefused(Fact, frozen=True):
    """A waiting call that won't run: `because` is `ruled`, `expired` or `used`."""

    id: str
    because: str
    rulings: tuple[Ruling, ...] = ()


class CallSettled(Fact, frozen=True):
    """The effect's end. `result` when it succeeded, `error` (its words) when it didn't."""

    id: str
    ok: bool
    result: Commitment | None = None
    error: Commitment | None = None
    cause: str = ""
    attempts: int = 1
    milliseconds: int = 0
    labels: tuple[str, ...] = ()
    """Labels of the result."""


class CallInDoubt(Fact, frozen=True):
    """Intended, and nobody knows whether it happened: `review` asks a person."""

    id: str
    review: str


class CallIntendedAgain(Fact, frozen=True):
    """It is run again with the same key: because its `repeat` permits, or a person said so."""

    id: str
    key: str
    because: str
    rulings: tuple[Ruling, ...] = ()


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


# --- streams `review/<id>` ---------------------------------------------------------------------------


class ReviewOpened(Fact, frozen=True):
    review: str
    run: str
    call: str
    digest: str
    """The call's digest: a ruling binds to it."""
    tool: str
    queue: str
    expires: str
    shown: Commitment
    """What a reviewer is shown, in full."""
    disclosed: tuple[RuleHit, ...] = ()
    in_doubt: bool = False


class ReviewRuled(Fact, frozen=True):
    review: str
    digest: str
    approved: bool
    reviewer: str
    disclosed: tuple[str, ...] = ()
    """Digests of the rules that the reviewer was shown."""
    reason: Commitment | None = None
    single_operator: bool = False


class ReviewExpired(Fact, frozen=True):
    review: str


class ReviewWithdrawn(Fact, frozen=True):
    """Nobody needs to rule any more: the call was refused in another queue, or decided without it."""

    review: str
    because: str


class ReviewConsumed(Fact, frozen=True):
    """The approval was used, by this call, in this same append. There is no second use."""

    review: str
    run: str
    call: str
    digest: str


# --- streams `policy` and `store` --------------------------------------------------------------------


class PolicyLoaded(Fact, frozen=True):
    digest: str
    files: dict[str, str]
    """File name to SHA-256 of its bytes."""
    types: str = ""
    """Digest of the artifact that says which tools and facts the rules were checked against."""
    texts: str = ""
    """Digest of the artifact that holds the files themselves."""
    single_operator: bool = False


class Exported(Fact, frozen=True):
    scope: tuple[str, ...]
    entries: int
    digest: str
    """SHA-256 of the exported `entries.jsonl`."""


class KeyAdded(Fact, frozen=True):
    """`key` (C2SP: `name+id+base64`) signs checkpoints and exports from here on."""

    key: str


class KeyRetired(Fact, frozen=True):
    """`key` signs nothing any more; what it signed before still holds."""

    key: str
    reason: Commitment | None = None


class Erased(Fact, frozen=True):
    """Payloads of a stream whose values and salts were deleted: entry number and path of each."""

    stream: str
    places: tuple[tuple[int, str], ...]
    by: str
    reason: Commitment | None = None


KINDS: Mapping[str, type[Fact]] = {
    "run.started": RunStarted,
    "run.owned": Owned,
    "run.finished": RunFinished,
    "task.started": TaskStarted,
    "task.expanded": TaskExpanded,
    "task.finished": TaskFinished,
    "task.skipped": TaskSkipped,
    "call.decided": CallDecided,
    "call.rejected": CallRejected,
    "call.decided_again": CallDecidedAgain,
    "call.refused": CallRefused,
    "call.settled": CallSettled,
    "call.in_doubt": CallInDoubt,
    "call.intended_again": CallIntendedAgain,
    "call.recorded": Recorded,
    "review.opened": ReviewOpened,
    "review.ruled": ReviewRuled,
    "review.expired": ReviewExpired,
    "review.consumed": ReviewConsumed,
    "review.withdrawn": ReviewWithdrawn,
    "policy.loaded": PolicyLoaded,
    "store.exported": Exported,
    "store.erased": Erased,
    "store.key_added": KeyAdded,
    "store.key_retired": KeyRetired,
}
_KIND_OF = {model: kind for kind, model in KINDS.items()}
_STREAM = re.compile(r"(run|review)/[a-z0-9-]{1,64}|policy|store")

# --- sealing -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a stream: the last entry's number (-1 for none) and hash."""

    seq: int = -1
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Sealed:
    """An entry's exact bytes, with what the store indexes it by."""

    stream: str
    seq: int
    kind: str
    prev: str
    hash: str
    bytes: bytes

    @property
    def head(self) -> Head:
        """The stream's head once this entry is its last."""
        return Head(self.seq, self.hash)


@dataclass(frozen=True, slots=True)
class Payload:
    """A committed value. `path` is a JSON pointer below the entry; `value` is canonical JSON."""

    stream: str
    seq: int
    path: str
    salt: bytes
    value: bytes


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    actor: str
    at: str
    body: msgspec.Raw
    kind: str
    prev: str
    seq: int
    stream: str
    v: int


class Entry(msgspec.Struct, frozen=True):
    """An entry as read: the envelope, its body as a `Fact`, and the hash of the stored bytes."""

    stream: str
    seq: int
    kind: str
    at: str
    """RFC 3339, UTC, microseconds, `Z`."""
    actor: str
    prev: str
    body: Fact
    hash: str

    @property
    def head(self) -> Head:
        """The stream's head once this entry is its last."""
        return Head(self.seq, self.hash)


_F = TypeVar("_F", bound=Fact)


def seal(stream: str, head: Head, at: str, actor: str, body: Fact) -> Sealed:
    """Returns the entry that says `body` after `head`. `at` is RFC 3339 in UTC with microseconds.

    Raises:
        TooLarge: over 65,535 bytes.
        JournalError: text without a UTF-8 form.
    """
    kind = _KIND_OF[type(body)]
    seq = head.seq + 1
    try:
        inner = msgspec.Raw(msgspec.json.encode(body, order="sorted"))
        data = msgspec.json.encode(_Envelope(actor, at, inner, kind, head.hash, seq, stream, VERSION))
    except UnicodeEncodeError as error:
        raise JournalError(f"{stream}#{seq} {kind}: text without a UTF-8 form: {error}") from error
    if len(data) > LARGEST_ENTRY:
        raise TooLarge(f"{stream}#{seq} {kind}: {len(data)} bytes are more than an entry holds ({LARGEST_ENTRY})")
    return Sealed(stream, seq, kind, head.hash, link(data), data)


def as_entry(sealed: Sealed, at: str, actor: str, body: Fact) -> Entry:
    """Returns what `unseal` would read from the bytes that `seal` just made of these."""
    return Entry(sealed.stream, sealed.seq, sealed.kind, at, actor, sealed.prev, body, sealed.hash)


def unseal(data: bytes) -> Entry:
    """Returns the entry that the stored bytes say.

    Raises:
        NewerJournal: of a version or kind that this Remit doesn't know.
        Tampered: not an entry at all.
    """
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Tampered(f"not an entry: {error}") from error
    place = f"{envelope.stream}#{envelope.seq}"
    if envelope.v != VERSION or envelope.kind not in KINDS:
        raise NewerJournal(f"{place}: version {envelope.v}, kind `{envelope.kind}`: written by a newer Remit: upgrade")
    if not _STREAM.fullmatch(envelope.stream):
        raise Tampered(f"{place}: no such stream name")
    try:
        body: Any = msgspec.json.decode(envelope.body, type=KINDS[envelope.kind])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Tampered(f"{place} {envelope.kind}: {error}") from error
    return Entry(
        envelope.stream, envelope.seq, envelope.kind, envelope.at, envelope.actor, envelope.prev, body, link(data)
    )


def follow(entry: Entry, head: Head) -> Head:
    """Checks that `entry` comes right after `head` and returns the new head.

    Raises:
        Tampered: its number or its `prev` says otherwise.
    """
    if entry.seq != head.seq + 1:
        raise Tampered(f"{entry.stream}#{entry.seq}: expected #{head.seq + 1}: an entry is missing or doubled")
    if entry.prev != head.hash:
        raise Tampered(f"{entry.stream}#{entry.seq}: `prev` is not the hash of the entry before it")
    return entry.head


def commitments(body: Fact) -> dict[str, Commitment]:
    """Returns every commitment an entry makes, by the path of its payload."""
    found: dict[str, Commitment | None] = {}
    if isinstance(body, CallDecided):
        found = {f"/args/{name}": said for name, said in body.call.args.items()}
        found |= {"/facts": body.facts, "/reasons": body.verdict.reasons}
    elif isinstance(body, CallDecidedAgain):
        found = {"/facts": body.facts, "/reasons": body.verdict.reasons}
    elif isinstance(body, CallRejected):
        found = {"/args": body.args, "/error": body.error}
    else:
        for name in ("input", "output", "result", "error", "shown", "reason"):
            found[f"/{name}"] = getattr(body, name, None)
    return {path: said for path, said in found.items() if said is not None}


def is_committed(payload: Payload, expected: Commitment | None) -> bool:
    """Says whether `payload` is what the entry committed to."""
    return expected is not None and commitment(payload.salt, payload.value) == expected
