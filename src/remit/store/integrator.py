"""The Merkle tree over all entries of a store, and the signed checkpoints of it.

The order is given in the writer's transaction: an entry's position, less one, is its leaf's index. Hashing waits
until somebody asks: `integrate` stores the roots of complete subtrees of 256, 65,536, … leaves, and whatever is
between them is computed from at most 256 hashes a level. Tiles follow C2SP tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from remit.core.merkle import Frontier, Hash, consistency_plan, inclusion_plan, node_hash, prove, root
from remit.core.notes import Checkpoint, SignerKey, open_note
from remit.errors import Tampered
from remit.store.journal import Journal

WIDTH: Final = 256
HEIGHT: Final = 8
_BATCH: Final = WIDTH * WIDTH

_END: Final = "SELECT coalesce(max(position), 0) FROM entries"
_LEAVES: Final = "SELECT position, hash FROM entries WHERE position > ? AND position <= ? ORDER BY position"
_NODES: Final = "SELECT number, hash FROM nodes WHERE level = ? AND number >= ? AND number < ? ORDER BY number"
_DONE: Final = "SELECT coalesce(max(number) + 1, 0) FROM nodes WHERE level = ?"
_PUT_NODE: Final = "INSERT OR IGNORE INTO nodes (level, number, hash) VALUES (?, ?, ?)"
_PUT_CHECKPOINT: Final = "INSERT OR IGNORE INTO checkpoints (size, note, at) VALUES (?, ?, ?)"
_CHECKPOINT: Final = "SELECT note FROM checkpoints WHERE size <= ? ORDER BY size DESC LIMIT 1"


class Tree:
    """Reads the tree through one connection; a tile is read once. Blocks: use it inside `Journal.query`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tiles: dict[tuple[int, int], list[Hash]] = {}

    def size(self) -> int:
        """Returns how many leaves there are."""
        return int(self._connection.exec_driver_sql(_END).scalar_one())

    def node(self, level: int, index: int) -> Hash:
        """Returns the hash of a complete subtree: a `merkle.Reader`.

        Raises:
            Tampered: an entry before the end isn't there.
        """
        tile_level, height = divmod(level, HEIGHT)
        first = index << height
        hashes = self.tile(tile_level, first // WIDTH)[first % WIDTH : first % WIDTH + (1 << height)]
        if len(hashes) != 1 << height:
            raise Tampered(f"the tree lacks hashes at level {level}, number {index}: entries are missing")
        return _fold(hashes)

    def tile(self, level: int, number: int) -> list[Hash]:
        """Returns a tile's hashes: up to 256, in order."""
        known = self._tiles.get((level, number))
        if known is None:
            first = number * WIDTH
            if level == 0:
                rows = self._connection.exec_driver_sql(_LEAVES, (first, first + WIDTH)).all()
                known = _in_order(rows, first + 1)
            else:
                rows = self._connection.exec_driver_sql(_NODES, (level * HEIGHT, first, first + WIDTH)).all()
                known = _in_order(rows, first)
            self._tiles[level, number] = known
        return known

    def root(self, size: int) -> Hash:
        """Returns the root of the first `size` leaves."""
        return root(size, self.node)

    def inclusion(self, index: int, size: int) -> list[Hash]:
        """Returns the proof that leaf `index` is among the first `size`."""
        return prove(inclusion_plan(index, size), self.node)

    def consistency(self, old: int, new: int) -> list[Hash]:
        """Returns the proof that the first `old` leaves begin the first `new`."""
        return prove(consistency_plan(old, new), self.node)

    def tiles(self, size: int) -> Iterator[tuple[str, bytes]]:
        """Yields path and bytes of every tile of the tree of `size` leaves, the partial ones included."""
        level = 0
        while width := size >> level * HEIGHT:
            for number in range((width + WIDTH - 1) // WIDTH):
                count = min(width - number * WIDTH, WIDTH)
                yield tile_path(level, number, count), b"".join(self.tile(level, number)[:count])
            level += 1


def tile_path(level: int, number: int, width: int) -> str:
    """Returns `tile/0/x001/067` or, for a partial tile, `tile/0/x001/067.p/3` (C2SP tlog-tiles)."""
    text = f"{number % 1000:03d}"
    while number := number // 1000:
        text = f"x{number % 1000:03d}/{text}"
    return f"tile/{level}/{text}" + (f".p/{width}" if width < WIDTH else "")


def _in_order(rows: Sequence[Any], first: int) -> list[Hash]:
    """Returns the hashes of ordered rows of number and hash, of which none is missing from number `first` on."""
    hashes = [row[1] for row in rows]
    whole = not rows or (rows[0][0] == first and rows[-1][0] == first + len(rows) - 1)
    if whole and {*map(type, hashes)} <= {bytes} and {*map(len, hashes)} <= {32}:
        return hashes
    for place, (number, hash) in enumerate(rows, first):
        if number != place or type(hash) is not bytes or len(hash) != 32:
            raise Tampered(f"the tree has no hash at place {place}: an entry is missing")
    return hashes


class Integrator:
    """The tree of a journal's store. Every method raises JournalError when the store can't be used."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def integrate(self) -> int:
        """Hashes what has become complete since the last time; returns the tree's size.

        Raises:
            Tampered: an entry isn't where it must be.
        """
        while rows := await self._journal.query(_complete):
            await self._journal.transact(partial(_store, rows=rows))
        return await self._journal.query(lambda connection: Tree(connection).size())

    async def root(self, size: int) -> Hash:
        """Returns the root of the first `size` entries."""
        await self.integrate()
        return await self._journal.query(lambda connection: Tree(connection).root(size))

    async def inclusion(self, index: int, size: int) -> list[Hash]:
        """Returns the proof that entry number `index` (from 0) is among the first `size`."""
        return await self._proof(lambda connection: Tree(connection).inclusion(index, size))

    async def consistency(self, old: int, new: int) -> list[Hash]:
        """Returns the proof that the first `old` entries begin the first `new`."""
        return await self._proof(lambda connection: Tree(connection).consistency(old, new))

    async def _proof(self, prove: Callable[[Connection], list[Hash]]) -> list[Hash]:
        """Proves from what is stored; where hashes lack, what has become complete since is hashed first."""
        try:
            return await self._journal.query(prove)
        except Tampered:
            await self.integrate()
            return await self._journal.query(prove)

    async def checkpoint(self, key: SignerKey, at: str) -> str:
        """Signs the tree as it is, keeps the note, and returns it; the one there is, where nothing was added.

        Raises:
            Tampered: the last checkpoint's tree doesn't begin this one: entries were changed or removed.
        """
        size = await self.integrate()
        last = await self.latest()
        if last is not None:
            before = Checkpoint.parse(last)
            if before.size > size or await self.root(before.size) != before.root:
                raise Tampered(
                    f"the journal of {size} entries doesn't begin with the {before.size} of its last checkpoint:"
                    " entries were changed or removed"
                )
            if before.size == size and _is_by(last, key):
                return last
        note = key.sign(Checkpoint(key.name, size, await self.root(size)).text)
        await self._journal.transact(lambda connection: connection.exec_driver_sql(_PUT_CHECKPOINT, (size, note, at)))
        return note

    async def root_of_entries(self, size: int) -> Hash:
        """Returns the root of the first `size` entries' hashes, and trusts none of the subtrees that were stored.

        Raises:
            Tampered: an entry isn't where it must be.
        """
        edge = Frontier()
        while edge.size < size:
            first, until = edge.size, min(edge.size + _BATCH, size)
            for hash in await self._journal.query(partial(_hashes, first=first, until=until)):
                edge.append(hash)
        return edge.root()

    async def latest(self, size: int = 2**62) -> str | None:
        """Returns the newest checkpoint of at most `size` entries, None where there is none."""
        note: str | None = await self._journal.query(
            lambda connection: connection.exec_driver_sql(_CHECKPOINT, (size,)).scalar_one_or_none()
        )
        return note


def _hashes(connection: Connection, first: int, until: int) -> list[Hash]:
    rows = connection.exec_driver_sql(_LEAVES, (first, until)).all()
    if len(rows) != until - first:
        raise Tampered(f"there are {len(rows)} of the {until - first} entries past {first}: some are missing")
    return _in_order(rows, first + 1)


def _is_by(note: str, key: SignerKey) -> bool:
    try:
        open_note(note, [key.verifier])
    except Tampered:
        return False
    return True


def _complete(connection: Connection) -> list[tuple[int, int, Hash]]:
    """Returns roots of complete subtrees that aren't stored yet, of one level and up to a batch; none at the end.

    Raises:
        Tampered: what is below them isn't there.
    """
    tree = Tree(connection)
    size, level, below = tree.size(), HEIGHT, tree.size()
    while size >> level:
        done = int(connection.exec_driver_sql(_DONE, (level,)).scalar_one())
        until = min(below // WIDTH, done + _BATCH // WIDTH)
        rows = []
        for number in range(done, until):
            hashes = tree.tile(level // HEIGHT - 1, number)
            if len(hashes) < WIDTH:
                raise Tampered(f"the tree lacks hashes below level {level}, number {number}: entries are missing")
            rows.append((level, number, _fold(hashes)))
        if rows:
            return rows
        level, below = level + HEIGHT, done
    return []


def _store(connection: Connection, rows: list[tuple[int, int, Hash]]) -> None:
    # Nothing is checked in here: what a job raises that the writer doesn't expect ends the writer.
    connection.exec_driver_sql(_PUT_NODE, rows)


def _fold(hashes: list[Hash]) -> Hash:
    """The root of a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]
