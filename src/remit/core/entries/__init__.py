"""Every fact the journal holds: one frozen model each, versioned.

An entry is `{actor, at, body, kind, prev, seq, stream, v}`, canonical JSON. Its hash is the RFC 6962 leaf
hash of exactly those bytes, and `prev` is the hash of the entry before it in its stream. Personal data
(arguments, results, messages, facts, reasons in words) is never in an entry: a salted commitment is, and
the payload beside the journal holds salt and value, so that a value can be erased and the proof stays.

Kinds are past tense. A kind's fields are only ever added, with a default; another meaning is another kind.
"""

from __future__ import annotations

from remit.core.entries.counters import (
    CounterCounted,
)
from remit.core.entries.facts import (
    CallRecord,
    Commitment,
    Fact,
    Obligation,
    Outcome,
    RuleHit,
    Ruling,
    VerdictRecord,
)
from remit.core.entries.flows import Vouched
from remit.core.entries.grants import (
    GrantMade,
    GrantRevoked,
    GrantUsed,
)
from remit.core.entries.policies import (
    PolicyActivated,
    PolicyKept,
    PolicyLoaded,
    PolicyRestored,
    PolicyRevoked,
)
from remit.core.entries.reviews import (
    GrantLimits,
    GrantTerms,
    ReviewClaimed,
    ReviewCommented,
    ReviewConsumed,
    ReviewExpired,
    ReviewHandedOn,
    ReviewOpened,
    ReviewReleased,
    ReviewRuled,
    ReviewWithdrawn,
    Terms,
)
from remit.core.entries.runs import (
    CallAnswered,
    CallDecided,
    CallDecidedAgain,
    CallInDoubt,
    CallIntendedAgain,
    CallRefused,
    CallRejected,
    CallSettled,
    Owned,
    Recorded,
    RunFinished,
    RunStarted,
    RunVouched,
    TaskExpanded,
    TaskFinished,
    TaskSkipped,
    TaskStarted,
)
from remit.core.entries.sealing import (
    KINDS,
    LARGEST_ENTRY,
    VERSION,
    Entry,
    Head,
    Payload,
    Sealed,
    as_entry,
    commitments,
    follow,
    is_committed,
    seal,
    unseal,
)
from remit.core.entries.stores import (
    Adopted,
    CountingBegun,
    Erased,
    Exported,
    KeyAdded,
    KeyRetired,
)

__all__ = [
    "KINDS",
    "LARGEST_ENTRY",
    "VERSION",
    "Adopted",
    "CallAnswered",
    "CallDecided",
    "CallDecidedAgain",
    "CallInDoubt",
    "CallIntendedAgain",
    "CallRecord",
    "CallRefused",
    "CallRejected",
    "CallSettled",
    "Commitment",
    "CounterCounted",
    "CountingBegun",
    "Entry",
    "Erased",
    "Exported",
    "Fact",
    "GrantLimits",
    "GrantMade",
    "GrantRevoked",
    "GrantTerms",
    "GrantUsed",
    "Head",
    "KeyAdded",
    "KeyRetired",
    "Obligation",
    "Outcome",
    "Owned",
    "Payload",
    "PolicyActivated",
    "PolicyKept",
    "PolicyLoaded",
    "PolicyRestored",
    "PolicyRevoked",
    "Recorded",
    "ReviewClaimed",
    "ReviewCommented",
    "ReviewConsumed",
    "ReviewExpired",
    "ReviewHandedOn",
    "ReviewOpened",
    "ReviewReleased",
    "ReviewRuled",
    "ReviewWithdrawn",
    "RuleHit",
    "Ruling",
    "RunFinished",
    "RunStarted",
    "RunVouched",
    "Sealed",
    "TaskExpanded",
    "TaskFinished",
    "TaskSkipped",
    "TaskStarted",
    "Terms",
    "VerdictRecord",
    "Vouched",
    "as_entry",
    "commitments",
    "follow",
    "is_committed",
    "seal",
    "unseal",
]
