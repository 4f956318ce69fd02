"""What the streams `review/<id>` say."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import Commitment, Fact, RuleHit


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


KINDS: Mapping[str, type[Fact]] = {
    "review.opened": ReviewOpened,
    "review.ruled": ReviewRuled,
    "review.expired": ReviewExpired,
    "review.consumed": ReviewConsumed,
    "review.withdrawn": ReviewWithdrawn,
}
