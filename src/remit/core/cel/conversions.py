"""Conversions between types, text functions and regular expressions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import re2

from remit.core.cel.functions import LONG, OPERATORS, no_overload
from remit.core.cel.times import (
    PARTS,
    parse_duration,
    parse_timestamp,
    part,
    show_duration,
    show_timestamp,
    zone,
)
from remit.core.cel.values import (
    INT_MAX,
    INT_MIN,
    NANOS,
    Budget,
    Duration,
    EvalError,
    Timestamp,
    TypeValue,
    UInt,
    finite,
    int64,
    timestamp,
    type_name,
)

INTEGER: Final = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
NUMBER: Final = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE)
DECIMAL: Final = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,5})?", re.ASCII)
TEXT_MAX: Final = 400
PATTERN_MAX: Final = 1_000
ZONE_COST: Final = 50  # a time zone that is new is read from a file


def parse_decimal(text: str) -> Decimal:
    """An exact number out of a JSON string; no NaN, no infinity, nothing that only Python would take."""
    if len(text) > TEXT_MAX or DECIMAL.fullmatch(text) is None:
        raise EvalError(f"`{text[:40]}` is not a decimal number")
    return finite(Decimal(text))


def to_int(value: object, budget: Budget) -> int:
    match value:
        case bool():
            pass
        case UInt() | int():
            return int64(int(value))
        case float():
            if not INT_MIN < value < 2.0**63:
                raise EvalError("double out of the 64-bit range")
            return int(value)
        case Decimal():
            if not INT_MIN <= value <= INT_MAX:
                raise EvalError("decimal out of the 64-bit range")
            return int(value)
        case str():
            if INTEGER.fullmatch(value) is None:
                raise EvalError(f"`{value[:40]}` is not an integer")
            return int64(int(value))
        case Timestamp():
            return value.nanos // NANOS
    raise no_overload("int", value)


def to_uint(value: object, budget: Budget) -> UInt:
    match value:
        case bool():
            pass
        case float() | Decimal():
            if not 0 <= value < 2**64:
                raise EvalError("number out of the range of uint")
            return UInt(int(value))
        case int():
            if not 0 <= value < 2**64:
                raise EvalError("integer out of the range of uint")
            return UInt(value)
        case str():
            if INTEGER.fullmatch(value) is None or not 0 <= int(value) < 2**64 or value[0] == "-":
                raise EvalError(f"`{value[:40]}` is not an unsigned integer")
            return UInt(int(value))
    raise no_overload("uint", value)


def to_double(value: object, budget: Budget) -> object:
    match value:
        case bool():
            pass
        case float() | Decimal():
            return value
        case int():
            return float(value)
        case str():
            if len(value) > TEXT_MAX or NUMBER.fullmatch(value) is None:
                raise EvalError(f"`{value[:40]}` is not a number")
            return float(value)
    raise no_overload("double", value)


def show_float(value: float) -> str:
    """The fewest digits that read back, with an exponent from a million on and below 0.0001, as C++ prints."""
    if value != value:
        return "nan"
    if math.isinf(value) or value == 0:
        return f"{value:g}"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    power = len(text) + int(exponent) - 1
    if -4 <= power < 6:
        shown = f"{abs(Decimal(repr(value))).normalize():f}"
    else:
        shown = f"{text[0]}{'.' if len(text) > 1 else ''}{text[1:]}e{power:+03d}"
    return f"-{shown}" if sign else shown


def to_string(value: object, budget: Budget) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return show_float(value)
        case Decimal():
            return str(value)
        case bytes():
            budget.charge(len(value) >> LONG)
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                raise EvalError("bytes are not UTF-8") from None
        case Timestamp():
            return show_timestamp(value)
        case Duration():
            return show_duration(value)
    raise no_overload("string", value)


def to_bytes(value: object, budget: Budget) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        budget.charge(len(value) >> LONG)
        return value.encode("utf-8")
    raise no_overload("bytes", value)


def to_bool(value: object, budget: Budget) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value in ("1", "t", "true", "TRUE", "True"):
            return True
        if value in ("0", "f", "false", "FALSE", "False"):
            return False
        raise EvalError(f"`{value[:40]}` is not true or false")
    raise no_overload("bool", value)


def to_timestamp(value: object, budget: Budget) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    if isinstance(value, str):
        return parse_timestamp(value)
    if value.__class__ is int:
        return timestamp(value * NANOS)
    raise no_overload("timestamp", value)


def to_duration(value: object, budget: Budget) -> Duration:
    if isinstance(value, Duration):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    raise no_overload("duration", value)


def to_type(value: object, budget: Budget) -> TypeValue:
    return TypeValue("double" if isinstance(value, Decimal) else type_name(value))


def as_dyn(value: object, budget: Budget) -> object:
    return value


def contains(text: object, part_of: object, budget: Budget) -> bool:
    if isinstance(text, str) and isinstance(part_of, str):
        budget.charge((len(text) + len(part_of)) >> 8)
        return part_of in text
    raise no_overload("contains", text, part_of)


def starts_with(text: object, start: object, budget: Budget) -> bool:
    if isinstance(text, str) and isinstance(start, str):
        budget.charge(len(start) >> LONG)
        return text.startswith(start)
    raise no_overload("startsWith", text, start)


def ends_with(text: object, end: object, budget: Budget) -> bool:
    if isinstance(text, str) and isinstance(end, str):
        budget.charge(len(end) >> LONG)
        return text.endswith(end)
    raise no_overload("endsWith", text, end)


class Pattern:
    """A compiled RE2 pattern and its cost: RE2 is linear in the text, times the size of its program."""

    __slots__ = ("regex", "weight")

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.log_errors = False
        if len(text) > PATTERN_MAX:
            raise EvalError(f"pattern of more than {PATTERN_MAX:,} characters")
        try:
            self.regex = re2.compile(text, options)
        except re2.error as error:
            reason = error.args[0] if error.args else ""
            reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise EvalError(f"`{text[:60]}` is not a regular expression: {reason}") from None
        self.weight = 1 + (self.regex.programsize >> 6)

    def matches(self, text: object, budget: Budget) -> bool:
        if not isinstance(text, str):
            raise no_overload("matches", text, "")
        budget.charge((len(text) >> 5) * self.weight)
        return self.regex.search(text) is not None


def matches(text: object, pattern: object, budget: Budget) -> bool:
    if not isinstance(pattern, str):
        raise no_overload("matches", text, pattern)
    budget.charge(16 + len(pattern))
    return Pattern(pattern).matches(text, budget)


def accessor(name: str) -> Callable[..., object]:
    """`getHours` and its kin, with a time zone known only now."""

    def get(value: object, *rest: object) -> int:
        *zones, budget = rest
        if not zones:
            return part(name, value)
        where = zones[0]
        if not isinstance(where, str) or not isinstance(value, Timestamp) or not isinstance(budget, Budget):
            raise no_overload(name, value, where)
        budget.charge(ZONE_COST)
        return part(name, value, zone(where))

    return get


def in_zone(name: str, where: tzinfo) -> Callable[..., object]:
    """The same with a time zone known at load."""

    def get(value: object, budget: Budget) -> int:
        if not isinstance(value, Timestamp):
            raise no_overload(name, value, "")
        return part(name, value, where)

    return get


FUNCTIONS: Final[Mapping[str, Callable[..., object]]] = MappingProxyType(
    {
        **OPERATORS,
        "int": to_int,
        "uint": to_uint,
        "double": to_double,
        "string": to_string,
        "bytes": to_bytes,
        "bool": to_bool,
        "timestamp": to_timestamp,
        "duration": to_duration,
        "type": to_type,
        "dyn": as_dyn,
        "contains": contains,
        "startsWith": starts_with,
        "endsWith": ends_with,
        "matches": matches,
        **{name: accessor(name) for name in (*PARTS, "getMilliseconds")},
    }
)
