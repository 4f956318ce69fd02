"""A grant's life, by its table and an oracle that counts; and what a ruling may grant."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import entries as e
from remit.core.entries import Fact, Head, seal, unseal
from remit.core.grants import GRANTS, GrantState, GrantStatus, apply_grant
from remit.core.lifecycle import apply, fold
from remit.core.reviews import ReviewState, later
from remit.errors import Tampered

HASH = "ab" * 32
AT = "2026-01-05T09:00:00.000000Z"
TERMS = e.GrantTerms("agent", "1", "pay", HASH, "me", HASH, 3, "2026-01-05T11:00:00.000000Z")
MADE = e.GrantMade("g", "run", TERMS, "desk", (HASH,), HASH)


def state(uses: int = 3) -> GrantState:
    body = msgspec.structs.replace(MADE, terms=msgspec.structs.replace(TERMS, uses=uses))
    found = apply(None, unseal(seal("grant/g", Head(), AT, "w", body).bytes))
    assert isinstance(found, GrantState)
    return found


def after(before: GrantState, body: Fact, at: str = AT) -> GrantState:
    return apply_grant(before, unseal(seal("grant/g", before.head, at, "w", body).bytes))


def use(number: int) -> e.GrantUsed:
    return e.GrantUsed("g", number, "run", f"c#{number}", HASH)


DEEDS = st.lists(st.one_of(st.tuples(st.just("use"), st.integers(1, 5)), st.tuples(st.just("revoke"), st.just(0))))


@given(st.integers(1, 4), DEEDS)
def test_whatever_is_tried_a_grant_is_used_at_most_as_often_as_was_granted_and_never_after_its_end(
    uses: int, deeds: list[tuple[str, int]]
) -> None:
    found, used, over = state(uses), 0, False
    for deed, number in deeds:
        may = not over and (deed == "revoke" or number == used + 1)
        try:
            found = after(found, use(number) if deed == "use" else e.GrantRevoked("g", "ann", HASH))
        except Tampered:
            assert not may, (deed, number)
            continue
        assert may, (deed, number)
        used += deed == "use"
        over = over or deed == "revoke" or used == uses
    assert found.used == used <= uses
    assert found.is_open(AT) != over


def test_every_pair_of_status_and_event_that_is_not_in_the_table_is_refused() -> None:
    ends = {
        GrantStatus.OPEN: state(2),
        GrantStatus.USED_UP: after(state(1), use(1)),
        GrantStatus.REVOKED: after(state(2), e.GrantRevoked("g", "ann", HASH)),
    }
    bodies = {"used": use(1), "revoked": e.GrantRevoked("g", "ann", HASH)}
    for (status, before), (event, body) in itertools.product(ends.items(), bodies.items()):
        if (status, event) in GRANTS:
            assert after(before, body).status is GRANTS[status, event]
        else:
            with pytest.raises(Tampered):
                after(before, body)


@pytest.mark.parametrize("at", [TERMS.until, "2026-01-05T11:00:00.000001Z", "2027-01-01T00:00:00.000000Z"])
def test_a_grant_is_not_used_at_its_end_or_later(at: str) -> None:
    with pytest.raises(Tampered, match="after it ended"):
        after(state(), use(1), at)


@pytest.mark.parametrize("body", [e.GrantUsed("h", 1, "run", "c", HASH), e.ReviewExpired("g"), MADE])
def test_what_is_about_something_else_is_not_in_a_grants_stream(body: Fact) -> None:
    with pytest.raises(Tampered):
        after(state(), body)
    with pytest.raises(Tampered):
        fold([unseal(seal("grant/h", Head(), AT, "w", MADE).bytes)])


# --- what a ruling may grant -------------------------------------------------------------------------------

LIMITS = e.GrantLimits(5, 7200)
OPENED = e.ReviewOpened(
    "g", "run", "c", HASH, "pay", "desk", "2026-01-05T10:00:00.000000Z", HASH,
    terms=e.Terms(grant=LIMITS, edit=("amount",), approvals=2), principal="me", starter="op", agent="agent",
)  # fmt: skip


def ruled(opened: e.ReviewOpened, grant: e.GrantTerms, **changes: object) -> ReviewState:
    body = msgspec.structs.replace(e.ReviewRuled("g", HASH, True, "ann", grant=grant), **changes)
    review = apply(None, unseal(seal("review/g", Head(), AT, "w", opened).bytes))
    assert isinstance(review, ReviewState)
    found = apply(review, unseal(seal("review/g", review.head, AT, "w", body).bytes))
    assert isinstance(found, ReviewState)
    return found


WRONG: dict[str, tuple[dict[str, object], dict[str, object], dict[str, object]]] = {
    "more uses": ({}, {"uses": 6}, {}),
    "no use": ({}, {"uses": 0}, {}),
    "longer": ({}, {"until": "2026-01-05T11:00:00.000001Z"}, {}),
    "over already": ({}, {"until": AT}, {}),
    "another agent": ({}, {"agent": "other"}, {}),
    "another tool": ({}, {"tool": "other"}, {}),
    "another principal": ({}, {"principal": "you"}, {}),
    "a denial": ({}, {}, {"approved": False}),
    "an edit": ({}, {}, {"edited": {"amount": HASH}, "proposes": "cd" * 32}),
    "no limits": ({"terms": e.Terms()}, {}, {}),
    "in doubt": ({"in_doubt": True}, {}, {}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_ruling_that_grants_what_its_queue_does_not_permit_can_not_be_there(name: str) -> None:
    opened, terms, body = WRONG[name]
    change = msgspec.structs.replace
    assert ruled(OPENED, TERMS).votes
    with pytest.raises(Tampered):
        ruled(change(OPENED, **opened), change(TERMS, **terms), **body)


def test_the_moment_after_so_many_seconds_is_written_as_entries_do() -> None:
    assert later(AT, 7200) == TERMS.until
    assert later("2026-12-31T23:59:59.999999Z", 1) == "2027-01-01T00:00:00.999999Z"
