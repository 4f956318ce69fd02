"""`remit review next|watch|wait` and `remit queue`: what a reviewer's day and a script's wait are made of."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from shops import Shell

QUEUES = """
queues:
  finance:
    reviewers: [finance]
    priority: args.amount
"""


@pytest.fixture
def staffed(shell: Shell) -> Shell:
    reviewers = "reviewers:\n"
    for name in ("ann", "bob"):
        key = shell.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
        reviewers += (
            f"  {name}:\n    groups: [finance]\n    keys: [{{key: {Path(f'{key}.pub').read_text().strip()}}}]\n"
        )
    shell.write({"policies/queues.yaml": QUEUES, "policies/reviewers.yaml": reviewers})
    return shell


def waiting(shell: Shell, *amounts: int) -> list[str]:
    """The reviews of a run for each amount, in order."""
    return [shell("run", "--input", f"amounts:=[{one}]", "--json").rows[0]["reviews"][0] for one in amounts]


def test_next_claims_the_most_urgent_that_is_free_and_gives_back_what_one_holds(staffed: Shell) -> None:
    small, large, middle = waiting(staffed, 20, 500, 90)
    first = staffed("review", "next", "--key", "ann", "--json")
    assert (first.code, first.rows[0]["review"], first.rows[0]["claimed_by"]) == (0, large, "ann")
    assert staffed("review", "next", "--key", "ann", "--json").rows[0]["review"] == large
    said = staffed("review", "next", "--key", "bob")
    assert said.code == 0 and f"review {middle} in queue finance is claimed" in said.out
    assert staffed("review", "deny", large, "--key", "ann", "--reason", "no").code == 0
    assert staffed("review", "next", "--key", "ann", "--json").rows[0]["review"] == small
    assert staffed("review", "deny", small, "--key", "ann", "--reason", "no").code == 0
    none = staffed("review", "next", "--key", "ann")
    assert (none.code, none.out, none.err) == (1, "", "nothing waits for you\n")
    assert staffed("review", "next", "--key", "bob", "--queue", "other", "--json").rows == []


def test_of_two_who_ask_for_the_next_at_once_each_gets_another(staffed: Shell) -> None:
    waiting(staffed, 20, 30)
    both = [staffed.start("review", "next", "--key", name, "--json") for name in ("ann", "bob")]
    assert [one.end() for one in both] == [0, 0]
    rows = staffed("review", "list", "--json").rows
    assert sorted(row["claimed"] for row in rows) == ["ann", "bob"]


def test_watch_tells_of_what_waits_and_of_whatever_happens(staffed: Shell) -> None:
    first, second = waiting(staffed, 20, 30)
    with staffed.start("review", "watch", "--queue", "finance") as watching:
        assert "open" in watching.until(first)
        watching.until(second)
        staffed("review", "claim", first, "--key", "ann")
        assert "ann until" in watching.until("claimed")
        staffed("review", "deny", first, "--key", "ann", "--reason", "no")
        assert first in watching.until("by ann at")
        (third,) = waiting(staffed, 40)
        watching.until(third)
        assert watching.end(signal.SIGTERM) == 0


def test_watch_prints_the_rows_that_list_prints(staffed: Shell) -> None:
    waiting(staffed, 20)
    with staffed.start("review", "watch", "--json") as watching:
        watching.until("]")
        assert watching.end(signal.SIGTERM) == 0
    rows = [line for line in watching.lines if line.strip() != "stopped"]
    assert json.loads("".join(rows)) == staffed("review", "list", "--json").rows


@pytest.mark.parametrize(("ruling", "code"), [("approve", 0), ("deny", 1)])
def test_wait_ends_when_somebody_rules_and_says_what_they_said(staffed: Shell, ruling: str, code: int) -> None:
    (review,) = waiting(staffed, 20)
    with staffed.start("review", "wait", review) as process:
        assert staffed("review", ruling, review, "--key", "ann", "--reason", "so").code == 0
        assert process.end() == code
    assert "by ann" in "".join(process.lines)
    assert staffed("review", "wait", review[:8], "--json").rows[0]["review"] == review


def test_wait_times_out_with_3_and_knows_no_stranger(staffed: Shell) -> None:
    (review,) = waiting(staffed, 20)
    said = staffed("review", "wait", review, "--timeout", "0.05s")
    assert (said.code, said.out) == (3, "") and "still waits" in said.err
    assert staffed("review", "wait", "zzzz").code == 5
    assert staffed("review", "wait", review, "--timeout", "soon").code == 2


def test_wait_ends_with_7_at_the_deadline(staffed: Shell) -> None:
    staffed.write({"policies/queues.yaml": QUEUES + "    ttl: 1s\n"})
    (review,) = waiting(staffed, 20)
    said = staffed("review", "wait", review, "--timeout", "30s")
    assert said.code == 7 and "is expired" in said.out


def test_queues_are_listed_with_their_terms_and_what_waits(staffed: Shell) -> None:
    waiting(staffed, 20, 30)
    (row,) = staffed("queue", "list", "--json").rows
    assert (row["queue"], row["open"], row["claimed"], row["ttl"]) == ("finance", 2, 0, 259_200)
    assert (row["reviewers"], row["approvals"], row["then_to"]) == (["ann", "bob"], 1, "")
    assert "ann, bob" in staffed("queue", "list").out


def test_stats_count_rulings_by_queue_reviewer_and_rule(staffed: Shell) -> None:
    first, second, _ = waiting(staffed, 20, 30, 40)
    staffed("review", "approve", first, "--key", "ann")
    staffed("review", "deny", second, "--key", "bob", "--reason", "no")
    (row,) = staffed("queue", "stats", "--json").rows
    assert (row["name"], row["opened"], row["open"], row["approved"], row["denied"]) == ("finance", 3, 1, 1, 1)
    assert (row["approval_rate"], row["breaches"]) == (0.5, 0)
    ann, bob = staffed("queue", "stats", "--by", "reviewer", "--json").rows
    assert (ann["name"], ann["approved"], bob["name"], bob["denied"]) == ("ann", 1, "bob", 1)
    (rule,) = staffed("queue", "stats", "--by", "rule", "--json").rows
    assert rule["name"] == "shop/large"
    assert set(rule) == set(row) == set(ann)
    assert "finance" in staffed("queue", "stats").out
    assert staffed("queue", "stats", "--by", "moon").code == 2
