"""What was approved is rewritten between the approval and the dispatch, or before it."""

from __future__ import annotations

import json
import shutil
from typing import Any

import msgspec

from remit.core.canonical import commitment
from remit.core.entries import CallDecided, ReviewOpened, ReviewRuled, RunStarted
from remit.core.graph import agent as named
from remit.core.tools import call_digest
from remit.probes.ground import DESK, Ground, Waiting, asking, expect, graph_of, paying
from remit.probes.pens import Pen
from remit.runtime.context import Context
from remit.verify import verify

_BYTES = "SET bytes = CAST(replace(CAST(bytes AS TEXT), ?, ?) AS BLOB) WHERE instr(CAST(bytes AS TEXT), ?)"
_TEXT = f"UPDATE entries {_BYTES} AND kind = ?"
_FILES = f"UPDATE artifacts {_BYTES}"
_VALUE = "UPDATE payloads SET value = CAST('\"villa\"' AS BLOB) WHERE path = '/args/what'"


async def _nothing_runs(ground: Ground, waiting: Waiting, what: str) -> None:
    said = await ground.resumes(waiting)
    expect(not ground.done, f"{what} was rewritten, and {ground.done} ran: {said}")


async def rewritten_arguments_do_not_run_under_the_approval_of_others(ground: Ground) -> None:
    """the pending call's arguments are changed in the store, after or before the approval"""
    statements = {
        "value": _VALUE,
        "salt": "UPDATE payloads SET salt = zeroblob(16) WHERE path = '/args/what'",
        "gone": "DELETE FROM payloads WHERE path = '/args/what'",
    }
    for name, statement in statements.items():
        here = ground.another(name)
        waiting = await here.approved()
        here.sql(statement)
        await _nothing_runs(here, waiting, f"an argument's {name}")
    here = ground.another("before")
    waiting = await here.waits()
    here.sql(_VALUE)
    await here.rules(waiting.review, "ann")
    await _nothing_runs(here, waiting, "an argument before the approval")


async def what_the_reviewer_could_not_be_shown_can_not_be_approved(ground: Ground) -> None:
    """what reviewers are to be shown is changed in the store, or deleted"""
    for name, change in (
        ("changed", "UPDATE payloads SET value = CAST('{}' AS BLOB)"),
        ("gone", "DELETE FROM payloads"),
    ):
        here = ground.another(name)
        waiting = await here.waits()
        here.sql(f"{change} WHERE path = '/shown'")
        await here.refuses(waiting.review, "ann")
        await _nothing_runs(here, waiting, "what is shown")


async def a_chain_of_hashes_made_anew_over_other_arguments_has_no_signature(ground: Ground) -> None:
    """arguments, commitments, digests and every hash are rewritten consistently; only the key is missing"""
    for by, rewrite in (("arguments", _other_arguments), ("principal", _other_principal)):
        here = ground.another(by)
        waiting = await here.approved()
        await rewrite(here, waiting)
        said = await here.resumes(waiting)
        expect(not here.done, f"other {by} ran under a signature that isn't over them: {said}")
        expect(not await here.verifies(), f"an auditor doesn't see the other {by}")


async def _other_arguments(ground: Ground, waiting: Waiting) -> None:
    async with ground.journal() as journal:
        payloads = await journal.payloads(f"run/{waiting.run}")
    (salt,) = (one.salt for (_, path), one in payloads.items() if path == "/args/what")
    said = commitment(salt, b'"villa"')
    ground.sql(_VALUE)

    def change(body: Any) -> Any:
        if not isinstance(body, CallDecided):
            return body
        call = msgspec.structs.replace(body.call, args={**body.call.args, "what": said})
        return msgspec.structs.replace(body, call=call)

    await _digests_anew(ground, waiting, change)


async def _other_principal(ground: Ground, waiting: Waiting) -> None:
    def change(body: Any) -> Any:
        return msgspec.structs.replace(body, principal="rob") if isinstance(body, RunStarted) else body

    await _digests_anew(ground, waiting, change, principal="rob")


async def _digests_anew(ground: Ground, waiting: Waiting, change: Any, principal: str = "me") -> None:
    """Rewrites the run, then its review, so that both name the digest of the call as it is now."""
    digests = []

    def in_run(body: Any) -> Any:
        body = change(body)
        if isinstance(body, CallDecided):
            digests.append(call_digest(waiting.run, principal, body.call))
            body = msgspec.structs.replace(body, call=msgspec.structs.replace(body.call, digest=digests[0]))
        return body

    def in_review(body: Any) -> Any:
        if isinstance(body, ReviewOpened):
            return msgspec.structs.replace(body, digest=digests[0], principal=principal)
        return msgspec.structs.replace(body, digest=digests[0]) if isinstance(body, ReviewRuled) else body

    await ground.rewrites(f"run/{waiting.run}", in_run)
    await ground.rewrites(f"review/{waiting.review}", in_review)


async def an_approval_is_void_for_another_principal_agent_tool_or_policy(ground: Ground) -> None:
    """principal, agent, tool or policy set of the pending call are rewritten in the store"""
    fields = {
        "the principal": ('"principal":"me"', '"principal":"rob"', "run.started"),
        "the agent": ('"agent":"agent"', '"agent":"other"', "call.decided"),
        "the tool": ('"tool":"pay"', '"tool":"pax"', "call.decided"),
        "the tool's digest": ('"tool_digest":"', '"tool_digest":"0', "call.decided"),
        "the policy set": ('"policies":"', '"policies":"0', "call.decided"),
        "the outcome": ('"outcome":"escalate"', '"outcome":"allow"', "call.decided"),
        "the reviewer": ('"reviewer":"ann"', '"reviewer":"bob"', "review.ruled"),
        "the deadline": ('"expires":"2026', '"expires":"2036', "review.opened"),
    }
    for number, (name, (old, new, kind)) in enumerate(fields.items()):
        here = ground.another(f"field-{number}")
        waiting = await here.approved()
        here.sql((_TEXT, old, new, old, kind))
        await _nothing_runs(here, waiting, name)


async def reviewers_that_are_written_into_the_store_are_none(ground: Ground) -> None:
    """in the store's copy of the policy files a reviewer's key, or the quorum, is replaced"""
    changes = {
        "key": (Pen("ann").public.text, Pen("mallory").public.text),
        "quorum": ('"approvals": 2', '"approvals": 1'),
    }
    for name, (old, new) in changes.items():
        here = ground.another(name).queues(desk={**DESK, "approvals": 2})
        waiting = await here.waits()
        old, new = (json.dumps(text)[1:-1] for text in (old, new))  # a file is a text in JSON
        here.sql((_FILES, old, new, old))
        said = await here.refuses(waiting.review, "ann", pen="mallory" if name == "key" else "ann")
        expect("Tampered" in said or "digest" in said, said)
        await _nothing_runs(here, waiting, f"the {name} in the policy files")
        expect(not await here.verifies(), f"an auditor doesn't see another {name}")


async def an_approval_is_void_for_another_version_of_the_tool_or_the_agent(ground: Ground) -> None:
    """a new version of the tool or the agent is deployed after the approval"""
    waiting = await ground.approved()
    act = ground.tool()
    graphs = {
        "tool": paying(ground.tool(timeout=61), what="rent", amount=7),
        "arguments": paying(act, what="villa", amount=7),
        "agent": graph_of(named(version="2")(asking(act, what="rent", amount=7)), act),
    }
    for name, graph in graphs.items():
        said = await ground.resumes(waiting, graph)
        expect(not ground.done, f"with another {name} {ground.done} ran: {said}")
    expect(await ground.resumes(waiting) == "did rent", "the call that was approved doesn't run any more")


async def an_agent_that_renames_its_call_to_an_ungated_tool_does_not_get_the_approval(ground: Ground) -> None:
    """after the approval the agent makes its call to another tool"""
    first, other = ground.tool(), ground.tool("ungated")
    tools = [first]

    async def agent(ctx: Context) -> str:
        return await ctx.call(tools[0], what="rent")

    waiting = await ground.waits(graph_of(agent, first, other))
    await ground.rules(waiting.review, "ann")
    tools[0] = other
    await _nothing_runs(ground, waiting, "the tool's name")


async def a_rewritten_journal_does_not_verify(ground: Ground) -> None:
    """who ruled, what was decided or when is changed in an exported journal, or its last entry is cut off"""
    waiting = await ground.waits()
    await ground.rules(waiting.review, "ann")
    await ground.resumes(waiting)
    whole = await ground.export()
    text = (whole / "entries.jsonl").read_bytes()
    spoilt = {
        "the reviewer": text.replace(b'"reviewer":"ann"', b'"reviewer":"bob"'),
        "the outcome": text.replace(b'"outcome":"escalate"', b'"outcome":"allow"'),
        "the time": text.replace(b'"at":"2026', b'"at":"2025'),
        "the last entry": b"".join(text.splitlines(keepends=True)[:-1]),
    }
    for name, data in spoilt.items():
        expect(data != text, f"the probe changed nothing: {name}")
        copy = ground.folder / f"spoilt {name}"
        shutil.copytree(whole, copy)
        (copy / "entries.jsonl").write_bytes(data)
        expect(not verify(copy).ok, f"an export with {name} changed verifies")
