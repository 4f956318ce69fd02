"""Who can write the store and holds no key: nothing that they write there makes anything run."""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec

from remit.core.canonical import commitment
from remit.core.entries import (
    CallDecided,
    CallDecidedAgain,
    CallRecord,
    Owned,
    PolicyLoaded,
    ReviewOpened,
    ReviewRuled,
    Ruling,
    TaskStarted,
    VerdictRecord,
)
from remit.core.entries import Outcome as Verdict
from remit.core.graph import FactRequest, Graph, Task, fact
from remit.core.tools import call_digest, idempotency_key
from remit.errors import Denied, Misuse
from remit.probes.ground import Ground, asking, expect, graph_of, paying
from remit.runtime.context import Context

_SALT = bytes(16)


async def _starts(ground: Ground, graph: Graph) -> str:
    async with ground.runtime(graph) as runtime:
        return await runtime.start(graph, principal="me")


async def _tries(ground: Ground, graph: Graph, run: str) -> str:
    return await ground._said(graph, "prober", lambda runtime: runtime.resume(run))


async def a_forged_allow_in_the_store_runs_nothing(ground: Ground) -> None:
    """under a deny-all policy a run's task and an allow are written into the store, also with its journal key"""
    for repeat, stolen in product(("keyed", "idempotent"), (False, True)):
        here = ground.another(f"{repeat}-{stolen}").policy({"id": "no", "deny": "true"})
        here.stolen = stolen
        act = here.tool(repeat=repeat)
        graph = paying(act, what="rent", amount=7)
        run = await _starts(here, graph)
        loaded: Any = next(e.body for e in reversed(await here.entries("policy")) if isinstance(e.body, PolicyLoaded))
        values = {"what": b'"rent"', "amount": b"7"}
        said = {name: commitment(_SALT, value) for name, value in values.items()}
        record = CallRecord("work#0", "agent", "1", "work", "pay", act.spec.digest, said, "")
        record = msgspec.structs.replace(record, digest=call_digest(run, "me", record))
        verdict = VerdictRecord(Verdict.ALLOW, loaded.digest)
        decided = CallDecided(record, verdict, commitment(_SALT, b"{}"), idempotency_key(record.digest))
        for body, who in (
            (Owned(1, "ghost"), "ghost"),
            (TaskStarted("work", "agent", "1"), "scheduler"),
            (decided, "x"),
        ):
            await here.adds(f"run/{run}", body, who)
        here.sql(
            *(
                (
                    "INSERT INTO payloads (stream_id, seq, path, salt, value)"
                    " SELECT id, 3, ?, ?, ? FROM streams WHERE name = ?",
                    f"/args/{name}", _SALT, value, f"run/{run}",
                )
                for name, value in values.items()
            )
        )  # fmt: skip
        told = await _tries(here, graph, run)
        expect(not here.done, f"a forged allow ran a {repeat} tool: {told}")
        words = ("what let it begin doesn't hold",) if stolen else ("authentic", "entries are missing")
        expect(any(word in told for word in words), f"nobody said what is wrong: {told}")


async def a_forged_allow_at_the_resume_of_a_waiting_call_runs_nothing(ground: Ground) -> None:
    """a call waits for people, and an unsigned approval, or the decision after it, is written into the store"""
    for name in ("ruling", "decision"):
        here = ground.another(name)
        waiting = await here.waits()
        opened: Any = (await here.entries(f"review/{waiting.review}"))[0].body
        expect(isinstance(opened, ReviewOpened), "the probe is wrong")
        if name == "ruling":
            body = ReviewRuled(waiting.review, opened.digest, True, "ann", single_operator=True, expires=opened.expires)
            await here.adds(f"review/{waiting.review}", body, "reviewer:ann")
        else:
            verdict = VerdictRecord(Verdict.ALLOW, "0" * 64)
            ruling = Ruling(waiting.review, "0" * 64)
            again = CallDecidedAgain(
                opened.call, verdict, commitment(_SALT, b"{}"), (ruling,), idempotency_key(opened.digest)
            )
            await here.adds(f"run/{opened.run}", again, "agent:agent")
        told = await here.resumes(waiting)
        expect(not here.done, f"a forged {name} ran the call: {told}")


async def a_store_that_was_cut_or_put_back_runs_nothing(ground: Ground) -> None:
    """after the effect its entries are cut off, or an older copy is put in the store's place, and the run resumed"""
    for name in ("cut", "put back"):
        here = ground.another(name)
        waiting = await here.approved()
        older = here.backup("older.db")
        await here.resumes(waiting)
        expect(len(here.done) == 1, "the probe is wrong: the approved call did not run")
        if name == "cut":
            here.sql("DELETE FROM entries WHERE position > (SELECT max(position) - 4 FROM entries)")
        else:
            here.restore(older)
        told = await here.resumes(waiting)
        expect(len(here.done) == 1, f"the effect was repeated from a store that was {name}: {told}")
        expect(told.startswith(("NotAuthentic", "Tampered")), f"nobody said what is wrong: {told}")


async def a_borrowed_context_calls_nothing(ground: Ground) -> None:
    """an agent that policy denies keeps another's context, and calls through it, for another principal"""
    kept: list[Context] = []
    act = ground.policy({"id": "boss", "allow": "run.principal == 'boss'"}).tool()

    async def agent(ctx: Context) -> str:
        if ctx.principal == "boss":
            kept.append(ctx)
            return await ctx.call(act, what="mine", amount=1)
        try:
            return await kept[0].call(act, what="stolen", amount=7)
        except (Misuse, Denied) as error:
            return type(error).__name__

    graph = graph_of(agent, act)
    async with ground.runtime(graph) as runtime:
        await runtime.run(graph, principal="boss")
        report = await runtime.run(graph, principal="intern")
    expect([effect.what for effect in ground.done] == ["mine"], f"a borrowed context called: {report.output}")
    expect(report.output == "Misuse", f"a borrowed context was not refused: {report.output}")


async def arguments_changed_by_a_provider_change_no_call(ground: Ground) -> None:
    """a fact provider keeps the arguments that it is shown, and writes another amount into them, then and later"""
    act = ground.policy({"id": "small", "allow": "args.amount <= 10 && facts.curious"}).tool()
    kept: list[Any] = []

    @fact(tools=[act])
    def curious(request: FactRequest) -> bool:
        kept.append(request.args)
        kept[-1]["amount"] = 1_000_000
        return True

    @fact(tools=[act])
    def later(request: FactRequest) -> bool:
        for args in kept:
            args["amount"] = 1_000_000
        return True

    graph = Graph("app", [Task("work", asking(act, what="rent", amount=5))], tools=[act], facts=[curious, later])
    said = await ground.runs(graph)
    expect([effect.amount for effect in ground.done] == [5], f"another amount than was decided was paid: {said}")
    expect(await ground.verifies(), "what ran does not verify")
