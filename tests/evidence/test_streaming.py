"""Verification keeps nothing that it doesn't need any more, and misses nothing by that."""

from __future__ import annotations

import hashlib
import importlib.util
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from vaults import Vault, bundled, checked, holds

from remit.core import entries as e
from remit.core.canonical import canonical
from remit.core.entries import Head, seal, unseal
from remit.proofs import check_chains
from remit.verify import verify

BENCH = Path(__file__).parents[2] / "bench/verify.py"


@pytest.fixture(scope="module")
def bench() -> Any:
    """The measurement's module: it makes exports of any size."""
    spec = importlib.util.spec_from_file_location("bench_verify", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_memory_does_not_grow_with_the_number_of_entries(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "PER_RUN", 50)
    monkeypatch.setattr(bench, "ALIVE", 4)
    peaks = []
    for count in (2_000, 10_000):
        path = bench.bundle(tmp_path / str(count), count)
        tracemalloc.start()
        found = verify(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.ok and found.entries == count
    # 160 more streams: their ends, here and in the manifest. The 8,000 entries are 4 MB.
    assert peaks[1] - peaks[0] < 500_000, peaks
    assert bundled(path)


def test_progress_is_told_now_and_then(bench: Any, tmp_path: Path) -> None:
    told: list[int] = []
    assert verify(bench.bundle(tmp_path / "made", 20_001), progress=told.append).ok
    assert told == [10_000, 20_000]


def forged(bundle: Path, change: Callable[[list[tuple[str, str, str, e.Fact]]], None]) -> None:
    """Changes the list of (stream, at, actor, body), and hashes everything anew."""
    lines = (bundle / "entries.jsonl").read_bytes().splitlines()
    rows = [(entry.stream, entry.at, entry.actor, entry.body) for entry in map(unseal, lines)]
    change(rows)
    heads: dict[str, Head] = {}
    made = []
    for stream, at, actor, body in rows:
        sealed = seal(stream, heads.get(stream, Head()), at, actor, body)
        heads[stream] = sealed.head
        made.append(sealed.bytes)
    (bundle / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in made))
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    manifest["streams"] = {stream: {"entries": head.seq + 1, "head": head.hash} for stream, head in heads.items()}
    manifest["files"] = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in manifest["files"]}
    (bundle / "manifest.json").write_bytes(canonical(manifest) + b"\n")


@pytest.fixture
async def bundle(tmp_path: Path) -> Path:
    """Of two runs that are over: one was approved."""
    vault = Vault(tmp_path / "vault")
    await vault.live([7, 1])
    out = await vault.out()
    forged(out, lambda rows: None)
    assert holds(out)
    return out


async def test_an_entry_after_the_end_of_its_run_is_found(bundle: Path) -> None:
    def more(rows: list[tuple[str, str, str, e.Fact]]) -> None:
        stream, at, actor, _ = next(row for row in rows if isinstance(row[3], e.RunFinished))
        rows.append((stream, at, actor, e.Recorded("work.9", "work", "uuid", "x")))

    forged(bundle, more)
    assert not holds(bundle)
    found = checked(bundle)
    assert found is not None and any("after the end of its run" in str(problem) for problem in found.problems)


async def test_a_run_that_begins_again_after_its_end_is_found(bundle: Path) -> None:
    def more(rows: list[tuple[str, str, str, e.Fact]]) -> None:
        rows.append(next(row for row in rows if isinstance(row[3], e.RunStarted)))

    forged(bundle, more)
    assert not holds(bundle)


@pytest.mark.parametrize("kind", [e.ReviewConsumed, e.ReviewRuled, e.ReviewOpened])
async def test_an_entry_of_a_review_whose_run_is_over_is_found(bundle: Path, kind: type[e.Fact]) -> None:
    def more(rows: list[tuple[str, str, str, e.Fact]]) -> None:
        rows.append(next(row for row in rows if isinstance(row[3], kind)))

    forged(bundle, more)
    assert not holds(bundle)


async def test_an_approval_of_a_run_that_is_over_is_of_no_use_to_another(bundle: Path) -> None:
    """The second run's call rests on the ruling that the first one's did."""

    def more(rows: list[tuple[str, str, str, e.Fact]]) -> None:
        again = next(row for row in rows if isinstance(row[3], e.CallDecidedAgain))
        last = next(row[0] for row in reversed(rows) if row[0].startswith("run/"))
        at = next(n for n, row in enumerate(rows) if row[0] == last and isinstance(row[3], e.CallSettled))
        rows.insert(at, (last, *again[1:]))

    forged(bundle, more)
    assert not holds(bundle)


def test_chains_are_followed_and_the_first_broken_link_of_each_is_named(bench: Any) -> None:
    lines = [data for data, _ in bench.history(300)]
    good = check_chains(lines)
    assert good.broken == [] and good.tree.size == 300
    broken = check_chains([*lines[:60], b"{", *lines[61:]])
    stream = unseal(lines[60]).stream
    assert [number for number, _ in broken.broken] == [61, 111]
    assert broken.broken[1][1].startswith(f"{stream}#2")
    assert broken.tree.root() != good.tree.root()
