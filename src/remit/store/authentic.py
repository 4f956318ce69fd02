"""Who wrote an entry: a message authentication code by a key that the store does not hold.

Each entry carries HMAC-SHA-256 (RFC 2104) under the store's journal key over its hash, its position in the store, and
whether it ends its append. The key is a file in the keys folder, or a secret that the operator gives to every worker.
Who can write the store, and has no key, can't make an entry that a worker acts on, move one, or take one away
unnoticed: positions have no gap, and the mark beside the key says how far the store had come.
"""

from __future__ import annotations

import hmac
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine

from remit.core.entries import Entry, ReviewClaimed, ReviewCommented, ReviewReleased, unseal
from remit.core.entries import Fact as Body
from remit.errors import SettingsError, Tampered

SECRET_BYTES: Final = 32
_ID: Final = re.compile(r"[0-9a-f]{16}")
_CONTEXT: Final = b"remit journal entry v1\x00"
_MARK_BYTES: Final = 86
"""The first line of a mark: a position of 20 digits, a blank, a hash of 64 hex digits, a line feed."""

_KEY: Final = "SELECT key FROM journal_key"
_PUT_KEY: Final = "INSERT OR REPLACE INTO journal_key (id, key) VALUES (1, ?)"
_ANY: Final = "SELECT 1 FROM entries LIMIT 1"
_END: Final = (
    "SELECT position, hash, mac, bytes, (SELECT count(*) FROM entries WHERE position > ?)"
    " FROM entries ORDER BY position DESC LIMIT 1"
)
"""The last entry, and how many there are past a position: in one statement, because others commit meanwhile."""
_HASH: Final = "SELECT hash FROM entries WHERE position = ?"
_ALL: Final = "SELECT position, hash FROM entries WHERE position > ? ORDER BY position LIMIT 5000"
_PUT_MAC: Final = "UPDATE entries SET mac = ? WHERE position = ?"


@dataclass(frozen=True, slots=True)
class JournalKey:
    """The key that authenticates a store's entries. `id` names it and says nothing of the secret."""

    secret: bytes
    id: str

    @classmethod
    def of(cls, secret: bytes) -> JournalKey:
        """Returns the key with this secret of 32 bytes."""
        return cls(secret, sha256(b"remit journal key v1\x00" + secret).hexdigest()[:16])

    def mac(self, position: int, hash: bytes, last: bool) -> bytes:
        """Returns the code of the entry at `position` (from 1) with this hash; `last` where it ends its append."""
        place = _CONTEXT + (b"\x01" if last else b"\x00") + position.to_bytes(8, "big")
        return hmac.digest(self.secret, place + hash, "sha256")

    def has_made(self, mac: object, position: int, hash: bytes) -> bool:
        """Whether `mac` is the code of that entry, at the end of its append or not."""
        return isinstance(mac, bytes) and (
            hmac.compare_digest(mac, self.mac(position, hash, True))
            or hmac.compare_digest(mac, self.mac(position, hash, False))
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a store had come when a holder of its key last wrote: a position and the hash of the entry there."""

    position: int
    hash: str
    store: str
    """The absolute path of the store's file."""


class JournalKeys:
    """Where journal keys are: a folder, or a secret that is given.

    Args:
        folder: private keys, one file each: `<id>.journal` the key, `<id>.mark` how far its store has come.
        secret: 64 hex digits; "" for a key in the folder.

    Raises:
        SettingsError: the secret is not 64 hex digits.
    """

    def __init__(self, folder: str | Path, secret: str = "") -> None:
        self.folder = Path(folder)
        self._given = _given(secret) if secret else None

    def find(self, id: str) -> JournalKey | None:
        """Returns the key of this name; None where it isn't here.

        Raises:
            SettingsError: its file can't be read, or is another key's.
        """
        if self._given is not None:
            return self._given if self._given.id == id else None
        if not _ID.fullmatch(id):  # the store says it, and it is to name no file elsewhere
            return None
        path = self.folder / f"{id}.journal"
        try:
            key = JournalKey.of(bytes.fromhex(path.read_text(encoding="ascii").strip()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(f"the journal key `{path}` can't be read: {error.strerror}") from error
        except ValueError:  # it would carry what is in the file
            raise SettingsError(f"`{path}` is not a journal key: put the right file back") from None
        if key.id != id:
            raise SettingsError(f"`{path}` is another key than its name says: put the right file back")
        return key

    def make(self) -> JournalKey:
        """Makes a key, and its file. Returns the given one where a secret was given.

        Raises:
            SettingsError: the folder can't be written.
        """
        if self._given is not None:
            return self._given
        key = JournalKey.of(os.urandom(SECRET_BYTES))  # noqa: TID251 - a key is never made from a test's entropy
        try:
            private_folder(self.folder)
            write_private(self.folder / f"{key.id}.journal", f"{key.secret.hex()}\n")
        except OSError as error:
            raise SettingsError(
                f"no journal key can be made in `{self.folder}`: {error.strerror}: name a folder with `keys`"
            ) from error
        return key

    def mark_of(self, key: JournalKey) -> Mark | None:
        """Returns the mark of the store with this key; None where there is none, or a crash has left half of one."""
        return _read_mark(self.folder / f"{key.id}.mark")

    def others_at(self, key: JournalKey, store: str) -> list[Path]:
        """Returns the marks of other keys that say that their store is at this path."""
        found = []
        for path in sorted(self.folder.glob("*.mark")):
            mark = _read_mark(path)
            if path.stem != key.id and mark is not None and mark.store == store:
                found.append(path)
        return found

    def open_mark(self, key: JournalKey, store: str) -> MarkFile | None:
        """Returns the mark to write to, for the store at this path; None where there is no folder to write to."""
        try:
            private_folder(self.folder)
            return MarkFile(self.folder / f"{key.id}.mark", store)
        except OSError:
            return None


class MarkFile:
    """Notes how far a store has come. It isn't flushed: after a power failure it may be behind, never ahead."""

    def __init__(self, path: Path, store: str) -> None:
        mark = _read_mark(path)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if mark is None or mark.store != store:
            position, hash = (mark.position, mark.hash) if mark else (0, "0" * 64)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, _line(position, hash) + store.encode(errors="surrogateescape"), 0)

    def note(self, position: int, hash: str) -> None:
        """Notes that the store has come to `position`, with an entry of that hash. Raises OSError."""
        os.pwrite(self._file, _line(position, hash), 0)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Authority:
    """What a process may say of a store's entries.

    Attributes:
        key: the store's key; None without it.
        keyed: the name of the store's key; "" where it was written without one.
        refusal: why nothing may run on the store; "" where it may.
    """

    key: JournalKey | None
    keyed: str
    refusal: str

    def check(self, entry: Entry, position: int, hash: bytes, mac: object) -> None:
        """Raises Tampered where a worker must not act on an entry.

        Without a code that is right, an entry counts only if it carries a person's signature, which whoever uses it
        checks, or can make nothing run.
        """
        if self.key is not None and self.key.has_made(mac, position, hash):
            return
        if mac is None and not needs_key(entry.body):
            return
        raise Tampered(
            f"{entry.stream}#{entry.seq} {entry.kind}: it is not authentic: nobody who has the store's journal key"
            " wrote it"
        )


def needs_key(body: Body) -> bool:
    """Whether an entry counts only with a code: unless it carries a signature of its own, or can make nothing run."""
    return not (isinstance(body, (ReviewClaimed, ReviewReleased, ReviewCommented)) or getattr(body, "signature", None))


def establish(engine: Engine, path: str, keys: JournalKeys | None) -> Authority:
    """Returns what this process may say of the store; an empty store gets a key. Blocks.

    Raises:
        SettingsError: its key can't be read, or none can be made.
    """
    with engine.connect() as connection:
        keyed = _keyed(connection)
        if keyed is None and keys is not None and _is_empty(connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            keyed = _keyed(connection)  # another process may have been faster
            if keyed is None and _is_empty(connection):
                keyed = keys.make().id
                connection.exec_driver_sql(_PUT_KEY, (keyed,))
            connection.exec_driver_sql("COMMIT")
        if keyed is None:
            return Authority(None, "", "it was written without a journal key")
        key = keys.find(keyed) if keys is not None else None
        if key is None:
            where = f" in `{keys.folder}`" if keys is not None else ""
            return Authority(None, keyed, f"its journal key `{keyed}` isn't{where or ' here'}")
        return Authority(key, keyed, _unmarked(connection, keys, key, path) if keys is not None else "")


def check_whole(connection: Connection, key: JournalKey, after: int) -> int:
    """Checks that no entry past position `after` is missing, and that the last one ends its append.

    Returns the position of the last one, 0 where there is none.

    Raises:
        Tampered: entries are missing.
    """
    row = connection.exec_driver_sql(_END, (after,)).one_or_none()
    position, count = (int(row[0]), int(row[4])) if row else (0, 0)
    if position - after != count:
        raise Tampered(
            f"the store has {count} entries past number {after}, and the last is number {position}: entries are missing"
        )
    if row and not _ends(key, *row[:4]):
        raise Tampered(
            f"entry number {position}, the last one, doesn't end what was written: entries are missing, or it is not"
            " authentic"
        )
    return position


def adopt(connection: Connection, keys: JournalKeys, key: JournalKey, path: str) -> None:
    """Authenticates every entry of the store as it is with `key`, which is its key from here on.

    For the writer's transaction. Whoever calls it has looked at the entries, and answers for them.
    """
    position, hash = 0, b""
    while rows := connection.exec_driver_sql(_ALL, (position,)).all():
        connection.exec_driver_sql(_PUT_MAC, [(key.mac(row[0], row[1], True), row[0]) for row in rows])
        position, hash = rows[-1]
    connection.exec_driver_sql(_PUT_KEY, (key.id,))
    for other in keys.others_at(key, path):
        _unpin(other)
    if (mark := keys.open_mark(key, path)) is not None:
        mark.note(position, hash.hex() or "0" * 64)
        mark.close()


def private_folder(folder: Path) -> None:
    """Makes a folder that its owner alone can enter, where there is none. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_private(path: Path, text: str) -> None:
    """Writes a new file that its owner alone can read. Raises OSError, also where there is one."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _unmarked(connection: Connection, keys: JournalKeys, key: JournalKey, path: str) -> str:
    """Why the store isn't the one that the mark beside its key speaks of; "" where it is, or there is no mark."""
    empty = _is_empty(connection)
    if others := keys.others_at(key, path):
        if not empty:
            return f"another store was at `{path}` before, with the journal key `{others[0].stem}`"
        for other in others:  # that store was deleted, and this is a new one
            _unpin(other)
    mark = keys.mark_of(key)
    if mark is None:
        return ""
    if mark.store not in (path, "") and Path(mark.store).exists():
        return f"it is a copy of `{mark.store}`"
    while not _has(connection, mark):
        # Half of the mark may be read while another process writes it: what stays the same was read whole.
        before, mark = mark, keys.mark_of(key)
        if mark is None or mark == before:
            return (
                f"it had come to entry number {before.position}, and that entry isn't there: it was cut, or an older"
                " copy was put in its place"
            )
    return ""


def _has(connection: Connection, mark: Mark) -> bool:
    row = connection.exec_driver_sql(_HASH, (mark.position,)).one_or_none()
    return not mark.position or (row is not None and bytes(row[0]).hex() == mark.hash)


def _ends(key: JournalKey, position: int, hash: bytes, mac: object, data: bytes) -> bool:
    """Whether an entry may be the last one: it ends its append, or needs no code."""
    if mac is None:
        return not needs_key(unseal(data).body)
    return isinstance(mac, bytes) and hmac.compare_digest(mac, key.mac(position, hash, True))


def _keyed(connection: Connection) -> str | None:
    found: str | None = connection.exec_driver_sql(_KEY).scalar_one_or_none()
    return found


def _is_empty(connection: Connection) -> bool:
    return connection.exec_driver_sql(_ANY).one_or_none() is None


def _given(secret: str) -> JournalKey:
    try:
        found = bytes.fromhex(secret)
    except ValueError:
        found = b""
    if len(found) != SECRET_BYTES:
        raise SettingsError(
            f"the journal key is not {2 * SECRET_BYTES} hex digits: make one with `openssl rand -hex 32`"
        )
    return JournalKey.of(found)


def _line(position: int, hash: str) -> bytes:
    return f"{position:020d} {hash}\n".encode()


def _read_mark(path: Path) -> Mark | None:
    try:
        data = path.read_bytes()
        position, hash = data[:_MARK_BYTES].split()
        return Mark(int(position), hash.decode("ascii"), data[_MARK_BYTES:].decode(errors="surrogateescape"))
    except (OSError, ValueError):
        return None


def _unpin(path: Path) -> None:
    with suppress(OSError), open(path, "r+b") as file:
        file.truncate(_MARK_BYTES)
