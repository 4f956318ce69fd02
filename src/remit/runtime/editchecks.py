"""What policy would say of a call as a reviewer wants to change it: asked before the ruling is signed."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.canonical import plain
from remit.core.decide import Approval, Verdict
from remit.core.entries import Outcome, PolicyLoaded
from remit.core.obliging import decide_approved
from remit.core.provenance import flow_of
from remit.core.reviews import ReviewState
from remit.core.rulings import names_of
from remit.errors import BadInput, Stale
from remit.runtime.grants import recorded_policies
from remit.runtime.lineage import FlowUse, lineage_of
from remit.runtime.load import load_run
from remit.runtime.proposals import standing_arguments
from remit.store.journal import Journal


async def check_edit(
    journal: Journal, state: ReviewState, policies: PolicyLoaded, edited: Mapping[str, object], reviewer: str, now: str
) -> Verdict:
    """Returns the verdict on the review's call with `edited` arguments, approved by `reviewer` at `now`.

    It is decided under `policies`, with the facts that were recorded when the review was opened; where its rules look
    at where values come from, what the reviewer wrote counts as theirs. When the call runs it is decided again, with
    the facts of then.

    Args:
        edited: the arguments to change, beside those that reviewers have changed before.
        now: RFC 3339, UTC, microseconds.

    Raises:
        BadInput: policy denies the call as changed.
        Stale: policy was checked against another version of the tool, so nobody can say.
        Tampered: what is stored isn't what was recorded.
    """
    run = await load_run(journal, state.opened.run)
    record = run.calls[state.opened.call].current
    recorded = await recorded_policies(journal, policies)
    if record is None or not recorded.has(record):
        raise Stale(
            f"tool `{state.opened.tool}` isn't the one that the call was asked for any more, so nobody can say whether"
            " policy permits the edit: approve the call as it is, or deny it"
        )
    tool, loaded = recorded.tools[record.tool], recorded.load()
    shown = plain((await journal.payloads(f"review/{state.opened.review}"))[0, "/shown"].value)
    standing = await standing_arguments(journal, state)
    args = {**standing, **edited}
    facts = {
        **shown["facts"],
        "now": now,
        "approval": {"given": True, "reviewers": [*names_of(state.approving), reviewer]},
    }
    if FlowUse(loaded).by(tool.name):
        lineage = lineage_of(run, await journal.payloads(f"run/{run.run}"), recorded.tools)
        written = {name: reviewer for name in args if name in edited or args[name] != shown["args"].get(name)}
        facts |= flow_of(lineage, tool, args, edited=written, readers=loaded.people.readers)
    disclosed = frozenset(hit.digest for hit in state.opened.disclosed)
    verdict = decide_approved(tool, facts, args, loaded, Approval({state.opened.queue: disclosed}))
    if verdict.outcome is Outcome.DENY:
        raise BadInput(
            f"policy denies the call as you changed it, so it isn't approved, and review `{state.opened.review}` stays"
            f" open: {'; '.join(verdict.reasons)}"
        )
    return verdict
