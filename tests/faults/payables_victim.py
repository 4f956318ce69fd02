"""Kills the payables example at each of its appends: `payables_victim.py FOLDER SLICE SLICES`.

Everything is imported once; each life of the example is a fork of this process, which has no thread and no
loop. A life works the invoices, has somebody rule on what waits, and goes on. The first life of each pair
is killed just before or just after the COMMIT of its n-th transaction that has entries; the second finds
what is left and finishes. What came of it is printed, a line of JSON a pair; the first line is of a life
that nobody killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from worlds import policies_compiled_once, write_bundle

import remit.cli  # so that no life has to import anything
from remit import Runtime
from remit.runtime import policyfolder
from remit.runtime.ambient import System, stamp
from remit.runtime.registry import Registry
from remit.runtime.rulings import Reviewer, Said, rule
from remit.runtime.target import load_graph
from remit.runtime.views import review_view
from remit.store import writer
from remit.store.journal import Append, Journal
from remit.store.writer import Writer
from remit.verify import verify

ROOT = Path(__file__).parents[2]
INVOICES = Path(sys.argv[1]) / "invoices"
GRAPH = load_graph(f"{ROOT}/examples/payables/app.py:graph")


def kill_at(number: int, when: str) -> None:
    """Kills this process at the COMMIT of the n-th transaction that has entries."""
    seen = 0
    armed = False
    real = Writer._commit

    def commit(self: Writer, batch: Sequence[Any]) -> list[Any]:
        nonlocal seen, armed
        seen += any(isinstance(item.work, Append) for item in batch)
        armed = seen == number
        return real(self, batch)

    def hook(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if armed and statement == "COMMIT" and threading.current_thread().name == "remit-writer":
            os.kill(os.getpid(), signal.SIGKILL)

    Writer._commit = commit  # type: ignore[method-assign]
    event.listen(Engine, f"{when}_cursor_execute", hook)


def acknowledge(file: Path) -> None:
    """Writes down every entry that somebody was told is stored, in the moment before they are told."""
    real = writer._deliver

    def deliver(items: Sequence[Any], outcomes: Sequence[Any]) -> None:
        told = [
            entry.hash
            for item, outcome in zip(items, outcomes, strict=True)
            if isinstance(item.work, Append) and outcome is None
            for entry in item.work.entries
        ]
        with file.open("a") as out:
            out.write("".join(f"{hash}\n" for hash in told))
        real(items, outcomes)

    writer._deliver = deliver


async def live(folder: Path) -> dict[str, Any]:
    """Starts the run, or goes on with it; everything that waits is ruled on; returns the end."""
    store = f"sqlite:///{folder / 'remit.db'}"
    async with Runtime(GRAPH, store=store, policies=ROOT / "policies", keys=folder / "keys") as runtime:
        runs = await runtime.journal.streams("run/")
        run = runs[0][4:] if runs else await runtime.start(GRAPH, {"invoices": str(INVOICES)}, principal="acme")
        while (report := await runtime.resume(run)).status == "waiting":
            for review in report.reviews:
                shown = (await review_view(runtime.journal, review))["shown"]
                approved = shown["args"]["document"] == "invoice"
                await rule(runtime.journal, System(), review, Reviewer("ann"), Said(approved, "so"))
        return {"status": report.status, "output": report.output}


async def survey(folder: Path, end: dict[str, Any]) -> dict[str, Any]:
    """Looks at what is left, as an outsider: the ledger, the journal, an export of it."""
    async with await Journal.open(f"sqlite:///{folder / 'remit.db'}", keys=folder / "keys") as journal:
        await write_bundle(journal, folder / "bundle", stamp(System().now()))
    found = verify(folder / "bundle")
    with closing(sqlite3.connect(folder / "remit.db")) as connection:
        held = {row[0].hex() for row in connection.execute("SELECT hash FROM entries")}
        counts = dict(connection.execute("SELECT kind, count(*) FROM entries GROUP BY kind"))
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        paid = connection.execute("SELECT vat, reference, iban, amount FROM payments ORDER BY number").fetchall()
    told = (folder / "told").read_text().split()
    return {
        **end,
        "paid": paid,
        "lost": [hash for hash in told if hash not in held],
        "told": len(told),
        "problems": [str(problem) for problem in found.problems],
        "effects": found.effects,
        "counts": counts,
    }


def life(folder: Path, number: int = 0, when: str = "") -> int:
    """A life in a process of its own; returns how it ended."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    code = 1
    try:
        os.environ["PAYABLES_BOOKS"] = str(folder)
        acknowledge(folder / "told")
        if number:
            kill_at(number, when)
        end = asyncio.run(live(folder))
        if number:
            (folder / "survived").touch()  # there are fewer appends than that
        else:
            print(json.dumps(asyncio.run(survey(folder, end))), flush=True)
        code = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(code)


def prepare() -> None:
    """What every life would do again: one document of each kind, and the policies compiled once."""
    INVOICES.mkdir()
    for name in ("01-nordwind-paper", "02-weiss-design", "05-brug-credit", "08-nordwind-paper-again"):
        shutil.copy(ROOT / f"examples/payables/invoices/{name}.xml", INVOICES)
    registry = Registry([GRAPH])
    texts = policyfolder.read_policies(ROOT / "policies")
    policyfolder.load_folder(ROOT / "policies", texts, registry.specs, registry.root_types)


def main(folder: Path, part: int, parts: int) -> None:
    assert remit.cli
    prepare()
    assert threading.active_count() == 1
    unharmed = folder / "unharmed"
    unharmed.mkdir()
    assert life(unharmed) == 0
    for number in range(1 + part, 1_000, parts):
        for when in ("before", "after"):
            place = folder / f"{number}-{when}"
            place.mkdir()
            ended = life(place, number, when)
            if (place / "survived").exists():
                return
            assert os.WIFSIGNALED(ended), f"{place} ended with {ended}"
            assert os.WTERMSIG(ended) == signal.SIGKILL
            assert life(place) == 0, place


with policies_compiled_once():
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
