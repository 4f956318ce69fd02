"""Somebody hands out an export with less in it, or with a verifier that says what he wants."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import orjson

from remit.core.canonical import canonical
from remit.probes.ground import Ground, expect
from remit.verify import verifier, verify


async def _export(ground: Ground) -> Path:
    waiting = await ground.waits()
    await ground.rules(waiting.review, "ann")
    await ground.resumes(waiting)
    return await ground.export()


def _fits(folder: Path, *names: str) -> None:
    """Makes the manifest fit, as whoever holds an unsigned export can."""
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    for name in names:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_bytes(canonical(manifest))


def _says(folder: Path, verifying: Path) -> int:
    """The exit code of a verifier that is run as an auditor runs it."""
    command = [sys.executable, "-I", str(verifying), str(folder)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


async def an_export_without_its_values_does_not_hold(ground: Ground) -> None:
    """all values, or one, are taken out of an export, and the manifest's sums are made to fit"""
    whole = await _export(ground)
    rows = (whole / "payloads.jsonl").read_bytes().splitlines(keepends=True)
    own = ground.folder / "own-verify.py"
    own.write_bytes(verifier())
    expect(_says(whole, own) == 0, "the export as it was written doesn't hold")
    for name, left in (("none", []), ("one less", rows[1:])):
        copy = ground.folder / f"values {name}"
        shutil.copytree(whole, copy)
        (copy / "payloads.jsonl").write_bytes(b"".join(left))
        _fits(copy, "payloads.jsonl")
        expect(not verify(copy).ok, f"an export with {name} of its values verifies")
        expect(_says(copy, own) == 1, f"verify.py takes an export with {name} of its values")


async def a_replaced_verifier_is_named_and_an_own_one_is_not_fooled(ground: Ground) -> None:
    """verify.py in an export is replaced by one that always says that it holds, and an entry is changed"""
    whole = await _export(ground)
    (whole / "verify.py").write_text("print('it holds')\n", encoding="utf-8")
    text = (whole / "entries.jsonl").read_bytes()
    (whole / "entries.jsonl").write_bytes(text.replace(b'"reviewer":"ann"', b'"reviewer":"bob"'))
    _fits(whole, "verify.py", "entries.jsonl")
    own = ground.folder / "own-verify.py"
    own.write_bytes(verifier())
    expect(_says(whole, own) == 1, "a verify.py of the auditor's own takes it")
    found = verify(whole)
    expect(not found.ok and "not one that this Remit knows" in found.verifier, "the replaced verify.py is not named")
