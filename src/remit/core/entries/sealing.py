"""An entry's bytes: made, read, and held to the entry before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from remit.core.canonical import GENESIS, commitment, link
from remit.core.entries import counters, flows, grants, policies, reviews, runs, stores
from remit.core.entries.facts import Commitment, Fact
from remit.core.entries.reviews import ReviewRuled
from remit.core.entries.runs import CallDecided, CallDecidedAgain, CallIntendedAgain, CallRejected, CallSettled
from remit.errors import JournalError, NewerJournal, Tampered, TooLarge

VERSION = 1
LARGEST_ENTRY = 65_535
"""Bytes; what a tile of C2SP tlog-tiles can hold."""

KINDS: Mapping[str, type[Fact]] = {
    **runs.KINDS, **flows.KINDS, **reviews.KINDS, **policies.KINDS, **stores.KINDS, **grants.KINDS, **counters.KINDS
}  # fmt: skip
_NAMES = (
    "input", "endorsed", "source", "output", "result", "error", "shown", "reason", "findings", "original", "comment",
    "amount", "secret",
)  # fmt: skip
_KIND_OF = {model: kind for kind, model in KINDS.items()}
_STREAM = re.compile(r"(run|review|flow|grant|counter)/[a-z0-9-]{1,64}|policy|store")


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
        found |= {"/facts": body.facts, "/reasons": body.verdict.reasons, "/findings": body.findings}
        found |= {f"/edited/{name}": said for name, said in body.edited.items()} | {"/asked": body.asked}
    elif isinstance(body, CallDecidedAgain):
        found = {"/facts": body.facts, "/reasons": body.verdict.reasons}
        found |= {f"/edited/{name}": said for name, said in body.edited.items()}
    elif isinstance(body, ReviewRuled):
        found = {"/reason": body.reason, "/answer": body.answer, "/grant": getattr(body.grant, "condition", None)}
        found |= {f"/edited/{name}": said for name, said in body.edited.items()}
    elif isinstance(body, CallRejected):
        found = {"/args": body.args, "/error": body.error}
    else:
        for name in _NAMES:
            found[f"/{name}"] = getattr(body, name, None)
        if isinstance(body, (CallIntendedAgain, CallSettled)) and body.verdict is not None:
            found |= {"/facts": body.facts, "/reasons": body.verdict.reasons}
    return {path: said for path, said in found.items() if said is not None}


def is_committed(payload: Payload, expected: Commitment | None) -> bool:
    """Says whether `payload` is what the entry committed to."""
    return expected is not None and commitment(payload.salt, payload.value) == expected
