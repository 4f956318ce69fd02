"""The store's tables, and the triggers that refuse to change what was written. No logic.

`streams`, `entries`, `payloads`, `artifacts` and `checkpoints` are the journal: evidence. `leases` are
hints, and `nodes`, `runs`, `reviews` and `projection` follow from the journal, dropped and rebuilt at will.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

SCHEMA: Final = 2
"""`PRAGMA user_version` of a store that this Remit writes. 1: without `entries.mac` and `journal_key`."""

APPLICATION: Final = 0x52454D54
"""`PRAGMA application_id` of every Remit store: `REMT`."""


class StreamTable(SQLModel, table=True):
    """A stream's name, once: entries point at an integer, which SQLite finds a third faster than text."""

    __tablename__ = "streams"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)


class EntryTable(SQLModel, table=True):
    """One entry, as it was sealed. `position` is in commit order: SQLite has one writer at a time."""

    __tablename__ = "entries"
    __table_args__ = (UniqueConstraint("stream_id", "seq"),)

    position: int | None = Field(default=None, primary_key=True)
    stream_id: int = Field(foreign_key="streams.id")
    seq: int
    kind: str
    data: bytes = Field(sa_column=Column("bytes", LargeBinary, nullable=False))
    hash: bytes = Field(sa_column=Column("hash", LargeBinary, nullable=False))
    """32 bytes."""
    mac: bytes | None = Field(default=None, sa_column=Column("mac", LargeBinary, nullable=True))
    """32 bytes that say that a holder of the journal key wrote it: `store/authentic.py`. No part of the evidence."""


class JournalKeyTable(SQLModel, table=True):
    """The name of the key that authenticates entries; the one row of a store that has one."""

    __tablename__ = "journal_key"

    id: int = Field(primary_key=True)
    key: str


class PayloadTable(SQLModel, table=True):
    """A committed value and its salt. Deleting the row erases the value; the entry's proof stays."""

    __tablename__ = "payloads"
    __table_args__ = {"sqlite_with_rowid": False}

    stream_id: int = Field(foreign_key="streams.id", primary_key=True)
    seq: int = Field(primary_key=True)
    path: str = Field(primary_key=True)
    salt: bytes = Field(sa_column=Column("salt", LargeBinary, nullable=False))
    value: bytes = Field(sa_column=Column("value", LargeBinary, nullable=False))


class ArtifactTable(SQLModel, table=True):
    """Bytes that entries name by their SHA-256: a policy set, a tool, a graph."""

    __tablename__ = "artifacts"

    digest: str = Field(primary_key=True)
    kind: str
    data: bytes = Field(sa_column=Column("bytes", LargeBinary, nullable=False))


class NodeTable(SQLModel, table=True):
    """The root of a complete subtree of the Merkle tree, at levels 8, 16, …: what full tiles hash to.

    Leaves are not here: they are the entries' hashes, in the order of their positions. All of it follows
    from the entries, and can be dropped and made again.
    """

    __tablename__ = "nodes"
    __table_args__ = {"sqlite_with_rowid": False}

    level: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
    hash: bytes = Field(sa_column=Column("hash", LargeBinary, nullable=False))


class CheckpointTable(SQLModel, table=True):
    """A signed note: how many entries there were, and their tree's root."""

    __tablename__ = "checkpoints"

    size: int = Field(primary_key=True)
    note: str
    at: str


class LeaseTable(SQLModel, table=True):
    """Who said it works on a run, and until when (epoch seconds). A hint, never safety."""

    __tablename__ = "leases"

    run: str = Field(primary_key=True)
    worker: str
    until: float = Field(index=True)


class RunTable(SQLModel, table=True):
    """A run in a line, folded from its stream."""

    __tablename__ = "runs"

    run: str = Field(primary_key=True)
    summary: bytes = Field(sa_column=Column("summary", LargeBinary, nullable=False))


class ReviewTable(SQLModel, table=True):
    """A review in a line, folded from its stream."""

    __tablename__ = "reviews"

    review: str = Field(primary_key=True)
    open: bool = Field(index=True)
    summary: bytes = Field(sa_column=Column("summary", LargeBinary, nullable=False))


class ProjectionTable(SQLModel, table=True):
    """How far the folds have come: the one row's `cursor` is the last position they hold.

    `version` is that of the folds; rows that another version wrote are dropped and folded anew.
    """

    __tablename__ = "projection"

    id: int = Field(primary_key=True)
    version: int
    cursor: int


class OutboxTable(SQLModel, table=True):
    """What is to be told to a channel, until it was. Times are RFC 3339 in UTC, "" for none."""

    __tablename__ = "outbox"

    id: str = Field(primary_key=True)
    channel: str
    event: str
    at: str
    body: bytes = Field(sa_column=Column("body", LargeBinary, nullable=False))
    state: str = Field(index=True)
    attempts: int
    next_at: str
    error: str
    done_at: str
    taken_until: str


class NotifiedTable(SQLModel, table=True):
    """How far the journal was read for the outbox: the one row's `cursor` is the last position."""

    __tablename__ = "notified"

    id: int = Field(primary_key=True)
    cursor: int


TABLES: Final = (
    "streams",
    "entries",
    "payloads",
    "artifacts",
    "checkpoints",
    "nodes",
    "leases",
    "runs",
    "reviews",
    "projection",
    "outbox",
    "notified",
    "journal_key",
)
"""Other tables that a program defines with SQLModel are none of ours."""


def _refuse(table: str, event: str, words: str, columns: str = "") -> str:
    return (
        f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event}{columns} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{words}'); END"
    )


_ENTRY_UPDATE: Final = _refuse(
    "entries", "UPDATE", "an entry never changes", " OF position, stream_id, seq, kind, bytes, hash"
)
"""Not of `mac`: `remit store adopt` writes it anew."""


TRIGGERS: Final = (
    _refuse("streams", "UPDATE", "a stream keeps its name"),
    _refuse("streams", "DELETE", "a stream is never deleted"),
    _ENTRY_UPDATE,
    _refuse("entries", "DELETE", "an entry is never deleted"),
    _refuse("payloads", "UPDATE", "a payload is erased or stays as it is"),
    _refuse("artifacts", "UPDATE", "an artifact never changes"),
    _refuse("artifacts", "DELETE", "an artifact is never deleted"),
    _refuse("checkpoints", "UPDATE", "a checkpoint never changes"),
    _refuse("checkpoints", "DELETE", "a checkpoint is never deleted"),
    # REPLACE deletes without a DELETE trigger, and a gap could never be filled.
    "CREATE TRIGGER entries_in_order BEFORE INSERT ON entries "
    "WHEN NEW.position <= (SELECT coalesce(max(position), 0) FROM entries) "
    "OR NEW.seq <> (SELECT coalesce(max(seq), -1) + 1 FROM entries WHERE stream_id = NEW.stream_id) "
    "BEGIN SELECT RAISE(ABORT, 'an entry comes right after the last one of its stream'); END",
)

MIGRATIONS: Final = {
    1: (
        "ALTER TABLE entries ADD COLUMN mac BLOB",
        "CREATE TABLE journal_key (id INTEGER NOT NULL, key VARCHAR NOT NULL, PRIMARY KEY (id))",
        "DROP TRIGGER IF EXISTS entries_no_update",
        _ENTRY_UPDATE,
    ),
}
"""What makes a store of each older schema one of the next."""
