"""A toy world in a line: a folder of policies, a store, tools that write down what they did, and a clock.

    world = World(tmp_path).policy(allow="true")
    async with world.runtime(one(agent, world.act())) as runtime: ...

Whatever a tool does is in `world.done`: that, and not the journal, is what the tests count effects by.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from pens import Pen

from remit import FactProvider, Graph, Invocation, Runtime, Task, Tool, tool
from remit.core import policy
from remit.core.entries import Entry, Sealed
from remit.core.lifecycle import RunState
from remit.core.reviews import ReviewState
from remit.errors import JournalError
from remit.export import standalone
from remit.export.bundle import Request, export
from remit.runtime import outside
from remit.runtime.adopting import adopt_store
from remit.runtime.ambient import stamp
from remit.runtime.load import load_run
from remit.runtime.rulings import Reviewer, Said, rule
from remit.store.journal import Append, Journal, JournalKeys
from remit.store.writer import Writer
from remit.testing import VirtualClock
from remit.verify import Verification, verify

Body = Callable[[Invocation, str, int], Any]


class Crash(BaseException):
    """What ends a process: a tool or agent that raises it doesn't fail, it stops the worker as a signal would."""


outside.STOPS = (*outside.STOPS, Crash)


@dataclass(frozen=True)
class Effect:
    """Something a tool did."""

    tool: str
    key: str
    what: str
    amount: int
    attempt: int


class World:
    """Everything a test needs, below one folder."""

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        self.folder = folder
        self.policies = folder / "policies"
        self.policies.mkdir(exist_ok=True)
        self.path = folder / "remit.db"
        self.url = f"sqlite:///{self.path}"
        self.keys = folder / "keys"
        self.clock = VirtualClock(seed=seed)
        self.done: list[Effect] = []
        self._exports = 0
        self._seed = seed
        self.queues(desk={"ttl": "1h"}, board={"ttl": "2h"})

    # --- policies ---

    def policy(self, *rules: dict[str, object], **effects: str) -> World:
        """Writes the policy anew: rules as in YAML, or `allow="cond"`, `deny=…`, `escalate=…` for any tool.

        JSON is YAML, so nothing needs quoting.
        """
        made: list[dict[str, object]] = [{"tools": ["*"], **rule} for rule in rules]
        made += [{"id": f"{effect}-rule", "tools": ["*"], effect: condition} for effect, condition in effects.items()]
        for one_ in made:
            if "escalate" in one_:
                one_.setdefault("to", "desk")
        (self.policies / "main.yaml").write_text(json.dumps({"policy": "main", "rules": made}), encoding="utf-8")
        return self

    def queues(self, *, single_operator: bool = True, **queues: dict[str, Any]) -> World:
        text = json.dumps({"single_operator": single_operator, "queues": queues})
        (self.policies / "queues.yaml").write_text(text, encoding="utf-8")
        return self

    def staff(self, *names: str, **people: dict[str, object]) -> World:
        """Writes who may rule, each with the key of their name; `people` say more of some, such as groups."""
        found = {name: people.get(name, {}) for name in (*names, *people)}
        reviewers = {name: {"keys": [{"key": Pen(name).public.text}], **said} for name, said in found.items()}
        (self.policies / "reviewers.yaml").write_text(json.dumps({"reviewers": reviewers}), encoding="utf-8")
        return self

    # --- tools ---

    def act(self, name: str = "act", body: Body | None = None, **options: Any) -> Tool[..., str]:
        """A tool `(what: str = "it", amount: int = 0) -> str` that notes that it ran, then does `body`."""
        options = {"effect": "commit", "repeat": "once", "labels": {}, **options}

        async def run(invocation: Invocation, what: str = "it", amount: int = 0) -> str:
            self.done.append(Effect(name, invocation.key, what, amount, invocation.attempt))
            if body is not None:
                result = body(invocation, what, amount)
                return str(await result if isinstance(result, Awaitable) else result)
            return f"did {what}"

        return tool(name=name, **options)(run)

    @property
    def did(self) -> list[str]:
        """What was done, in order."""
        return [effect.what for effect in self.done]

    # --- running ---

    def runtime(self, *graphs: Graph, worker: str = "", clock: VirtualClock | None = None) -> Runtime:
        """A runtime as another process would have it: nothing is shared but the files and the clock."""
        return Runtime(
            *graphs,
            store=self.url,
            policies=self.policies,
            keys=self.keys,
            ambient=clock or self.clock,
            worker=worker or "tester",
        )

    async def rule(
        self,
        review: str,
        approved: bool = True,
        reason: str = "because",
        *,
        by: str = "",
        behalf: str = "",
        **said: Any,
    ) -> ReviewState:
        """A person rules, from a process of their own: `by` their key, or in single-operator mode."""
        who = Reviewer(by, Pen(by), behalf) if by else Reviewer("ann")
        async with await Journal.open(self.url, keys=self.keys) as journal:
            return await rule(journal, self.clock, review, who, Said(approved, reason, **said))

    async def does(self, what: Callable[..., Awaitable[ReviewState]], review: str, by: str, *more: str) -> ReviewState:
        """A person claims, releases, hands on or comments."""
        async with await Journal.open(self.url, keys=self.keys) as journal:
            return await what(journal, self.clock, review, Reviewer(by, Pen(by)), *more)

    async def adopt(self) -> None:
        """An operator answers for the store as it is, as `remit store adopt` does."""
        await adopt_store(self.url, JournalKeys(self.keys), self.clock, "operator:tester", "a test did it")

    def forget_marks(self) -> None:
        """As somebody who has the keys, and takes away what says how far the store had come."""
        for mark in self.keys.glob("*.mark"):
            mark.unlink()

    # --- reading ---

    async def entries(self, stream: str) -> list[Entry]:
        async with await Journal.open(self.url, keys=self.keys) as journal:
            return await journal.read(stream)

    async def kinds(self, run: str) -> list[str]:
        """The kinds of a run's entries, without who owned it."""
        return [entry.kind for entry in await self.entries(f"run/{run}") if entry.kind != "run.owned"]

    async def bodies(self, run: str, kind: str) -> list[Any]:
        return [entry.body for entry in await self.entries(f"run/{run}") if entry.kind == kind]

    async def why(self, run: str) -> list[str]:
        """The words of every error that ended a task of the run."""
        async with await Journal.open(self.url, keys=self.keys) as journal:
            found = await journal.payloads(f"run/{run}")
            ended = {entry.seq for entry in await journal.read(f"run/{run}") if entry.kind == "task.finished"}
            return [
                orjson.loads(one_.value) for (seq, path), one_ in found.items() if seq in ended and path == "/error"
            ]

    async def state(self, run: str) -> RunState:
        async with await Journal.open(self.url, keys=self.keys) as journal:
            return await load_run(journal, run)

    async def export(self, name: str = "") -> Path:
        self._exports += 1
        out = self.folder / (name or f"export-{self._exports}")
        async with await Journal.open(self.url, keys=self.keys) as journal:
            await write_bundle(journal, out, stamp(self.clock.now()))
        return out

    async def holds(self) -> Verification:
        """Exports everything, checks it with both verifiers, and returns what Remit's own checked."""
        out = await self.export()
        found = verify(out)
        assert found.ok, "\n".join(map(str, found.problems))
        assert bundled(out) == []
        notes = [note for note in found.notes if not note.endswith("/secret: the value is not disclosed")]
        assert not [note for note in notes if "disclosed" in note or "not decided" in note]
        return found

    # --- spoiling ---

    def sql(self, *statements: str) -> None:
        """As somebody with sqlite3 and no respect: the triggers are dropped first."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for (name,) in names:
                connection.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                connection.execute(statement)

    def look(self, query: str, *parameters: object) -> list[Any]:
        """As an outsider who opens the file, and sees what is committed."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(query, parameters).fetchall()

    def committed(self, stream: str) -> list[dict[str, Any]]:
        """The entries of a stream that an outsider sees now, as JSON."""
        query = "SELECT bytes FROM entries JOIN streams ON id = stream_id WHERE name = ? ORDER BY seq"
        return [orjson.loads(row[0]) for row in self.look(query, stream)]


def bundled(out: Path) -> list[str]:
    """The problems that the verifier in a bundle finds, run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standalone, "HERE", out)
        return standalone.check([], "")[0].problems


@contextmanager
def policies_compiled_once() -> Iterator[None]:
    """For tests that check the same export a thousand times, or live a hundred lives: compiling takes longest."""
    real, known = policy.load_policies, dict[tuple[object, ...], policy.PolicySet]()

    def load(files: Any, tools: Any, roots: Any, *, recorded: bool = False) -> policy.PolicySet:
        key = (tuple(sorted(files.items())), tuple(tool.digest for tool in tools))
        if key not in known:
            known[key] = real(files, tools, roots, recorded=recorded)
        return known[key]

    users = [module for name, module in sys.modules.items() if name.startswith("remit.")]
    users = [module for module in users if getattr(module, "load_policies", None) is real]
    with pytest.MonkeyPatch.context() as patch:
        for module in users:
            patch.setattr(module, "load_policies", load)
        yield


async def write_bundle(journal: Journal, out: Path, at: str, runs: Sequence[str] | None = None) -> None:
    """Exports `runs`, or everything, unsigned."""
    await export(journal, out, Request(at, "operator:tester", runs))


def one(
    agent: Any, *tools: Tool[..., Any], facts: Sequence[FactProvider] = (), name: str = "app", limit: int = 16
) -> Graph:
    """A graph of one task, `work`."""
    return Graph(name, [Task("work", agent)], tools=tools, facts=facts, limit=limit)


class Faults:
    """Makes the writer fail the first append with an entry of a kind: not persisted, or persisted all the same."""

    def __init__(self) -> None:
        self.fired = 0
        self._kind = ""
        self._persisted = False

    def arm(self, kind: str, *, persisted: bool) -> None:
        self._kind, self._persisted = kind, persisted

    def hits(self, batch: Sequence[Any]) -> bool:
        if not self._kind:
            return False
        works = (item.work for item in batch if isinstance(item.work, Append))
        return any(entry.kind == self._kind for work in works for entry in work.entries)


@contextmanager
def writer_faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Patches the store's writer from outside."""
    faults = Faults()
    real = Writer._commit

    def commit(self: Writer, batch: Sequence[Any]) -> list[Any]:
        if not faults.hits(batch):
            return real(self, batch)
        faults.fired += 1
        faults._kind = ""
        if faults._persisted:
            real(self, batch)
        self._forget()
        return [JournalError("the journal couldn't be written: disk I/O error") for _ in batch]

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_commit", commit)
        yield faults


@contextmanager
def watching_appends(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Sealed]]:
    """Every entry handed to any journal meanwhile."""
    seen: list[Sealed] = []
    real = Journal.enqueue

    def enqueue(self: Journal, append: Append) -> Any:
        seen.extend(append.entries)
        return real(self, append)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "enqueue", enqueue)
        yield seen


async def crash(world: World, graph: Graph, run: str = "") -> str:
    """Drives a run until a tool or an agent ends the process."""
    async with world.runtime(graph) as runtime:
        run = run or await runtime.start(graph, principal="me")
        with pytest.raises(Crash):
            await runtime.resume(run)
    return run


def crashing(times: int = 1) -> Callable[..., str]:
    left = [times]

    def body(invocation: Invocation, what: str, amount: int) -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise Crash
        return f"did {what}"

    return body
