"""`remit policy activate` and `log`: what is put in force, by whom, and what it would have changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from shops import POLICY, QUEUES, Shell, is_harmless

from remit.runtime.ambient import user

STRICTER = POLICY.replace("<= 10", "<= 5").replace("> 10\n", "> 5\n")
GUARDED = QUEUES.replace("single_operator: true", "single_operator: true\npolicy: {activation: finance}")


@pytest.fixture
def keyed(shell: Shell) -> Shell:
    assert shell("run", "--input", "amounts:=[3, 7]").code == 0
    assert shell("keys", "new", "example.com/shop").code == 0
    shell.write({"new/shop.yaml": STRICTER, "new/queues.yaml": QUEUES})
    return shell


def test_what_would_change_is_shown_then_put_in_force_then_told(keyed: Shell) -> None:
    said = keyed("policy", "activate", "new", "--dry-run", "--json")
    (row,) = said.rows
    assert (row["status"], row["revision"], row["effect"]["newly_escalated"]) == ("dry run", 1, 1)
    assert {one["name"] for one in row["differences"]} == {"shop/large", "shop/small"}
    assert keyed("policy", "log", "--json").rows[0]["what"] == "loaded"  # nothing was written
    assert keyed("policy", "activate", "new").code == 2  # why?
    said = keyed("policy", "activate", "new", "--reason", "less\x1b[2J", "--expires", "30d")
    assert said.code == 0 and "1 newly escalated" in said.out and "revision 1 is in force" in said.out
    assert keyed("run", "--input", "amounts:=[7]").code == 8
    rows = keyed("policy", "log", "--json").rows
    assert [row["what"] for row in rows] == ["activated", "loaded"]
    assert (rows[0]["by"], rows[0]["reason"], rows[0]["effect"]["decisions"]) == (user(), "less\x1b[2J", 2)
    text = keyed("policy", "log", "1")
    assert "10, now 5" in text.out and "approved by" not in text.out and is_harmless(text.out.replace("\n", ""))
    assert keyed("policy", "log", rows[0]["digest"][:10], "--json").rows[0]["differences"]
    assert keyed("policy", "log", "nosuch").code == 5 and keyed("policy", "log", "").code == 5
    # Back again, by its digest.
    assert keyed("policy", "activate", rows[1]["digest"], "--reason", "too strict").code == 0
    assert keyed("run", "--input", "amounts:=[7]").code == 0
    assert keyed("audit", "export", "--all", "-o", "e").code == 0
    assert keyed("audit", "verify", "e", "--json").rows[0]["activations"] == 2
    assert "2 activations of policy sets" in keyed("audit", "verify", "e").out


def test_with_a_queue_for_it_a_review_is_opened_and_used(keyed: Shell) -> None:
    keyed.write({"policies/queues.yaml": GUARDED, "new/queues.yaml": GUARDED})
    assert keyed("policy", "activate", "--reason", "from here on four eyes").code == 0
    asked = keyed("policy", "activate", "new", "--reason", "less", "--json")
    assert (asked.code, asked.rows[0]["status"]) == (8, "waiting")
    id = asked.rows[0]["review"]
    assert keyed("policy", "activate", "--review", id).code == 8
    (row,) = keyed("review", "list", "--json").rows
    assert row["activation"] and row["tool"] == "policy.activate" and row["run"] == ""
    page = keyed("review", "show", id)
    assert page.code == 0 and "10, now 5" in page.out and "newly_escalated" in page.out and "less" in page.out
    assert f"remit policy activate --review {id}" in page.out.replace("\n ", " ")
    said = keyed("review", "approve", id)
    assert said.code == 0 and "policy activate --review" in said.out
    # What is activated is what was approved, whatever became of the folder meanwhile.
    keyed.write({"new/shop.yaml": POLICY})
    assert keyed("policy", "activate", "new", "--review", id, "--reason", "sneaky").code == 7
    done = keyed("policy", "activate", "--review", id)
    assert done.code == 0 and "revision 2 is in force" in done.out
    row = keyed("policy", "log", "--json").rows[0]
    assert (row["reason"], row["reviewers"], row["review"]) == ("less", [user()], id)
    assert keyed("run", "--input", "amounts:=[7]").code == 8
    assert keyed("policy", "activate", "--review", id).code == 7  # once


def test_what_does_not_load_has_expired_or_has_no_key_is_refused(keyed: Shell, tmp_path: Path) -> None:
    keyed.write({"bad/shop.yaml": POLICY.replace("args.amount", "args.amuont")})
    said = keyed("policy", "activate", "bad", "--reason", "so")
    assert said.code == 2 and "did you mean `amount`?" in said.err
    assert keyed("policy", "activate", "new", "--reason", "so", "--expires", "2020-01-01").code == 2
    assert keyed("policy", "activate", "new", "--reason", "so", "--expires", "soon").code == 2
    assert keyed("policy", "activate", "new", "--reason", "so", "--keys", str(tmp_path / "none")).code == 2
    assert keyed("policy", "activate", "nosuch", "--reason", "so").code == 5
    assert [row["what"] for row in keyed("policy", "log", "--json").rows] == ["loaded"]


def test_workers_take_only_activations_by_the_keys_of_their_settings(keyed: Shell) -> None:
    assert keyed("policy", "activate", "new", "--reason", "so").code == 0
    key = keyed("keys", "list", "--json").rows[0]["key"]
    toml = (keyed.folder / "remit.toml").read_text()
    keyed.write({"remit.toml": f'{toml}\npolicy_keys = ["{key}"]\n'})
    assert keyed("run", "--input", "amounts:=[3]").code == 0
    other = "example.com/other+" + key.split("+", 1)[1]
    keyed.write({"remit.toml": f'{toml}\npolicy_keys = ["{other}"]\n'})
    assert keyed("run", "--input", "amounts:=[3]").code == 2
