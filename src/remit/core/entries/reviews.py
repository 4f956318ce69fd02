"""What the streams `review/<id>` say."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import Commitment, Fact, RuleHit


class GrantLimits(Fact, frozen=True):
    """How far a queue lets its reviewers grant: at most so many uses, for so long."""

    uses: int
    seconds: int
    outlives_policies: bool = False
    """Whether a grant goes on under another policy set than it was made under."""


class GrantTerms(Fact, frozen=True):
    """What a reviewer grants beside the call: calls like it, of the same agent, tool and principal."""

    agent: str
    version: str
    tool: str
    tool_digest: str
    principal: str
    condition: Commitment
    """What each call must meet, in CEL, with the reviewed call's arguments: `this.args`."""
    uses: int
    until: str


class Terms(Fact, frozen=True):
    """On what terms a review is settled, as its queue said when it came there."""

    approvals: int = 1
    groups: dict[str, int] = {}  # noqa: RUF012 - msgspec copies it
    """How many of each of these groups must approve; none: of any."""
    denials: int = 1
    next: str = ""
    """The queue that is asked when this one has not answered in time; none: the call is denied."""
    hand_on_to: tuple[str, ...] = ()
    may_also_rule: tuple[str, ...] = ()
    claim: int = 1800
    """Seconds after which a claim lapses."""
    reason: bool = False
    """Whether an approval has to say why, too."""
    edit: tuple[str, ...] = ()
    respond: bool = False
    grant: GrantLimits | None = None
    """Whether its reviewers may approve calls like it in advance."""


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
    terms: Terms | None = None
    principal: str = ""
    """Who asked, and so may not rule: for whom, by whom on this machine, and which agent."""
    starter: str = ""
    agent: str = ""
    priority: int = 0
    activation: bool = False
    """It is about the activation of a policy set, and of no call; `digest` is the proposal's."""


class ReviewClaimed(Fact, frozen=True):
    """Until then nobody else may rule."""

    review: str
    reviewer: str
    until: str


class ReviewReleased(Fact, frozen=True):
    review: str
    reviewer: str


class ReviewCommented(Fact, frozen=True):
    review: str
    reviewer: str
    comment: Commitment


class ReviewHandedOn(Fact, frozen=True):
    """It waits in another queue now, on that queue's terms; what was ruled before counts no more."""

    review: str
    to: str
    expires: str
    terms: Terms
    reviewer: str = ""
    """Who did; empty where its time was up."""


class ReviewRuled(Fact, frozen=True):
    """What one person said. Every field but `signature` is what the signature is over."""

    review: str
    digest: str
    """Of the call as it stood, edits of others included."""
    approved: bool
    reviewer: str
    disclosed: tuple[str, ...] = ()
    """Digests of the rules that the reviewer was shown."""
    reason: Commitment | None = None
    single_operator: bool = False
    expires: str = ""
    """The review's deadline, as the reviewer saw it."""
    policies: str = ""
    """The policy set whose reviewers these are."""
    groups: tuple[str, ...] = ()
    """Of the person in whose place it counts."""
    on_behalf: str = ""
    """Who delegated it."""
    edited: dict[str, Commitment] = {}  # noqa: RUF012 - msgspec copies it
    """Arguments that the reviewer changed, and approves so."""
    answer: Commitment | None = None
    """What the reviewer says in the tool's place; nothing runs then."""
    proposes: str = ""
    """Digest of the call as edited, or of the answer; what others then approve."""
    grant: GrantTerms | None = None
    """What else is approved in advance, where everybody whose approval counts says exactly this."""
    signature: str = ""
    """Armored, as `ssh-keygen -Y sign -n ruling@remit` makes it; empty in single-operator mode."""


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
    "review.claimed": ReviewClaimed,
    "review.released": ReviewReleased,
    "review.commented": ReviewCommented,
    "review.handed_on": ReviewHandedOn,
    "review.ruled": ReviewRuled,
    "review.expired": ReviewExpired,
    "review.consumed": ReviewConsumed,
    "review.withdrawn": ReviewWithdrawn,
}
