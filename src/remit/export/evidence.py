"""What proves a bundle: the checkpoint, and that the exported entries are in its tree."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

import orjson

from remit.core.merkle import EMPTY, Frontier, Hash
from remit.core.notes import Checkpoint, SignerKey, VerifierKey, open_note, unchecked
from remit.errors import BadInput, Tampered
from remit.store.integrator import Integrator
from remit.store.journal import Journal


class Evidence:
    """The proofs of one export. `begin` fixes the journal's size; what comes after it is not exported."""

    def __init__(self, journal: Journal, signer: SignerKey | None, keys: Sequence[VerifierKey], held: str = "") -> None:
        self._integrator = Integrator(journal)
        self._signer = signer
        self._keys = keys
        self._held = held
        self._note = ""
        self._size, self._root = 0, EMPTY

    async def begin(self, at: str) -> int:
        """Signs a checkpoint, where there is a key, and returns how many entries there are.

        Raises:
            Tampered: the journal doesn't begin with its last checkpoint.
        """
        if self._signer is None:
            self._size = await self._integrator.integrate()
        else:
            self._note = await self._integrator.checkpoint(self._signer, at)
            signed = unchecked(self._note)
            self._size, self._root = signed.size, signed.root
        return self._size

    def check(self, tree: Frontier) -> None:
        """Compares the entries as they were read, byte by byte, with the tree that was signed.

        Raises:
            Tampered: they are others.
        """
        if tree.size != self._size or (self._note and tree.root() != self._root):
            raise Tampered(
                f"the journal's {tree.size} entries are not the {self._size} of its tree: some were changed or removed"
            )

    async def files(self, last: Mapping[str, tuple[int, int]], *, whole: bool) -> dict[str, bytes]:
        """Returns the files that hold the proofs.

        Args:
            last: of each exported stream, its last entry's number and index in the tree.
            whole: everything is exported: then the tree is made again from the entries, and needs no proofs.

        Raises:
            BadInput: the held checkpoint isn't one of this journal.
        """
        keys = [str(key) for key in self._keys]
        found = {"keys.json": orjson.dumps(keys, option=orjson.OPT_INDENT_2) + b"\n"}
        if not self._note:
            return found
        found["checkpoint"] = self._note.encode()
        if not whole:
            rows = [await self._proof(stream, *place) for stream, place in sorted(last.items())]
            found["proofs.jsonl"] = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        if self._held:
            found["consistency.json"] = orjson.dumps(await self._consistency()) + b"\n"
        return found

    def sign_manifest(self, manifest: bytes) -> str:
        """Returns the signed note that names the manifest's SHA-256."""
        if self._signer is None:
            raise BadInput("there is no key to sign with: make one with `remit keys new`")
        return self._signer.sign(manifest_text(self._signer.name, manifest))

    async def _proof(self, stream: str, seq: int, index: int) -> dict[str, object]:
        proof = await self._integrator.inclusion(index, self._size)
        return {"stream": stream, "seq": seq, "index": index, "proof": _texts(proof)}

    async def _consistency(self) -> dict[str, object]:
        try:
            text, _ = open_note(self._held, self._keys)
            held = Checkpoint.parse(text)
        except Tampered as error:
            raise BadInput(f"the checkpoint to begin from is not one of this journal: {error}") from error
        if not 0 < held.size <= self._size or await self._integrator.root(held.size) != held.root:
            raise Tampered(f"the journal doesn't begin with the {held.size} entries of the checkpoint that is held")
        proof = await self._integrator.consistency(held.size, self._size)
        return {"checkpoint": self._held, "proof": _texts(proof)}


def manifest_text(origin: str, manifest: bytes) -> str:
    """Returns what is signed of a manifest."""
    return f"{origin}\nremit export manifest v1\n{hashlib.sha256(manifest).hexdigest()}\n"


def _texts(hashes: Sequence[Hash]) -> list[str]:
    return [base64.b64encode(hash).decode() for hash in hashes]
