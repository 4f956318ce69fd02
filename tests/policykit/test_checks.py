"""What a policy set is checked for when it loads, over every kind of argument; and the files beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packs import CASES, POLICY, QUEUES, TOOLS, load, problems, rule, tools

from remit.core.calendarfile import json_schema as calendars_schema
from remit.core.filenames import KINDS
from remit.core.filenames import json_schema as folders_schema
from remit.core.policyfiles import read_policy
from remit.core.purposes import json_schema as purposes_schema
from remit.core.yamltext import read_yaml
from remit.errors import Problem
from remit.policykit.casefiles import cases_schema
from remit.policykit.reports import sarif
from remit.policykit.toolset import plain_yaml, read_tools, tools_schema

NUMBERS = "a number and a text: numbers have no quotes; `int(...)` and `string(...)` convert"
REFUSED = [
    ("args.ordr == 'x'", "no field `ordr` in `args`", "did you mean `order`?"),
    ("args.customer.country == 'DE'", "`args.customer` may be absent", "write `has(args.customer) && ...`"),
    ("has(args.customer) && args.customer.vip", "`args.customer.vip` may be absent", "write `has(args.customer.vip) && ...`"),
    ("has(args.customer) && args.customer.contry == 'DE'", "no field `contry` in `args.customer`", "did you mean `country`?"),
    ("has(args.customer) && args.customer.country == 'AT'", '`args.customer.country` is never `"AT"`', 'it is one of "DE", "NL"'),
    ("args.kind == 'shiping'", '`args.kind` is never `"shiping"`', "did you mean `shipping`?"),
    ("'shiping' != args.kind", '`args.kind` is never `"shiping"`', "did you mean `shipping`?"),
    ("args.kind in ['goods', 'food']", '`args.kind` is never `"food"`', "did you mean `goods`?"),
    ("has(args.tags) && 'old' in args.tags", '`args.tags` is never `"old"`', 'it is one of "new", "used"'),
    ("has(args.lines) && args.lines.all(l, l.kind == 'c')", '`l.kind` is never `"c"`', 'it is one of "a", "b"'),
    ("has(args.lines) && args.lines[0].kind == 'c'", '`args.lines[0].kind` is never `"c"`', 'it is one of "a", "b"'),
    ("tool.effect == 'comit'", '`tool.effect` is never `"comit"`', "did you mean `commit`?"),
    ("args.amount > '50'", "`>` can't be applied to (double, string)", NUMBERS),
    ("args.order > 5", "`>` can't be applied to (string, int)", NUMBERS),
    ("has(args.when) && args.when > '2026'", "`>` can't be applied to (timestamp, string)", 'write the time as `timestamp("2026-01-31T00:00:00Z")`'),
    ("has(args.lines) && args.lines.exists(l, l.count > 'x')", "`>` can't be applied to (int, string)", NUMBERS),
    ("args.order", "the condition is string, not true or false", None),
    ("has(args.customer) ? args.customer : args.customer", None, None),
    ("args.order.startWith('A')", "unknown name `startWith`", "did you mean `startsWith`?"),
    ("siz(args.order) > 1", "unknown name `siz`", "did you mean `size`?"),
    ("facts.knwn.customer", "no field `knwn` in `facts`", "did you mean `known`?"),
    ("spnt.calls > 1", "unknown name `spnt`", "did you mean `spent`?"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "message", "hint"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_mistake_in_a_condition_is_told_when_it_loads(condition: str, message: str | None, hint: str | None) -> None:
    found = problems(lambda: load(rule("deny", condition)))
    assert found, "it loads"
    assert all(problem.file == "refunds.yaml" and problem.line == 6 and problem.column > 6 for problem in found)
    assert message is None or f"{message} (for `refund`)" in [problem.message for problem in found]
    assert hint is None or hint in [problem.hint for problem in found]


@pytest.mark.parametrize(
    "condition",
    [
        "args.kind == 'goods' || args.kind != 'shipping'",
        "has(args.customer) && args.customer.country in ['DE', 'NL']",
        "has(args.note) && (args.note == null || args.note.startsWith('x'))",
        "has(args.either) && (args.either == 1 || args.either == 'x')",
        "has(args.when) && args.when > timestamp('2026-01-01T00:00:00Z')",
        "args.amount > 50 && args.amount < 1000.50",
        "(args.amount > 50 ? args.kind : args.order) == 'anything'",
        "has(args.lines) && args.lines.all(l, l.kind in ['a', 'b'])",
    ],
)
def test_what_can_be_true_loads(condition: str) -> None:
    assert problems(lambda: load(rule("deny", condition))) == []


def test_a_rule_for_several_tools_must_fit_each() -> None:
    text = rule("deny", "args.amount > 50").replace("[refund]", "['*']")
    (problem,) = problems(lambda: load(text))
    assert problem.message == "no field `amount` in `args` (for `look`)"


def test_what_was_in_force_once_loads_again_whatever_is_told_since() -> None:
    files = {"p.yaml": rule("deny", "args.kind == 'never'")}
    assert problems(lambda: tools().load(files))
    (found,) = tools().load(files, recorded=True).rules_for("refund")
    assert found.condition.evaluate({"args": {"kind": "goods"}}) is False


def test_a_policy_where_only_tools_are_looked_for_is_refused() -> None:
    (problem,) = problems(lambda: tools().load({"p.yaml": POLICY.replace("support", "x"), "queues.yaml": "{single_operator: true, queues: {x: {}}}",
                                                "tools.yaml": POLICY}))  # fmt: skip
    assert (problem.file, problem.message) == ("tools.yaml", "a policy (`policy`) in the file that describes tools")


# --- tools.yaml ------------------------------------------------------------------------------------------


def test_tools_are_what_the_file_says() -> None:
    refund = tools().specs["refund"]
    assert (refund.effect.value, refund.repeat.value, refund.decimals) == ("commit", "keyed", ("amount",))
    assert refund.authority == tuple(refund.arguments["properties"])
    assert sorted(refund.arguments["required"]) == ["amount", "kind", "order"]
    assert tools().specs["look"].labels == {}


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("effect: commit", "efect: commit", "unknown key `efect`", 4),
        ("effect: commit", "effect: comit", "`effect` can't be `comit`", 4),
        (
            "order: {type: string}\n      amount",
            "order: {type: text}\n      amount",
            "`order`: not a JSON Schema",
            7,
        ),
        ("optional: [memo,", "optional: [memoo,", "optional: there is no argument `memoo`", 2),
        ("refund:", "re fund:", "a name is letters", 2),
        ("tools:\n", "tolls:\n", "unknown key `tolls`", 1),
    ],
)
def test_a_bad_file_of_tools_is_refused_with_its_place(old: str, new: str, message: str, line: int) -> None:
    assert old in TOOLS
    found = problems(lambda: read_tools("tools.yaml", TOOLS.replace(old, new)))
    assert any(message in problem.message and problem.line == line for problem in found), found


def test_the_schemas_for_editors_take_what_the_readers_take_and_refuse_an_unknown_key() -> None:
    for schema, text in ((tools_schema(), TOOLS), (cases_schema(), CASES)):
        jsonschema.Draft202012Validator.check_schema(schema)
        _, value = read_yaml("x.yaml", text, nulls=True)
        judge = jsonschema.Draft202012Validator(schema)
        assert list(judge.iter_errors(plain_yaml(value))) == []
        assert list(judge.iter_errors({**plain_yaml(value), "more": 1}))


# --- SARIF -----------------------------------------------------------------------------------------------


def test_sarif_names_every_problem_with_its_place() -> None:
    found = problems(lambda: load(rule("deny", "args.ordr == 'x'"), QUEUES))
    log = sarif([*found, Problem("", 0, 0, "there is no policy")], "1.0")
    assert json.loads(json.dumps(log)) == log
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    assert run["tool"]["driver"]["name"] and run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    first, second = run["results"]
    for result in run["results"]:
        assert (
            result["level"] == "error" and result["message"]["text"] and rules[result["ruleIndex"]] == result["ruleId"]
        )
    region = first["locations"][0]["physicalLocation"]
    assert region["artifactLocation"] == {"uri": "refunds.yaml"}
    assert region["region"] == {"startLine": 6, "startColumn": found[0].column}
    assert "locations" not in second


def test_every_shipped_policy_file_is_a_policy() -> None:
    folder = Path(__file__).parent.parent.parent / "policies"
    for path in folder.glob("*.yaml"):
        if not path.name.endswith(".cases.yaml") and path.stem not in KINDS:
            assert read_policy(path.name, path.read_text()).source.problems == []


@pytest.mark.parametrize(
    ("kind", "schema"),
    [("cases", cases_schema), ("tools", tools_schema), ("purposes", purposes_schema), ("calendars", calendars_schema),
     ("folders", folders_schema)],
)  # fmt: skip
def test_the_json_schemas_in_the_reference_are_current(kind: str, schema: Callable[[], dict[str, Any]]) -> None:
    docs = Path(__file__).parent.parent.parent / "docs" / "reference"
    written = json.dumps(schema(), indent=2, sort_keys=True) + "\n"
    assert (docs / f"{kind}.schema.json").read_text() == written, "run `make docs`"
