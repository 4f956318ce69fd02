"""Our evaluator against Google's C++ one: the same value or both an error, over generated expressions and
values.
"""

from __future__ import annotations

import datetime
import math

from cel_expr_python import cel
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from remit.core.conditions import (
    Condition,
    Environment,
    Explanation,
    Failure,
    compile_condition,
    compile_expression,
)
from remit.errors import ConditionError

# The names of a sample: their JSON Schemas. `x`, `m.*` and `l[*]` may hold anything.
ROOTS = {
    "i": {"type": "integer"},
    "j": {"type": "integer"},
    "d": {"type": "number"},
    "s": {"type": "string"},
    "b": {"type": "boolean"},
    "x": {},
    "m": {"type": "object"},
    "l": {"type": "array"},
    "ns": {"type": "array", "items": {"type": "integer"}},
}

EDGES = [0, 1, -1, 2, 3, 7, -8, 10, 2**31, 2**53, 2**63 - 1, -(2**63)]
DOUBLES = [0.0, -0.0, 0.5, 1.0, 2.5, -1.5, 3.0, 1e300, 5e-324, math.inf, -math.inf, math.nan]
TEXTS = ["", "a", "ab", "b", "é", "😀", "aab", "A", "1", "1.5", "true", "x" * 40]
KEYS = ["a", "b", "c"]

integers = st.sampled_from(EDGES) | st.integers(-20, 20)
doubles = st.sampled_from(DOUBLES) | st.floats(-100, 100) | st.floats()
texts = st.sampled_from(TEXTS)
scalars = st.none() | st.booleans() | integers | doubles | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
values = st.fixed_dictionaries(
    {
        "i": integers,
        "j": integers,
        "d": doubles,
        "s": texts,
        "b": st.booleans(),
        "x": anything,
        "m": st.dictionaries(st.sampled_from(KEYS), anything, max_size=3),
        "l": st.lists(anything, max_size=4),
        "ns": st.lists(integers, max_size=4),
    }
)
# The same names, holding what their schemas don't allow, or nothing.
disorder = st.fixed_dictionaries(
    {},
    optional={
        name: anything | st.just(2**70) | st.just(-(2**70)) | st.builds(object) | st.just(b"\xff") for name in ROOTS
    },
)


def shown(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def call(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda filled: template.format(*filled))


INT_OPERATORS = st.sampled_from(["+", "-", "*", "/", "%"])
DOUBLE_OPERATORS = st.sampled_from(["+", "-", "*", "/"])
ORDER = st.sampled_from(["<", "<=", ">", ">="])
EQUALITY = st.sampled_from(["==", "!="])
WHEN = st.sampled_from(
    [f'timestamp("{text}")' for text in ("2026-03-29T00:59:59.5Z", "1999-12-31T23:30:00-01:00", "0002-01-01T00:00:00Z")]
)
SPAN = st.sampled_from([f'duration("{text}")' for text in ("1h30m", "-90s", "1.5s", "0s", "100ms", "240h")])
ZONE = st.sampled_from(["", '"UTC"', '"Europe/Berlin"', '"+05:30"', '"-09:30"', '"America/St_Johns"'])
ACCESSOR = st.sampled_from(
    [
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
    ]
)
LITERAL_INTS = st.sampled_from(["0", "1", "2", "3", "-1", "9223372036854775807", "-9223372036854775808"])
PATTERNS = st.sampled_from(["a", "^a", "a*b$", "[a-z]+", "(a|b)+", "\\\\d", "^$", "😀", "é?"])


def expressions(depth: int, bound: tuple[str, ...] = ()) -> dict[str, st.SearchStrategy[str]]:
    """Strategies by type; `bound` are macro variables in scope, of any type."""
    dyn = [st.sampled_from(["x", "m.a", "m.b", "m.c", 'm["a"]', "l[0]", "l[1]", "m.a.b", *bound])]
    leaf = {
        "int": st.sampled_from(["i", "j", "ns[0]", "size(s)", "size(l)", "l.size()"]) | LITERAL_INTS,
        "double": st.sampled_from(["d", "0.0", "1.0", "2.5", "-1.5", "1e300"]),
        "string": st.just("s") | texts.map(shown),
        "bool": st.sampled_from(["b", "true", "false", "has(m.a)", "has(m.b)", "has(x.a)", "has(m.a.b)"]),
        "dyn": dyn[0],
        "list": st.sampled_from(["l", "ns", "[]", "[1, 2]", '["a", dyn(1)]', "dyn(x)"]),
    }
    if depth == 0:
        return leaf
    inner = expressions(depth - 1, bound)
    name = f"v{depth}"
    body = expressions(depth - 1, (*bound, name))
    any_type = st.one_of(*inner.values())
    number = inner["int"] | inner["double"]
    dynamic = any_type.map(lambda text: f"dyn({text})")
    macros = [
        call(f"{{}}.{macro}({name}, {{}})", inner["list"], body["bool"]) for macro in ("all", "exists", "exists_one")
    ]
    return {
        "int": leaf["int"]
        | call("({} {} {})", inner["int"], INT_OPERATORS, inner["int"])
        | call("-({})", inner["int"])
        | call("({} ? {} : {})", inner["bool"], inner["int"], inner["int"])
        | call("int({})", inner["double"] | inner["string"])
        | call("{}.{}({})", WHEN, ACCESSOR, ZONE)
        | call("size({})", inner["string"] | inner["list"] | inner["dyn"]),
        "double": leaf["double"]
        | call("({} {} {})", inner["double"], DOUBLE_OPERATORS, inner["double"])
        | call("double({})", inner["int"]),
        "string": leaf["string"]
        | call("({} + {})", inner["string"], inner["string"])
        | call("string({})", inner["int"] | inner["bool"] | inner["double"]),
        "bool": leaf["bool"]
        | call("({} && {})", inner["bool"] | inner["dyn"], inner["bool"])
        | call("({} || {})", inner["bool"], inner["bool"] | inner["dyn"])
        | call("!({})", inner["bool"])
        | call("({} ? {} : {})", inner["bool"] | inner["dyn"], inner["bool"], inner["bool"])
        | call("({} {} {})", number, ORDER | EQUALITY, number)
        | call("({} {} {})", inner["string"], ORDER | EQUALITY, inner["string"])
        | call("({} {} {})", inner["dyn"], ORDER, number | inner["string"] | inner["dyn"])
        | call("({} {} {})", dynamic, EQUALITY, dynamic)
        | call("({} {} {})", WHEN, ORDER | EQUALITY, WHEN)
        | call("({} - {} {} {})", WHEN, WHEN, ORDER, SPAN)
        | call("({} in {})", inner["dyn"], inner["list"] | inner["dyn"])
        | call('{}.matches("{}")', inner["string"], PATTERNS)
        | call("{}.contains({})", inner["string"], inner["string"])
        | call("{}.startsWith({})", inner["string"], inner["string"])
        | call("(type({}) == type({}))", dynamic, dynamic)
        | st.one_of(macros),
        "dyn": leaf["dyn"]
        | call("dyn({})", any_type)
        | call("{}[{}]", inner["list"], inner["int"] | inner["dyn"])
        | call("({} + {})", inner["dyn"], inner["dyn"]),
        "list": leaf["list"]
        | call(f"{{}}.map({name}, {{}})", inner["list"], st.one_of(*body.values()))
        | call(f"{{}}.filter({name}, {{}})", inner["list"], body["bool"])
        | call(f"{{}}.map({name}, {{}}, {{}})", inner["list"], body["bool"], st.one_of(*body.values()))
        | call("[{}, {}]", dynamic, dynamic),
    }


BY_TYPE = expressions(3)
conditions = BY_TYPE["bool"]
sources = st.one_of(*BY_TYPE.values())

OURS = Environment(ROOTS)
# Unchecked, so that it looks at the values that come, as ours does with mixed numbers.
ORACLE = cel.NewEnv(variables=dict.fromkeys(ROOTS, cel.Type.DYN))
ERROR = "error"


def oracle(source: str, roots: dict[str, object]) -> object:
    found = ORACLE.compile(source, disable_check=True).eval(data=roots)
    return ERROR if found.type() == cel.Type.ERROR else plain(found.plain_value())


def plain(value: object) -> object:
    """Values that can be compared: NaN is itself, -0.0 isn't 0.0, true isn't 1, 1 isn't 1.0."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, cel.Type):
        return value.name()
    if isinstance(value, (datetime.datetime, datetime.timedelta)):
        return value
    return type(value).__name__, repr(value)


def loaded(source: str) -> Condition:
    try:
        return compile_condition(source, OURS)
    except ConditionError:
        assume(False)
        raise


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(conditions, values)
def test_a_condition_is_true_false_or_an_error_as_google_has_it(source: str, roots: dict[str, object]) -> None:
    condition = loaded(source)
    found = condition.evaluate(roots)
    event("error" if isinstance(found, Failure) else str(found))
    expected = oracle(source, roots)
    if expected not in (plain(True), plain(False)):
        expected = ERROR
    assert (ERROR if isinstance(found, Failure) else plain(found)) == expected


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(sources, values)
def test_an_expression_has_the_value_google_gives_it(source: str, roots: dict[str, object]) -> None:
    try:
        expression = compile_expression(source, OURS)
    except ConditionError:
        assume(False)
        raise
    found = expression.evaluate(roots)
    event("error" if isinstance(found, Failure) else type(found).__name__)
    assert (ERROR if isinstance(found, Failure) else plain(found)) == oracle(source, roots)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(conditions, values)
def test_explaining_a_condition_says_what_evaluating_it_says(source: str, roots: dict[str, object]) -> None:
    condition = loaded(source)
    explained = condition.explain(roots)
    assert explained.value == condition.evaluate(roots)
    assert all_explained(explained)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(conditions, disorder)
def test_no_value_makes_an_evaluation_raise(source: str, roots: dict[str, object]) -> None:
    condition = loaded(source)
    found = condition.evaluate(roots)
    assert isinstance(found, (bool, Failure))
    assert condition.explain(roots).value == found
    for steps in (0, 1, 3):
        assert isinstance(condition.evaluate(roots, steps), (bool, Failure))


def all_explained(explained: Explanation) -> bool:
    return bool(explained.source) and all(all_explained(child) for child in explained.children)
