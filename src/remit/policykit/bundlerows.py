"""An export's decisions as rows for a backtest. Nothing is checked here: `remit audit verify` checks an export."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import orjson

from remit.bundles import UNFIT, Bundle, Payloads
from remit.core.entries import PolicyActivated, PolicyLoaded
from remit.errors import BadInput
from remit.policykit.backtest import KINDS, UNREAD, Loaded, Row

_KINDS: Final = frozenset(KINDS)
_SETS: Final[dict[str, type[PolicyLoaded]]] = {
    "policy.loaded": PolicyLoaded,
    "policy.activated": PolicyActivated,
}


class _Envelope(msgspec.Struct):
    at: str
    kind: str
    seq: int
    stream: str
    body: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope)


def bundle_loaded(bundle: Bundle) -> list[Loaded]:
    """Returns every policy set of an export, in order. Raises BadInput where one isn't whole."""
    artifacts: dict[str, bytes] = {}
    for _, line in bundle.lines("artifacts.jsonl"):
        row = orjson.loads(line)
        data = row["data"].encode()
        artifacts[hashlib.sha256(data).hexdigest()] = data
    found = []
    for _, line in bundle.lines("entries.jsonl"):
        if b'"stream":"policy"' in line and (model := _SETS.get((entry := _read(line)).kind)):
            body = msgspec.json.decode(entry.body, type=model)
            try:
                texts = orjson.loads(artifacts[body.texts])["files"]
                found.append(Loaded(body.digest, artifacts[body.types], texts))
            except UNFIT as error:
                raise BadInput(f"policy set {body.digest[:12]} is not whole in the export: verify it first") from error
    return found


def bundle_rows(bundle: Bundle, since: str) -> Iterator[Row]:
    """Yields the decisions of an export since a time (RFC 3339, UTC; empty for all). Raises BadInput."""
    payloads = Payloads(bundle, _bad)
    try:
        for _, line in bundle.lines("entries.jsonl"):
            entry = _read(line)
            given = payloads.of(entry)  # it looks at stream and seq
            if entry.kind in _KINDS and entry.at >= since:
                yield Row(entry.kind, line, _values(given))
    finally:
        payloads.close()


def _values(given: dict[str, tuple[bytes, bytes]]) -> bytes:
    kept = {path: value for path, (_, value) in given.items() if path not in UNREAD}
    members = (b'"%s":%s' % (path.encode(), value) for path, value in kept.items())
    return b"{" + b",".join(members) + b"}"


def _read(line: bytes) -> Any:
    try:
        return _envelope.decode(line)
    except msgspec.MsgspecError as error:
        raise BadInput(f"the export can't be read: {error}: verify it first") from error


def _bad(place: str, message: str) -> None:
    raise BadInput(f"{place}: {message}: verify the export first")
