"""What is in force is said wherever a folder of policies is read, every command takes its folder in one way, and
reviewers are revoked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from shops import POLICY, QUEUES, Shell

sys.path.insert(0, str(Path(__file__).parent.parent / "runtime"))
from pens import Pen

REVIEWERS = json.dumps({
    "reviewers": {name: {"keys": [{"key": Pen(name).public.text}]} for name in ("ann", "bob")},
})  # fmt: skip
CASES = "given: {tool: pay, args: {to: Ada, amount: 1}}\ncases:\n  - {name: small, expect: {outcome: allow}}\n"
READING = (
    ("policy", "check"),
    ("policy", "test"),
    ("policy", "explain", "--case", "shop.cases.yaml#1"),
    ("policy", "analyse"),
    ("policy", "ask", "outcome == ALLOW"),
    ("policy", "backtest"),
)
LOOKING = (("queue", "list"), ("queue", "stats"), ("review", "whoami"), ("reviewers", "list"), ("policy", "shadow"))


@pytest.fixture
def shop(shell: Shell) -> Shell:
    shell.write({
        "policies/reviewers.yaml": REVIEWERS, "policies/shop.cases.yaml": CASES,
        "policies/queues.yaml": QUEUES.replace("finance: {", "finance: {reviewers: [ann, bob], "),
    })  # fmt: skip
    assert shell("run", "--input", "amounts:=[3]").code == 0
    assert shell("keys", "new", "example.com/shop").code == 0
    return shell


def test_every_command_that_reads_the_folder_says_what_is_in_force_where_that_differs(shop: Shell) -> None:
    commands = (*READING, *LOOKING)
    for command in commands:
        assert "in force is" not in shop(*command).err, "nothing was activated"
    assert shop("policy", "activate", "--reason", "so").code == 0
    before = {command: shop(*command) for command in commands}
    assert not [command for command, said in before.items() if "in force is" in said.err]
    shop.write({"policies/shop.yaml": POLICY + "# a draft\n"})
    digest = shop("policy", "log", "--json").rows[0]["digest"][:12]
    for command in commands:
        said = shop(*command)
        (line,) = [line for line in said.err.splitlines() if "in force is" in line]
        assert f"revision 1, policy set {digest}" in line and "`policies` differs and is a draft" in line
        assert (said.out, said.code) == (before[command].out, before[command].code) or command[1] in (
            "check",
            "backtest",
        )
    assert "in force is" not in shop("policy", "check", "--store", "sqlite:///other.db").err
    shop.write({"policies/shop.yaml": ": not yaml"})
    assert "in force is revision 1" in shop("policy", "check").err
    assert not (shop.folder / "other.db").exists()


def test_every_command_takes_the_folder_as_its_last_argument_or_with_policies(shop: Shell) -> None:
    (shop.folder / "policies").rename(shop.folder / "rules")
    commands = (*READING, ("policy", "diff", "rules"), ("policy", "activate", "--reason", "so", "--dry-run"))
    for command in commands:
        assert shop(*command).code in (2, 5), command
        last = shop(*command, "rules", "--json")
        named = shop(*command, "--policies", "rules", "--json")
        assert (last.code, last.rows) == (named.code, named.rows) and last.code in (0, 1), (command, last.err)
        both = shop(*command, "rules", "--policies", "rules")
        assert both.code == 2 and "named twice" in both.err and both.out == ""


def test_a_reviewer_is_revoked_at_once_and_the_list_and_the_log_say_so(shop: Shell) -> None:
    assert shop("policy", "activate", "--reason", "so").code == 0
    assert shop("run", "--input", "amounts:=[20]").code == 8
    assert shop("reviewers", "revoke", "ann").code == 2  # why?
    said = shop("reviewers", "revoke", "ann", "--reason", "left \x1b[2J")
    assert (said.code, said.out) == (0, "ann rules no more, from now on\n") and "finance" not in said.err
    assert shop("reviewers", "revoke", "ann", "--reason", "so").code == 7
    assert shop("reviewers", "revoke", "eve", "--reason", "so").code == 5
    rows = {row["reviewer"]: row for row in shop("reviewers", "list", "--json").rows}
    assert rows["ann"]["revoked"] and not rows["ann"]["rules"] and rows["bob"]["rules"]
    assert "revoked" in shop("reviewers", "list").out
    row = shop("policy", "log", "--json").rows[0]
    assert (row["what"], row["of"], row["reason"]) == ("revoked", "ann", "left \x1b[2J")
    text = shop("policy", "log").out
    assert "ann  revoked by operator" in text and "\x1b" not in text
    shop.write({"bob.pub": Pen("bob").public.text + " bob@laptop\n"})
    said = shop("reviewers", "revoke", "bob.pub", "--reason", "lost", "--json")
    assert said.code == 0 and said.rows[0]["key"] == Pen("bob").public.text
    assert shop("audit", "export", "--all", "-o", "e").code == 0 and shop("audit", "verify", "e").code == 0
    said = shop("reviewers", "restore", "ann", "--reason", "back")
    assert said.code == 0 and "restored" in said.out
    assert {row["reviewer"]: row["rules"] for row in shop("reviewers", "list", "--json").rows} == {
        "ann": True,
        "bob": False,
    }
    assert shop("reviewers", "restore", "ann", "--reason", "back").code == 7
