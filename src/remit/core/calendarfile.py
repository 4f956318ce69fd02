"""The file `calendars.yaml`: hours that conditions ask about, as in `now.isDuring(calendars.office_hours)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, StringConstraints

from remit.core.cel.times import zone
from remit.core.cel.values import EvalError
from remit.core.peoplefiles import Strict, clock_hours, wanted
from remit.core.yamlmodels import checked
from remit.core.yamltext import Source, read_yaml

CALENDAR_FILES: Final = ("calendars.yaml", "calendars.yml")
_NAMES: Final = "small letters, digits and `_`, a letter first"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _days(value: object) -> object:
    """`mon`, or from one to another: `mon-fri`, `sat-sun`."""
    first, dash, last = str(value).partition("-")
    if first not in _DAYS or (dash and last not in _DAYS) or (dash and _DAYS.index(first) >= _DAYS.index(last)):
        raise wanted("name days of the week: `mon`, or from one to a later one: `mon-fri`")
    return value


def _date(value: object) -> object:
    try:
        found = date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
    except ValueError:
        found = None
    if found is None:
        raise wanted("say a date: `2026-12-25`")
    return value


def _hours(value: object) -> object:
    """One span, or several: `08:00-18:00`, `[08:00-12:00, 13:00-17:00]`."""
    spans = value if isinstance(value, list) else [value]
    if not spans:
        raise wanted('say from when to when: `"08:00-18:00"`; on a day that isn\'t named it is closed')
    return [clock_hours(span) for span in spans]


def _zone(value: object) -> object:
    try:
        zone(value if isinstance(value, str) else "?")
    except EvalError:
        raise wanted("say a zone of the IANA database, such as `Europe/Berlin`") from None
    return value


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Hours = Annotated[list[str], BeforeValidator(_hours, json_schema_input_type=str | list[str])]
_Date = Annotated[str, BeforeValidator(_date)]
_Days = Annotated[str, BeforeValidator(_days)]


class CalendarText(Strict):
    """The hours of a week, and the dates that are different."""

    description: str = Field("", description="For those who read the policy.")
    timezone: Annotated[str, BeforeValidator(_zone)] = Field(
        description="A zone of the IANA database, such as `Europe/Berlin`."
    )
    week: dict[_Days, _Hours] = Field(
        min_length=1, description='Hours by day: `mon-fri: "08:00-18:00"`; a day that isn\'t named is closed.'
    )
    closed: list[_Date] = Field(default_factory=list, description="Dates that are closed, such as holidays.")
    open: dict[_Date, _Hours] = Field(default_factory=dict, description="Dates with hours of their own.")


class CalendarsText(Strict):
    """The file `calendars.yaml`."""

    calendars: dict[_Name, CalendarText] = Field(min_length=1, description="The calendars, by name.")


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of the file, for editors."""
    schema = CalendarsText.model_json_schema()
    schema["properties"]["calendars"]["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def read_calendars(name: str, text: str) -> tuple[Source, dict[str, object]]:
    """Returns the calendars as `cel.calendars` reads them; the source's `problems` are what is wrong with the file."""
    source, value = read_yaml(name, text)
    if source.problems:
        return source, {}
    said = checked(source, value if value is not None else {}, CalendarsText, what="a calendar", name=_NAMES)
    if said is None:
        return source, {}
    calendars: dict[str, object] = {}
    for calendar, of in said.calendars.items():
        week = dict(_week(source, ("calendars", calendar, "week"), of.week))
        for day in sorted(set(of.closed) & set(of.open)):
            source.add(source.key_at(("calendars", calendar, "open", day)), f"`{day}` is open and closed", "keep one")
        calendars[calendar] = {
            "zone": of.timezone,
            "week": week,
            "closed": dict.fromkeys(of.closed, True),
            "open": {day: _minutes(spans) for day, spans in of.open.items()},
        }
    return source, calendars


def _week(
    source: Source, path: tuple[str, ...], week: Mapping[str, list[str]]
) -> Iterator[tuple[str, list[list[int]]]]:
    seen: dict[str, str] = {}
    for days, spans in week.items():
        first, _, last = days.partition("-")
        for day in _DAYS[_DAYS.index(first) : _DAYS.index(last or first) + 1]:
            if day in seen:
                source.add(source.key_at((*path, days)), f"`{day}` has hours already", f"in `{seen[day]}`: keep one")
            seen[day] = days
            yield str(_DAYS.index(day) + 1), _minutes(spans)


def _minutes(spans: list[str]) -> list[list[int]]:
    return [[int(clock[:2]) * 60 + int(clock[3:]) for clock in span.split("-")] for span in spans]
