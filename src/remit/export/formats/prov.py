"""W3C PROV-JSON: calls are activities, results are entities, agents act on behalf of principals.

Source: the W3C submission PROV-JSON, and PROV-DM for what the relations mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from remit.export.rows import CallRow, RunRows

_NAMESPACE = "urn:remit:"


def write(runs: Iterable[RunRows]) -> Iterator[bytes]:
    """Yields one document over all runs."""
    yield orjson.dumps(document(runs), option=orjson.OPT_INDENT_2) + b"\n"


def document(runs: Iterable[RunRows]) -> dict[str, Any]:
    """Returns the document."""
    found: dict[str, Any] = {"prefix": {"remit": _NAMESPACE, "prov": "http://www.w3.org/ns/prov#"}}
    for run in runs:
        _run(found, run)
    return found


def _run(found: dict[str, Any], run: RunRows) -> None:
    principal = _add(found, "agent", f"principal/{run.principal}", {"remit:name": run.principal})
    policies = _add(found, "entity", f"policies/{run.policies}", {"prov:type": "prov:Plan"})
    for call in run.calls:
        _call(found, run, call, principal, policies)


def _call(found: dict[str, Any], run: RunRows, call: CallRow, principal: str, policies: str) -> None:
    agent = _add(found, "agent", f"agent/{run.run}/{call.agent or call.task}", {"prov:type": "prov:SoftwareAgent"})
    _relate(found, "actedOnBehalfOf", agent, {"prov:delegate": agent, "prov:responsible": principal})
    times = {"prov:startTime": call.requested, "prov:endTime": call.settled}
    said = {"remit:tool": call.tool, "remit:outcome": call.outcome, "remit:status": call.status}
    said |= {"remit:produced_by": call.produced_by, "remit:changed_by": call.changed_by}
    name = f"call/{run.run}/{call.call}"
    activity = _add(found, "activity", name, {key: value for key, value in {**times, **said}.items() if value})
    association = {"prov:activity": activity, "prov:agent": agent, "prov:plan": policies}
    _relate(found, "wasAssociatedWith", activity, association)
    request = _add(found, "entity", f"request/{run.run}/{call.call}", {"remit:digest": call.digest or "none"})
    _relate(found, "used", activity, {"prov:activity": activity, "prov:entity": request})
    for name, source in call.sources.items():
        origin = f"remit:{_local(f'result/{run.run}/{source}')}"
        derived = {"prov:generatedEntity": request, "prov:usedEntity": origin, "remit:argument": name}
        _relate(found, "wasDerivedFrom", f"{request}/{name}", derived)
    if call.status == "settled" and not call.error:
        result = _add(found, "entity", f"result/{run.run}/{call.call}", {"remit:entry": call.entry})
        if call.produced_by.startswith("person "):  # who answered made it; the call only used it
            person = f"reviewer/{call.produced_by.removeprefix('person ')}"
            reviewer = _add(found, "agent", person, {"prov:type": "prov:Person"})
            _relate(found, "wasAttributedTo", result, {"prov:entity": result, "prov:agent": reviewer})
        else:
            _relate(found, "wasGeneratedBy", result, {"prov:entity": result, "prov:activity": activity})
    for row in call.rulings:
        reviewer = _add(found, "agent", f"reviewer/{row.reviewer}", {"prov:type": "prov:Person"})
        ruling = {"prov:startTime": row.at, "remit:approved": str(row.approved).lower()}
        review = _add(found, "activity", f"review/{row.review}", ruling)
        _relate(found, "wasAssociatedWith", review, {"prov:activity": review, "prov:agent": reviewer})
        _relate(found, "wasInformedBy", activity + review, {"prov:informed": activity, "prov:informant": review})


def _add(found: dict[str, Any], kind: str, name: str, attributes: dict[str, str]) -> str:
    id = f"remit:{_local(name)}"
    found.setdefault(kind, {})[id] = attributes
    return id


def _relate(found: dict[str, Any], kind: str, of: str, attributes: dict[str, str]) -> None:
    found.setdefault(kind, {})[f"_:{kind}-{_local(of)}"] = attributes


def _local(name: str) -> str:
    """Names in PROV have no brackets, spaces or signs: what isn't a letter, digit or `/._-` is written in hex."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "/._-") else f"_{ord(c):x}_" for c in name)
