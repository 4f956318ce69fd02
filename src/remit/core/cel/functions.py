"""What CEL's operators and functions do to values that are known only when they arrive.

Everything here takes values as `values.plain` leaves them, and either returns a value or raises `EvalError`
without a place; who called knows the place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, DecimalException
from types import MappingProxyType
from typing import Final

from remit.core.cel.values import (
    INT_MAX,
    INT_MIN,
    LISTS,
    NUMBERS,
    UINT_MAX,
    Budget,
    Duration,
    EvalError,
    Timestamp,
    TypeValue,
    UInt,
    duration,
    exact,
    finite,
    int64,
    map_key,
    of_float,
    plain,
    rounded,
    timestamp,
    type_name,
)

ORDERED: Final = frozenset({str, bytes, bool, Timestamp, Duration})
KNOWN: Final = NUMBERS | ORDERED | {type(None), list, tuple, dict, TypeValue}
LONG: Final = 10  # log2 of the characters that cost a step where C code goes through them


def no_overload(name: str, *values: object) -> EvalError:
    return EvalError(f"`{name}` can't be applied to ({', '.join(type_name(value) for value in values)})")


def same_numbers(left: object, right: object) -> bool:
    """Equality of two numbers, by what they are worth; doubles meet decimals as they are written."""
    if left.__class__ is Decimal and right.__class__ is float:
        right = of_float(right)
    elif left.__class__ is float and right.__class__ is Decimal:
        left = of_float(left)
    return left == right


def equal(left: object, right: object, budget: Budget) -> bool:
    """CEL's `==`: values of different types are unequal, numbers compare across types."""
    if left.__class__ not in KNOWN:
        left = plain(left)
    if right.__class__ not in KNOWN:
        right = plain(right)
    kind, other = left.__class__, right.__class__
    if kind in NUMBERS:
        return other in NUMBERS and same_numbers(left, right)
    if kind is str or kind is bytes:
        if kind is not other:
            return False
        if len(left) != len(right):  # type: ignore[arg-type]
            return False
        budget.charge(len(left) >> LONG)  # type: ignore[arg-type]
        return left == right
    if kind is bool or left is None:
        return left is right
    if isinstance(left, LISTS):
        return isinstance(right, LISTS) and same_lists(left, right, budget)
    if isinstance(left, Mapping):
        return isinstance(right, Mapping) and same_maps(left, right, budget)
    return kind is other and left == right


def same_lists(
    left: list[object] | tuple[object, ...], right: list[object] | tuple[object, ...], budget: Budget
) -> bool:
    if len(left) != len(right):
        return False
    for mine, yours in zip(left, right, strict=True):
        budget.charge(1)
        if not equal(mine, yours, budget):
            return False
    return True


def same_maps(left: Mapping[object, object], right: Mapping[object, object], budget: Budget) -> bool:
    if len(left) != len(right):
        return False
    for key, value in left.items():
        budget.charge(1)
        if key not in right or not equal(value, right[key], budget):
            return False
    return True


def ordered(name: str, left: object, right: object, budget: Budget) -> tuple[object, object]:
    """The two sides of `<` and its kin as Python may compare them."""
    kind, other = left.__class__, right.__class__
    if kind in NUMBERS and other in NUMBERS:
        if kind is float and (left != left or other is Decimal):
            return (left, 0.0) if left != left else (of_float(left), right)  # type: ignore[arg-type]
        if other is float and (right != right or kind is Decimal):
            return (0.0, right) if right != right else (left, of_float(right))  # type: ignore[arg-type]
        return left, right
    if kind is other and kind in ORDERED:
        if kind is str or kind is bytes:
            budget.charge(min(len(left), len(right)) >> LONG)  # type: ignore[arg-type]
        return left, right
    raise no_overload(name, left, right)


def less(left: object, right: object, budget: Budget) -> bool:
    a, b = ordered("<", left, right, budget)
    return bool(a < b)  # type: ignore[operator]


def less_equal(left: object, right: object, budget: Budget) -> bool:
    a, b = ordered("<=", left, right, budget)
    return bool(a <= b)  # type: ignore[operator]


def greater(left: object, right: object, budget: Budget) -> bool:
    a, b = ordered(">", left, right, budget)
    return bool(a > b)  # type: ignore[operator]


def greater_equal(left: object, right: object, budget: Budget) -> bool:
    a, b = ordered(">=", left, right, budget)
    return bool(a >= b)  # type: ignore[operator]


def unequal(left: object, right: object, budget: Budget) -> bool:
    return not equal(left, right, budget)


def unsigned(value: int) -> UInt:
    if not 0 <= value <= UINT_MAX:
        raise EvalError("unsigned integer overflow")
    return UInt(value)


def signed(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise EvalError("integer overflow")
    return value


def widen(value: object) -> object:
    """An integer where a double is declared, about to be calculated with."""
    if value.__class__ is int:
        return float(int64(value))
    return value


def in_decimal(name: str, left: object, right: object) -> Decimal:
    """Arithmetic with a decimal on at least one side."""
    pair: list[Decimal] = []
    for value in (left, right):
        if isinstance(value, float):
            pair.append(finite(of_float(value)))
        elif isinstance(value, Decimal):
            pair.append(value)
        elif isinstance(value, int) and not isinstance(value, (bool, UInt)):
            pair.append(Decimal(int64(value)))
        else:
            raise no_overload(name, left, right)
    a, b = pair
    context = exact()
    try:
        if name == "+":
            return finite(context.add(a, b))
        if name == "-":
            return finite(context.subtract(a, b))
        if name == "*":
            return finite(context.multiply(a, b))
        if name == "/":
            if not b:
                raise EvalError("division by zero")
            return finite(rounded().divide(a, b))
    except DecimalException as error:
        raise EvalError(f"decimal `{name}` has no exact result: {type(error).__name__.lower()}") from None
    raise no_overload(name, left, right)


def add(left: object, right: object, budget: Budget) -> object:
    match left, right:
        case (bool(), _) | (_, bool()):
            pass
        case (str(), str()):
            budget.charge((len(left) + len(right)) >> 6)
            return left + right
        case (bytes(), bytes()):
            budget.charge((len(left) + len(right)) >> 6)
            return left + right
        case (list() | tuple(), list() | tuple()):
            budget.charge((len(left) + len(right)) >> 4)
            return [*left, *right]
        case (Timestamp(), Duration()):
            return timestamp(left.nanos + right.nanos)
        case (Duration(), Timestamp()):
            return timestamp(left.nanos + right.nanos)
        case (Duration(), Duration()):
            return duration(left.nanos + right.nanos)
        case (Decimal(), _) | (_, Decimal()):
            return in_decimal("+", left, right)
        case (UInt(), UInt()):
            return unsigned(int(left) + int(right))
        case (UInt(), _) | (_, UInt()):
            pass
        case (int(), int()):
            return signed(left + right)
        case (float(), float()):
            return left + right
    raise no_overload("+", left, right)


def subtract(left: object, right: object, budget: Budget) -> object:
    match left, right:
        case (bool(), _) | (_, bool()):
            pass
        case (Timestamp(), Timestamp()):
            return time_between(left, right)
        case (Timestamp(), Duration()):
            return timestamp(left.nanos - right.nanos)
        case (Duration(), Duration()):
            return duration(left.nanos - right.nanos)
        case (Decimal(), _) | (_, Decimal()):
            return in_decimal("-", left, right)
        case (UInt(), UInt()):
            return unsigned(int(left) - int(right))
        case (UInt(), _) | (_, UInt()):
            pass
        case (int(), int()):
            return signed(left - right)
        case (float(), float()):
            return left - right
    raise no_overload("-", left, right)


def time_between(left: Timestamp, right: Timestamp) -> Duration:
    """Two timestamps may be further apart than 64 bits of nanoseconds: an error in CEL."""
    apart = left.nanos - right.nanos
    if not INT_MIN <= apart <= INT_MAX:
        raise EvalError("duration out of range: about 292 years between timestamps")
    return Duration(apart)


def multiply(left: object, right: object, budget: Budget) -> object:
    match left, right:
        case (bool(), _) | (_, bool()):
            pass
        case (Decimal(), _) | (_, Decimal()):
            return in_decimal("*", left, right)
        case (UInt(), UInt()):
            return unsigned(int(left) * int(right))
        case (UInt(), _) | (_, UInt()):
            pass
        case (int(), int()):
            return signed(left * right)
        case (float(), float()):
            return left * right
    raise no_overload("*", left, right)


def float_quotient(left: float, right: float) -> float:
    """IEEE division: by zero it is infinite or not a number, never an exception."""
    if right:
        return left / right
    if left != left or not left:
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def divide(left: object, right: object, budget: Budget) -> object:
    match left, right:
        case (bool(), _) | (_, bool()):
            pass
        case (Decimal(), _) | (_, Decimal()):
            return in_decimal("/", left, right)
        case (float(), float()):
            return float_quotient(left, right)
        case (UInt(), UInt()):
            if not right:
                raise EvalError("division by zero")
            return UInt(int(left) // int(right))
        case (UInt(), _) | (_, UInt()):
            pass
        case (int(), int()):
            if not right:
                raise EvalError("division by zero")
            whole = abs(left) // abs(right)
            return signed(whole if (left < 0) == (right < 0) else -whole)
    raise no_overload("/", left, right)


def modulo(left: object, right: object, budget: Budget) -> object:
    match left, right:
        case (bool(), _) | (_, bool()):
            pass
        case (UInt(), UInt()):
            if not right:
                raise EvalError("modulus by zero")
            return UInt(int(left) % int(right))
        case (UInt(), _) | (_, UInt()):
            pass
        case (int(), int()):
            if not right:
                raise EvalError("modulus by zero")
            if left == INT_MIN and right == -1:
                raise EvalError("integer overflow")
            rest = abs(left) % abs(right)
            return -rest if left < 0 else rest
    raise no_overload("%", left, right)


def negate(value: object, budget: Budget) -> object:
    if value.__class__ is int:
        return signed(-value)
    if value.__class__ is float:
        return -value
    if isinstance(value, Decimal):
        return value.copy_negate()
    raise no_overload("-", value)


def invert(value: object, budget: Budget) -> bool:
    if value is True:
        return False
    if value is False:
        return True
    raise no_overload("!", value)


def contained(value: object, where: object, budget: Budget) -> bool:
    """CEL's `in`: an element of a list or a key of a map."""
    if isinstance(where, LISTS):
        budget.charge(len(where) >> 4)
        return any(equal(value, item, budget) for item in where)
    if isinstance(where, Mapping):
        return map_key(value) in where
    raise no_overload("in", value, where)


def element(where: object, key: object, budget: Budget) -> object:
    """`where[key]`, its result not yet checked."""
    if isinstance(where, LISTS):
        if key.__class__ is float and key.is_integer():
            key = int(key)
        if isinstance(key, bool) or not isinstance(key, int):
            raise no_overload("[]", where, key)
        if not 0 <= key < len(where):
            raise EvalError(f"index {int(key)} is out of the list of {len(where)}")
        return where[key]
    if isinstance(where, Mapping):
        try:
            return where[map_key(key)]
        except KeyError:
            raise EvalError(f"no such key `{str(key)[:60]}`") from None
    raise no_overload("[]", where, key)


def size(value: object, budget: Budget) -> int:
    if isinstance(value, (str, bytes, list, tuple, Mapping)):
        return len(value)
    raise no_overload("size", value)


Operator = Callable[..., object]
OPERATORS: Final[Mapping[str, Operator]] = MappingProxyType(
    {
        "_==_": equal,
        "_!=_": unequal,
        "_<_": less,
        "_<=_": less_equal,
        "_>_": greater,
        "_>=_": greater_equal,
        "_+_": add,
        "_-_": subtract,
        "_*_": multiply,
        "_/_": divide,
        "_%_": modulo,
        "-_": negate,
        "!_": invert,
        "@in": contained,
        "size": size,
    }
)
