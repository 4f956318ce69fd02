"""A review's life as a machine of people who do anything at any time, against an oracle that counts by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from remit.core import entries as e
from remit.core.entries import Fact, Head, seal, unseal
from remit.core.lifecycle import apply
from remit.core.reviews import ReviewState
from remit.errors import Tampered

HASH = "ab" * 32
WHO = st.sampled_from(["ann", "bob", "cat"])
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
LEASE, TTL = timedelta(minutes=30), timedelta(hours=2)


def stamp(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class Life(RuleBasedStateMachine):
    """The oracle keeps plain sets and says for each deed whether it may be; the fold must say the same."""

    @initialize(approvals=st.integers(1, 3), denials=st.integers(1, 2))
    def opened(self, approvals: int, denials: int) -> None:
        self.now = START
        self.approvals, self.denials = approvals, denials
        terms = e.Terms(approvals=approvals, denials=denials, hand_on_to=("board",), edit=("amount",))
        self.terms = terms
        body = e.ReviewOpened("r", "run", "c", HASH, "pay", "desk", stamp(START + TTL), HASH, terms=terms)
        self.state: Any = None
        self.append(body, may=True)
        self.expires = START + TTL
        self.said: dict[str, tuple[bool, str]] = {}
        """Each person's latest word: yes or no, and of which version."""
        self.spoke: set[tuple[str, str]] = set()
        self.denied: set[str] = set()
        self.version = HASH
        self.versions = 0
        self.holder: tuple[str, datetime] | None = None
        self.over = ""

    def append(self, body: Fact, *, may: bool) -> None:
        head = self.state.head if self.state is not None else Head()
        entry = unseal(seal("review/r", head, stamp(self.now), "w", body).bytes)
        try:
            after = apply(self.state, entry)
        except Tampered:
            assert not may, body
            return
        assert may, body
        self.state = after

    def held_by(self) -> str:
        return self.holder[0] if self.holder and self.now < self.holder[1] else ""

    @property
    def live(self) -> bool:
        return not self.over and self.now < self.expires

    @rule(minutes=st.sampled_from([1, 15, 30, 45]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(who=WHO)
    def claims(self, who: str) -> None:
        until = min(self.now + LEASE, self.expires)
        may = self.live and self.held_by() in ("", who) and (who, self.version) not in self.spoke
        self.append(e.ReviewClaimed("r", who, stamp(until)), may=may)
        if may:
            self.holder = (who, until)

    @rule(who=WHO)
    def releases(self, who: str) -> None:
        may = not self.over and self.holder is not None and self.holder[0] == who
        self.append(e.ReviewReleased("r", who), may=may)
        if may:
            self.holder = None

    @rule(who=WHO, kind=st.sampled_from(["yes", "no", "edit", "old"]))
    def somebody_rules(self, who: str, kind: str) -> None:
        self.versions += 1
        new = f"{self.versions:064x}" if kind == "edit" else ""
        about = "cd" * 32 if kind == "old" else self.version
        body = e.ReviewRuled("r", about, kind != "no", who, proposes=new, edited={"amount": HASH} if new else {})
        version = new or self.version
        may = self.live and kind != "old" and self.held_by() in ("", who) and (who, version) not in self.spoke
        may = may and not (kind == "no" and who in self.denied)
        self.append(body, may=may)
        if not may:
            return
        self.spoke.add((who, version))
        self.said.pop(who, None)
        self.said[who] = (kind != "no", version)
        if kind == "no":
            self.denied.add(who)
        self.version, self.holder = version, None
        nos = sum(not yes for yes, _ in self.said.values())
        yeses = sum(yes and of == self.version for yes, of in self.said.values())
        self.over = "denied" if nos >= self.denials else "approved" if yeses >= self.approvals else ""

    @rule(who=st.sampled_from(["ann", ""]), to=st.sampled_from(["board", "elsewhere"]))
    def hands_on(self, who: str, to: str) -> None:
        body = e.ReviewHandedOn("r", to, stamp(self.now + TTL), self.terms, who)
        may = bool(who) and self.live and to == "board"
        self.append(body, may=may)
        if may:
            self.expires, self.version, self.holder = self.now + TTL, HASH, None
            self.said, self.spoke, self.denied = {}, set(), set()

    @rule()
    def is_used(self) -> None:
        self.append(e.ReviewConsumed("r", "run", "c", self.version), may=self.over == "approved")
        self.over = "consumed" if self.over == "approved" else self.over

    @invariant()
    def the_fold_says_what_the_oracle_says(self) -> None:
        state = getattr(self, "state", None)
        if isinstance(state, ReviewState):
            assert state.status.value == self.over or (not self.over and state.waits)
            assert state.version == self.version
            assert state.holder(stamp(self.now)) == (self.held_by() if not self.over else "")


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase
