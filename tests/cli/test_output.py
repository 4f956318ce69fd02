"""How values, errors and tables are shown: nothing that somebody else wrote acts on a terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shops import is_harmless

from remit.cli.output import (
    complaint,
    escaped,
    fields,
    fold,
    folded,
    heading,
    moment,
    pretty,
    print_json,
    print_table,
    until,
    value,
    width,
)

NASTY = st.sampled_from(
    ["\x1b[31m", "\x9b2J", "\r", "\n", "\t", "\x00", "\x7f", "\u202e", "\u2066", "\u200f", "\u2028", "\u0301", "\u3164",
     "\ufeff", "\U000e0041", "a", "界", "é", " ", '"', "\\", "\\n", "🙂"]
)  # fmt: skip
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.lists(NASTY, max_size=12).map("".join))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@given(TEXTS)
def test_a_text_is_shown_on_one_line_and_without_anything_that_acts_on_a_terminal(text: str) -> None:
    for shown in (escaped(text), value(text), value(text, 5), value(text, quoted=True), heading(text), moment(text)):
        assert is_harmless(shown)
        assert "\n" not in shown


@given(TEXTS)
def test_two_different_texts_never_look_the_same(text: str) -> None:
    shown = value(text, quoted=True)
    assert json.loads(shown) == text
    assert value(text) in (text, shown)


@given(JSON)
def test_a_json_value_is_shown_so_that_it_can_be_read_back(found: object) -> None:
    for shown in (value(found, quoted=True), pretty(found)):
        assert is_harmless(shown.replace("\n", ""))
    if not isinstance(found, str):
        assert json.loads(value(found)) == found
        assert json.loads(pretty(found)) == found


@given(TEXTS)
def test_an_error_of_several_lines_looks_like_one_error(text: str) -> None:
    first, *rest = complaint(text).split("\n")
    assert is_harmless(first)
    assert all(line.startswith("    ") and is_harmless(line) for line in rest)


@given(TEXTS)
def test_what_nobody_escaped_is_escaped_where_it_is_printed(text: str) -> None:
    first, *rest = folded(text, "> ").split("\n")
    assert first.startswith(">") and all(line.startswith("  ") or not line for line in rest)
    assert all(is_harmless(line) for line in (first, *rest))


@given(TEXTS, st.integers(24, 80))
def test_folding_loses_nothing_but_spaces_and_keeps_to_the_width(text: str, columns: int) -> None:
    shown = escaped(text)
    lines = fold(shown, columns)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")
    assert all(width(line) <= columns for line in lines)


def test_what_is_cut_says_how_long_it_was() -> None:
    assert value("x" * 50, 10) == "xxxxxxxxxx… (50 characters)"
    assert pretty({"a": "x" * 100, "b": 1}, 50).endswith("characters; all of them with --json)")
    assert value("x" * 50) == "x" * 50


def test_a_text_that_would_not_be_plain_is_in_quotes() -> None:
    assert [value(text) for text in ("", " a", "a ", "a\nb", '"a"', "a\\nb", "a b", "Zoé", "true")] == [
        '""', '" a"', '"a "', '"a\\nb"', '"\\"a\\""', '"a\\\\nb"', "a b", "Zoé", "true",
    ]  # fmt: skip


def test_accents_stay_and_piles_of_marks_do_not() -> None:
    assert escaped("e\u0301") == "e\u0301"
    assert escaped("\u0301e") == "\\u0301e"
    assert escaped("e" + "\u0301" * 4) == "e\u0301\u0301\\u0301\\u0301"
    assert unicodedata.normalize("NFC", escaped("Zoe\u0308")) == "Zoë"


def test_a_megabyte_without_a_space_is_folded_too() -> None:
    assert len(fold("x" * 1_000_000, 100)) == 10_000
    assert len(fold("界" * 500_000, 100)) == 10_000


def test_wide_characters_count_twice() -> None:
    assert width("界a") == 3
    assert width("e\u0301") == 1
    assert fold("界" * 5, 4) == ["界界", "界界", "界"]


def test_json_on_stdout_is_utf8_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"a": "Zoé \x1b[2J \u202e \x7f \x9b"}]
    print_json(rows)
    printed = capsys.readouterr().out
    assert json.loads(printed) == rows
    assert "Zoé" in printed
    assert is_harmless(printed.replace("\n", ""))


ROWS = [
    ("abcdefghjkmn", "open", "finance", "4850 EUR to Atelier Weiss OG is more than the 1000 EUR that are paid"),
    ("npqrstvwxyz0", "waiting", "財務部", "短い"),
]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_table_fits_the_terminal_and_keeps_its_ids_whole(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(("REVIEW", "STATUS", "QUEUE", "WHY"), ROWS, "nothing")
    printed = capsys.readouterr().out
    assert all(width(line) <= columns for line in printed.splitlines())
    assert all(line == line.rstrip() for line in printed.splitlines())
    assert "".join(printed.split()).count("abcdefghjkmn") == 1
    for word in ROWS[0][3].split():
        assert word in printed


def test_a_table_in_a_pipe_has_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("REVIEW", "STATUS", "QUEUE", "WHY"), [(*ROWS[0][:3], "why " * 100), ROWS[1]], "nothing")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    columns = {width(line[: line.index(word)]) for line, word in zip(lines, ("WHY", "why", "短い"), strict=True)}
    assert len(columns) == 1


def test_an_empty_table_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A",), [], "nothing waits")
    assert capsys.readouterr() == ("", "nothing waits\n")


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=3))
def test_no_cell_begins_a_line_of_its_own(rows: list[tuple[str, str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("click.echo", lambda text, **_: lines.append(text))
        print_table(("A", "B", "C"), rows, "nothing")
    assert len(lines) == len(rows) + 1
    assert all(is_harmless(line) for line in lines)


def test_long_values_are_folded_below_themselves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    fields([("name", "word " * 30), ("other", "")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  name  word")
    assert all(line.startswith("        word") for line in lines[1:])
    assert folded("a\nb", "> ") == "> a\n  b"


def test_times_are_told_as_people_tell_them() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert moment("2026-01-03T04:05:06.000007Z") == "2026-01-03 04:05:06 UTC"
    assert until("2026-01-03T04:05:06.000007Z", now) == "in 2 d 4 h"
    assert until("2026-01-01T00:00:09.000000Z", now) == "in 9 s"
    assert until("2025-01-01T00:00:09.000000Z", now) == "over"
