"""RFC 8785 bytes and SHA-256: what is hashed, signed and compared.

`canonical` gives the JSON Canonicalization Scheme's bytes (RFC 8785) of a plain JSON value. orjson
with sorted keys writes them for the values we meet nearly always; a walk first refuses what has no
canonical form and re-writes the numbers and key orders in which orjson differs.

Two hashes are used. `digest` names a value (a tool, a policy set, a call). `link` is the leaf hash of
RFC 6962 (SHA-256 over 0x00 and the bytes): one hash an entry serves its stream's chain and the tree.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from remit.errors import NotCanonical

GENESIS = "0" * 64
"""What the first entry of a stream names as its predecessor."""

LARGEST = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8785 section 3.2.2.3)."""

DEEPEST = 128
"""How many lists and objects may stand inside each other."""

_PAYLOAD = b"remit payload v1\x00"
_MANY_DIGITS = re.compile(rb"[0-9]{16,}")
_BEFORE_A_NUMBER = b":[,- \t\r\n"


def canonical(value: object) -> bytes:
    """Returns the RFC 8785 bytes of a JSON value.

    Raises:
        NotCanonical: a type JSON doesn't have, NaN or an infinity, an integer beyond 2**53 - 1, a key
            that isn't a string, a lone surrogate, or over 128 levels; the message names the JSON pointer.
    """
    try:
        return orjson.dumps(value if _is_plain(value, 0) else _exact(value, "", 0), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise NotCanonical(f"a string in the value has no UTF-8 form: {error}") from error


def plain(data: bytes) -> Any:
    """Returns the JSON value that canonical bytes say, such that `canonical` gives these bytes again.

    A double is written without its point where it can be: a whole number beyond 2**53 - 1 was a double.
    """
    for digits in _MANY_DIGITS.finditer(data):
        # Not those in a text, such as an IBAN.
        if digits.start() == 0 or data[digits.start() - 1] in _BEFORE_A_NUMBER:
            return json.loads(data, parse_int=lambda text: int(text) if abs(int(text)) <= LARGEST else float(text))
    return orjson.loads(data)


def digest(value: object) -> str:
    """Returns the SHA-256, in hex, of the canonical bytes of `value`. Raises what `canonical` raises."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_bytes(data: bytes) -> str:
    """Returns the SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def link(entry: bytes) -> str:
    """Returns the RFC 6962 leaf hash of an entry's stored bytes, in hex."""
    return hashlib.sha256(b"\x00" + entry).hexdigest()


def commitment(salt: bytes, value: bytes) -> str:
    """Returns the salted SHA-256, in hex, that stands in an entry for a payload's canonical bytes.

    `salt` is 16 random bytes, one for each payload: without it nobody can try values out.
    """
    return hashlib.sha256(_PAYLOAD + salt + value).hexdigest()


def _is_plain(value: Any, depth: int) -> bool:
    """Says whether orjson writes the canonical bytes of `value` as it is: nearly always, so it is quick."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-LARGEST <= value <= LARGEST)
    if depth >= DEEPEST:
        return False
    if kind is dict:
        for key in value:
            if type(key) is not str or not key.isascii() or not _is_plain(value[key], depth + 1):
                return False
        return True
    return kind is list and all(_is_plain(item, depth + 1) for item in value)


def _exact(value: object, place: str, depth: int) -> object:
    """Returns `value` such that orjson writes its canonical bytes; the same object wherever it can."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        if not -LARGEST <= value <= LARGEST:  # type: ignore[operator]  # kind is int
            raise NotCanonical(
                f"`{place or '/'}`: the integer {_short(value)} is beyond 2**53 - 1: write it as a string"
            )
        return value
    if kind is float:
        return orjson.Fragment(_number(value, place))  # type: ignore[arg-type]  # kind is float
    if depth >= DEEPEST:
        raise NotCanonical(f"`{place[:80]}…`: more than {DEEPEST} levels of lists and objects")
    if isinstance(value, Mapping):
        return _object(value, place, depth)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return _array(value, place, depth)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Decimal):
        raise NotCanonical(f"`{place or '/'}`: a Decimal has no JSON form: write it as a string")
    raise NotCanonical(f"`{place or '/'}`: a value of type {kind.__name__} has no JSON form")


def _array(value: Sequence[object], place: str, depth: int) -> object:
    exact = [_exact(item, f"{place}/{index}", depth + 1) for index, item in enumerate(value)]
    return exact


def _object(value: Mapping[object, object], place: str, depth: int) -> object:
    exact: dict[str, object] = {}
    plain = True
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotCanonical(f"`{place or '/'}`: the key {_short(key)} is not a string")
        plain = plain and key.isascii()
        exact[str(key)] = _exact(item, f"{place}/{key}", depth + 1)  # orjson takes no subclass here
    if plain:
        return exact
    # RFC 8785 sorts by UTF-16 code units, orjson by UTF-8 bytes: they differ beyond the basic plane.
    ordered = sorted(exact.items(), key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass"))
    members = (orjson.dumps(key) + b":" + orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for key, item in ordered)
    return orjson.Fragment(b"{" + b",".join(members) + b"}")


def _number(value: float, place: str) -> bytes:
    """Writes a double as ECMAScript does (ECMA-262 Number::toString), which RFC 8785 asks for."""
    if not math.isfinite(value):
        raise NotCanonical(f"`{place or '/'}`: {value} has no JSON form")
    if value == 0:
        return b"0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int):  # pragma: no cover - finite values have a whole exponent
        raise NotCanonical(f"`{place or '/'}`: {value} has no JSON form")
    text = "".join(map(str, digits))
    point = len(text) + exponent
    if len(text) <= point <= 21:
        text += "0" * (point - len(text))
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + text
    else:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        text = f"{text[0]}{fraction}e{point - 1:+d}"
    return (f"-{text}" if sign else text).encode()


def _short(value: object) -> str:
    text = str(value) if not isinstance(value, int) or value.bit_length() < 200 else "of over 60 digits"
    return text if len(text) <= 60 else text[:59] + "…"
