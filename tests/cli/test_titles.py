"""A review is known by its title, wherever people read of it; and who approves is told, and asked, by it."""

from __future__ import annotations

from typing import Any

import pytest
from shops import QUEUES, Said, Shell, at_a_terminal

TITLE = '    title: "{{args.to}} gets {{args.amount}} EUR"\n'


@pytest.fixture
def desk(shell: Shell) -> Shell:
    shell.write({"policies/queues.yaml": QUEUES + TITLE + "    edit: [amount]\n    respond: true\n    approvals: 1\n"})
    return shell


def waiting(shell: Shell, *amounts: int, to: str = "Ada", principal: str = "bob") -> list[str]:
    reviews = []
    for amount in amounts:
        order = ("--input", f"to={to}", "--input", f"amounts:=[{amount}]")
        (report,) = shell("run", *order, "--principal", principal, "--json").rows
        reviews.append(report["reviews"][0])
    return reviews


def titles(said: Said) -> list[str]:
    return [row["title"] for row in said.rows]


def test_the_title_is_in_list_page_watch_answers_and_json(desk: Shell) -> None:
    (review,) = waiting(desk, 20)
    title = "Ada gets 20 EUR"
    assert titles(desk("review", "list", "--json")) == [title] == titles(desk("review", "show", review, "--json"))
    assert title in desk("review", "list").out and title in desk("review", "show", review).out
    with desk.start("review", "watch") as watching:
        assert review in watching.until(title)
    for command, words in {
        ("claim", review): "is yours until",
        ("comment", review, "ordered in May"): "has your remark",
        ("release", review): "is free for others again",
        ("approve", review): "is approved",
    }.items():
        said = desk("review", *command)
        assert said.code == 0, said
        first = said.out.splitlines()[0]
        assert words in first and title in first and "bob" in first, command
    assert "this is final" in said.out


def test_without_a_title_in_policy_it_is_the_tool_and_its_arguments_in_quotes(shell: Shell) -> None:
    waiting(shell, 20, to='Ada", amount=1')
    assert titles(shell("review", "list", "--json")) == [r'pay(amount=20, to="Ada\", amount=1", why="")']


def test_what_a_reviewer_changed_or_answered_is_said(desk: Shell) -> None:
    edited, answered = waiting(desk, 20, 30)
    said = desk("review", "edit", edited, "--set", "amount:=15")
    assert "is approved with your changes: Ada gets 20 EUR, with amount=15" in said.out
    said = desk("review", "respond", answered, "--value", '"paid by hand"')
    assert "with your answer, which the agent gets; nothing runs" in said.out


def test_an_edit_that_policy_denies_is_2_says_why_and_leaves_the_review_open(desk: Shell) -> None:
    (review,) = waiting(desk, 20)
    said = desk("review", "edit", review, "--set", "amount:=5000")
    assert (said.code, said.out) == (2, "")
    assert "policy denies the call as you changed it" in said.err and "5000 is too much" in said.err
    assert desk("review", "show", review, "--json").rows[0]["rulings"] == []


def test_the_list_finds_by_queue_tool_principal_and_text(desk: Shell) -> None:
    (first,) = waiting(desk, 20)
    (second,) = waiting(desk, 30, to="Grace", principal="Ann")

    def found(*options: str) -> list[str]:
        return [row["review"] for row in desk("review", "list", *options, "--json").rows]

    assert found() == [first, second]
    assert found("--text", "GRACE gets") == [second] == found("--principal", "ann") == found("--text", second[:6])
    assert found("--queue", "finance", "--tool", "pay") == [first, second]
    assert found("--queue", "other") == [] == found("--tool", "hang") == found("--text", "nothing like it")
    assert desk("review", "list", "--text", "nothing like it").err == "no such review waits\n"
    only = desk("review", "list", "--limit", "1")
    assert first in only.out and second not in only.out and "and 1 more" in only.err


def test_the_list_is_by_priority_then_by_age(desk: Shell) -> None:
    desk.write({"policies/queues.yaml": QUEUES + TITLE + '    priority: "args.amount > 25 ? 1 : 0"\n'})
    small, large, later = waiting(desk, 20, 30, 21)
    assert [row["review"] for row in desk("review", "list", "--json").rows] == [large, small, later]


def test_several_reviews_are_ruled_on_each_by_itself(desk: Shell) -> None:
    first, second, third = waiting(desk, 20, 30, 40)
    assert desk("review", "deny", second, "--reason", "no").code == 0
    said = desk("review", "approve", first, second, third[:8], first)
    assert said.code == 7
    assert [line.split()[1] for line in said.out.splitlines() if line.startswith("review ")] == [first, third]
    assert f"review {second} is as it was" in said.err and "a ruling is final" in said.err
    statuses = {row["review"]: row["status"] for row in desk("review", "list", "--all", "--json").rows}
    assert statuses == {first: "approved", second: "denied", third: "approved"}


def test_where_one_of_several_is_unknown_nothing_is_done(desk: Shell) -> None:
    (first,) = waiting(desk, 20)
    assert desk("review", "approve", first, "nowhere").code == 5
    assert desk("review", "approve", first, first[:6], "--seen", "abcd").code == 2
    assert desk("review", "list", "--json").rows[0]["status"] == "open"


ANSWERS = [("y\n", 0, "approved"), ("n\n", 130, "open"), ("\n", 130, "open")]


@pytest.mark.parametrize(("answer", "code", "status"), ANSWERS)
def test_a_terminal_names_what_it_will_approve_and_asks(desk: Shell, answer: str, code: int, status: str) -> None:
    first, second = waiting(desk, 20, 30)
    ended, said = at_a_terminal(desk, "review", "approve", first, second, answer=answer)
    assert ended == code, said
    assert "Ada gets 20 EUR, for bob" in said and "Ada gets 30 EUR, for bob" in said
    assert "Approve these 2? A ruling is final. [y/N]" in said
    assert {row["status"] for row in desk("review", "list", "--all", "--json").rows} == {status}


@pytest.mark.parametrize("looked", [["--yes"], ["--if-digest"]])
def test_who_says_that_they_looked_is_not_asked(desk: Shell, looked: list[str]) -> None:
    (review,) = waiting(desk, 20)
    more = [desk("review", "show", review, "--json").rows[0]["version"][:12]] if looked == ["--if-digest"] else []
    ended, said = at_a_terminal(desk, "review", "approve", review, *looked, *more)
    assert ended == 0 and "[y/N]" not in said, said


def test_the_page_lists_every_act_that_the_queue_permits_and_no_other(desk: Shell) -> None:
    terms = "    edit: [amount]\n    respond: true\n    grant: {uses: 5, for: 24h}\n    hand_on_to: [board]\n"
    desk.write({"policies/queues.yaml": QUEUES + terms + "  board: {ttl: 4h}\n"})
    (review,) = waiting(desk, 20)
    text = desk("review", "show", review).out
    acts: Any = ["approve", "deny", "respond", "handon", "claim", "comment"]
    assert all(f"remit review {act} {review}" in text for act in acts) and "release" not in text
    assert "--edit" in text and "--grant" in text and "A ruling is final." in text
    assert desk("review", "handon", review, "board").out.startswith(f"review {review} is handed on to queue board")
    text = desk("review", "show", review).out
    assert not any(words in text for words in ("remit review handon", "remit review respond", "--edit", "--grant"))
    assert desk("review", "claim", review).code == 0
    text = desk("review", "show", review).out
    assert f"remit review release {review}" in text and "remit review claim" not in text


def test_a_title_that_does_not_fit_the_tools_is_refused_with_its_place(desk: Shell) -> None:
    for title, why in {"{{args.too}}": "`too`", "{{args.to": "`{{` without its `}}`", "{{args.to +}}": "title"}.items():
        desk.write({"policies/queues.yaml": QUEUES + f'    title: "{title}"\n'})
        said = desk("policy", "check")
        assert said.code == 2 and "queues.yaml:6" in said.out + said.err and why in said.out + said.err, said


def test_times_are_in_utc_and_beside_it_in_the_readers_own_zone(desk: Shell) -> None:
    (review,) = waiting(desk, 20)
    opened = desk("review", "show", review, "--json").rows[0]["opened"]
    here = desk.run("review", "show", review, TZ="Asia/Kolkata")
    assert f"{opened[:19].replace('T', ' ')} UTC (" in here.out and "IST)" in here.out
    there = desk.run("review", "show", review, TZ="UTC")
    assert f"{opened[:19].replace('T', ' ')} UTC\n" in there.out
