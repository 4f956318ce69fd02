"""Verifiers that others wrote take our checkpoints, proofs and tiles, and we take theirs.

They are installed by `.ci/run`: the reference (golang.org/x/mod/sumdb, from Debian's golang-go and
golang-golang-x-mod-dev), and aics-tlog from PyPI where there is a Python 3.12 or newer. Where one is missing,
its tests are skipped and say so.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from remit.core.entries import Head, PolicyLoaded, seal
from remit.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from remit.core.notes import Checkpoint, SignerKey, VerifierKey, open_note
from remit.export.tiles import write_tiles
from remit.store.integrator import Integrator
from remit.store.journal import Append, Journal

HERE = Path(__file__).parent
KEY = SignerKey("example.com/journal", bytes(range(32)))
SIZES = (1, 2, 3, 255, 256, 257, 1000)
GO_SOURCES = Path("/usr/share/gocode")
OTHERS = os.environ.get("REMIT_AICS_PYTHON", "")


async def _request(folder: Path, size: int) -> dict[str, Any]:
    """Makes a journal of `size` entries and returns what a verifier is asked."""
    url = f"sqlite:///{folder}/remit.db"
    async with await Journal.open(url) as journal:
        head, leaves = Head(), []
        for number in range(size):
            sealed = seal("policy", head, "2026-01-01T00:00:00.000000Z", "w", PolicyLoaded(f"{number:064x}", {}))
            head = sealed.head
            leaves.append(sealed.bytes)
            journal.enqueue(Append((sealed,)))
        integrator = Integrator(journal)
        await journal.append(Append(()))
        note = await integrator.checkpoint(KEY, "2026-01-01T00:00:00.000000Z")
        some = sorted({*range(0, size, 1 + size // 13), size - 1})
        inclusion = [
            {"index": index, "size": size, "proof": _texts(await integrator.inclusion(index, size))} for index in some
        ]
        consistency = [
            {"old": index + 1, "size": size, "proof": _texts(await integrator.consistency(index + 1, size))}
            for index in some
        ]
        await write_tiles(journal, folder / "log", note)
    return {
        "key": str(KEY.verifier),
        "note": note,
        "leaves": _texts(leaves),
        "inclusion": inclusion,
        "consistency": consistency,
        "tiles": str(folder / "log"),
    }


def _texts(items: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(item).decode() for item in items]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference verifier, built."""
    if shutil.which("go") is None or not (GO_SOURCES / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("not run: the reference verifier needs Debian's golang-go and golang-golang-x-mod-dev")
    folder = tmp_path_factory.mktemp("reference")
    variables = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_SOURCES), "GOCACHE": str(folder / "cache")}
    subprocess.run(
        ["go", "build", "-o", str(folder / "reference"), str(HERE / "reference.go")],
        env=variables,
        check=True,
        timeout=300,
    )
    return folder / "reference"


def _ask(command: list[str], request: dict[str, Any]) -> Any:
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("size", SIZES)
async def test_the_reference_verifier_takes_our_checkpoints_and_proofs(
    tmp_path: Path, reference: Path, size: int
) -> None:
    assert _ask([str(reference)], await _request(tmp_path, size))["problems"] == []


@pytest.mark.parametrize("part", ["note", "inclusion", "consistency"])
async def test_the_reference_verifier_refuses_what_was_changed(tmp_path: Path, reference: Path, part: str) -> None:
    request = await _request(tmp_path, 100)
    if part == "note":
        request["note"] = request["note"].replace("\n100\n", "\n101\n")
    else:
        request[part][1]["proof"][0] = base64.b64encode(bytes(32)).decode()
    assert len(_ask([str(reference)], request)["problems"]) == 1


@pytest.mark.parametrize("size", SIZES)
async def test_we_take_the_checkpoints_and_proofs_of_the_reference(tmp_path: Path, reference: Path, size: int) -> None:
    request = await _request(tmp_path, size)
    await _holds(tmp_path, request, _ask([str(reference)], request), "reference.example/log")


async def _holds(folder: Path, request: dict[str, Any], answer: dict[str, Any], name: str) -> None:
    """Checks with our code what another made over the same entries."""
    size = len(request["leaves"])
    text, signed = open_note(answer["note"], [VerifierKey.parse(answer["vkey"])])
    theirs = Checkpoint.parse(text)
    ours = Checkpoint.parse(open_note(request["note"], [KEY.verifier])[0])
    assert signed[0].name == name
    assert (theirs.size, theirs.root) == (ours.size, ours.root)
    leaves = [leaf_hash(base64.b64decode(leaf)) for leaf in request["leaves"]]
    for row in answer["inclusion"]:
        proof = [base64.b64decode(hash) for hash in row["proof"]]
        assert verify_inclusion(leaves[row["index"]], row["index"], size, theirs.root, proof)
    async with await Journal.open(f"sqlite:///{folder}/remit.db") as journal:
        for row in answer["consistency"]:
            proof = [base64.b64decode(hash) for hash in row["proof"]]
            old = await Integrator(journal).root(row["old"])
            assert verify_consistency(row["old"], size, old, theirs.root, proof)


@pytest.mark.skipif(not OTHERS, reason="not run: REMIT_AICS_PYTHON names no Python 3.12 that has aics-tlog")
@pytest.mark.parametrize("size", SIZES)
async def test_a_verifier_from_pypi_takes_our_checkpoints_proofs_and_tiles(tmp_path: Path, size: int) -> None:
    assert _ask([OTHERS, str(HERE / "others.py")], await _request(tmp_path, size))["problems"] == []


@pytest.mark.skipif(not OTHERS, reason="not run: REMIT_AICS_PYTHON names no Python 3.12 that has aics-tlog")
@pytest.mark.parametrize("size", SIZES)
async def test_we_take_the_checkpoints_and_proofs_of_a_verifier_from_pypi(tmp_path: Path, size: int) -> None:
    request = await _request(tmp_path, size)
    await _holds(tmp_path, request, _ask([OTHERS, str(HERE / "others.py")], request), "others.example/log")


@pytest.mark.skipif(not OTHERS, reason="not run: REMIT_AICS_PYTHON names no Python 3.12 that has aics-tlog")
async def test_a_verifier_from_pypi_refuses_what_was_changed(tmp_path: Path) -> None:
    request = await _request(tmp_path, 100)
    request["inclusion"][1]["proof"][0] = base64.b64encode(bytes(32)).decode()
    request["consistency"][1]["proof"][0] = base64.b64encode(bytes(32)).decode()
    assert len(_ask([OTHERS, str(HERE / "others.py")], request)["problems"]) == 2
