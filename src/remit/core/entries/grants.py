"""What the streams `grant/<id>` say. A grant has the id of the review in which it was made."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import Commitment, Fact
from remit.core.entries.reviews import GrantTerms


class GrantMade(Fact, frozen=True):
    """In the append of the ruling that settled the review: everybody whose approval counts has signed these terms."""

    grant: str
    run: str
    """Whose call was reviewed."""
    terms: GrantTerms
    queue: str
    """The queue that the call was escalated to; it is asked no more about what the grant covers."""
    disclosed: tuple[str, ...]
    """Digests of the rules that the grantors were shown."""
    ruling: str
    """Hash of the entry with that ruling."""
    policies: str = ""
    """The policy set then in force; the grant ends with it, unless its queue says otherwise."""


class GrantUsed(Fact, frozen=True):
    """In the append that records the intent of this call. Uses are numbered from 1."""

    grant: str
    number: int
    run: str
    call: str
    digest: str


class GrantRevoked(Fact, frozen=True):
    """Every field but `signature` is what the signature is over."""

    grant: str
    reviewer: str
    reason: Commitment
    policies: str = ""
    """The policy set whose reviewers these are."""
    single_operator: bool = False
    signature: str = ""
    """Armored, as `ssh-keygen -Y sign -n ruling@remit` makes it; empty in single-operator mode."""


KINDS: Mapping[str, type[Fact]] = {
    "grant.made": GrantMade,
    "grant.used": GrantUsed,
    "grant.revoked": GrantRevoked,
}
