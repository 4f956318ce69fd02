"""What the stream `policy` says."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import Commitment, Fact


class PolicyLoaded(Fact, frozen=True):
    digest: str
    files: dict[str, str]
    """File name to SHA-256 of its bytes."""
    types: str = ""
    """Digest of the artifact that says which tools and facts the rules were checked against."""
    texts: str = ""
    """Digest of the artifact that holds the files themselves."""
    single_operator: bool = False
    activation: str = ""
    """The queue whose reviewers must approve the activation of another set; none unless `queues.yaml` names one."""


class PolicyActivated(PolicyLoaded, frozen=True):
    """From here on this set, and no other, is in force for every worker of the store.

    It has the fields of `policy.loaded`, and these.
    """

    revision: int = 0
    """One more than that of the activation before it."""
    previous: str = ""
    """Digest of the set that was in force before; none where there was none."""
    by: str = ""
    """Who asked for it."""
    reason: Commitment | None = None
    expires: str = ""
    """From then on nothing runs under it."""
    effect: dict[str, int] = {}  # noqa: RUF012 - msgspec copies it
    """How many of the store's decisions would have come out otherwise, by a backtest before it."""
    review: str = ""
    """The review in which it was approved, where the set in force before it named a queue for that."""
    signature: str = ""
    """The line of a signed note (C2SP) by a key of the journal, over the body without it, and its place."""


class PolicyKept(Fact, frozen=True):
    """A worker can't run under the set in force, `digest`, and stays under the one that it had, `kept`."""

    digest: str
    kept: str
    worker: str
    reason: Commitment


class PolicyRevoked(Fact, frozen=True):
    """From here on a reviewer, or a key, rules no more, whatever set is in force, until `policy.restored`."""

    reviewer: str = ""
    """By name; the person with all keys. None where it is a key."""
    key: str = ""
    """As a `.pub` file says it; none where it is a reviewer."""
    by: str = ""
    """Who revoked it."""
    reason: Commitment | None = None
    signature: str = ""
    """The line of a signed note (C2SP) by a key of the journal, over the body without it, and its place."""


class PolicyRestored(Fact, frozen=True):
    """A revocation ends: the set in force says again whether the reviewer, or the key, rules."""

    reviewer: str = ""
    """By name, as it was revoked; none where it is a key."""
    key: str = ""
    """As it was revoked; none where it is a reviewer."""
    by: str = ""
    """Who restored it."""
    reason: Commitment | None = None
    signature: str = ""
    """As of a revocation."""


KINDS: Mapping[str, type[Fact]] = {
    "policy.loaded": PolicyLoaded,
    "policy.activated": PolicyActivated,
    "policy.kept": PolicyKept,
    "policy.revoked": PolicyRevoked,
    "policy.restored": PolicyRestored,
}
