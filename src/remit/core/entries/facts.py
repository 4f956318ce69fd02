"""What the bodies of all entries are made of."""

from __future__ import annotations

from enum import StrEnum

import msgspec

Commitment = str
"""A salted SHA-256 in hex; see `canonical.commitment`."""


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an entry's body says."""


class Outcome(StrEnum):
    """What a decision says of a call, from least to most strict."""

    ALLOW = "allow"
    ESCALATE = "escalate"
    DENY = "deny"


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


class Obligation(Fact, frozen=True):
    """What rules that were true ask for, should the call run.

    `kind` is `redact`, `mask`, `cap` or `label`; `at` a JSON pointer to the part, below `/args` or `/result`, where `*`
    is any item; `to` the highest number, or the label; `keep`: the journal keeps the result as it was, apart.
    """

    kind: str
    at: str = ""
    to: str = ""
    keep: bool = False


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
    obliged: tuple[Obligation, ...] = ()


class Ruling(Fact, frozen=True):
    """Points at a ruling: the review and the hash of the entry that holds it."""

    review: str
    hash: str
