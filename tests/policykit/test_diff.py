"""What differs between two sets: every change of meaning is told, and which way verdicts can go by it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packs import POLICY, QUEUES, problems
from test_explain import seen

from remit.core.decide import decide
from remit.core.entries import Outcome
from remit.policykit.diff import Difference, compare
from remit.policykit.toolset import read_tools

FILES = {"refunds.yaml": POLICY, "queues.yaml": QUEUES}


def changed(old: str, new: str) -> list[Difference]:
    assert old in POLICY + QUEUES
    return compare(FILES, {name: text.replace(old, new) for name, text in FILES.items()})


def test_the_same_set_does_not_differ_however_it_is_written() -> None:
    assert compare(FILES, FILES) == []
    moved = {
        "other.yaml": "# a comment\n" + POLICY.replace("args.amount <= 50 &&", "args.amount  <=  50  &&"),
        "queues.yaml": QUEUES,
    }
    assert compare(FILES, moved) == []
    assert compare(FILES, {**FILES, "refunds.cases.yaml": "anything", "tools.yaml": "tools: {}"}) == []


@pytest.mark.parametrize(
    ("old", "new", "name", "words", "direction"),
    [
        ("<= 50 ", "<= 80 ", "refunds/small", "condition: 50, now 80", "wider"),
        ("<= 50 ", "<= 8.5 ", "refunds/small", "condition: 50, now 8.5", "stricter"),
        ("> 50\n", "> 80\n", "refunds/large", "condition: 50, now 80", "either"),
        ("< 3)", "< 4)", "refunds/shipping", "condition: 3, now 4", "either"),
        ("facts.known.customer", "!facts.known.customer", "refunds/small", "condition: `args.amount <= 50", "either"),
        ('"shipping"', '"goods"', "refunds/shipping", 'condition: "shipping", now "goods"', "either"),
        ("tools: [look]", "tools: [look, refund]", "refunds/look", "tools: also `refund`", "wider"),
        ("    deny: ", "    mode: shadow\n    deny: ", "refunds/shipping", "mode: enforce, now shadow", "wider"),
        ("    allow: args", "    deny: args", "refunds/small", "effect: it allows, now it denies", "stricter"),
        ("to: support", "to: legal", "refunds/large", "queue: support, now legal", "either"),
        ("is more than 50", "is a lot", "refunds/large", "because: other words", "same"),
        ("support: {}", "support: {ttl: 2h}", "queues.support.ttl", "queues.support.ttl: 2h", "either"),
    ],
)
def test_a_change_is_told_in_words_with_its_direction(
    old: str, new: str, name: str, words: str, direction: str
) -> None:
    found = {one.name: one for one in changed(old, new)}
    assert name in found
    assert found[name].direction.value == direction
    assert any(words in line for line in found[name].words), found[name].words


def test_added_and_removed_rules_are_told() -> None:
    more = POLICY + "  - {id: never, tools: ['*'], deny: spent.calls > 9}\n"
    (added,) = compare(FILES, {**FILES, "refunds.yaml": more})
    assert (added.change, added.name, added.direction.value) == ("added", "refunds/never", "stricter")
    assert added.words == ("denies every tool if `spent.calls > 9`",)
    (removed,) = compare({**FILES, "refunds.yaml": more}, FILES)
    assert (removed.change, removed.direction.value) == ("removed", "wider")


def test_a_file_that_can_not_be_read_is_told_with_its_place() -> None:
    (problem,) = problems(lambda: compare(FILES, {"a.yaml": "policy: p\nrules: 7\n"}))
    assert (problem.file, problem.line) == ("a.yaml", 2)


TOOLS = read_tools("tools.yaml", "tools:\n  t:\n    arguments: {a: {type: integer}, b: {type: boolean}}\n")
RULES = st.lists(
    st.tuples(
        st.sampled_from(["allow", "deny", "require"]),
        st.sampled_from(["args.a < N", "args.a <= N && args.b", "args.b || args.a > N", "!(args.a >= N)", "args.a >= N == args.b"]),
        st.integers(0, 4), st.integers(0, 4),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=80)
@given(RULES)
def test_what_is_called_stricter_widens_no_verdict_and_what_is_called_wider_narrows_none(
    rules: list[tuple[str, str, int, int]],
) -> None:
    def files(which: int) -> dict[str, str]:
        rows = [
            f"  - {{id: r{n}, tools: [t], {rule[0]}: '{rule[1].replace('N', str(rule[which]))}'}}"
            for n, rule in enumerate(rules)
        ]
        return {"p.yaml": "\n".join(["policy: p", "rules:", *rows])}

    told = {one.direction.value for one in compare(files(2), files(3))}
    order = [Outcome.ALLOW, Outcome.ESCALATE, Outcome.DENY]
    before, after = TOOLS.load(files(2)), TOOLS.load(files(3))
    for a in range(-1, 6):
        for b in (True, False):
            roots = seen("t", {"a": a, "b": b}, TOOLS).seen
            was, now = (order.index(decide("t", roots, rules_).outcome) for rules_ in (before, after))
            assert now >= was or told & {"wider", "either"}, (told, a, b)
            assert now <= was or told & {"stricter", "either"}, (told, a, b)


PURPOSES = """
purposes:
  billing: {description: Bills., principals: [ann], tools: [refund], labels: [in:finance]}
"""


@pytest.mark.parametrize(
    ("old", "new", "direction", "words"),
    [
        ("tools: [refund]", "tools: [refund, look]", "wider", "tools: also `look`"),
        ("tools: [refund]", "tools: [look]", "either", "tools: no longer `refund`"),
        ("principals: [ann]", "principals: ['*']", "either", "principals: also `*`"),
        (", labels: [in:finance]", "", "wider", "labels: any"),
        ("[in:finance]", "[]", "stricter", "labels: no longer `in:finance`"),
        ("Bills.", "Bill.", "same", "description: other words"),
        (", labels", ", columns: [{tools: [look], only: [/a]}], labels", "stricter", "columns: of `look` /a"),
        ("purposes:", "required: true\npurposes:", "stricter", "every run needs a purpose"),
        ("purposes:", "purposes:\n  other: {description: O, principals: [x], tools: [look]}", "wider", "may be for it"),
    ],
)
def test_purposes_are_compared_one_by_one_in_words(old: str, new: str, direction: str, words: str) -> None:
    changed = PURPOSES.replace(old, new)
    (found,) = compare({"purposes.yaml": PURPOSES}, {"purposes.yaml": changed})
    assert (found.what, found.direction) == ("purpose", direction) and any(words in word for word in found.words)
    (back,) = compare({"purposes.yaml": changed}, {"purposes.yaml": PURPOSES})
    turned = {"wider": "stricter", "stricter": "wider"}
    assert back.direction == turned.get(direction, direction)
    assert compare({"purposes.yaml": PURPOSES}, {"purposes.yaml": f"# the same\n{PURPOSES}"}) == []
