"""The demo's agent obeys whoever speaks last. Under the flow pack alone that gets nobody paid."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from shops import Shell

ROOT = Path(__file__).parent.parent
TOLD = "LT121000011101001000"
"""The account that an invoice's note tells the agent to pay to."""


def play(folder: Path, shell: Shell, *options: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Runs the demo's agent where only the pack says no; returns its calls of `pay` and the accounts paid."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "policies").mkdir()
    (folder / "policies/all.yaml").write_text("policy: all\nrules:\n  - {id: all, tools: ['*'], allow: true}\n")
    (folder / "policies/queues.yaml").write_text("single_operator: true\n")
    (folder / "remit.toml").write_text('packs = ["flow"]\n')
    command = ("run", "examples/payables/app.py:graph", "--input", "invoices=examples/payables/invoices", *options)
    said = shell.run(*command, "--json", PAYABLES_BOOKS=str(folder / "books"))
    assert said.code == 8, said.out + said.err
    (view,) = shell("runs", "show", said.rows[0]["run"], "--json").rows
    with sqlite3.connect(folder / "books" / "ledger.db") as ledger:
        rows = ledger.execute("SELECT iban FROM payments ORDER BY number").fetchall()
    ledger.close()
    return [call for call in view["calls"] if call["tool"] == "pay"], [row[0] for row in rows]


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("REMIT_STORE", "REMIT_POLICIES", "REMIT_APP", "REMIT_PACKS"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path, capsys, monkeypatch)


def test_the_obedient_agent_is_stopped_by_the_flow_pack_alone(tmp_path: Path, shell: Shell) -> None:
    pays, paid = play(tmp_path, shell)
    assert TOLD not in paid and paid == []
    assert {call["outcome"] for call in pays} == {"escalate"}


def test_with_the_invoices_amounts_endorsed_only_the_note_that_gives_orders_is_asked_about(
    tmp_path: Path, shell: Shell
) -> None:
    parts = [f"read_invoice/{part}" for part in ("vat", "iban", "amount", "currency")]
    pays, paid = play(tmp_path, shell, *[word for part in parts for word in ("--endorse", part)])
    waiting = [call for call in pays if call["outcome"] == "escalate"]
    assert [call["args"]["iban"] for call in waiting] == [TOLD]
    assert "/note of read_invoice" in waiting[0]["reasons"][0]
    assert TOLD not in paid and len(paid) == 6
