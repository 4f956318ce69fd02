"""Several reviewers at several terminals, with keys that `ssh-keygen` made, as processes of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from shops import Shell

QUEUES = """
queues:
  finance:
    reviewers: [finance]
    approvals: 2
    edit: [amount]
"""


@pytest.fixture
def staffed(shell: Shell) -> Shell:
    reviewers = "reviewers:\n"
    for name in ("ann", "bob", "cat", "eve"):
        key = shell.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
        groups = "" if name == "eve" else "    groups: [finance]\n"
        reviewers += f"  {name}:\n{groups}    keys: [{{key: {Path(f'{key}.pub').read_text().strip()}}}]\n"
    shell.write({"policies/queues.yaml": QUEUES, "policies/reviewers.yaml": reviewers})
    return shell


def waiting(shell: Shell, amount: int = 20) -> tuple[str, str]:
    (report,) = shell("run", "--input", f"amounts:=[{amount}]", "--json").rows
    assert report["status"] == "waiting"
    return report["run"], report["reviews"][0]


def test_whoami_says_whose_key_it_is(staffed: Shell) -> None:
    waiting(staffed)
    (row,) = staffed("review", "whoami", "--key", "ann", "--json").rows
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(staffed.folder / "ann.pub")], capture_output=True, check=True
    )
    assert row["key"] in listed.stdout.decode()
    assert (row["reviewer"], row["queues"], row["single_operator"]) == ("ann", ["finance"], False)
    staffed.write({"remit.toml": (staffed.folder / "remit.toml").read_text() + 'review_key = "bob.pub"\n'})
    assert staffed("review", "whoami", "--json").rows[0]["reviewer"] == "bob"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(staffed.folder / "nobody")], check=True)
    said = staffed("review", "whoami", "--key", "nobody")
    assert said.code == 4 and "is no reviewer's now" in said.err
    assert staffed("review", "whoami", "--key", "nowhere").code == 2


def test_two_of_three_terminals_at_once_settle_it_and_each_says_how_it_went(staffed: Shell) -> None:
    run, review = waiting(staffed)
    rivals = [staffed.start("review", "approve", review, "--key", name) for name in ("ann", "bob", "cat")]
    assert sorted(rival.end() for rival in rivals) == [0, 0, 7]
    (view,) = staffed("review", "show", review, "--json").rows
    assert (view["status"], len(view["rulings"])) == ("approved", 2)
    assert all(ruling["signed"] and not ruling["single_operator"] for ruling in view["rulings"])
    assert staffed("resume", run).code == 0
    assert staffed.ledger() == [20]


def test_claims_and_edits_from_three_terminals(staffed: Shell) -> None:
    run, review = waiting(staffed)
    rivals = [staffed.start("review", "claim", review, "--key", name) for name in ("ann", "bob", "cat")]
    codes = [rival.end() for rival in rivals]
    assert sorted(codes) == [0, 6, 6]
    order = sorted(zip(codes, ("ann", "bob", "cat"), strict=True))
    holder, second, third = (name for _, name in order)
    said = staffed("review", "approve", review, "--key", second)
    assert said.code == 6 and f"is claimed by {holder}" in said.err
    assert staffed("review", "edit", review, "--key", holder, "--set", "amount:=15").code == 0
    assert "changed to 15" in staffed("review", "show", review).out
    said = staffed("review", "approve", review, "--key", holder)
    assert said.code == 7 and "has ruled before" in said.err
    assert staffed("review", "edit", review, "--key", second, "--set", "what=more").code == 4
    (before,) = staffed("review", "show", review, "--json").rows
    assert staffed("review", "approve", review, "--key", second, "--if-digest", before["digest"]).code == 7
    assert staffed("review", "approve", review, "--key", second, "--if-digest", before["version"]).code == 0
    assert staffed("review", "deny", review, "--key", third, "--reason", "late").code == 7
    assert staffed("resume", run).code == 0
    assert staffed.ledger() == [15]


def test_who_is_not_in_charge_gets_4_and_nothing_is_recorded(staffed: Shell) -> None:
    _, review = waiting(staffed)
    for words in (
        ("approve", review),
        ("deny", review, "--reason", "no"),
        ("claim", review),
        ("comment", review, "hm"),
    ):
        said = staffed("review", *words, "--key", "eve")
        assert said.code == 4 and "`eve` is no reviewer of queue `finance`" in said.err
    said = staffed("review", "approve", review)
    assert said.code == 4 and "--key" in said.err
    (view,) = staffed("review", "show", review, "--json").rows
    assert (view["status"], view["rulings"], view["comments"]) == ("open", [], [])


def test_every_ruling_verifies_with_ssh_keygen_and_by_audit_verify(staffed: Shell) -> None:
    _, review = waiting(staffed)
    for name in ("ann", "bob"):
        assert staffed("review", "approve", review, "--key", name, "--reason", "fine").code == 0
    assert staffed("audit", "export", "--all", "-o", "bundle").code == 0
    (found,) = staffed("audit", "verify", "bundle", "--json").rows
    assert (found["ok"], found["rulings"]) == (True, 2)
    bundle = staffed.folder / "bundle"
    subprocess.run(["python3", "-I", "verify.py", "--rulings", "r"], cwd=bundle, capture_output=True, check=True)
    for number, name in ((1, "ann"), (2, "bob")):
        signed = bundle / "r" / f"{review}-{number}.json"
        done = subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", name, "-n", "ruling@remit",
             "-s", f"{signed}.sig"],
            cwd=bundle, input=signed.read_bytes(), capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
