"""A broken definition is told once and where it is: what refers to it is not told to be wrong as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from remit.core.policy import load_policies
from remit.errors import PolicyError, Problem


class Pay:
    name = "pay"
    arguments: Mapping[str, Any] = {
        "type": "object", "properties": {"amount": {"type": "integer"}, "iban": {"type": "string"}},
        "required": ["amount", "iban"],
    }  # fmt: skip


RULES = (
    "escalate: 'args.amount > 1', to: finance",
    "escalate: 'args.amount > 2', to: finance",
    "deny: '!now.isDuring(calendars.office)'",
    "deny: 'now.isDuring(calendars.office) && args.amount > 3'",
    "deny: 'counters.day > 3'",
    "deny: 'counters.day + double(args.amount) > 5.0', because: 'It is {{counters.day}}.'",
    "deny: 'args.iban in lists.banks'",
    "deny: 'lists.banks[args.iban].limit == \"1\"'",
)
FILES = {
    "p.yaml": "policy: p\nrules:\n"
    + "".join(f"  - {{id: r{at}, tools: [pay], {said}}}\n" for at, said in enumerate(RULES)),
    "queues.yaml": "queues:\n  finance:\n    ttl: 4h\n    reviewers: [ann, finance]\n",
    "reviewers.yaml": "reviewers:\n  ann:\n    groups: [finance]\n"
    "    delegates: [{to: bob, until: 2027-01-01, queues: [finance]}]\n"
    "    keys: [{key: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBdCVPf9Jt8du6FfFFpFitRK/ZCoQqSqMGesFImm4vp6'}]\n"
    "  bob: {}\n",
    "calendars.yaml": "calendars:\n  office:\n    timezone: Europe/Berlin\n    week: {mon-fri: '08:00-18:00'}\n",
    "counters.yaml": "counters:\n  day:\n    tools: [pay]\n    sum: args.amount\n    window: 1d\n",
    "banks.list.csv": "iban,limit\nDE1,5\n",
}  # fmt: skip
SLIPS = (
    ("queues.yaml", "ttl: 4h", "ttl: 4 hours"),
    ("queues.yaml", "ttl: 4h", "tll: 4h"),
    ("queues.yaml", "ttl: 4h", "ttl: [4h"),
    ("queues.yaml", "queues:\n", "queues: &x\n"),
    ("reviewers.yaml", "groups: [finance]", "group: [finance]"),
    ("reviewers.yaml", "AAAAC3", "AAAAC4"),
    ("reviewers.yaml", "2027-01-01", "tomorrow"),
    ("reviewers.yaml", "reviewers:\n", "reviewers:\n  eve: [\n"),
    ("calendars.yaml", "Europe/Berlin", "Europe/Berln"),
    ("calendars.yaml", "'08:00-18:00'", "'18:00-08:00'"),
    ("calendars.yaml", "week: {", "week: ["),
    ("counters.yaml", "window: 1d", "window: one day"),
    ("counters.yaml", "sum: args.amount", "sum: args.amuont"),
    ("counters.yaml", "sum: args.amount", "by: args.amuont"),
    ("counters.yaml", "tools: [pay]", "tools: [pay"),
    ("banks.list.csv", "iban,limit", "iban,LIMIT"),
    ("banks.list.csv", "DE1,5", "DE1,5\nDE1,6"),
    ("banks.list.csv", "iban,limit\n", "iban;limit\n"),
)


def problems(files: Mapping[str, str]) -> tuple[Problem, ...]:
    types = {"now": {"type": "string", "format": "date-time"}}
    try:
        load_policies(files, [Pay()], lambda tool: {"args": tool.arguments, **types})
    except PolicyError as error:
        return error.problems
    return ()


def test_the_files_are_sound() -> None:
    assert problems(FILES) == ()


@pytest.mark.parametrize(("file", "old", "new"), SLIPS)
def test_one_slip_in_a_definition_is_one_problem_where_it_is(file: str, old: str, new: str) -> None:
    assert old in FILES[file]
    found = problems({**FILES, file: FILES[file].replace(old, new, 1)})
    assert [one.file for one in found] == [file], found


@pytest.mark.parametrize(("file", "old", "new"), SLIPS)
def test_a_cause_stands_before_what_else_is_wrong(file: str, old: str, new: str) -> None:
    found = problems({**FILES, file: FILES[file].replace(old, new, 1), "a.yaml": "policy: p2\nrules: []\n"})
    assert [one.file for one in found] == [file, "a.yaml"], found
