"""Canonical bytes: RFC 8785, with Trail of Bits' rfc8785 as the oracle."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from remit.core.canonical import DEEPEST, LARGEST, canonical, commitment, digest, digest_bytes, link, plain
from remit.errors import NotCanonical

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
BITS = (
    st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", bits.to_bytes(8, "little"))[0]).filter(math.isfinite)
)
LEAVES = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | FLOATS | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


@given(VALUES)
@example({"\U0001f600": 1, "\uffff": 2, "a": 3, "\x7f": 4, "": 5})
@example({"a": {"\ue000": 1.5, "\U00010000": [{}, []]}})
def test_the_bytes_are_those_of_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(FLOATS | BITS)
@example(-0.0)
@example(5e-324)
@example(1e21)
@example(1e20)
@example(9.999999999999997e22)
@example(1e-7)
@example(0.000001)
@example(123456789012345680.0)
def test_every_double_is_written_as_ecmascript_does(value: float) -> None:
    assert canonical(value) == rfc8785.dumps(value)
    assert float(canonical(value)) == value


@given(VALUES)
def test_what_is_read_back_has_the_same_bytes(value: Any) -> None:
    data = canonical(value)
    assert canonical(plain(data)) == data


@given(st.dictionaries(TEXT, st.integers(-5, 5)))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value) == canonical(OrderedDict(value))


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ((1, (2,)), b"[1,[2]]"),
        (Text("a"), b'"a"'),
        ({Text("a"): Text("b")}, b'{"a":"b"}'),
        (LARGEST, b"9007199254740991"),
    ],
)
def test_what_is_like_json_is_written_as_json(value: object, data: bytes) -> None:
    assert canonical(value) == data


REFUSED: list[tuple[Any, str]] = [
    (math.nan, "nan has no JSON form"),
    (-math.inf, "-inf has no JSON form"),
    (2**53, "is beyond 2\\*\\*53 - 1"),
    (-(2**53), "is beyond 2\\*\\*53 - 1"),
    (10**5_000, "of over 60 digits"),
    (b"a", "type bytes"),
    (bytearray(b"a"), "type bytearray"),
    ({1}, "type set"),
    (Decimal(1), "write it as a string"),
    (object(), "type object"),
    ({1: 2}, "the key 1 is not a string"),
    ({None: 2}, "the key None is not a string"),
    ({b"a": 2}, "is not a string"),
    ("\ud800", "no UTF-8 form"),
    (Text("a\udfffb"), "no UTF-8 form"),
    ({"\ud800": 1}, "no UTF-8 form"),
    ({"\U0001f600": 1, "\ud800": 2}, "no UTF-8 form"),
]


@pytest.mark.parametrize("inside", [lambda value: value, lambda value: [value], lambda value: {"a": {"é": value}}])
@pytest.mark.parametrize(("value", "words"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_has_no_canonical_form_is_refused(value: Any, words: str, inside: Any) -> None:
    with pytest.raises(NotCanonical, match=words):
        canonical(inside(value))


def test_the_place_of_what_is_refused_is_named() -> None:
    with pytest.raises(NotCanonical, match="`/a/1/b`"):
        canonical({"a": [0, {"b": math.nan}]})


def nested(levels: int, leaf: Any) -> Any:
    value = leaf
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("leaf", [1, 1.5, "é"])
def test_only_so_many_levels_stand_inside_each_other(leaf: object) -> None:
    assert canonical(nested(DEEPEST, leaf)).endswith(b"}]" if DEEPEST % 2 == 0 else b"}")
    for levels in (DEEPEST + 1, 500):
        with pytest.raises(NotCanonical, match="levels"):
            canonical(nested(levels, leaf))


def test_the_hashes_are_what_they_say() -> None:
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest() == digest_bytes(b'{"a":2,"b":1}')
    assert link(b"x") == hashlib.sha256(b"\0x").hexdigest()
    assert commitment(b"s" * 16, b"1") == hashlib.sha256(b"remit payload v1\0" + b"s" * 16 + b"1").hexdigest()


@given(st.binary(min_size=16, max_size=16), VALUES, VALUES)
def test_a_commitment_is_of_one_value_under_one_salt(salt: bytes, one: Any, other: Any) -> None:
    same = canonical(one) == canonical(other)
    assert (commitment(salt, canonical(one)) == commitment(salt, canonical(other))) == same
    assert commitment(bytes(16), canonical(one)) != commitment(b"\1" * 16, canonical(one))
