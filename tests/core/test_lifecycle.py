"""The fold: every status and every event, the whole space of each table; what isn't in a table can't be there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from remit.core import entries as e
from remit.core.entries import Entry, Fact, Head, Outcome, seal, unseal
from remit.core.lifecycle import (
    CALLS,
    TASKS,
    CallStatus,
    RunState,
    RunStatus,
    State,
    TaskStatus,
    apply,
    fold,
    is_waiting,
    parent_of,
    standing,
)
from remit.core.reviews import REVIEWS, ReviewState, ReviewStatus
from remit.errors import Tampered

AT = "2026-01-05T09:00:00.000000Z"
EXPIRES = "2026-01-05T10:00:00.000000Z"
HASH = "ab" * 32


def entry(stream: str, head: Head, body: Fact) -> Entry:
    return unseal(seal(stream, head, AT, "tester", body).bytes)


def folded(state: State | None, *bodies: Fact) -> Any:
    """The state after facts are appended to it."""
    for body in bodies:
        review = isinstance(body, e.ReviewOpened) or isinstance(state, ReviewState)
        stream = "review/v1" if review else "run/r1"
        state = apply(state, entry(stream, state.head if state else Head(), body))
    return state


STARTED = e.RunStarted("r1", "app", HASH, "me", "me", "", HASH, HASH)
RUN: RunState = folded(None, STARTED, e.Owned(1, "w"), e.TaskStarted("work", "agent"))
OPENED = e.ReviewOpened("v1", "r1", "work#0", HASH, "pay", "desk", EXPIRES, HASH)


def verdict(outcome: Outcome) -> e.VerdictRecord:
    return e.VerdictRecord(outcome, HASH)


def decided(outcome: Outcome, id: str = "work#0", cost: str = "0") -> e.CallDecided:
    record = e.CallRecord(id, "agent", "1", "work", "pay", HASH, {}, HASH)
    key = "k" if outcome is Outcome.ALLOW else ""
    return e.CallDecided(record, verdict(outcome), HASH, key, ("v1",) if outcome is Outcome.ESCALATE else (), cost)


def again(outcome: Outcome) -> e.CallDecidedAgain:
    key = "k" if outcome is Outcome.ALLOW else ""
    return e.CallDecidedAgain("work#0", verdict(outcome), HASH, (), key, ("v2",) if outcome is Outcome.ESCALATE else ())


# --- tasks --------------------------------------------------------------------------------------------------

TASK_EVENTS: dict[str, Fact] = {
    "started": e.TaskStarted("t", "agent"),
    "expanded": e.TaskExpanded("t", 2),
    "skipped": e.TaskSkipped("t", "a failed"),
    "finished": e.TaskFinished("t", True, output=HASH),
    "failed": e.TaskFinished("t", False, error=HASH, cause="ValueError"),
}
TASK_PATHS: dict[TaskStatus, tuple[str, ...]] = {
    TaskStatus.PENDING: (),
    TaskStatus.RUNNING: ("started",),
    TaskStatus.EXPANDED: ("expanded",),
    TaskStatus.DONE: ("started", "finished"),
    TaskStatus.FAILED: ("failed",),
    TaskStatus.SKIPPED: ("skipped",),
}


def test_the_tables_have_no_event_or_status_that_is_not_tested() -> None:
    assert {event for _, event in TASKS} == set(TASK_EVENTS)
    assert set(TASK_PATHS) == set(TaskStatus)
    assert {event for _, event in CALLS} == {event for event, _ in CALL_EVENTS}
    assert set(CALL_PATHS) | {CallStatus.REQUESTED} == set(CallStatus)
    assert {event for _, event in REVIEWS} == set(REVIEW_EVENTS)
    assert set(REVIEW_PATHS) == set(ReviewStatus)


@pytest.mark.parametrize(("status", "event"), list(itertools.product(TaskStatus, TASK_EVENTS)))
def test_a_task_changes_as_its_table_says_and_in_no_other_way(status: TaskStatus, event: str) -> None:
    before = folded(RUN, *(TASK_EVENTS[one] for one in TASK_PATHS[status]))
    assert standing(before, "t") is status
    after = TASKS.get((status, event))
    if after is None:
        with pytest.raises(Tampered, match=f"what is {status} can't be {event}"):
            folded(before, TASK_EVENTS[event])
        return
    assert folded(before, TASK_EVENTS[event]).tasks["t"].status is after


# --- calls --------------------------------------------------------------------------------------------------

CALL_EVENTS: list[tuple[str, Fact]] = [
    ("rejected", e.CallRejected("work#0", "work", "pay", HASH, HASH)),
    ("denied", decided(Outcome.DENY)),
    ("escalated", decided(Outcome.ESCALATE)),
    ("allowed", decided(Outcome.ALLOW)),
    ("denied", again(Outcome.DENY)),
    ("escalated", again(Outcome.ESCALATE)),
    ("allowed", again(Outcome.ALLOW)),
    ("refused", e.CallRefused("work#0", "ruled")),
    ("answered", e.CallAnswered("work#0", HASH, "ann", ())),
    ("settled", e.CallSettled("work#0", True, result=HASH)),
    ("settled", e.CallSettled("work#0", False, error=HASH, cause="ValueError")),
    ("in doubt", e.CallInDoubt("work#0", "v3")),
    ("intended again", e.CallIntendedAgain("work#0", "k", "repeat")),
]
ALLOWED, ESCALATED = decided(Outcome.ALLOW), decided(Outcome.ESCALATE)
CALL_PATHS: dict[CallStatus, tuple[Fact, ...]] = {
    CallStatus.REJECTED: (CALL_EVENTS[0][1],),
    CallStatus.REFUSED: (decided(Outcome.DENY),),
    CallStatus.WAITING: (ESCALATED,),
    CallStatus.INTENDED: (ALLOWED,),
    CallStatus.IN_DOUBT: (ALLOWED, e.CallInDoubt("work#0", "v3")),
    CallStatus.SETTLED: (ALLOWED, e.CallSettled("work#0", True, result=HASH)),
}
REQUESTS = (e.CallRejected, e.CallDecided)


@pytest.mark.parametrize(
    "number", range(len(CALL_EVENTS)), ids=[f"{event}-{n}" for n, (event, _) in enumerate(CALL_EVENTS)]
)
@pytest.mark.parametrize("status", CallStatus)
def test_a_call_changes_as_its_table_says_and_in_no_other_way(status: CallStatus, number: int) -> None:
    event, body = CALL_EVENTS[number]
    before = RUN if status is CallStatus.REQUESTED else folded(RUN, *CALL_PATHS[status])
    # A request is the first that is heard of a call, and nothing else is.
    after = CALLS.get((status, event)) if isinstance(body, REQUESTS) == (status is CallStatus.REQUESTED) else None
    if after is None:
        with pytest.raises(Tampered):
            folded(before, body)
        return
    state = folded(before, body)
    call = state.calls["work#0"]
    assert call.status is after
    assert (state.waiting, state.tasks["work"].waiting) == ((1, ("work#0",)) if is_waiting(call) else (0, ()))


def test_an_effect_comes_after_an_intent_and_after_nothing_else() -> None:
    """Guarantee 1, in the table itself: whatever is settled was allowed; whatever is refused is over."""
    assert {before for (before, event) in CALLS if event == "settled"} == {CallStatus.INTENDED, CallStatus.IN_DOUBT}
    into_intended = {event for (_, event), after in CALLS.items() if after is CallStatus.INTENDED}
    assert into_intended == {"allowed", "intended again"}
    over = {CallStatus.REJECTED, CallStatus.REFUSED, CallStatus.SETTLED}
    assert not [before for (before, _) in CALLS if before in over]


@pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.RUNNING])
def test_only_a_running_task_makes_calls(status: TaskStatus) -> None:
    state = folded(RUN, *(TASK_EVENTS[one] for one in TASK_PATHS[status]))
    for body in (decided(Outcome.ALLOW), CALL_EVENTS[0][1]):
        if isinstance(body, e.CallDecided):
            record = msgspec.structs.replace(body.call, task="t")
            made: Fact = msgspec.structs.replace(body, call=record)
        else:
            made = msgspec.structs.replace(body, task="t")
        with pytest.raises(Tampered, match="task `t` is not running"):
            folded(state, made)


# --- reviews ------------------------------------------------------------------------------------------------

REVIEW_EVENTS: dict[str, Fact] = {
    "approved": e.ReviewRuled("v1", HASH, True, "ann"),
    "denied": e.ReviewRuled("v1", HASH, False, "ann"),
    "expired": e.ReviewExpired("v1"),
    "consumed": e.ReviewConsumed("v1", "r1", "work#0", HASH),
    "withdrawn": e.ReviewWithdrawn("v1", "refused"),
    "claimed": e.ReviewClaimed("v1", "ann", "2026-01-05T09:30:00.000000Z"),
    "released": e.ReviewReleased("v1", "ann"),
    "commented": e.ReviewCommented("v1", "ann", HASH),
    "handed on": e.ReviewHandedOn("v1", "board", "2026-01-06T09:00:00.000000Z", e.Terms(), "ann"),
    "voted": e.ReviewRuled("v1", HASH, False, "ann"),
}
REVIEW_PATHS: dict[ReviewStatus, tuple[str, ...]] = {
    ReviewStatus.OPEN: (),
    ReviewStatus.CLAIMED: ("claimed",),
    ReviewStatus.APPROVED: ("approved",),
    ReviewStatus.DENIED: ("denied",),
    ReviewStatus.EXPIRED: ("expired",),
    ReviewStatus.CONSUMED: ("approved", "consumed"),
    ReviewStatus.WITHDRAWN: ("withdrawn",),
}


@pytest.mark.parametrize(("status", "event"), list(itertools.product(ReviewStatus, REVIEW_EVENTS)))
def test_a_review_changes_as_its_table_says_and_in_no_other_way(status: ReviewStatus, event: str) -> None:
    terms = e.Terms(denials=2 if event == "voted" else 1, hand_on_to=("board",))
    path = [REVIEW_EVENTS[one] for one in REVIEW_PATHS[status]]
    if status is ReviewStatus.DENIED and event == "voted":
        path.append(e.ReviewRuled("v1", HASH, False, "bob"))
    before = folded(None, msgspec.structs.replace(OPENED, terms=terms), *path)
    assert before.status is status
    after = REVIEWS.get((status, event))
    if after is None:
        with pytest.raises(Tampered, match=f"what is {status} can't be"):
            folded(before, REVIEW_EVENTS[event])
        return
    assert folded(before, REVIEW_EVENTS[event]).status is after


@pytest.mark.parametrize(
    "body",
    [
        e.ReviewRuled("v1", "cd" * 32, True, "ann"),
        e.ReviewRuled("v2", HASH, True, "ann"),
        e.ReviewExpired("v2"),
        e.ReviewConsumed("v1", "r1", "work#0", "cd" * 32),
        e.ReviewConsumed("v1", "r1", "work#1", HASH),
        e.ReviewConsumed("v1", "r2", "work#0", HASH),
        e.ReviewConsumed("v2", "r1", "work#0", HASH),
        e.Owned(1, "w"),
        OPENED,
        STARTED,
    ],
)
def test_what_is_about_another_review_or_call_is_refused(body: Fact) -> None:
    state = folded(None, OPENED, *([REVIEW_EVENTS["approved"]] if isinstance(body, e.ReviewConsumed) else []))
    with pytest.raises(Tampered):
        folded(state, body)


# --- streams ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stream", "body"), [
    ("run/r2", STARTED), ("review/r1", STARTED), ("review/v2", OPENED), ("run/v1", OPENED), ("run/r1", e.Owned(1, "w")),
    ("policy", e.PolicyLoaded(HASH, {})), ("run/r1", ALLOWED), ("review/v1", REVIEW_EVENTS["approved"]),
])  # fmt: skip
def test_a_stream_begins_with_its_own_first_entry_and_no_other(stream: str, body: Fact) -> None:
    with pytest.raises(Tampered, match="can't begin with"):
        apply(None, entry(stream, Head(), body))


@pytest.mark.parametrize(
    "body", [OPENED, STARTED, REVIEW_EVENTS["approved"], e.PolicyLoaded(HASH, {}), e.Exported((), 1, HASH)]
)
def test_what_belongs_in_another_stream_is_refused(body: Fact) -> None:
    with pytest.raises(Tampered, match="does not belong in a run's stream"):
        apply(RUN, entry("run/r1", RUN.head, body))


@pytest.mark.parametrize("body", [e.Owned(2, "w"), e.TaskStarted("x", "agent"), ALLOWED, e.RunFinished(True)])
@pytest.mark.parametrize("ok", [True, False])
def test_a_run_that_is_over_stays_as_it_is(ok: bool, body: Fact) -> None:
    over = folded(RUN, e.RunFinished(ok, HASH if ok else None, () if ok else ("work",)))
    assert (over.status, over.ended) == (RunStatus.DONE if ok else RunStatus.FAILED, AT)
    with pytest.raises(Tampered, match="already"):
        folded(over, body)


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_epochs_follow_each_other(epoch: int) -> None:
    assert folded(RUN, e.Owned(2, "x")).worker == "x"
    with pytest.raises(Tampered, match="epoch"):
        folded(RUN, e.Owned(epoch, "x"))


@pytest.mark.parametrize("cost", ["", "abc", "1,5"])
def test_a_cost_that_is_no_number_is_refused(cost: str) -> None:
    with pytest.raises(Tampered, match="not a number"):
        folded(RUN, decided(Outcome.ALLOW, cost=cost))


def test_counters_are_of_what_was_decided_and_intended() -> None:
    state = folded(
        RUN,
        decided(Outcome.ALLOW, "work#0", "1.10"),
        decided(Outcome.DENY, "work#1", "5"),
        decided(Outcome.ESCALATE, "work#2", "0.25"),
        e.CallIntendedAgain("work#0", "k", "repeat"),
    )
    assert (state.spent.calls, state.spent.cost) == (1, Decimal("1.10"))
    assert (state.history.allowed, state.history.escalated, state.history.denied) == (1, 1, 1)
    assert state.last["pay"] == "escalate"
    state = folded(state, e.CallDecidedAgain("work#2", verdict(Outcome.ALLOW), HASH, (), "k"))
    assert (state.spent.calls, state.spent.cost) == (2, Decimal("1.35"))
    assert state.spent_by_tool["pay"] == state.spent
    assert state.last["pay"] == "allow"


@pytest.mark.parametrize(
    ("body", "progress"),
    [
        (e.TaskStarted("x", "agent"), True),
        (e.CallIntendedAgain("work#0", "k", "repeat"), False),
        (e.CallIntendedAgain("work#0", "k", "probe"), False),
        (e.CallIntendedAgain("work#0", "k", "ruled"), True),
        (e.CallSettled("work#0", True, result=HASH), True),
    ],
)
def test_owners_without_progress_are_counted_and_beginning_a_call_once_more_is_no_progress(
    body: Fact, progress: bool
) -> None:
    state = folded(RUN, ALLOWED, e.Owned(2, "w"), e.Owned(3, "w"))
    assert state.fruitless == 2
    assert folded(state, body).fruitless == (0 if progress else 2)


def test_a_fan_out_stands_as_all_of_its_instances() -> None:
    state = folded(RUN, e.TaskExpanded("t", 2, ("pii",)))
    assert (standing(state, "t"), state.tasks["t"].labels) == (TaskStatus.EXPANDED, ("pii",))
    state = folded(state, e.TaskStarted("t[0]", "agent", labels=("a",)), e.TaskStarted("t[1]", "agent"))
    state = folded(state, e.TaskFinished("t[1]", True, output=HASH))
    assert standing(state, "t") is TaskStatus.EXPANDED
    done = folded(state, e.TaskFinished("t[0]", True, output=HASH))
    assert (standing(done, "t"), done.tasks["t"].labels) == (TaskStatus.DONE, ("a", "pii"))
    assert standing(folded(state, e.TaskFinished("t[0]", False, error=HASH)), "t") is TaskStatus.FAILED
    assert standing(folded(RUN, e.TaskExpanded("t", 0)), "t") is TaskStatus.DONE
    assert standing(RUN, "nowhere") is TaskStatus.PENDING


@pytest.mark.parametrize(
    ("task", "parent"), [("a", ""), ("a[3]", "a"), ("a[3", ""), ("a]", ""), ("]", ""), ("a[1][2]", "a[1]")]
)
def test_the_parent_of_an_instance(task: str, parent: str) -> None:
    assert parent_of(task) == parent


def test_labels_are_never_forgotten() -> None:
    settle: Callable[..., Fact] = lambda id, *labels: e.CallSettled(id, True, result=HASH, labels=labels)  # noqa: E731
    state = folded(RUN, decided(Outcome.ALLOW, "work#0"), settle("work#0", "pii"))
    state = folded(state, decided(Outcome.ALLOW, "work#1"), settle("work#1", "a"), e.Owned(2, "x"))
    state = folded(state, decided(Outcome.ALLOW, "work#2"), settle("work#2"), e.TaskFinished("work", True, output=HASH))
    assert state.tasks["work"].labels == ("a", "pii")


def test_the_fold_is_one_function_whoever_folds_and_however_it_is_cut() -> None:
    bodies = [
        STARTED,
        e.Owned(1, "w"),
        e.TaskStarted("work", "agent"),
        ESCALATED,
        again(Outcome.ALLOW),
        e.CallSettled("work#0", True, result=HASH),
        e.TaskFinished("work", True, output=HASH),
        e.RunFinished(True, HASH),
    ]
    head, entries = Head(), []
    for body in bodies:
        entries.append(entry("run/r1", head, body))
        head = entries[-1].head
    whole = fold(entries)
    assert whole == fold(entries)
    for cut in range(1, len(entries)):
        state = fold(entries[:cut])
        for one in entries[cut:]:
            state = apply(state, one)
        assert state == whole
    assert fold([]) is None
    assert whole is not None
    assert whole.head == head
