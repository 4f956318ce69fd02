"""The lineage of a run: made from its entries and payloads alone, and kept up as calls settle.

It costs memory and time, so there is one only where a rule of the policy set looks at it. Where it is needed for the
first time in the middle of a run, it is made of what the journal holds by then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from remit.core import provenance
from remit.core.canonical import plain
from remit.core.entries import Commitment, Payload, is_committed
from remit.core.lifecycle import CallState, RunState
from remit.core.origins import Endorsement, Lineage
from remit.core.policy import CompiledRule, PolicySet
from remit.core.tools import ToolSpec
from remit.errors import Tampered
from remit.runtime.stream import RunStream

Payloads = Mapping[tuple[int, str], Payload]
_NAMES = re.compile(rf"\b(?:{'|'.join(provenance.ROOTS)})\b")


class FlowUse:
    """Which tools of a policy set have a rule that looks at provenance."""

    def __init__(self, policies: PolicySet) -> None:
        self._policies = policies
        self._tools = lru_cache(maxsize=4096)(self._looks)
        self.any = any(map(self._looks, {*policies.enforced, *policies.shadowed}))

    def by(self, tool: str) -> bool:
        """Whether a rule on this tool looks at it."""
        return self.any and self._tools(tool)

    def _looks(self, tool: str) -> bool:
        return any(map(_looks, (*self._policies.rules_for(tool), *self._policies.shadow_for(tool))))


def _looks(rule: CompiledRule) -> bool:
    """By the text: a name in a string counts too, and costs a look-up that nobody needed."""
    said = rule.reason.parts if rule.reason is not None else ()
    texts = [rule.condition.source, *(part.source for part in said if not isinstance(part, str))]
    return any(_NAMES.search(text) for text in texts)


async def keep_lineage(stream: RunStream, tools: Mapping[str, ToolSpec]) -> Lineage:
    """Returns the run's lineage as it stands; makes it where there is none yet. Raises Tampered.

    Until it is made others may settle: then it is made again, of what is in the journal by then.
    """
    while stream.lineage is None:
        head = stream.state.head
        await stream.flushed()
        payloads = await stream.journal.payloads(stream.name)
        if stream.lineage is None and stream.state.head == head:
            stream.lineage = lineage_of(stream.state, payloads, tools)
    return stream.lineage


def lineage_of(state: RunState, payloads: Payloads, tools: Mapping[str, ToolSpec]) -> Lineage:
    """Returns the lineage that a run's entries and payloads make; the same whenever it is made. Raises Tampered."""
    lineage = begun(state, payloads, tools)
    settled = sorted((call for call in state.calls.values() if call.settled >= 0), key=lambda call: call.settled)
    for call in settled:
        settle(lineage, state, call, payloads, tools)
    return lineage


def begun(state: RunState, payloads: Payloads, tools: Mapping[str, ToolSpec], until: int | None = None) -> Lineage:
    """Returns the lineage as it was when the run was started: of its input. Raises Tampered.

    What people have vouched for since counts from the start: the lineage is made anew when it is taken into account.

    Args:
        until: the run's entry from which on nothing counts; all does, unless said.
    """
    stated: dict[str, Any] = {}
    if state.started.endorsed is not None:
        stated = plain(_value(state, payloads, 0, "/endorsed", state.started.endorsed))
    sources, removed = list(stated.get("sources", ())), []
    for one in state.vouched:
        if until is None or one.seq < until:
            source = plain(_value(state, payloads, one.seq, "/source", one.body.source))
            if one.body.label:
                removed.append((one.body.label, Endorsement(source)))
            else:
                sources.append(source)
    lineage = Lineage(tuple(map(Endorsement, sources)), frozenset(tools), removed=tuple(removed))
    lineage.index.add_input(plain(_value(state, payloads, 0, "/input", state.started.input)), stated.get("labels", {}))
    return lineage


def settle(
    lineage: Lineage, state: RunState, call: CallState, payloads: Payloads, tools: Mapping[str, ToolSpec]
) -> None:
    """Adds what a settled call was given and returned; nothing was where its result is lost. Raises Tampered."""
    if not call.ok or call.record is None:
        return
    spec = tools.get(call.tool)
    if spec is None:
        raise Tampered(f"run/{state.run}: call `{call.id}`: there is no tool `{call.tool}` any more")
    args = {
        name: plain(_value(state, payloads, call.seq, f"/args/{name}", said)) for name, said in call.record.args.items()
    }
    for name, (said, seq) in call.edited.items():
        args[name] = plain(_value(state, payloads, seq, f"/edited/{name}", said))
    result = None if call.lost else plain(_value(state, payloads, call.settled, "/result", call.commitment))
    more = [label for label in call.labels if label not in spec.result_labels]
    lineage.settled(call.id, spec, args, result, more, call.by_people)


def _value(state: RunState, payloads: Payloads, seq: int, path: str, said: Commitment | None) -> bytes:
    found = payloads.get((seq, path))
    if found is None:
        raise Tampered(f"run/{state.run}#{seq} {path}: the payload is not there: it was erased or removed")
    if not is_committed(found, said):
        raise Tampered(f"run/{state.run}#{seq} {path}: the payload is not what the entry committed to")
    return found.value
