"""Measures verification: chains and tree, the whole of it, its memory, proofs, and what the tree costs an append.

    python bench/verify.py [--entries 200000] [--leaves 1000000]

A ratio says how much longer than hashing the same bytes with hashlib, in the same run: that hardly depends on
the machine. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from remit.core import entries as e
from remit.core.canonical import canonical, commitment
from remit.core.entries import Head, Payload, seal
from remit.core.merkle import Frontier, leaf_hash
from remit.proofs import check_chains
from remit.store.integrator import Integrator
from remit.store.journal import Journal
from remit.verify import verify

AT = "2026-01-01T00:00:00.000000Z"
PER_RUN = 10
ALIVE = 50
"""Runs that are under way at once."""


def history(count: int) -> Iterator[tuple[bytes, list[Payload]]]:
    """Yields entries of runs that take turns, as a store holds them, with their payloads."""
    heads: dict[int, Head] = {}
    for number in range(count):
        turn, place = divmod(number, ALIVE)
        run = place + ALIVE * (turn // PER_RUN)
        step = turn % PER_RUN
        stream, head = f"run/r{run}", heads.pop(run, Head())
        value = b'"' + str(number).encode() * 20 + b'"'
        salt = number.to_bytes(16)
        said = commitment(salt, value)
        body: e.Fact = e.Recorded(f"t{step}.{number}", "t", "uuid", "x" * 200)
        if step == 0:
            body = e.RunStarted(f"r{run}", "app", "ab" * 32, "me", "me", "app:graph", "cd" * 32, said)
        elif step == PER_RUN - 1:
            body = e.RunFinished(True, said)
        path = {0: "/input", PER_RUN - 1: "/output"}.get(step, "")
        made = seal(stream, head, AT, "worker:bench", body)
        if step < PER_RUN - 1:
            heads[run] = made.head
        yield made.bytes, [Payload(stream, made.seq, path, salt, value)] if path else []


def bundle(folder: Path, count: int) -> Path:
    """Writes an unsigned export of so many entries."""
    folder.mkdir()
    ends: dict[str, dict[str, object]] = {}
    with (folder / "entries.jsonl").open("wb") as lines, (folder / "payloads.jsonl").open("wb") as values:
        for data, payloads in history(count):
            lines.write(data + b"\n")
            for payload in payloads:
                row = {"stream": payload.stream, "seq": payload.seq, "path": payload.path, "salt": payload.salt.hex(),
                       "value": payload.value.decode()}  # fmt: skip
                values.write(canonical(row) + b"\n")
    with (folder / "entries.jsonl").open("rb") as lines:
        chains = check_chains(line[:-1] for line in lines)
    ends = {stream: {"entries": seq + 1, "head": head} for stream, (seq, head) in chains.heads.items()}
    (folder / "artifacts.jsonl").write_bytes(b"")
    (folder / "README.txt").write_bytes(b"")
    (folder / "keys.json").write_bytes(b"[]")
    names = ("entries.jsonl", "payloads.jsonl", "artifacts.jsonl", "README.txt", "keys.json")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    manifest = {
        "format": "remit export",
        "version": 1,
        "scope": ["all"],
        "size": count,
        "entries": count,
        "payloads": len((folder / "payloads.jsonl").read_bytes().splitlines()),
        "withheld": 0,
        "streams": ends,
        "files": files,
    }
    (folder / "manifest.json").write_bytes(canonical(manifest))
    return folder


def chains(path: Path, rounds: int = 3) -> tuple[int, float, float]:
    """Returns the number of entries, and the seconds of CPU of hashing alone and of chains with tree, at best."""
    lines = path.read_bytes().splitlines()
    hashing, checking = [], []
    for _ in range(rounds):
        start = time.process_time()
        for line in lines:
            hashlib.sha256(line).digest()
        hashing.append(time.process_time() - start)
        start = time.process_time()
        found = check_chains(lines)
        checking.append(time.process_time() - start)
        assert found.broken == [] and found.tree.size == len(lines)
    return len(lines), min(hashing), min(checking)


def whole(path: Path) -> tuple[float, int]:
    """Verifies in a process of its own; returns seconds of CPU, and its peak in bytes."""
    done = subprocess.run([sys.executable, __file__, "--only", str(path)], capture_output=True, text=True, check=True)
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def only(path: Path) -> None:
    start = time.process_time()
    found = verify(path)
    assert found.ok, found.problems[:3]
    seconds = time.process_time() - start
    # Not getrusage: its peak is also that of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    print(seconds, int(peak[1]) * 1024 if peak else 0)


async def proving(folder: Path, leaves: int) -> tuple[float, float, float]:
    """Returns seconds to integrate so many leaves, and the milliseconds of an inclusion proof: median and worst."""
    path = folder / "leaves.db"
    async with await Journal.open(f"sqlite:///{path}") as journal:
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("BEGIN")
        raw.execute("INSERT INTO streams (id, name) VALUES (1, 'policy')")
        raw.execute("DROP TRIGGER entries_in_order")  # it costs what is not measured here
        raw.executemany(
            "INSERT INTO entries (position, stream_id, seq, kind, bytes, hash) VALUES (?, 1, ?, 'k', x'', ?)",
            ((number + 1, number, hashlib.sha256(number.to_bytes(8)).digest()) for number in range(leaves)),
        )
        raw.execute("COMMIT")
        raw.close()
        integrator = Integrator(journal)
        start = time.perf_counter()
        await integrator.integrate()
        integrated = time.perf_counter() - start
        times = []
        for number in range(101):
            start = time.perf_counter()
            await integrator.inclusion(number * (leaves - 1) // 100, leaves)
            times.append(1000 * (time.perf_counter() - start))
        return integrated, sorted(times)[50], max(times)


def appending(count: int) -> float:
    """Returns the microseconds of CPU that hash and tree cost an entry of 400 bytes."""
    data, edge = b"x" * 400, Frontier()
    start = time.process_time()
    for _ in range(count):
        edge.append(leaf_hash(data))
    return 1e6 * (time.process_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures verification.")
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--only", type=Path)
    said = parser.parse_args()
    if said.only:
        return only(said.only)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| measured | result |\n|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        large = bundle(folder / "large", said.entries)
        count, hashing, checking = chains(large / "entries.jsonl")
        ratio = f"{checking / hashing:.1f} times as long as hashlib"
        print(f"| chains and tree of {count:,} entries | {count / checking:,.0f} entries/s, {ratio} |")
        small = bundle(folder / "small", said.entries // 5)
        for path, size in ((small, said.entries // 5), (large, said.entries)):
            seconds, peak = whole(path)
            rate = f"{size / seconds:,.0f} entries/s, peak {peak / 2**20:.0f} MiB"
            print(f"| whole verification of {size:,} entries | {rate} |")
        integrated, median, worst = asyncio.run(proving(folder, said.leaves))
        print(f"| integrating {said.leaves:,} leaves | {integrated:.1f} s |")
        print(f"| an inclusion proof among them | {median:.2f} ms, at worst {worst:.2f} ms |")
        print(f"| hash and tree, an appended entry | {appending(200_000):.1f} µs of CPU |")
    return None


if __name__ == "__main__":
    main()
