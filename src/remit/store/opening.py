"""Finds, checks or creates the file behind a store's URL, and says in words why it can't be used."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Final

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlmodel import SQLModel

from remit.errors import NewerJournal, SettingsError
from remit.store.tables import APPLICATION, MIGRATIONS, SCHEMA, TABLES, TRIGGERS

BUSY_SECONDS: Final = 10.0
"""How long a connection waits for another process's transaction."""

_SUPPORTED: Final = "a store is `sqlite:///relative/file.db` or `sqlite:////absolute/file.db`"


def prepare(url: str, create: bool) -> Engine:
    """Returns an engine on a store that is there, is ours and is of a schema we know. Blocks.

    Its connections are in autocommit mode: who wants a transaction says BEGIN and COMMIT.

    Raises:
        SettingsError: the URL or the file can't be used; names the path and the remedy.
        NewerJournal: a newer Remit wrote the store.
    """
    path = _path(url)
    _reachable(path, create)
    if create:
        _private(path)
    # One connection writes, one watches, two read: none is ever waited for.
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        isolation_level="AUTOCOMMIT",
        pool_size=4,
        max_overflow=0,
        hide_parameters=True,  # an error's text goes to logs, and payloads don't
    )
    event.listen(engine, "connect", _on_connect)
    try:
        with engine.connect() as connection:
            _ours(connection, path, create)
            _into_wal(connection, path)
    except SQLAlchemyError as error:
        engine.dispose()
        raise SettingsError(f"`{path}`: not usable as a store: {why(error)}: name another file") from error
    except (SettingsError, NewerJournal):
        engine.dispose()
        raise
    return engine


def why(error: BaseException) -> str:
    """Returns what SQLite said, without SQLAlchemy's statement and parameters (which may be private)."""
    original = getattr(error, "orig", None)
    lines = str(original or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def identity(path: str) -> tuple[int, int]:
    """Returns what tells the file at `path` from another one put in its place. Raises OSError without one."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _path(url: str) -> Path:
    # Read here: SQLAlchemy's releases differ in what `%20` in a file's name means. Here it means itself.
    scheme, separator, rest = url.partition("://")
    if separator and scheme != "sqlite":
        # The url may hold a password; only its scheme is repeated.
        raise SettingsError(f"`{scheme}` stores are not supported: {_SUPPORTED}")
    name = rest[1:]
    if rest[:1] != "/" or name in ("", ":memory:") or name.startswith("file:") or set(name) & {"?", "\0"}:
        raise SettingsError(f"`{url}` is not a store's url: {_SUPPORTED}")
    return Path(os.path.abspath(name))


def _reachable(path: Path, create: bool) -> None:
    try:
        exists = path.exists()
    except OSError as error:
        raise SettingsError(f"`{path}`: {error.strerror}: name another file") from error
    if path.is_dir():
        raise SettingsError(f"`{path}` is a directory: name a file in it, such as `{path / 'remit.db'}`")
    if not path.parent.is_dir():
        raise SettingsError(f"no store at `{path}`: its directory isn't there: create `{path.parent}` first")
    if not exists and not create:
        raise SettingsError(f"no store at `{path}`: check the url, or start a run there first")
    if exists and not path.is_file():
        raise SettingsError(f"`{path}` is not a regular file: name another file")
    if exists and path.stat().st_size == 1:  # which SQLite takes for an empty file, and would write over
        raise SettingsError(f"`{path}` is not a Remit store: name another file")
    # SQLite writes its log beside the file, so the directory must be writable too.
    for place in (path, path.parent) if exists else (path.parent,):
        if not os.access(place, os.R_OK | os.W_OK):
            raise SettingsError(f"`{place}` can't be written: let this user write there, or name another file")


def _private(path: Path) -> None:
    """Makes the file, where there is none, readable by its owner alone; SQLite gives its log the same mode."""
    with suppress(OSError):  # there is one, or SQLite says why there can't be
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in (
        f"busy_timeout = {int(BUSY_SECONDS * 1000)}",
        "synchronous = FULL",  # NORMAL was measured to lose acknowledged entries at a crash
        "foreign_keys = ON",
        "recursive_triggers = ON",  # so that REPLACE meets the triggers that refuse DELETE
        "secure_delete = ON",  # an erased payload is overwritten, not only unlinked
    ):
        connection.execute(f"PRAGMA {pragma}")


def _ours(connection: Connection, path: Path, create: bool) -> None:
    """Creates the schema in an empty file. Nothing is written to a file that isn't a store."""
    if _is_empty(connection) and create:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if _is_empty(connection):  # another process may have been faster
            SQLModel.metadata.create_all(connection, tables=_tables())
            for trigger in TRIGGERS:
                connection.exec_driver_sql(trigger)
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
        connection.exec_driver_sql("COMMIT")
    if _pragma(connection, "application_id") != APPLICATION:
        raise SettingsError(f"`{path}` is not a Remit store: name another file")
    schema = _pragma(connection, "user_version")
    if schema > SCHEMA:
        raise NewerJournal(f"`{path}`: schema {schema}, and this Remit knows {SCHEMA}: upgrade Remit")
    if schema != SCHEMA and schema not in MIGRATIONS:
        raise SettingsError(f"`{path}`: schema {schema} is of no released Remit: name another file")
    if schema != SCHEMA:
        _migrate(connection)


def _migrate(connection: Connection) -> None:
    """Brings an older schema to today's, in one transaction: a crash leaves one or the other."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    schema = _pragma(connection, "user_version")  # another process may have been faster
    while schema < SCHEMA:
        for statement in MIGRATIONS[schema]:
            connection.exec_driver_sql(statement)
        schema += 1
        connection.exec_driver_sql(f"PRAGMA user_version = {schema}")
    connection.exec_driver_sql("COMMIT")


def _tables() -> list[Table]:
    return [SQLModel.metadata.tables[name] for name in TABLES]


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _is_empty(connection: Connection) -> bool:
    tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    return not (tables or _pragma(connection, "application_id") or _pragma(connection, "user_version"))


def _into_wal(connection: Connection, path: Path) -> None:
    """Switches the file to a write-ahead log. SQLite's busy timeout doesn't cover that, hence the loop."""
    pause = Event()
    for left in range(int(BUSY_SECONDS / 0.02), -1, -1):
        try:
            mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar_one()
        except OperationalError as error:
            if not left or "locked" not in why(error):
                raise
        else:
            if mode != "wal":
                raise SettingsError(f"`{path}`: its file system can't do WAL: name a file on a local disk")
            return
        pause.wait(0.02)
