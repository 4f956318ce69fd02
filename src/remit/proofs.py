"""Checks what proves an export: signatures, the Merkle tree, inclusion and consistency. Part of `verify`."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from remit.core.canonical import GENESIS
from remit.core.entries import Head
from remit.core.merkle import Frontier, Hash, verify_consistency, verify_inclusion
from remit.core.notes import Checkpoint, VerifierKey, open_note
from remit.errors import BadInput, RemitError, Tampered

Report = Callable[[str, str], None]
"""Takes a place and what is wrong there."""
MANIFEST = "remit export manifest v1"
_NONE = (-1, GENESIS)
_LEAVES = 4_096


@dataclass(frozen=True, slots=True)
class Proven:
    """Who signed it, and what the tree was compared with, in words."""

    signed: tuple[str, ...] = ()
    tree: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """The files of a bundle that prove it; None for one that isn't there."""

    manifest: bytes
    manifest_note: bytes | None
    checkpoint: bytes | None
    keys: bytes | None
    proofs: bytes | None
    consistency: bytes | None


class Link(msgspec.Struct):
    """What of an entry its chain is made of; the rest is passed over."""

    stream: str
    seq: int
    prev: str


@dataclass(slots=True)
class Chains:
    """The chains of a file of entries: the tree over its lines, each stream's end, and the first broken links."""

    tree: Frontier
    heads: dict[str, tuple[int, str]]
    broken: list[tuple[int, str]]


def check_chains(lines: Iterable[bytes], start: int = 1) -> Chains:
    """Hashes lines without their ends, and follows every chain. It is as quick as Python is, and reads no meaning.

    A stream that breaks is named once, with the number of the line.
    """
    decode = msgspec.json.Decoder(Link).decode
    sha256, frontier = hashlib.sha256, Frontier()
    append = frontier.extend
    heads: dict[str, tuple[int, str]] = {}
    broken: list[tuple[int, str]] = []
    lost: set[str] = set()
    leaves: list[bytes] = []
    for number, line in enumerate(lines, start):
        leaf = sha256(b"\x00" + line).digest()
        leaves.append(leaf)
        if len(leaves) == _LEAVES:
            append(leaves)
            leaves.clear()
        try:
            link = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            broken.append((number, "not an entry"))
            continue
        stream, seq = link.stream, link.seq
        before = heads.get(stream, _NONE)
        if (seq != before[0] + 1 or link.prev != before[1]) and stream not in lost:
            lost.add(stream)
            broken.append((number, f"{stream}#{seq}: it does not follow #{before[0]} of its stream"))
        heads[stream] = (seq, leaf.hex())
    append(leaves)
    return Chains(frontier, heads, broken)


def check(
    parts: Parts,
    manifest: Mapping[str, Any],
    heads: Mapping[str, Head],
    tree: Frontier,
    keys: Sequence[VerifierKey],
    held: Checkpoint | None,
    before: Hash | None,
    bad: Report,
) -> Proven:
    """Checks the parts against the entries that were read, and tells `bad` of all that doesn't fit.

    Args:
        tree: of the entries as they stand in the bundle, in its order.
        keys: got elsewhere; without any, those in the bundle are used.
        held: the checkpoint that the auditor holds.
        before: the root of as many first entries of the bundle as `held` covers; None where there are fewer.
    """
    if parts.checkpoint is None or parts.manifest_note is None:
        if keys or held is not None or manifest.get("signed"):
            bad("checkpoint", "the export is not signed, and it must be: a signature was taken away")
        return Proven(notes=("it is not signed: nothing but the copies of others shows that it was not rewritten",))
    notes: tuple[str, ...] = ()
    if not keys:
        keys = _keys(parts.keys, bad)
        shown = ", ".join(str(key) for key in keys) or "none"
        notes = (f"signatures are checked against the export's own keys: compare with yours: {shown}",)
    try:
        name = _manifest(parts, keys)
        checkpoint = _checkpoint(parts.checkpoint, keys)
        if checkpoint.size != manifest.get("size"):
            bad("checkpoint", f"it is of {checkpoint.size} entries, and the export of {manifest.get('size')}")
        whole = manifest.get("scope") == ["all"]
        if whole:
            if tree.size != checkpoint.size or tree.root() != checkpoint.root:
                bad("checkpoint", "the entries are not those whose root was signed")
            words = f"a tree of {checkpoint.size} entries, made again from all of them"
        else:
            if parts.proofs is None:
                bad("proofs.jsonl", "it is missing, and the scope is of single runs: a file or the scope was changed")
            _inclusion(parts.proofs, checkpoint, heads, bad)
            words = f"a tree of {checkpoint.size} entries; each stream proven to be in it"
        if held is not None:
            words += _begins(parts.consistency, checkpoint, held, before if whole else None, bad)
    except RemitError as error:
        bad("signatures", str(error))
        return Proven(notes=notes)
    return Proven((name,), words, notes)


def _keys(data: bytes | None, bad: Report) -> list[VerifierKey]:
    try:
        return [VerifierKey.parse(text) for text in orjson.loads(data or b"[]")]
    except (ValueError, TypeError, AttributeError, BadInput) as error:
        bad("keys.json", f"not a list of public keys: {error}")
        return []


def _manifest(parts: Parts, keys: Sequence[VerifierKey]) -> str:
    text, signed = open_note(_text(parts.manifest_note, "manifest.note"), keys)
    if text.split("\n")[1:3] != [MANIFEST, hashlib.sha256(parts.manifest).hexdigest()]:
        raise Tampered("manifest.json is not the manifest that was signed")
    return signed[0].name


def _checkpoint(data: bytes | None, keys: Sequence[VerifierKey]) -> Checkpoint:
    text, signed = open_note(_text(data, "checkpoint"), keys)
    checkpoint = Checkpoint.parse(text)
    if checkpoint.origin not in {key.name for key in signed}:
        raise Tampered(f"the checkpoint is of `{checkpoint.origin}`, and that is not who signed it")
    return checkpoint


def _inclusion(data: bytes | None, checkpoint: Checkpoint, heads: Mapping[str, Head], bad: Report) -> None:
    """The last entry of a stream in the tree puts all of the stream there: its chain leads back from it."""
    proved = set()
    for number, line in enumerate((data or b"").splitlines(), 1):
        place = f"proofs.jsonl:{number}"
        try:
            row = orjson.loads(line)
            stream, index, seq, proof = row["stream"], row["index"], row["seq"], _hashes(row["proof"])
            head = heads.get(stream, Head())
            holds = seq == head.seq and verify_inclusion(
                bytes.fromhex(head.hash), index, checkpoint.size, checkpoint.root, proof
            )
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            bad(place, f"not a proof: {error}")
            continue
        if not holds:
            bad(place, f"it does not show that {stream}#{seq} is in the tree that was signed")
        proved.add(stream)
    for stream in sorted(set(heads) - proved):
        bad(stream, "there is no proof that it is in the tree that was signed")


def read_held(note: str, keys: Sequence[VerifierKey], own: bytes | None) -> Checkpoint | None:
    """Reads the checkpoint that an auditor holds; None for "". `own` are the bundle's keys, used where none are given.

    Raises:
        BadInput: it is no checkpoint, or no key that is known signed it. That says nothing about the export.
    """
    if not note:
        return None
    known = list(keys) or _keys(own, lambda *_: None)
    try:
        return Checkpoint.parse(open_note(note, known)[0])
    except RemitError as error:
        raise BadInput(
            f"the checkpoint you gave can't be used: {error}: name a checkpoint file, and with --key the key that "
            f"signed it"
        ) from error


def _begins(data: bytes | None, checkpoint: Checkpoint, held: Checkpoint, before: Hash | None, bad: Report) -> str:
    """Checks that the journal begins with the entries of the checkpoint that the auditor holds."""
    if held.size > checkpoint.size:
        bad(
            "checkpoint",
            f"the export ends at {checkpoint.size} entries, and the checkpoint you gave covers {held.size}: "
            f"{held.size - checkpoint.size} entries are missing",
        )
        return ""
    if before is not None:
        holds = before == held.root
    elif held.size == checkpoint.size:
        holds = held.root == checkpoint.root
    else:
        try:
            proof = _hashes(orjson.loads(data or b"{}")["proof"])
        except (ValueError, KeyError, TypeError, binascii.Error):
            bad("consistency.json", "no consistency proof: export again with --from-checkpoint, the one you hold")
            return ""
        holds = verify_consistency(held.size, checkpoint.size, held.root, checkpoint.root, proof)
    if not holds:
        bad("checkpoint", f"the journal does not begin with the {held.size} entries of the checkpoint you hold")
        return ""
    return f"; it begins with the {held.size} of the checkpoint you hold"


def _text(data: bytes | None, name: str) -> str:
    try:
        return (data or b"").decode()
    except UnicodeDecodeError as error:
        raise Tampered(f"{name} is not text: {error}") from error


def _hashes(texts: Sequence[str]) -> list[Hash]:
    return [base64.b64decode(text, validate=True) for text in texts]
