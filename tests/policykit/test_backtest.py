"""Backtests: the set in force finds no difference, another one exactly those there are, and nothing is guessed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packs import POLICY, QUEUES, TOOLS, tools
from test_explain import seen

from remit.core import entries as e
from remit.core.canonical import canonical
from remit.core.decide import Approval, decide
from remit.core.entries import Head, Outcome, VerdictRecord, seal
from remit.errors import Tampered
from remit.policykit.backtest import Backtest, Loaded, Report, Row
from remit.policykit.pages import page
from remit.policykit.situations import Situation
from remit.policykit.toolset import Toolset, read_tools

FILES = {"refunds.yaml": POLICY, "queues.yaml": QUEUES}
CANDIDATES = [
    FILES,
    {**FILES, "refunds.yaml": POLICY.replace("50", "80")},
    {**FILES, "refunds.yaml": POLICY.replace("50", "20")},
    {**FILES, "refunds.yaml": POLICY.replace("&& !(spent.calls < 3)", "")},
    {**FILES, "refunds.yaml": POLICY + "  - {id: all, tools: [refund], escalate: true, to: support}\n"},
    {**FILES, "refunds.yaml": POLICY + "  - {id: none, tools: [refund], deny: true}\n"},
]
AT = "2026-01-05T09:00:00.000000Z"


def types(of: Toolset) -> bytes:
    return canonical({name: {"spec": spec.document(), "facts": of.facts[name]} for name, spec in of.specs.items()})


CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "amount": st.sampled_from(["5", "20", "20.01", "50", "50.01", "80", "80.5", "1000"]),
            "kind": st.sampled_from(["goods", "shipping"]),
            "known": st.sampled_from([True, False, None]),  # None: the provider failed
            "calls": st.integers(0, 5),
            "ruled": st.sampled_from(["approved", "denied", "expired", "open"]),
        }
    ),
    min_size=1,
    max_size=12,
)


def facts(call: Mapping[str, Any], toolset: Toolset) -> Situation:
    args = {"order": "A1", "amount": call["amount"], "kind": call["kind"]}
    found = seen("refund", args, toolset)
    known = {} if call["known"] is None else {"known": {"customer": call["known"]}}
    spent = {"calls": call["calls"], "cost": "0", "by_tool": {}}
    return dataclasses.replace(found, document={**found.document, "facts": known, "spent": spent})


class Story:
    """A journal of these calls: decided, asked about, ruled on and decided again as the gate does it."""

    def __init__(self, calls: list[dict[str, Any]], toolset: Toolset, files: dict[str, str]) -> None:
        self.toolset, self.files = toolset, files
        self.rules = toolset.load(files)
        self._heads: dict[str, Head] = {}
        self.rows = [row for number, call in enumerate(calls) for row in self._call(number, call)]
        self.loaded = [Loaded(self.rules.digest, types(toolset), files)]

    def _entry(self, stream: str, body: e.Fact, values: Mapping[str, object]) -> Row:
        sealed = seal(stream, self._heads.get(stream, Head()), AT, "gate", body)
        self._heads[stream] = sealed.head
        return Row(sealed.kind, sealed.bytes, canonical(dict(values)))

    def _call(self, number: int, call: dict[str, Any]) -> Iterator[Row]:
        found, id, review = facts(call, self.toolset), f"t#{number}", f"v{number}"
        verdict = decide("refund", found.seen, self.rules)
        record = e.CallRecord(id, "a", "1", "t", "refund", found.tool.digest, dict.fromkeys(found.args, "00"), "ab")
        escalated = verdict.outcome is Outcome.ESCALATE
        values = {**{f"/args/{name}": value for name, value in found.args.items()}, "/facts": found.document}
        body = e.CallDecided(
            record,
            _record(verdict),
            "00",
            "k" if verdict.outcome is Outcome.ALLOW else "",
            (review,) if escalated else (),
        )
        yield self._entry("run/r", body, values)
        if not escalated:
            return
        hits = tuple(hit for hit in (*verdict.rules, *verdict.broken) if hit.effect is Outcome.ESCALATE)
        yield self._entry(
            f"review/{review}", e.ReviewOpened(review, "r", id, "ab", "refund", "support", AT, "00", hits), {}
        )
        if call["ruled"] == "open":
            return
        if call["ruled"] == "expired":
            yield self._entry(f"review/{review}", e.ReviewExpired(review), {})
            yield self._entry("run/r", e.CallRefused(id, "expired"), {})
            return
        shown = tuple(hit.digest for hit in hits)
        ruling = e.Ruling(review, "00")
        approved = call["ruled"] == "approved"
        yield self._entry(f"review/{review}", e.ReviewRuled(review, "ab", approved, "bob", shown), {})
        if not approved:
            yield self._entry("run/r", e.CallRefused(id, "ruled", (ruling,)), {})
            return
        document = {**found.document, "approval": {"given": True, "reviewers": ["bob"]}}
        again = decide(
            "refund",
            dataclasses.replace(found, document=document).seen,
            self.rules,
            Approval({"support": frozenset(shown)}),
        )
        yield self._entry("run/r", e.CallDecidedAgain(id, _record(again), "00", (ruling,), "k"), {"/facts": document})


def _record(verdict: Any) -> VerdictRecord:
    return VerdictRecord(verdict.outcome, verdict.policies, verdict.rules, verdict.broken, verdict.shadow)


def run(story: Story, files: dict[str, str], rows: list[Row] | None = None) -> Report:
    made = Backtest(files, story.loaded)
    made.feed(story.rows if rows is None else rows)
    return made.done


@settings(max_examples=40)
@given(CALLS, st.sampled_from(CANDIDATES))
def test_a_backtest_of_the_set_in_force_finds_no_difference(calls: list[dict[str, Any]], files: dict[str, str]) -> None:
    story = Story(calls, tools(), files)
    report = run(story, files)
    assert report.decisions == report.same == sum(row.kind.startswith("call.decided") for row in story.rows)
    assert (report.changes, report.undecidable, report.other_rules, report.overruled) == (Counter(), 0, 0, Counter())
    assert report.reviews == report.reviews_then


@settings(max_examples=40)
@given(CALLS, st.sampled_from(CANDIDATES))
def test_a_backtest_counts_exactly_what_deciding_anew_gives(calls: list[dict[str, Any]], files: dict[str, str]) -> None:
    toolset = tools()
    report = run(Story(calls, toolset, FILES), files)
    before, after = toolset.load(FILES), toolset.load(files)
    changes: Counter[tuple[str, str]] = Counter()
    reviews: Counter[str] = Counter()
    overruled: Counter[tuple[str, str]] = Counter()
    for call in calls:
        roots = facts(call, toolset).seen
        was, then = (decide("refund", roots, rules).outcome for rules in (before, after))
        changes[was.value, then.value] += was is not then
        reviews["was"] += was is Outcome.ESCALATE
        reviews["then"] += then is Outcome.ESCALATE
        if was is Outcome.ESCALATE:
            if call["ruled"] == "approved":
                # Decided again: people would have been shown the candidate's rules.
                changes["allow", "deny"] += then is Outcome.DENY
                overruled["approved", "deny"] += then is Outcome.DENY
            elif call["ruled"] == "denied":
                overruled["denied", "allow"] += then is Outcome.ALLOW
    assert +report.changes == +changes
    assert (report.reviews, report.reviews_then) == (reviews["was"], reviews["then"])
    assert +report.overruled == +overruled
    assert report.same + sum(report.changes.values()) + report.undecidable == report.decisions


GOOD = {"amount": "5", "kind": "goods", "known": True, "calls": 0, "ruled": "open"}


def newer() -> Toolset:
    return read_tools(
        "tools.yaml",
        TOOLS.replace(
            "    facts:\n",
            "    facts:\n      risk: {type: object, properties: {high: {type: boolean}}, required: [high]}\n",
        ),
    )


def test_what_rests_on_a_fact_that_nobody_asked_for_can_not_be_decided() -> None:
    story = Story([GOOD, {**GOOD, "amount": "60"}], tools(), FILES)
    files = {
        **FILES,
        "refunds.yaml": POLICY + "  - {id: risky, tools: [refund], deny: args.amount > 50 && facts.risk.high}\n",
    }
    made = Backtest(files, story.loaded, newer())
    made.feed(story.rows)
    # Where the value makes no difference, the decision is made.
    assert (made.done.same, dict(made.done.undecided)) == (1, {"fact `risk` was not asked for then": 1})
    files = {**FILES, "refunds.yaml": POLICY + "  - {id: risky, tools: [refund], deny: has(facts.risk)}\n"}
    made = Backtest(files, story.loaded, newer())
    made.feed(story.rows)
    assert made.done.undecidable == 2  # absent then, and it would not be now: nobody can say


def test_what_was_erased_can_not_be_decided() -> None:
    story = Story([GOOD] * 3, tools(), FILES)
    rows = [*story.rows]
    rows[0] = rows[0]._replace(values=b"{}")
    rows[1] = rows[1]._replace(values=rows[1].values.replace(b"/args/kind", b"/args/gone"))
    report = run(story, FILES, rows)
    assert (report.same, dict(report.undecided)) == (1, {"its arguments or facts were erased or withheld": 2})


def test_a_tool_that_the_candidate_no_longer_fits_can_not_be_decided() -> None:
    older = read_tools("tools.yaml", TOOLS.replace("kind: {enum: [goods, shipping]}", "kind: {type: integer}"))
    older_policy = {**FILES, "refunds.yaml": POLICY.replace('args.kind == "shipping"', "args.kind == 1")}
    story = Story([{**GOOD, "kind": 1}], older, older_policy)
    made = Backtest(FILES, story.loaded, tools())
    made.feed(story.rows)
    (why,) = made.done.undecided
    assert why.startswith("the candidate doesn't load for tool `refund` as it was")


def test_a_call_that_was_asked_for_before_the_period_is_told_apart() -> None:
    story = Story([{**GOOD, "amount": "60", "ruled": "approved"}], tools(), FILES)
    report = run(story, FILES, story.rows[1:])
    assert dict(report.undecided) == {"it was first asked for before the period": 1}


def test_nothing_is_kept_of_what_is_over() -> None:
    calls = [{**GOOD, "amount": "60", "ruled": ruled} for ruled in ("approved", "denied", "expired")] * 5
    made = Backtest(FILES, Story(calls, tools(), FILES).loaded)
    made.feed(Story(calls, tools(), FILES).rows)
    assert made.done.decisions == 20
    assert not any(made._waiting.values()) and not made._asked and not made._queues and not made._shown


def test_the_page_escapes_what_others_wrote_and_loads_nothing() -> None:
    evil = "<script>alert(1)</script>\u202e"
    story = Story([{**GOOD, "amount": "60"}], tools(), FILES)
    files = {**FILES, "refunds.yaml": POLICY + f"  - {{id: no, tools: [refund], deny: true, because: '{evil}'}}\n"}
    shown = page(run(story, files), evil)
    assert "<script" not in shown and "\u202e" not in shown and "&lt;script&gt;" in shown
    assert "http" not in shown.replace("http-equiv", "") and "src=" not in shown.replace("default-src", "")


def test_what_is_no_entry_or_no_value_stops_a_backtest_with_words() -> None:
    story = Story([GOOD], tools(), FILES)
    (row,) = story.rows
    for bad in (row._replace(data=b"{}"), row._replace(values=b'{"/facts":'), row._replace(data=row.data[:-9])):
        with pytest.raises(Tampered, match="after 0 decisions, an entry can't be read"):
            run(story, FILES, [bad])


def test_provenance_that_was_not_recorded_is_not_guessed() -> None:
    story = Story([GOOD, {**GOOD, "amount": "60"}], tools(), FILES)
    rule = "  - {id: read, tools: [refund], deny: args.amount > 50 && provenance.order.untrusted}\n"
    report = run(story, {**FILES, "refunds.yaml": POLICY + rule})
    assert (report.same, dict(report.undecided)) == (1, {"`provenance` was not recorded then": 1})


def test_nothing_is_kept_of_a_run_that_is_over_though_nobody_answered() -> None:
    story = Story([{**GOOD, "amount": "60"}] * 3, tools(), FILES)
    made = Backtest(FILES, story.loaded)
    made.feed([*story.rows, story._entry("run/r", e.RunFinished(False), {})])
    assert made.done.reviews == 3
    assert not made._waiting and not made._asked and not made._queues
