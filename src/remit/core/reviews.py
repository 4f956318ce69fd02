"""The life of a review: a table, its state, and the fold of its stream.

Whether enough people have ruled is a function of what each of them said and of the queue's terms; both are in
the stream. Who they are, and whether they may, is `core.rulings`' affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from remit.core import entries as e
from remit.core.entries import Entry, Head
from remit.core.identity import identity
from remit.errors import Tampered


class ReviewStatus(StrEnum):
    OPEN = "open"
    CLAIMED = "claimed"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    CONSUMED = "consumed"


_WAITING: Mapping[tuple[ReviewStatus, str], ReviewStatus] = {
    (status, event): after
    for status in (ReviewStatus.OPEN, ReviewStatus.CLAIMED)
    for event, after in {
        "claimed": ReviewStatus.CLAIMED,
        "released": ReviewStatus.OPEN,
        "commented": status,
        "voted": ReviewStatus.OPEN,
        "handed on": ReviewStatus.OPEN,
        "approved": ReviewStatus.APPROVED,
        "denied": ReviewStatus.DENIED,
        "expired": ReviewStatus.EXPIRED,
        "withdrawn": ReviewStatus.WITHDRAWN,
    }.items()
    if (status, event) != (ReviewStatus.OPEN, "released")
}

REVIEWS: Mapping[tuple[ReviewStatus, str], ReviewStatus] = {
    **_WAITING,
    (ReviewStatus.APPROVED, "expired"): ReviewStatus.EXPIRED,
    (ReviewStatus.APPROVED, "withdrawn"): ReviewStatus.WITHDRAWN,
    (ReviewStatus.APPROVED, "consumed"): ReviewStatus.CONSUMED,
}


class Vote(msgspec.Struct, frozen=True):
    """What one person said, and the entry that says so."""

    body: e.ReviewRuled
    at: str
    hash: str
    seq: int

    @property
    def version(self) -> str:
        """Digest of what it is about: the call, the call as edited, or an answer."""
        return self.body.proposes or self.body.digest

    @property
    def names(self) -> frozenset[str]:
        """Whom it counts for, as names are compared: nobody's is in two votes."""
        return frozenset(identity(name) for name in (self.body.reviewer, self.body.on_behalf) if name)


class ReviewState(msgspec.Struct, frozen=True):
    """Everything a review's stream says."""

    opened: e.ReviewOpened
    at: str
    head: Head
    status: ReviewStatus = ReviewStatus.OPEN
    ruled: e.ReviewRuled | None = None
    """The ruling that settled it."""
    ruled_at: str = ""
    ruling: str = ""
    """Hash of the entry that holds it; the chain before it holds all the others."""
    votes: tuple[Vote, ...] = ()
    """What was said in the queue it is in."""
    proposed: Vote | None = None
    """The latest edit or answer: what is approved or denied now."""
    handed: e.ReviewHandedOn | None = None
    claimed: e.ReviewClaimed | None = None
    released: tuple[str, ...] = ()
    """Who claimed it and let it go."""

    @property
    def queue(self) -> str:
        """The queue it waits in."""
        return self.handed.to if self.handed else self.opened.queue

    @property
    def terms(self) -> e.Terms:
        """On which it is settled."""
        return (self.handed.terms if self.handed else self.opened.terms) or e.Terms()

    @property
    def expires(self) -> str:
        """Its deadline, RFC 3339 in UTC."""
        return self.handed.expires if self.handed else self.opened.expires

    @property
    def version(self) -> str:
        """Digest of what is approved or denied now."""
        return self.proposed.version if self.proposed else self.opened.digest

    @property
    def waits(self) -> bool:
        """Whether it can still be ruled on, its deadline aside."""
        return self.status in (ReviewStatus.OPEN, ReviewStatus.CLAIMED)

    @property
    def approving(self) -> tuple[Vote, ...]:
        """Votes for what is proposed now."""
        return tuple(vote for vote in latest(self.votes) if vote.body.approved and vote.version == self.version)

    @property
    def granted(self) -> e.GrantTerms | None:
        """What an approval grants beside the call: what everybody whose vote counts says, if it is the same."""
        said = [vote.body.grant for vote in self.approving]
        return said[0] if self.ruled and self.ruled.approved and all(one == said[0] for one in said) else None

    def holder(self, now: str) -> str:
        """Who holds it at a moment; "" where nobody does, or not any more."""
        return self.claimed.reviewer if self.claimed and now < self.claimed.until else ""


def is_expired(review: ReviewState, now: str) -> bool:
    """Whether the review's deadline has passed at `now`; both are RFC 3339 in UTC, so text compares."""
    return now >= review.expires


# --- counting ----------------------------------------------------------------------------------------


def latest(votes: Iterable[Vote]) -> tuple[Vote, ...]:
    """Returns the last vote of each person, in their order."""
    found: dict[str, Vote] = {}
    for vote in votes:
        who = identity(vote.body.reviewer)
        found.pop(who, None)
        found[who] = vote
    return tuple(found.values())


def seats_filled(terms: e.Terms, people: Sequence[Iterable[str]]) -> bool:
    """Whether these people, given by their groups, make a quorum; each takes one seat.

    With groups that is a matching of people and seats, found by augmenting paths (Kuhn's algorithm).
    """
    if not terms.groups:
        return len(people) >= terms.approvals
    seats = [group for group, count in sorted(terms.groups.items()) for _ in range(count)]
    takes: dict[int, int] = {}
    groups = [frozenset(one) for one in people]

    def seat(index: int, tried: set[int]) -> bool:
        for person, has in enumerate(groups):
            if seats[index] in has and person not in tried:
                tried.add(person)
                if person not in takes or seat(takes[person], tried):
                    takes[person] = index
                    return True
        return False

    return all(seat(index, set()) for index in range(len(seats)))


def tally(terms: e.Terms, votes: Sequence[Vote], version: str) -> str:
    """Returns what votes come to for a version: `approved`, `denied`, or `voted` where more are needed."""
    last = latest(votes)
    if sum(not vote.body.approved for vote in last) >= terms.denials:
        return "denied"
    approving = [vote.body.groups for vote in last if vote.body.approved and vote.version == version]
    return "approved" if seats_filled(terms, approving) else "voted"


# --- the fold ----------------------------------------------------------------------------------------


def apply_review(state: ReviewState, entry: Entry) -> ReviewState:
    """Returns the review after `entry`. Raises Tampered: such an entry can't be there."""
    body = entry.body
    if getattr(body, "review", "") != state.opened.review:
        raise _wrong(entry, "it is not about this review")
    change = msgspec.structs.replace
    if isinstance(body, e.ReviewRuled):
        state = _ruled(state, entry, body)
    elif isinstance(body, (e.ReviewClaimed, e.ReviewReleased)):
        state = _claimed(state, entry, body)
    elif isinstance(body, e.ReviewCommented):
        state = change(state, status=_step(state, "commented", entry))
    elif isinstance(body, e.ReviewHandedOn):
        status = _step(state, "handed on", entry)
        if body.to not in (state.terms.hand_on_to if body.reviewer else (state.terms.next,)):
            raise _wrong(entry, f"its queue hands nothing on to `{body.to}`")
        if bool(body.reviewer) == is_expired(state, entry.at):
            raise _wrong(entry, "it is handed on by a reviewer before its deadline, and by nobody after")
        state = change(state, status=status, handed=body, votes=(), proposed=None, claimed=None, released=())
    elif isinstance(body, e.ReviewExpired):
        state = change(state, status=_step(state, "expired", entry))
    elif isinstance(body, e.ReviewWithdrawn):
        state = change(state, status=_step(state, "withdrawn", entry))
    elif isinstance(body, e.ReviewConsumed):
        if body.digest != state.version or body.call != state.opened.call or body.run != state.opened.run:
            raise _wrong(entry, "the approval was used for another call than the review's")
        state = change(state, status=_step(state, "consumed", entry))
    else:
        raise _wrong(entry, f"`{entry.kind}` does not belong in a review's stream")
    return change(state, head=entry.head)


def _ruled(state: ReviewState, entry: Entry, body: e.ReviewRuled) -> ReviewState:
    _step(state, "approved" if body.approved else "denied", entry)
    vote = Vote(body, entry.at, entry.hash, entry.seq)
    if body.digest != state.version:
        raise _wrong(entry, "the ruling is for another call than the review")
    if is_expired(state, entry.at):
        raise _wrong(entry, f"it was ruled after the review expired at {state.expires}")
    if state.holder(entry.at) not in ("", body.reviewer):
        raise _wrong(entry, f"it is claimed by {state.holder(entry.at)}")
    counted = [one for one in state.votes if one.version == vote.version or not (one.body.approved or body.approved)]
    if any(one.names & vote.names for one in counted):
        raise _wrong(entry, f"{body.reviewer} has ruled before, or somebody has on their behalf")
    _check_proposal(state, entry, body)
    votes = (*state.votes, vote)
    proposed = vote if body.proposes else state.proposed
    event = tally(state.terms, votes, proposed.version if proposed else state.opened.digest)
    after = msgspec.structs.replace(
        state, status=_step(state, event, entry), votes=votes, proposed=proposed, claimed=None
    )
    if event == "voted":
        return after
    return msgspec.structs.replace(after, ruled=body, ruled_at=entry.at, ruling=entry.hash)


def _check_proposal(state: ReviewState, entry: Entry, body: e.ReviewRuled) -> None:
    """Raises Tampered where a ruling proposes what the queue doesn't permit."""
    terms = state.terms
    proposes = bool(body.edited) + (body.answer is not None)
    if bool(body.proposes) != bool(proposes) or proposes > 1 or (proposes and not body.approved):
        raise _wrong(entry, "it proposes nothing, or two things, or denies what it proposes")
    if not set(body.edited) <= set(terms.edit):
        raise _wrong(entry, "it edits arguments that the queue doesn't permit to be edited")
    if body.answer is not None and not terms.respond:
        raise _wrong(entry, "the queue doesn't permit to answer in the tool's place")
    if state.opened.in_doubt and proposes:
        raise _wrong(entry, "a call in doubt is run again as it is, or given up")
    if state.opened.activation and proposes:
        raise _wrong(entry, "a policy set is activated as it is, or not")
    if body.grant is not None:
        _check_grant(state, entry, body, body.grant)


def _check_grant(state: ReviewState, entry: Entry, body: e.ReviewRuled, grant: e.GrantTerms) -> None:
    """Raises Tampered where a ruling grants what the queue doesn't permit, or for another call than the review's."""
    limits, opened = state.terms.grant, state.opened
    if limits is None or opened.in_doubt or opened.activation:
        raise _wrong(entry, "the queue doesn't permit grants")
    if not body.approved or body.proposes or state.proposed is not None:
        raise _wrong(entry, "a grant is beside an approval of the call as it was asked for")
    if not 1 <= grant.uses <= limits.uses or not entry.at < grant.until <= later(entry.at, limits.seconds):
        raise _wrong(entry, f"the queue permits {limits.uses} uses, for {limits.seconds} s")
    if (grant.agent, grant.tool, grant.principal) != (opened.agent, opened.tool, opened.principal):
        raise _wrong(entry, "the grant is for another agent, tool or principal than the review's")


def later(at: str, seconds: int) -> str:
    """Returns the moment so much after another; both as entries write them."""
    moment = datetime.fromisoformat(at) + timedelta(seconds=seconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _claimed(state: ReviewState, entry: Entry, body: e.ReviewClaimed | e.ReviewReleased) -> ReviewState:
    _step(state, "claimed", entry)
    holder = state.holder(entry.at)
    change = msgspec.structs.replace
    if isinstance(body, e.ReviewReleased):
        _step(state, "released", entry)
        if state.claimed is None or state.claimed.reviewer != body.reviewer:
            raise _wrong(entry, f"{body.reviewer} holds no claim on it")
        released = tuple(sorted({*state.released, body.reviewer}))
        return change(state, status=_step(state, "released", entry), claimed=None, released=released)
    if holder not in ("", body.reviewer) or is_expired(state, entry.at):
        raise _wrong(entry, f"it is claimed by {holder}" if holder else "it has expired")
    if identity(body.reviewer) in {
        name for vote in state.votes for name in vote.names if vote.version == state.version
    }:
        raise _wrong(entry, f"{body.reviewer} has ruled on it")
    return change(state, status=_step(state, "claimed", entry), claimed=body)


def _step(state: ReviewState, event: str, entry: Entry) -> ReviewStatus:
    after = REVIEWS.get((state.status, event))
    if after is None:
        raise _wrong(entry, f"what is {state.status} can't be {event}")
    return after


def _wrong(entry: Entry, why: str) -> Tampered:
    return Tampered(f"{entry.stream}#{entry.seq} {entry.kind}: {why}")
