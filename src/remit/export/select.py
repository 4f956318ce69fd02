"""Which runs an export is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from remit.core.lifecycle import CallState, RunState, fold
from remit.store.journal import Journal
from remit.store.projections import Projections


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that a run meets, all of them; an empty one is met by every run.

    Attributes:
        since, until: RFC 3339; the run was started in between, the end left out.
        tool: it has a call of this tool.
        outcome: it has a call (of `tool`, if that is given) with this verdict: allow, escalate or deny.
    """

    since: str = ""
    until: str = ""
    principal: str = ""
    tool: str = ""
    outcome: str = ""

    def __bool__(self) -> bool:
        return any((self.since, self.until, self.principal, self.tool, self.outcome))


async def select_runs(journal: Journal, selection: Selection) -> Sequence[str]:
    """Returns the ids of the runs that `selection` is met by, the oldest first."""
    found = []
    for row in reversed(await Projections(journal).runs()):
        if selection.since and row.started < selection.since:
            continue
        if selection.until and row.started >= selection.until:
            continue
        if selection.principal and row.principal != selection.principal:
            continue
        if (selection.tool or selection.outcome) and not await _has_call(journal, row.run, selection):
            continue
        found.append(row.run)
    return found


async def _has_call(journal: Journal, run: str, selection: Selection) -> bool:
    state = fold(await journal.read(f"run/{run}"))
    return isinstance(state, RunState) and any(_fits(call, selection) for call in state.calls.values())


def _fits(call: CallState, selection: Selection) -> bool:
    outcome = call.verdict.outcome.value if call.verdict else ""
    return (not selection.tool or call.tool == selection.tool) and (
        not selection.outcome or outcome == selection.outcome
    )
