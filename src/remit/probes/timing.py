"""Approvals that come too late, are used too late, or at a time that somebody made up."""

from __future__ import annotations

from datetime import timedelta

from remit.probes.ground import NO, Ground, expect
from remit.testing import BEGINNING, VirtualClock


async def a_ruling_after_the_deadline_is_none(ground: Ground) -> None:
    """a review has expired, and somebody approves it; or it was expired for a microsecond"""
    waiting = await ground.waits()
    ground.clock.advance(3600)
    for said in (await ground.refuses(waiting.review, "ann"), await ground.refuses(waiting.review, "bob", NO)):
        expect("expired" in said, said)
    expect("expired" in await ground.resumes(waiting), "the call is not refused")
    await ground.refuses(waiting.review, "ann")
    expect(not ground.done, "it ran")


async def an_approval_that_expires_before_it_is_used_is_refused_at_dispatch(ground: Ground) -> None:
    """approved in time, and resumed after the deadline"""
    waiting = await ground.approved()
    ground.clock.advance(3600)
    expect("expired" in await ground.resumes(waiting), "an expired approval was used")
    expect(not ground.done, "it ran")


async def an_approval_with_a_later_deadline_than_it_was_given_for_is_none(ground: Ground) -> None:
    """the deadline in the store is moved while the reviewer signs, and they sign what they saw"""
    waiting = await ground.approved()
    text = "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), ?, ?) AS BLOB) WHERE kind LIKE 'review.%'"
    ground.sql((text, '"expires":"2026-01-05T10', '"expires":"2026-01-05T23'))
    ground.clock.advance(3600)
    said = await ground.resumes(waiting)
    expect(not ground.done, f"it ran after its deadline: {said}")


async def a_clock_set_back_does_not_bring_an_expired_review_back(ground: Ground) -> None:
    """the deadline passes, others go on writing, and then the clock of a reviewer or worker is set back"""
    approved, ruled = await ground.approved(what="rent"), await ground.waits(what="villa")
    gone = await ground.waits(what="boat")
    ground.clock.advance(3600)
    expect("expired" in await ground.resumes(gone), "an expired review is not refused")
    ground.clock = VirtualClock(BEGINNING + timedelta(minutes=1), seed=1)
    await ground.refuses(gone.review, "ann")
    await ground.resumes(gone)
    await ground.refuses(ruled.review, "ann")
    said = [await ground.resumes(approved), await ground.resumes(ruled)]
    expect(not ground.done, f"with the clock set back {ground.done} ran: {said}")
