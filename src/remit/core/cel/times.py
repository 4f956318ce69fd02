"""Timestamps and durations: reading, writing, and their parts in a time zone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from remit.core.cel.values import EPOCH, NANOS, Duration, EvalError, Timestamp, duration, timestamp

TIMESTAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
DURATION_PART: Final = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|ms|s|m|h|d)", re.ASCII)
ISO_DURATION: Final = re.compile(
    r"([+-]?)P(?:(\d{1,5})Y)?(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,12})(?:\.(\d{1,9}))?S)?)?",
    re.ASCII,
)
MONTHS: Final = re.compile(r"[+-]?P(?:\d+Y)?\d+M", re.ASCII)
OFFSET: Final = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
UNITS: Final[Mapping[str, int]] = MappingProxyType(
    {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NANOS, "m": 60 * NANOS, "h": 3600 * NANOS, "d": 86_400 * NANOS}
)


def parse_timestamp(text: str) -> Timestamp:
    match = TIMESTAMP.fullmatch(text)
    if match is None:
        raise EvalError(f"`{text[:40]}` is not a timestamp such as 2026-01-31T08:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, hours, minutes = match.groups()[6:]
    if year == 0:
        raise EvalError("timestamp out of range: years 1 to 9999")
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise EvalError(f"`{text}` is not a timestamp: {error}") from None
    since = moment - EPOCH
    nanos = (since.days * 86_400 + since.seconds) * NANOS + int((fraction or "0").ljust(9, "0"))
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            raise EvalError(f"`{text}` is not a timestamp: its offset is too large")
        offset = (int(hours) * 3600 + int(minutes) * 60) * NANOS
        nanos += offset if sign == "-" else -offset
    return timestamp(nanos)


def parse_duration(text: str) -> Duration:
    """`1h30m`, `-1.5s`, `100ms`: a sign, then numbers with units."""
    body = text[1:] if text[:1] in ("-", "+") else text
    if len(text) > 100 or not body:
        raise EvalError(f"`{text[:40]}` is not a duration such as `1h30m` or `30d`")
    total, position = 0, 0
    if body == "0":
        return Duration(0)
    while position < len(body):
        match = DURATION_PART.match(body, position)
        if match is None or not (match[1] or match[2]):
            raise EvalError(f"`{text[:40]}` is not a duration such as `1h30m` or `30d`")
        unit = UNITS[match[3]]
        total += int(match[1] or "0") * unit
        if match[2]:
            total += int(match[2]) * unit // 10 ** len(match[2])
        position = match.end()
    return duration(-total if text[0] == "-" else total)


def parse_iso_duration(text: str) -> Duration:
    """JSON Schema's `format: duration` (RFC 3339, appendix A). A year is 365 days, as pydantic writes and reads a
    `timedelta`; months have no fixed length.
    """
    match = ISO_DURATION.fullmatch(text)
    if match is None or not any(match.groups()[1:]):
        if MONTHS.match(text):
            raise EvalError(f"`{text[:40]}` is not a duration of fixed length: months have none, write days")
        raise EvalError(f"`{text[:40]}` is not a duration such as P1DT2H")
    years, weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:7])
    total = ((years * 365 + weeks * 7 + days) * 86_400 + hours * 3600 + minutes * 60 + seconds) * NANOS
    total += int((match[8] or "0").ljust(9, "0"))
    return duration(-total if match[1] == "-" else total)


def decimals(nanos: int) -> str:
    """A fraction of a second in 0, 3, 6 or 9 digits, as protobuf's JSON has it."""
    if not nanos:
        return ""
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}"


def show_timestamp(value: Timestamp) -> str:
    seconds, nanos = divmod(value.nanos, NANOS)
    moment = EPOCH + timedelta(seconds=seconds)
    return f"{moment.replace(tzinfo=None).isoformat()}{decimals(nanos)}Z"


def show_duration(value: Duration) -> str:
    seconds, nanos = divmod(abs(value.nanos), NANOS)
    return f"{'-' if value.nanos < 0 else ''}{seconds}{decimals(nanos)}s"


def zone(name: str) -> tzinfo:
    """A time zone by its IANA name or its offset."""
    if name in ("UTC", ""):
        return UTC
    match = OFFSET.fullmatch(name)
    if match is not None:
        hours, minutes = int(match[2]), int(match[3])
        if hours > 23 or minutes > 59:
            raise EvalError(f"`{name}` is not a time zone")
        offset = timedelta(hours=hours, minutes=minutes)
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise EvalError(f"`{name[:60]}` is not a time zone") from None


def moment_in(value: Timestamp, where: tzinfo) -> datetime:
    moment = EPOCH + timedelta(seconds=value.nanos // NANOS)
    try:
        return moment.astimezone(where)
    except OverflowError:
        raise EvalError("timestamp out of range in that time zone") from None


def milliseconds(value: Timestamp | Duration) -> int:
    if isinstance(value, Timestamp):
        return value.nanos % NANOS // 1_000_000
    sign = -1 if value.nanos < 0 else 1
    return sign * (abs(value.nanos) % NANOS // 1_000_000)


PARTS: Final[Mapping[str, Callable[[datetime], int]]] = MappingProxyType(
    {
        "getFullYear": lambda moment: moment.year,
        "getMonth": lambda moment: moment.month - 1,
        "getDate": lambda moment: moment.day,
        "getDayOfMonth": lambda moment: moment.day - 1,
        "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
        "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
        "getHours": lambda moment: moment.hour,
        "getMinutes": lambda moment: moment.minute,
        "getSeconds": lambda moment: moment.second,
    }
)
SPANS: Final[Mapping[str, int]] = MappingProxyType(
    {"getHours": 3600 * NANOS, "getMinutes": 60 * NANOS, "getSeconds": NANOS}
)


def part(name: str, value: object, where: tzinfo = UTC) -> int:
    """What `value.name(where)` is."""
    if isinstance(value, Timestamp):
        if name == "getMilliseconds":
            return milliseconds(value)
        return PARTS[name](moment_in(value, where))
    if isinstance(value, Duration):
        if name == "getMilliseconds":
            return milliseconds(value)
        if name in SPANS:
            whole = abs(value.nanos) // SPANS[name]
            return -whole if value.nanos < 0 else whole
    raise EvalError(f"`{name}` is for timestamps and durations")
