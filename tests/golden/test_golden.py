"""What an earlier version wrote is read and verified by every later one. See journal-v1/make.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from vaults import alone, bundled

from remit.core.entries import KINDS, unseal
from remit.core.notes import VerifierKey
from remit.verify import verify

HERE = Path(__file__).parent / "journal-v1"
BUNDLE = HERE / "bundle"
KEYS = [VerifierKey.parse(line) for line in (HERE / "keys").read_text(encoding="utf-8").splitlines()]
COUNTED = (56, 9, 34, 3, 5, 1)
"""Entries, streams, payloads, decisions made again, effects, approvals."""
HELD = (HERE / "held-checkpoint").read_text(encoding="utf-8")


def test_the_bundle_of_version_1_verifies_with_its_keys_and_the_checkpoint_held() -> None:
    found = verify(BUNDLE, keys=KEYS, held=HELD)
    assert found.problems == []
    assert found.signed == ("example.com/golden",)
    assert found.tree.endswith("of the checkpoint you hold")
    assert (found.entries, found.streams, found.payloads) == (COUNTED[:3])
    assert (found.decisions, found.effects, found.approvals) == (COUNTED[3:])
    assert any("erased by ann" in note for note in found.notes)


def test_the_verifier_of_today_and_the_one_in_the_bundle_take_it_too() -> None:
    assert bundled(BUNDLE, KEYS, HELD)
    keys = [word for key in KEYS for word in ("--key", str(key))]
    assert alone(BUNDLE, *keys, "--checkpoint", HERE / "held-checkpoint").returncode == 0


def test_without_the_key_that_signed_it_it_does_not_verify() -> None:
    assert not verify(BUNDLE, keys=KEYS[:1]).ok
    assert not verify(BUNDLE, keys=[VerifierKey(KEYS[1].name, bytes(32))]).ok


@pytest.mark.parametrize(
    "line", (BUNDLE / "entries.jsonl").read_bytes().splitlines(), ids=lambda line: unseal(line).kind
)
def test_every_entry_of_version_1_is_read(line: bytes) -> None:
    assert unseal(line).kind in KINDS
