"""Rulings -> the standing of a call's reviews: does it wait, was it approved, is it refused?

A call that escalates to several queues has a review in each, and needs all of them. A no in any is final.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from remit.core.decide import Approval
from remit.core.entries import Ruling
from remit.core.lifecycle import ReviewState, ReviewStatus, is_expired


class Standing(StrEnum):
    """What all reviews of a call together say."""

    OPEN = "open"
    APPROVED = "approved"
    DENIED = "ruled"
    EXPIRED = "expired"
    USED = "used"


@dataclass(frozen=True, slots=True)
class Judged:
    """The standing, and what it rests on."""

    standing: Standing
    rulings: tuple[Ruling, ...] = ()
    approval: Approval | None = None
    reviewers: tuple[str, ...] = ()


def judge(reviews: Sequence[ReviewState], digest: str, now: str, *, single_operator: bool) -> Judged:
    """Returns what `reviews` say of the call with this digest at `now` (RFC 3339, UTC, microseconds).

    `single_operator` says whether policy permits rulings made in single-operator mode; where it doesn't,
    such a ruling is no approval, whoever wrote it.

    Nothing is asked again to decide whether to honour a no. A yes counts only for exactly this call, before
    the review's deadline, and once.
    """
    rulings = tuple(Ruling(review.opened.review, review.ruling) for review in reviews if review.ruled)
    statuses = {review.status for review in reviews}
    if statuses & {ReviewStatus.DENIED, ReviewStatus.WITHDRAWN}:
        return Judged(Standing.DENIED, rulings)
    if ReviewStatus.CONSUMED in statuses:
        return Judged(Standing.USED, rulings)
    if ReviewStatus.EXPIRED in statuses or any(is_expired(review, now) for review in reviews):
        return Judged(Standing.EXPIRED, rulings)
    if not reviews or statuses != {ReviewStatus.APPROVED}:
        return Judged(Standing.OPEN, rulings)
    disclosed: dict[str, frozenset[str]] = {}
    names = []
    for review in reviews:
        ruled = review.ruled
        if ruled is None or ruled.digest != digest or review.opened.digest != digest:
            return Judged(Standing.DENIED, rulings)
        if ruled.single_operator and not single_operator:
            return Judged(Standing.DENIED, rulings)
        queue = review.opened.queue
        disclosed[queue] = disclosed.get(queue, frozenset()) | frozenset(ruled.disclosed)
        names.append(ruled.reviewer)
    return Judged(Standing.APPROVED, rulings, Approval(disclosed), tuple(names))
