"""What an auditor gets: an answer about the export, or about a mistake in the command, never one for the other."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from vaults import Vault, alone, copied, holds, signer

from remit import bundles
from remit.core.lifecycle import CallState, CallStatus
from remit.core.notes import Checkpoint
from remit.errors import BadInput
from remit.export.formats.table import write_csv
from remit.export.rows import CallRow, RunRows, produced_by
from remit.verify import verifier, verify

REMIT = [sys.executable, "-m", "remit"]


def remit(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*REMIT, *map(str, arguments)], capture_output=True, encoding="utf-8", check=False, timeout=60
    )


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vault, Path, list[str]]:
    async def main() -> tuple[Vault, Path, list[str]]:
        vault = Vault(tmp_path_factory.mktemp("auditors"))
        await vault.key()
        runs = await vault.live()
        return vault, await vault.out("whole"), runs

    return asyncio.run(main())


@pytest.fixture
def bundle(lived: tuple[Vault, Path, list[str]], tmp_path: Path) -> Path:
    return copied(lived[1], tmp_path / "bundle")


def test_an_own_verifier_checks_any_folder_and_a_replaced_one_is_named(bundle: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "verify.py").write_bytes(verifier())
    assert remit("audit", "verifier").stdout.encode() == verifier()
    assert alone(own, bundle).returncode == 0
    assert verify(bundle).verifier == ""
    (bundle / "verify.py").write_text("print('it holds')\n", encoding="utf-8")
    assert alone(own, bundle).returncode == 1
    assert "not one that this Remit knows" in verify(bundle).verifier


def test_an_option_that_is_wrong_is_bad_input_and_says_nothing_of_the_export(bundle: Path) -> None:
    for arguments in (
        ["--key", "nonsense"], ["--checkpoint", "/nowhere"], ["--checkpoint", bundle / "README.txt"],
        ["--key", "PRIVATE+KEY+a+b+c"],
    ):  # fmt: skip
        for said in (remit("audit", "verify", bundle, *arguments), alone(bundle, *arguments)):
            assert said.returncode == 2 and said.stderr and "HOLD" not in said.stdout, (arguments, said)
            assert "PRIVATE" not in said.stderr


def test_a_tail_that_was_cut_is_named_as_one(
    lived: tuple[Vault, Path, list[str]], bundle: Path, tmp_path: Path
) -> None:
    key = signer(lived[0])
    size = verify(bundle).entries
    held = key.sign(Checkpoint(key.name, size + 3, bytes(32)).text)
    (tmp_path / "held").write_text(held, encoding="utf-8")
    words = f"the export ends at {size} entries, and the checkpoint you gave covers {size + 3}: 3 entries are missing"
    assert any(words in str(problem) for problem in verify(bundle, held=held).problems)
    said = alone(bundle, "--checkpoint", tmp_path / "held")
    assert said.returncode == 1 and words in said.stdout


def test_a_whole_export_needs_no_proof_for_an_older_checkpoint(
    lived: tuple[Vault, Path, list[str]], bundle: Path
) -> None:
    key, lines = signer(lived[0]), (bundle / "entries.jsonl").read_bytes().splitlines()
    from remit.proofs import check_chains

    for size in (1, 5, len(lines)):
        root = check_chains(lines[:size]).tree.root()
        assert holds(bundle, held=key.sign(Checkpoint(key.name, size, root).text))
        assert not holds(bundle, held=key.sign(Checkpoint(key.name, size, bytes(32)).text))


@pytest.mark.parametrize("name", ["payloads.jsonl", "README.txt", "verify.py"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_no_regular_file_is_not_read(bundle: Path, name: str, kind: str) -> None:
    (bundle / name).unlink()
    if kind == "link":
        (bundle / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(bundle / name)
    assert not holds(bundle)


@pytest.mark.parametrize("limit", ["MEMBERS", "TOTAL_BYTES", "FILE_BYTES", "SMALL_BYTES", "LINE_BYTES"])
def test_what_is_too_large_is_not_read_and_the_bound_is_said(
    bundle: Path, tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in bundle.iterdir():
            archive.write(file, file.name)
    assert verify(path).ok
    monkeypatch.setattr(bundles, limit, 3)
    try:
        said = " ".join(map(str, verify(path).problems))
    except BadInput as error:
        said = str(error)
    assert "3" in said.split()


def test_an_export_is_for_its_owner_only(lived: tuple[Vault, Path, list[str]]) -> None:
    assert stat.S_IMODE(lived[1].stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in lived[1].iterdir()} == {0o600}


def test_an_export_alone_answers_what_the_store_answers(lived: tuple[Vault, Path, list[str]]) -> None:
    vault, whole, runs = lived
    for command in (
        ["audit", "trace", runs[2], "--lineage"], ["policy", "log"], ["grant", "list", "--all"],
        ["review", "list", "--all"], ["audit", "erasures"],
    ):  # fmt: skip
        there, here = (remit(*command, "--json", *source) for source in (["--store", vault.url], ["--export", whole]))
        assert (there.returncode, there.stdout) == (0, here.stdout), (command, there.stderr, here.stderr)


def test_a_reader_that_goes_away_is_no_failure(bundle: Path) -> None:
    command = " ".join([*REMIT, "audit", "verify", str(bundle), "| head -c 1; echo ${PIPESTATUS[0]}"])
    said = subprocess.run(["bash", "-c", command], capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert said.stdout.split()[-1].endswith("0") and said.stderr == ""


def test_a_sum_over_what_tools_produced_leaves_out_what_people_answered() -> None:
    def row(amount: str, **said: Any) -> CallRow:
        call = CallState("pay#0", "pay", "pay", CallStatus.SETTLED, 1, settled=2, ok=True, **said)
        values: dict[str, Any] = {field.name: "" for field in fields(CallRow) if field.default is MISSING}
        values |= {"reasons": (), "rules": (), "labels": (), "sources": {}, "asked": {}, "args": {"amount": amount}}
        return CallRow(**{**values, "status": "settled", "produced_by": produced_by(call)})

    run = RunRows("r", "g", "me", "me", "done", "", "", "", calls=(row("7"), row("9", answered="ann")))
    rows = list(csv.DictReader(io.StringIO(b"".join(write_csv([run])).decode())))
    assert [one["produced_by"] for one in rows] == ["tool", "person ann"]
    assert sum(int(json.loads(one["args"])["amount"]) for one in rows if one["produced_by"] == "tool") == 7
