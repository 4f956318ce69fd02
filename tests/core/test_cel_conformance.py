"""The public conformance tests of the CEL specification, against our evaluator.

They lie beside the project (`../shared/data/cel-spec`, from github.com/google/cel-spec, turned into JSON) and
are not part of it; where they are absent these tests are skipped and say so.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from cel_expr_python import cel

from remit.core.cel.compiler import compile_tree
from remit.core.cel.dialect import operator_yaml
from remit.core.cel.interpret import Interpreter
from remit.core.cel.resolve import Refused, Resolver
from remit.core.cel.shapes import ANY
from remit.core.cel.syntax import Decoder
from remit.core.cel.times import parse_duration, parse_timestamp
from remit.core.cel.values import ABSORBED, BoolKey, OverBudget, TypeValue, UInt
from remit.core.conditions import Environment, compile_expression
from remit.errors import ConditionError

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "cel-spec"

# Whole files that are about something conditions don't have.
NOT_OURS = {
    "bindings_ext": "cel.bind is an extension",
    "block_ext": "cel.block is an extension",
    "dynamic": "protobuf messages",
    "encoders_ext": "base64 is an extension",
    "enums": "protobuf enums",
    "macros2": "macros with two variables are an extension",
    "math_ext": "math.* is an extension",
    "network_ext": "ip and cidr are an extension",
    "optionals": "optional values are an extension",
    "proto2": "protobuf messages",
    "proto2_ext": "protobuf messages",
    "proto3": "protobuf messages",
    "string_ext": "text functions beyond the standard ones are an extension",
    "unknowns": "the file is empty",
    "wrappers": "protobuf messages",
}

# Single tests of the other files: (file, section, name) -> why not.
UNKNOWN = "an unknown function is refused when a condition loads, so nothing is left to absorb the error"
EXACT = "beyond 2^53 an int and a double compare by what they are worth; the specification rounds the int"
ESCAPED = "the JSON has the backslash of text protobuf's `\\?`, which stands for `?`"
RESERVED = "as break const continue else for function if import let loop package namespace return var void while"
EXCEPTIONS: Mapping[tuple[str, str, str], str] = {
    ("basic", "functions", "unbound_is_runtime_error"): UNKNOWN,
    ("comparisons", "lt_literal", "not_lt_dyn_int_big_lossy_double"): EXACT,
    ("comparisons", "gt_literal", "not_gt_dyn_big_double_int"): EXACT,
    ("comparisons", "lte_literal", "lte_dyn_big_double_int"): EXACT,
    ("comparisons", "gte_literal", "gte_dyn_int_big_lossy_double"): EXACT,
    ("parse", "bytes_literals", "triple_single_quoted_unescaped_punctuation"): ESCAPED,
    ("parse", "bytes_literals", "triple_double_quoted_unescaped_punctuation"): ESCAPED,
    **{("parse", "receiver_function_names", name): UNKNOWN for name in RESERVED.split()},
}

# What passes, exactly; more is as much news as less.
PASSED: Mapping[str, int] = {
    "basic": 42,
    "comparisons": 330,
    "conversions": 109,
    "fields": 60,
    "fp_math": 30,
    "integer_math": 64,
    "lists": 39,
    "logic": 30,
    "macros": 44,
    "namespace": 3,
    "parse": 174,
    "plumbing": 5,
    "string": 51,
    "timestamps": 73,
    "type_deduction": 12,
}


def load_tests(name: str) -> list[dict[str, object]]:
    if not DATA.is_dir():
        pytest.skip(f"not run: the CEL conformance tests of google/cel-spec aren't at {DATA}")
    return json.loads((DATA / f"{name}.json").read_text())


def value_of(encoded: Mapping[str, object]) -> object:
    """A `cel.expr.Value` in JSON as a value of the evaluator."""
    ((kind, value),) = encoded.items()
    match kind:
        case "null_value":
            return None
        case "int64_value":
            return int(value)
        case "uint64_value":
            return UInt(value)
        case "double_value":
            return float(value)
        case "bytes_value":
            return base64.b64decode(value)
        case "type_value":
            return TypeValue(value)
        case "list_value":
            return [value_of(item) for item in value.get("values", [])]
        case "map_value":
            pairs = [(value_of(entry["key"]), value_of(entry["value"])) for entry in value.get("entries", [])]
            return {BoolKey(key) if isinstance(key, bool) else key: item for key, item in pairs}
        case "object_value" if value["@type"].endswith(".Timestamp"):
            return parse_timestamp(value["value"])
        case "object_value" if value["@type"].endswith(".Duration"):
            return parse_duration(value["value"])
        case "bool_value" | "string_value":
            return value
    raise NotImplementedError(kind)


def type_of(encoded: Mapping[str, object]) -> str:
    """A `cel.expr.Type` in JSON as the checker writes it."""
    ((kind, value),) = encoded.items()
    match kind:
        case "primitive":
            return {"INT64": "int", "UINT64": "uint"}.get(value, value.lower())
        case "well_known":
            return {"TIMESTAMP": "google.protobuf.Timestamp"}.get(value, "google.protobuf.Duration")
        case "wrapper":
            return {"INT64": "google.protobuf.Int64Value"}[value]
        case "list_type":
            return f"list<{type_of(value['elem_type'])}>"
        case "map_type":
            return f"map<{type_of(value['key_type'])}, {type_of(value['value_type'])}>"
        case "null":
            return "null_type"
        case "dyn":
            return "dyn"
    raise NotImplementedError(kind)


def same(left: object, right: object) -> bool:
    """The same value of the same type, NaN being itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def outcomes(test: Mapping[str, object]) -> list[object]:
    """What the compiled function and the interpreter make of a test: values, or `error`."""
    names = {
        name: value_of(bound["value"])
        for name, bound in test.get("bindings", {}).items()
        if name not in ("true", "false", "null")
    }
    types = {
        entry["name"]: type_of(entry["ident"]["type"])
        for entry in test.get("type_env", [])
        if entry["name"] not in ("true", "false", "null")
    }
    unchecked = bool(test.get("disable_check", False))
    if unchecked:
        types = {**dict.fromkeys(names, "dyn"), **types}
    checker = cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(operator_yaml()),
        variables={name: cel.Type(text) for name, text in types.items()},
    )
    try:
        tree = Decoder().decode(checker.compile(test["expr"], disable_check=unchecked).serialize())
        node = Resolver(dict.fromkeys(types, ANY)).resolve(tree)
    except (RuntimeError, Refused):
        return ["error"]
    found: list[object] = []
    run = compile_tree(node, boolean=False)
    assert run is not None, "every one of these can be compiled"
    try:
        found.append(Interpreter(names, 100_000).value(node))
    except (*ABSORBED, OverBudget):
        found.append("error")
    try:
        found.append(run(names, 100_000))
    except (*ABSORBED, OverBudget):
        found.append(found[0])  # the compiled function leaves errors to the interpreter
    return found


def judge(test: Mapping[str, object]) -> str:
    expected = test.get("value", test.get("typed_result", {}).get("result"))
    wanted = value_of(expected) if expected is not None else "error"
    found = outcomes(test)
    if all(same(each, wanted) for each in found):
        return "passed"
    return f"wanted {wanted!r}, found {found!r}"


def scope(file: str, test: Mapping[str, object]) -> str:
    """Why a test isn't ours, or nothing."""
    if test["needs_protobuf"]:
        return "protobuf messages"
    if test.get("check_only"):
        return "what the checker deduces, which is Google's"
    return EXCEPTIONS.get((file, test["section"], test["name"]), "")


@pytest.mark.parametrize("file", sorted(PASSED))
def test_conditions_mean_what_the_cel_specification_says(file: str) -> None:
    tests = load_tests(file)
    ours = [test for test in tests if not scope(file, test)]
    verdicts = [(test["section"], test["name"], test["expr"], judge(test)) for test in ours]
    assert [verdict for verdict in verdicts if verdict[3] != "passed"] == []
    assert len(ours) == PASSED[file]


def test_every_file_of_the_conformance_tests_is_either_run_or_declared_out_of_scope() -> None:
    load_tests("basic")
    assert {path.stem for path in DATA.glob("*.json")} == set(PASSED) | set(NOT_OURS)
    assert not set(PASSED) & set(NOT_OURS)


def test_no_exception_is_made_for_a_test_that_would_pass_or_is_not_there() -> None:
    load_tests("basic")
    known = Counter()
    for file in PASSED:
        for test in load_tests(file):
            key = (file, test["section"], test["name"])
            if key in EXCEPTIONS:
                known[key] += 1
                assert judge(test) != "passed", key
    assert set(known) == set(EXCEPTIONS)


def test_what_is_out_of_scope_is_refused_when_it_loads() -> None:
    """Extensions are unknown names at load, not surprises later."""
    for file in ("bindings_ext", "block_ext", "encoders_ext", "math_ext", "network_ext", "string_ext"):
        for test in load_tests(file):
            if test["needs_protobuf"] or "type_env" in test or test.get("check_only"):
                continue
            with pytest.raises(ConditionError):
                compile_expression(test["expr"], Environment({}))
