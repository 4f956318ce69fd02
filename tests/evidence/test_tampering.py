"""A signed bundle: whatever is changed, dropped, added, doubled, reordered or cut, both verifiers refuse it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from vaults import NAME, Vault, alone, bundled, checked, copied, holds, quick_signatures, resealed
from worlds import policies_compiled_once

from remit.core.canonical import canonical
from remit.core.entries import RunStarted, unseal
from remit.core.merkle import Frontier, leaf_hash
from remit.core.notes import Checkpoint, SignerKey, VerifierKey
from remit.export.evidence import manifest_text


@dataclass(frozen=True)
class Made:
    """Bundles of one journal: of everything, and of one run; and what an auditor holds."""

    whole: Path
    one: Path
    key: VerifierKey
    held: str


async def _make(folder: Path) -> Made:
    vault = Vault(folder)
    key = await vault.key()
    await vault.live([1])
    held = (await vault.out("before") / "checkpoint").read_text(encoding="utf-8")
    runs = await vault.live([7])
    return Made(await vault.out("whole", held=held), await vault.out("one", runs, held=held), key, held)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with policies_compiled_once(), quick_signatures():
        yield asyncio.run(_make(tmp_path_factory.mktemp("made")))


@pytest.fixture(params=["whole", "one"])
def bundle(made: Made, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return copied(getattr(made, request.param), tmp_path / request.param)


def test_both_verifiers_take_it_with_the_key_and_the_checkpoint_that_the_auditor_holds(
    made: Made, bundle: Path
) -> None:
    found = checked(bundle, [made.key], made.held)
    assert found is not None
    assert (found.problems, found.notes, found.signed) == ([], [], (NAME,))
    assert holds(bundle) and holds(bundle, [made.key]) and holds(bundle, [made.key], made.held)


def test_the_bundled_verifier_needs_nothing_but_a_python(made: Made, bundle: Path) -> None:
    held = bundle.parent / "held"
    held.write_text(made.held, encoding="utf-8")
    good = alone(bundle, "--key", made.key, "--checkpoint", held)
    assert (good.returncode, good.stderr) == (0, ""), good.stdout
    assert good.stdout.endswith("it holds\n")
    other = VerifierKey(made.key.name, bytes(32))
    assert alone(bundle, "--key", other).returncode == 1
    typo = ["--key", made.key, "--checkpoint", bundle / "README.txt"]
    assert "can't be used" in alone(bundle, *typo).stderr
    for arguments in (
        typo,
        ["--key", "nonsense"],
        ["--key", f"{made.key}A"],
        ["--key"],
        ["--keys", made.key],
        ["--checkpoint", "/nowhere"],
        ["more"],
    ):
        assert alone(bundle, *arguments).returncode == 2, arguments
    assert alone(bundle, f"--key={other}").returncode == 1  # and never checked as if it weren't given
    (bundle / "entries.jsonl").write_bytes(b"")
    assert alone(bundle).returncode == 1


@pytest.mark.parametrize("name", ["checkpoint", "manifest.note", "keys.json", "proofs.jsonl", "consistency.json"])
def test_every_changed_byte_of_what_proves_it_is_found(made: Made, tmp_path: Path, name: str) -> None:
    bundle = copied(made.one, tmp_path / "one")
    _flip_every_byte(bundle, name, made.key, 1)


def test_every_changed_byte_of_the_manifest_is_found(made: Made, tmp_path: Path) -> None:
    bundle = copied(made.one, tmp_path / "one")
    (bundle / "index.html").write_bytes(b"")  # it is found anyway; this way it is the manifest that is looked at
    _flip_every_byte(copied(made.one, tmp_path / "one"), "manifest.json", made.key, 1)


def test_changed_bytes_of_every_other_file_are_found(made: Made, bundle: Path) -> None:
    for path in sorted(bundle.iterdir()):
        if path.name not in ("checkpoint", "manifest.note", "keys.json", "proofs.jsonl", "consistency.json"):
            _flip_every_byte(bundle, path.name, made.key, 1 + path.stat().st_size // 40)


def _flip_every_byte(bundle: Path, name: str, key: VerifierKey, step: int) -> None:
    path = bundle / name
    data = path.read_bytes()
    for place in range(0, len(data), step):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        assert not holds(bundle, [key]), f"{name}:{place}"
    path.write_bytes(data)
    assert holds(bundle, [key])


def test_every_dropped_doubled_added_reordered_or_cut_line_of_every_file_is_found(made: Made, bundle: Path) -> None:
    for path in sorted(bundle.glob("*.jsonl")):
        data = path.read_bytes()
        lines = data.splitlines(keepends=True)
        for at in range(len(lines)):
            others = lines[:at] + lines[at + 1 :]
            spoils = [others, [*lines[:at], lines[at], *lines[at:]], lines[:at], [*lines[:at], b"{}\n", *lines[at:]]]
            if at + 1 < len(lines):
                spoils.append([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]])
            for spoilt in spoils:
                if spoilt != lines:
                    path.write_bytes(b"".join(spoilt))
                    assert not holds(bundle, [made.key]), (path.name, at)
        for cut in (data[:-1], data + b"\n", b""):
            path.write_bytes(cut)
            assert not holds(bundle, [made.key]), path.name
        path.write_bytes(data)


def test_every_dropped_file_is_found_and_an_added_one_is_named(made: Made, bundle: Path) -> None:
    for path in sorted(bundle.iterdir()):
        data = path.read_bytes()
        path.unlink()
        assert not holds(bundle, [made.key]), path.name
        path.write_bytes(data)
    (bundle / "summary.html").write_bytes(b"all is well")
    found = checked(bundle, [made.key])
    assert found is not None
    assert found.ok and found.notes == ["summary.html is no part of the export"]
    assert "note: summary.html is no part of the export" in alone(bundle, "--key", made.key).stdout


# --- attackers who own the machine, but not the key ----------------------------------------------------------


def rewrite(bundle: Path, key: SignerKey | None) -> None:
    """Another principal; every chain, proof, file and digest fits again, and whatever `key` can sign is signed."""

    def change(entry: Any) -> Any:
        return (
            msgspec.structs.replace(entry.body, principal="someone-else")
            if isinstance(entry.body, RunStarted)
            else entry.body
        )

    lines = resealed((bundle / "entries.jsonl").read_bytes().splitlines(), change)
    (bundle / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    tree = Frontier()
    for line in lines:
        entry = unseal(line)
        manifest["streams"][entry.stream] = {"entries": entry.seq + 1, "head": entry.hash}
        tree.append(leaf_hash(line))
    (bundle / "consistency.json").unlink(missing_ok=True)
    manifest["files"].pop("consistency.json", None)
    if key is not None:
        note = key.sign(Checkpoint(key.name, tree.size, tree.root()).text)
        (bundle / "checkpoint").write_text(note, encoding="utf-8")
        (bundle / "keys.json").write_bytes(orjson.dumps([str(key.verifier)]))
    manifest["files"] = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in manifest["files"]}
    data = canonical(manifest) + b"\n"
    (bundle / "manifest.json").write_bytes(data)
    if key is not None:
        (bundle / "manifest.note").write_text(key.sign(manifest_text(key.name, data)), encoding="utf-8")


def test_who_rewrites_everything_without_a_key_is_found(made: Made, bundle: Path) -> None:
    rewrite(bundle, None)
    assert not holds(bundle, [made.key])
    assert not holds(bundle)


def test_who_rewrites_everything_and_signs_it_with_a_key_of_his_own_is_found_with_the_real_one(
    made: Made, tmp_path: Path
) -> None:
    bundle = copied(made.whole, tmp_path / "whole")
    rewrite(bundle, SignerKey(made.key.name, bytes(range(32))))
    assert not holds(bundle, [made.key])
    assert alone(bundle, "--key", made.key).returncode == 1
    found = checked(bundle)
    assert found is not None  # without it, the bundle's own keys are all there is: that is said, and nothing else
    assert any("compare with yours" in note for note in found.notes)


def strip(bundle: Path, *, said: bool) -> None:
    for name in ("checkpoint", "manifest.note"):
        (bundle / name).unlink()
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    del manifest["files"]["checkpoint"]
    manifest["signed"] = said
    (bundle / "manifest.json").write_bytes(canonical(manifest) + b"\n")


def test_a_signature_that_was_taken_away_is_found_with_the_key(made: Made, bundle: Path) -> None:
    strip(bundle, said=False)
    assert not holds(bundle, [made.key])
    assert not holds(bundle, held=made.held)
    assert alone(bundle, "--key", made.key).returncode == 1
    found = checked(bundle)
    assert found is not None and any("it is not signed" in note for note in found.notes)


def test_a_signature_that_was_taken_away_is_missed_where_the_manifest_speaks_of_it(made: Made, bundle: Path) -> None:
    strip(bundle, said=True)
    assert not holds(bundle)


def test_the_signed_parts_of_two_exports_do_not_go_together(made: Made, tmp_path: Path) -> None:
    for name in ("checkpoint", "manifest.note", "manifest.json", "proofs.jsonl", "consistency.json", "entries.jsonl"):
        mixed = copied(made.one, tmp_path / "mixed")
        if (made.whole / name).exists() and (made.whole / name).read_bytes() != (made.one / name).read_bytes():
            (mixed / name).write_bytes((made.whole / name).read_bytes())
            assert not holds(mixed, [made.key], made.held), name


def test_a_checkpoint_of_another_journal_is_not_one_that_this_begins_with(made: Made, bundle: Path) -> None:
    lines = made.held.split("\n")
    other = "\n".join([lines[0], "3", *lines[2:]])
    assert not holds(bundle, [made.key], other)
    assert not holds(bundle, [made.key], "rubbish")
    (bundle / "consistency.json").unlink()
    assert not bundled(bundle, [made.key], made.held)
