"""Salted commitments: what is kept beside an entry, so that it can be erased and the proof stays."""

from __future__ import annotations

import orjson

from remit.core.canonical import commitment
from remit.core.entries import Commitment, Payload, is_committed
from remit.errors import Tampered


def commit(stream: str, seq: int, path: str, value: bytes, salt: bytes) -> tuple[Commitment, Payload]:
    """Returns what entry `seq` of `stream` says of a value, and the payload stored beside it.

    `path` is a JSON pointer below the entry's body, `value` canonical JSON, `salt` 16 random bytes that
    are used nowhere else.

    Raises:
        ValueError: the salt isn't 16 bytes: a short one lets the value be found by trying.
    """
    if len(salt) != 16:
        raise ValueError(f"{stream}#{seq} {path}: a salt is 16 bytes, not {len(salt)}")
    return commitment(salt, value), Payload(stream, seq, path, salt, value)


def open_payload(payload: Payload, expected: Commitment) -> object:
    """Returns the JSON value of `payload`, which its entry committed to as `expected`.

    Raises:
        Tampered: the value or its salt isn't what was committed to.
    """
    place = f"{payload.stream}#{payload.seq} {payload.path}"
    if not is_committed(payload, expected):
        raise Tampered(f"{place}: the payload is not what its entry committed to")
    try:
        value: object = orjson.loads(payload.value)
    except orjson.JSONDecodeError as error:
        raise Tampered(f"{place}: the payload is not JSON: {error}") from error
    return value
