"""Measures a governed call: what it costs over a bare await, and over the SQLite commits it needs.

    python bench/gate.py [--directory .]

The same calls run bare (the tool's function awaited), governed without a store, and governed and durable with
1, 50 and 500 runs at once. Beside each durable figure stand the very same rows, inserted with raw sqlite3 under
the same pragmas and triggers, grouped as many to a commit as there are runs. The budget is 1.6 times that.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from remit import Context, Graph, Runtime, Task, tool
from remit.core.entries import Head, Owned, RunStarted, TaskStarted, unseal
from remit.core.facts import root_types
from remit.core.lifecycle import RunState, fold
from remit.core.policy import load_policies
from remit.runtime.ambient import System
from remit.runtime.drafts import Ask
from remit.runtime.gate import Gate
from remit.runtime.governing import Governed
from remit.runtime.guards import Guards
from remit.runtime.registry import Registry
from remit.runtime.stream import Draft, RunStream
from remit.store.journal import Append, Journal

POLICY = "policy: bench\nrules:\n  - id: allow\n    tools: [note]\n    allow: args.amount >= 0\n" + "".join(
    f'  - id: deny-{n}\n    tools: [note]\n    deny: args.amount == -{n + 1} && args.name == "x"\n' for n in range(19)
)
ARGS = {"name": "a", "amount": 3, "iban": "DE02120300000000202051", "text": "hello"}
CALLS = {1: 400, 50: 20, 500: 4}
"""Calls a run makes, by how many runs there are."""


@tool(effect="write", repeat="keyed", labels={})
async def note(name: str, amount: int, iban: str, text: str) -> int:
    """Does nothing."""
    return amount


async def agent(ctx: Context, count: int) -> int:
    """Makes `count` calls, one after the other."""
    for _ in range(count):
        await ctx.call(note, name="a", amount=3, iban="DE02120300000000202051", text="hello")
    return count


GRAPH = Graph("bench", [Task("agent", agent)], tools=[note])


async def bare(count: int) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        await note.function(**ARGS)
    return (time.perf_counter() - begun) / count


class Unstored:
    """Takes appends and forgets them: what is left is the gate's own work."""

    def enqueue(self, append: Append) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


async def unstored(count: int) -> float:
    """Returns seconds a governed call takes without a store."""
    ambient = System()
    registry = Registry([GRAPH])
    journal = cast(Journal, Unstored())
    policies = load_policies({"bench.yaml": POLICY}, registry.specs, lambda spec: root_types(spec, {}))
    gate = Gate(journal, registry, Governed(policies, Guards((), ambient)), ambient)
    draft = Draft("run/r", Head(), ambient)
    started = RunStarted("r", "bench", GRAPH.digest, "p", "s", "", policies.digest, draft.commit("/input", b"1"))
    state = fold([unseal(draft.seal("w", started).bytes)])
    assert isinstance(state, RunState)
    stream = RunStream(journal, ambient, state, {}, {})
    for body in (Owned(1, "w"), TaskStarted("agent", "agent", "1")):
        stream.enqueue(stream.draft(), "w", body)
    begun = time.perf_counter()
    for number in range(count):
        await gate.call(stream, Ask(f"agent#{number}", "agent", "agent", "1", "note", ARGS))
    return (time.perf_counter() - begun) / count


async def durable(folder: Path, runs: int, calls: int) -> tuple[float, list[Append]]:
    """Returns seconds a call, and the appends that the calls made."""
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "bench.yaml").write_text(POLICY)
    made: list[Append] = []
    async with Runtime(
        GRAPH, store=f"sqlite:///{folder}/remit.db", policies=folder / "policies", keys=folder / "keys"
    ) as runtime:
        await runtime.run("bench", 20, principal="warm-up")
        writer = cast(Any, runtime.journal)._writer
        submit = writer.submit

        def record(job: object) -> asyncio.Future[None]:
            if isinstance(job, Append):
                made.append(job)
            return cast("asyncio.Future[None]", submit(job))

        writer.submit = record
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(runs):
                group.create_task(runtime.run("bench", calls, principal="bench"))
        taken = time.perf_counter() - begun
    return taken / (runs * calls), made


def raw(path: Path, appends: Sequence[Append], group: int) -> float:
    """Returns seconds to commit the same rows, `group` appends to a transaction."""
    asyncio.run(_make(path))
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    streams: dict[str, int] = {}
    position = 0
    begun = time.perf_counter()
    for first in range(0, len(appends), group):
        connection.execute("BEGIN IMMEDIATE")
        for append in appends[first : first + group]:
            for entry in append.entries:
                position += 1
                if entry.stream not in streams:
                    cursor = connection.execute("INSERT INTO streams (name) VALUES (?)", (entry.stream,))
                    streams[entry.stream] = cast(int, cursor.lastrowid)
                connection.execute(
                    "INSERT INTO entries (position, stream_id, seq, kind, bytes, hash) VALUES (?, ?, ?, ?, ?, ?)",
                    (position, streams[entry.stream], entry.seq, entry.kind, entry.bytes, bytes.fromhex(entry.hash)),
                )
            connection.executemany(
                "INSERT INTO payloads (stream_id, seq, path, salt, value) VALUES (?, ?, ?, ?, ?)",
                [(streams[p.stream], p.seq, p.path, p.salt, p.value) for p in append.payloads],
            )
        connection.execute("COMMIT")
    taken = time.perf_counter() - begun
    connection.close()
    return taken


async def _make(path: Path) -> None:
    await (await Journal.open(f"sqlite:///{path}")).close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", default=".")
    directory = parser.parse_args(arguments).directory
    awaited = min(asyncio.run(bare(20_000)) for _ in range(5))
    gated = min(asyncio.run(unstored(1_000)) for _ in range(5))
    print("| a call of a tool that does nothing | µs | ratio |")
    print("|---|---|---|")
    print(f"| bare: its function awaited | {awaited * 1e6:.2f} | |")
    print(f"| governed, without a store | {gated * 1e6:.0f} | {gated / awaited:.0f} times bare |")
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        for runs, calls in CALLS.items():
            ratios = []
            for attempt in range(3):
                place = Path(folder) / f"{runs}-{attempt}"
                taken, made = asyncio.run(durable(place, runs, calls))
                needed = raw(place / "raw.db", made, runs) / (runs * calls)
                ratios.append((taken / needed, taken, needed))
            ratio, taken, needed = sorted(ratios)[1]
            print(f"| governed and durable, {runs} runs at once | {taken * 1e6:.0f} | |")
            print(
                f"| the same rows raw, {runs} appends a commit | {needed * 1e6:.0f} | governed is {ratio:.2f} times |"
            )


if __name__ == "__main__":
    main()
