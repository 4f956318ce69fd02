"""Recorded decisions as cases: what was decided, and saw, becomes what is given and expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from remit.core.canonical import plain
from remit.core.entries import (
    CallDecided,
    CallDecidedAgain,
    CallRecord,
    Entry,
    Payload,
    ReviewRuled,
    VerdictRecord,
    is_committed,
)
from remit.core.lifecycle import fold
from remit.core.obligations import in_words
from remit.core.reviews import ReviewState
from remit.errors import Tampered, UnknownId
from remit.policykit.cases import names
from remit.store.journal import Journal
from remit.store.projections import Projections

REVIEWS: Final = "reviews"
_Payloads = Mapping[tuple[int, str], Payload]


async def recorded_cases(journal: Journal, source: str) -> tuple[list[dict[str, Any]], int]:
    """Returns a case for every decision of a run, or of all calls that people ruled on, and how many are left out.

    What was erased can't be given: those decisions are the ones left out.

    Raises:
        UnknownId: there is no such run, or nobody has ruled on anything.
        Tampered: what is stored isn't what was recorded.
    """
    if source == REVIEWS:
        wanted: Mapping[str, set[str] | None] = await _ruled(journal)
        if not wanted:
            raise UnknownId("nobody has ruled on a call yet: `remit review list` shows what waits")
    else:
        wanted = {(await Projections(journal).find_run(source)).run: None}
    found: list[dict[str, Any]] = []
    left_out = 0
    for run, calls in wanted.items():
        payloads = await journal.payloads(f"run/{run}")
        args: dict[str, dict[str, Any]] = {}
        records: dict[str, CallRecord] = {}
        for entry in await journal.read(f"run/{run}"):
            case = _case(entry, run, payloads, args, records, calls)
            if case is not None:
                found += [case] if case else []
                left_out += not case
    return found, left_out


async def _ruled(journal: Journal) -> dict[str, set[str]]:
    """Returns the calls that people ruled on, by run."""
    found: dict[str, set[str]] = {}
    for stream in await journal.streams("review/"):
        entries = await journal.read(stream)
        state = fold(entries)
        ruled = any(isinstance(entry.body, ReviewRuled) for entry in entries)
        if ruled and isinstance(state, ReviewState) and not state.opened.in_doubt:
            found.setdefault(state.opened.run, set()).add(state.opened.call)
    return found


def _case(
    entry: Entry, run: str, payloads: _Payloads, args: dict[str, dict[str, Any]], records: dict[str, CallRecord],
    wanted: set[str] | None,
) -> dict[str, Any] | None:  # fmt: skip
    """Returns a case, an empty one where a value is gone or a guardrail masks, which no case says; None where the
    entry is no decision that is wanted."""
    body = entry.body
    if isinstance(body, CallDecided):
        record = records[body.call.id] = body.call
        values = {name: _value(payloads, entry, f"/args/{name}", said) for name, said in record.args.items()}
        if None not in values.values():
            args[record.id] = {name: plain(value) for name, value in values.items() if value is not None}
        asked = dict(args[record.id]) if record.id in args else None
        _edit(entry, body.edited, payloads, args, record.id)
        path, said = ("/asked", body.asked) if body.asked is not None else ("/facts", body.facts)
    elif isinstance(body, CallDecidedAgain):
        record = records[body.id]
        _edit(entry, body.edited, payloads, args, record.id)
        asked, path, said = args.get(record.id), "/facts", body.facts
    else:
        return None
    if wanted is not None and record.id not in wanted:
        return None
    facts = _value(payloads, entry, path, said)
    if facts is None or asked is None or "guarded" in (document := plain(facts)):
        return {}
    again = isinstance(body, CallDecidedAgain)
    name = f"{record.tool} {record.id} of {run}" + (", approved" if again else "")
    return {
        "name": f"{name}: {body.verdict.outcome}",
        "given": _given(record.tool, asked, document),
        "expect": _expect(body.verdict),
    }


def _edit(
    entry: Entry, edited: Mapping[str, str], payloads: _Payloads, args: dict[str, dict[str, Any]], call: str
) -> None:
    """Takes over what obligations or a reviewer changed; forgets the arguments where it is gone."""
    values = {name: _value(payloads, entry, f"/edited/{name}", said) for name, said in edited.items()}
    if None in values.values():
        args.pop(call, None)
    elif call in args:
        args[call] |= {name: plain(value) for name, value in values.items() if value is not None}


def _value(payloads: _Payloads, entry: Entry, path: str, expected: str) -> bytes | None:
    payload = payloads.get((entry.seq, path))
    if payload is None:
        return None
    if not is_committed(payload, expected):
        raise Tampered(f"{entry.stream}#{entry.seq} {path}: the payload is not what the entry committed to")
    return payload.value


def _given(tool: str, args: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    approval = document["approval"]
    given = {
        "tool": tool,
        "args": dict(args),
        "agent": document["agent"],
        "task": document["task"]["id"],
        "run": document["run"],
        "labels": document["labels"],
        "spent": document["spent"],
        "history": document["history"],
        "facts": document["facts"],
        "now": document["now"],
        "approval": {"reviewers": approval["reviewers"]} if approval["given"] else None,
        **{name: document.get(name) for name in ("provenance", "authority", "content", "findings")},
    }
    return {key: value for key, value in given.items() if value not in (None, {}, [])}


def _expect(verdict: VerdictRecord) -> dict[str, Any]:
    expect: dict[str, Any] = {"outcome": verdict.outcome.value, "rules": names(verdict.rules)}
    if verdict.broken:
        expect["broken"] = names(verdict.broken)
    queues = sorted({hit.queue for hit in verdict.rules if hit.queue})
    if verdict.outcome.value == "escalate":
        expect["queue"] = queues
    if verdict.obliged:
        expect["obligations"] = [in_words(one) for one in verdict.obliged]
    return expect
