"""`remit review`: who rules first rules, and what can't be ruled on says why."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from shops import POLICY, QUEUES, Shell, environment

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBdCVPf9Jt8du6FfFFpFitRK/ZCoQqSqMGesFImm4vp6"


def waiting(shell: Shell, amount: int = 20) -> tuple[str, str]:
    """A run that waits, and the review that it waits for."""
    (report,) = shell("run", "--input", f"amounts:=[{amount}]", "--json").rows
    assert report["status"] == "waiting"
    return report["run"], report["reviews"][0]


def test_an_approval_lets_the_run_go_on_once(shell: Shell) -> None:
    run, review = waiting(shell)
    assert shell.ledger() == []
    said = shell("review", "approve", review[:6], "--reason", "agreed", "--json")
    (view,) = said.rows
    assert said.code == 0 and view["status"] == "approved"
    assert set(view["ruling"]) == {
        "approved", "reviewer", "on_behalf", "at", "reason", "edited", "answers", "answer", "grant", "signed",
        "single_operator",
    }  # fmt: skip
    assert (view["ruling"]["reason"], view["ruling"]["single_operator"]) == ("agreed", True)
    assert shell("review", "list").err == "nothing waits for a review\n"
    assert shell("resume", run).code == 0
    assert shell("resume", run).code == 0
    assert shell.ledger() == [20]
    assert "in single-operator mode" in shell("review", "show", review).out


def test_a_second_ruling_is_7_and_names_the_first(shell: Shell) -> None:
    run, review = waiting(shell)
    assert shell("review", "deny", review, "--reason", "no money").code == 0
    for again in (("approve", review), ("deny", review, "--reason", "still not")):
        said = shell("review", *again)
        assert said.code == 7 and said.out == "" and "was denied by" in said.err and "a ruling is final" in said.err
    resumed = shell("resume", run)
    assert resumed.code == 1 and "buy" in resumed.out
    assert "no money" in shell("runs", "show", run).out
    assert shell.ledger() == []


def test_a_ruling_on_what_has_changed_since_is_7(shell: Shell) -> None:
    _, review = waiting(shell)
    digest = shell("review", "show", review, "--json").rows[0]["digest"]
    said = shell("review", "approve", review, "--if-digest", "0000")
    assert said.code == 7 and digest[:12] in said.err
    assert shell("review", "approve", review, "--if-digest", digest[:10].upper()).code == 0


def test_a_denial_says_why_or_is_2(shell: Shell) -> None:
    _, review = waiting(shell)
    assert shell("review", "deny", review).code == 2
    blank = shell("review", "deny", review, "--reason", "  ")
    assert blank.code == 2 and "a denial needs a reason" in blank.err
    unspeakable = shell("review", "deny", review, "--reason", "\udcff")
    assert unspeakable.code == 2 and "Traceback" not in unspeakable.err
    assert shell("review", "list", "--json").rows[0]["status"] == "open"


def test_without_single_operator_mode_nobody_rules_unsigned(shell: Shell) -> None:
    queues = "".join(line + "\n" for line in QUEUES.splitlines() if "single_operator" not in line)
    shell.write(
        {
            "policies/queues.yaml": queues + "    reviewers: [ann]\n",
            "policies/reviewers.yaml": f'reviewers: {{ann: {{keys: [{{key: "{KEY}"}}]}}}}',
        }
    )
    _, review = waiting(shell)
    said = shell("review", "approve", review)
    assert said.code == 4 and "`single_operator: true`" in said.err
    assert shell("review", "list", "--json").rows[0]["status"] == "open"


_LONG_AGO = """
import asyncio
from datetime import UTC, datetime

from app import graph
from remit import Runtime
from remit.testing import VirtualClock


async def main():
    async with Runtime(graph, ambient=VirtualClock(datetime(2020, 1, 1, tzinfo=UTC))) as runtime:
        await runtime.run(graph, {"amounts": [20]}, principal="ada", target="app.py:graph")


asyncio.run(main())
"""


def test_an_expired_review_can_never_be_approved(shell: Shell) -> None:
    shell.write({"long_ago.py": _LONG_AGO})
    done = subprocess.run(
        [sys.executable, "long_ago.py"],
        cwd=shell.folder,
        env=environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = shell("review", "list", "--json").rows
    assert "over" in shell("review", "list").out
    said = shell("review", "approve", row["review"])
    assert said.code == 7 and "expired at 2020-01-04" in said.err
    assert shell("resume").code == 1
    assert shell("review", "list", "--all", "--json").rows[0]["status"] == "expired"
    assert shell.ledger() == []


def test_of_two_reviewers_at_once_exactly_one_wins(shell: Shell) -> None:
    _, review = waiting(shell)
    rivals = [shell.start("review", *words) for words in (("approve", review), ("deny", review, "--reason", "no"))]
    codes = [rival.end() for rival in rivals]
    assert sorted(codes) == [0, 7]
    winner = rivals[codes.index(0)]
    (view,) = shell("review", "show", review, "--json").rows
    assert f"is {view['status']}" in "".join(winner.lines)
    for rival, code in zip(rivals, codes, strict=True):
        if code == 7:
            assert "a ruling is final" in "".join(rival.lines)


def test_an_approval_is_decided_again_under_the_policies_of_now(shell: Shell) -> None:
    run, review = waiting(shell)
    assert shell("review", "approve", review).code == 0
    shell.write({"policies/shop.yaml": POLICY.replace("args.amount > 1000", "args.amount > 15")})
    assert shell("resume", run).code == 1
    assert "20 is too much" in shell("runs", "show", run).out
    assert shell.ledger() == []


def test_a_review_whose_shown_values_are_not_those_recorded_cannot_be_ruled_on(shell: Shell, tmp_path: Path) -> None:
    _, review = waiting(shell)
    with sqlite3.connect(tmp_path / "remit.db") as store:
        store.execute("DROP TRIGGER payloads_no_update")
        changed = store.execute(
            "UPDATE payloads SET value = CAST(replace(CAST(value AS TEXT), '20 to Ada', '02 to Ada') AS BLOB)"
            " WHERE path = '/shown'"
        )
        assert changed.rowcount == 1
    store.close()
    for command in (("show", review), ("approve", review)):
        said = shell("review", *command)
        assert said.code == 1 and "is not what the entry committed to" in said.err
    assert "is not what the entry committed to" in shell("review", "list").out  # beside the others, which it hides not
    (row,) = shell("review", "list", "--json").rows
    assert (row["status"], row["title"]) == ("open", "") and "is not what the entry committed to" in row["problem"]


def test_a_review_whose_values_are_gone_can_be_denied_and_not_approved(shell: Shell, tmp_path: Path) -> None:
    run, review = waiting(shell)
    with sqlite3.connect(tmp_path / "remit.db") as store:
        assert store.execute("DELETE FROM payloads WHERE path = '/shown'").rowcount == 1
    store.close()
    assert "[erased]" in shell("review", "list").out
    assert "was erased" in shell("review", "show", review).out
    said = shell("review", "approve", review)
    assert said.code == 1 and "it can only be denied" in said.err
    assert shell("review", "deny", review, "--reason", "nobody can see it").code == 0
    assert shell("resume", run).code == 1 and shell.ledger() == []


def test_what_was_erased_is_shown_as_erased_everywhere(shell: Shell) -> None:
    run, review = waiting(shell)
    assert shell("review", "approve", review, "--reason", "agreed").code == 0
    assert shell("resume", run).code == 0
    assert shell("audit", "erase", "--run", run, "--reason", "asked to").code == 0
    for command in (("runs", "show", run), ("review", "show", review), ("review", "list", "--all")):
        text, rows = shell(*command), shell(*command, "--json")
        assert (text.code, rows.code) == (0, 0) and "erased" in text.out
        assert "Ada" not in text.out + rows.out and "agreed" not in text.out + rows.out
    assert shell("review", "show", review, "--json").rows[0]["shown"] is None
