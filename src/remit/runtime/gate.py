"""THE ONE DOOR: capture -> decide -> append -> act. `Gate.call` reads in that order.

No tool runs unless an allow verdict for exactly that call is durably in the journal first. The line that
waits for the append is the commit point: before it nothing has happened, after it the intent is on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from remit.core.canonical import canonical, plain
from remit.core.decide import Verdict
from remit.core.entries import (
    CallAnswered,
    CallDecided,
    CallDecidedAgain,
    CallInDoubt,
    CallIntendedAgain,
    CallRefused,
    CallRejected,
    CallSettled,
    Commitment,
    Obligation,
    Outcome,
    RuleHit,
    Sealed,
)
from remit.core.facts import Facts, as_it_stood, capture, roots
from remit.core.judging import Judged, Standing, passed
from remit.core.labels import by_reviewer, join
from remit.core.lifecycle import CallState
from remit.core.obliging import Obliged, as_obliged, decide_approved, decide_granted, settled
from remit.core.policy import PolicySet
from remit.core.provenance import flow_of
from remit.core.tools import Call, Limits, Repeat, ToolSpec, idempotency_key
from remit.core.typed import Invocation, Tool
from remit.errors import Conflict, InvalidArguments, PolicyError, Problem, TooLarge
from remit.logs import get, is_on
from remit.runtime.ambient import Ambient
from remit.runtime.answers import denied, failed, lost, refusal
from remit.runtime.asking import Decided, Seen, ask_providers
from remit.runtime.counterbook import CounterBook, is_counter
from remit.runtime.drafts import Ask, open_in_doubt, open_reviews, said, write_call, write_change, write_verdict
from remit.runtime.edits import Proposed, answer_of, proposed
from remit.runtime.governing import Following, Governed
from remit.runtime.grantbook import Covered, GrantBook, Usable, are_permitted
from remit.runtime.guards import Guarded, Looked, covered, for_purpose
from remit.runtime.invoke import Invoked, Invoker
from remit.runtime.lineage import FlowUse, keep_lineage
from remit.runtime.outside import words
from remit.runtime.rechecking import recheck
from remit.runtime.registry import Registry
from remit.runtime.secrets import Secrets
from remit.runtime.standings import consume, judged_now, recorded_call, reviews_of, withdraw
from remit.runtime.stream import Draft, RunStream
from remit.runtime.vouching import take_into_account
from remit.store.journal import Journal

_ROUNDS = 4
"""How often what obligations make of a call may change while others are asked about it."""
_log = get(__name__)


class Waiting(Exception):
    """The call waits for people: its task parks."""


class Gate:
    """Every tool call of every run of a process goes through `call`."""

    def __init__(
        self, journal: Journal, registry: Registry, governed: Governed, ambient: Ambient,
        secrets: Secrets | None = None, governing: Following | None = None,
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        """`governing` says whether another set is in force since; without it, this one is to the end."""
        self._journal = journal
        self._registry = registry
        self._ambient = ambient
        self._limits = limits or Limits()
        self._invoker = Invoker(registry.tools, ambient, secrets or Secrets({}, ambient), self._limits.result)
        self._grants = GrantBook(journal, ambient)
        self._counters = CounterBook(journal, ambient)
        self._specs = {spec.name: spec for spec in registry.specs}
        self._governing = governing
        self.govern(governed)

    @property
    def limits(self) -> Limits:
        """How much is kept of arguments, results, inputs and outputs."""
        return self._limits

    @property
    def policies(self) -> PolicySet:
        """The policy set in force."""
        return self._policies

    def govern(self, governed: Governed) -> None:
        """Puts a policy set in force, with the guardrails it was checked against."""
        if governed.policies is not getattr(self, "_policies", None):
            self._policies, self._guards, self._flow = governed.policies, governed.guards, FlowUse(governed.policies)
        self._expires = governed.expires
        self._unchanged = (("policy", governed.head),) if governed.head is not None else ()

    async def _moved(self, stream: RunStream) -> bool:
        """Whether another set is in force than when the last wait began: then what was looked at is looked at again.

        Raises:
            PolicyError: the set in force has expired: nothing runs.
        """
        moved = self._governing is not None and await self._governing.moved()
        if self._governing is not None:
            self.govern(self._governing.now)
        if self._expires and stream.now() >= self._expires:
            expired = Problem("", 0, 0, f"the policy set in force expired at {self._expires}", "activate another")
            stream.break_(PolicyError((expired,)))
            stream.check()
        return moved

    async def call(self, stream: RunStream, ask: Ask) -> bytes:
        """Governs one call and returns its result as canonical bytes.

        Raises:
            InvalidArguments: they don't fit the tool's schema, or there is no such tool.
            Denied: a policy says no.
            Waiting: people are asked.
            ToolFailed: it ran, and failed.
            JournalError: the append failed: nothing happened.
        """
        tool, args = await self._validated(stream, ask)
        first = await self._seen(stream, ask, tool.spec, args)
        grants: Mapping[str, Usable] | None = None
        while True:
            decided = await self._decided(stream, ask, tool, first)
            # The step of the event loop in which it was captured and decided goes on to the commit point: no `await`.
            draft = stream.draft()
            asked = write_call(draft, stream, ask, tool.spec, args)
            call, edited = write_change(draft, asked, decided.obliged)
            grants = self._grants.current(grants)
            if decided.escalates and grants is None and are_permitted(self.policies):
                grants = await self._grants_for(call, tool.spec, decided.facts)
                continue  # time has passed: everything is looked at anew
            by = self._granted(grants, decided, stream, call, tool.spec)
            try:
                written, body = self._enqueued(stream, ask, draft, asked, call, edited, tool.spec, decided, by)
            except TooLarge as error:
                raise await self._rejected(stream, ask, str(error)) from error
            try:
                await asyncio.shield(written)  # THE COMMIT POINT. If this raises, nothing has happened.
            except Conflict:
                stream.check()  # the run is another worker's; or else a grant or a counter has moved on meanwhile
                grants, first = None, await self._seen(stream, ask, tool.spec, args)
                continue
            verdict = by.verdict if by else decided.obliged.verdict
            _tell("decided", ask.tool, verdict, body.reviews)
            if verdict.outcome is Outcome.DENY:
                raise denied(call.record.tool, verdict.reasons)
            if verdict.outcome is Outcome.ESCALATE:
                raise Waiting
            return await self._act(stream, ask, tool, call, body.key)

    def _enqueued(
        self, stream: RunStream, ask: Ask, draft: Draft, asked: Call, call: Call, edited: dict[str, Commitment],
        tool: ToolSpec, decided: Decided, by: Covered | None,
    ) -> tuple[asyncio.Future[None], CallDecided]:  # fmt: skip
        """Enqueues what was decided, with its reviews or the uses of grants. Raises TooLarge."""
        verdict, facts = (by.verdict, by.facts) if by else (decided.obliged.verdict, decided.facts)
        opened = open_reviews(stream, call, tool, facts, verdict, self.policies, self._ambient)
        body = CallDecided(
            asked.record,
            write_verdict(draft, verdict),
            draft.commit("/facts", canonical(facts.document())),
            idempotency_key(call.digest) if verdict.outcome is Outcome.ALLOW else "",
            tuple(sealed.stream.removeprefix("review/") for _, sealed in opened),
            str(tool.cost),
            draft.commit("/findings", canonical(list(decided.found))) if decided.found else None,
            edited,
            call.digest if edited else "",
            draft.commit("/asked", canonical(decided.asked)) if edited else None,
            decided.obliged.covered,
            by.grants if by else (),
        )
        counted = self._counted(decided.seen, call, tool, facts, verdict.outcome, body.reviews)
        # What was changed is kept in memory: a call that waits is decided again with it. It is stored under the set
        # in force, or not at all: the append fails where another one was activated just now.
        written = stream.enqueue(
            draft, f"agent:{ask.agent}", body, others=(*(by.used if by else opened), *counted),
            unchanged=self._unchanged, keep=bool(edited), tries=by is not None or bool(counted),
        )  # fmt: skip
        if by is not None:
            self._grants.handed(by.grants, by.used, written)
        self._counters.handed(counted, written)
        return written, body

    async def _grants_for(self, call: Call, tool: ToolSpec, facts: Facts) -> Mapping[str, Usable]:
        types = self._registry.root_types(tool, self._guards.schemas)
        return await self._grants.usable(self.policies, call.record, tool, types, facts.now)

    def _granted(
        self, grants: Mapping[str, Usable] | None, decided: Decided, stream: RunStream, call: Call, tool: ToolSpec
    ) -> Covered | None:
        """Decides a call that would have to wait again, with what covers it; only an allow makes use of that."""
        if not grants or not decided.escalates:
            return None
        before = decided.obliged.verdict
        by = self._grants.cover(grants, before, stream, call, tool, decided.facts, self.policies)
        if by is None:
            return None
        found = decide_granted(tool, by.facts.document(), call.args, self.policies, by.approval, before)
        return replace(by, verdict=found) if found.outcome is Outcome.ALLOW else None

    async def after_review(self, stream: RunStream, ask: Ask, waiting: CallState) -> bytes:
        """Goes on with a call that was waiting: it is decided again with the rulings among its facts.

        Raises what `call` raises. A no is honoured without asking anything again.
        """
        tool = self._registry.tools[waiting.tool]
        call = recorded_call(stream, waiting)
        before = judged_now(stream, waiting, self.policies.people)
        edit = await proposed(stream, before, tool, call)
        approved = before.standing is Standing.APPROVED
        nothing = Seen(edit.call.args, {}, Looked({}))
        seen = await self._seen(stream, ask, tool.spec, edit.call.args) if approved else nothing
        await stream.ready()
        # One uninterrupted step again.
        judged = judged_now(stream, waiting, self.policies.people)
        settled = judged.standing in (Standing.APPROVED, Standing.ANSWERED)
        if judged.standing is Standing.OPEN or (settled and judged.version != before.version):
            raise Waiting
        if judged.standing is Standing.ANSWERED:
            return await self._answered(stream, waiting, tool.spec, judged, edit)
        call = edit.call
        if judged.standing is not Standing.APPROVED or judged.approval is None or edit.unfit:
            because = "unfit" if edit.unfit else judged.standing.value
            refused = CallRefused(waiting.id, because, judged.rulings)
            left = withdraw(stream, waiting, "refused")
            await asyncio.shield(stream.enqueue(stream.draft(), "gate", refused, others=left))
            raise await refusal(stream, stream.state.calls[waiting.id])
        edited = {**dict.fromkeys(waiting.by_people, waiting.editor), **dict.fromkeys(edit.names, edit.editor)}
        facts = self._capture(stream, ask, tool.spec, seen, judged=judged, edited=edited)
        document = facts.document()
        verdict = decide_approved(tool.spec, document, call.args, self.policies, judged.approval)
        allowed = verdict.outcome is Outcome.ALLOW
        key = idempotency_key(call.digest) if allowed else ""
        opened = open_reviews(stream, call, tool.spec, facts, verdict, self.policies, self._ambient)
        # What one queue has approved stays approved while another is asked.
        kept = [one.opened.review for one in reviews_of(stream, waiting) if one.opened.queue not in verdict.queues]
        asked = [sealed.stream.removeprefix("review/") for _, sealed in opened]
        draft = stream.draft()
        body = CallDecidedAgain(
            call.id,
            write_verdict(draft, verdict),
            draft.commit("/facts", canonical(document)),
            judged.rulings,
            key,
            (*kept, *asked) if asked else (),
            edit.copy(draft),
            edit.editor,
            call.digest if edit.editor else "",
        )
        # The approval is used up in the same append that records the intent: there is no second use.
        used = consume(stream, waiting) if allowed else withdraw(stream, waiting, "decided", body.reviews)
        counted = self._counted(seen, call, tool.spec, facts, verdict.outcome, asked)
        # An edit is kept in memory: a call that waits on is decided again with it.
        written = stream.enqueue(
            draft, f"agent:{ask.agent}", body, others=(*opened, *used, *counted), unchanged=self._unchanged, keep=True,
            tries=bool(counted),
        )  # fmt: skip
        self._counters.handed(counted, written)
        try:
            await asyncio.shield(written)  # THE COMMIT POINT of an approved call.
        except Conflict as error:
            if stream.broken is not None or not is_counter(error.stream):
                stream.break_(error)
                raise
            return await self.after_review(stream, ask, waiting)  # a counter has moved on: nothing has happened
        _tell("decided again", ask.tool, verdict, body.reviews)
        if verdict.outcome is Outcome.DENY:
            raise denied(waiting.tool, verdict.reasons)
        if verdict.outcome is Outcome.ESCALATE:
            raise Waiting
        return await self._act(stream, ask, tool, call, key)

    async def _answered(
        self, stream: RunStream, waiting: CallState, tool: ToolSpec, judged: Judged, edit: Proposed
    ) -> bytes:
        """Gives the agent what a reviewer said in the tool's place; nothing runs."""
        draft = stream.draft()
        result, data = answer_of(draft, edit)
        labels = join(tool.result_labels, by_reviewer((), edit.editor))
        body = CallAnswered(waiting.id, result, edit.editor, judged.rulings, labels)
        used = consume(stream, waiting)
        written = stream.enqueue(draft, "gate", body, others=used)
        if stream.lineage is not None:
            added = [label for label in labels if label not in tool.result_labels]
            stream.lineage.settled(waiting.id, tool, edit.call.args, plain(data), added)
        await asyncio.shield(written)
        return data

    async def recover(self, stream: RunStream, ask: Ask, begun: CallState) -> bytes:
        """Settles a call that was intended by an owner that is gone, and never by guess.

        Idempotent and keyed tools run again with the same key, where the policies in force allow that. Any other is
        asked through its probe, and where that can't say, a person is asked. Raises what `call` raises.
        """
        tool = self._registry.tools[begun.tool]
        call = recorded_call(stream, begun)
        await recheck(stream, begun.id)
        if tool.spec.repeat is not Repeat.ONCE:
            return await self._again(stream, ask, tool, call, begun, "repeat")
        probed = await self._invoker.probe(tool.name, call.args, self._invocation(call, begun.key, 1))
        if probed is None:
            return await self._again(stream, ask, tool, call, begun, "probe")
        if probed.doubt:
            raise await self._in_doubt(stream, call, tool.spec, f"its worker stopped, and {probed.error}")
        return await self._settle(stream, tool.spec, call, probed)

    async def after_doubt(self, stream: RunStream, ask: Ask, doubtful: CallState) -> bytes:
        """Goes on with a call in doubt once a person has said what to do. Raises what `call` raises."""
        tool = self._registry.tools[doubtful.tool]
        call = recorded_call(stream, doubtful)
        judged = judged_now(stream, doubtful, self.policies.people)
        if judged.standing is Standing.OPEN:
            raise Waiting
        if judged.standing is Standing.APPROVED and judged.approval is not None and judged.approval.disclosed:
            return await self._again(stream, ask, tool, call, doubtful, "ruled", judged)
        if judged.standing is Standing.APPROVED:
            why = "who approved it may no more, so it is asked again"
            raise await self._in_doubt(stream, call, tool.spec, why, withdraw(stream, doubtful, "decided"))
        if judged.standing is Standing.EXPIRED:
            raise await self._in_doubt(stream, call, tool.spec, "nobody answered in time, so it is asked again")
        given_up = Invoked(False, error="given up: nobody knows whether it happened", cause="InDoubt")
        return await self._settle(stream, tool.spec, call, given_up)

    # --- the steps ---

    async def _validated(self, stream: RunStream, ask: Ask) -> tuple[Tool[..., object], dict[str, object]]:
        tool = self._registry.tools.get(ask.tool)
        graph = self._registry.graphs.get(stream.state.started.graph)
        if tool is None or graph is None or ask.tool not in graph.tools:
            raise await self._rejected(stream, ask, f"graph `{stream.state.started.graph}` has no tool `{ask.tool}`")
        try:
            args = tool.arguments.normalise(ask.arguments)
        except InvalidArguments as error:
            raise await self._rejected(stream, ask, str(error)) from error
        if (size := len(canonical(args))) > self._limits.arguments:
            words = (
                f"tool `{ask.tool}`: its arguments have {size:,} bytes as JSON, and may have {self._limits.arguments:,}"
            )
            raise await self._rejected(stream, ask, f"{words}: hand over a reference, or raise `Limits.arguments`")
        return tool, args

    async def _rejected(self, stream: RunStream, ask: Ask, words: str, *, covered: bool = False) -> InvalidArguments:
        await stream.ready()
        draft = stream.draft()
        error = draft.commit("/error", canonical(words))
        asked = draft.commit("/args", said(ask.arguments))
        body = CallRejected(ask.id, ask.task, ask.tool[:128], asked, error, covered)
        await asyncio.shield(stream.enqueue(draft, f"agent:{ask.agent}", body))
        return InvalidArguments(words)

    async def _seen(self, stream: RunStream, ask: Ask, tool: ToolSpec, args: Mapping[str, object]) -> Seen:
        """Asks everybody outside; and sees to it that the run's lineage is there, where a rule looks at it."""
        values = await ask_providers(self._registry, stream, ask, tool, args)
        while True:
            seen = Seen(args, values, await self._guards.look(tool.name, args))
            if self._flow.any:
                await take_into_account(stream, self.policies.people)
                if stream.lineage is None:
                    await keep_lineage(stream, self._specs)
            if counters := self.policies.counters.get(tool.name):
                facts = self._capture(stream, ask, tool, seen)
                counting = await self._counters.read(counters, tool.name, roots(facts.document(), tool, args))
                seen = replace(seen, counting=counting)
            if not await self._moved(stream):
                return seen

    def _counted(
        self, seen: Seen, call: Call, tool: ToolSpec, facts: Facts, outcome: Outcome, reviews: Sequence[str]
    ) -> tuple[tuple[Draft, Sealed], ...]:
        """Returns the entries that count a call, for the append of its decision: so no limit is overrun by a race."""
        if not seen.counting.counters:
            return ()
        return self._counters.counted(seen.counting, call, roots(facts.document(), tool, call.args), outcome, reviews)

    async def _decided(self, stream: RunStream, ask: Ask, tool: Tool[..., object], first: Seen) -> Decided:
        """Captures and decides, in the step in which it returns; a call that obligations change, as changed, too."""
        runs, args = first, first.args
        for _ in range(_ROUNDS):
            under = self._policies
            await stream.ready()
            facts = self._capture(stream, ask, tool.spec, first)
            asked = facts.document()
            obliged = as_obliged(tool.spec, asked, args, self.policies)
            if not obliged.changed:
                return Decided(obliged, facts, asked, first.looked.found, first)
            if runs.args == obliged.args:
                facts = self._capture(stream, ask, tool.spec, runs, asked=args)
                document = facts.document()
                obliged = settled(tool.spec, obliged, document, self.policies)
                return Decided(obliged, facts, document, first.looked.found, runs, asked)
            await self._fits(stream, ask, tool, obliged)
            runs = await self._seen(stream, ask, tool.spec, obliged.args)
            if self._policies is not under:
                first = runs = await self._seen(stream, ask, tool.spec, args)
        raise await self._rejected(stream, ask, f"what `{tool.name}` is obliged to be changes all the time")

    async def _fits(self, stream: RunStream, ask: Ask, tool: Tool[..., object], obliged: Obliged) -> None:
        """Raises where the tool itself, which checks more than its schema, doesn't take what policy makes of it."""
        try:
            if tool.arguments.normalise(obliged.args) == obliged.args:
                return
            why = "it takes them for others"
        except InvalidArguments as error:
            why = str(error)
        why = f"`{tool.name}` doesn't take its arguments as policy obliges them: {why}"
        raise await self._rejected(stream, ask, why, covered=bool(obliged.covered))

    def _capture(
        self, stream: RunStream, ask: Ask, tool: ToolSpec, seen: Seen, *, judged: Judged | None = None,
        asked: Mapping[str, object] | None = None, edited: Mapping[str, str] | None = None,
    ) -> Facts:  # fmt: skip
        lineage, readers = stream.lineage if self._flow.by(tool.name) else None, self.policies.people.readers
        facts = capture(
            stream.state,
            now=stream.now(),
            agent=ask.agent,
            agent_version=ask.agent_version,
            task=ask.task,
            values=seen.values,
            approved=judged is not None,
            reviewers=judged.reviewers if judged else (),
            flow=flow_of(lineage, tool, seen.args, asked, edited, readers) if lineage is not None else None,
            findings=seen.looked.facts,
            guarded=seen.looked.masked,
        )
        if not seen.counting.counters:
            return facts
        names = roots(facts.document(), tool, seen.args)
        return replace(facts, counters=self._counters.stand(seen.counting, tool.name, names, facts.now))

    async def _again(
        self, stream: RunStream, ask: Ask, tool: Tool[..., object], call: Call, begun: CallState, because: str,
        judged: Judged | None = None,
    ) -> bytes:  # fmt: skip
        """Runs a call in doubt again, if the policies in force allow it: it is decided anew.

        Facts are taken as they stood when the call was first decided: since then it has been counted, and what fact
        providers say may be its own effect. The policies and the time are those of now. A rule that asked for a review
        then, and got it, doesn't ask again; one that people weren't shown puts the call in doubt. A deny settles it: it
        isn't run again.
        """
        await recheck(stream, begun.id)
        seen = await self._seen(stream, ask, tool.spec, call.args)
        await stream.ready()
        # One uninterrupted step, up to the commit point.
        also = tuple(hit for one in reviews_of(stream, begun) for hit in one.opened.disclosed) if judged else ()
        now = self._capture(stream, ask, tool.spec, seen).document()
        document = as_it_stood(plain(stream.value(begun.decided, "/facts", begun.facts)), now)
        approval = passed(begun.verdict, also)
        verdict = decide_approved(tool.spec, document, call.args, self.policies, approval)
        _tell("decided once more", ask.tool, verdict, ())
        left = withdraw(stream, begun, "decided") if judged else ()
        if verdict.outcome is Outcome.ESCALATE:
            why = f"the policies in force ask for a review before it is run again: {'; '.join(verdict.reasons)}"
            hits = tuple(hit for hit in (*verdict.rules, *verdict.broken) if hit.effect is Outcome.ESCALATE)
            raise await self._in_doubt(stream, call, tool.spec, why, left, hits)
        draft = stream.draft()
        said, facts = write_verdict(draft, verdict), draft.commit("/facts", canonical(document))
        if verdict.outcome is Outcome.DENY:
            words = "nobody knows whether it happened, and it isn't run again: " + "; ".join(verdict.reasons)
            error = draft.commit("/error", canonical(_printable(words)))
            given_up = CallSettled(call.id, False, error=error, cause="InDoubt", verdict=said, facts=facts)
            written = stream.enqueue(draft, "gate", given_up, others=left, unchanged=self._unchanged)
            await asyncio.shield(written)
            raise failed(tool.name, _printable(words), "InDoubt")
        body = CallIntendedAgain(call.id, begun.key, because, judged.rulings if judged else (), said, facts)
        used = consume(stream, begun) if judged else ()
        written = stream.enqueue(draft, "gate", body, others=used, unchanged=self._unchanged)
        await asyncio.shield(written)  # THE COMMIT POINT of a call that is run again.
        return await self._act(stream, ask, tool, call, begun.key, attempt=2)

    async def _act(
        self, stream: RunStream, ask: Ask, tool: Tool[..., object], call: Call, key: str, attempt: int = 1
    ) -> bytes:
        """Runs the tool; the allow verdict and the intent are in the journal."""
        invoked = await self._invoker.invoke(tool.name, call.args, self._invocation(call, key, attempt))
        if invoked.doubt:
            raise await self._in_doubt(stream, call, tool.spec, f"{invoked.cause}: {invoked.error}")
        return await self._settle(stream, tool.spec, call, invoked)

    async def _guarded(
        self, stream: RunStream, tool: ToolSpec, invoked: Invoked, obliged: tuple[Obligation, ...]
    ) -> tuple[Invoked, Guarded]:
        """Returns what the agent may have of a result, and what obligations, guardrails and the purpose did to it."""
        purpose = self.policies.purposes.known.get(stream.state.started.purpose)
        looks = self._guards.guards_results(tool.name)
        if not invoked.is_kept or not (looks or purpose or obliged):
            return invoked, Guarded(None)
        guarded = covered(Guarded(plain(invoked.data)), obliged)
        if looks:
            guarded = await self._guards.look_at_result(tool.name, guarded)
        if purpose is not None:
            guarded = for_purpose(purpose, self._registry.tools[tool.name], guarded)
        return self._fitting(tool.name, invoked, guarded)

    def _fitting(self, tool: str, invoked: Invoked, guarded: Guarded) -> tuple[Invoked, Guarded]:
        if not guarded.refused and any(did.endswith((":mask", ":redact", ":minimise")) for did in guarded.did):
            try:
                invoked = replace(invoked, data=canonical(guarded.value))
                self._registry.tools[tool].results.load(invoked.data)
            except ValueError as error:
                guarded = replace(guarded, refused=f"masked, it is no result of `{tool}` any more: {words(error)}")
        if guarded.refused:
            # The effect has happened, and the agent is told so: what it doesn't get is what came back.
            text = f"`{tool}` ran, and its result was refused: {guarded.refused}"
            invoked = replace(invoked, data=b"", error=text, cause="ResultRefused")
        return invoked, guarded

    async def _settle(self, stream: RunStream, tool: ToolSpec, call: Call, invoked: Invoked) -> bytes:
        obliged = stream.state.calls[call.id].obliged
        invoked, guarded = await self._guarded(stream, tool, invoked, obliged)
        await stream.ready()
        draft = stream.draft()
        result = draft.commit("/result", invoked.data) if invoked.is_kept else None
        error = None if invoked.is_kept else draft.commit("/error", canonical(_printable(invoked.error)))
        body = CallSettled(
            call.id, invoked.ok, result, error, invoked.cause, invoked.attempts, invoked.milliseconds,
            tuple(sorted({*tool.result_labels, *guarded.labels})),
            draft.commit("/findings", canonical(list(guarded.found))) if guarded.found else None,
            draft.commit("/original", canonical(guarded.original)) if guarded.original is not None else None,
            guarded.did,
        )  # fmt: skip
        written = stream.enqueue(draft, f"tool:{tool.name}", body)
        if stream.lineage is not None and invoked.ok:  # in the same step: as the journal has it, in its order
            by_people = stream.state.calls[call.id].by_people
            value = (
                plain(invoked.data) if invoked.is_kept else None
            )  # where it is lost, its arguments count all the same
            stream.lineage.settled(call.id, tool, call.args, value, guarded.labels, by_people)
        await asyncio.shield(written)
        if is_on("info"):
            _log.info(
                "settled", tool=tool.name, ok=body.ok, cause=body.cause, attempts=body.attempts, ms=body.milliseconds
            )
        if not invoked.ok:
            raise failed(tool.name, _printable(invoked.error), invoked.cause)
        if not invoked.is_kept:
            raise lost(tool.name, _printable(invoked.error), invoked.cause)
        return invoked.data

    async def _in_doubt(
        self, stream: RunStream, call: Call, tool: ToolSpec, why: str, left: tuple[tuple[Draft, Sealed], ...] = (),
        disclosed: tuple[RuleHit, ...] = (),
    ) -> Waiting:  # fmt: skip
        await stream.ready()
        opened = open_in_doubt(stream, call, tool, _printable(why), self.policies, self._ambient, disclosed)
        body = CallInDoubt(call.id, opened[1].stream.removeprefix("review/"))
        await asyncio.shield(stream.enqueue(stream.draft(), "gate", body, others=(opened, *left)))
        _log.warning("in doubt", tool=tool.name, review=body.review, why=why)
        return Waiting()

    def _invocation(self, call: Call, key: str, attempt: int) -> Invocation:
        return Invocation(key, call.run, call.id, call.principal, attempt)


def _tell(event: str, tool: str, verdict: Verdict, reviews: Sequence[str]) -> None:
    if not is_on("info"):
        return
    rules = ",".join(f"{hit.policy}/{hit.rule}" for hit in verdict.rules)
    _log.info(event, tool=tool, outcome=verdict.outcome.value, rules=rules, reviews=",".join(reviews))


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
