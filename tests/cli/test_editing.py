"""`remit review approve --edit`: nothing is signed that the reviewer did not see, nor asked without a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from shops import QUEUES, Shell, at_a_terminal

from remit.cli.editing import changes, laid_out
from remit.errors import BadInput


@pytest.fixture
def desk(shell: Shell) -> Shell:
    shell.write({"policies/queues.yaml": QUEUES + "    edit: [amount, why]\n"})
    return shell


def waiting(shell: Shell, **order: Any) -> tuple[str, str]:
    words = [f"{name}:={json.dumps(said)}" for name, said in {"amounts": [20], **order}.items()]
    (report,) = shell("run", *(word for one in words for word in ("--input", one)), "--json").rows
    return report["run"], report["reviews"][0]


def test_the_editors_changes_are_shown_agreed_to_and_run(desk: Shell) -> None:
    run, review = waiting(desk, why="chairs")
    change = """sed -i 's/"amount": 20/"amount": 15/' "$1"; touch -d '+1 minute' "$1" """
    code, said = at_a_terminal(desk, "review", "approve", review, "--edit", editor=change, answer="y\n")
    assert code == 0, said
    assert '-  "amount": 20' in said and '+  "amount": 15' in said and "Approve the call with these changes?" in said
    assert desk("review", "show", review, "--json").rows[0]["ruling"]["edited"] == {"amount": 15}
    assert desk("resume", run).code == 0
    assert desk.ledger() == [15]


def test_who_does_not_agree_has_ruled_nothing(desk: Shell) -> None:
    _, review = waiting(desk)
    change = """sed -i 's/20/15/' "$1"; touch -d '+1 minute' "$1" """
    code, said = at_a_terminal(desk, "review", "approve", review, "--edit", editor=change, answer="n\n")
    assert code == 130, said
    assert desk("review", "show", review, "--json").rows[0]["rulings"] == []


@pytest.mark.parametrize(
    ("editor", "code", "why"),
    [
        ("true", 2, "nothing was saved"),
        ("false", 2, "the editor failed"),
        ("""echo '{' > "$1"; touch -d '+1 minute' "$1" """, 2, "is not JSON"),
        ("""echo '{"amount": 20, "why": "", "to": "Eve"}' > "$1"; touch -d '+1 minute' "$1" """, 2, "`to` was added"),
        ("""echo '{"amount": "x", "why": ""}' > "$1"; touch -d '+1 minute' "$1" """, 2, "is not of type 'integer'"),
    ],
)
def test_what_the_editor_leaves_is_checked_before_anything_is_recorded(
    desk: Shell, editor: str, code: int, why: str
) -> None:
    _, review = waiting(desk)
    found, said = at_a_terminal(desk, "review", "approve", review, "--edit", editor=editor, answer="y\n")
    assert (found, why in said) == (code, True), said
    assert desk("review", "show", review, "--json").rows[0]["rulings"] == []


def test_without_a_terminal_nothing_is_asked(desk: Shell) -> None:
    _, review = waiting(desk)
    said = desk.run("review", "approve", review, "--edit", stdin="y\n", EDITOR="true")
    assert said.code == 2 and "this is no terminal" in said.err
    assert desk("review", "show", review, "--json").rows[0]["rulings"] == []


def test_what_hides_is_in_the_editor_as_an_escape_and_comes_back_as_it_was() -> None:
    args = {"to": "a\u202eb\x1b[2J\u200b\nc\u3164", "amount": 12345678901234567890}
    text = laid_out(args)
    assert all(line.isascii() and line.isprintable() for line in text.splitlines())
    assert json.loads(text) == args
    with pytest.raises(BadInput, match="nothing was changed"):
        changes(args, text)
