"""From a function or a foreign schema to a tool, and what fits its arguments."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit import Invocation, Tool, ToolSpec, foreign_tool, tool
from remit.core.canonical import canonical, plain
from remit.core.typed import Results
from remit.errors import InvalidArguments, ToolError


class Colour(Enum):
    RED = "red"


class Line(pydantic.BaseModel):
    text: str
    price: Decimal
    count: int = 1


@tool
def everything(
    text: str,
    number: int,
    amount: Decimal,
    line: Line,
    ratio: float = 0.5,
    when: date | None = None,
    colour: Colour = Colour.RED,
    kind: Literal["a", "b"] = "a",
    json: list[Line] | None = None,
    *,
    deep: dict[str, list[int]] | None = None,
) -> Line:
    """Takes a bit of all."""
    return line


GOOD: dict[str, Any] = {"text": "a", "number": 1, "amount": Decimal("1.10"), "line": Line(text="t", price=Decimal(2))}


def test_the_schema_of_a_function_says_names_types_and_defaults() -> None:
    spec = everything.spec
    assert spec.description == "Takes a bit of all."
    assert list(spec.arguments["properties"]) == [
        "text", "number", "amount", "line", "ratio", "when", "colour", "kind", "json", "deep",
    ]  # fmt: skip
    assert spec.arguments["required"] == ["text", "number", "amount", "line"]
    assert spec.arguments["additionalProperties"] is False
    assert spec.arguments["properties"]["amount"] == {"type": "string", "format": "decimal", "title": "Amount"}
    assert set(spec.normal["required"]) == set(spec.normal["properties"])  # every default is filled in
    assert spec.authority == spec.content == tuple(spec.normal["properties"])


def test_arguments_are_normalised_to_json_with_defaults_and_bound_to_python_again() -> None:
    normal = everything.arguments.normalise({**GOOD, "when": date(2026, 1, 2), "json": [GOOD["line"]]})
    assert normal == {
        "text": "a", "number": 1, "amount": "1.10", "line": {"text": "t", "price": "2", "count": 1}, "ratio": 0.5,
        "when": "2026-01-02", "colour": "red", "kind": "a", "json": [{"text": "t", "price": "2", "count": 1}],
        "deep": None,
    }  # fmt: skip
    bound = everything.arguments.bind(normal)
    assert bound["amount"] == Decimal("1.10")
    assert bound["line"] == GOOD["line"]
    assert (bound["when"], bound["colour"], bound["deep"]) == (date(2026, 1, 2), Colour.RED, None)
    assert everything.function(**bound) == GOOD["line"]
    assert everything.arguments.normalise(normal) == normal


@given(
    st.fixed_dictionaries(
        {
            "text": st.text(),
            "number": st.integers(-(2**53) + 1, 2**53 - 1),
            "amount": st.decimals(allow_nan=False, allow_infinity=False),
        },
        optional={
            "ratio": st.floats(allow_nan=False, allow_infinity=False),
            "deep": st.dictionaries(st.text(), st.lists(st.integers(-9, 9))),
        },
    )
)
def test_what_is_decided_is_what_the_journal_gives_back_and_what_runs(given_: dict[str, Any]) -> None:
    try:
        normal = everything.arguments.normalise({**given_, "line": GOOD["line"]})
    except InvalidArguments as error:
        assert "no JSON form" in str(error) or "decimal" in str(error).lower()
        return
    assert plain(canonical(normal)) == normal
    assert repr(plain(canonical(normal))) == repr(normal)
    assert everything.arguments.bind(normal) == everything.arguments.bind(plain(canonical(normal)))


BAD: list[tuple[str, Any, str]] = [
    ("number", True, "`number`"),
    ("number", 1.5, "`number`"),
    ("number", "1", "`number`"),
    ("number", None, "`number`"),
    ("number", 2**53, "beyond"),
    ("text", 1, "`text`"),
    ("text", b"\xff", "no JSON form"),
    ("text", "\ud800", "no JSON form"),
    ("ratio", math.nan, "nan has no JSON form"),
    ("ratio", math.inf, "inf has no JSON form"),
    ("ratio", "0.5", "`ratio`"),
    ("ratio", True, "`ratio`"),
    ("amount", Decimal("NaN"), "`amount`"),
    ("amount", Decimal("Infinity"), "`amount`"),
    ("amount", "ten", "`amount`"),
    ("kind", "c", "`kind`"),
    ("colour", "blue", "`colour`"),
    ("line", {}, "`line.text`"),
    ("line", {"text": "a", "price": "1", "count": True}, "`line.count`"),
    ("deep", {"a": ["1"]}, "`deep.a.0`"),
    ("when", "yesterday", "`when`"),
    ("more", 1, "`more`"),
    ("arg_text", "a", "`arg_text`"),
    ("json", object(), "no JSON form"),
]


@pytest.mark.parametrize(
    ("name", "value", "words"), BAD, ids=[f"{name}-{number}" for number, (name, *_) in enumerate(BAD)]
)
def test_arguments_that_do_not_fit_are_refused_and_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidArguments, match=words) as caught:
        everything.arguments.normalise({**GOOD, name: value})
    assert "tool `everything`" in str(caught.value)


@pytest.mark.parametrize("name", ["text", "number", "amount", "line"])
def test_a_missing_argument_is_named(name: str) -> None:
    with pytest.raises(InvalidArguments, match=f"`{name}`: field required"):
        everything.arguments.normalise({key: value for key, value in GOOD.items() if key != name})


def test_a_value_that_holds_itself_is_refused() -> None:
    round_: list[Any] = []
    round_.append(round_)
    with pytest.raises(InvalidArguments, match="no JSON form"):
        everything.arguments.normalise({**GOOD, "deep": {"a": round_}})


def test_a_tool_can_not_be_called() -> None:
    with pytest.raises(ToolError, match=r"can't be called: use `await ctx.call"):
        everything(**GOOD)
    assert repr(everything) == "<Tool everything destroy/once>"
    assert everything.__doc__ == "Takes a bit of all."


def test_an_invocation_is_filled_in_and_is_no_argument() -> None:
    @tool(name="other.name", tags=["a"])
    async def with_key(invocation: Invocation, text: str = "a") -> str:
        return text

    assert with_key.wants_invocation
    assert with_key.name == "other.name"
    assert list(with_key.spec.arguments["properties"]) == ["text"]
    assert not everything.wants_invocation


def no_annotation(a) -> str: ...  # type: ignore[no-untyped-def,empty-body]
def no_result(a: str): ...  # type: ignore[no-untyped-def]
def varargs(*a: str) -> str: ...  # type: ignore[empty-body]
def kwargs(**a: str) -> str: ...  # type: ignore[empty-body]
def positional(a: str, /) -> str: ...  # type: ignore[empty-body]
def unknown(a: Nowhere) -> str: ...  # type: ignore[name-defined,empty-body]  # noqa: F821
def no_schema(a: Callable[[], int]) -> str: ...  # type: ignore[empty-body]
def no_result_schema(a: str) -> socket.socket: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_annotation, "`a` has no annotation"), (no_result, "its result has no annotation"),
        (varargs, "needs a name of its own"), (kwargs, "needs a name of its own"),
        (positional, "needs a name of its own"), (unknown, "can't be read"),
        (no_schema, "no JSON Schema"), (no_result_schema, "no JSON Schema"),
    ],
)  # fmt: skip
def test_a_function_that_can_not_be_a_tool_is_refused_and_named(function: Any, words: str) -> None:
    with pytest.raises(ToolError, match=words) as caught:
        tool(function)
    assert f"tool `{function.__name__}`" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"effect": "pay"}, "'pay' is not a valid Effect"),
        ({"repeat": "twice"}, "'twice' is not a valid Repeat"),
        ({"authority": ["ibna"]}, "there is no argument `ibna`"),
        ({"authority": "text"}, r"must be a list: \['text'\]"),
        ({"content": "text"}, "must be a list"),
        ({"tags": "money"}, "must be a list"),
        ({"labels": {"": "untrusted"}}, "must be a list"),
        ({"labels": ["untrusted"]}, "items"),
        ({"labels": {"": ["Not OK"]}}, "is not a label"),
        ({"cost": "x"}, "tool `it`"),
        ({"cost": -1}, "from 0"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "x"}, "tool `it`"),
        ({"attempts": 2}, "say repeat"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options: dict[str, Any], words: str) -> None:
    def it(text: str) -> str:
        return text

    with pytest.raises(ToolError, match=words):
        tool(**options)(it)
    with pytest.raises(ToolError):
        foreign_tool("it", {"type": "object", "properties": {"text": {}}}, run_foreign, **options)


# --- foreign tools ------------------------------------------------------------------------------------------


async def run_foreign(invocation: Invocation, arguments: dict[str, Any]) -> object:
    return [invocation.key, arguments]


def test_a_foreign_tool_gets_its_arguments_as_one_object() -> None:
    schema = {"type": "object", "properties": {"invocation": {}, "b": {}}}
    made: Tool[..., Any] = foreign_tool("far", schema, run_foreign)
    bound = made.arguments.bind(made.arguments.normalise({"invocation": 1.0, "b": [2]}))
    found = asyncio.run(made.function(Invocation("k", "r", "c", "p"), **bound))
    assert found == ["k", {"invocation": 1, "b": [2]}]
    assert isinstance(made.spec, ToolSpec)
    assert made.spec.authority == ("invocation", "b")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "object", "required": 1}, "not a JSON Schema"),
        ({"type": "array"}, "type: object"), ({}, "type: object"),
        ({"type": "object", "properties": []}, "not a JSON Schema"),
        ({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}, "can't be used"),
        ({"type": "object", "properties": {"a/b": {}}}, "can't be named in a policy"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "schema"),
    ],
)  # fmt: skip
def test_a_foreign_schema_that_can_not_be_used_is_refused(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolError, match=words):
        foreign_tool("far", schema, run_foreign)


@pytest.mark.parametrize("ref", ["http://127.0.0.1:{port}/x.json", "file:///etc/hostname"])
def test_a_foreign_schema_fetches_nothing(ref: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = ref.format(port=server.getsockname()[1])
        with pytest.raises(ToolError, match="can't be used"):
            foreign_tool("far", {"type": "object", "properties": {"a": {"$ref": url}}}, run_foreign)
        with pytest.raises(BlockingIOError):
            server.accept()


FOREIGN = foreign_tool(
    "far",
    {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1}, "s": {"enum": ["a"]}},
        "required": ["n"],
        "additionalProperties": False,
    },
    run_foreign,
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "'n' is a required property"),
        ({"n": 0}, "less than the minimum"),
        ({"n": "1"}, "not of type"),
        ({"n": True}, "not of type"),
        ({"n": 1, "s": "b"}, "not one of"),
        ({"n": 1, "m": 1}, "Additional properties"),
        ({"n": math.nan}, "no JSON form"),
        ({"n": object()}, "no JSON form"),
        ({"n": 1, "a/b": 1}, "no policy could name"),
    ],
)
def test_arguments_that_do_not_fit_a_foreign_schema_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArguments, match=words):
        FOREIGN.arguments.normalise(arguments)


# --- results ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 1),
        (float, 1.0),
        (float, 1e300),
        (Decimal, Decimal("1.10")),
        (Line, GOOD["line"]),
        (list[Line], [GOOD["line"]]),
        (dict[int, str], {1: "a"}),
        (tuple[int, str], (1, "a")),
        (tuple[int, ...], (1, 2)),
        (date, date(2026, 1, 2)),
        (datetime, datetime(2026, 1, 2, 3, 4, 5, 6)),
        (Colour, Colour.RED),
        (None, None),
        (pydantic.Base64Bytes, b"abc"),
        (str, "\U0001f600"),
        (Any, {"a": [1, "b", None]}),
    ],
)
def test_a_result_is_loaded_as_what_was_dumped(annotation: Any, value: Any) -> None:
    results: Results[Any] = Results(annotation)
    data = results.dump(value)
    assert canonical(plain(data)) == data
    assert results.load(data) == value
    assert type(results.load(data)) is type(value)
