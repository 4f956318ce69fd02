"""Opening a store: what can't be used is named, with the remedy, and left as it was."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from remit.core.entries import Sealed
from remit.errors import NewerJournal, SettingsError
from remit.store.journal import Append, Journal

Chain = Callable[..., tuple[Sealed, ...]]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "remit.db",
        "/var/lib/remit.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/remit.db",
        "sqlite:///remit.db?mode=ro",
        "sqlite:///file:remit.db",
        "sqlite+aiosqlite:///remit.db",
        "http://example.org/remit.db",
    ],
)
async def test_a_url_that_is_no_file_is_refused_with_what_is_supported(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"sqlite:////absolute/file\.db"):
        await Journal.open(url)
    assert list(tmp_path.iterdir()) == []


async def test_the_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match="`postgresql` stores are not supported") as caught:
        await Journal.open("postgresql://me:secret@db/remit")
    assert "secret" not in str(caught.value)


async def test_a_relative_url_means_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with await Journal.open("sqlite:///remit.db"):
        pass
    assert (tmp_path / "remit.db").exists()


async def test_a_name_with_odd_characters_is_the_file_of_that_name(tmp_path: Path, chain: Chain) -> None:
    path = tmp_path / "a b%20#é?.db"
    url = f"sqlite:///{path}"
    with pytest.raises(SettingsError):
        await Journal.open(url)  # `?` begins options, and there are none
    path = tmp_path / "a b%20#é.db"
    async with await Journal.open(f"sqlite:///{path}") as journal:
        await journal.append(Append(chain("run/a")))
    assert path.exists()


async def test_a_missing_store_is_not_created_unless_asked(path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match=f"no store at `{path}`: "):
        await Journal.open(url, create=False)
    assert not path.exists()
    await (await Journal.open(url)).close()
    await (await Journal.open(url, create=False)).close()


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"create `{tmp_path}/not/there` first"):
        await Journal.open(f"sqlite:///{tmp_path}/not/there/remit.db")


async def test_a_directory_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a directory"):
        await Journal.open(f"sqlite:///{tmp_path}")


async def test_a_file_below_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="directory isn't there"):
        await Journal.open(f"sqlite:///{tmp_path}/file/remit.db")


async def test_a_name_too_long_for_the_file_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name another file"):
        await Journal.open(f"sqlite:///{tmp_path}/{'x' * 300}.db")


async def test_a_device_is_no_store() -> None:
    with pytest.raises(SettingsError, match="not a regular file"):
        await Journal.open("sqlite:////dev/null")


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"x", b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_refused_and_untouched(path: Path, url: str, content: bytes) -> None:
    path.write_bytes(content)
    for create in (True, False):
        with pytest.raises(SettingsError, match=f"`{path}`.*name another file"):
            await Journal.open(url, create=create)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE entries (x)", "PRAGMA user_version = 7", "PRAGMA application_id = 7"]
)
async def test_a_database_of_something_else_is_refused_and_untouched(path: Path, url: str, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    content = path.read_bytes()
    for create in (True, False):
        with pytest.raises(SettingsError, match=f"`{path}` is not a Remit store"):
            await Journal.open(url, create=create)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_an_empty_file_becomes_a_store_only_when_one_may_be_created(path: Path, url: str) -> None:
    path.touch()
    with pytest.raises(SettingsError, match="not a Remit store"):
        await Journal.open(url, create=False)
    await (await Journal.open(url)).close()


@pytest.mark.parametrize(("schema", "error"), [(3, NewerJournal), (0, SettingsError)])
async def test_a_store_of_another_schema_is_refused(
    path: Path, url: str, raw: sqlite3.Connection, schema: int, error: type[Exception]
) -> None:
    await (await Journal.open(url)).close()
    raw.execute(f"PRAGMA user_version = {schema}")
    with pytest.raises(error, match=f"`{path}`: schema {schema}"):
        await Journal.open(url)


def test_a_store_that_can_not_be_written_is_refused(script: Callable[..., list[str]]) -> None:
    done = subprocess.run(script("unprivileged.py"), stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    file, folder = done.stdout.splitlines()
    assert "remit.db` can't be written: let this user write there" in file
    assert "` can't be written: let this user write there" in folder
    assert "remit.db" not in folder


async def test_many_may_create_the_same_store_at_once(url: str, chain: Chain) -> None:
    journals = await asyncio.gather(*(Journal.open(url) for _ in range(8)))
    await asyncio.gather(*(journal.append(Append(chain(f"run/{n}"))) for n, journal in enumerate(journals)))
    assert await journals[0].position() == 8
    await asyncio.gather(*(journal.close() for journal in journals))


async def test_a_store_flushes_every_commit_to_the_disk(journal: Journal, raw: sqlite3.Connection) -> None:
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    pragmas = ("synchronous", "foreign_keys", "secure_delete", "recursive_triggers")
    values = await journal.transact(
        lambda connection: [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() for pragma in pragmas]
    )
    assert values == [2, 1, 1, 1]
