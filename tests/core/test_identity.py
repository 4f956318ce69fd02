"""Names are compared as people mean them: what can be one, and which are the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import identity as module
from remit.core.identity import LONGEST, identity, is_alike, is_one_of, looks, spelt, unfit

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SAME = (
    "Ann",
    "ANN",
    " ann",
    "ann ",
    "ann\u200b",
    "a\u00adnn",
    "\u2066ann",
    "\uff21nn",
    "ann\ufe0f",
    "ann\u3164",
    "an\u034fn",
)
ALIKE = ("\u0430nn", "a\u0578\u0578", "\u0391NN", "\u0410\u039d\u039d", "\u0251nn")


@pytest.mark.parametrize("name", SAME)
def test_case_width_blanks_and_what_shows_nothing_make_no_other_name(name: str) -> None:
    assert identity(name) == looks(name) == "ann" and is_alike(name, "ann")


@pytest.mark.parametrize("name", ALIKE)
def test_letters_that_look_the_same_make_a_name_that_is_alike_and_not_the_same(name: str) -> None:
    assert identity(name) != "ann" and is_alike(name, "ann") and is_one_of(name, ["bob", "Ann"])


@pytest.mark.parametrize("name", ["anna", "an", "ann.b", "bnn", "\u00e4nn", "\u674e", "an n", ""])
def test_names_that_look_different_are_different(name: str) -> None:
    assert not is_alike(name, "ann")


@given(NAMES, NAMES)
def test_alike_is_symmetric_and_everybody_is_alike_with_themselves(one: str, other: str) -> None:
    assert is_alike(one, one) and is_alike(one, other) == is_alike(other, one)
    assert is_alike(one, identity(one)) and is_alike(one, one.upper()) == is_alike(one.upper(), one)
    if identity(one) == identity(other):
        assert is_alike(one, other) and looks(one) == looks(other)


@given(NAMES)
def test_an_identity_is_its_own_and_so_is_how_it_looks(name: str) -> None:
    assert identity(identity(name)) == identity(name)
    assert looks(looks(name)) == looks(name) == looks(identity(name))


@given(st.text(st.sampled_from("abcXYZ019._@- "), min_size=1, max_size=12))
def test_of_ascii_names_those_are_alike_that_differ_in_case_and_blanks_only(name: str) -> None:
    assert looks(name) == identity(name) == " ".join(name.lower().split())


@given(
    NAMES,
    st.integers(0, 12),
    st.sampled_from("\u200b\u200d\u202e\ufeff\u00ad\x00\x1b\n\u2028\ufe0f\u3164\U000e0041\U000e0100\ue000"),
)
def test_what_can_not_be_seen_is_in_no_name(name: str, at: int, unseen: str) -> None:
    name = name[:at] + unseen + name[at:]
    assert unfit(name) if name.strip() else True
    assert spelt(name).isascii() and spelt(name).isprintable()


@given(NAMES)
def test_a_fit_name_shows_every_one_of_its_characters(name: str) -> None:
    if unfit(name):
        return
    assert name == name.strip() != ""
    assert not any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for one in name)
    assert identity(name) != ""


@pytest.mark.parametrize(
    "name",
    [
        "ann", "Ann Meier", "ann@firm.example", "svc/payables-1", "M\u00fcller", "\u0418\u0432\u0430\u043d",
        "\u674e\u96f7", "max-\u041f\u0435\u0442\u0440\u043e\u0432", "\u0645\u0631\u064a\u0645", "a\u0301nn",
    ],
)  # fmt: skip
def test_names_of_all_the_world_are_names(name: str) -> None:
    assert unfit(name) == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"), (" ", "empty"), ("ann ", "blank"), ("\tann", "U+0009"), ("ann\u200b", "U+200B"),
        ("\u0430nn", "Cyrillic and Latin"), ("p\u03b1ypal", "Greek and Latin"), ("x" * (LONGEST + 1), "200"),
        ("ann\u3164", "U+3164"),
    ],
)  # fmt: skip
def test_what_is_no_name_is_told_why(name: str, why: str) -> None:
    assert why in unfit(name)


def test_the_table_of_look_alikes_holds_no_letter_that_could_be_folded_otherwise() -> None:
    for table in (module._SMALL, module._CAPITAL):
        letters = [letter for row in table.values() for letter in row]
        assert len(set(letters)) == len(letters)
        assert all(not letter.isascii() and unicodedata.normalize("NFKC", letter) == letter for letter in letters)
        assert all(len(key) == 1 and key in "abcdefghijklmnopqrstuvwxyz" for key in table)


def test_the_table_of_look_alikes_is_unicodes() -> None:
    confusables = pytest.importorskip("confusable_homoglyphs.confusables")
    for table, capital in ((module._SMALL, False), (module._CAPITAL, True)):
        for letter, row in table.items():
            for character in row:
                found = confusables.is_confusable(character, greedy=True)
                shown = {one["c"].lower() for entry in found or () for one in entry["homoglyphs"]}
                assert letter in shown or (capital and letter == "i" and "l" in shown), (letter, spelt(character))
