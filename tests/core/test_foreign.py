"""Schemas that somebody else wrote: closed, nameable where they are open, with their defaults."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from remit import Effect, Invocation, Repeat, foreign_tool, tool
from remit.core import provenance
from remit.core.conditions import Environment, compile_condition
from remit.core.facts import root_types
from remit.core.foreign import ForeignArguments, Unnamed
from remit.core.schemas import DRAFTS
from remit.core.tools import EffectName, RepeatName
from remit.errors import ConditionError, InvalidArguments, ToolError
from remit.policykit.toolset import read_tools

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
ADDRESS = {"type": "object", "properties": {"city": TEXT}}


async def run(invocation: Invocation, arguments: dict[str, Any]) -> Any:
    return arguments


def of(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


def arguments(schema: dict[str, Any]) -> ForeignArguments:
    return ForeignArguments(schema, "far")


# --- closed ------------------------------------------------------------------------------------------------

CLOSED = [
    (of({"to": TEXT}), {"to": "a"}, {"to": "a", "bcc": "b"}),
    (of({"at": ADDRESS}), {"at": {"city": "a"}}, {"at": {"city": "a", "zip": "b"}}),
    (of({"all": {"type": "array", "items": ADDRESS}}), {"all": [{"city": "a"}]}, {"all": [{}, {"zip": 1}]}),
    (of({"at": {"$ref": "#/definitions/A"}}, definitions={"A": ADDRESS}), {"at": {"city": "a"}}, {"at": {"zip": 1}}),
    (of({"at": {"allOf": [ADDRESS, of({"zip": TEXT})]}}), {"at": {"city": "a", "zip": "b"}}, {"at": {"x": 1}}),
    (of({"at": {"anyOf": [ADDRESS, of({"zip": NUMBER})]}}), {"at": {"zip": 1}}, {"at": {"x": 1}}),
    (of({"at": {"oneOf": [of({"a": {}}, required=["a"]), of({"b": {}}, required=["b"])]}}),
     {"at": {"b": 1}}, {"at": {"b": 1, "c": 1}}),
    (of({"m": {"type": "object", "additionalProperties": ADDRESS}}), {"m": {"x": {}}}, {"m": {"x": {"y": 1}}}),
    (of({}, patternProperties={"^x-": ADDRESS}), {"x-1": {}}, {"y": {}}),
    (of({"free": {"type": "object"}}), {"free": {}}, {"free": {"x": 1}}),
    (of({"one": {"enum": [{"a": 1}]}}), {"one": {"a": 1}}, {"one": {"a": 1, "b": 2}}),
]  # fmt: skip


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(("schema", "fits", "more"), CLOSED)
def test_what_a_foreign_schema_does_not_name_is_refused_at_every_level_in_every_draft(
    draft: str, schema: dict[str, Any], fits: dict[str, Any], more: dict[str, Any]
) -> None:
    made = arguments({"$schema": DRAFTS[draft], **schema})
    assert made.normalise(fits) == fits
    with pytest.raises(InvalidArguments):
        made.normalise(more)


def test_a_branch_that_does_not_hold_names_nothing() -> None:
    invoice = of({"kind": {"const": "invoice"}, "number": TEXT}, required=["kind"])
    note = of({"kind": {"const": "note"}, "text": TEXT}, required=["kind"])
    made = arguments(of({"it": {"type": "object", "anyOf": [invoice, note]}}))
    made.normalise({"it": {"kind": "note", "text": "x"}})
    with pytest.raises(Unnamed, match=r"`\$.it`: its schema does not name `number`, and doesn't say"):
        made.normalise({"it": {"kind": "note", "text": "x", "number": "1"}})


@pytest.mark.parametrize("open_", [{"additionalProperties": True}, {"additionalProperties": TEXT},
                                   {"unevaluatedProperties": True}, {"patternProperties": {"^b": {}}}])  # fmt: skip
def test_what_a_schema_allows_explicitly_goes_through_and_counts_as_authority_and_content(
    open_: dict[str, Any],
) -> None:
    made = foreign_tool("far", of({"to": TEXT}, **open_), run, authority=["to"], content=[])
    assert made.arguments.normalise({"to": "a", "bcc": "b"}) == {"to": "a", "bcc": "b"}
    assert made.spec.is_open
    assert made.spec.is_authority("bcc")
    assert made.spec.is_content("bcc")
    assert (made.spec.is_authority("to"), made.spec.is_content("to")) == (True, False)


VALUES = st.recursive(
    st.integers(-3, 3) | st.text(max_size=2), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from("abc"), inner, max_size=3), max_leaves=6,
)  # fmt: skip
SCHEMAS = st.recursive(
    st.sampled_from([{}, True, TEXT, NUMBER, {"type": "object"}]),
    lambda inner: (
        st.builds(of, st.dictionaries(st.sampled_from("abc"), inner, max_size=2))
        | st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner)
        | st.builds(lambda a, b: {"allOf": [a, b]}, inner, inner)
        | st.builds(lambda a: {"type": "array", "items": a}, inner)
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(inner=SCHEMAS, value=VALUES, draft=st.sampled_from(["6", "7", "2019-09", "2020-12"]))
def test_closing_only_ever_refuses_more(inner: Any, value: Any, draft: str) -> None:
    schema = {"$schema": DRAFTS[draft], **of({"v": inner})}
    as_published = ForeignArguments(schema, "far", as_it_is=True)
    try:
        arguments(schema).normalise({"v": value})
    except Unnamed:
        as_published.normalise({"v": value})
    except InvalidArguments:
        with pytest.raises(InvalidArguments):
            as_published.normalise({"v": value})
    else:
        as_published.normalise({"v": value})


# --- defaults ----------------------------------------------------------------------------------------------


def test_declared_defaults_are_filled_in_nested_ones_too() -> None:
    line = of({"qty": {"type": "integer", "default": 1}, "tax": {"$ref": "#/$defs/tax"}}, required=["qty"])
    tax = of({"rate": {"type": "string", "default": "0.21"}}, default={})
    deep = {"anyOf": [{"type": "null"}, of({"x": {"default": 7}})]}
    schema = of(
        {"lines": {"type": "array", "items": line}, "deep": deep, "limit": {"default": 5}}, **{"$defs": {"tax": tax}}
    )
    made = arguments(schema)
    assert made.normalise({"lines": [{}, {"qty": 2, "tax": {"rate": "0"}}], "deep": {}}) == {
        "lines": [{"qty": 1, "tax": {"rate": "0.21"}}, {"qty": 2, "tax": {"rate": "0"}}],
        "deep": {"x": 7},
        "limit": 5,
    }
    assert made.normalise({"deep": None}) == {"deep": None, "limit": 5}
    environment = Environment({"args": made.normal})
    compile_condition("args.limit == 5", environment)
    compile_condition("has(args.lines) && args.lines.all(line, line.qty > 0 && line.tax.rate != '')", environment)


def test_a_default_never_shares_its_value_with_another_call() -> None:
    made = arguments(of({"tags": {"type": "array", "default": []}}))
    made.normalise({})["tags"].append("x")  # type: ignore[attr-defined]
    assert made.normalise({}) == {"tags": []}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (of({"a": {"type": "integer", "default": "1"}}), "the default at `/properties/a` does not fit"),
        (of({"a": {**ADDRESS, "default": {"zip": 1}}}), "the default at `/properties/a` does not fit"),
        (of({"a": {"$ref": "#", "default": {}}}), "holds itself"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-03/schema#"}, "must be that of a draft"),
        (of({"a": {"$ref": "other.json"}}), "in another document, or nowhere"),
        (of({"a": {"$ref": "#/x"}}, x={"type": "object"}), "holds no schema"),
    ],
)
def test_a_schema_that_can_not_be_kept_to_is_refused_when_the_tool_is_defined(
    schema: dict[str, Any], words: str
) -> None:
    with pytest.raises(ToolError, match=words):
        foreign_tool("far", schema, run)


def test_tools_yaml_is_closed_and_filled_in_too() -> None:
    text = (
        "tools:\n  send:\n    arguments:\n      to: {type: string}\n"
        "      at: {type: object, properties: {zone: {type: string, default: UTC}}}\n"
    )
    spec = read_tools("tools.yaml", text).specs["send"]
    assert spec.normal["properties"]["at"]["required"] == ["zone"]
    assert spec.normal["properties"]["at"]["unevaluatedProperties"] is False


# --- conditions --------------------------------------------------------------------------------------------

ODD = of(
    {"user-id": NUMBER, "$filter": TEXT, "x.y": {"type": "string", "format": "decimal"}, "any": True, "none": False,
     "pair": {"type": "array", "items": [{"type": "string", "format": "date-time"}, NUMBER]},
     "anchored": {"$ref": "#A"}, "for": {"type": "string", "format": "duration"}},
    required=["user-id", "$filter", "x.y", "any", "pair", "anchored", "for"],
    additionalProperties={"type": "string", "format": "decimal"},
    **{"$schema": DRAFTS["2019-09"], "$defs": {"a": {"$anchor": "A", **of({"n": NUMBER}, required=["n"])}}},
)  # fmt: skip
VALUE = {
    "user-id": 3, "$filter": "x", "x.y": "1.50", "any": [1], "pair": ["2026-01-01T00:00:00Z", 2], "anchored": {"n": 1},
    "for": "P1Y35D", "fee": "0.10",
}  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ('args["user-id"] == 3', True),
        ("args['$filter'] == 'x'", True),
        ('args["x.y"] > decimal("1.4") && args["x.y"] < 2.0', True),
        ("args.any == [1]", True),
        ('args.pair[0] < timestamp("2027-01-01T00:00:00Z") && args.pair[1] == 2', True),
        ("args.anchored.n == 1", True),
        ('args["for"] == duration("9600h")', True),
        ('has(args["fee"]) && args["fee"] < 0.2', True),
        ('has(args["tip"])', False),
        ('provenance["user-id"].trusted', False),
        ('has(provenance["fee"]) && provenance["fee"].trusted', False),
        ('args["$filter"] in ["user-id", "x"]', True),
    ],
)
def test_a_condition_names_what_a_schema_names_or_allows(condition: str, value: bool) -> None:
    made = foreign_tool("far", ODD, run)
    normal = made.arguments.normalise(VALUE)
    rows = {name: {"trusted": False} for name in normal}
    environment = Environment(root_types(made.spec, {}))
    assert compile_condition(condition, environment).evaluate({"args": normal, "provenance": rows}) is value


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ('args["user-id"] == "x"', "can't be applied to \\(int, string\\)"),
        ('args.anchored["m"] == 1', "no field `m` in `args.anchored`"),
        ('args.fee == "x"', 'one that its schema does not name is `args\\["fee"\\]`'),
        ('args["fee"] > 0.1', 'write `has\\(args\\["fee"\\]\\)'),
        ("args.none == 1", "no field `none`"),
        ("args.z00 == 3", "no field `z00`|unknown name"),
    ],
)
def test_a_slip_of_the_pen_is_told_with_its_remedy(condition: str, words: str) -> None:
    environment = Environment({"args": arguments(ODD).normal})
    with pytest.raises(ConditionError, match=words):
        compile_condition(condition, environment)
    closed = Environment({"args": arguments(of({"user-id": NUMBER}, required=["user-id"])).normal})
    with pytest.raises(ConditionError, match="did you mean `user-id`"):
        compile_condition('args["user-di"] == 1', closed)


def test_provenance_types_name_every_argument() -> None:
    made = foreign_tool("far", of({"to": TEXT}, additionalProperties=True), run)
    assert provenance.root_types(made.spec)["provenance"]["additionalProperties"]


# --- options -----------------------------------------------------------------------------------------------


def test_what_a_type_checker_takes_as_effect_and_repeat_is_what_there_is() -> None:
    assert get_args(EffectName) == tuple(effect.value for effect in Effect)
    assert get_args(RepeatName) == tuple(repeat.value for repeat in Repeat)


@pytest.mark.parametrize("function", [tool, foreign_tool])
def test_help_shows_each_option_and_says_what_it_means(function: Any) -> None:
    names = set(inspect.signature(function).parameters) - {"function"}
    assert {"effect", "repeat", "retry_on", "secrets", "authority"} <= names
    assert [name for name in names if f"\n        {name}: " not in f"\n    {inspect.getdoc(function)}".replace(
        "\n    ", "\n        ")] == []  # fmt: skip


@pytest.mark.parametrize("value", [SecretStr("x"), {"b", "a"}, b"x", [{"deep": SecretStr("x")}]])
def test_what_json_would_change_is_refused(value: object) -> None:
    with pytest.raises(InvalidArguments, match="have no JSON form"):
        arguments(of({"a": True})).normalise({"a": value})


def test_a_tool_that_is_called_refuses() -> None:
    made = foreign_tool("far", of({}), run)
    with pytest.raises(ToolError, match="await ctx"):
        made()  # type: ignore[operator]
    assert asyncio.run(made.function(Invocation("k", "r", "c", "p"))) == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [({"retry_on": [1]}, "no exception type"), ({"retry_on": OSError}, "must be a list"),
     ({"retry_on": [OSError]}, "say `attempts=3`"),
     ({"retry_on": [BaseException], "attempts": 2}, "no exception type")],
)  # fmt: skip
def test_retry_on_is_exception_types_where_there_are_retries(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolError, match=words):
        foreign_tool("far", of({}), run, repeat="keyed", **options)
