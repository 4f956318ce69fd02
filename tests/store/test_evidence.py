"""Guarantee 14, the store's half: the tables refuse changes, and changes made all the same are found."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from remit.core.canonical import digest_bytes, link
from remit.core.entries import Head, Payload, Sealed
from remit.errors import Tampered
from remit.store.journal import Append, Artifact, Journal
from remit.store.payloads import commit, open_payload

Chain = Callable[..., tuple[Sealed, ...]]
Raw = sqlite3.Connection


@pytest.fixture
async def stored(journal: Journal, chain: Chain) -> tuple[Sealed, ...]:
    entries = chain("run/a", 5)
    value = Payload("run/a", 2, "/value", b"s" * 16, b"1")
    await journal.append(Append(entries, (value,), (Artifact(digest_bytes(b"x"), "graph", b"x"),)))
    await journal.append(Append(chain("run/b", 2)))
    return entries


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET bytes = x'00'",
        "UPDATE entries SET position = position + 100",
        "DELETE FROM entries",
        "UPDATE streams SET name = 'run/z' WHERE id = 1",
        "DELETE FROM streams",
        "UPDATE payloads SET value = x'00'",
        "UPDATE artifacts SET bytes = x'00'",
        "DELETE FROM artifacts",
        "INSERT OR REPLACE INTO entries SELECT position, stream_id, seq, kind, x'00', hash, mac FROM entries",
        "INSERT OR REPLACE INTO entries SELECT 99, stream_id, seq, kind, x'00', hash, mac FROM entries LIMIT 1",
        "INSERT INTO entries SELECT 99, stream_id, 7, kind, bytes, hash, mac FROM entries WHERE position = 1",
        "INSERT INTO entries SELECT 1, stream_id, 5, kind, bytes, hash, mac FROM entries WHERE position = 1",
    ],
)
async def test_the_tables_refuse_to_change_what_was_written(
    journal: Journal, stored: tuple[Sealed, ...], raw: Raw, statement: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
    assert [entry.hash for entry in await journal.read("run/a")] == [entry.hash for entry in stored]
    assert len(await journal.payloads("run/a")) == 1


async def test_a_payload_can_be_erased_and_its_entry_still_verifies(
    journal: Journal, stored: tuple[Sealed, ...], raw: Raw
) -> None:
    raw.execute("DELETE FROM payloads")
    assert await journal.payloads("run/a") == {}
    assert len(await journal.read("run/a")) == 5


def without_triggers(raw: Raw) -> None:
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f"DROP TRIGGER {name}")


async def test_any_changed_byte_of_an_entry_or_its_hash_is_found(
    journal: Journal, stored: tuple[Sealed, ...], raw: Raw
) -> None:
    without_triggers(raw)
    for column in ("bytes", "hash"):
        (intact,) = raw.execute(f"SELECT {column} FROM entries WHERE position = 3").fetchone()
        for index in range(len(intact)):
            changed = bytearray(intact)
            changed[index] ^= 1
            raw.execute(f"UPDATE entries SET {column} = ? WHERE position = 3", (bytes(changed),))
            with pytest.raises(Tampered, match="run/a#2"):
                await journal.read("run/a")
        raw.execute(f"UPDATE entries SET {column} = ? WHERE position = 3", (intact,))
    assert len(await journal.read("run/a")) == 5


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE position = 1",
        "DELETE FROM entries WHERE position = 3",
        "UPDATE entries SET seq = seq + 10 WHERE stream_id = 1",
        "UPDATE entries SET seq = CASE seq WHEN 1 THEN 20 WHEN 2 THEN 10 ELSE seq END WHERE stream_id = 1",
        "UPDATE entries SET kind = 'call.settled' WHERE position = 3",
        "UPDATE entries SET stream_id = 1, seq = 5 WHERE position = 6",
        "UPDATE entries SET bytes = CAST(bytes AS TEXT) WHERE position = 3",
        "UPDATE entries SET hash = hex(hash) WHERE position = 3",
        "UPDATE entries SET bytes = x'' WHERE position = 3",
        "UPDATE streams SET name = CASE name WHEN 'run/a' THEN 'run/c' ELSE 'run/a' END",
    ],
)
async def test_a_dropped_moved_or_relabelled_entry_is_found(
    journal: Journal, stored: tuple[Sealed, ...], raw: Raw, statement: str
) -> None:
    without_triggers(raw)
    raw.execute(statement)
    with pytest.raises(Tampered):
        await journal.read("run/a")


async def test_an_entry_rewritten_with_its_hash_is_found_by_the_one_after_it(
    journal: Journal, stored: tuple[Sealed, ...], raw: Raw, chain: Chain
) -> None:
    without_triggers(raw)
    (forged,) = chain("run/a", 1, stored[1].head, "forged")
    raw.execute(
        "UPDATE entries SET bytes = ?, hash = ? WHERE position = 3",
        (forged.bytes, bytes.fromhex(forged.hash)),
    )
    with pytest.raises(Tampered, match="run/a#3"):
        await journal.read("run/a")
    with pytest.raises(Tampered, match="run/a#3"):
        await journal.read("run/a", after=2)


async def test_reading_from_the_middle_checks_the_link_to_what_was_skipped(
    journal: Journal, stored: tuple[Sealed, ...], raw: Raw
) -> None:
    without_triggers(raw)
    raw.execute("UPDATE entries SET bytes = x'00' WHERE position = 3")
    assert len(await journal.read("run/a", after=3)) == 1
    for after in (1, 2):
        with pytest.raises(Tampered, match="run/a#2"):
            await journal.read("run/a", after=after)


async def test_a_changed_artifact_is_found(journal: Journal, stored: tuple[Sealed, ...], raw: Raw) -> None:
    without_triggers(raw)
    for value in ("x'79'", "'x'", "x''"):
        raw.execute(f"UPDATE artifacts SET bytes = {value}")
        with pytest.raises(Tampered):
            await journal.artifact(digest_bytes(b"x"))


async def test_text_where_bytes_were_written_is_never_taken_for_them(
    journal: Journal, stored: tuple[Sealed, ...], raw: Raw
) -> None:
    without_triggers(raw)
    raw.execute("UPDATE entries SET bytes = 'x', hash = 'x' WHERE stream_id = 1")
    raw.execute("UPDATE payloads SET value = '1'")
    for reading in (
        journal.read_bytes("run/a"),
        journal.since(0),
        journal.head("run/a"),
        journal.payloads("run/a"),
    ):
        with pytest.raises(Tampered):
            await reading


# --- payloads ----------------------------------------------------------------------------------------


def test_a_payload_opens_only_as_what_its_entry_committed_to() -> None:
    committed, payload = commit("run/a", 3, "/args/iban", b'"DE02"', b"0123456789abcdef")
    assert open_payload(payload, committed) == "DE02"
    other = Payload("run/a", 3, "/args/iban", payload.salt, b'"DE03"')
    salted = Payload("run/a", 3, "/args/iban", b"f" * 16, payload.value)
    for wrong, expected in ((other, committed), (salted, committed), (payload, "0" * 64)):
        with pytest.raises(Tampered, match="run/a#3 /args/iban"):
            open_payload(wrong, expected)


def test_a_payload_that_is_not_json_is_named() -> None:
    committed, payload = commit("run/a", 3, "/x", b"{", b"0123456789abcdef")
    with pytest.raises(Tampered, match="run/a#3 /x"):
        open_payload(payload, committed)


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        commit("run/a", 0, "/x", b"1", b"short")


def test_the_hash_in_the_table_is_the_leaf_hash_of_the_bytes(chain: Chain) -> None:
    (entry,) = chain("run/a", 1, Head())
    assert entry.hash == link(entry.bytes)
