"""A process that appends until it is killed: `store_victim.py URL [STATEMENT before|after]`.

It appends to pairs of streams, several appends a transaction, and prints `stream seq` for each entry that
it was told is committed. With STATEMENT it kills itself there, in the third transaction that has entries.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from sqlalchemy import Engine, event

from remit.core.entries import Head, Recorded, Sealed, seal
from remit.store.journal import Append, Journal
from remit.store.payloads import commit

PAIRS = 4


def kill_at(statement: str, when: str) -> None:
    transactions = 0

    def hook(_c: object, _cursor: object, text: str, _p: object, _x: object, _many: bool) -> None:
        nonlocal transactions
        if threading.current_thread().name != "remit-writer":
            return
        transactions += text == "BEGIN IMMEDIATE"
        if transactions == 3 and text.startswith(statement):
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, f"{when}_cursor_execute", hook)


def pair(number: int, run: Head, review: Head) -> tuple[Append, Head, Head]:
    """One append to two streams, with a payload each: all of it is there afterwards, or none."""
    sealed: list[Sealed] = []
    payloads = []
    for stream, head in ((f"run/{number}", run), (f"review/{number}", review)):
        committed, payload = commit(stream, head.seq + 1, "/value", b'"' + b"x" * 500 + b'"', b"0123456789abcdef")
        body = Recorded(id="t.1", task="t", what="now", value=committed)
        sealed.append(seal(stream, head, "2026-01-01T00:00:00.000000Z", "worker:victim", body))
        payloads.append(payload)
    return Append(tuple(sealed), tuple(payloads)), sealed[0].head, sealed[1].head


async def main() -> None:
    journal = await Journal.open(sys.argv[1])
    heads = {number: (Head(), Head()) for number in range(PAIRS)}
    while True:
        waiting = []
        for turn in range(3 * PAIRS):
            number = turn % PAIRS
            append, *new = pair(number, *heads[number])
            heads[number] = (new[0], new[1])
            waiting.append((append, journal.enqueue(append)))
        for append, future in waiting:
            await future
            for entry in append.entries:
                print(f"{entry.stream} {entry.seq}", flush=True)


if len(sys.argv) > 2:
    kill_at(sys.argv[2], sys.argv[3])
asyncio.run(main())
