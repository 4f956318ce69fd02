"""The answers to an auditor's questions about a call, read from the journal: plain values, for printing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remit.core.canonical import plain
from remit.core.conditions import Explanation
from remit.core.entries import CallDecided, CallSettled, PolicyLoaded, RuleHit, is_committed
from remit.core.facts import roots
from remit.core.lifecycle import CallState, RunState
from remit.core.notes import proof_text, unchecked
from remit.core.origins import Lineage
from remit.core.policy import CompiledRule
from remit.core.provenance import flow_of
from remit.core.recorded import RecordedPolicies
from remit.core.tools import ToolSpec
from remit.errors import BadInput, RemitError, Tampered, UnknownId
from remit.policykit.explain import part_row
from remit.runtime.erasures import values_of
from remit.runtime.lineage import begun, settle
from remit.runtime.load import load_run
from remit.runtime.views import review_view, run_view
from remit.store.integrator import Integrator
from remit.store.journal import Journal


async def trace(journal: Journal, run: str, call: str = "") -> list[dict[str, Any]]:
    """Returns, for each call of the run (or the one), who asked, what was seen, decided, approved and done.

    Raises:
        UnknownId: there is no such run or call.
        Tampered: what is stored isn't what was recorded.
    """
    state = await load_run(journal, run)
    if call and call not in state.calls:
        known = ", ".join(sorted(state.calls)[:5])
        raise UnknownId(f"run `{run}` has no call `{call}`; its calls begin with {known or 'none'}")
    view = await run_view(journal, run)
    payloads = await journal.payloads(f"run/{run}")
    policies = await _policies(journal)
    traced = []
    for row in view["calls"]:
        if call and row["call"] != call:
            continue
        found = state.calls[row["call"]]
        facts = payloads.get((found.decided, "/facts"))
        document = plain(facts.value) if facts is not None else None
        reviews = [await review_view(journal, review["review"]) for review in row["reviews"]]
        traced.append(
            {
                **row,
                "run": run,
                "principal": view["principal"],
                "starter": view["starter"],
                "agent": found.record.agent if found.record else "",
                "facts": document,
                "rules_considered": _explained(found, policies, document, row["args"]),
                "approvals": reviews,
                "proof": await _covered(journal, f"run/{run}", found),
            }
        )
    return traced


async def prove(journal: Journal, run: str, call: str) -> str:
    """Returns a C2SP tlog-proof that the entry with the call's latest verdict is in the signed tree.

    Raises:
        UnknownId: there is no such call.
        BadInput: no checkpoint covers it yet.
    """
    state = await load_run(journal, run)
    found = state.calls.get(call)
    if found is None:
        raise UnknownId(f"run `{run}` has no call `{call}`")
    index = await journal.position_of(f"run/{run}", max(found.decided, found.seq)) - 1
    integrator = Integrator(journal)
    note = await integrator.latest()
    size = unchecked(note).size if note else 0
    if note is None or index >= size:
        raise BadInput("no checkpoint covers this call: make a key with `remit keys new`, then a checkpoint is made")
    return proof_text(index, await integrator.inclusion(index, size), note)


async def trace_lineage(journal: Journal, run: str, call: str = "") -> list[dict[str, Any]]:
    """Returns, for each call of the run (or the one), where every value of its arguments came from.

    It is worked out anew from the journal, so it is there whether or not a policy looked at it then. In an export,
    values that are not there are left out, and `gone` of each later call names them: what came from them has no origin.

    Raises:
        UnknownId: there is no such run or call.
        Tampered: what is stored isn't what was recorded, or a value that is needed was erased.
    """
    state = await load_run(journal, run)
    if call and call not in state.calls:
        raise UnknownId(f"run `{run}` has no call `{call}`")
    payloads = await values_of(journal, f"run/{run}")
    gone: dict[str, None] = {}

    def is_there(*places: tuple[int, str]) -> bool:
        missing = [place for place in places if journal.exported and place not in payloads]
        gone.update((f"{payloads.gone(*place)} run/{run}#{place[0]} {place[1]}", None) for place in missing)
        return not missing

    def starts(until: int) -> Lineage:
        there = is_there(*_begins(state, until))
        return begun(state, payloads, specs, until=until) if there else Lineage((), frozenset(specs))

    specs = {}
    for found in state.calls.values():
        artifact = await journal.artifact(found.record.tool_digest) if found.record else None
        if artifact is not None:
            specs[found.tool] = ToolSpec.from_document(plain(artifact.data))
    rows = []
    events = [(seq, found) for found in state.calls.values() for seq in {found.seq, found.settled} if seq >= 0]
    vouched = [one.seq for one in state.vouched]
    lineage, settled_by = starts(0), list[CallState]()
    for seq, found in sorted(events, key=lambda event: event[0]):
        if vouched and vouched[0] < seq:
            # As the run did when it took somebody's word into account.
            vouched = [one for one in vouched if one > seq]
            lineage = starts(seq)
            for earlier in settled_by:
                settle(lineage, state, earlier, payloads, specs)
        if seq == found.settled and not is_there(*_needs(found)):
            continue
        if seq == found.settled:
            settle(lineage, state, found, payloads, specs)
            settled_by.append(found)
        elif found.record is not None and found.tool in specs and call in ("", found.id):
            asked = {name: payloads.get((seq, f"/args/{name}")) for name in found.record.args}
            runs = {name: payloads.get((at, path)) for name, (at, path, _) in found.places.items()}
            args = {name: plain(one.value) for name, one in {**asked, **runs}.items() if one is not None}
            before = {name: plain(one.value) for name, one in asked.items() if name in runs and one is not None}
            flow = flow_of(lineage, specs[found.tool], args, before, dict.fromkeys(found.by_people, found.editor))
            is_there(*((seq, f"/args/{name}") for name in found.record.args))
            row = {"call": found.id, "tool": found.tool, "status": found.status.value}
            rows.append({**row, "provenance": flow["provenance"], "gone": list(gone)})
    return rows


def _begins(state: RunState, until: int) -> list[tuple[int, str]]:
    """Returns the places of the values that a run's lineage begins with."""
    endorsed = [(0, "/endorsed")] if state.started.endorsed is not None else []
    return [(0, "/input"), *endorsed, *((one.seq, "/source") for one in state.vouched if one.seq < until)]


def _needs(call: CallState) -> list[tuple[int, str]]:
    """Returns the places of the values that a settled call adds to a run's lineage."""
    if not call.ok or call.record is None:
        return []
    args = [(call.seq, f"/args/{name}") for name in call.record.args]
    edited = [(seq, f"/edited/{name}") for name, (_, seq) in call.edited.items()]
    return [*args, *edited, *([] if call.lost else [(call.settled, "/result")])]


async def _policies(journal: Journal) -> Mapping[str, RecordedPolicies]:
    """Returns the recorded policy sets by digest; a later one of the same digest stands for both."""
    found = {}
    for entry in await journal.read("policy"):
        body = entry.body
        if isinstance(body, PolicyLoaded):
            artifacts = {digest: await journal.artifact(digest) for digest in (body.types, body.texts)}
            data = {digest: artifact.data for digest, artifact in artifacts.items() if artifact is not None}
            found[body.digest] = RecordedPolicies(body, data)
    return found


def _explained(
    call: CallState, policies: Mapping[str, RecordedPolicies], document: Any, args: Mapping[str, object]
) -> list[dict[str, Any]]:
    """Every rule that speaks of the tool, with the value of each part of its condition then."""
    record, verdict = call.record, call.verdict
    recorded = policies.get(verdict.policies) if verdict else None
    if record is None or verdict is None or recorded is None or document is None or not recorded.has(record):
        return []
    try:
        seen = roots(document, recorded.tools[record.tool], args)
        rules = recorded.load().rules_for(record.tool)
    except RemitError:
        return []
    hits = {hit.digest: hit for hit in (*verdict.rules, *verdict.broken)}
    return [_rule(rule, hits.get(rule.digest), rule.condition.explain(seen)) for rule in rules]


def _rule(rule: CompiledRule, hit: RuleHit | None, explained: Explanation) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "digest": rule.digest,
        "effect": rule.effect.value,
        "require": rule.negated,
        "decided": hit is not None,
        "condition": part_row(explained),
    }


async def _covered(journal: Journal, stream: str, call: CallState) -> dict[str, Any]:
    """Says where the call's last entry is in the tree, and which checkpoint covers it."""
    seq = max(call.seq, call.decided, call.settled)
    index = await journal.position_of(stream, seq) - 1
    note = await Integrator(journal).latest()
    checkpoint = unchecked(note) if note else None
    covered = checkpoint is not None and index < checkpoint.size
    return {
        "entry": f"{stream}#{seq}",
        "index": index,
        "checkpoint": checkpoint.size if checkpoint is not None and covered else 0,
        "origin": checkpoint.origin if checkpoint is not None and covered else "",
    }


async def original_result(journal: Journal, run: str, call: str) -> object:
    """Returns what a call's result was before it was masked, where it was kept.

    Raises:
        UnknownId: there is no such run or call, or no such result of it.
        Tampered: what is stored isn't what was recorded.
    """
    state = await load_run(journal, run)
    found = state.calls.get(call)
    payload = (await journal.payloads(f"run/{run}")).get((found.settled, "/original")) if found is not None else None
    if found is None or payload is None:
        raise UnknownId(f"no result of `{run}/{call}` was masked and kept, or it was erased")
    (entry,) = [one for one in await journal.read(f"run/{run}") if one.seq == found.settled]
    if not isinstance(entry.body, CallSettled) or not is_committed(payload, entry.body.original):
        raise Tampered(f"run/{run}#{found.settled} /original: the payload is not what the entry committed to")
    return plain(payload.value)


async def original_arguments(journal: Journal, run: str, call: str) -> dict[str, Any]:
    """Returns the arguments of a call as they were asked for, where they were masked or redacted; none where not.

    Raises:
        UnknownId: there is no such run or call.
        Tampered: what is stored isn't what was recorded.
    """
    state = await load_run(journal, run)
    found = state.calls.get(call)
    if found is None:
        raise UnknownId(f"run `{run}` has no call `{call}`")
    (entry,) = [one for one in await journal.read(f"run/{run}") if one.seq == found.seq]
    payloads = await journal.payloads(f"run/{run}")
    asked = {}
    for name in entry.body.covered if isinstance(entry.body, CallDecided) else ():
        payload = payloads.get((found.seq, f"/args/{name}"))
        if payload is not None and isinstance(entry.body, CallDecided):
            if not is_committed(payload, entry.body.call.args[name]):
                raise Tampered(f"run/{run}#{found.seq} /args/{name}: the payload is not what the entry committed to")
            asked[name] = plain(payload.value)
    return asked
