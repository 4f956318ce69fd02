"""What all reviews of a call together say: the whole space of their statuses."""

from __future__ import annotations

import itertools

import pytest

from remit.core.entries import Head, ReviewOpened, ReviewRuled
from remit.core.judging import Standing, judge
from remit.core.people import People, Queue
from remit.core.reviews import ReviewState, ReviewStatus, Vote, is_expired

DIGEST, OTHER = "ab" * 32, "cd" * 32
EXPIRES = "2026-01-05T10:00:00.000000Z"
BEFORE, AFTER = "2026-01-05T09:59:59.999999Z", EXPIRES
RULED = {ReviewStatus.APPROVED: True, ReviewStatus.DENIED: False, ReviewStatus.CONSUMED: True}


def review(
    status: ReviewStatus, id: str = "v1", *, queue: str = "desk", opened: str = DIGEST, ruled: str = DIGEST,
    single_operator: bool = True, shown: tuple[str, ...] = ("r1",), expires: str = EXPIRES,
) -> ReviewState:  # fmt: skip
    ruling = (
        ReviewRuled(id, ruled, RULED[status], f"ann-{id}", shown, None, single_operator) if status in RULED else None
    )
    made = ReviewOpened(id, "run", "call", opened, "pay", queue, expires, DIGEST)
    votes = (Vote(ruling, BEFORE, f"hash-{id}", 1),) if ruling else ()
    return ReviewState(
        made, BEFORE, Head(), status, ruling, BEFORE if ruling else "", f"hash-{id}" if ruling else "", votes
    )


QUEUES = {name: Queue(name, 3600) for name in ("desk", "board")}
ALONE, STRICT = People(QUEUES, single_operator=True), People(QUEUES)


def expected(statuses: tuple[ReviewStatus, ...], late: bool) -> Standing:
    """The oracle: a no is final, a used yes is used, then time, and only then does a yes count."""
    if ReviewStatus.DENIED in statuses or ReviewStatus.WITHDRAWN in statuses:
        return Standing.DENIED
    if ReviewStatus.CONSUMED in statuses:
        return Standing.USED
    if statuses and (late or ReviewStatus.EXPIRED in statuses):
        return Standing.EXPIRED
    if statuses and all(status is ReviewStatus.APPROVED for status in statuses):
        return Standing.APPROVED
    return Standing.OPEN


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_all_reviews_together_say_yes_only_where_each_does_in_time(count: int, late: bool) -> None:
    for statuses in itertools.product(ReviewStatus, repeat=count):
        reviews = [review(status, f"v{number}") for number, status in enumerate(statuses)]
        for order in itertools.permutations(reviews):
            found = judge(order, DIGEST, AFTER if late else BEFORE, ALONE)
            assert found.standing is expected(statuses, late), statuses
            assert (found.approval is not None) == (found.standing is Standing.APPROVED)
            ruled = {f"v{number}" for number, status in enumerate(statuses) if status in RULED}
            assert {ruling.review for ruling in found.rulings} == ruled


@pytest.mark.parametrize(
    "other",
    [
        review(ReviewStatus.APPROVED, opened=OTHER),
        review(ReviewStatus.APPROVED),
    ],
)
def test_an_approval_of_another_call_or_that_policy_does_not_permit_is_none(other: ReviewState) -> None:
    assert judge([other], DIGEST, BEFORE, STRICT).standing is Standing.DENIED
    good = review(ReviewStatus.APPROVED, "v2")
    assert judge([good, other], DIGEST, BEFORE, STRICT).standing is Standing.DENIED
    assert judge([other], "", BEFORE, ALONE).standing is Standing.DENIED


def test_single_operator_rulings_count_where_policy_permits_them() -> None:
    one = review(ReviewStatus.APPROVED)
    assert judge([one], DIGEST, BEFORE, ALONE).standing is Standing.APPROVED


def test_what_was_shown_counts_for_its_own_queue_only() -> None:
    reviews = [
        review(ReviewStatus.APPROVED, "v1", queue="desk", shown=("r1", "r2")),
        review(ReviewStatus.APPROVED, "v2", queue="board", shown=("r3",)),
        review(ReviewStatus.APPROVED, "v3", queue="desk", shown=("r4",)),
    ]
    found = judge(reviews, DIGEST, BEFORE, ALONE)
    assert found.approval is not None
    assert found.approval.disclosed == {"desk": frozenset({"r1", "r2", "r4"}), "board": frozenset({"r3"})}
    assert found.reviewers == ("ann-v1", "ann-v2", "ann-v3")
    assert [(ruling.review, ruling.hash) for ruling in found.rulings] == [(f"v{n}", f"hash-v{n}") for n in (1, 2, 3)]


def test_a_deadline_is_past_from_its_very_microsecond_on() -> None:
    one = review(ReviewStatus.OPEN)
    assert not is_expired(one, BEFORE)
    assert is_expired(one, EXPIRES)
    assert is_expired(one, "2026-01-05T10:00:00.000001Z")
    assert is_expired(one, "2027-01-01T00:00:00.000000Z")
