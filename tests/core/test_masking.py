"""What was found is covered, what was not stays, and the form is kept."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from remit.core.detectors import Finding
from remit.core.masking import mask


def test_a_card_number_keeps_its_form_and_the_text_around_it() -> None:
    text = "card 4111-1111-1111-1111, thanks"
    assert mask(text, [Finding("card", "", 5, 24)]) == "card ****-****-****-****, thanks"


def test_a_finding_deep_inside_is_covered_where_it_stands() -> None:
    value = {"a/b": [{"note": "call 555"}, "keep"], "n": 7}
    assert mask(value, [Finding("phone", "/a~1b/0/note", 5, 8)]) == {"a/b": [{"note": "call ***"}, "keep"], "n": 7}


def test_what_is_no_text_or_has_no_span_is_covered_whole() -> None:
    value = {"n": 7, "rows": [1, 2], "s": "abc"}
    assert mask(value, [Finding("x", "/n"), Finding("x", "/rows"), Finding("x", "/s")]) == {
        "n": None,
        "rows": None,
        "s": "***",
    }


@given(st.text(), st.integers(0, 40), st.integers(0, 40))
def test_nothing_that_was_found_is_left_and_nothing_else_changes(text: str, start: int, length: int) -> None:
    start, end = min(start, len(text)), min(start + length, len(text))
    if end == start:
        return
    masked: Any = mask(text, [Finding("x", "", start, end)])
    assert len(masked) == len(text)
    assert masked[:start] + masked[end:] == text[:start] + text[end:]
    assert not any(character.isalnum() for character in masked[start:end])


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_without_findings_a_value_stays_as_it_is(value: Any) -> None:
    assert mask(value, []) == value
