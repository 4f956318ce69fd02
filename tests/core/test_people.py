"""Queues and reviewers as policy: what loads, what is refused with its place, and what working hours mean."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.entries import ReviewRuled, Terms
from remit.core.people import Hours, People, Queue, allowed_signers, deadline, read_people
from remit.core.policy import load_policies
from remit.core.reviews import Vote, seats_filled, tally
from remit.errors import PolicyError, Problem

sys.path.insert(0, str(Path(__file__).parent.parent / "runtime"))
from pens import Pen

KEYS = {name: Pen(name).public.text for name in ("ann", "bob", "cat")}


class Pay:
    name = "pay"
    arguments: Mapping[str, Any] = {
        "type": "object",
        "properties": {"amount": {"type": "integer"}, "iban": {"type": "string"}},
        "required": ["amount", "iban"],
    }


POLICY = "policy: p\nrules:\n  - {id: r, tools: [pay], escalate: args.amount > 5, to: finance}\n"
REVIEWERS = dedent(
    f"""\
    reviewers:
      ann:
        name: Ann
        groups: [finance]
        also: [ann.meier]
        until: 2027-01-01
        keys:
          - {{key: {KEYS["ann"]} ann@laptop, from: 2026-01-01, until: "2026-06-30T12:00:00+02:00"}}
        delegates:
          - {{to: bob, from: 2026-02-01, until: 2026-03-01, queues: [finance]}}
      bob:
        groups: [finance, legal]
        keys: [{{key: {KEYS["bob"]}}}]
    """
)
QUEUES = dedent(
    """\
    queues:
      finance:
        reviewers: [finance]
        approvals: 2
        ttl: 8h
        on_expiry: hand on
        hand_on_to: [board]
        claim: 10m
        edit: [amount]
        respond: true
        priority: args.amount / 100
        working_hours: {timezone: Europe/Berlin, hours: "09:00-17:00"}
      board:
        reviewers: [bob]
    """
)


def load(queues: str = QUEUES, reviewers: str = REVIEWERS, policy: str = POLICY) -> Any:
    files = {"p.yaml": policy, "queues.yaml": queues, "reviewers.yaml": reviewers}
    return load_policies(files, [Pay()], lambda tool: {"args": tool.arguments})


def problems(queues: str = QUEUES, reviewers: str = REVIEWERS, policy: str = POLICY) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as raised:
        load(queues, reviewers, policy)
    return raised.value.problems


def test_queues_and_reviewers_are_part_of_the_policy_set_and_of_its_digest() -> None:
    policies = load()
    queue = policies.queues["finance"]
    assert (queue.ttl, queue.hand_on_to, queue.hours) == (
        8 * 3600, ("board",), Hours("Europe/Berlin", (0, 1, 2, 3, 4), 540, 1020),
    )  # fmt: skip
    assert queue.terms == Terms(
        approvals=2, next="board", hand_on_to=("board",), claim=600, edit=("amount",), respond=True
    )
    assert policies.people.members(queue) == {"ann", "bob"}
    assert policies.priorities["finance", "pay"].evaluate({"args": {"amount": 700, "iban": ""}}) == 7
    assert read_people(policies.texts) == policies.people
    assert load(reviewers=REVIEWERS.replace("name: Ann", "name: Anna")).digest != policies.digest


def test_a_key_counts_for_its_owner_and_in_its_time_only() -> None:
    people: People = load().people
    for at, owner in (
        ("2025-12-31T23:59:59.999999Z", None),
        ("2026-01-01T00:00:00.000000Z", "ann"),
        ("2026-06-30T09:59:59.999999Z", "ann"),
        ("2026-06-30T10:00:00.000000Z", None),
    ):
        found = people.owner(KEYS["ann"], at)
        assert (found.id if found else None) == owner
    assert people.owner(KEYS["cat"], "2026-05-01T00:00:00.000000Z") is None
    assert people.delegated("ann", "bob", "finance", "2026-02-15T00:00:00.000000Z")
    assert not people.delegated("ann", "bob", "board", "2026-02-15T00:00:00.000000Z")
    assert not people.delegated("ann", "bob", "finance", "2026-03-01T00:00:00.000000Z")
    assert not people.delegated("bob", "ann", "finance", "2026-02-15T00:00:00.000000Z")


@pytest.mark.parametrize(
    ("old", "new", "file", "message", "line"),
    [
        ("approvals: 2", "approvals: 3", "queues.yaml", "queue `finance` can't be staffed", 2),
        ("approvals: 2", "approvals: {finance: 2, legal: 1}", "queues.yaml", "queue `finance` can't be staffed", 2),
        ("approvals: 2", "denials: 3", "queues.yaml", "queue `finance` can't be staffed", 2),
        ("approvals: 2", "approvals: 0", "queues.yaml", "`approvals` can't be the number `0`", 4),
        ("approvals: 2", "approvals: two", "queues.yaml", "`approvals` can't be `two`", 4),
        ("approvals: 2", "approvals: {}", "queues.yaml", "`approvals` can't be keys with values", 4),
        ("reviewers: [finance]", "reviewers: [finace]", "queues.yaml", "there is no reviewer or group `finace`", 3),
        ("reviewers: [bob]", "reviewers: []", "queues.yaml", "queue `board` can't be staffed: it has no reviewers", 13),
        ("hand_on_to: [board]", "hand_on_to: [boards]", "queues.yaml", "there is no other queue `boards`", 7),
        ("        hand_on_to: [board]\n", "", "queues.yaml", "queue `finance` hands on to no queue", 6),
        ("reviewers: [bob]", "reviewers: [bob]\n    on_expiry: hand on\n    hand_on_to: [finance]", "queues.yaml",
         "from queue `finance` a review would be handed on for ever", 7),
        ("Europe/Berlin", "Europe/Berlim", "queues.yaml", "there is no timezone `Europe/Berlim`", 12),
        ("09:00-17:00", "17:00-09:00", "queues.yaml", "`hours` can't be `17:00-09:00`", 12),
        ("args.amount / 100", "args.iban", "queues.yaml", "`priority` must be a whole number", 11),
        ("args.amount / 100", "args.amuont", "queues.yaml", "`priority` must be a whole number", 11),
        ("claim: 10m", "claim: 10", "queues.yaml", "`claim` must be text, not the number `10`", 8),
        ("claim: 10m", "may_also_rule: [principal]", "queues.yaml",
         "item 1 of `may_also_rule` can't be `principal`", 8),
        ("to: bob", "to: bobby", "reviewers.yaml", "there is no reviewer `bobby`", 10),
        ("to: bob", "to: ann", "reviewers.yaml", "`ann` can't be their own delegate", 10),
        ("queues: [finance]", "queues: [finances]", "reviewers.yaml", "there is no queue `finances`", 10),
        ("until: 2027-01-01", "until: soon", "reviewers.yaml", "`until` can't be `soon`", 6),
        ("until: 2027-01-01", "until: 2027-02-30", "reviewers.yaml", "`until` can't be `2027-02-30`", 6),
        (KEYS["bob"], KEYS["ann"], "reviewers.yaml", "this key is `ann`'s already", 13),
        (KEYS["bob"], "ssh-rsa AAAA", "reviewers.yaml", "`key` can't be", 13),
        ("groups: [finance, legal]", "groups: [finance, ann]", "reviewers.yaml", "`ann` is a reviewer and a group", 2),
        ("groups: [finance, legal]", "group: [finance]", "reviewers.yaml", "unknown key `group`", 12),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_when_the_policy_loads_with_its_place(
    old: str, new: str, file: str, message: str, line: int
) -> None:
    queues, reviewers = QUEUES, REVIEWERS
    if file == "queues.yaml":
        old_, new_ = old, new.replace("        ", "    ") if old.startswith("  ") else new
        queues = QUEUES.replace(old_.replace("        ", "    "), new_)
        assert queues != QUEUES
    else:
        reviewers = REVIEWERS.replace(old, new)
        assert reviewers != REVIEWERS
    told = [problem for problem in problems(queues, reviewers) if problem.file == file]
    assert any(problem.message.startswith(message) and problem.line == line for problem in told), told


def test_a_queue_without_anybody_who_can_sign_is_refused_only_where_calls_can_come_there() -> None:
    spare = QUEUES + "  spare: {}\n"
    assert "spare" in load(spare).queues
    (told,) = problems(spare, policy=POLICY.replace("to: finance", "to: spare"))
    assert told.message == "queue `spare` can't be staffed: it has no reviewers"
    alone = "single_operator: true\nqueues:\n  finance: {}\n"
    assert load(alone, "reviewers: {}\n").people.single_operator
    assert "can't be staffed" in problems(alone.replace("{}", "{approvals: 2}"), "reviewers: {}\n")[0].message


# --- quorum: the whole space of a small world ------------------------------------------------------------------

GROUPS = ("a", "b")
MEMBERS = [frozenset(one) for size in range(3) for one in itertools.combinations(GROUPS, size)]


def oracle(terms: Terms, people: tuple[frozenset[str], ...]) -> bool:
    """Tries every way to seat them."""
    seats = [group for group, count in terms.groups.items() for _ in range(count)] or [""] * terms.approvals
    return any(
        all(not seat or seat in person for seat, person in zip(seats, seated, strict=True))
        for seated in itertools.permutations(people, len(seats))
    )


def test_a_quorum_is_one_exactly_where_every_seat_has_a_person_of_its_own() -> None:
    kinds = [Terms(approvals=n) for n in (1, 2, 3)]
    kinds += [Terms(groups={"a": x, "b": y}) for x in (1, 2) for y in (1, 2)] + [Terms(groups={"a": 2})]
    for terms in kinds:
        for count in range(5):
            for people in itertools.product(MEMBERS, repeat=count):
                assert seats_filled(terms, people) is oracle(terms, people), (terms, people)


def test_votes_come_to_what_the_latest_of_each_person_says() -> None:
    """All sequences of up to four votes of three people on two versions, against counting by hand."""
    ways = [(who, what) for who in "xyz" for what in ("no", "v1", "v2")]
    for terms in (Terms(approvals=2), Terms(approvals=2, denials=2), Terms(approvals=1, denials=3)):
        for count in range(1, 5):
            for said in itertools.product(ways, repeat=count):
                votes = [
                    Vote(ReviewRuled("r", "v1" if what == "no" else what, what != "no", who), "", "", 1)
                    for who, what in said
                ]
                last = dict(said)
                nos = sum(what == "no" for what in last.values())
                yes = sum(what == "v2" for what in last.values())
                wanted = "denied" if nos >= terms.denials else "approved" if yes >= terms.approvals else "voted"
                assert tally(terms, votes, "v2") == wanted


# --- working hours -----------------------------------------------------------------------------------------

BERLIN = Hours("Europe/Berlin", (0, 1, 2, 3, 4), 9 * 60, 17 * 60)


@pytest.mark.parametrize(
    ("now", "hours", "wanted"),
    [
        ("2026-01-05T09:00", 2, "2026-01-05T11:00"),  # Monday, 10:00 there
        ("2026-01-05T15:00", 2, "2026-01-06T09:00"),  # an hour today, an hour tomorrow
        ("2026-01-09T15:00", 2, "2026-01-12T09:00"),  # over the weekend
        ("2026-01-10T12:00", 8, "2026-01-12T16:00"),  # from Saturday: all of Monday
        ("2026-03-27T15:00", 2, "2026-03-30T08:00"),  # the clock was put forward on Sunday
        ("2026-01-05T03:00", 1, "2026-01-05T09:00"),  # before they begin
    ],
)
def test_a_time_to_live_runs_in_working_hours_only(now: str, hours: int, wanted: str) -> None:
    queue = Queue("q", hours * 3600, hours=BERLIN)
    assert deadline(datetime.fromisoformat(now + "Z"), queue) == datetime.fromisoformat(wanted + "Z")


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.integers(60, 200_000),
    st.sets(st.integers(0, 6), min_size=1), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Lima"]),
)  # fmt: skip
def test_a_deadline_is_never_earlier_than_the_time_to_live_and_lies_in_working_hours(
    now: datetime, ttl: int, days: set[int], zone: str
) -> None:
    from zoneinfo import ZoneInfo

    now = now.replace(tzinfo=UTC, microsecond=0)
    found = deadline(now, Queue("q", ttl, hours=Hours(zone, tuple(sorted(days)), 540, 1020)))
    assert found - now >= timedelta(seconds=ttl)
    there = found.astimezone(ZoneInfo(zone))
    assert there.weekday() in days and 540 <= there.hour * 60 + there.minute <= 1020


def test_the_reviewers_keys_are_written_as_ssh_keygen_reads_them() -> None:
    text = allowed_signers([load().people, load().people])
    assert text.splitlines() == [
        f'ann namespaces="ruling@remit",valid-after="20260101000000Z",valid-before="20260630100000Z" {KEYS["ann"]}',
        f'bob namespaces="ruling@remit" {KEYS["bob"]}',
    ]
