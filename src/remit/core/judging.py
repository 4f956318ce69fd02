"""The reviews of a call -> their standing together: does it wait, was it approved, is it refused?

A call that escalates to several queues has a review in each, and needs all of them. A no in any is final.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from remit.core.decide import Approval
from remit.core.entries import Commitment, Outcome, RuleHit, Ruling, RunStarted, VerdictRecord
from remit.core.people import People
from remit.core.reviews import ReviewState, ReviewStatus, is_expired
from remit.core.rulings import counts, names_of


class Standing(StrEnum):
    """What all reviews of a call together say."""

    OPEN = "open"
    APPROVED = "approved"
    ANSWERED = "answered"
    DENIED = "ruled"
    EXPIRED = "expired"
    USED = "used"


@dataclass(frozen=True, slots=True)
class Judged:
    """The standing, and what it rests on.

    Attributes:
        version: digest of the call that was approved: as asked, or as a reviewer edited it.
        proposal: the review whose edit or answer that is; None where it is the call as asked.
    """

    standing: Standing
    rulings: tuple[Ruling, ...] = ()
    approval: Approval | None = None
    reviewers: tuple[str, ...] = ()
    version: str = ""
    proposal: ReviewState | None = None

    @property
    def edit(self) -> tuple[dict[str, Commitment], str, str]:
        """What a reviewer changed, who did, and the digest of the call so changed; nothing where nobody did."""
        vote = self.proposal.proposed if self.proposal else None
        return (vote.body.edited, vote.body.reviewer, vote.body.proposes) if vote else ({}, "", "")

    @property
    def answer(self) -> tuple[Commitment, str]:
        """What a reviewer said in the tool's place, and who; "" where nobody did."""
        vote = self.proposal.proposed if self.proposal else None
        return (vote.body.answer or "", vote.body.reviewer) if vote else ("", "")


def passed(verdict: VerdictRecord | None, also: Iterable[RuleHit] = ()) -> Approval:
    """Returns what had let a call through that was allowed: each rule that asked for a review, and got it.

    Running the call again asks nobody anew about these. `also` are rules that were shown to people since.
    """
    disclosed: dict[str, frozenset[str]] = {}
    hits = (*verdict.rules, *verdict.broken) if verdict is not None and verdict.outcome is Outcome.ALLOW else ()
    for hit in (*hits, *also):
        if hit.effect is Outcome.ESCALATE:
            disclosed[hit.queue] = disclosed.get(hit.queue, frozenset()) | {hit.digest}
    return Approval(disclosed)


def is_asked_by(review: ReviewState, started: RunStarted, agent: str) -> bool:
    """Whether the review says truly who asked, which is who may not rule; one of an older Remit says nothing."""
    opened = review.opened
    said = (opened.principal, opened.starter, opened.agent)
    older = said == ("", "", "") and all(vote.body.single_operator for vote in review.votes)
    return older or said == (started.principal, started.starter, agent)


def judge(reviews: Sequence[ReviewState], digest: str, now: str, people: People | None) -> Judged:
    """Returns what `reviews` say of the call with this digest at `now` (RFC 3339, UTC, microseconds).

    `people` are those in charge now: a yes that doesn't count with them any more discloses nothing, so that the
    call is asked about again. None where it is only asked whether there is an answer.

    Nothing is asked again to decide whether to honour a no. A yes counts only for exactly this call, before
    the review's deadline, and once.
    """
    rulings = tuple(Ruling(review.opened.review, review.ruling) for review in reviews if review.ruled)
    statuses = {review.status for review in reviews}
    if statuses & {ReviewStatus.DENIED, ReviewStatus.WITHDRAWN}:
        return Judged(Standing.DENIED, rulings)
    if ReviewStatus.CONSUMED in statuses:
        return Judged(Standing.USED, rulings)
    if ReviewStatus.EXPIRED in statuses or any(_is_over(review, now) for review in reviews):
        return Judged(Standing.EXPIRED, rulings)
    if not reviews or statuses != {ReviewStatus.APPROVED}:
        return Judged(Standing.OPEN, rulings)
    if any(digest not in (review.opened.digest, review.version) for review in reviews):
        return Judged(Standing.DENIED, rulings)
    if people is not None and not people.single_operator and any(map(_is_unsigned, reviews)):
        return Judged(Standing.DENIED, rulings)
    counted = [review for review in reviews if people is None or counts(people, review)]
    return _approved(reviews, counted, digest, rulings)


def _approved(
    reviews: Sequence[ReviewState], counted: Sequence[ReviewState], digest: str, rulings: tuple[Ruling, ...]
) -> Judged:
    # The first to propose something is heard; who approved another version than that is asked again.
    proposal = next((one for one in counted if one.version != digest), None)
    version = proposal.version if proposal else digest
    disclosed: dict[str, frozenset[str]] = {}
    names: tuple[str, ...] = ()
    for review in counted:
        if review.version == version and review.ruled is not None:
            queue = review.opened.queue
            disclosed[queue] = disclosed.get(queue, frozenset()) | frozenset(review.ruled.disclosed)
            names += names_of(review.approving)
    is_answer = proposal is not None and proposal.proposed is not None and proposal.proposed.body.answer is not None
    standing = Standing.ANSWERED if is_answer else Standing.APPROVED
    return Judged(standing, rulings, Approval(disclosed), names, version, proposal)


def _is_over(review: ReviewState, now: str) -> bool:
    """Past its deadline for good: one that waits, and is then handed on, is not."""
    return is_expired(review, now) and not (review.waits and review.terms.next)


def _is_unsigned(review: ReviewState) -> bool:
    return any(vote.body.single_operator for vote in review.approving)
