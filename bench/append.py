"""Measures durable appends: rows a second, beside raw sqlite3 that inserts the same rows.

    python bench/append.py [--rows 4096] [--directory .]

Both commit with the same pragmas and group the same number of rows into a transaction; ours also checks
heads, keeps futures and crosses a thread. The directory matters: /dev/shm has no disk to wait for.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from remit.core.entries import CallSettled, Head, seal
from remit.store.journal import Append, Journal
from remit.store.payloads import commit

GROUPS = (1, 64, 512)
ROUNDS = 3
STREAMS = 16


def appends(rows: int) -> list[Append]:
    """Returns one append for each row: an entry as the gate writes them, with one payload of 200 bytes."""
    heads = {f"run/{number}": Head() for number in range(STREAMS)}
    made = []
    for row in range(rows):
        stream = f"run/{row % STREAMS}"
        head = heads[stream]
        value = b'"' + b"x" * 198 + b'"'
        committed, payload = commit(stream, head.seq + 1, "/result", value, row.to_bytes(16, "big"))
        body = CallSettled(id=f"task.{row}", ok=True, result=committed, milliseconds=12)
        entry = seal(stream, head, "2026-01-01T00:00:00.000000Z", "worker:bench", body)
        heads[stream] = entry.head
        made.append(Append((entry,), (payload,)))
    return made


async def ours(path: Path, work: Sequence[Append], group: int) -> float:
    async with await Journal.open(f"sqlite:///{path}") as journal:
        start = time.perf_counter()
        for first in range(0, len(work), group):
            futures = [journal.enqueue(append) for append in work[first : first + group]]
            for future in futures:
                await future
        return time.perf_counter() - start


async def raw(path: Path, work: Sequence[Append], group: int) -> float:
    await (await Journal.open(f"sqlite:///{path}")).close()  # the same tables and triggers
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "recursive_triggers = ON",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    streams = {f"run/{number}": number + 1 for number in range(STREAMS)}
    connection.executemany("INSERT INTO streams (name, id) VALUES (?, ?)", streams.items())
    entries, payloads = rows_of(work, streams)
    start = time.perf_counter()
    for first in range(0, len(work), group):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO entries (position, stream_id, seq, kind, bytes, hash) VALUES (?, ?, ?, ?, ?, ?)",
            entries[first : first + group],
        )
        connection.executemany("INSERT INTO payloads VALUES (?, ?, ?, ?, ?)", payloads[first : first + group])
        connection.execute("COMMIT")
    taken = time.perf_counter() - start
    connection.close()
    return taken


def rows_of(
    work: Sequence[Append], streams: dict[str, int]
) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    entries: list[tuple[object, ...]] = []
    payloads: list[tuple[object, ...]] = []
    for position, append in enumerate(work, 1):
        entry, payload = append.entries[0], append.payloads[0]
        stream = streams[entry.stream]
        entries.append((position, stream, entry.seq, entry.kind, entry.bytes, bytes.fromhex(entry.hash)))
        payloads.append((stream, payload.seq, payload.path, payload.salt, payload.value))
    return entries, payloads


async def measure(directory: Path, rows: int) -> None:
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}\n")
    print("| group | rows/s | raw sqlite3 rows/s | ratio |\n|---|---|---|---|")
    for group in GROUPS:
        work = appends(rows if group > 1 else max(rows // 4, 1))
        best = {"ours": float("inf"), "raw": float("inf")}
        for _turn in range(ROUNDS):
            with tempfile.TemporaryDirectory(dir=directory) as folder:
                best["ours"] = min(best["ours"], await ours(Path(folder) / "ours.db", work, group))
                best["raw"] = min(best["raw"], await raw(Path(folder) / "raw.db", work, group))
        mine, theirs = len(work) / best["ours"], len(work) / best["raw"]
        print(f"| {group} | {mine:,.0f} | {theirs:,.0f} | {mine / theirs:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures durable appends beside raw sqlite3.")
    parser.add_argument("--rows", type=int, default=4096, help="rows for each measurement (default 4096)")
    parser.add_argument("--directory", type=Path, default=Path("."), help="where the files go (default .)")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.directory, arguments.rows))


if __name__ == "__main__":
    main()
