"""The store's tree against one that is made at once, around the sizes where it stores subtrees; and attackers."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.merkle import Frontier, Hash, root, verify_consistency, verify_inclusion
from remit.core.notes import Checkpoint, SignerKey, open_note
from remit.errors import Tampered
from remit.store.integrator import Integrator, Tree, tile_path
from remit.store.journal import Journal

KEY = SignerKey("example.com/journal", bytes(range(32)))
AT = "2026-01-01T00:00:00.000000Z"
SIZES = [0, 1, 2, 255, 256, 257, 511, 512, 513]
BIG = [65_535, 65_536, 65_537]

Raw = sqlite3.Connection


def hash_of(number: int) -> Hash:
    return hashlib.sha256(number.to_bytes(8)).digest()


def fill(raw: Raw, first: int, end: int) -> None:
    """Entries that are nothing but their hashes: all that the tree looks at. Much faster than real ones."""
    raw.execute("BEGIN")
    raw.execute("INSERT OR IGNORE INTO streams (id, name) VALUES (1, 'policy')")
    raw.executemany(
        "INSERT INTO entries (position, stream_id, seq, kind, bytes, hash) VALUES (?, 1, ?, 'k', x'', ?)",
        ((number + 1, number, hash_of(number)) for number in range(first, end)),
    )
    raw.execute("COMMIT")


def without_triggers(raw: Raw) -> None:
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f"DROP TRIGGER {name}")


def levels_of(size: int) -> list[list[Hash]]:
    """Every complete subtree of every level, made at once."""
    found = [[hash_of(number) for number in range(size)]]
    while len(found[-1]) > 1:
        below = found[-1]
        found.append(
            [hashlib.sha256(b"\x01" + below[at] + below[at + 1]).digest() for at in range(0, len(below) - 1, 2)]
        )
    return found


def root_of(levels: Sequence[Sequence[Hash]], size: int) -> Hash:
    return root(size, lambda level, index: levels[level][index])


async def agrees(journal: Journal, levels: Sequence[Sequence[Hash]], size: int, step: int) -> None:
    integrator = Integrator(journal)
    assert await integrator.integrate() == size
    whole = root_of(levels, size)
    assert await integrator.root(size) == await integrator.root_of_entries(size) == whole
    for index in sorted({*range(0, size, step), size - 1} - {-1}):
        assert verify_inclusion(hash_of(index), index, size, whole, await integrator.inclusion(index, size))
        old = index + 1
        proof = await integrator.consistency(old, size)
        assert await integrator.root(old) == root_of(levels, old)
        assert verify_consistency(old, size, root_of(levels, old), whole, proof)
    tiles = dict(await journal.query(lambda connection: list(Tree(connection).tiles(size))))
    for level in range(3):
        width = size >> 8 * level
        hashes = levels[8 * level][:width] if width else []
        for number in range(0, width, 256):
            some = hashes[number : number + 256]
            assert tiles.pop(tile_path(level, number // 256, len(some))) == b"".join(some)
    assert tiles == {}


@pytest.mark.parametrize("size", SIZES)
async def test_roots_proofs_and_tiles_are_those_of_a_tree_that_is_made_at_once(
    journal: Journal, raw: Raw, size: int
) -> None:
    fill(raw, 0, size)
    await agrees(journal, levels_of(size), size, 1 + size // 11)


async def test_so_they_are_where_a_level_of_tiles_is_full(journal: Journal, raw: Raw) -> None:
    levels, done = levels_of(BIG[-1]), 0
    for size in BIG:
        fill(raw, done, size)
        await agrees(journal, levels, size, 30_011)
        done = size
    (nodes,) = raw.execute("SELECT count(*) FROM nodes").fetchone()
    assert nodes == 256 + 1
    raw.execute("DELETE FROM nodes")  # they follow from the entries
    await agrees(journal, levels, done, 30_011)


@settings(max_examples=8)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_growing_in_steps_gives_the_same_as_in_one_go(steps: list[int]) -> None:
    async def grow(folder: Path) -> None:
        path = folder / "remit.db"
        async with await Journal.open(f"sqlite:///{path}") as journal:
            raw, size, edge = sqlite3.connect(path, isolation_level=None), 0, Frontier()
            notes = []
            for step in steps:
                fill(raw, size, size + step)
                for number in range(size, size + step):
                    edge.append(hash_of(number))
                size += step
                assert await Integrator(journal).root(size) == edge.root()
                notes.append(Checkpoint.parse(await Integrator(journal).checkpoint(KEY, AT)))
            for before, after in pairwise(notes):
                proof = await Integrator(journal).consistency(before.size, after.size)
                assert verify_consistency(before.size, after.size, before.root, after.root, proof)
            raw.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(grow(Path(folder)))


# --- attackers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("position", [1, 2, 128, 255, 256, 257, 300, 511, 512, 513, 599])
async def test_a_missing_entry_is_found_and_never_waited_for(
    journal: Journal, raw: Raw, position: int, integrated: bool
) -> None:
    fill(raw, 0, 600)
    integrator = Integrator(journal)
    if integrated:
        await integrator.checkpoint(KEY, AT)
    without_triggers(raw)
    raw.execute("DELETE FROM entries WHERE position = ?", (position,))
    with pytest.raises(Tampered):
        await integrator.root_of_entries(600)
    if not integrated or position > 512:
        with pytest.raises(Tampered):
            await integrator.checkpoint(KEY, AT)


@pytest.mark.parametrize("number", [0, 100, 254, 255, 256])
async def test_a_missing_or_changed_subtree_is_found_and_made_again_from_the_entries(
    journal: Journal, raw: Raw, number: int
) -> None:
    fill(raw, 0, 65_536 + 512)
    integrator = Integrator(journal)
    note = await integrator.checkpoint(KEY, AT)
    raw.execute("DELETE FROM nodes WHERE level = 16 OR number = ?", (number,))
    with pytest.raises(Tampered):
        await integrator.integrate()
        await integrator.inclusion(number * 256, 65_536 + 512)
        await integrator.checkpoint(KEY, AT)
    raw.execute("DELETE FROM nodes")
    assert await integrator.checkpoint(KEY, AT) == note


@pytest.mark.parametrize("hash", ["x'00'", "'text'", "NULL", "zeroblob(33)"])
async def test_what_is_no_hash_is_found(journal: Journal, raw: Raw, hash: str) -> None:
    fill(raw, 0, 300)
    without_triggers(raw)
    raw.execute("PRAGMA writable_schema = ON")
    raw.execute("UPDATE sqlite_master SET sql = replace(sql, 'hash BLOB NOT NULL', 'hash BLOB') WHERE name = 'entries'")
    raw.execute("PRAGMA writable_schema = RESET")
    raw.execute(f"UPDATE entries SET hash = {hash} WHERE position = 270")
    with pytest.raises(Tampered, match="270"):
        await Integrator(journal).root(300)


@pytest.mark.parametrize("size", [5, 300])
@pytest.mark.parametrize("more", [0, 3])
async def test_no_checkpoint_is_signed_after_an_entry_was_rewritten(
    journal: Journal, raw: Raw, size: int, more: int
) -> None:
    fill(raw, 0, size)
    integrator = Integrator(journal)
    await integrator.checkpoint(KEY, AT)
    without_triggers(raw)
    raw.execute("UPDATE entries SET hash = ? WHERE position = ?", (bytes(32), size - 1))
    fill(raw, size, size + more)
    with pytest.raises(Tampered, match=f"doesn't begin with the {size}"):
        await integrator.checkpoint(KEY, AT)
    raw.execute("DELETE FROM nodes")
    with pytest.raises(Tampered):
        await integrator.checkpoint(KEY, AT)


async def test_what_was_rewritten_below_a_stored_subtree_is_found_by_reading_the_entries(
    journal: Journal, raw: Raw
) -> None:
    """The stored subtrees are the attacker's too: where it counts (an anchor, an export), they are not trusted."""
    fill(raw, 0, 300)
    integrator = Integrator(journal)
    note = Checkpoint.parse(await integrator.checkpoint(KEY, AT))
    without_triggers(raw)
    raw.execute("UPDATE entries SET hash = ? WHERE position = 7", (bytes(32),))
    assert await integrator.root(300) == note.root
    assert await integrator.root_of_entries(300) != note.root


@pytest.mark.parametrize("grown", [False, True])
async def test_no_checkpoint_is_signed_after_the_journal_was_cut(journal: Journal, raw: Raw, grown: bool) -> None:
    fill(raw, 0, 300)
    integrator = Integrator(journal)
    await integrator.checkpoint(KEY, AT)
    without_triggers(raw)
    raw.execute("DELETE FROM entries WHERE position > 290")
    if grown:
        raw.execute("INSERT INTO streams (id, name) VALUES (2, 'run/other')")
        raw.executemany(
            "INSERT INTO entries VALUES (?, 2, ?, 'k', x'', ?, NULL)",
            [(number, number, hash_of(10_000 + number)) for number in range(291, 400)],
        )
    with pytest.raises(Tampered, match="doesn't begin with the 300"):
        await integrator.checkpoint(KEY, AT)


async def test_the_same_tree_has_one_checkpoint_and_a_new_key_signs_it_anew(journal: Journal, raw: Raw) -> None:
    fill(raw, 0, 3)
    integrator = Integrator(journal)
    assert await integrator.latest() is None
    note = await integrator.checkpoint(KEY, AT)
    assert await integrator.checkpoint(KEY, AT) == note == await integrator.latest()
    open_note(await integrator.checkpoint(other := SignerKey(KEY.name, bytes(32)), AT), [other.verifier])
    fill(raw, 3, 5)
    assert await integrator.checkpoint(KEY, AT) == await integrator.latest() != note
    assert await integrator.latest(4) == note


# --- tiles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "number", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 5, 256, "tile/0/005"),
        (0, 999, 256, "tile/0/999"),
        (0, 1000, 256, "tile/0/x001/000"),
        (0, 1_234_067, 256, "tile/0/x001/x234/067"),
        (1, 1_234_067, 17, "tile/1/x001/x234/067.p/17"),
        (2, 0, 1, "tile/2/000.p/1"),
        (63, 1_000_000_000, 255, "tile/63/x001/x000/x000/000.p/255"),
    ],
)
def test_tiles_have_the_paths_that_c2sp_gives_them(level: int, number: int, width: int, path: str) -> None:
    assert tile_path(level, number, width) == path
