"""Checks our checkpoints, proofs and tiles with aics-tlog, which others wrote. Needs Python 3.12 or newer.

Reads a request as JSON from standard input; prints what doesn't hold, and a checkpoint and proofs of its own.
"""

import base64
import json
import sys
from pathlib import Path

import aics_tlog as tlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def main() -> None:
    """Checks the request."""
    given = json.load(sys.stdin)
    leaves = [base64.b64decode(leaf) for leaf in given["leaves"]]
    tree = tlog.MerkleTree(leaves)
    problems = []
    checked = tlog.verify_checkpoint(tlog.parse_note(given["note"]), tlog.parse_vkey(given["key"]))
    if not checked.ok or (checked.size, checked.root) != (len(leaves), tree.root()):
        problems.append(f"checkpoint: {checked}")
    for proof in given["inclusion"]:
        hashes = [base64.b64decode(hash) for hash in proof["proof"]]
        size, index = proof["size"], proof["index"]
        if not tlog.verify_leaf_inclusion(leaves[index], index, size, hashes, tree.root(size)):
            problems.append(f"inclusion of {index} in {size}")
    for proof in given["consistency"]:
        hashes = [base64.b64decode(hash) for hash in proof["proof"]]
        old, size = proof["old"], proof["size"]
        if not tlog.verify_consistency(old, size, tree.root(old), tree.root(size), hashes):
            problems.append(f"consistency of {old} and {size}")
    reader = tlog.FileSystemTileReader(Path(given["tiles"]))
    if tlog.tree_root_from_tiles(reader, len(leaves)) != tree.root():
        problems.append("tiles")
    tlog.audit_tiles(reader, len(leaves), tree.root(), entries=True)  # raises where a tile or an entry differs
    sys.stdout.write(json.dumps({"problems": problems, **its_own(tree, len(leaves))}))


def its_own(tree: tlog.MerkleTree, size: int) -> dict[str, object]:
    """Returns a checkpoint and proofs that it made, for us to check."""
    key, name = Ed25519PrivateKey.generate(), "others.example/log"
    note = tlog.sign_checkpoint(tlog.Checkpoint(name, size, tree.root()), key, name)
    some = range(0, size, 1 + size // 17)
    return {
        "vkey": tlog.format_vkey(tlog.vkey_from_ed25519(name, key.public_key())),
        "note": note.serialise(),
        "inclusion": [{"index": index, "proof": texts(tree.inclusion_proof(index, size))} for index in some],
        "consistency": [{"old": index + 1, "proof": texts(tree.consistency_proof(index + 1, size))} for index in some],
    }


def texts(hashes: list[bytes]) -> list[str]:
    """Hashes in base64."""
    return [base64.b64encode(hash).decode() for hash in hashes]


main()
