"""Tools: what a spec may say, that its digest covers all of it, and what a call's digest covers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from remit import Effect, Repeat, ToolSpec
from remit.core.entries import CallRecord
from remit.core.tools import Call, call_digest, idempotency_key
from remit.errors import ToolError

SCHEMA = {"type": "object", "properties": {"iban": {"type": "string"}}, "required": ["iban"]}


def spec(**fields: Any) -> ToolSpec:
    given: dict[str, Any] = {"name": "pay", "description": "Pays.", "arguments": SCHEMA, "normal": SCHEMA, "result": {}}
    return ToolSpec(**{**given, **fields})


CHANGES: dict[str, Any] = {
    "name": "pay2",
    "description": "",
    "arguments": {**SCHEMA, "required": []},
    "normal": {**SCHEMA, "required": []},
    "result": {"type": "string"},
    "effect": Effect.READ,
    "repeat": Repeat.KEYED,
    "authority": ("iban",),
    "content": ("iban",),
    "labels": {"": ("pii",)},
    "timeout": 61,
    "attempts": 1,
    "cost": Decimal("0.10"),
    "tags": ("money",),
    "probe": True,
}


def test_every_field_is_in_the_digest() -> None:
    assert set(CHANGES) == set(ToolSpec.__dataclass_fields__)
    digests = {spec().digest, spec(repeat=Repeat.KEYED).digest, spec(repeat=Repeat.KEYED, attempts=2).digest}
    digests |= {spec(**{field: value}).digest for field, value in CHANGES.items()}
    assert len(digests) == 1 + len(CHANGES) + 1 - 1  # attempts of 1 is what is unstated; 2 needs repeat


@pytest.mark.parametrize("fields", [{}, *({field: value} for field, value in CHANGES.items()), {"timeout": 0.5}])
def test_a_spec_is_read_back_from_its_document_with_the_same_digest(fields: dict[str, Any]) -> None:
    made = spec(**fields)
    found = ToolSpec.from_document(made.document())
    assert found.digest == made.digest
    assert found.bytes == made.bytes


def test_what_is_unstated_is_pessimistic() -> None:
    made = spec()
    assert (made.effect, made.repeat, made.attempts, made.probe) == (Effect.DESTROY, Repeat.ONCE, 1, False)
    assert made.result_labels == ("private", "untrusted")
    assert spec(labels={"/a": ("b", "a"), "": ("c",)}).result_labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "a name is"), ({"name": "1a"}, "a name is"), ({"name": "a b"}, "a name is"),
        ({"name": "é"}, "a name is"), ({"name": "a" * 129}, "a name is"), ({"name": "a\n"}, "a name is"),
        ({"normal": {"properties": {"a/b": {}}}}, "'a/b' can't be named in a policy"),
        ({"authority": ("ibna",)}, "there is no argument `ibna`; it has `iban`"),
        ({"content": ("ibna",)}, "content: there is no argument"),
        ({"labels": {"x": ("pii",)}}, "not a JSON pointer"),
        ({"labels": {"": ("PII",)}}, "`PII` is not a label"), ({"labels": {"": ("",)}}, "is not a label"),
        ({"timeout": 0}, "timeout"), ({"timeout": -1}, "timeout"), ({"timeout": 86_401}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"attempts": 0}, "at least one"), ({"attempts": 2}, "say repeat=idempotent or keyed"),
        ({"cost": Decimal(-1)}, "from 0"), ({"cost": Decimal("NaN")}, "from 0"), ({"cost": Decimal("inf")}, "from 0"),
    ],
)  # fmt: skip
def test_a_spec_that_can_not_be_used_is_refused_and_the_tool_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolError, match=words) as caught:
        spec(**fields)
    assert "tool `" in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"effect": "x"}, {"cost": "x"}, {"timeout": "x"}, {"more": 1}, {"labels": []}, {"tags": 1}]
)
def test_a_document_that_is_no_spec_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ToolError):
        ToolSpec.from_document({**spec().document(), **change})
    with pytest.raises(ToolError):
        ToolSpec.from_document({})


RECORD = CallRecord("work#0", "agent", "1", "work", "pay", "ab" * 32, {"iban": "cd" * 32}, "")


def test_a_calls_digest_covers_everything_that_makes_it_this_call_and_no_other() -> None:
    change = msgspec.structs.replace
    others = [
        call_digest("run2", "me", RECORD),
        call_digest("run1", "you", RECORD),
        *(call_digest("run1", "me", change(RECORD, **{field: "x"}))
          for field in ("id", "agent", "version", "task", "tool", "tool_digest")),
        call_digest("run1", "me", change(RECORD, args={})),
        call_digest("run1", "me", change(RECORD, args={"iban": "ce" + "cd" * 31})),
        call_digest("run1", "me", change(RECORD, args={"ibna": "cd" * 32})),
    ]  # fmt: skip
    digest = call_digest("run1", "me", RECORD)
    assert len({digest, *others}) == 1 + len(others)
    assert call_digest("run1", "me", change(RECORD, digest=digest)) == digest
    call = Call("run1", "me", {}, change(RECORD, digest=digest))
    assert (call.id, call.digest) == ("work#0", digest)


def test_a_key_is_of_a_call() -> None:
    assert idempotency_key("a") == idempotency_key("a") != idempotency_key("b")
    assert len(idempotency_key("a")) == 40
