"""Entries: their bytes are canonical, pinned, and read back as what they say or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core import entries as e
from remit.core.canonical import canonical, link
from remit.core.entries import (
    KINDS,
    LARGEST_ENTRY,
    Entry,
    Fact,
    Head,
    Outcome,
    as_entry,
    commitments,
    follow,
    seal,
    unseal,
)
from remit.errors import JournalError, NewerJournal, Tampered, TooLarge

GOLDEN = Path(__file__).parents[1] / "golden/entries.jsonl"
AT = "2026-01-05T09:00:00.000000Z"
HASH = "ab" * 32

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def stream_of(kind: str) -> str:
    family = kind.split(".")[0]
    named = {"review": "review/r1", "grant": "grant/r1", "flow": "flow/a1", "counter": "counter/c1"}
    return {**named, "policy": "policy", "store": "store"}.get(family, "run/a1")


def of_type(annotation: Any) -> st.SearchStrategy[Any]:
    if get_origin(annotation) is tuple:
        first, *others = get_args(annotation)
        if others != [...]:
            return st.tuples(of_type(first), *map(of_type, others))
        return st.lists(of_type(first), max_size=2).map(tuple)
    if get_origin(annotation) is dict:
        return st.dictionaries(
            st.from_regex(r"[A-Za-z_]\w{0,5}", fullmatch=True).filter(str.isascii),
            of_type(get_args(annotation)[1]),
            max_size=3,
        )
    if get_args(annotation):
        return st.one_of(*(of_type(one) for one in get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return facts(annotation)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT,
        int: st.integers(0, 2**53 - 1),
        bool: st.booleans(),
        type(None): st.none(),
        Outcome: st.sampled_from(Outcome),
    }
    return simple[annotation]


def facts(model: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = {field.name: of_type(field.type) for field in msgspec.structs.fields(model)}
    return st.builds(model, **fields)


ANY_FACT: st.SearchStrategy[Fact] = st.one_of(*(facts(model) for model in KINDS.values()))


def example_of(annotation: Any, name: str) -> Any:
    """One value of each kind of field, the same for ever."""
    if get_origin(annotation) is tuple:
        return tuple(example_of(one, name) for one in get_args(annotation) if one is not ...)
    if get_origin(annotation) is dict:
        if get_args(annotation)[1] is int:
            return {"b": 1, "a": 2}
        return {"b": HASH, "a": 'é\u2028\U0001f600\x1f\x7f"\\/'}
    if get_args(annotation):
        return example_of(get_args(annotation)[0], name)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        fields = msgspec.structs.fields(annotation)
        return annotation(**{field.name: example_of(field.type, field.name) for field in fields})
    return {str: f"the {name}", int: 7, bool: True, Outcome: Outcome.ESCALATE, type(None): None}[annotation]


def bodies() -> list[Fact]:
    """Of each kind one with every field, and one with as few as it has."""
    found = []
    for model in KINDS.values():
        fields = msgspec.structs.fields(model)
        found.append(model(**{field.name: example_of(field.type, field.name) for field in fields}))
        found.append(model(**{field.name: example_of(field.type, field.name) for field in fields if field.required}))
    return found


def golden() -> bytes:
    kinds = {model: kind for kind, model in KINDS.items()}
    lines = [seal(stream_of(kinds[type(body)]), Head(2, HASH), AT, "worker:é", body).bytes for body in bodies()]
    return b"".join(line + b"\n" for line in lines)


def test_the_bytes_of_every_kind_are_what_they_always_were() -> None:
    """If this fails, journals that were written before can't be read, or proofs of them don't hold.

    A new kind, or a new field with a default, adds lines or changes those with every field: then write the file
    anew with `python tests/core/test_entries.py`, and look at the difference: no line with few fields may change.
    """
    assert golden().decode() == GOLDEN.read_text(encoding="utf-8")


def test_every_golden_entry_is_read_back() -> None:
    for line, body in zip(GOLDEN.read_bytes().splitlines(), bodies(), strict=True):
        assert unseal(line).body == body
        assert canonical(json.loads(line)) == line


@given(ANY_FACT, TEXT, st.integers(-1, 2**50))
def test_sealed_bytes_are_canonical_and_read_back_as_what_was_said(body: Fact, actor: str, seq: int) -> None:
    made = seal("run/a1", Head(seq, HASH), AT, actor, body)
    assert canonical(orjson.loads(made.bytes)) == made.bytes
    assert made.hash == link(made.bytes)
    found = unseal(made.bytes)
    assert (found.stream, found.seq, found.at, found.actor, found.prev) == ("run/a1", seq + 1, AT, actor, HASH)
    assert found.body == body
    assert found == as_entry(made, AT, actor, body)
    assert follow(found, Head(seq, HASH)) == made.head == found.head


@given(ANY_FACT, st.data())
@settings(max_examples=60)
def test_a_changed_byte_of_an_entry_changes_its_hash_or_is_no_entry(body: Fact, data: st.DataObject) -> None:
    made = seal("run/a1", Head(), AT, "worker", body)
    place = data.draw(st.integers(0, len(made.bytes) - 1))
    changed = bytearray(made.bytes)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        found = unseal(bytes(changed))
    except (Tampered, NewerJournal):
        return
    assert found.hash != made.hash


@given(st.binary() | st.recursive(st.none() | st.integers(-5, 5) | TEXT, st.lists).map(orjson.dumps))
def test_what_is_no_entry_is_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(Tampered):
        unseal(data)


def changed(**fields: object) -> bytes:
    made = orjson.loads(seal("run/a1", Head(), AT, "worker", e.Owned(1, "worker")).bytes)
    made.update(fields)
    return canonical({key: value for key, value in made.items() if value is not ...})


@pytest.mark.parametrize(
    "fields",
    [
        {"more": 1}, {"actor": ...}, {"body": ...}, {"body": None}, {"body": []}, {"body": {"epoch": 1}},
        {"body": {"epoch": "1", "worker": "w"}}, {"body": {"epoch": 1.5, "worker": "w"}},
        {"body": {"epoch": 1, "worker": "w", "more": 1}}, {"body": {"epoch": 1, "worker": None}},
        {"seq": "0"}, {"seq": None}, {"prev": 1}, {"v": "1"}, {"v": True},
        {"stream": "run/"}, {"stream": "run/A"}, {"stream": "run/a/b"}, {"stream": "run/" + "a" * 65},
        {"stream": "other"}, {"stream": "policy/a"}, {"stream": ""},
    ],
)  # fmt: skip
def test_an_entry_with_a_field_too_many_too_few_or_of_another_type_is_refused(fields: dict[str, object]) -> None:
    assert unseal(changed()).body == e.Owned(1, "worker")
    with pytest.raises(Tampered):
        unseal(changed(**fields))


@pytest.mark.parametrize("fields", [{"v": 2}, {"v": 0}, {"kind": "run.paused"}, {"kind": ""}])
def test_an_entry_of_another_version_or_kind_says_to_upgrade(fields: dict[str, object]) -> None:
    with pytest.raises(NewerJournal, match="upgrade"):
        unseal(changed(**fields))


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"actor":"a","at":"b","body":' + b"[" * 100_000, b'{"a":' * 50_000])
def test_an_entry_of_a_hundred_thousand_levels_is_refused(data: bytes) -> None:
    with pytest.raises(Tampered):
        unseal(data)


def test_an_entry_holds_so_much_and_no_more() -> None:
    small = len(seal("run/a1", Head(), AT, "w", e.Owned(1, "")).bytes)
    assert len(seal("run/a1", Head(), AT, "w", e.Owned(1, "x" * (LARGEST_ENTRY - small))).bytes) == LARGEST_ENTRY
    with pytest.raises(TooLarge, match=r"run/a1#0 run.owned: 65536 bytes"):
        seal("run/a1", Head(), AT, "w", e.Owned(1, "x" * (LARGEST_ENTRY - small + 1)))


@pytest.mark.parametrize("body", [e.Owned(1, "\ud800"), e.Recorded("a", "b", "c", "\udfff")])
def test_text_without_a_utf_8_form_is_refused(body: Fact) -> None:
    with pytest.raises(JournalError, match="UTF-8"):
        seal("run/a1", Head(), AT, "w", body)
    with pytest.raises(JournalError, match="UTF-8"):
        seal("run/a1", Head(), AT, "\ud800", e.Owned(1, "w"))


def entry(seq: int, prev: str) -> Entry:
    return unseal(seal("run/a1", Head(seq - 1, prev), AT, "w", e.Owned(1, "w")).bytes)


@pytest.mark.parametrize(("seq", "prev"), [(2, HASH), (0, HASH), (1, "0" * 64)])
def test_an_entry_that_does_not_come_right_after_the_head_is_found(seq: int, prev: str) -> None:
    assert follow(entry(1, HASH), Head(0, HASH)).seq == 1
    with pytest.raises(Tampered, match=f"run/a1#{seq}"):
        follow(entry(seq, prev), Head(0, HASH))


def test_every_field_that_is_a_commitment_is_found_by_its_path() -> None:
    """So that no payload is unproved, and an export checks them all."""
    paths: dict[str, set[str]] = {}
    for kind, model in KINDS.items():
        fields = msgspec.structs.fields(model)
        body = model(**{field.name: example_of(field.type, field.name) for field in fields})
        paths[kind] = set(commitments(body))
    assert {kind: found for kind, found in paths.items() if found} == {
        "run.started": {"/input", "/endorsed"},
        "run.vouched": {"/source"},
        "run.finished": {"/output"},
        "counter.counted": {"/amount"},
        "store.counting_begun": {"/secret"},
        "store.adopted": {"/reason"},
        "task.finished": {"/output", "/error"},
        "call.decided": {
            "/args/a",
            "/args/b",
            "/edited/a",
            "/edited/b",
            "/facts",
            "/asked",
            "/reasons",
            "/findings",
        },
        "call.rejected": {"/args", "/error"},
        "call.decided_again": {"/edited/a", "/edited/b", "/facts", "/reasons"},
        "call.answered": {"/result"},
        "call.settled": {"/result", "/error", "/findings", "/original", "/facts", "/reasons"},
        "call.intended_again": {"/facts", "/reasons"},
        "flow.vouched": {"/source", "/reason"},
        "review.opened": {"/shown"},
        "review.commented": {"/comment"},
        "review.ruled": {"/answer", "/edited/a", "/edited/b", "/grant", "/reason"},
        "grant.revoked": {"/reason"},
        "policy.activated": {"/reason"},
        "policy.kept": {"/reason"},
        "policy.revoked": {"/reason"},
        "policy.restored": {"/reason"},
        "store.erased": {"/reason"},
        "store.key_retired": {"/reason"},
    }


def test_kinds_are_facts_in_the_past_tense_with_a_dot() -> None:
    for kind, model in KINDS.items():
        assert kind.count(".") == 1
        assert issubclass(model, Fact)
    assert len(set(KINDS.values())) == len(KINDS)


if __name__ == "__main__":
    GOLDEN.write_bytes(golden())
