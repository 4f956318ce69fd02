"""A process that appends to one stream against all others: `appender.py URL STREAM NAME COUNT`.

It prints the number of each entry it was told is committed.
"""

from __future__ import annotations

import asyncio
import sys

from remit.core.entries import Recorded, seal
from remit.errors import Conflict
from remit.store.journal import Append, Journal


async def main(url: str, stream: str, name: str, count: int) -> None:
    async with await Journal.open(url) as journal:
        for _ in range(count):
            while True:
                head = await journal.head(stream)
                body = Recorded(id="t.1", task="t", what="now", value=name)
                entry = seal(stream, head, "2026-01-01T00:00:00.000000Z", name, body)
                try:
                    await journal.append(Append((entry,)))
                except Conflict:
                    continue
                print(entry.seq, flush=True)
                break


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
