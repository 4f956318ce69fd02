"""Who can write the store, and holds no key, makes no entry that a worker acts on, and takes none away unnoticed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event

from remit.core.entries import Head, ReviewClaimed, ReviewRuled, Sealed, seal
from remit.errors import JournalError, NewerJournal, NotAuthentic, SettingsError, Tampered
from remit.store.authentic import Authority, JournalKey, Mark, check_whole
from remit.store.journal import Append, Journal, JournalKeys

Chain = Callable[..., tuple[Sealed, ...]]
AT = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


async def lived(url: str, keys: Path, chain: Chain, count: int = 3) -> None:
    async with await Journal.open(url, keys=keys) as journal:
        await journal.append(Append(chain("run/a", count)))
        await journal.append(Append((*chain("run/b", 2), *chain("run/c", 1))))


def triggerless(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)


async def reads(url: str, keys: Path, *streams: str) -> None:
    async with await Journal.open(url, keys=keys, authentic=True) as journal:
        for stream in streams or ("run/a", "run/b", "run/c"):
            await journal.read(stream)


def forget_marks(keys: Path) -> None:
    for mark in keys.glob("*.mark"):
        mark.unlink()


async def test_what_holders_of_the_key_wrote_is_read_in_any_process(url: str, keys: Path, chain: Chain) -> None:
    await lived(url, keys, chain)
    await reads(url, keys)
    async with await Journal.open(url, keys=keys) as journal:
        await journal.append(Append(chain("run/a", 1, await journal.head("run/a"))))
    await reads(url, keys)


async def test_the_key_and_the_store_are_their_owners_alone(url: str, path: Path, keys: Path, chain: Chain) -> None:
    before = os.umask(0)
    try:
        await lived(url, keys, chain)
    finally:
        os.umask(before)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    for file in (path, *keys.iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    (key,) = keys.glob("*.journal")
    assert bytes.fromhex(key.read_text().strip()) not in path.read_bytes()


async def test_an_entry_without_a_code_is_not_acted_on(url: str, path: Path, keys: Path, chain: Chain) -> None:
    await lived(url, keys, chain)
    async with await Journal.open(url) as journal:
        journal.authority = Authority(None, "", "")
        await journal.append(Append(chain("run/a", 1, await journal.head("run/a"), "forged")))
    with pytest.raises(Tampered, match="doesn't end what was written"):
        await reads(url, keys)
    async with await Journal.open(url, keys=keys) as journal:
        await journal.append(Append(chain("run/b", 1, await journal.head("run/b"))))
    await reads(url, keys, "run/b", "run/c")
    with pytest.raises(Tampered, match=r"run/a#3 call\.recorded: it is not authentic"):
        await reads(url, keys, "run/a")


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE entries SET mac = NULL WHERE position = 2",
        "UPDATE entries SET mac = zeroblob(32) WHERE position = 2",
        "UPDATE entries SET mac = 'text' WHERE position = 2",
        "UPDATE entries SET mac = (SELECT mac FROM entries WHERE position = 1) WHERE position = 2",
        "DELETE FROM entries WHERE position = 3",  # the end of a stream
        "DELETE FROM entries WHERE stream_id = 1",
        "DELETE FROM entries WHERE position = 6",  # half of an append
        "UPDATE entries SET position = position + 1 WHERE position = 6",
        "DELETE FROM journal_key",
    ],
)
@pytest.mark.parametrize("marked", [True, False])
async def test_no_entry_is_moved_changed_or_taken_away_unnoticed(
    url: str, path: Path, keys: Path, chain: Chain, attack: str, marked: bool
) -> None:
    await lived(url, keys, chain)
    triggerless(path, attack)
    if not marked:
        forget_marks(keys)
    with pytest.raises((Tampered, NotAuthentic)):
        await reads(url, keys)


async def test_entries_that_change_places_are_noticed(url: str, path: Path, keys: Path, chain: Chain) -> None:
    await lived(url, keys, chain)
    swap = "UPDATE entries SET position = {} WHERE position = {}"
    triggerless(path, swap.format(99, 1), swap.format(1, 2), swap.format(2, 99))
    with pytest.raises(Tampered, match="not authentic"):
        await reads(url, keys)


@pytest.mark.parametrize("attack", ["cut", "older copy"])
async def test_a_store_that_lost_its_end_is_noticed_by_the_mark(
    url: str, path: Path, keys: Path, chain: Chain, attack: str, tmp_path: Path
) -> None:
    await lived(url, keys, chain)
    copy = Path(shutil.copy(path, tmp_path / "copy.db"))
    async with await Journal.open(url, keys=keys) as journal:
        await journal.append(Append(chain("run/d", 2)))
    if attack == "cut":
        triggerless(path, "DELETE FROM entries WHERE position > 6")
    else:
        for file in path.parent.glob("remit.db*"):
            file.unlink()
        copy.rename(path)
    with pytest.raises(NotAuthentic, match="had come to entry number 8, and that entry isn't there"):
        await reads(url, keys)


async def test_another_store_in_the_place_of_one_is_refused_and_so_is_a_copy(
    path: Path, url: str, keys: Path, chain: Chain, tmp_path: Path
) -> None:
    await lived(url, keys, chain)
    other = tmp_path / "other.db"
    await lived(f"sqlite:///{other}", keys, chain)
    await reads(f"sqlite:///{other}", keys)
    copy = Path(shutil.copy(path, tmp_path / "copy.db"))
    with pytest.raises(NotAuthentic, match="it is a copy of"):
        await reads(f"sqlite:///{copy}", keys)
    shutil.copy(other, path)
    with pytest.raises(NotAuthentic, match="another store was at"):
        await reads(url, keys)


async def test_a_store_that_is_moved_goes_on_and_one_that_is_begun_anew_is_another(
    path: Path, url: str, keys: Path, chain: Chain, tmp_path: Path
) -> None:
    await lived(url, keys, chain)
    moved = path.rename(tmp_path / "moved.db")
    await reads(f"sqlite:///{moved}", keys)
    await lived(url, keys, chain)
    await reads(url, keys)
    await reads(f"sqlite:///{moved}", keys)
    assert len(list(keys.glob("*.journal"))) == 2


async def test_a_store_without_its_key_is_read_and_nothing_is_written_that_no_worker_would_act_on(
    url: str, keys: Path, chain: Chain
) -> None:
    await lived(url, keys, chain)
    for journal in (await Journal.open(url), await Journal.open(url, keys=keys / "elsewhere")):
        async with journal:
            assert len(await journal.read("run/a")) == 3
            with pytest.raises(NotAuthentic, match="isn't"):
                await journal.append(Append(chain("run/a", 1, await journal.head("run/a"))))
    with pytest.raises(NotAuthentic, match=f"isn't in `{keys}/elsewhere`: .*`remit store adopt`"):
        await reads(url, keys / "elsewhere")


async def test_a_person_without_the_key_can_sign_claim_and_comment_and_nothing_else(
    url: str, keys: Path, chain: Chain
) -> None:
    """A signature is checked where it is used; a claim makes nothing run."""
    await lived(url, keys, chain)
    signed = ReviewRuled("r", "d", True, "ann", signature="-----BEGIN")
    async with await Journal.open(url) as journal:
        head = Head()
        for body in (ReviewClaimed("r", "ann", AT), signed):
            sealed = seal("review/r", head, AT, "ann", body)
            await journal.append(Append((sealed,)))
            head = sealed.head
        with pytest.raises(NotAuthentic, match=r"`review\.ruled` is written with the store's journal key"):
            await journal.append(Append((seal("review/r", head, AT, "ann", ReviewRuled("r", "d", True, "ann")),)))
    await reads(url, keys, "review/r")


async def test_an_older_store_is_read_and_goes_on_being_written_and_nothing_runs_on_it(
    url: str, path: Path, keys: Path, chain: Chain
) -> None:
    async with await Journal.open(url) as journal:
        await journal.append(Append(chain("run/a", 3)))
    triggerless(path, "ALTER TABLE entries DROP COLUMN mac", "DROP TABLE journal_key", "PRAGMA user_version = 1")
    async with await Journal.open(url, keys=keys) as journal:
        assert len(await journal.read("run/a")) == 3
        await journal.append(Append(chain("run/a", 1, await journal.head("run/a"))))
    with pytest.raises(NotAuthentic, match="written without a journal key"):
        await reads(url, keys)
    with pytest.raises(sqlite3.IntegrityError, match="an entry never changes"), closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE entries SET bytes = x'00'")
    triggerless(path, "PRAGMA user_version = 3")
    with pytest.raises(NewerJournal):
        await Journal.open(url)


async def test_workers_that_are_given_the_key_need_no_file(url: str, keys: Path, chain: Chain) -> None:
    given = JournalKeys(keys, "ab" * 32)
    async with await Journal.open(url, keys=given) as journal:
        await journal.append(Append(chain("run/a", 3)))
    assert not list(keys.glob("*.journal"))
    async with await Journal.open(url, keys=given, authentic=True) as journal:
        assert len(await journal.read("run/a")) == 3
    for other in (JournalKeys(keys, "cd" * 32), JournalKeys(keys)):
        with pytest.raises(NotAuthentic):
            await Journal.open(url, keys=other, authentic=True)
    for wrong in ("ab", "xy" * 32, "ab" * 33):
        with pytest.raises(SettingsError, match="64 hex digits"):
            JournalKeys(keys, wrong)


@pytest.mark.parametrize("text", ["", "no hex", "ab" * 31, "cd" * 32, "\xff"])
async def test_a_key_file_that_is_another_or_spoilt_is_named_and_not_shown(
    url: str, keys: Path, chain: Chain, text: str
) -> None:
    await lived(url, keys, chain)
    (file,) = keys.glob("*.journal")
    file.write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match="put the right file back") as caught:
        await Journal.open(url, keys=keys)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("name", ["../{}", "{}/../x", "", "../../etc/passwd", "{}\n"])
async def test_the_name_of_a_key_that_the_store_says_leads_to_no_file_elsewhere(
    url: str, path: Path, keys: Path, chain: Chain, name: str
) -> None:
    await lived(url, keys, chain)
    (file,) = keys.glob("*.journal")
    triggerless(path, f"UPDATE journal_key SET key = '{name.format(file.stem)}'")
    (keys.parent / file.name).write_bytes(file.read_bytes())
    with pytest.raises(NotAuthentic):
        await reads(url, keys)


async def test_a_mark_that_a_crash_left_half_written_stops_nothing(url: str, keys: Path, chain: Chain) -> None:
    await lived(url, keys, chain)
    (mark,) = keys.glob("*.mark")
    for data in (b"", b"000", bytes(200)):
        mark.write_bytes(data)
        await reads(url, keys)


async def test_entries_that_others_write_meanwhile_are_not_taken_for_missing(
    url: str, keys: Path, chain: Chain
) -> None:
    """Another process commits between any two statements of the look."""
    await lived(url, keys, chain)
    path = url.removeprefix("sqlite:///")
    (file,) = keys.glob("*.journal")
    key = JournalKey.of(bytes.fromhex(file.read_text().strip()))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")

        def commits(*_: object) -> None:
            (last,) = other.execute("SELECT max(position) FROM entries").fetchone()
            mac = key.mac(last + 1, bytes(32), True)
            other.execute(
                "INSERT INTO entries SELECT ?, 1, coalesce(max(seq), -1) + 1, 'k', x'', ?, ?"
                " FROM entries WHERE stream_id = 1",
                (last + 1, bytes(32), mac),
            )

        event.listen(engine, "after_cursor_execute", commits)
        with engine.connect() as connection:
            assert check_whole(connection, key, 0) == 6
            assert check_whole(connection, key, 6) == 7
        engine.dispose()


async def test_a_mark_that_is_read_while_it_is_written_stops_nothing(
    url: str, keys: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(url, keys, chain)
    real, torn = JournalKeys.mark_of, [True]

    def half(self: JournalKeys, key: JournalKey) -> Mark | None:
        mark = real(self, key)
        return replace(mark, position=mark.position - 1) if mark is not None and torn and torn.pop() else mark

    monkeypatch.setattr(JournalKeys, "mark_of", half)
    await reads(url, keys)
    assert not torn


async def test_a_code_is_of_one_entry_in_one_place_by_one_key() -> None:
    key, other = JournalKey.of(bytes(32)), JournalKey.of(bytes([1]) * 32)
    mac = key.mac(7, bytes(32), True)
    assert key.has_made(mac, 7, bytes(32))
    assert key.has_made(key.mac(7, bytes(32), False), 7, bytes(32))
    assert not key.has_made(mac, 8, bytes(32))
    assert not key.has_made(mac, 7, bytes(31) + b"\1")
    assert not other.has_made(mac, 7, bytes(32))
    assert not any(key.has_made(bad, 7, bytes(32)) for bad in (None, b"", mac[:-1], "text", 5))
    assert key.id != other.id and key.secret.hex() not in key.id


@pytest.mark.parametrize("name", ["-wal", "-shm"])
async def test_a_log_that_is_taken_away_from_a_running_worker_stops_it(
    url: str, path: Path, keys: Path, chain: Chain, name: str
) -> None:
    async with await Journal.open(url, keys=keys) as journal:
        await journal.append(Append(chain("run/a", 1)))
        await journal.append(Append(chain("run/b", 1)))
        Path(f"{path}{name}").unlink()
        with pytest.raises(JournalError, match="was removed or replaced: what was acknowledged before may be lost"):
            await journal.append(Append(chain("run/c", 1)))


VICTIM = """
import asyncio, os, sys
from remit.core.entries import Head, Recorded, seal
from remit.store.journal import Append, Journal

async def main(url, keys, path):
    async with await Journal.open(url, keys=keys):
        pass  # closing it empties the log into the store
    journal = await Journal.open(url, keys=keys)
    body = Recorded(id="t.1", task="t", what="now", value="")
    await journal.append(Append((seal("run/a", Head(), "2026-01-01T00:00:00.000000Z", "worker:test", body),)))
    for name in ("-wal", "-shm"):
        os.unlink(path + name)
    os._exit(9)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_effects_are_not_repeated_from_a_store_whose_log_was_taken_away_before_a_crash(
    url: str, path: Path, keys: Path
) -> None:
    """What was acknowledged is gone; the mark knows that there was more."""
    command = [sys.executable, "-c", VICTIM, url, str(keys), str(path)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 9
    with pytest.raises(NotAuthentic, match="had come to entry number 1, and that entry isn't there"):
        await reads(url, keys)


async def test_entries_that_vanish_under_a_running_worker_stop_it(
    url: str, path: Path, keys: Path, chain: Chain
) -> None:
    async with await Journal.open(url, keys=keys) as journal:
        await journal.append(Append(chain("run/a", 3)))
        triggerless(path, "DELETE FROM entries WHERE position = 3")
        with pytest.raises(JournalError, match="entries were taken out of it"):
            await journal.append(Append(chain("run/b", 1)))
