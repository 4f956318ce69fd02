"""Measures backtests over a synthetic journal: decisions a second on one core, and memory; and explanations.

    python bench/backtest.py [--calls 200000] [--keep FILE]

The budget: 30,000 decisions a second, all in: reading rows, their values, deciding, comparing. And memory that does not
grow with the journal. An explanation takes under 200 microseconds. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remit.core import entries as e
from remit.core.canonical import canonical, commitment, digest_bytes
from remit.core.decide import decide
from remit.core.entries import Head, Outcome, VerdictRecord, seal
from remit.core.facts import roots
from remit.core.policy import PolicySet
from remit.core.tools import idempotency_key
from remit.core.typed import tool
from remit.policykit.backtest import Backtest, Report
from remit.policykit.explain import explain
from remit.policykit.situations import Situation
from remit.policykit.toolset import Toolset
from remit.store.decisions import with_decisions
from remit.store.journal import Journal

AT = "2026-01-05T09:00:00.000000Z"
PER_RUN = 25
RULES = """policy: payments
rules:
  - {id: small, tools: [pay], allow: args.amount <= 1000 && facts.supplier.known}
  - id: large
    tools: [pay]
    escalate: args.amount > 1000
    to: finance
    because: "{{args.amount}} {{args.currency}} is more than 1000."
  - {id: unknown, tools: [pay], deny: "!facts.supplier.known", because: "{{args.iban}} is nobody's."}
""" + "".join(
    f"  - {{id: deny-{n}, tools: [pay], deny: 'args.amount > {20_000 + n} && args.currency == \"C{n}\"'}}\n"
    for n in range(17)
)
FILES = {"payments.yaml": RULES, "queues.yaml": "single_operator: true\nqueues:\n  finance: {}\n"}
LOOSER = {**FILES, "payments.yaml": RULES.replace("1000 &&", "1500 &&").replace("> 1000", "> 1500")}
FACTS = {"supplier": {"type": "object", "properties": {"known": {"type": "boolean"}}, "required": ["known"]}}


@tool(effect="commit", repeat="keyed")
def pay(amount: int, currency: str, iban: str, memo: str) -> None:
    """Pays."""


TOOLS = Toolset({"pay": pay.spec}, {"pay": FACTS})
TYPES = canonical({"pay": {"spec": pay.spec.document(), "facts": FACTS}})


def situation(number: int, spent: int = 0) -> Situation:
    """Returns the `number`th call: one in five over the limit, one in fifty to a stranger."""
    amount = 1_200 if number % 10 == 0 else 4_000 if number % 10 == 1 else number % 1_000
    args = {"amount": amount, "currency": "EUR", "iban": f"DE0212030000000020{number % 10_000:04}", "memo": "invoice"}
    document = {
        "now": AT,
        "agent": {"name": "payables", "version": "1"},
        "task": {"id": f"settle[{spent}]"},
        "run": {"id": f"r{number // PER_RUN}", "graph": "payables", "principal": "ann", "started": AT},
        "spent": {"calls": spent, "cost": "0", "by_tool": {"pay": {"calls": spent, "cost": "0"}}},
        "history": {"allowed": spent, "escalated": 0, "denied": 0, "last": {"pay": "allow"}},
        "labels": ["untrusted"],
        "facts": {"supplier": {"known": number % 50 != 0}},
        "approval": {"given": False, "reviewers": []},
    }
    return Situation(pay.spec, args, document)


def generate(path: Path, calls: int) -> None:
    """Writes a store with so many decided calls, each settled where it was allowed, in runs of `PER_RUN`."""

    async def make() -> None:
        async with await Journal.open(f"sqlite:///{path}"):
            pass

    asyncio.run(make())
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous = OFF")
    raw.execute("DROP TRIGGER entries_in_order")  # it costs what is not measured here
    rules = TOOLS.load(FILES)
    raw.execute("BEGIN")
    texts = canonical({"files": FILES})
    for kind, data in (("types", TYPES), ("texts", texts)):
        raw.execute("INSERT INTO artifacts VALUES (?, ?, ?)", (digest_bytes(data), kind, data))
    loaded = e.PolicyLoaded(rules.digest, dict(rules.files), digest_bytes(TYPES), digest_bytes(texts))
    sealed = seal("policy", Head(), AT, "bench", loaded)
    raw.execute("INSERT INTO streams (id, name) VALUES (1, 'policy')")
    raw.execute(
        "INSERT INTO entries (position, stream_id, seq, kind, bytes, hash) VALUES (1, 1, 0, ?, ?, ?)",
        (sealed.kind, sealed.bytes, bytes.fromhex(sealed.hash)),
    )
    position = 1
    for run in range((calls + PER_RUN - 1) // PER_RUN):
        stream = run + 2
        raw.execute("INSERT INTO streams (id, name) VALUES (?, ?)", (stream, f"run/r{run}"))
        entries, payloads = [], []
        for seq, (kind, data, hashed, values) in enumerate(_run(run, min(PER_RUN, calls - run * PER_RUN), rules)):
            position += 1
            entries.append((position, stream, seq, kind, data, bytes.fromhex(hashed)))
            payloads += [(stream, seq, path_, b"\0" * 16, value) for path_, value in values.items()]
        raw.executemany(
            "INSERT INTO entries (position, stream_id, seq, kind, bytes, hash) VALUES (?, ?, ?, ?, ?, ?)", entries
        )
        raw.executemany("INSERT INTO payloads VALUES (?, ?, ?, ?, ?)", payloads)
    raw.execute("COMMIT")
    raw.close()


_made: dict[tuple[int, int], Any] = {}


def _run(run: int, count: int, rules: PolicySet) -> Iterator[tuple[str, bytes, str, dict[str, bytes]]]:
    head, stream = Head(), f"run/r{run}"
    for number in range(count):
        found = situation(run * PER_RUN + number, number)
        key = (run * PER_RUN + number) % 1_000, number
        if key not in _made:
            _made[key] = decide("pay", roots(found.document, pay.spec, found.args), rules)
        verdict = _made[key]
        values = {f"/args/{name}": canonical(value) for name, value in found.args.items()}
        values["/facts"] = canonical(found.document)
        said = {path: commitment(b"\0" * 16, value) for path, value in values.items()}
        args = {name: said[f"/args/{name}"] for name in found.args}
        call = e.CallRecord(f"settle#{number}", "payables", "1", "settle", "pay", pay.spec.digest, args, "ab" * 32)
        record = VerdictRecord(verdict.outcome, verdict.policies, verdict.rules, verdict.broken, verdict.shadow)
        allowed = verdict.outcome is Outcome.ALLOW
        reviews = (f"{run}x{number}",) if verdict.queues else ()
        body = e.CallDecided(call, record, said["/facts"], idempotency_key(call.digest) if allowed else "", reviews)
        sealed = seal(stream, head, AT, "agent:payables", body)
        head = sealed.head
        yield sealed.kind, sealed.bytes, sealed.hash, values
        if allowed:
            sealed = seal(stream, head, AT, "tool:pay", e.CallSettled(call.id, True, milliseconds=3))
            head = sealed.head
            yield sealed.kind, sealed.bytes, sealed.hash, {}
    sealed = seal(stream, head, AT, "worker:bench", e.RunFinished(True))
    yield sealed.kind, sealed.bytes, sealed.hash, {}


async def backtest(path: Path, files: dict[str, str]) -> Report:
    """Returns what a backtest over the store finds."""

    def job(loaded: Any, rows: Any) -> Report:
        made = Backtest(files, loaded)
        made.feed(rows)
        return made.done

    async with await Journal.open(f"sqlite:///{path}", create=False) as journal:
        return await with_decisions(journal, "", job)


def only(path: Path, looser: bool) -> None:
    """In a process of its own: prints decisions, seconds of CPU, peak memory in kB, changes."""
    start = time.process_time()
    done = asyncio.run(backtest(path, LOOSER if looser else FILES))
    seconds = time.process_time() - start
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    print(done.decisions, seconds, peak[1] if peak else 0, sum(done.changes.values()), done.undecidable)


def explaining() -> float:
    """Returns the microseconds of an explanation, at best."""
    rules, found = TOOLS.load(FILES), situation(10)
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(200):
            explain(found, rules)
        best = min(best, (time.perf_counter() - start) / 200)
    return 1e6 * best


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures backtests.")
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--keep", type=Path, help="Where the journal is made, or found; kept afterwards.")
    parser.add_argument("--only", type=Path)
    parser.add_argument("--looser", action="store_true")
    said = parser.parse_args()
    if said.only:
        return only(said.only, said.looser)
    print("| measured | result |\n|---|---|")
    with tempfile.TemporaryDirectory() as made:
        path = said.keep or Path(made) / "bench.db"
        if not path.exists():
            generate(path, said.calls)
        for name, more in (("the set in force", []), ("a looser set", ["--looser"])):
            command = [sys.executable, __file__, "--only", str(path), *more]
            done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            count, seconds, peak, changes = int(done[0]), float(done[1]), int(done[2]), int(done[3])
            rate = f"{count / seconds:,.0f} decisions/s of CPU, {changes:,} changes, peak {peak // 1024} MiB"
            print(f"| backtest of {name} over {count:,} calls | {rate} |")
    print(f"| explaining a decision of 20 rules | {explaining():.0f} µs |")
    return None


if __name__ == "__main__":
    main()
