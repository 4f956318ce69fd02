"""Signed notes and checkpoints, as C2SP specifies them, so that verifiers of others can check ours.

Sources: C2SP signed-note (Ed25519, type 0x01), tlog-checkpoint and tlog-proof; keys are written as
golang.org/x/mod/sumdb/note writes them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.core.merkle import Hash
from remit.errors import BadInput, Tampered

_ED25519 = b"\x01"
_DASH = "\u2014 "
_PROOF = "c2sp.org/tlog-proof@v1"
_LARGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and its name; `id` tells keys of one name apart."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes: of SHA-256 over name, newline, type and public key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Reads `name+id+key`. Raises BadInput."""
        name, id, data = _key_parts(text.strip(), "")
        key = cls(name, data)
        if key.id.hex() != id:
            raise BadInput(f"key `{name}`: its id is {key.id.hex()}, not {id}: it was mistyped or cut")
        return key

    def holds(self, text: bytes, signature: bytes) -> bool:
        """Says whether `signature` is this key's over `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class SignerKey:
    """A private key: 32 bytes of seed."""

    name: str
    seed: bytes

    @property
    def verifier(self) -> VerifierKey:
        """Its public key."""
        return VerifierKey(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def __str__(self) -> str:
        return f"PRIVATE+KEY+{self.name}+{self.verifier.id.hex()}+{_base64(_ED25519 + self.seed)}"

    @classmethod
    def parse(cls, text: str) -> SignerKey:
        """Reads `PRIVATE+KEY+name+id+seed`. Raises BadInput, which never shows the seed."""
        name, id, data = _key_parts(text.strip(), "PRIVATE+KEY+")
        key = cls(name, data)
        if key.verifier.id.hex() != id:
            raise BadInput("private key: its id is not that of its seed: it was cut or changed")
        return key

    def sign(self, text: str) -> str:
        """Returns the signed note of `text`, which ends in a newline."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"{text}\n{_DASH}{self.name} {_base64(self.verifier.id + signature)}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement: the journal `origin` had `size` entries, and their tree this root."""

    origin: str
    size: int
    root: Hash

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Reads a checkpoint's text, without the signatures. Raises Tampered."""
        lines = text.split("\n")
        size = _number(lines[1]) if len(lines) >= 4 and lines[0] else None
        if size is None:
            raise Tampered("not a checkpoint: it has no origin, size and root hash")
        return cls(lines[0], size, _unbase64(lines[2], 32, "the checkpoint's root hash"))


def unchecked(note: str) -> Checkpoint:
    """Returns the checkpoint of a signed note, whoever signed it: for one's own notes. Raises Tampered."""
    return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")


def unsigned(statement: str, line: str, keys: Sequence[VerifierKey]) -> str:
    """Returns why a line of a signed note doesn't sign a statement with one of `keys`; "" where it does."""
    if not line:
        return "it is not signed"
    try:
        open_note(f"{statement}\n{line}\n", keys)
    except Tampered as error:
        return f"its signature doesn't hold: {error}"
    return ""


def open_note(note: str, keys: Sequence[VerifierKey]) -> tuple[str, tuple[VerifierKey, ...]]:
    """Returns the text of a signed note, and which of `keys` signed it.

    Signatures of unknown keys are passed over.

    Raises:
        Tampered: it isn't a note, a known key's signature is wrong, or no known key signed it.
    """
    text, gap, tail = note.rpartition("\n\n")
    if len(note) > _LARGEST or not gap or not tail.endswith("\n"):
        raise Tampered("not a signed note: no text, blank line and signatures")
    text += "\n"
    known: Mapping[tuple[str, bytes], VerifierKey] = {(key.name, key.id): key for key in keys}
    signed = []
    for line in tail.removesuffix("\n").split("\n"):
        name, _, data = line.removeprefix(_DASH).rpartition(" ")
        if not line.startswith(_DASH) or not name:
            raise Tampered("not a signed note: a line after the text is no signature")
        signature = _unbase64(data, None, "a signature")
        key = known.get((name, signature[:4]))
        if key is None:
            continue
        if not key.holds(text.encode(), signature[4:]):
            raise Tampered(f"the signature of key `{name}` is not over this text: it was changed")
        signed.append(key)
    if not signed:
        raise Tampered("no key that is known here signed it")
    return text, tuple(signed)


def proof_text(index: int, proof: Sequence[Hash], checkpoint: str, extra: bytes = b"") -> str:
    """Returns a C2SP tlog-proof: leaf `index`, its inclusion proof, and the signed checkpoint."""
    lead = [_PROOF, *([f"extra {_base64(extra)}"] if extra else []), f"index {index}"]
    return "\n".join([*lead, *(_base64(hash) for hash in proof), "", checkpoint])


def parse_proof(text: str) -> tuple[int, list[Hash], str]:
    """Reads a tlog-proof: index, hashes and the signed checkpoint. Raises Tampered."""
    head, gap, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != _PROOF or not gap:
        raise Tampered("not a tlog-proof")
    if len(lines) > 1 and lines[1].startswith("extra "):
        del lines[1]
    index = _number(lines[1].removeprefix("index ")) if len(lines) > 1 and lines[1].startswith("index ") else None
    if index is None:
        raise Tampered("not a tlog-proof: it names no index")
    return index, [_unbase64(line, 32, "a hash of the proof") for line in lines[2:]], checkpoint


def _key_parts(text: str, lead: str) -> tuple[str, str, bytes]:
    what = "private key" if lead else "key"
    if not text.startswith(lead) or (not lead and text.startswith("PRIVATE+KEY+")):
        raise BadInput(f"not a {what}: write it as {lead}name+id+base64")
    parts = text.removeprefix(lead).split("+", 2)
    if len(parts) != 3 or not parts[0] or any(character.isspace() for character in parts[0]):
        raise BadInput(f"not a {what}: write it as {lead}name+id+base64")
    # Of a private key nothing is shown: in one that was cut, any part may be of the seed.
    shown = what if lead else f"{what} `{parts[0]}`"
    try:
        parts[0].encode()
        data = base64.b64decode(parts[2], validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(f"{shown}: its last part is not base64") from None
    if len(data) != 33 or data[:1] != _ED25519:
        raise BadInput(f"{shown}: not an Ed25519 key")
    return parts[0], parts[1], data[1:]


def _number(text: str) -> int | None:
    """A count as it is written: digits, no zero before them; None for anything else."""
    written = text.isascii() and text.isdigit() and len(text) <= 19 and (text == "0" or text[0] != "0")
    return int(text) if written else None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str, length: int | None, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Tampered(f"{what} is not base64") from error
    if (length is not None and len(data) != length) or _base64(data) != text:
        raise Tampered(f"{what} is not what it must be")
    return data
