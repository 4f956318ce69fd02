"""The life of a grant: a table, its state, and the fold of its stream.

A grant is an approval in advance. That each use takes the stream one entry further is what makes uses countable:
two workers that would use the same one append at the same place, and only one of them can.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from remit.core import entries as e
from remit.core.canonical import canonical, plain
from remit.core.entries import Commitment, Entry, Head
from remit.core.reviews import ReviewState
from remit.errors import Tampered


class GrantStatus(StrEnum):
    OPEN = "open"
    USED_UP = "used_up"
    REVOKED = "revoked"


GRANTS: Mapping[tuple[GrantStatus, str], GrantStatus] = {
    (GrantStatus.OPEN, "used"): GrantStatus.OPEN,
    (GrantStatus.OPEN, "used the last time"): GrantStatus.USED_UP,
    (GrantStatus.OPEN, "revoked"): GrantStatus.REVOKED,
}


class GrantState(msgspec.Struct, frozen=True):
    """Everything a grant's stream says."""

    made: e.GrantMade
    at: str
    head: Head
    status: GrantStatus = GrantStatus.OPEN
    used: int = 0
    revoked: e.GrantRevoked | None = None
    revoked_at: str = ""

    @property
    def terms(self) -> e.GrantTerms:
        """What was granted."""
        return self.made.terms

    def is_open(self, now: str) -> bool:
        """Whether it can be used at a moment (RFC 3339, UTC), the policy in force aside."""
        return self.status is GrantStatus.OPEN and now < self.terms.until


def apply_grant(state: GrantState, entry: Entry) -> GrantState:
    """Returns the grant after `entry`. Raises Tampered: such an entry can't be there."""
    body = entry.body
    if getattr(body, "grant", "") != state.made.grant:
        raise _wrong(entry, "it is not about this grant")
    change = msgspec.structs.replace
    if isinstance(body, e.GrantUsed):
        event = "used the last time" if body.number == state.terms.uses else "used"
        status = _step(state, event, entry)
        if body.number != state.used + 1:
            raise _wrong(entry, f"use {body.number} after {state.used}")
        if entry.at >= state.terms.until:
            raise _wrong(entry, f"it was used after it ended at {state.terms.until}")
        state = change(state, status=status, used=body.number)
    elif isinstance(body, e.GrantRevoked):
        state = change(state, status=_step(state, "revoked", entry), revoked=body, revoked_at=entry.at)
    else:
        raise _wrong(entry, f"`{entry.kind}` does not belong in a grant's stream")
    return change(state, head=entry.head)


# --- its condition ---------------------------------------------------------------------------------------


def write_condition(source: str, reviewed: Mapping[str, object]) -> bytes:
    """Returns a condition and the arguments it compares with, as the value that a ruling commits to."""
    return canonical({"args": dict(reviewed), "condition": source})


def read_condition(value: bytes) -> tuple[str, dict[str, Any]]:
    """Returns what `write_condition` wrote. Raises Tampered."""
    found = plain(value)
    source, args = (found.get("condition"), found.get("args")) if isinstance(found, dict) else (None, None)
    if not isinstance(source, str) or not isinstance(args, dict):
        raise Tampered("a grant's condition can't be read")
    return source, args


def condition_of(review: ReviewState) -> tuple[int, Commitment] | None:
    """Returns which entry of the review holds the grant's condition, and the commitment to it."""
    for vote in review.approving:
        if vote.body.grant is not None:
            return vote.seq, vote.body.grant.condition
    return None


def _step(state: GrantState, event: str, entry: Entry) -> GrantStatus:
    after = GRANTS.get((state.status, event))
    if after is None:
        raise _wrong(entry, f"what is {state.status} can't be {event}")
    return after


def _wrong(entry: Entry, why: str) -> Tampered:
    return Tampered(f"{entry.stream}#{entry.seq} {entry.kind}: {why}")
