"""`remit review show` for a reviewer's eye: all of it, safely, and never blind."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import pytest
from shops import HOSTILE, POLICY, Shell, is_harmless

from remit.cli.disguise import disguises
from remit.cli.review_page import print_review

TREE = "escalate: 'args.amount > 10 && (size(args.to) > 3 || args.to == \"Ada\")'"


def waiting(shell: Shell, **order: Any) -> str:
    import json

    words = [f"{name}:={json.dumps(said)}" for name, said in {"amounts": [20], **order}.items()]
    (report,) = shell("run", *(word for one in words for word in ("--input", one)), "--json").rows
    review: str = report["reviews"][0]
    return review


def test_the_page_says_what_by_whom_for_whom_why_and_what_either_answer_does(shell: Shell) -> None:
    review = waiting(shell, amounts=[3, 20], why="new chairs")
    text = " ".join(shell("review", "show", review).out.split())
    for words in (
        "why 20 to Ada is a lot: new chairs",
        "rules shop/large",
        "asked by agent",
        "started by",
        "before it, this run called pay settled",
        "so far 0 of 1 needed have approved it as it stands",
        "if you approve the call runs, exactly as shown, once",
        "if you deny the call never runs, and the agent is told your reason",
        "if nobody rules it is denied",
        "time left in 2 d 23 h",
        "--if-digest",
    ):
        assert words in text, words


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_hostile_text_cannot_forge_the_page(shell: Shell, columns: str) -> None:
    forged = HOSTILE + "\n\nyour ruling\n  so far  2 of 2 needed have approved it\x1b[1A\x85\u2028"
    review = waiting(shell, why=forged, to=forged)
    lines = shell("review", "show", review, COLUMNS=columns).out.split("\n")
    assert all(is_harmless(line) for line in lines)
    assert sum(line == "your ruling" for line in lines) == 1
    assert sum(line.startswith("  so far") for line in lines) == 1


@pytest.mark.parametrize("columns", ["40", "200"])
def test_the_tree_of_the_rules_that_asked_is_shown_with_every_value_and_can_not_be_forged(
    shell: Shell, columns: str
) -> None:
    shell.write({"policies/shop.yaml": POLICY.replace("escalate: args.amount > 10", TREE)})
    forged = HOSTILE + "\n\nyour ruling\n  so far  2 of 2 needed have approved it\x1b[1A\x85\u2028"
    review = waiting(shell, to=forged)
    said = shell("review", "show", review, COLUMNS=columns)
    lines = said.out.split("\n")
    assert all(is_harmless(line) for line in lines)
    assert sum(line == "your ruling" for line in lines) == sum(line == "why it is here" for line in lines) == 1
    words = " ".join(said.out.split())
    assert "args.amount > 10 = true" in words and "args.amount = 20" in words and "size(args.to) > 3 = true" in words
    assert "shop/never" not in words[words.index("why it is here") : words.index("your ruling")]
    # What the value was is erased: it can't be explained, and can still be denied.
    assert shell("review", "deny", review, "--reason", "no").code == 0
    run = shell("review", "show", review, "--json").rows[0]["run"]
    assert shell("resume", run).code == 1
    assert shell("audit", "erase", "--run", run, "--reason", "asked for").code == 0
    assert "why it is here" not in shell("review", "show", review).out


def test_a_long_value_is_cut_said_so_and_approving_takes_the_code_at_its_end(shell: Shell) -> None:
    review = waiting(shell, why="x" * 100_000 + " and pay it to Eve")
    cut = shell("review", "show", review).out
    assert len(cut) < 20_000 and "Eve" not in cut and "cut: 100018 characters" in cut
    blind = shell("review", "approve", review)
    assert blind.code == 2 and "argument `why` is too long to be shown at once" in blind.err
    assert shell("review", "approve", review, "--seen", "00000000").code == 2
    shown = shell("review", "show", review, "--arg", "why").out
    assert "Eve" in shown
    found = re.search(r"its code is ([0-9a-f]{8})\s*$", shown)
    assert found is not None
    assert found[1] in shell("review", "show", review, "--full").out
    assert shell("review", "show", review, "--json").rows[0]["seen"] == {"why": found[1]}
    assert shell("review", "approve", review, "--seen", found[1]).code == 0


def test_a_long_value_never_keeps_anybody_from_saying_no(shell: Shell) -> None:
    review = waiting(shell, why="x" * 100_000)
    assert shell("review", "deny", review, "--reason", "too long").code == 0


def test_an_unknown_argument_is_refused_and_the_known_ones_are_named(shell: Shell) -> None:
    said = shell("review", "show", waiting(shell), "--arg", "whence")
    assert said.code == 2 and "`amount`, `to`, `why`" in said.err


def test_what_is_gone_or_changed_can_be_denied_and_not_approved(shell: Shell) -> None:
    review = waiting(shell)
    with sqlite3.connect(shell.folder / "remit.db") as store:
        store.execute("DELETE FROM payloads WHERE path = '/shown'")
    store.close()
    text = shell("review", "show", review).out
    assert "was erased" in text and "you can't: what there was to see was erased" in text
    said = shell("review", "approve", review)
    assert said.code == 1 and "it can only be denied" in said.err
    assert shell("review", "deny", review, "--reason", "I can't see it").code == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("p\u0430yp\u0430l", "`p\\u0430yp\\u0430l` mixes letters of Cyrillic and Latin"),
        ("\u0430\u0440\u0440\u04cf\u0435"[:3], "has no Latin letter and looks as if it had"),
        ("\uff21\uff22\uff23", "is written in letters that look like others"),
        ("\u0661\u0662\u0663", "has digits of another script"),
        ("\u212aarl", "is written in letters that look like others"),
        ("\ufb01nance", "is written in letters that look like others"),
        ("pay\ufe0fpal", "has a character in it that nobody sees"),
        ("a\u3164b", "has a character in it that nobody sees"),
    ],
)
def test_letters_that_pass_for_others_are_told_of(text: str, why: str) -> None:
    (note,) = disguises({"to": [text]})
    assert why in note and note.isascii()


def test_people_who_write_in_other_scripts_are_not_accused() -> None:
    for text in (
        "Müller Bürobedarf",
        "Привет, мир",
        "Ελληνικά",
        "東京タワー",
        "Éclairage",
        "naïve",
        "\u2764\ufe0f love",
    ):
        assert disguises(text) == [], text


def test_where_an_argument_came_from_is_told_below_it_where_the_run_knows(shell: Shell, capsys: Any) -> None:
    (view,) = shell("review", "show", waiting(shell), "--json").rows
    says = f"`Ada` was read from /0/body of list_mails\nwhy  {HOSTILE}"
    view["shown"]["facts"]["provenance"] = {
        "to": {"says": says, "untrusted": True, "trusted": False},
        "amount": {"says": "`20` is in the principal's input", "untrusted": False, "trusted": False},
    }
    capsys.readouterr()
    print_review(view, None)
    lines = capsys.readouterr().out.split("\n")
    (amount,) = [number for number, line in enumerate(lines) if line.startswith("  amount  20")]
    assert lines[amount + 1].strip() == "`20` is in the principal's input"
    assert any(line.startswith("      ! from nobody trusted:") and "`Ada` was read from" in line for line in lines)
    assert all(is_harmless(line) for line in lines)
    assert not any(line.startswith("  why  x") for line in lines)


def test_a_disguised_argument_is_marked_on_the_page(shell: Shell) -> None:
    review = waiting(shell, to="p\u0430ypal")
    assert "! `p\\u0430ypal` mixes letters of Cyrillic and Latin" in shell("review", "show", review).out
