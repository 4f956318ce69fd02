"""Labels join and never get lost; what a tool leaves unsaid is private and untrusted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remit.core.labels import (
    PESSIMISTIC,
    ResultLabels,
    at_most,
    by_reviewer,
    is_private,
    is_trusted,
    join,
    leaves,
    may_read,
    pointer_of,
    remove,
    steps_of,
)

LABELS = st.lists(
    st.sampled_from(["untrusted", "private", "pii", "in:finance", "in:legal", "trusted", "public"]), max_size=5
)
STEPS = st.lists(st.sampled_from(["a", "b", "0", "1", "~", "/", ""]), max_size=4).map(tuple)


@given(LABELS, LABELS, LABELS)
def test_labels_are_a_join_semilattice(a: list[str], b: list[str], c: list[str]) -> None:
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, a) == join(a)
    assert join(a, ()) == join(a)
    assert at_most(a, join(a, b)) and at_most(b, join(a, b))
    assert not (at_most(a, c) and at_most(b, c)) or at_most(join(a, b), c)
    assert at_most(a, b) == (join(a, b) == join(b))


@given(LABELS, LABELS)
def test_a_join_is_never_better_than_its_parts(a: list[str], b: list[str]) -> None:
    assert is_trusted(join(a, b)) == (is_trusted(a) and is_trusted(b))
    assert is_private(join(a, b)) == (is_private(a) or is_private(b))


@given(LABELS, st.sampled_from(["untrusted", "private", "pii"]))
def test_only_what_is_named_is_removed(labels: list[str], one: str) -> None:
    assert set(remove(labels, [one])) == set(join(labels)) - {one}


@given(LABELS)
def test_a_reviewers_value_names_them_and_keeps_its_readers(labels: list[str]) -> None:
    edited = by_reviewer(labels, "Ann <ann@example.com>")
    assert is_trusted(edited)
    assert is_private(edited) == is_private(labels)
    assert "by:ann--ann-example.com-" in edited


def test_data_is_read_by_those_whom_every_compartment_names() -> None:
    readers = {"in:finance": ["ann", "bob"], "private": ["ann"]}
    assert may_read([], "eve", readers)
    assert may_read(["in:finance"], "bob", readers)
    assert not may_read(["in:finance", "private"], "bob", readers)
    assert may_read(["in:finance", "private"], "ann", readers)
    assert not may_read(["in:legal"], "ann", readers)


@given(STEPS)
def test_a_pointer_leads_back_to_its_steps(steps: tuple[str, ...]) -> None:
    assert steps_of(pointer_of(steps)) == steps


@given(st.dictionaries(STEPS.map(pointer_of), LABELS, max_size=5), STEPS)
def test_the_longest_pointer_says_a_parts_labels(stated: dict[str, list[str]], steps: tuple[str, ...]) -> None:
    found = ResultLabels(stated).at(steps)
    for length in range(len(steps), -1, -1):
        if (pointer := pointer_of(steps[:length])) in stated:
            assert found == join(stated[pointer])
            return
    assert found == (join(PESSIMISTIC) if stated else ())


@given(st.dictionaries(STEPS.map(pointer_of), LABELS, max_size=5), STEPS)
def test_no_part_has_a_label_that_the_whole_has_not(stated: dict[str, list[str]], steps: tuple[str, ...]) -> None:
    labels = ResultLabels(stated)
    assert at_most(labels.at(steps), labels.all())


def test_a_star_is_any_name_or_position_and_gives_way_to_a_name() -> None:
    labels = ResultLabels({"": ["trusted"], "/*/body": ["untrusted"], "/0/body": ["pii"], "/*": ["private"]})
    assert labels.at(("3", "body")) == ("untrusted",)
    assert labels.at(("3", "body", "deeper")) == ("untrusted",)
    assert labels.at(("0", "body")) == ("pii",)
    assert labels.at(("3", "sender")) == ("private",)
    assert labels.at(()) == ()


def test_what_a_tool_leaves_unsaid_is_private_and_untrusted_unless_it_says_nothing_is_marked() -> None:
    assert ResultLabels({"/sender": ["trusted"]}).at(("body",)) == PESSIMISTIC
    assert ResultLabels({}).at(("body",)) == ()


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        max_leaves=20,
    )
)
def test_every_leaf_is_found_where_its_steps_lead(value: object) -> None:
    for steps, leaf in leaves(value, 1_000):
        found: object = value
        for step in steps:
            found = found[int(step)] if isinstance(found, list) else found[step]  # type: ignore[index]
        assert found is leaf or found == leaf
