"""The ground that a probe stands on: policies, people, a store and a tool that notes what it did.

What counts as the attack's success is `done`, what the tool really did; never what the journal says of it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remit.core.entries import Entry, Fact, Head, seal, unseal
from remit.core.graph import Agent, AgentFunction, Graph, Task
from remit.core.reviews import ReviewState
from remit.core.typed import Invocation, Tool, tool
from remit.errors import Denied, RemitError, Tampered
from remit.export.bundle import Request, export
from remit.probes.pens import Pen
from remit.runtime.ambient import stamp
from remit.runtime.app import Runtime
from remit.runtime.context import Context
from remit.runtime.rulings import Reviewer, Said, rule
from remit.runtime.scheduler import RunReport
from remit.store.authentic import Authority
from remit.store.journal import Append, Journal, JournalKeys
from remit.testing import VirtualClock
from remit.verify import verify

FINANCE: Mapping[str, Mapping[str, object]] = {name: {"groups": ["finance"]} for name in ("ann", "bob", "cat")}
DESK: Mapping[str, object] = {"ttl": "1h", "reviewers": ["finance"]}
ASK: Mapping[str, object] = {"id": "ask", "escalate": "true"}
YES = Said(True, "because")
NO = Said(False, "not this month")


def expect(holds: object, words: object) -> None:
    """Raises AssertionError with `words` where something doesn't hold; `python -O` changes nothing about it."""
    if not holds:
        raise AssertionError(str(words))


@dataclass(frozen=True, slots=True)
class Effect:
    """Something the tool really did."""

    tool: str
    key: str
    what: str
    amount: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for people."""

    graph: Graph
    run: str
    review: str


@dataclass(slots=True)
class Ground:
    """Everything a probe needs, below one folder."""

    folder: Path
    clock: VirtualClock = field(default_factory=VirtualClock)
    done: list[Effect] = field(default_factory=list)
    exports: int = 0
    stolen: bool = False
    """Whether who attacks has the store's journal key, too. Most probes are of those: what they try stands behind that
    lock. Those of the group `authentic` are of attackers who can write the store and hold no key."""

    @classmethod
    def at(cls, folder: Path) -> Ground:
        """Returns a ground in an empty folder: any call escalates to `desk`, where one of finance approves."""
        ground = cls(folder)
        ground.policies.mkdir(parents=True)
        return ground.policy(ASK).staff(FINANCE).queues(desk=DESK)

    def another(self, name: str) -> Ground:
        """Returns a ground that shares nothing with this one but the folder that both are below."""
        ground = Ground.at(self.folder / name)
        ground.stolen = self.stolen
        return ground

    @property
    def policies(self) -> Path:
        """The folder of policies."""
        return self.folder / "policies"

    @property
    def path(self) -> Path:
        """The store's file."""
        return self.folder / "remit.db"

    @property
    def url(self) -> str:
        """The store, as settings name it."""
        return f"sqlite:///{self.path}"

    # --- policies: JSON is YAML ---

    def policy(self, *rules: Mapping[str, object]) -> Ground:
        """Writes the rules anew, each for every tool and to `desk` unless it says otherwise."""
        made = [{"tools": ["*"], **({"to": "desk"} if "escalate" in one else {}), **one} for one in rules]
        return self._write("main.yaml", {"policy": "main", "rules": made})

    def queues(self, **queues: Mapping[str, object]) -> Ground:
        """Writes the queues anew; rulings are signed."""
        return self._write("queues.yaml", {"queues": queues})

    def staff(self, people: Mapping[str, Mapping[str, object]], **keys: str) -> Ground:
        """Writes who may rule, each with the key of their name, or of the name that `keys` gives."""
        made = {
            name: {"keys": [{"key": Pen(keys.get(name, name)).public.text}], **said} for name, said in people.items()
        }
        return self._write("reviewers.yaml", {"reviewers": made})

    def _write(self, name: str, document: object) -> Ground:
        (self.policies / name).write_text(json.dumps(document), encoding="utf-8")
        return self

    # --- running ---

    def tool(self, name: str = "pay", **options: Any) -> Tool[..., str]:
        """A tool `(what, amount)` that notes that it ran."""

        async def run(invocation: Invocation, what: str = "it", amount: int = 0) -> str:
            self.done.append(Effect(name, invocation.key, what, amount))
            return f"did {what}"

        return tool(name=name, **{"effect": "commit", "repeat": "once", "labels": {}, **options})(run)

    def runtime(self, graph: Graph, worker: str = "prober") -> Runtime:
        """A runtime as another process would have it: nothing is shared but the files and the clock."""
        return Runtime(
            graph, store=self.url, policies=self.policies, keys=self.folder / "keys", ambient=self.clock, worker=worker
        )

    async def waits(self, graph: Graph | None = None, principal: str = "me", **arguments: Any) -> Waiting:
        """Starts a run whose one call has to wait."""
        before = len(self.done)
        graph = graph or paying(self.tool(), **{"what": "rent", "amount": 7, **arguments})
        async with self.runtime(graph) as runtime:
            report = await runtime.run(graph, principal=principal)
        expect(report.status == "waiting" and report.reviews, f"nobody was asked: {report}")
        expect(len(self.done) == before, "it ran before anybody was asked")
        return Waiting(graph, report.run, report.reviews[0])

    async def resumes(self, waiting: Waiting, graph: Graph | None = None, worker: str = "prober") -> str:
        """Goes on with the run; returns its output, its status where it has none, or the error that stopped it."""
        return await self._said(graph or waiting.graph, worker, lambda runtime: runtime.resume(waiting.run))

    async def runs(self, graph: Graph) -> str:
        """Runs a graph; returns as `resumes`."""
        return await self._said(graph, "prober", lambda runtime: runtime.run(graph, principal="me"))

    async def _said(self, graph: Graph, worker: str, does: Callable[[Runtime], Awaitable[RunReport]]) -> str:
        try:
            async with self.runtime(graph, worker) as runtime:
                report = await does(runtime)
        except RemitError as error:
            return f"{type(error).__name__}: {error}"
        return str(report.output) if report.status == "done" else report.status

    # --- people ---

    async def rules(
        self,
        review: str,
        by: str,
        said: Said = YES,
        *,
        pen: str = "",
        behalf: str = "",
        clock: VirtualClock | None = None,
    ) -> ReviewState:
        """A person rules, with their key or that of `pen`. Raises as `rule`."""
        async with self.journal() as journal:
            return await rule(journal, clock or self.clock, review, Reviewer(by, Pen(pen or by), behalf), said)

    async def refuses(self, review: str, by: str, said: Said = YES, **how: Any) -> str:
        """A person tries to rule and must be refused, with nothing recorded; returns why."""
        before = await self.entries(f"review/{review}")
        try:
            state = await self.rules(review, by, said, **how)
        except RemitError as error:
            expect(await self.entries(f"review/{review}") == before, "it was refused, and something recorded")
            return f"{type(error).__name__}: {error}"
        raise AssertionError(f"`{by}` has ruled, and the review is {state.status}")

    async def approved(self, **arguments: Any) -> Waiting:
        """A run whose call was approved and not resumed yet."""
        waiting = await self.waits(**arguments)
        expect((await self.rules(waiting.review, "ann")).status == "approved", "a good approval does not count")
        return waiting

    # --- the store ---

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[Journal]:
        """The store, as a process of its own would open it."""
        async with await Journal.open(self.url, keys=self.folder / "keys") as journal:
            yield journal

    @asynccontextmanager
    async def _attacked(self) -> AsyncIterator[Journal]:
        """The store, as who attacks opens it: with the stolen key, or with a Remit that asks for none."""
        if self.stolen:
            async with self.journal() as journal:
                yield journal
            return
        async with await Journal.open(self.url) as journal:
            journal.authority = Authority(None, "", "")
            yield journal

    async def entries(self, stream: str) -> list[Entry]:
        """Returns a stream's entries."""
        async with self.journal() as journal:
            return await journal.read(stream)

    async def adds(self, stream: str, body: Fact, actor: str) -> None:
        """Appends to a stream as somebody who can write the store and knows its format."""
        async with self._attacked() as journal:
            entries = await journal.read(stream)
            at = entries[-1].at if entries else stamp(self.clock.now())
            await journal.append(Append((seal(stream, await journal.head(stream), at, actor, body),)))

    async def rewrites(self, stream: str, change: Callable[[Any], Any]) -> None:
        """Rewrites the bodies of a stream's entries and chains them anew: no hash is wrong afterwards."""
        async with self.journal() as journal:
            entries = await journal.read(stream)
        head = Head()
        made = []
        for entry in entries:
            sealed = seal(stream, head, entry.at, entry.actor, change(entry.body))
            head = unseal(sealed.bytes).head
            made.append((sealed.bytes, bytes.fromhex(sealed.hash), stream, sealed.seq))
        self.sql(*((f"UPDATE entries SET bytes = ?, hash = ? WHERE {_PLACE}", *row) for row in made))

    def sql(self, *statements: str | tuple[Any, ...]) -> None:
        """Changes the store as somebody with sqlite3 and no respect: the triggers are dropped first."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for (name,) in names:
                connection.execute(f"DROP TRIGGER {name}")
            changed = 0
            for one in statements:
                statement, *parameters = (one,) if isinstance(one, str) else one
                changed += connection.execute(statement, parameters).rowcount
            expect(changed > 0, "the attack changed nothing in the store: the probe is wrong")
        if self.stolen:
            self.authenticates()

    def authenticates(self) -> None:
        """Authenticates the store as it is with its journal key, without a gap, as somebody would who stole the key."""
        for mark in (self.folder / "keys").glob("*.mark"):
            mark.unlink()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("DROP TRIGGER IF EXISTS entries_no_update")
            (id,) = connection.execute("SELECT key FROM journal_key").fetchone()
            key = JournalKeys(self.folder / "keys").find(id)
            assert key is not None
            rows = connection.execute("SELECT position, hash FROM entries ORDER BY position").fetchall()
            made = [(new, key.mac(new, hash, True), old) for new, (old, hash) in enumerate(rows, 1)]
            connection.executemany("UPDATE entries SET position = ?, mac = ? WHERE position = ?", made)

    def backup(self, name: str) -> Path:
        """Copies the store, while nobody has it open."""
        return Path(shutil.copy(self.path, self.folder / name))

    def restore(self, backup: Path) -> None:
        """Puts a copy in the store's place."""
        for file in self.folder.glob("remit.db*"):
            file.unlink()
        shutil.copy(backup, self.path)
        if self.stolen:
            self.authenticates()

    async def export(self) -> Path:
        """Exports everything, and returns the folder."""
        self.exports += 1
        out = self.folder / f"export-{self.exports}"
        async with self.journal() as journal:
            await export(journal, out, Request(stamp(self.clock.now()), "operator:prober", None))
        return out

    async def verifies(self) -> bool:
        """Whether an export of everything verifies; a store that can't be exported as it is doesn't."""
        try:
            return verify(await self.export()).ok
        except Tampered:
            return False


_PLACE = "stream_id = (SELECT id FROM streams WHERE name = ?) AND seq = ?"


def asking(act: Tool[..., str], **arguments: Any) -> AgentFunction:
    """An agent that makes one call, and says what it was told."""

    async def agent(ctx: Context) -> str:
        try:
            said = await ctx.call(act, **arguments)
        except Denied as error:
            return "; ".join(error.reasons)
        return "; ".join((said, *ctx.notices))

    return agent


def graph_of(agent: Agent | AgentFunction, *tools: Tool[..., str]) -> Graph:
    """A graph of one task."""
    return Graph("app", [Task("work", agent)], tools=tools)


def paying(act: Tool[..., str], **arguments: Any) -> Graph:
    """A graph of one agent that makes one call."""
    return graph_of(asking(act, **arguments), act)
