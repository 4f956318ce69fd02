"""Lists and calendars: what rules see that is the same for every call."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit import tool
from remit.core.calendarfile import json_schema
from remit.core.decide import decide
from remit.core.entries import Outcome
from remit.core.facts import root_types
from remit.core.lists import read_list
from remit.core.policy import PolicySet, load_policies
from remit.core.yamltext import read_yaml
from remit.errors import PolicyError


@tool(effect="commit", repeat="keyed", labels={})
def pay(iban: str, to: str, amount: int) -> None: ...


def load(rule: str, **files: str) -> PolicySet:
    main = f"policy: main\nrules:\n  - {{id: pay, tools: [pay], allow: '{rule}'}}\n"
    named = {name.replace("__", "."): text for name, text in files.items()}
    return load_policies({"main.yaml": main, **named}, [pay.spec], lambda spec: root_types(spec, {}))


def problems(rule: str = "true", **files: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load(rule, **files)
    return [f"{one.file}:{one.line} {one.message}" for one in caught.value.problems]


def outcome(policies: PolicySet, at: str = "2026-11-23T09:00:00Z", **args: Any) -> Outcome:
    seen = {"args": {"iban": "", "to": "", "amount": 1, **args}, "now": datetime.fromisoformat(at), "tool": {}}
    return decide("pay", seen, policies).outcome


# --- lists -----------------------------------------------------------------------------------------------

SUPPLIERS = 'iban,name,limit\nDE1,"Nord, Wind",100\nDE2,Süd,250.50\n'


def test_a_rule_looks_things_up_in_a_list_and_its_columns() -> None:
    policies = load(
        "args.iban in lists.suppliers && decimal(lists.suppliers[args.iban].limit) >= args.amount",
        suppliers__list__csv=SUPPLIERS,
    )
    assert outcome(policies, iban="DE2", amount=250) is Outcome.ALLOW
    assert outcome(policies, iban="DE2", amount=251) is Outcome.DENY
    assert outcome(policies, iban="DE3", amount=1) is Outcome.DENY


def test_a_list_of_lines_is_asked_by_any_macro() -> None:
    policies = load(
        "!lists.blocked.exists(domain, args.to.isInDomain(domain))",
        blocked__list__txt="# who may not\n\nevil.example\n  bad.example  \n",
    )
    assert outcome(policies, to="ada@acme.example") is Outcome.ALLOW
    assert outcome(policies, to="x@mail.bad.example") is Outcome.DENY
    assert outcome(policies, to="no host at all, really") is Outcome.DENY


def test_a_list_is_in_the_policy_sets_digest_byte_for_byte() -> None:
    rule = "args.iban in lists.suppliers"
    one, other = (load(rule, suppliers__list__csv=text) for text in (SUPPLIERS, SUPPLIERS + "DE3,Ost,1\n"))
    assert one.digest != other.digest
    assert set(one.files) == {"main.yaml", "suppliers.list.csv"}
    assert one.texts["suppliers.list.csv"] == SUPPLIERS


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("args.iban in lists.supliers", "no field `supliers` in `lists`"),
        ("lists.suppliers[args.iban].limits == \"\"", "no field `limits`"),
        ("lists.suppliers[args.iban].limit >= 1", "can't be applied to (string, int)"),
        ("args.iban in calendars.office", "unknown name `calendars`"),
    ],
)  # fmt: skip
def test_a_typo_in_a_list_or_a_column_does_not_load(rule: str, message: str) -> None:
    assert message in problems(rule, suppliers__list__csv=SUPPLIERS)[0]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("x.list.csv", "", "x.list.csv:1 the table has no header"),
        ("x.list.csv", "iban;limit\nDE1;1\n", "x.list.csv:1 columns are separated by `;`"),
        ("x.list.csv", "IBAN,limit\n", "x.list.csv:1 column `IBAN` can't be named in a condition"),
        ("x.list.csv", "a,a\n", "x.list.csv:1 two columns have the same name"),
        ("x.list.csv", "a,b\n1\n", "x.list.csv:2 1 columns, and the header has 2"),
        ("x.list.csv", 'a,b\n"1,2\n', "x.list.csv:2 not a table of comma-separated values: unexpected end of data"),
        ("x.list.csv", "a,b\n1,2\n1,3\n", "x.list.csv:3 `1` is here twice"),
        ("x.list.csv", "a,b\n,3\n", "x.list.csv:2 an entry without a key"),
        ("x.list.txt", "one\ntwo\none\n", "x.list.txt:3 `one` is here twice"),
        ("x.list.txt", "a\nb\x00\n", "x.list.txt:2 character U+0000 can't be in a list"),
        ("x.list.txt", "a\nb\udcff\n", "x.list.txt:2 character U+DCFF can't be in a list"),
        ("X-y.list.txt", "a\n", "X-y.list.txt:0 list `X-y` can't be named in a condition"),
    ],
)
def test_a_list_that_is_not_one_is_refused_with_its_line(file: str, text: str, message: str) -> None:
    assert message in problems(**{file: text})


def test_two_lists_of_a_name_are_refused() -> None:
    assert "x.list.txt:0 list `x` is in x.list.csv already" in problems(x__list__csv="a\n1\n", x__list__txt="1\n")


_CELLS = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=8)


@given(st.lists(st.tuples(_CELLS, _CELLS), max_size=8))
def test_a_table_is_read_as_any_spreadsheet_writes_it(rows: list[tuple[str, str]]) -> None:
    table = {key.strip(): value.strip() for key, value in rows if key.strip()}
    written = io.StringIO()
    csv.writer(written).writerows([("key", "value"), *table.items()])
    for text in (written.getvalue(), "\ufeff" + written.getvalue()):
        read = read_list("t.list.csv", text)
        assert not read.problems
        assert read.entries == {key: {"value": value} for key, value in table.items()}


def test_a_long_list_is_read_and_asked_in_no_more_steps_than_a_short_one() -> None:
    policies = load("args.iban in lists.known", known__list__txt="".join(f"DE{number}\n" for number in range(150_000)))
    assert outcome(policies, iban="DE149999") is Outcome.ALLOW
    assert outcome(policies, iban="DE150000") is Outcome.DENY


# --- calendars -------------------------------------------------------------------------------------------

CALENDARS = """\
calendars:
  office_hours:
    timezone: Europe/Berlin
    week:
      mon-thu: "08:00-18:00"
      fri: ["08:00-12:00", "13:00-24:00"]
    closed: ["2026-12-25"]
    open: {"2026-12-24": "09:00-12:00", "2026-12-27": "10:00-11:00"}
"""


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-23T06:59:59Z", False),
        ("2026-11-23T07:00:00Z", True),
        ("2026-11-23T16:59:59.999Z", True),
        ("2026-11-23T17:00:00Z", False),
        ("2026-07-06T06:00:00Z", True),  # summer time
        ("2026-11-27T11:30:00Z", False),
        ("2026-11-27T22:59:59Z", True),
        ("2026-11-27T23:00:00Z", False),
        ("2026-11-28T10:00:00Z", False),
        ("2026-12-25T10:00:00Z", False),
        ("2026-12-24T11:30:00Z", False),
        ("2026-12-24T10:30:00Z", True),
        ("2026-12-27T09:30:00Z", True),
    ],
)
def test_a_calendar_is_open_in_its_hours_and_a_date_of_its_own_goes_first(at: str, is_open: bool) -> None:
    policies = load("now.isDuring(calendars.office_hours)", calendars__yaml=CALENDARS)
    assert outcome(policies, at) is (Outcome.ALLOW if is_open else Outcome.DENY)


ZONES = {
    zone: load("now.isDuring(calendars.office_hours)", calendars__yaml=CALENDARS.replace("Europe/Berlin", zone))
    for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata")
}


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.sampled_from(sorted(ZONES)))
def test_a_calendar_says_what_a_wall_clock_there_says(moment: datetime, zone: str) -> None:
    policies = ZONES[zone]
    local = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    day, clock = local.date().isoformat(), f"{local:%H:%M}"
    if day in ("2026-12-25", "2026-12-24", "2026-12-27"):
        return
    weekday = local.weekday()
    expected = (weekday < 4 and "08:00" <= clock < "18:00") or (
        weekday == 4 and ("08:00" <= clock < "12:00" or clock >= "13:00")
    )
    assert outcome(policies, moment.isoformat() + "Z") is (Outcome.ALLOW if expected else Outcome.DENY)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Europe/Berlin", "Europe/Bärlin", "calendars.yaml:3 `timezone` can't be `Europe/Bärlin`"),
        ("mon-thu", "monday", "calendars.yaml:5 `monday` can't be `monday`"),
        ("mon-thu", "thu-mon", "calendars.yaml:5 `thu-mon` can't be `thu-mon`"),
        ("mon-thu", "mon-fri", "calendars.yaml:6 `fri` has hours already"),
        ("08:00-18:00", "18:00-08:00", "calendars.yaml:5 `mon-thu` can't be `18:00-08:00`"),
        ('["2026-12-25"]', '["2026-02-30"]', "calendars.yaml:7 item 1 of `closed` can't be `2026-02-30`"),
        ('["2026-12-25"]', '["2026-12-24"]', "calendars.yaml:8 `2026-12-24` is open and closed"),
        ("office_hours", "office-hours", "calendars.yaml:2 `office-hours` can't be a calendar"),
        ("timezone", "zone", "calendars.yaml:3 unknown key `zone`"),
    ],
)
def test_a_calendar_with_a_mistake_does_not_load(old: str, new: str, message: str) -> None:
    assert message in problems(calendars__yaml=CALENDARS.replace(old, new))


def test_only_a_calendar_can_be_asked() -> None:
    policies = load("now.isDuring({})")
    assert outcome(policies) is Outcome.DENY
    assert "no field `office`" in problems("now.isDuring(calendars.office)", calendars__yaml=CALENDARS)[0]


def test_the_schema_takes_what_the_reader_takes() -> None:
    _, value = read_yaml("calendars.yaml", CALENDARS)
    jsonschema.validate(value, json_schema())
