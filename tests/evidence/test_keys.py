"""Keys, the checkpoints they sign, and the anchor that outlives the machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from vaults import NAME, Vault, signer
from worlds import one

from remit import Context
from remit.core.entries import Head, PolicyLoaded, seal
from remit.core.notes import Checkpoint, open_note
from remit.errors import BadInput, SettingsError, Tampered
from remit.runtime.checkpoints import ENTRIES, SECONDS, Checkpoints
from remit.runtime.keys import KeyRing
from remit.store.integrator import Integrator
from remit.store.journal import Append, Journal


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


def size_of(note: str) -> int:
    return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n").size


# --- keys -----------------------------------------------------------------------------------------------


async def test_a_new_key_is_a_file_for_its_owner_only_and_an_entry_with_its_public_half(vault: Vault) -> None:
    before = os.umask(0)
    try:
        key = await vault.key()
    finally:
        os.umask(before)
    assert stat.S_IMODE(vault.keys.stat().st_mode) == 0o700
    (path,) = vault.keys.glob("*.key")
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in vault.keys.iterdir())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signer(vault).verifier == key
    (entry,) = await vault.entries("store")
    assert (entry.kind, entry.body.key) == ("store.key_added", str(key))  # type: ignore[attr-defined]
    secret = path.read_text(encoding="utf-8").strip().rpartition("+")[2]
    assert secret.encode() not in vault.path.read_bytes()


async def test_rotating_keeps_the_name_retires_the_key_before_and_what_it_signed_still_holds(vault: Vault) -> None:
    with pytest.raises(BadInput, match="no key to rotate"):
        async with await Journal.open(vault.url, keys=vault.keys) as journal:
            await vault.ring.rotate(journal, vault.clock, "operator:me", "")
    first = await vault.key()
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        integrator = Integrator(journal)
        signing = await vault.ring.signer(journal)
        assert signing is not None
        note = await integrator.checkpoint(signing, "2026-01-05T09:00:00.000000Z")
        vault.clock.advance(60)
        second = await vault.ring.rotate(journal, vault.clock, "operator:me", "it was lost")
        known = await vault.ring.known(journal)
        assert [(row.key, bool(row.retired), row.here) for row in known] == [(first, True, True), (second, False, True)]
        assert second.name == first.name == NAME and second != first
        signing = await vault.ring.signer(journal)
        assert signing is not None and signing.verifier == second
        assert open_note(note, [row.key for row in known])[1] == (first,)
        await integrator.checkpoint(signing, "2026-01-05T09:00:00.000000Z")
        elsewhere = KeyRing(vault.folder / "elsewhere")
        assert await elsewhere.signer(journal) is None
        assert [row.here for row in await elsewhere.known(journal)] == [False, False]


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\nb"])
async def test_a_name_that_a_note_can_not_have_is_bad_input(vault: Vault, name: str) -> None:
    with pytest.raises(BadInput, match="key name"):
        await vault.key(name)
    assert not list(vault.keys.glob("*.key"))


async def test_a_file_that_is_not_the_private_half_is_named_and_nothing_of_it_is_shown(vault: Vault) -> None:
    await vault.key()
    other = Vault(vault.folder / "other", seed=1)
    await other.key()
    path, foreign = next(vault.keys.glob("*.key")), next(other.keys.glob("*.key")).read_text(encoding="utf-8")
    own = path.read_text(encoding="utf-8")
    for text in (
        foreign.encode(),
        b"",
        own[:-10].encode(),
        own.replace("PRIVATE+KEY+", "").encode(),
        b"\xff" + own.encode(),
    ):
        path.write_bytes(text)
        async with await Journal.open(vault.url, keys=vault.keys) as journal:
            with pytest.raises(BadInput) as caught:
                await vault.ring.signer(journal)
        shown = f"{caught.value!r} {caught.value.__cause__!r}"
        for secret in (foreign.strip()[-40:], own.strip()[-40:]):
            assert not any(secret[at : at + 8] in shown for at in range(len(secret) - 8)), text
    path.unlink()
    path.mkdir()
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        assert await vault.ring.signer(journal) is None


async def test_a_folder_that_can_not_be_written_is_bad_input_and_no_key_is_recorded(vault: Vault) -> None:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        (vault.folder / "a file").write_text("", encoding="utf-8")
        with pytest.raises(BadInput, match="can't be written"):
            await KeyRing(vault.folder / "a file").new(journal, vault.clock, "operator:tester", NAME)
        assert await journal.read("store") == []


# --- when checkpoints are made ----------------------------------------------------------------------------


async def test_a_checkpoint_is_made_at_a_runs_end_and_at_an_export(vault: Vault) -> None:
    await vault.key()
    await vault.live([1])
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        note = await Integrator(journal).latest()
        assert note is not None
        assert size_of(note) == await journal.position()
        before = size_of(note)
    out = await vault.out("one")
    assert size_of((out / "checkpoint").read_text(encoding="utf-8")) == before
    out = await vault.out("two")  # that the first was made is an entry
    assert size_of((out / "checkpoint").read_text(encoding="utf-8")) == before + 1


async def test_without_a_key_there_is_none(vault: Vault) -> None:
    await vault.live([1])
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        assert await Integrator(journal).latest() is None


async def grow(journal: Journal, count: int) -> None:
    head = await journal.head("policy")
    for number in range(count):
        sealed = seal("policy", head, "2026-01-01T00:00:00.000000Z", "w", PolicyLoaded(f"{number:064x}", {}))
        head = Head(sealed.seq, sealed.hash)
        journal.enqueue(Append((sealed,)))
    await journal.append(Append(()))


@pytest.mark.parametrize(("entries", "seconds"), [(ENTRIES, 1), (1, int(SECONDS))])
async def test_a_checkpoint_is_made_after_so_many_entries_or_so_long_after_one(
    vault: Vault, entries: int, seconds: int
) -> None:
    await vault.key()
    anchor = vault.folder / "anchor"
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        made: asyncio.Queue[int] = asyncio.Queue()
        checkpoints = Checkpoints(journal, vault.ring, vault.clock, str(anchor))
        real = checkpoints.make

        async def make() -> str | None:
            note = await real()
            made.put_nowait(size_of(note or ""))
            return note

        checkpoints.make = make  # type: ignore[method-assign]
        keeping = asyncio.ensure_future(checkpoints.keep())
        await _settled(vault)
        await grow(journal, entries)
        for _ in range(seconds + 1):
            assert made.empty() or _ == seconds
            vault.clock.advance(1)
            await _settled(vault)
            if not made.empty():
                break
        assert await made.get() == await journal.position() == entries + 1
        assert size_of(anchor.read_text(encoding="utf-8")) == entries + 1
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping


async def _settled(vault: Vault) -> None:
    """Until the keeper sleeps again: it reads the store from another thread."""
    while not any(not sleeper[2].done() for sleeper in vault.clock._sleepers):
        await asyncio.sleep(0.001)


# --- anchors ----------------------------------------------------------------------------------------------


STORE_AND_PRINT = """
import pathlib, sys
path = pathlib.Path(__file__).with_name("kept")
if sys.argv[1] == "write":
    path.write_text(sys.stdin.read(), encoding="utf-8")
elif path.exists():
    sys.stdout.write(path.read_text(encoding="utf-8"))
"""


@pytest.fixture(params=["file", "command"])
def anchored(tmp_path: Path, request: pytest.FixtureRequest) -> Vault:
    if request.param == "file":
        return Vault(tmp_path, anchor=str(tmp_path / "anchor"))
    script = tmp_path / "anchor.py"
    script.write_text(STORE_AND_PRINT, encoding="utf-8")
    return Vault(tmp_path, anchor=f"| {sys.executable} -I {script}")


async def starts(vault: Vault) -> None:
    async def nothing(ctx: Context) -> None: ...

    async with vault.runtime(one(nothing, vault.act())):
        pass


def attack(vault: Vault, statement: str) -> None:
    vault.sql(statement)
    with closing(sqlite3.connect(vault.path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def test_a_store_that_goes_on_is_taken_and_its_anchor_moves_with_it(anchored: Vault) -> None:
    await starts(anchored)  # there is no note yet
    await anchored.key()
    await anchored.live([1])
    await starts(anchored)
    await anchored.live([1])
    await starts(anchored)
    async with await Journal.open(anchored.url, keys=anchored.keys) as journal:
        await anchored.ring.rotate(journal, anchored.clock, "operator:me", "")
    await anchored.live([1])
    await starts(anchored)


@pytest.mark.parametrize("attacker", ["older copy", "no store", "cut", "rewritten", "changed keys"])
async def test_a_store_that_its_anchor_contradicts_is_refused_at_start(anchored: Vault, attacker: str) -> None:
    await anchored.key()
    await anchored.live([1])
    older = anchored.path.read_bytes()
    await anchored.live([1, 7])
    match attacker:
        case "older copy" | "no store":
            for path in anchored.folder.glob("remit.db*"):
                path.unlink()
            if attacker == "older copy":
                anchored.path.write_bytes(older)
        case "cut":
            attack(anchored, "DELETE FROM entries WHERE position > (SELECT max(position) - 2 FROM entries)")
        case "rewritten":
            attack(anchored, "UPDATE entries SET hash = zeroblob(32) WHERE position = 5")
        case _:
            other = Vault(anchored.folder / "other", seed=1)
            await other.key()
            await other.live([1, 1, 1, 1, 7])
            shutil.copy(other.path, anchored.path)
            shutil.copytree(other.keys, anchored.keys, dirs_exist_ok=True)
    anchored.forget_marks()
    with pytest.raises(Tampered):
        await starts(anchored)


async def test_a_store_rewritten_below_its_stored_subtrees_is_refused_at_start(tmp_path: Path) -> None:
    """A full tile's hash is kept beside the entries, where the attacker leaves it as it was."""
    vault = Vault(tmp_path, anchor=str(tmp_path / "anchor"))
    await vault.key()
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        await grow(journal, 300)
        await Checkpoints(journal, vault.ring, vault.clock, vault.anchor).make()
    await starts(vault)
    attack(vault, "UPDATE entries SET hash = zeroblob(32) WHERE position = 5")
    with pytest.raises(Tampered, match="are not those that its anchor"):
        await starts(vault)


@pytest.mark.parametrize("anchor", ["directory", "| false", "| /nowhere/at-all", '| "', "|"])
async def test_an_anchor_that_can_not_be_read_or_run_stops_the_start(tmp_path: Path, anchor: str) -> None:
    if anchor == "directory":
        (tmp_path / "anchor").mkdir()
        anchor = str(tmp_path / "anchor")
    vault = Vault(tmp_path, anchor=anchor)
    with pytest.raises(SettingsError, match="anchor"):
        await starts(vault)


@pytest.mark.parametrize("text", ["rubbish", "a\nb\nc\n\nd\n"])
async def test_an_anchor_that_holds_no_checkpoint_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "anchor").write_text(text, encoding="utf-8")
    with pytest.raises(Tampered):
        await starts(Vault(tmp_path, anchor=str(tmp_path / "anchor")))


async def test_an_anchor_command_that_never_ends_is_given_up_and_ended(tmp_path: Path) -> None:
    (tmp_path / "pid.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path(__file__).with_name('pid').write_text(str(os.getpid()))\ntime.sleep(600)\n",
        encoding="utf-8",
    )
    vault = Vault(tmp_path, anchor=f"| {sys.executable} -I {tmp_path / 'pid.py'}")
    started = asyncio.ensure_future(starts(vault))
    pid = tmp_path / "pid"
    while not started.done() and (not pid.exists() or not pid.read_text(encoding="utf-8")):
        await asyncio.sleep(0.01)
    vault.clock.advance(31)
    with pytest.raises(SettingsError, match="it took too long"):
        await started
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text(encoding="utf-8")), 0)
