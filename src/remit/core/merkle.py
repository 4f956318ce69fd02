"""RFC 6962 tree hashing, inclusion and consistency proofs, over a reader that is passed in.

The tree is over all entries of a store in the order they were committed; a leaf's hash is an entry's hash.
A reader gives the hash of a complete subtree: `reader(level, index)` is the root of the 2**level leaves from
index * 2**level on. What has to be read is planned first, so that a reader may fetch it at once.

Source: RFC 6962 section 2.1; the checks are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

Hash = bytes
Node = tuple[int, int]
"""Level and index of a complete subtree."""
Reader = Callable[[int, int], Hash]
Range = tuple[int, int]
"""First leaf, and the one after the last."""

EMPTY: Hash = hashlib.sha256(b"").digest()
"""The root of the tree without leaves."""


def leaf_hash(entry: bytes) -> Hash:
    """Returns the hash of a leaf: an entry's stored bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: Hash, right: Hash) -> Hash:
    """Returns the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the roots of its maximal complete subtrees, largest first."""

    def __init__(self, size: int = 0, hashes: Sequence[Hash] = ()) -> None:
        """Takes the edge of a tree of `size` leaves, as `nodes_of` names it."""
        if len(hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has an edge of {size.bit_count()} hashes, not {len(hashes)}")
        self.size = size
        self._hashes = list(hashes)

    def append(self, leaf: Hash) -> list[tuple[Node, Hash]]:
        """Adds a leaf; returns the subtrees that became complete, the leaf itself first."""
        node, hash = (0, self.size), leaf
        completed = [(node, hash)]
        while node[1] & 1:
            node, hash = (node[0] + 1, node[1] >> 1), node_hash(self._hashes.pop(), hash)
            completed.append((node, hash))
        self._hashes.append(hash)
        self.size += 1
        return completed

    def extend(self, leaves: Sequence[Hash]) -> None:
        """Adds leaves in order: what `append` does, a whole level at once, and nothing is returned."""
        sha256, at = hashlib.sha256, 0
        while at < len(leaves):
            count = 1 << (len(leaves) - at).bit_length() - 1
            if self.size:
                count = min(count, self.size & -self.size)
            hashes = leaves[at : at + count]
            while len(hashes) > 1:
                pairs = iter(hashes)
                hashes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            hash, index = hashes[0], self.size // count
            while index & 1:
                hash, index = node_hash(self._hashes.pop(), hash), index >> 1
            self._hashes.append(hash)
            self.size, at = self.size + count, at + count

    def root(self) -> Hash:
        """Returns the root of the tree as it is."""
        return _join(self._hashes) if self._hashes else EMPTY

    @property
    def hashes(self) -> tuple[Hash, ...]:
        """The edge's hashes, for a Frontier that goes on from here."""
        return tuple(self._hashes)


def nodes_of(leaves: Range) -> Iterator[Node]:
    """Yields the maximal complete subtrees that make up a range, which begins where the largest of them may."""
    first, end = leaves
    while first < end:
        level = (end - first).bit_length() - 1
        if first:
            level = min(level, (first & -first).bit_length() - 1)
        yield level, first >> level
        first += 1 << level


def root(size: int, reader: Reader) -> Hash:
    """Returns the root of the first `size` leaves."""
    return _hash((0, size), reader) if size else EMPTY


def inclusion_plan(index: int, size: int) -> list[Range]:
    """Returns the ranges whose hashes prove that leaf `index` is in the tree of `size` leaves, lowest first.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    plan, first, end = [], 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            plan.append((middle, end))
            end = middle
        else:
            plan.append((first, middle))
            first = middle
    return plan[::-1]


def consistency_plan(old: int, new: int) -> list[Range]:
    """Returns the ranges whose hashes prove that the tree of `old` leaves begins the tree of `new`, lowest first.

    Raises:
        ValueError: `old` is not from 1 to `new`.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {old} leaves can't be shown to begin one of {new}")
    plan, first, end, whole = [], 0, new, True
    while old != end:
        middle = first + _split(end - first)
        if old <= middle:
            plan.append((middle, end))
            end = middle
        else:
            plan.append((first, middle))
            first, whole = middle, False
    if not whole:
        plan.append((first, end))
    return plan[::-1]


def prove(plan: Sequence[Range], reader: Reader) -> list[Hash]:
    """Returns the hashes of the planned ranges: the proof."""
    return [_hash(leaves, reader) for leaves in plan]


def verify_inclusion(leaf: Hash, index: int, size: int, root: Hash, proof: Sequence[Hash]) -> bool:
    """Says whether `proof` shows that `leaf` is number `index` of the `size` leaves under `root`."""
    if not 0 <= index < size:
        return False
    node, last, hash = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            hash = node_hash(sibling, hash)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hash = node_hash(hash, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and hash == root


def verify_consistency(old: int, new: int, old_root: Hash, new_root: Hash, proof: Sequence[Hash]) -> bool:
    """Says whether `proof` shows that the `old` leaves under `old_root` begin the `new` ones under `new_root`."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = [old_root, *proof] if not old & (old - 1) else list(proof)
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for hash in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            before, after = node_hash(hash, before), node_hash(hash, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = node_hash(after, hash)
        node, last = node >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _hash(leaves: Range, reader: Reader) -> Hash:
    return _join([reader(level, index) for level, index in nodes_of(leaves)])


def _join(hashes: Sequence[Hash]) -> Hash:
    hash = hashes[-1]
    for left in reversed(hashes[:-1]):
        hash = node_hash(left, hash)
    return hash
