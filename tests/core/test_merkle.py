"""The Merkle tree against the recursive definition of RFC 6962: all trees up to 300 leaves, and all their proofs."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.merkle import (
    EMPTY,
    Frontier,
    Hash,
    consistency_plan,
    inclusion_plan,
    leaf_hash,
    node_hash,
    nodes_of,
    prove,
    root,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 300
LEAVES = [leaf_hash(str(number).encode()) for number in range(LARGEST)]


# --- the oracle: section 2.1 of RFC 6962, word for word ----------------------------------------------------


@cache
def mth(first: int, end: int) -> Hash:
    if end - first == 0:
        return hashlib.sha256(b"").digest()
    if end - first == 1:
        return LEAVES[first]
    k = _split(end - first)
    return hashlib.sha256(b"\x01" + mth(first, first + k) + mth(first + k, end)).digest()


def path(m: int, first: int, end: int) -> list[Hash]:
    if end - first == 1:
        return []
    k = _split(end - first)
    if m < k:
        return [*path(m, first, first + k), mth(first + k, end)]
    return [*path(m - k, first + k, end), mth(first, first + k)]


def subproof(m: int, first: int, end: int, whole: bool) -> list[Hash]:
    if m == end - first:
        return [] if whole else [mth(first, end)]
    k = _split(end - first)
    if m <= k:
        return [*subproof(m, first, first + k, whole), mth(first + k, end)]
    return [*subproof(m - k, first + k, end, False), mth(first, first + k)]


def _split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def reader(level: int, index: int) -> Hash:
    return mth(index << level, index + 1 << level)


# --- whole spaces -----------------------------------------------------------------------------------------


def test_the_root_of_every_tree_is_that_of_the_definition() -> None:
    frontier = Frontier()
    assert frontier.root() == EMPTY == root(0, reader)
    for size in range(1, LARGEST + 1):
        completed = frontier.append(LEAVES[size - 1])
        assert frontier.root() == mth(0, size) == root(size, reader)
        assert frontier.hashes == tuple(reader(*node) for node in nodes_of((0, size)))
        assert completed == [(node, reader(*node)) for node, _ in completed]
        assert [node for node, _ in completed] == [
            (level, size - 1 >> level) for level in range(12) if size % (1 << level) == 0
        ]


def test_every_inclusion_proof_is_that_of_the_definition_and_holds_for_its_leaf_only() -> None:
    for size in range(1, LARGEST + 1):
        whole = mth(0, size)
        for index in range(size):
            proof = prove(inclusion_plan(index, size), reader)
            assert proof == path(index, 0, size)
            assert verify_inclusion(LEAVES[index], index, size, whole, proof)
            assert not verify_inclusion(LEAVES[index - 1], index, size, whole, proof) or size == 1
            assert not verify_inclusion(LEAVES[index], index ^ 1, size, whole, proof)


def test_every_consistency_proof_is_that_of_the_definition_and_holds_for_its_trees_only() -> None:
    for new in range(1, LARGEST + 1):
        after = mth(0, new)
        for old in range(1, new + 1):
            proof, before = prove(consistency_plan(old, new), reader), mth(0, old)
            assert proof == subproof(old, 0, new, True)
            assert verify_consistency(old, new, before, after, proof)
            if old < new:
                assert not verify_consistency(old, new, after, before, proof)
                assert not verify_consistency(old, new, before, mth(0, new - 1), proof)


def test_a_frontier_goes_on_from_its_hashes() -> None:
    frontier = Frontier()
    for size in range(64):
        resumed = Frontier(size, frontier.hashes)
        for number in range(size, size + 5):
            resumed.append(LEAVES[number])
            assert resumed.root() == mth(0, number + 1)
        frontier.append(LEAVES[size])
    with pytest.raises(ValueError, match="an edge of 2 hashes"):
        Frontier(3, [EMPTY])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3), (4, 3)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_plan(index, size)
    assert not verify_inclusion(EMPTY, index, size, EMPTY, [])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 3), (-1, 3), (4, 3)])
def test_there_is_no_proof_that_a_tree_begins_one_that_it_does_not(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="can't be shown to begin"):
        consistency_plan(old, new)
    assert not verify_consistency(old, new, EMPTY, EMPTY, [])


# --- what was changed --------------------------------------------------------------------------------------

SAMPLED = [(index, size) for size in (1, 2, 3, 7, 8, 37, 300) for index in sorted({0, size // 2, size - 1})]


def _changed(proof: list[Hash]) -> list[list[Hash]]:
    """A hash dropped, added, doubled or swapped with the next."""
    made = [[*proof[:at], *proof[at + 1 :]] for at in range(len(proof))]
    made += [[*proof[:at], extra, *proof[at:]] for at in range(len(proof) + 1) for extra in (EMPTY, LEAVES[0])]
    made += [[*proof[: at + 1], *proof[at:]] for at in range(len(proof))]
    made += [[*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :]] for at in range(len(proof) - 1)]
    return [changed for changed in made if changed != proof]


def _flipped(hash: Hash) -> list[Hash]:
    number = int.from_bytes(hash)
    return [(number ^ 1 << bit).to_bytes(32) for bit in range(256)]


@pytest.mark.parametrize(("index", "size"), SAMPLED)
def test_every_flipped_bit_and_every_misplaced_hash_of_an_inclusion_proof_is_refused(index: int, size: int) -> None:
    proof, leaf, whole = path(index, 0, size), LEAVES[index], mth(0, size)
    for at, hash in enumerate(proof):
        for flipped in _flipped(hash):
            assert not verify_inclusion(leaf, index, size, whole, [*proof[:at], flipped, *proof[at + 1 :]])
    for flipped in _flipped(leaf):
        assert not verify_inclusion(flipped, index, size, whole, proof)
    for flipped in _flipped(whole):
        assert not verify_inclusion(leaf, index, size, flipped, proof)
    for changed in _changed(proof):
        assert not verify_inclusion(leaf, index, size, whole, changed)


@pytest.mark.parametrize(("old", "new"), [(index + 1, size) for index, size in SAMPLED])
def test_every_flipped_bit_and_every_misplaced_hash_of_a_consistency_proof_is_refused(old: int, new: int) -> None:
    proof, before, after = subproof(old, 0, new, True), mth(0, old), mth(0, new)
    for at, hash in enumerate(proof):
        for flipped in _flipped(hash):
            assert not verify_consistency(old, new, before, after, [*proof[:at], flipped, *proof[at + 1 :]])
    for flipped in _flipped(before):
        assert not verify_consistency(old, new, flipped, after, proof)
    for flipped in _flipped(after):
        assert not verify_consistency(old, new, before, flipped, proof)
    for changed in _changed(proof):
        assert not verify_consistency(old, new, before, after, changed)


# --- larger trees: leaves that are all alike have subtrees that are all alike -------------------------------


@cache
def _alike(level: int) -> Hash:
    return LEAVES[0] if level == 0 else node_hash(_alike(level - 1), _alike(level - 1))


def _of_alike(level: int, index: int) -> Hash:
    return _alike(level)


@given(st.integers(1, 2**62).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_proofs_in_trees_of_any_size_hold(place: tuple[int, int]) -> None:
    index, size = place
    whole = root(size, _of_alike)
    inclusion = prove(inclusion_plan(index, size), _of_alike)
    assert verify_inclusion(LEAVES[0], index, size, whole, inclusion)
    assert not verify_inclusion(LEAVES[1], index, size, whole, inclusion)
    assert not verify_inclusion(LEAVES[0], index, size, whole, [*inclusion, EMPTY])
    old = index + 1
    consistency = prove(consistency_plan(old, size), _of_alike)
    assert verify_consistency(old, size, root(old, _of_alike), whole, consistency)
    assert not verify_consistency(old, size, root(old, _of_alike), whole, [*consistency, EMPTY])
    assert len(inclusion) <= 62 and len(consistency) <= 64


@given(st.integers(0, 5000), st.lists(st.binary(max_size=8), max_size=40))
def test_a_frontier_of_any_size_grows_as_the_tree_does(size: int, leaves: list[bytes]) -> None:
    frontier = Frontier(size, [_alike(level) for level, _ in nodes_of((0, size))])
    nodes = {}
    for leaf in leaves:
        nodes.update(frontier.append(leaf_hash(leaf)))

    def read(level: int, index: int) -> Hash:
        return nodes[level, index] if (level, index) in nodes else _alike(level)

    assert frontier.root() == root(size + len(leaves), read)
    at_once = Frontier(size, [_alike(level) for level, _ in nodes_of((0, size))])
    at_once.extend([leaf_hash(leaf) for leaf in leaves])
    assert (at_once.size, at_once.hashes) == (frontier.size, frontier.hashes)
