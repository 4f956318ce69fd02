"""`now.isDuring(calendars.office_hours)`: whether a moment is within the hours that a calendar says.

A calendar reaches a condition as a plain map, so that it can be recorded and explained as any other value:
`{"zone": "Europe/Berlin", "week": {"1": [[480, 1020]]}, "closed": {"2026-12-25": true}, "open": {"2026-12-27": ...}}`,
days of the week from Monday, 1, to Sunday, 7 (ISO 8601), hours as minutes of the day, from (included) to (excluded).
"""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.cel.functions import no_overload
from remit.core.cel.times import moment_in, zone
from remit.core.cel.values import Budget, EvalError, Timestamp

_COST = 10


def is_during(moment: object, calendar: object, budget: Budget) -> bool:
    """Whether a moment is within a calendar's hours: a date of its own goes before its day of the week."""
    if not isinstance(moment, Timestamp) or not isinstance(calendar, Mapping):
        raise no_overload("isDuring", moment, calendar)
    budget.charge(_COST)
    try:
        local = moment_in(moment, zone(calendar["zone"]))
        day = local.date().isoformat()
        if day in calendar["closed"]:
            return False
        hours = calendar["open"].get(day, calendar["week"].get(str(local.isoweekday()), ()))
        minute = local.hour * 60 + local.minute
        return any(start <= minute < end for start, end in hours)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise EvalError("that is not a calendar: name one as in `calendars.office_hours`") from None
