"""Runtime: the composition root; an async context manager."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic_core import PydanticSerializationError, ValidationError, to_jsonable_python

from remit.core.canonical import canonical, digest_bytes
from remit.core.entries import Commitment, Head, RunStarted
from remit.core.graph import Graph
from remit.core.identity import spelt, unfit
from remit.core.kernel import deadline, next_commands
from remit.core.lifecycle import RunState, RunStatus, is_quarantined
from remit.core.matching import words
from remit.core.notes import VerifierKey
from remit.core.policy import PolicySet
from remit.core.tools import LABEL, Limits
from remit.errors import (
    BadInput,
    Conflict,
    JournalError,
    NewerJournal,
    OwnershipLost,
    PolicyError,
    RunError,
    SettingsError,
    Tampered,
    UnknownId,
)
from remit.logs import get
from remit.runtime.ambient import Ambient, NeverBack, System, new_id, stamp, user
from remit.runtime.candidates import Candidates
from remit.runtime.checkpoints import Checkpoints
from remit.runtime.gate import Gate
from remit.runtime.governing import Governing
from remit.runtime.guards import load_governed
from remit.runtime.keys import KeyRing
from remit.runtime.load import load_reviews, load_run
from remit.runtime.policyfolder import read_policies
from remit.runtime.recover import take
from remit.runtime.registry import Registry
from remit.runtime.scheduler import Drive, RunReport
from remit.runtime.secrets import Provider, Secrets, kept_outside
from remit.runtime.stalls import watched
from remit.runtime.stream import Draft, RunStream
from remit.store.journal import Append, Artifact, Journal, JournalKeys
from remit.store.leases import Leases
from remit.store.projections import Projections

LEASE_SECONDS = 15.0
_SWEEP_SECONDS = 5.0
_REDRIVES = 3


class Runtime:
    """Runs graphs under a folder of policies, with a store for the journal.

    Use it as `async with Runtime(graph, policies="policies", store="sqlite:///remit.db") as runtime`.
    Nothing runs where the policies are missing, broken or unreadable: entering raises PolicyError. Once the store has
    an activation, that set is in force, and the folder is a draft; `policy_keys` are the public keys whose activations
    count, those in the folder `keys` if not given. `secrets` is where the tools' are: a mapping, or
    what is asked by name; the environment (`REMIT_SECRET_<name>`) if not given. What is written is authenticated by the
    store's journal key: a file in `keys`, made with the store, or `journal_key`, 64 hex digits given to every worker.
    `limits` says how large arguments, results, inputs and outputs may be.
    """

    def __init__(
        self,
        *graphs: Graph,
        store: str = "sqlite:///remit.db",
        policies: str | Path = "policies",
        keys: str | Path = "keys",
        anchor: str = "",
        packs: Sequence[str] = (),
        secrets: Provider | None = None,
        policy_keys: Sequence[str] = (),
        ambient: Ambient | None = None,
        worker: str = "",
        journal_key: str = "",
        limits: Limits | None = None,
    ) -> None:
        self._packs = tuple(packs)
        self._limits = limits or Limits()
        self._registry = Registry(graphs)
        self._store = store
        self._folder = policies
        self._keys = KeyRing(keys)
        self._journal_keys = JournalKeys(keys, journal_key)
        self._anchor = anchor
        self._policy_keys = tuple(policy_keys)
        self._pinned: dict[str, Gate] = {}
        self._ambient: Ambient = ambient or System()
        # A runtime's own: what one has handed out is taken out of what its tools return.
        self._secrets = Secrets(kept_outside({}) if secrets is None else secrets, self._ambient)
        self.worker = worker or f"{user()}@{socket.gethostname()}:{os.getpid()}:{new_id(self._ambient)[:4]}"

    async def __aenter__(self) -> Runtime:
        async with AsyncExitStack() as opening:
            self.journal = await opening.enter_async_context(await self._opened())
            self._ambient = NeverBack(self._ambient, await self.journal.latest())
            self._leases = Leases(self.journal)
            self.projections = Projections(self.journal)
            self._candidates = Candidates(self.projections, self._leases)
            self._checkpoints = Checkpoints(self.journal, self._keys, self._ambient, self._anchor)
            await self._checkpoints.check_anchor()
            self._governing = Governing(
                self.journal, self._registry, self._ambient, self.worker, folder=str(self._folder), packs=self._packs,
                ring=self._keys, trusted=[VerifierKey.parse(key) for key in self._policy_keys],
            )  # fmt: skip
            now = await self._governing.begin()
            self._gate = Gate(
                self.journal, self._registry, now, self._ambient, self._secrets, self._governing, self._limits
            )
            await opening.enter_async_context(_beside(self._checkpoints.keep()))
            opening.enter_context(watched(asyncio.get_running_loop()))
            self._open = opening.pop_all()
        return self

    async def _opened(self) -> Journal:
        """Opens the store; a new one only where there are policies to run under."""
        try:
            return await Journal.open(self._store, create=False, keys=self._journal_keys, authentic=True)
        except SettingsError:
            load_governed(self._folder, read_policies(self._folder, self._packs), self._registry, self._ambient)
            return await Journal.open(self._store, keys=self._journal_keys, authentic=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    # --- policies ---

    @property
    def policies(self) -> PolicySet:
        """The policy set in force."""
        return self._gate.policies

    async def reload_policies(self) -> None:
        """Looks whether another set is in force: activated, or without any activation, in the folder.

        What is refused changes nothing in a worker that runs: the last good set stays, and the log has an error.
        """
        self._gate.govern(await self._governing.reload())

    async def _gate_of(self, state: RunState) -> Gate:
        """The gate of a run: one that is pinned has one of its own, under the set that it was started with."""
        started = state.started
        if not started.pinned:
            return self._gate
        if started.policies not in self._pinned:
            pinned = await self._governing.pinned(started.policies)
            self._pinned[started.policies] = Gate(
                self.journal, self._registry, pinned.now, self._ambient, self._secrets, pinned, self._limits
            )
        return self._pinned[started.policies]

    # --- runs ---

    async def start(
        self, graph: Graph | str, input: object = None, *, principal: str, target: str = "",
        endorse: Sequence[str] = (), labels: Mapping[str, Sequence[str]] | None = None, purpose: str = "",
    ) -> str:  # fmt: skip
        """Records a new run, without driving it, and returns its id.

        Args:
            endorse: sources that the principal endorses for this run: `tool`, `tool/part` or a source's name, such
                as `bill-december.txt`. What they say counts as if the principal had said it.
            labels: JSON pointer into the input to labels, where a part of it is not the principal's own words.
            purpose: what the run is for, as purposes.yaml names it: it limits the run's tools, data and columns.

        Raises:
            BadInput: no such graph, no principal or not one of the purpose's, or an input that has no JSON form.
        """
        known = self._graph(graph if isinstance(graph, str) else graph.name)
        _check_names(principal, self.policies)
        if refusal := self.policies.purposes.refusal(purpose, principal):
            raise BadInput(refusal)
        try:
            plain = canonical(to_jsonable_python(input, inf_nan_mode="constants"))
        except (PydanticSerializationError, ValueError) as error:
            raise BadInput(f"the run's input has no JSON form: {error}") from error
        if len(plain) > self._limits.input:
            raise BadInput(
                f"the run's input has {len(plain):,} bytes as JSON, and may have {self._limits.input:,}: hand over a"
                " reference, or raise `Limits.input`"
            )
        _check_input(known, plain)
        run = new_id(self._ambient)
        artifacts = (
            _artifact("graph", known.bytes),
            *(_artifact("tool", tool.spec.bytes) for tool in known.tools.values()),
        )
        while True:
            draft = Draft(f"run/{run}", Head(), self._ambient)
            pinned = known.policies == "pinned"
            now = await self._governing.reload() if pinned else self._governing.now
            body = RunStarted(
                run, known.name, known.digest, principal, user(), target, now.policies.digest,
                draft.commit("/input", plain), _endorsed(draft, known, endorse, labels or {}), purpose, pinned,
            )  # fmt: skip
            sealed = draft.seal(self.worker, body)
            # Nobody is pinned to a set that isn't in force any more.
            unchanged = (("policy", now.head),) if pinned and now.head is not None else ()
            try:
                await self.journal.append(Append((sealed,), tuple(draft.payloads), artifacts, unchanged))
            except Conflict:
                if not pinned:
                    raise
                continue
            return run

    async def run(
        self,
        graph: Graph | str,
        input: object = None,
        *,
        principal: str,
        wait: bool = False,
        target: str = "",
        endorse: Sequence[str] = (),
        labels: Mapping[str, Sequence[str]] | None = None,
        purpose: str = "",
    ) -> RunReport:
        """Starts a run and drives it to its end, or until it only waits for people (with `wait`, further)."""
        run = await self.start(
            graph, input, principal=principal, target=target, endorse=endorse, labels=labels, purpose=purpose
        )
        return await self.resume(run, wait=wait)

    async def resume(self, run: str, *, wait: bool = False) -> RunReport:
        """Drives a run on from where it is, in whichever process it was before.

        Raises:
            UnknownId: there is no such run.
            OwnershipLost: another worker is driving it.
            ReplayMismatch: the agents no longer do what the journal says.
            PolicyError: the policy set in force has expired.
            RunError: its purpose isn't there any more, or its code is another.
        """
        await self.reload_policies()
        state = await load_run(self.journal, run)
        gate = await self._gate_of(state)
        _check_purpose(state, gate.policies)
        graph = self._graph_of(state)
        for _ in range(_REDRIVES):
            if not await self._has_work(graph, state) and not (wait and state.status is RunStatus.RUNNING):
                return await self._report(graph, state)
            async with self._leased(run):
                await self.journal.check_whole()
                stream = await take(self.journal, self._ambient, state, self.worker)
                try:
                    report = await self._drive(gate, graph, stream, wait)
                    await self._checkpoint()
                    return report
                except Conflict:
                    # Somebody else wrote: the run itself (then it is theirs), or a review that it counted on.
                    state = await load_run(self.journal, run)
                    if state.worker != self.worker:
                        raise OwnershipLost(f"run `{run}` was taken over by {state.worker}") from None
        raise RunError(
            f"run `{run}`: its reviews, or the policies, change faster than they can be read: resume it again"
        )

    async def _checkpoint(self) -> None:
        """At the end of a going; that the anchor can't be reached doesn't undo what was done."""
        try:
            await self._checkpoints.make()
        except SettingsError as error:
            get().error("checkpoint not anchored", error=str(error))

    async def _drive(self, gate: Gate, graph: Graph, stream: RunStream, wait: bool) -> RunReport:
        position = await self.journal.position()
        while True:
            drive = Drive(gate, self._registry, graph, stream)
            report = await drive.drive()
            if report.status != "waiting" or not wait:
                return report
            await self._until_news(position, deadline(stream.state, stream.reviews))
            position = await self.journal.position()
            await self.reload_policies()
            _check_purpose(stream.state, gate.policies)
            await drive.refresh()

    async def work(self, *, once: bool = False) -> AsyncGenerator[RunReport]:
        """Drives every run of this app that can go on, as rulings and deadlines make it so, for ever.

        Args:
            once: stop when nothing can go on any more.
        """
        while True:
            position = await self.journal.position()
            worked = False
            for run in await self._ready():
                try:
                    yield await self.resume(run)
                    worked = True
                except OwnershipLost:
                    continue
                except PolicyError as error:
                    if once:
                        raise
                    get().error("nothing runs", error=str(error))
                except (RunError, Tampered, NewerJournal) as error:
                    get().error("run stopped", run=run, error=str(error))
            if worked or not self._candidates.all_seen:
                continue
            if once:
                return
            await self._until_news(position, "")

    async def _until_news(self, position: int, deadline: str) -> None:
        """Waits until somebody appends, a review's deadline, or the next sweep: whichever is first."""
        seconds = _SWEEP_SECONDS
        if deadline:
            now = stamp(self._ambient.now())
            seconds = 0.0 if deadline <= now else min(seconds, _seconds_between(now, deadline))
        await self.journal.wait(position, max(seconds, 0.05))

    async def _ready(self) -> list[str]:
        """Runs of this app that nobody drives and that can go on."""
        ready = []
        for run in await self._candidates.next(self._ambient.now()):
            try:
                if await self._is_ready(run):
                    ready.append(run)
            except (Tampered, NewerJournal) as error:
                get().error("run can't be read", run=run, error=str(error))
        return ready

    async def _is_ready(self, run: str) -> bool:
        state = await load_run(self.journal, run)
        graph = self._registry.graphs.get(state.started.graph)
        if graph is None or state.status is not RunStatus.RUNNING or is_quarantined(state):
            return False
        if state.started.graph_digest != graph.digest or not await self._has_work(graph, state):
            return False
        if await self._is_free(run):
            return True
        self._candidates.look_later(run)
        return False

    async def _has_work(self, graph: Graph, state: RunState) -> bool:
        reviews = await load_reviews(self.journal, state)
        return bool(next_commands(graph, state, reviews, stamp(self._ambient.now())))

    async def _report(self, graph: Graph, state: RunState) -> RunReport:
        reviews = await load_reviews(self.journal, state)
        payloads = await self.journal.payloads(f"run/{state.run}")
        stream = RunStream(self.journal, self._ambient, state, reviews, payloads)
        return Drive(self._gate, self._registry, graph, stream).report()

    def _graph(self, name: str) -> Graph:
        graph = self._registry.graphs.get(name)
        if graph is None:
            known = ", ".join(f"`{known}`" for known in self._registry.graphs)
            raise UnknownId(f"this runtime has no graph `{name}`; it has {known}")
        return graph

    def _graph_of(self, state: RunState) -> Graph:
        graph = self._graph(state.started.graph)
        if graph.digest != state.started.graph_digest and state.status is RunStatus.RUNNING:
            raise RunError(
                f"run `{state.run}` was started on another version of graph `{graph.name}`: resume it with the code"
                " it was started with"
            )
        return graph

    # --- leases: hints about who works on what, never safety ---

    async def _is_free(self, run: str) -> bool:
        taken = await self._lease(run)
        if taken:
            await self._leases.release(run, self.worker)
        return taken

    async def _lease(self, run: str) -> bool:
        """Takes the run's lease, from a worker that has died on this machine too: nobody waits for the dead."""
        now = self._ambient.now().timestamp()
        if await self._leases.take(run, self.worker, now, LEASE_SECONDS):
            return True
        holder = await self._leases.holder(run)
        if not is_dead(holder):
            return False
        await self._leases.release(run, holder)
        return await self._leases.take(run, self.worker, now, LEASE_SECONDS)

    @asynccontextmanager
    async def _leased(self, run: str) -> AsyncIterator[None]:
        if not await self._lease(run):
            raise OwnershipLost(
                f"run `{run}` is being driven by another worker, {await self._leases.holder(run)};"
                f" if that one has died, try again in {LEASE_SECONDS:.0f} s"
            )
        try:
            async with _beside(self._renew(run)):
                yield
        finally:
            with suppress(JournalError):
                await self._leases.release(run, self.worker)

    async def _renew(self, run: str) -> None:
        while True:
            await self._ambient.sleep(LEASE_SECONDS / 3)
            await self._leases.renew(run, self.worker, self._ambient.now().timestamp(), LEASE_SECONDS)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `work` for as long as the body takes; an error in either ends both, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(work)
            try:
                yield
            finally:
                working.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


def _check_names(principal: str, policies: PolicySet) -> None:
    """Raises BadInput where whom a run acts for, or who starts it, isn't known by their name for who they are."""
    if not principal.strip():
        raise BadInput("a run needs a principal: the user or service it acts for")
    for role, name in (("principal", principal), ("user of this machine", user())):
        if why := unfit(name):
            raise BadInput(f"{role} `{spelt(name)}` can't be a name: {why}")
        if other := policies.people.mistaken(name):
            raise BadInput(f"{role} `{spelt(name)}` looks like reviewer `{other}` and is another name: use their own")


def _check_purpose(state: RunState, policies: PolicySet) -> None:
    """A run that was for something goes on only while it is there: without purposes.yaml nothing limits it."""
    started = state.started
    running = state.status is RunStatus.RUNNING
    if started.purpose and running and (refusal := policies.purposes.refusal(started.purpose, started.principal)):
        raise RunError(f"run `{state.run}`: {refusal}")


def _check_input(graph: Graph, data: bytes) -> None:
    """Raises BadInput where a task that is given the run's input can't read it."""
    for task in graph.tasks.values():
        if task.needs or not task.runs.takes_input:
            continue
        try:
            task.runs.input.load(data)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in found["loc"]) or "the input"
            raise BadInput(
                f"input of graph `{graph.name}`, task `{task.id}`: `{place}`: {found['msg'].lower()}"
            ) from error


def _endorsed(
    draft: Draft, graph: Graph, endorse: Sequence[str], labels: Mapping[str, Sequence[str]]
) -> Commitment | None:
    """Commits to what the principal endorses and to the input's labels, where there is anything of it.

    Raises:
        BadInput: an endorsement or a label says nothing that could be meant.
    """
    for one in endorse:
        tool, slash, rest = one.partition("/")
        if not words(one) or len(one) > 500:
            raise BadInput(f"`{one[:80]}` can't be endorsed: name a source, a tool, or a tool's part as `tool/part`")
        if slash and not rest and tool in graph.tools:
            raise BadInput(f"`{one}` can't be endorsed: say which part of what `{tool}` returns, or `{tool}`")
    for pointer, marks in labels.items():
        if isinstance(marks, str) or (pointer and not pointer.startswith("/")) or not all(map(LABEL.fullmatch, marks)):
            raise BadInput(f"labels of the input: `{pointer}`: use a JSON pointer and a list of labels")
    if not endorse and not labels:
        return None
    stated = {"sources": list(endorse), "labels": {pointer: list(marks) for pointer, marks in labels.items()}}
    return draft.commit("/endorsed", canonical(stated))


def _artifact(kind: str, data: bytes) -> Artifact:
    return Artifact(digest_bytes(data), kind, data)


def is_dead(worker: str) -> bool:
    """Whether the worker of this name (`user@host:pid:random`) was on this host and its process is gone.

    Where two containers of one host name share a store, that may be wrong. Then two workers want a run, and
    the journal lets one of them append: as everywhere, leases are hints.
    """
    name, _, pid = worker.rpartition(":")[0].rpartition(":")
    if not pid.isdecimal() or name.rpartition("@")[2] != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False  # it is there, and somebody else's
    return False


def _seconds_between(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()
