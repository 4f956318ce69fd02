"""What a CEL value is in Python, and what an evaluation can fail with.

JSON values are used as they are, never copied: dict, list, str, int, float, bool, None. What JSON has no type
for gets one here: unsigned integers, timestamps and durations in nanoseconds, types, and `true` and `false`
as keys of a map (Python takes True for 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from enum import Enum
from typing import Final

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
NANOS: Final = 1_000_000_000
TIME_MIN: Final = -62_135_596_800 * NANOS
TIME_MAX: Final = 253_402_300_800 * NANOS - 1
DURATION_MAX: Final = 315_576_000_000 * NANOS
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DECIMAL_DIGITS: Final = 100
EXPONENT_MAX: Final = 6144


class EvalError(Exception):
    """A CEL error: `&&` and `||` may absorb it. `at` is the offset in the source once it is known."""

    def __init__(self, message: str, at: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class OverBudget(Exception):
    """The step budget is used up. Nothing absorbs this: the evaluation is over."""


# What evaluating a part may raise, on purpose or through odd values. `&&` and `||` may absorb it.
ABSORBED: Final = (
    EvalError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    ReferenceError,
    RuntimeError,
    TypeError,
    ValueError,
)
# What evaluating the whole may raise: anything, as roots may be mappings with code of their own.
ANYTHING: Final = (Exception,)


class Budget:
    """The steps that are left. Everything whose cost grows with the data charges it."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def charge(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise OverBudget


class UInt(int):
    """An unsigned 64-bit integer. JSON has none; literals (`1u`) and `uint()` make them."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Nanoseconds since 1970-01-01T00:00:00Z."""

    nanos: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    nanos: int


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value, as `type(1)` gives it."""

    name: str


class BoolKey(Enum):
    """`true` and `false` as keys of a map: Python's own would be found under 1 and 0."""

    TRUE = True
    FALSE = False


LISTS: Final = (list, tuple)
PLAIN: Final = frozenset({str, bool, float, type(None), list, dict})
NUMBERS: Final = frozenset({int, float, UInt, Decimal})


def exact() -> Context:
    """Decimal arithmetic that would rather fail than round."""
    return Context(
        prec=DECIMAL_DIGITS,
        Emax=EXPONENT_MAX,
        Emin=-EXPONENT_MAX,
        traps=[InvalidOperation, DivisionByZero, Overflow, Inexact],
    )


def rounded() -> Context:
    """For division, which can't always be exact: 34 digits, as IEEE decimal128."""
    return Context(prec=34, Emax=EXPONENT_MAX, Emin=-EXPONENT_MAX, traps=[InvalidOperation, DivisionByZero, Overflow])


def of_float(value: float) -> Decimal:
    """The decimal people mean when they write a double: 0.1 is 0.1."""
    return Decimal(repr(value))


def timestamp(nanos: int) -> Timestamp:
    if not TIME_MIN <= nanos <= TIME_MAX:
        raise EvalError("timestamp out of range: years 1 to 9999")
    return Timestamp(nanos)


def duration(nanos: int) -> Duration:
    if not -DURATION_MAX <= nanos <= DURATION_MAX:
        raise EvalError("duration out of range: about 10,000 years")
    return Duration(nanos)


def int64(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise EvalError("integer out of the 64-bit range")
    return value


def finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise EvalError("decimal is not a finite number")
    if value and not -EXPONENT_MAX <= value.adjusted() <= EXPONENT_MAX:
        raise EvalError("decimal out of range")
    return value


def of_datetime(value: datetime) -> Timestamp:
    if value.tzinfo is None or value.utcoffset() is None:
        raise EvalError("timestamp without a time zone")
    since = value - EPOCH
    return timestamp((since.days * 86_400 + since.seconds) * NANOS + since.microseconds * 1000)


def of_timedelta(value: timedelta) -> Duration:
    return duration((value.days * 86_400 + value.seconds) * NANOS + value.microseconds * 1000)


def plain(value: object) -> object:
    """A value of no declared type, checked for being one we can use; subclasses become their base."""
    kind = value.__class__
    if kind in PLAIN:
        return value
    if kind is int:
        return int64(value)  # type: ignore[arg-type]
    if isinstance(value, (UInt, Timestamp, Duration, TypeValue, bytes)):
        return value
    if isinstance(value, Decimal):
        return finite(Decimal(value))
    if isinstance(value, datetime):
        return of_datetime(value)
    if isinstance(value, timedelta):
        return of_timedelta(value)
    if isinstance(value, (Mapping, tuple, list)):
        return value
    if isinstance(value, BoolKey):
        return value.value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int64(int.__int__(value))
    if isinstance(value, float):
        return float.__float__(value)
    raise EvalError(f"a {kind.__name__} is no value of a condition")


def type_name(value: object) -> str:
    """The CEL name of a value's type, for `type()` and for messages."""
    names: Mapping[type, str] = {
        bool: "bool",
        int: "int",
        UInt: "uint",
        float: "double",
        str: "string",
        bytes: "bytes",
        type(None): "null_type",
        Decimal: "decimal",
        Timestamp: "google.protobuf.Timestamp",
        datetime: "google.protobuf.Timestamp",
        Duration: "google.protobuf.Duration",
        timedelta: "google.protobuf.Duration",
        TypeValue: "type",
        dict: "map",
        list: "list",
        tuple: "list",
    }
    name = names.get(value.__class__)
    if name is None:
        name = "map" if isinstance(value, Mapping) else value.__class__.__name__
    return name


def map_key(value: object) -> object:
    """A value as the key it is looked up by."""
    if value is True or value is False:
        return BoolKey(value)
    if value.__class__ is str or value.__class__ in NUMBERS:
        return value
    raise EvalError(f"a {type_name(value)} can't be a key of a map")
