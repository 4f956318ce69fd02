"""What an export holds: runs that were chosen, values that were withheld or erased; it verifies all the same."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from vaults import IBAN, Vault, alone, checked, contains, copied, holds

from remit.core.canonical import canonical
from remit.core.entries import unseal
from remit.core.merkle import leaf_hash, verify_inclusion
from remit.core.notes import Checkpoint, open_note, parse_proof
from remit.errors import BadInput, Tampered, UnknownId
from remit.export.select import Selection as Runs
from remit.export.select import select_runs
from remit.export.withhold import withholding
from remit.runtime.erasing import Selection, erase
from remit.runtime.tracing import prove, trace, trace_lineage
from remit.store.journal import Journal
from remit.store.reopening import reopened
from remit.verify import verify

HOSTILE = "</table><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x07=cmd|' /C calc'!A0"


async def _make(folder: Path) -> list[str]:
    vault = Vault(folder)
    await vault.key()
    return await vault.live([1, 9, 7])


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("lived") / "vault"
    return folder, asyncio.run(_make(folder))


@pytest.fixture
def vault(lived: tuple[Path, list[str]], tmp_path: Path) -> Vault:
    shutil.copytree(lived[0], tmp_path / "vault", ignore=shutil.ignore_patterns("*.mark"))
    made = Vault(tmp_path / "vault", seed=7)
    return made.policy({"id": "small", "allow": "args.amount < 5"}, escalate="args.amount == 7", deny="args.amount > 7")


@pytest.fixture
def runs(lived: tuple[Path, list[str]]) -> list[str]:
    """Of which the first was allowed, the second denied, and the third approved."""
    return lived[1]


# --- which runs ---------------------------------------------------------------------------------------------


async def test_a_run_alone_or_with_others_or_everything_verifies_and_holds_no_other_run(
    vault: Vault, runs: list[str]
) -> None:
    for number, wanted in enumerate([None, runs[:1], runs[1:], []]):
        out = await vault.out(f"out-{number}", wanted)
        assert holds(out)
        names = {unseal(line).stream for line in (out / "entries.jsonl").read_bytes().splitlines()}
        assert {name[4:] for name in names if name.startswith("run/")} == set(runs if wanted is None else wanted)
        assert {"policy", "store"} <= names
        reviews = [name for name in names if name.startswith("review/")]
        assert len(reviews) == (wanted is None or runs[2] in wanted)


async def test_an_export_from_a_checkpoint_proves_that_the_journal_begins_with_it(vault: Vault) -> None:
    held = (await vault.out("before") / "checkpoint").read_text(encoding="utf-8")
    await vault.live([1])
    out = await vault.out("after", held=held)
    found = checked(out, held=held)
    assert found is not None and found.ok and "of the checkpoint you hold" in found.tree
    (vault.folder / "held").write_text(held, encoding="utf-8")
    assert alone(out, "--checkpoint", vault.folder / "held").returncode == 0
    with pytest.raises(BadInput, match="not one of this journal"):
        await vault.out("other", held="rubbish")


@pytest.mark.parametrize("what", ["bytes", "hash", "gone"])
async def test_a_journal_that_was_changed_is_not_exported(vault: Vault, what: str) -> None:
    statement = {
        "bytes": "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), '\"me\"', '\"you\"') AS BLOB)",
        "hash": "UPDATE entries SET hash = zeroblob(32) WHERE position = 3",
        "gone": "DELETE FROM entries WHERE position = 3",
    }[what]
    vault.sql(statement)
    with pytest.raises(Tampered):
        await vault.out()
    assert not (vault.folder / "out").exists()


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Runs(principal="me"), "012"), (Runs(principal="you"), ""), (Runs(tool="act"), "012"), (Runs(tool="other"), ""),
        (Runs(outcome="deny"), "1"), (Runs(outcome="allow"), "012"), (Runs(tool="act", outcome="allow"), "02"),
        (Runs(tool="look", outcome="deny"), ""), (Runs(since="2026-01-05T09:00:00.000000Z"), "012"),
        (Runs(since="2026-01-06"), ""), (Runs(until="2026-01-05T09:00:00.000000Z"), ""),
        (Runs(until="2026-01-06"), "012"),
    ],
)  # fmt: skip
async def test_runs_are_chosen_by_what_is_said_of_them(
    vault: Vault, runs: list[str], selection: Runs, expected: str
) -> None:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        assert list(await select_runs(journal, selection)) == [runs[int(number)] for number in expected]


# --- what is withheld ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [["tool:act"], ["/args/what"], ["/args"], ["tool:act", "label:bank", "/shown"]])
async def test_what_is_withheld_verifies_and_is_in_no_file(vault: Vault, rules: list[str]) -> None:
    plain = await vault.out("plain")
    assert {"payloads.jsonl", "index.html"} <= set(contains(plain, IBAN))
    out = await vault.out("out", withhold=rules)
    assert holds(out)
    assert contains(out, IBAN) == []
    found = checked(out)
    assert found is not None and any("is not disclosed" in note for note in found.notes)


def _said(out: Path) -> tuple[list[str], str]:
    """Returns the problems that `remit audit verify` finds, and what verify.py prints."""
    found, other = checked(out), alone(out)
    assert found is not None and found.ok == (other.returncode == 0)
    return [str(problem) for problem in found.problems], other.stdout


async def test_a_value_that_is_removed_is_named_though_others_are_withheld(vault: Vault) -> None:
    out = await vault.out("out", withhold=["label:bank"])
    listed = [orjson.loads(line) for line in (out / "withheld.jsonl").read_bytes().splitlines()]
    lines = (out / "payloads.jsonl").read_bytes().splitlines(keepends=True)
    for number in range(0, len(lines), 3):
        _rewrite(out, "payloads.jsonl", lines[:number] + lines[number + 1 :])
        row = orjson.loads(lines[number])
        place = f"{row['stream']}#{row['seq']} {row['path']}"
        problems, printed = _said(out)
        assert any(problem.startswith(place) and "is missing" in problem for problem in problems)
        assert f"problem: {place}: the value is missing" in printed
        others = [f"{one['stream']}#{one['seq']} {path}" for one in listed for path in one["paths"]]
        assert others and not any(other in printed for other in others)


async def test_a_place_that_is_listed_as_withheld_though_its_value_is_there_is_a_problem(vault: Vault) -> None:
    out = await vault.out("out", withhold=["label:bank"])
    row = orjson.loads((out / "payloads.jsonl").read_bytes().splitlines()[0])
    more = orjson.dumps({"stream": row["stream"], "seq": row["seq"], "paths": [row["path"]]}) + b"\n"
    _rewrite(out, "withheld.jsonl", [(out / "withheld.jsonl").read_bytes(), more])
    place = f"{row['stream']}#{row['seq']} {row['path']}"
    problems, printed = _said(out)
    assert any(problem.startswith(place) and "lists it" in problem for problem in problems)
    assert f"problem: {place}: withheld.jsonl lists it" in printed


async def test_an_export_that_only_counts_what_is_withheld_is_still_read(vault: Vault) -> None:
    out = await vault.out("out", withhold=["label:bank"])
    (out / "withheld.jsonl").unlink()
    _rewrite(out, "README.txt", [(out / "README.txt").read_bytes()], gone="withheld.jsonl")
    assert _said(out)[0] == []
    lines = (out / "payloads.jsonl").read_bytes().splitlines(keepends=True)
    _rewrite(out, "payloads.jsonl", lines[1:])
    assert any("were withheld" in problem for problem in _said(out)[0])


async def test_what_is_withheld_is_not_said_to_be_erased_nor_the_other_way_round(vault: Vault, runs: list[str]) -> None:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        await erase(journal, vault.clock, Selection(runs[0], pointer="/args/what"), by="me", reason="asked to")
    out = await vault.out("out", withhold=["/args/amount", "/result"])
    async with reopened(out) as journal:
        erased, other = await trace(journal, runs[0]), await trace(journal, runs[2])
    assert [row["args"]["what"] for row in erased] == ["[erased]"] * len(erased)
    assert {row["args"]["amount"] for row in (*erased, *other)} == {"[withheld]"}
    assert {row["result"] for row in (*erased, *other)} == {"[withheld]"}
    assert {review["gone"] for row in other for review in row["approvals"]} == {"[withheld]"}
    assert "[erased]" not in orjson.dumps(other).decode()


@pytest.mark.parametrize("rules", [["/input"], ["label:bank"], ["/args/what"], ["tool:look"], ["tool:act", "/input"]])
async def test_a_lineage_shows_what_it_can_and_says_what_is_withheld(
    vault: Vault, runs: list[str], rules: list[str]
) -> None:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        whole = await trace_lineage(journal, runs[0])
    async with reopened(await vault.out("out", withhold=rules)) as journal:
        rows = await trace_lineage(journal, runs[0])
    assert [row["call"] for row in rows] == [row["call"] for row in whole]
    assert not any(row["gone"] for row in whole)
    gone = {place for row in rows for place in row["gone"]}
    # The last call's result is nobody's origin.
    assert gone or rules == ["label:bank"]
    assert all(place.startswith(f"[withheld] run/{runs[0]}#") for place in gone)


async def test_decisions_must_be_made_again_where_everything_is_exported_and_nothing_is_missing(
    vault: Vault, runs: list[str]
) -> None:
    def undecided(out: Path) -> bool:
        return any(problem.startswith("decisions") for problem in _said(out)[0])

    whole = await vault.out("whole")
    assert not undecided(whole)
    lines = (whole / "payloads.jsonl").read_bytes().splitlines(keepends=True)
    _rewrite(whole, "payloads.jsonl", [line for line in lines if orjson.loads(line)["path"] != "/facts"])
    assert undecided(whole)
    for name, wanted in (("withheld", None), ("single", runs[:1])):
        out = await vault.out(name, wanted, withhold=["/facts"])
        assert holds(out) and not undecided(out)
        assert not verify(out, strict=True).ok


def _rewrite(out: Path, name: str, lines: list[bytes], gone: str = "") -> None:
    """Replaces a file, and makes the manifest, unsigned, say so: what its maker could do."""
    (out / name).write_bytes(b"".join(lines))
    manifest = orjson.loads((out / "manifest.json").read_bytes())
    manifest["files"] = {one: digest for one, digest in manifest["files"].items() if one != gone}
    manifest["files"][name] = hashlib.sha256((out / name).read_bytes()).hexdigest()
    manifest["payloads"] = len((out / "payloads.jsonl").read_bytes().splitlines())
    if (out / "withheld.jsonl").exists():
        rows = [orjson.loads(line) for line in (out / "withheld.jsonl").read_bytes().splitlines()]
        manifest["withheld"] = sum(len(row["paths"]) for row in rows)
    manifest["signed"] = False
    (out / "manifest.json").write_bytes(canonical(manifest) + b"\n")
    (out / "manifest.note").unlink(missing_ok=True)


async def test_a_label_withholds_the_results_that_carry_it_and_nothing_else(vault: Vault) -> None:
    await vault.live([1], what="public", result="very secret result")
    out = await vault.out("out", withhold=["label:bank"])
    assert holds(out) and contains(out, "very secret result") == []
    assert contains(out, "public") and contains(out, IBAN[::-1])
    await vault.live([1], what=f"{IBAN}X")
    assert contains(await vault.out("other", withhold=["tool:look"]), IBAN[::-1]) == []


async def test_a_rejected_call_shows_no_argument_that_is_withheld(vault: Vault) -> None:
    from worlds import one

    act = vault.act()

    async def wrong(ctx: Any) -> str:
        try:
            await ctx.call(act, what=["the secret"], amount=1)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001
            return type(error).__name__
        return ""

    async with vault.runtime(one(wrong, act)) as runtime:
        await runtime.run("app", principal="me")
    assert contains(await vault.out("plain"), "the secret")
    out = await vault.out("out", withhold=["/args/what"])
    assert holds(out) and contains(out, "the secret") == []


@pytest.mark.parametrize("rule", ["", "args/what", "tool", "Tool:x", "pointer:/x"])
def test_a_rule_that_is_none_is_bad_input(rule: str) -> None:
    with pytest.raises(BadInput, match="--withhold"):
        withholding([rule])


async def test_without_a_key_it_is_not_signed_and_says_so(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "keyless")
    await vault.live([1])
    out = await vault.out()
    found = checked(out)
    assert found is not None and found.ok and found.signed == ()
    assert any("it is not signed" in note for note in found.notes)
    assert "not signed" in alone(out).stdout
    assert not holds(out, [await Vault(tmp_path / "other").key()])


async def test_payloads_stand_in_the_order_of_their_entries_and_one_out_of_place_is_named(vault: Vault) -> None:
    out = await vault.out()
    order = {
        (entry.stream, entry.seq): number
        for number, entry in enumerate(map(unseal, (out / "entries.jsonl").read_bytes().splitlines()))
    }
    lines = (out / "payloads.jsonl").read_bytes().splitlines(keepends=True)
    rows = [orjson.loads(line) for line in lines]
    places = [(order[row["stream"], row["seq"]], row["path"]) for row in rows]
    assert places == sorted(places)
    moved = copied(out, vault.folder / "moved")
    (moved / "payloads.jsonl").write_bytes(b"".join([*lines[1:], lines[0]]))
    found = checked(moved)
    assert found is not None
    assert any(problem.place == f"payloads.jsonl:{len(lines)}" for problem in found.problems)
    assert f"payloads.jsonl:{len(lines)}: " in alone(moved).stdout


# --- the page ----------------------------------------------------------------------------------------------


async def test_the_page_shows_hostile_text_as_text_and_lets_nothing_run(vault: Vault) -> None:
    await vault.live([1, 7], what=HOSTILE, result=HOSTILE)
    page = (await vault.out() / "index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page and "\\u202e\\u0007" in page
    assert not re.search(r"<(script|img|iframe|object|embed|link|form)\b", page, re.IGNORECASE)
    assert "\u202e" not in page and "\x07" not in page
    (policy,) = re.findall(r'<meta http-equiv=Content-Security-Policy content="([^"]+)">', page)
    assert policy.startswith("default-src 'none'")
    assert page.index("Content-Security-Policy") < page.index("<style>")


# --- erasing --------------------------------------------------------------------------------------------------


def in_store(vault: Vault, value: str) -> list[str]:
    """Which of the store's files the value stands in: the database, its log, its index."""
    files = sorted(vault.folder.glob("remit.db*"))
    return [path.name for path in files if value.encode() in path.read_bytes()]


async def gone(vault: Vault, selection: Selection) -> list[tuple[str, str]]:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        found = await erase(journal, vault.clock, selection, by="ann", reason="asked for")
        assert in_store(vault, "nothing of this") == []
        return [(payload.stream, payload.path) for payload in found]


async def test_what_was_erased_is_in_no_file_of_the_store_and_all_that_was_proven_still_is(
    vault: Vault, runs: list[str]
) -> None:
    before = await vault.out("before")
    held = (before / "checkpoint").read_text(encoding="utf-8")
    assert in_store(vault, IBAN)
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        await erase(journal, vault.clock, Selection(subject=IBAN), by="ann", reason="article 17")
        assert in_store(vault, IBAN) == []  # while it is open, and so with the log beside it
    assert in_store(vault, IBAN) == []
    out = await vault.out("after", held=held)
    assert holds(out, held=held) and contains(out, IBAN) == []
    found = checked(out)
    assert found is not None and any(re.search(r"/args/what: erased by ann at 2026", note) for note in found.notes)
    erased = [entry for entry in await vault.entries("store") if entry.kind == "store.erased"]
    assert {entry.actor for entry in erased} == {"operator:ann"}
    for name in ("entries.jsonl",):  # not a byte of what was there is another
        assert (out / name).read_bytes().startswith((before / name).read_bytes())


async def test_many_values_of_all_sizes_leave_nothing_behind(vault: Vault) -> None:
    """Pages are split and filled anew as values come: what moved is overwritten, too."""
    words = [f"{IBAN}-{number:04d}-" * (1 + number * number % 97) for number in range(24)]
    for word in words:
        await vault.live([1], what=word)
    await gone(vault, Selection(subject=IBAN))
    assert in_store(vault, IBAN) == []


async def test_a_run_a_call_or_a_pointer_is_erased_and_nothing_else(vault: Vault, runs: list[str]) -> None:
    quoted = await gone(vault, Selection(run=runs[0], call="work#1", pointer="/args/what"))
    assert (f"run/{runs[0]}", "/args/what") in quoted  # and what may quote it
    assert {path for _, path in quoted} <= {"/args/what", "/facts", "/reasons"}
    called = await gone(vault, Selection(run=runs[2], call="work#1"))
    assert {"/args/what", "/args/amount", "/facts", "/result", "/shown"} <= {path for _, path in called}
    assert {stream.partition("/")[0] for stream, _ in called} == {"run", "review"}
    assert in_store(vault, IBAN)  # the denied one's
    assert {stream for stream, _ in await gone(vault, Selection(run=runs[1]))} == {f"run/{runs[1]}"}
    assert in_store(vault, IBAN) == []
    assert holds(await vault.out())
    with pytest.raises(UnknownId, match="nothing to erase"):
        await gone(vault, Selection(run=runs[1]))


@pytest.mark.parametrize("reason", ["", "  "])
async def test_an_erasure_without_a_reason_or_without_a_selection_is_refused(vault: Vault, reason: str) -> None:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        with pytest.raises(BadInput, match="reason"):
            await erase(journal, vault.clock, Selection(subject=IBAN), by="ann", reason=reason)
        with pytest.raises(BadInput, match="erase what"):
            await erase(journal, vault.clock, Selection(pointer="/args"), by="ann", reason="because")
    assert in_store(vault, IBAN)


async def test_nothing_is_erased_that_a_run_needs_to_go_on(vault: Vault) -> None:
    from worlds import one

    act = vault.act()

    async def ask(ctx: Any) -> str:
        return str(await ctx.call(act, what="waiting secret", amount=7))

    async with vault.runtime(one(ask, act)) as runtime:
        report = await runtime.run("app", principal="me")
    for selection in (
        Selection(run=report.run),
        Selection(subject="waiting secret"),
        Selection(run=report.run, call="work#0"),
    ):
        with pytest.raises(BadInput, match="isn't over"):
            await gone(vault, selection)
    assert in_store(vault, "waiting secret")


async def test_who_still_reads_the_store_is_named_where_the_log_can_not_be_emptied(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    from remit.errors import JournalError
    from remit.store import journal as module

    monkeypatch.setattr(module, "_EMPTY_LOG", "SELECT 1, 0, 0")  # what SQLite says when it gives up
    with pytest.raises(JournalError, match="copies are in the write-ahead log"):
        await gone(vault, Selection(subject=IBAN))


# --- tracing and proving ---------------------------------------------------------------------------------------


async def test_a_trace_says_who_asked_what_was_seen_decided_approved_and_done(vault: Vault, runs: list[str]) -> None:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        (row,) = await trace(journal, runs[2], "work#1")
        assert (row["principal"], row["tool"], row["args"]["what"]) == ("me", "act", IBAN)
        assert [review["ruling"]["reviewer"] for review in row["approvals"]] == ["ann"]
        assert row["proof"]["checkpoint"] and any(rule["decided"] for rule in row["rules_considered"])
        assert len(await trace(journal, runs[0])) == 2
        with pytest.raises(UnknownId):
            await trace(journal, runs[0], "work#9")


async def test_a_proof_verifies_with_the_key_and_the_entry_alone(vault: Vault, runs: list[str]) -> None:
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        text = await prove(journal, runs[2], "work#1")
        keys = [known.key for known in await vault.ring.known(journal)]
        index, proof, note = parse_proof(text)
        checkpoint = Checkpoint.parse(open_note(note, keys)[0])
        ((_, entry),) = await journal.since(index, 1)
        assert unseal(entry).kind == "call.decided_again"
        assert verify_inclusion(leaf_hash(entry), index, checkpoint.size, checkpoint.root, proof)
        assert not verify_inclusion(leaf_hash(entry + b" "), index, checkpoint.size, checkpoint.root, proof)
        with pytest.raises(UnknownId):
            await prove(journal, runs[2], "work#9")


async def test_a_call_that_no_checkpoint_covers_has_no_proof(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "keyless")
    (run,) = await vault.live([1])
    async with await Journal.open(vault.url, keys=vault.keys) as journal:
        with pytest.raises(BadInput, match="no checkpoint covers"):
            await prove(journal, run, "work#0")


def test_the_database_overwrites_what_it_deletes(vault: Vault) -> None:
    with sqlite3.connect(vault.path) as raw:
        assert raw.execute("SELECT count(*) FROM payloads").fetchone()[0] > 20
    raw.close()
