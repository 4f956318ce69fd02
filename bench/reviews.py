"""What ten thousand open reviews and a hundred thousand parked runs cost: lists, watching, and a worker.

python bench/reviews.py [REVIEWS] [RUNS]
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from remit import Context, Graph, Runtime, Task, tool
from remit.core.entries import Entry, Head, seal
from remit.runtime.ambient import System
from remit.runtime.candidates import Candidates
from remit.store.journal import Append, Journal
from remit.store.leases import Leases
from remit.store.projections import Projections

POLICY = "policy: main\nrules:\n  - {id: ask, tools: [act], escalate: 'true', to: desk}\n"
QUEUES = "single_operator: true\nqueues:\n  desk: {ttl: 30d}\n"


@tool(effect="commit", repeat="keyed", labels={})
def act(what: str) -> str:
    return what


async def agent(ctx: Context) -> str:
    return await ctx.call(act, what="something to approve")


GRAPH = Graph("app", [Task("work", agent)], tools=[act])


def renamed(entry: Entry, run: str, review: str, old: tuple[str, str], head: Head) -> tuple[str, Head, object]:
    """Returns an entry of one run as if another had written it, after `head` of its own stream."""
    text = msgspec.json.encode(entry.body).decode().replace(old[0], run).replace(old[1], review)
    body = msgspec.json.decode(text, type=type(entry.body))
    stream = entry.stream.replace(old[0], run).replace(old[1], review)
    sealed = seal(stream, head, entry.at, entry.actor, body)
    return stream, sealed.head, sealed


async def many(folder: Path, count: int) -> None:
    """Parks one run for real, and writes it again under other ids: the same entries in streams of their own.

    Digests inside are the first one's; folding, listing and looking don't ask for more.
    """
    store = f"sqlite:///{folder / 'remit.db'}"
    async with Runtime(GRAPH, store=store, policies=folder / "policies", keys=folder / "keys") as runtime:
        report = await runtime.run("app", principal="me")
        old = report.run, report.reviews[0]
    async with await Journal.open(store, keys=folder / "keys") as journal:
        entries = [*await journal.read(f"run/{old[0]}"), *await journal.read(f"review/{old[1]}")]
        pending = []
        for number in range(1, count):
            run, review = f"r{number:011d}", f"v{number:011d}"
            heads: dict[str, Head] = {}
            made = []
            for entry in entries:
                stream = entry.stream.replace(old[0], run).replace(old[1], review)
                stream, heads[stream], sealed = renamed(entry, run, review, old, heads.get(stream, Head()))
                made.append(sealed)
            pending.append(journal.enqueue(Append(tuple(made))))
            if len(pending) == 2_000:
                await asyncio.gather(*pending)
                pending = []
        await asyncio.gather(*pending)


def project(folder: Path) -> Path:
    (folder / "policies").mkdir()
    (folder / "policies" / "main.yaml").write_text(POLICY)
    (folder / "policies" / "queues.yaml").write_text(QUEUES)
    return folder


def command(folder: Path, *words: str) -> tuple[float, float, int]:
    """Returns CPU seconds, wall seconds and lines of a command in a process of its own."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "remit", *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "REMIT_STORE": "sqlite:///remit.db"},
    )  # fmt: skip
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall, done.stdout.count("\n")


def watching(folder: Path, seconds: float) -> float:
    """Returns the share of a core that `review watch` takes while nothing happens, its start left out."""
    child = subprocess.Popen(
        [sys.executable, "-m", "remit", "review", "watch", "--json"], cwd=folder, stdout=subprocess.DEVNULL,
        env={**os.environ, "REMIT_STORE": "sqlite:///remit.db"},
    )  # fmt: skip
    try:
        time.sleep(6)
        first = ticks(child.pid)
        time.sleep(seconds)
        return (ticks(child.pid) - first) / os.sysconf("SC_CLK_TCK") / seconds
    finally:
        child.kill()
        child.wait()


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def memory() -> int:
    """Returns the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def worker(folder: Path) -> dict[str, float]:
    """Measures what looking for work costs a worker whose runs all wait for people."""
    async with Runtime(
        GRAPH, store=f"sqlite:///{folder / 'remit.db'}", policies=folder / "policies", keys=folder / "keys"
    ) as runtime:
        looking = Candidates(Projections(runtime.journal), Leases(runtime.journal))
        await looking.next(System().now())
        before = memory()
        cpu, looks = time.process_time(), 20
        for _ in range(looks):
            for run in await looking.next(System().now()):
                await runtime._is_ready(run)
        return {"ms a look": (time.process_time() - cpu) / looks * 1_000, "MiB more": (memory() - before) / 2**20}


def main(reviews: int, runs: int) -> None:
    print(f"| what | at {reviews:,} open reviews |\n|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = project(Path(made))
        asyncio.run(many(folder, reviews))
        cpu, wall, _ = command(folder, "review", "list", "--json")
        print(f"| `review list`, the first time (everything is folded) | {cpu:.2f} s CPU, {wall:.2f} s |")
        base, _, _ = command(folder, "--version")
        for words in (("review", "list"), ("review", "list", "--json"), ("queue", "list"), ("queue", "stats")):
            cpu, wall, lines = command(folder, *words)
            print(f"| `{' '.join(words)}`, {lines:,} lines | {cpu * 1000:.0f} ms CPU, {wall * 1000:.0f} ms |")
        print(f"| of that, starting Python and `remit --version` | {base * 1000:.0f} ms CPU |")
        print(f"| `review watch`, while nothing happens | {watching(folder, 20):.2%} of a core |")
    print(f"\n| what | at {runs:,} parked runs |\n|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = project(Path(made))
        asyncio.run(many(folder, runs))
        found = json.loads(
            subprocess.run(
                [sys.executable, __file__, "--worker", str(folder)], capture_output=True, text=True, check=True
            ).stdout
        )
        print(f"| a worker's look for work, of one every 5 s | {found['ms a look']:.0f} ms CPU |")
        print(f"| memory of the worker after 20 looks, against the first | {found['MiB more']:+.1f} MiB |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(asyncio.run(worker(Path(sys.argv[2])))))
    else:
        main(int((sys.argv[1:2] or ["10000"])[0]), int((sys.argv[2:3] or ["100000"])[0]))
