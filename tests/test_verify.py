"""Guarantees 6 and 14: every changed, dropped, added, reordered or cut entry is found, from an export alone.

And so is what a liar writes who hashes everything anew: an effect without its verdict, an approval of another
call, used twice, expired, or denied.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from worlds import World, one, policies_compiled_once

import remit
from remit import Context, Graph, Task
from remit.core import entries as e
from remit.core.canonical import canonical, commitment
from remit.core.entries import Head, Outcome, seal, unseal
from remit.core.tools import call_digest, idempotency_key
from remit.errors import BadInput
from remit.verify import verify


async def _make(folder: Path) -> Path:
    """A store with a run of each kind: allowed, denied, approved, refused; and its export."""
    world = World(folder).policy(
        {"id": "small", "allow": "args.amount < 5"}, escalate="args.amount == 7", deny="args.amount > 7"
    )
    act = world.act(repeat="keyed")

    async def ask(ctx: Context, amount: int) -> str:
        return await ctx.call(act, what="pay", amount=amount)

    graph = one(ask, act)
    async with world.runtime(graph) as runtime:
        assert (await runtime.run(graph, 1, principal="me")).status == "done"
        assert (await runtime.run(graph, 9, principal="me")).status == "failed"
        for approved in (True, False):
            report = await runtime.run(graph, 7, principal="me")
            await world.rule(report.reviews[0], approved)
            await runtime.resume(report.run)
    return await world.export("bundle")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(_make(tmp_path_factory.mktemp("made")))


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def checked(bundle: Path) -> list[str]:
    return [str(problem) for problem in verify(bundle).problems]


def rehash(bundle: Path, *, heads: bool = True) -> None:
    """Makes the manifest fit, as whoever spoils a bundle can."""
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    manifest["files"] = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in manifest["files"]}
    if heads:
        streams: dict[str, dict[str, object]] = {}
        for line in (bundle / "entries.jsonl").read_bytes().splitlines():
            entry = unseal(line)
            streams[entry.stream] = {"entries": entry.seq + 1, "head": entry.hash}
        manifest["streams"] = streams
        manifest["size"] = manifest["entries"] = len(lines_of(bundle))
    (bundle / "manifest.json").write_bytes(canonical(manifest) + b"\n")


def lines_of(bundle: Path) -> list[bytes]:
    return (bundle / "entries.jsonl").read_bytes().splitlines()


def write(bundle: Path, lines: list[bytes]) -> None:
    (bundle / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def test_an_export_holds_and_says_what_was_checked(made: Path) -> None:
    found = verify(made)
    assert found.problems == []
    assert found.entries == len(lines_of(made))
    assert (found.decisions, found.effects, found.approvals) == (5, 2, 1)
    assert found.payloads == len((made / "payloads.jsonl").read_bytes().splitlines())


# --- guarantee 14: whole spaces --------------------------------------------------------------------------


def dropped(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at] + lines[at + 1 :]


def doubled(lines: list[bytes], at: int) -> list[bytes]:
    return lines[: at + 1] + lines[at:]


def swapped(lines: list[bytes], at: int) -> list[bytes]:
    """Changes places with the next entry of its own stream."""
    stream = unseal(lines[at]).stream
    other = next((n for n in range(at + 1, len(lines)) if unseal(lines[n]).stream == stream), -1)
    if other < 0:
        return [*lines[:at], b"{}", *lines[at + 1 :]]
    made = list(lines)
    made[at], made[other] = lines[other], lines[at]
    return made


def truncated(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at]


def emptied(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], b"", *lines[at + 1 :]]


@pytest.mark.parametrize("spoil", [dropped, doubled, swapped, truncated, emptied])
@pytest.mark.parametrize("hashed", [False, True])
def test_a_dropped_doubled_reordered_or_cut_entry_is_found(
    bundle: Path, spoil: Callable[[list[bytes], int], list[bytes]], hashed: bool
) -> None:
    lines = lines_of(bundle)
    for at in range(len(lines)):
        write(bundle, spoil(lines, at))
        if hashed:
            rehash(bundle, heads=False)
        problems = checked(bundle)
        assert problems, f"{spoil.__name__} {at}"
        if hashed and spoil is not truncated:
            # The first bad entry is named: the one that is wrong, or the next of its stream.
            stream = unseal(lines[at]).stream
            first = problems[0]
            assert re.match(r"entries\.jsonl:\d+: ", first) or first.startswith(stream), first
            if re.match(r"entries\.jsonl:\d+: ", first):
                assert int(first.split(":")[1]) >= at + 1
            assert stream in "\n".join(problems[:3]) or spoil in (swapped, emptied)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """The export of one run with one call; the same policies are compiled once."""
    world = World(tmp_path).policy(allow="true")
    act = world.act()

    async def main() -> Path:
        async def agent(ctx: Context) -> str:
            return await ctx.call(act)

        async with world.runtime(one(agent, act)) as runtime:
            await runtime.run("app", principal="me")
        return await world.export("small")

    with policies_compiled_once():
        yield asyncio.run(main())


@pytest.mark.parametrize("name", ["entries.jsonl", "payloads.jsonl"])
def test_a_changed_byte_anywhere_is_found_even_if_the_manifest_is_made_to_fit(small: Path, name: str) -> None:
    """Every byte: a changed one breaks its own line, or the link from the next."""
    path = small / name
    data = path.read_bytes()
    manifest = orjson.loads((small / "manifest.json").read_bytes())
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 + place % 255
        path.write_bytes(spoilt)
        manifest["files"][name] = hashlib.sha256(spoilt).hexdigest()
        (small / "manifest.json").write_bytes(canonical(manifest))
        problems = checked(small)
        if name == "payloads.jsonl" and not problems:  # only how it is written, such as a hex digit in capitals
            assert list(map(_payload, data.splitlines())) == list(map(_payload, bytes(spoilt).splitlines()))
            continue
        assert problems, place
        number = 1 + data[:place].count(b"\n")
        lines = [int(found.split(":")[1]) for found in problems if found.startswith("entries.jsonl:")]
        assert name != "entries.jsonl" or not lines or min(lines) >= number, problems


def _payload(line: bytes) -> tuple[Any, ...]:
    row = orjson.loads(line)
    return row["stream"], row["seq"], row["path"], bytes.fromhex(row["salt"]), row["value"]


@pytest.mark.parametrize("name", ["entries.jsonl", "payloads.jsonl", "artifacts.jsonl", "README.txt"])
def test_a_file_that_is_not_the_one_of_the_manifest_is_named(bundle: Path, name: str) -> None:
    data = (bundle / name).read_bytes()
    for spoilt in (data + b"\n", data[:-1], b"", data[:1] + b"\x00" + data[2:]):
        (bundle / name).write_bytes(spoilt)
        assert any(found.startswith(name) for found in checked(bundle))
    (bundle / name).unlink()
    assert any(found.startswith(name) for found in checked(bundle))


def test_every_artifact_is_what_its_digest_says(bundle: Path) -> None:
    lines = (bundle / "artifacts.jsonl").read_bytes().splitlines()
    for number, line in enumerate(lines):
        row = orjson.loads(line)
        for change in (
            {"data": row["data"] + " "},
            {"digest": "0" * 64},
            {"data": 7},
            {"data": "[]", "digest": hashlib.sha256(b"[]").hexdigest()},
        ):
            changed = [*lines[:number], orjson.dumps({**row, **change}), *lines[number + 1 :]]
            (bundle / "artifacts.jsonl").write_bytes(b"".join(one_ + b"\n" for one_ in changed))
            rehash(bundle)
            if row["kind"] in ("policies", "types") or "digest" not in change:
                assert checked(bundle), (row["kind"], change)


def test_a_missing_payload_is_a_problem_unless_the_manifest_says_it_is_withheld(bundle: Path) -> None:
    path = bundle / "payloads.jsonl"
    lines = path.read_bytes().splitlines()
    for number in range(len(lines)):
        path.write_bytes(b"".join(line + b"\n" for line in dropped(lines, number)))
        rehash(bundle)
        row = orjson.loads(lines[number])
        place = f"{row['stream']}#{row['seq']} {row['path']}"
        assert any(found.startswith(place) and "is missing" in found for found in checked(bundle))
        manifest = orjson.loads((bundle / "manifest.json").read_bytes())
        said = canonical({**manifest, "withheld": 1, "payloads": len(lines) - 1})
        (bundle / "manifest.json").write_bytes(said)
        found = verify(bundle)
        assert found.ok and found.withheld == 1 and place in "\n".join(found.notes)
        assert verify(bundle, strict=True).ok == (found.undecided == 0)
        (bundle / "manifest.json").write_bytes(canonical(manifest))


@pytest.mark.parametrize("name", ["size", "entries", "payloads", "withheld", "scope", "files"])
def test_what_a_manifest_counts_is_compared_with_what_is_there(bundle: Path, name: str) -> None:
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    others = {"scope": ["some"], "files": {**manifest["files"], "more.txt": "0" * 64}}
    said = others.get(name) or manifest[name] + 1
    (bundle / "manifest.json").write_bytes(canonical({**manifest, name: said}))
    assert any(problem.startswith("manifest.json") or "manifest says" in problem for problem in checked(bundle))


def test_an_added_payload_is_a_problem(bundle: Path) -> None:
    path = bundle / "payloads.jsonl"
    lines = path.read_bytes().splitlines()
    extra = canonical({**orjson.loads(lines[0]), "path": "/more"})
    path.write_bytes(b"".join(line + b"\n" for line in [*lines, extra]))
    rehash(bundle)
    assert any("no entry commits to" in found for found in checked(bundle))


RUBBISH = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"7",
    b"\xff",
    b'{"a":' * 5_000,
    b"[" * 100_000,
    b'{"stream":[],"seq":{},"path":1,"salt":"00","value":"1"}',
    b'{"digest":[],"data":"x","kind":1}',
    b'{"digest":"","data":"","kind":""}',
    b'"\\ud800"',
]


@pytest.mark.parametrize("name", ["entries.jsonl", "payloads.jsonl", "artifacts.jsonl"])
@pytest.mark.parametrize("line", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_in_a_file_is_a_problem_at_its_line_and_never_an_exception(
    bundle: Path, name: str, line: bytes
) -> None:
    path = bundle / name
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"".join(one_ + b"\n" for one_ in [*lines, line]))
    rehash(bundle, heads=False)
    assert any(found.startswith(f"{name}:{len(lines) + 1}") for found in checked(bundle))


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"format":"remit export"}',
        b'{"format":"remit export","version":2}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_export_is_bad_input(bundle: Path, manifest: bytes | None) -> None:
    (bundle / "manifest.json").unlink()
    if manifest is not None:
        (bundle / "manifest.json").write_bytes(manifest)
    with pytest.raises(BadInput, match=re.escape(str(bundle))):
        verify(bundle)
    with pytest.raises(BadInput, match="nothing at"):
        verify(bundle / "nowhere")
    with pytest.raises(BadInput):
        verify(bundle / "entries.jsonl")


@pytest.mark.parametrize(
    "fields",
    [{"files": []}, {"streams": []}, {"files": {}}, {"streams": {}}, {"streams": {"run/x": 1}}, {"files": None}],
)
def test_a_manifest_of_another_shape_is_a_problem(bundle: Path, fields: dict[str, object]) -> None:
    manifest = orjson.loads((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_bytes(canonical({**manifest, **fields}))
    assert checked(bundle)


def test_a_zip_says_the_same_as_its_folder_and_a_spoilt_one_never_raises(made: Path, tmp_path: Path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "bundle"), "zip", made))
    good = verify(path)
    assert (good.problems, good.entries, good.decisions) == ([], verify(made).entries, 5)
    data = path.read_bytes()
    for place in range(0, len(data), 211):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            found = verify(path)
        except BadInput:
            continue
        # What isn't found is no part of a file: times, flags, the same name twice in the archive's own index.
        assert not found.ok or (found.entries, found.decisions) == (good.entries, good.decisions)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput):
        verify(path)


# --- liars: everything is hashed anew, and still it can't be so ---------------------------------------------


class Forger:
    """Rewrites an export as somebody who owns the machine can: chains, digests and the manifest fit again."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        self.entries = [unseal(line) for line in lines_of(bundle)]

    def find(self, kind: str, number: int = 0) -> int:
        return [place for place, entry in enumerate(self.entries) if entry.kind == kind][number]

    def change(self, place: int, **fields: object) -> None:
        entry = self.entries[place]
        self.entries[place] = msgspec.structs.replace(entry, body=msgspec.structs.replace(entry.body, **fields))

    def at(self, place: int, at: str) -> None:
        self.entries[place] = msgspec.structs.replace(self.entries[place], at=at)

    def drop(self, place: int) -> None:
        del self.entries[place]

    def insert(self, place: int, stream: str, body: e.Fact) -> None:
        kind = next(kind for kind, model in e.KINDS.items() if type(body) is model)
        entry = msgspec.structs.replace(self.entries[place - 1], stream=stream, kind=kind, body=body)
        self.entries.insert(place, entry)

    def problems(self) -> list[str]:
        """Seals it all again; payloads follow the entry they are of, and rulings the hash they name."""
        heads: dict[str, Head] = {}
        moved: dict[tuple[str, int], int] = {}
        hashes: dict[str, str] = {}
        lines = []
        for entry in self.entries:
            body: Any = entry.body
            if getattr(body, "rulings", None):
                rulings = tuple(
                    msgspec.structs.replace(one_, hash=hashes.get(one_.hash, one_.hash)) for one_ in body.rulings
                )
                body = msgspec.structs.replace(body, rulings=rulings)
            made = seal(entry.stream, heads.get(entry.stream, Head()), entry.at, entry.actor, body)
            moved.setdefault((entry.stream, entry.seq), made.seq)
            hashes.setdefault(entry.hash, made.hash)
            heads[entry.stream] = made.head
            lines.append(made.bytes)
        write(self.bundle, lines)
        path = self.bundle / "payloads.jsonl"
        rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        rows = [
            {**row, "seq": moved[row["stream"], row["seq"]]} for row in rows if (row["stream"], row["seq"]) in moved
        ]
        path.write_bytes(b"".join(canonical(row) + b"\n" for row in rows))
        rehash(self.bundle)
        return checked(self.bundle)

    def run_of(self, place: int) -> Any:
        return next(entry.body for entry in self.entries if entry.stream == self.entries[place].stream)

    def payload(self, place: int, path: str, value: object) -> str:
        """Replaces a payload's value, and returns the commitment to it."""
        entry, data = self.entries[place], canonical(value)
        file = self.bundle / "payloads.jsonl"
        rows = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        for row in rows:
            if (row["stream"], row["seq"], row["path"]) == (entry.stream, entry.seq, path):
                row["value"] = data.decode()
                salt = bytes.fromhex(row["salt"])
        file.write_bytes(b"".join(canonical(row) + b"\n" for row in rows))
        return commitment(salt, data)


@pytest.fixture
def forger(bundle: Path) -> Forger:
    made = Forger(bundle)
    assert made.problems() == []  # sealed again as it was, it holds
    return made


def test_an_effect_without_an_allow_verdict_before_it_is_found(forger: Forger) -> None:
    place = forger.find("call.decided")
    stream = forger.entries[place].stream
    verdict = forger.entries[place].body.verdict  # type: ignore[attr-defined]
    forger.change(place, verdict=msgspec.structs.replace(verdict, outcome=Outcome.DENY, rules=()), key="")
    found = forger.problems()
    assert any(stream in one_ and "can't be settled" in one_ for one_ in found), found


def test_a_verdict_that_is_dropped_with_all_its_traces_leaves_an_effect_of_nothing(forger: Forger) -> None:
    forger.drop(forger.find("call.decided"))
    assert any("there is no call" in found for found in forger.problems())


def test_a_deny_that_is_followed_by_an_effect_is_found(forger: Forger) -> None:
    place = forger.find("call.decided", 1)
    entry = forger.entries[place]
    assert entry.body.verdict.outcome is Outcome.DENY  # type: ignore[attr-defined]
    forger.insert(place + 1, entry.stream, e.CallSettled("work#0", True, result="ab" * 32))
    assert any("what is refused can't be settled" in found for found in forger.problems())


@pytest.mark.parametrize("key", ["", "f" * 40])
def test_an_intent_for_another_call_is_found(forger: Forger, key: str) -> None:
    forger.change(forger.find("call.decided"), key=key)
    found = forger.problems()
    assert any("the intent before it is for another call" in one_ or "it was not intended" in one_ for one_ in found)


def test_a_decision_that_is_not_decided_so_again_is_found(forger: Forger) -> None:
    place = forger.find("call.decided", 1)
    body: Any = forger.entries[place].body
    allowed = msgspec.structs.replace(body.verdict, outcome=Outcome.ALLOW, rules=())
    forger.change(place, verdict=allowed, key=idempotency_key(body.call.digest))
    assert any("decided again it is deny" in found for found in forger.problems())


@pytest.mark.parametrize("what", ["args", "facts", "reasons", "other agent"])
def test_a_call_or_facts_that_are_made_to_fit_the_verdict_are_found(forger: Forger, what: str) -> None:
    place = forger.find("call.decided")
    body: Any = forger.entries[place].body
    if what == "args":
        args = {**body.call.args, "amount": forger.payload(place, "/args/amount", 9)}
        forger.change(place, call=msgspec.structs.replace(body.call, args=args))
        words = "the call's digest is not the digest of what it says"
    elif what == "other agent":
        forger.change(place, call=msgspec.structs.replace(body.call, agent="other"))
        words = "the call's digest is not the digest of what it says"
    elif what == "facts":
        forger.change(place, facts=forger.payload(place, "/facts", {"now": "never"}))
        words = "recorded facts can't be read"
    else:
        verdict = msgspec.structs.replace(body.verdict, reasons=forger.payload(place, "/reasons", ["trust me"]))
        forger.change(place, verdict=verdict)
        words = "the recorded reasons are not the reasons of this decision"
    assert any(words in found for found in forger.problems())


def test_arguments_that_are_changed_with_digest_and_key_still_do_not_decide_so(forger: Forger) -> None:
    place = forger.find("call.decided")
    body: Any = forger.entries[place].body
    call = msgspec.structs.replace(
        body.call, args={**body.call.args, "amount": forger.payload(place, "/args/amount", 9)}
    )
    started = forger.run_of(place)
    call = msgspec.structs.replace(call, digest=call_digest(started.run, started.principal, call))
    forger.change(place, call=call, key=idempotency_key(call.digest))
    assert any("decided again it is deny" in found for found in forger.problems())


@pytest.mark.parametrize(
    "value", ["not json", "[]", "null", '{"now":1}', "7", "{", '{"now":"2026-01-05T09:00:00Z","spent":[]}']
)
def test_facts_that_are_no_facts_are_a_problem_and_never_an_exception(forger: Forger, value: str) -> None:
    place = forger.find("call.decided")
    file = forger.bundle / "payloads.jsonl"
    rows = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    entry = forger.entries[place]
    row = next(row for row in rows if (row["stream"], row["seq"], row["path"]) == (entry.stream, entry.seq, "/facts"))
    row["value"] = value
    file.write_bytes(b"".join(canonical(row) + b"\n" for row in rows))
    forger.change(place, facts=commitment(bytes.fromhex(row["salt"]), value.encode()))
    assert any(entry.stream in found for found in forger.problems())


def test_an_approval_for_another_call_is_found(forger: Forger) -> None:
    opened, ruled = forger.find("review.opened"), forger.find("review.ruled")
    forger.change(ruled, digest="cd" * 32)
    assert any("the ruling is for another call" in found for found in forger.problems())
    forger.change(opened, digest="cd" * 32)
    forger.change(forger.find("review.consumed"), digest="cd" * 32)
    assert any("is for another call" in found for found in forger.problems())


def test_an_approval_that_is_used_twice_is_found(forger: Forger) -> None:
    consumed = forger.find("review.consumed")
    entry = forger.entries[consumed]
    forger.insert(consumed + 1, entry.stream, entry.body)
    assert any("consumed can't be consumed" in found for found in forger.problems())


def test_an_approval_that_is_used_and_not_used_up_is_found(forger: Forger) -> None:
    forger.drop(forger.find("review.consumed"))
    assert any("an approval is used exactly where a call is intended" in found for found in forger.problems())


@pytest.mark.parametrize("what", ["ruled", "used"])
def test_an_approval_that_had_expired_is_found(forger: Forger, what: str) -> None:
    expires = forger.entries[forger.find("review.opened")].body.expires  # type: ignore[attr-defined]
    forger.at(forger.find("review.ruled" if what == "ruled" else "call.decided_again"), expires)
    words = "ruled after the review expired" if what == "ruled" else "had expired at"
    assert any(words in found for found in forger.problems())


def test_a_no_that_was_made_a_yes_only_where_it_was_used_is_found(forger: Forger) -> None:
    """The second review was denied; here its call is intended all the same."""
    place = forger.find("call.refused")
    stream = forger.entries[place].stream
    refused: Any = forger.entries[place].body
    again: Any = forger.entries[forger.find("call.decided_again")].body
    decided: Any = next(one_.body for one_ in forger.entries if one_.stream == stream and one_.kind == "call.decided")
    forger.drop(place)
    body = msgspec.structs.replace(again, rulings=refused.rulings, key=idempotency_key(decided.call.digest))
    forger.insert(place, stream, body)
    assert any("was denied by ann" in found for found in forger.problems())


def test_an_intent_that_rests_on_no_ruling_is_found(forger: Forger) -> None:
    forger.change(forger.find("call.decided_again"), rulings=())
    assert any("doesn't rest on a ruling in each" in found for found in forger.problems())


def test_rules_that_were_not_shown_do_not_become_shown_in_the_ruling(forger: Forger) -> None:
    ruled = forger.find("review.ruled")
    forger.change(ruled, disclosed=(*forger.entries[ruled].body.disclosed, "cd" * 32))  # type: ignore[attr-defined]
    assert any("not the rules that the review shows" in found for found in forger.problems())


@pytest.mark.parametrize("where", ["ruling", "policy", "policy before the use"])
def test_a_ruling_that_no_mode_permits_is_found(forger: Forger, where: str) -> None:
    loaded = forger.entries[forger.find("policy.loaded")]
    if where == "ruling":
        forger.change(forger.find("review.ruled"), single_operator=False)
    elif where == "policy":
        forger.change(forger.find("policy.loaded"), single_operator=False)
    else:
        off = msgspec.structs.replace(loaded.body, single_operator=False)
        forger.insert(forger.find("review.ruled"), "policy", off)
    assert any("single-operator mode" in found or "whose digest was recorded" in found for found in forger.problems())


def test_a_decision_under_a_policy_that_was_not_in_force_is_found(forger: Forger) -> None:
    forger.drop(forger.find("policy.loaded"))
    assert any("which was not loaded before it" in found for found in forger.problems())


def test_a_tool_that_is_not_the_one_the_policies_were_checked_against_is_found(forger: Forger) -> None:
    place = forger.find("call.decided")
    body: Any = forger.entries[place].body
    call = msgspec.structs.replace(body.call, tool_digest="cd" * 32)
    started = forger.run_of(place)
    call = msgspec.structs.replace(call, digest=call_digest(started.run, started.principal, call))
    forger.change(place, call=call, key=idempotency_key(call.digest))
    assert any("is not the one that the policies were checked against" in found for found in forger.problems())


@pytest.mark.parametrize("because", ["probe", "ruled", "", "because"])
def test_a_call_that_was_run_again_by_guess_is_found(forger: Forger, because: str) -> None:
    """The tool is keyed, has no probe, and nobody ruled."""
    place = forger.find("call.settled")
    entry, key = forger.entries[place], forger.entries[forger.find("call.decided")].body.key  # type: ignore[attr-defined]
    forger.insert(place, entry.stream, e.CallIntendedAgain("work#0", key, because))
    found = forger.problems()
    assert any("by guess" in one_ or "doesn't rest on a ruling" in one_ for one_ in found), found


def test_a_keyed_tool_may_be_run_again_with_its_own_key_and_no_other(forger: Forger) -> None:
    place = forger.find("call.settled")
    stream, key = forger.entries[place].stream, forger.entries[forger.find("call.decided")].body.key  # type: ignore[attr-defined]
    forger.insert(place, stream, e.CallIntendedAgain("work#0", key, "repeat"))
    assert forger.problems() == []
    forger.change(forger.find("call.intended_again"), key="f" * 40)
    assert any("another idempotency key" in found for found in forger.problems())


# --- exports ------------------------------------------------------------------------------------------------


async def test_an_export_of_a_run_that_is_under_way_holds(tmp_path: Path) -> None:
    """Nothing that is appended meanwhile makes it look tampered with."""
    world = World(tmp_path).policy(allow="true")
    paths = []

    async def body(*_: Any) -> str:
        paths.append(await world.export())
        return "done"

    act = world.act(body=body)

    async def busy(ctx: Context) -> None:
        for _ in range(3):
            await ctx.call(act)
            for _ in range(20):
                ctx.uuid()

    graph = Graph("app", [Task("a", busy), Task("b", busy)], tools=[act])
    async with world.runtime(graph) as runtime:
        await runtime.run(graph, principal="me")
    for path in paths:
        assert checked(path) == []


async def test_an_export_of_one_run_has_all_that_it_takes_to_check_it(tmp_path: Path) -> None:
    from worlds import write_bundle

    from remit.store.journal import Journal

    await _make(tmp_path)
    world_url = f"sqlite:///{tmp_path / 'remit.db'}"
    async with await Journal.open(world_url, keys=tmp_path / "keys") as journal:
        runs = [name[4:] for name in await journal.streams("run/")]
        for run in runs:
            out = tmp_path / f"only-{run}"
            await write_bundle(journal, out, "2026-01-05T09:00:00.000000Z", [run])
            found = verify(out)
            assert found.problems == []
            streams = {unseal(line).stream for line in lines_of(out)}
            assert f"run/{run}" in streams
            assert not any(f"run/{other}" in streams for other in runs if other != run)


def test_the_checker_imports_none_of_the_code_that_writes(made: Path) -> None:
    code = """
import sys
from pathlib import Path
import remit.verify
assert remit.verify.verify(Path(sys.argv[1])).ok
print(*(name for name in sys.modules if name.startswith(("remit.store", "remit.runtime", "remit.export", "remit.cli",
                                                         "sqlmodel", "sqlalchemy", "sqlite3", "asyncio"))))
"""
    env = {**os.environ, "PYTHONPATH": str(Path(remit.__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", code, str(made)], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [name for name in found.stdout.split() if name.startswith("asyncio")]
