"""`remit policy`: what policy owners type, from a check to a backtest."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from shops import POLICY, SHOP, Shell, is_harmless

CASES = """
given: {tool: pay, args: {to: Ada, amount: 5}}
cases:
  - {name: small, expect: {outcome: allow, rules: small}}
  - {name: large, given: {args: {amount: 20}}, expect: {outcome: escalate, rules: large, queue: finance, reason: a lot}}
  - {name: much, given: {args: {amount: 5000}}, expect: {outcome: deny, rules: never}}
  - {name: rest, given: {tool: hang, args: {}}, expect: {outcome: allow}}
"""
TOOLS = "tools:\n  pay:\n    effect: commit\n    arguments: {to: {type: string}, amount: {type: integer}}\n"
PACK = "policy: pack\nrules:\n  - {id: a, tools: [pay], allow: args.amount < 5}\n"


@pytest.fixture
def tested(shell: Shell) -> Shell:
    shell.write({"policies/shop.cases.yaml": CASES})
    return shell


@pytest.fixture
def past(history: Path, tmp_path: Path, remit: Callable[[Path], Shell]) -> Shell:
    """A copy of a shop in which much has happened."""
    shutil.copytree(history, tmp_path / "shop")
    return remit(tmp_path / "shop")


# --- check and schema ------------------------------------------------------------------------------------


def test_check_tells_every_problem_as_text_json_and_sarif(tested: Shell) -> None:
    bad = POLICY.replace("args.amount <= 10", "args.amuont <= 10").replace("to: finance", "to: finnance")
    tested.write({"policies/shop.yaml": bad, "policies/shop.cases.yaml": CASES.replace("{to: Ada", "{too: Ada")})
    said = tested("policy", "check")
    assert (said.code, said.out) == (2, "") and said.err.count("policies/shop.yaml:") == 2
    assert "did you mean `amount`?" in said.err and "did you mean `finance`?" in said.err and "^" in said.err
    said = tested("policy", "check", "--json")
    assert said.code == 2
    places = {(row["file"], row["line"]) for row in said.rows}
    assert {("policies/shop.yaml", 7), ("policies/shop.yaml", 11), ("policies/shop.cases.yaml", 2)} <= places
    said = tested("policy", "check", "--sarif")
    assert said.code == 2
    assert len(json.loads(said.out)["runs"][0]["results"]) == len(tested("policy", "check", "--json").rows)


def test_check_of_what_loads_says_so_in_each_form(tested: Shell) -> None:
    said = tested("policy", "check", "--sarif")
    assert (said.code, json.loads(said.out)["runs"][0]["results"]) == (0, [])
    assert tested("policy", "check", "--json").rows[0]["rule"] == "shop/rest"


def test_a_pack_without_python_is_checked_and_tested_with_the_tools_it_describes(shell: Shell) -> None:
    cases = "cases:\n  - {name: a, given: {tool: pay, args: {to: x, amount: 1}}, expect: {outcome: allow}}\n"
    shell.write({"remit.toml": "", "pack/p.yaml": PACK, "pack/tools.yaml": TOOLS, "pack/p.cases.yaml": cases})
    assert shell("policy", "check", "pack").code == 0
    assert shell("policy", "test", "pack").code == 0
    shell.write({"pack/tools.yaml": TOOLS.replace("amount", "sum")})
    said = shell("policy", "check", "pack")
    assert said.code == 2 and "no field `amount` in `args`" in said.err
    (shell.folder / "pack/tools.yaml").unlink()
    said = shell("policy", "check", "pack")
    assert said.code == 2 and "pack/tools.yaml" in said.err


@pytest.mark.parametrize("kind", ["policy", "queues", "cases", "tools", "purposes"])
def test_schema_prints_a_json_schema(shell: Shell, kind: str) -> None:
    said = shell("policy", "schema", kind)
    assert said.code == 0 and json.loads(said.out)["$schema"].startswith("https://json-schema.org/")


# --- test and cases --------------------------------------------------------------------------------------


def test_cases_pass_or_fail_with_an_exit_code_for_ci(tested: Shell) -> None:
    said = tested("policy", "test")
    assert (said.code, said.out) == (0, "policies: 4 of 4 cases pass\n")
    tested.write({"policies/shop.cases.yaml": CASES.replace("rules: never", "rules: large")})
    said = tested("policy", "test", "--junit", "j.xml")
    assert said.code == 1
    assert said.out == (
        "failed  much  shop.cases.yaml:6\n  rules\n    - large\n    + shop/never\n"
        "  because  5000 is too much\npolicies: 3 of 4 cases pass\n"
    )
    assert 'failures="1"' in (tested.folder / "j.xml").read_text()
    tested.write({"policies/shop.cases.yaml": CASES.replace("outcome: deny", "outcom: deny")})
    said = tested("policy", "test")
    assert said.code == 2 and "unknown key `outcom`" in said.err


def test_coverage_is_told_and_a_threshold_fails_the_test(tested: Shell) -> None:
    said = tested("policy", "test", "--threshold", "100")
    assert (said.code, said.err) == (0, "")
    less = "\n".join(line for line in CASES.splitlines() if "much" not in line)
    tested.write({"policies/shop.cases.yaml": less})
    said = tested("policy", "test", "--coverage")
    assert said.code == 0
    assert "shop.yaml:15: shop/never: rule never true: args.amount > 1000" in said.out
    said = tested("policy", "test", "--threshold", "100")
    assert said.code == 1 and "is below 100 %" in said.err
    (row,) = tested("policy", "test", "--coverage", "--json").rows
    assert row["failed"] == 0 and row["coverage"]["missing"][0]["never"] == ["true"]


def test_without_a_case_nothing_passes(shell: Shell) -> None:
    said = shell("policy", "test")
    assert said.code == 2 and "there is no case" in said.err


def test_recorded_decisions_become_cases_that_pass(past: Shell) -> None:
    for source in ("reviews", past("runs", "list", "--json").rows[0]["run"]):
        file = past.folder / "policies/recorded.cases.yaml"
        said = past("policy", "cases", "--from", source, "-o", "policies/recorded.cases.yaml")
        assert said.code == 0, said.err
        said = past("policy", "test", "--json")
        assert said.code == 0 and said.rows[0]["cases"]
        assert past("policy", "cases", "--from", source, "-o", "policies/recorded.cases.yaml").code == 2
        file.unlink()
    said = past("policy", "cases", "--from", "nobody")
    assert said.code == 5


# --- explain ---------------------------------------------------------------------------------------------


def test_explain_shows_the_verdict_its_parts_and_what_would_change_it(tested: Shell) -> None:
    said = tested("policy", "explain", "--case", "shop.cases.yaml#2")
    assert said.code == 0
    assert (
        "> shop/large  escalate to finance\n      args.amount > 10  =  true\n        args.amount  =  20\n" in said.out
    )
    assert "allow if `args.amount > 10` were false" in said.out
    (row,) = tested("policy", "explain", "--case", "shop.cases.yaml#2", "--json").rows
    assert {"outcome": "allow", "changes": [{"source": "args.amount > 10", "now": "true", "then": "false"}]} in row[
        "otherwise"
    ]
    assert tested("policy", "explain", "--case", "shop.cases.yaml#9").code == 5
    assert tested("policy", "explain").code == 2


def test_explain_of_a_recorded_call_is_of_what_was_decided_or_of_other_policies(past: Shell) -> None:
    for run in past("runs", "list", "--json").rows:
        (view,) = past("runs", "show", run["run"], "--json").rows
        for call in view["calls"]:
            said = past("policy", "explain", f"{run['run']}/{call['call']}", "--json")
            assert said.rows[0]["outcome"] == call["outcome"]
            shown = past("policy", "explain", f"{run['run']}/{call['call']}")
            assert is_harmless(shown.out.replace("\n", ""))
    looser = POLICY.replace("args.amount > 10\n", "args.amount > 10000\n").replace("<= 10", "<= 10000")
    past.write({"other/shop.yaml": looser,
                "other/queues.yaml": SHOP["policies/queues.yaml"]})  # fmt: skip
    call = next(
        f"{run['run']}/{call['call']}"
        for run in past("runs", "list", "--json").rows
        for call in past("runs", "show", run["run"], "--json").rows[0]["calls"]
        if call["outcome"] == "escalate"
    )
    assert past("policy", "explain", call, "--policies", "other", "--json").rows[0]["outcome"] == "allow"
    assert past("policy", "explain", call.partition("/")[0] + "/nothing#1").code == 5


# --- diff and backtest -----------------------------------------------------------------------------------


def test_diff_takes_folders_digests_and_git_refs(past: Shell) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    for command in (["init", "-q"], ["add", "policies"], ["commit", "-qm", "policies"]):
        subprocess.run([*git, *command], cwd=past.folder, check=True, capture_output=True)
    digest = past("runs", "list", "--json").rows[0]["run"]
    digest = past("runs", "show", digest, "--json").rows[0]["policies"]
    shutil.copytree(past.folder / "policies", past.folder / "old")
    past.write({"policies/shop.yaml": POLICY.replace("<= 10", "<= 100")})
    for old in ("HEAD", "main:policies", digest, digest[:10], "old"):
        said = past("policy", "diff", old, "--json")
        assert said.code == 1, said.err
        (row,) = said.rows
        assert (row["name"], row["direction"]) == ("shop/small", "wider"), old
    said = past("policy", "diff", "HEAD", "policies")
    assert said.out == "~ shop/small  changed: wider\n    condition: 10, now 100, in `args.amount <= 100`\n"
    assert past("policy", "diff", "old", "HEAD").code == 0
    assert past("policy", "diff", "nowhere").code == 5
    assert past("policy", "diff", "--", "--output=x:y").code == 5


def test_backtest_of_the_set_in_force_finds_nothing_in_store_and_export_alike(past: Shell) -> None:
    (store,) = past("policy", "backtest", "--fail-on", "any", "--json").rows
    assert store["decisions"] == store["same"] > 5 and store["changes"] == [] and store["by_other_rules"] == 0
    assert past("audit", "export", "--all", "-o", "e").code == 0
    (export,) = past("policy", "backtest", "--export", "e", "--json").rows
    assert export == store


def test_backtest_says_what_would_be_and_fails_on_a_widening(past: Shell) -> None:
    past.write({"wider/shop.yaml": POLICY.replace("<= 10", "<= 25").replace("> 10\n", "> 25\n"),
                "wider/queues.yaml": SHOP["policies/queues.yaml"]})  # fmt: skip
    said = past("policy", "backtest", "--policies", "wider", "--fail-on", "widening", "--html", "r.html", "--json")
    assert said.code == 1
    (row,) = said.rows
    assert row["newly_allowed"] == row["widened"] == 1
    assert row["reviews"]["would_be"] == row["reviews"]["were"] - 1
    assert "<table>" in (past.folder / "r.html").read_text()
    said = past("policy", "backtest", "--policies", "wider")
    assert said.code == 0 and "was escalate, allow" in said.out and is_harmless(said.out.replace("\n", ""))
    past.write({"wider/shop.yaml": POLICY.replace("<= 10", "<= 1")})
    assert past("policy", "backtest", "--policies", "wider", "--fail-on", "widening").code == 0
    assert past("policy", "backtest", "--policies", "wider", "--fail-on", "any").code == 1


def test_backtest_takes_a_period(past: Shell) -> None:
    all_ = past("policy", "backtest", "--since", "1d", "--json").rows[0]
    assert all_["decisions"] > 5
    none = past("policy", "backtest", "--since", "2999-01-01T00:00:00Z", "--json").rows[0]
    assert none["decisions"] == 0
    later = past("policy", "backtest", "--since", all_["to"], "--json").rows[0]
    assert 0 < later["decisions"] < all_["decisions"]
    assert past("policy", "backtest", "--since", "yesterday").code == 2


def test_a_policy_that_nobody_would_read_is_refused(tested: Shell) -> None:
    tested.write({"policies/more.YAML": POLICY})
    said = tested("policy", "check")
    assert said.code == 2 and "policies/more.YAML: not a policy file" in said.err
