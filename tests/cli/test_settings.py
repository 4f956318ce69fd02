"""Where the store, the policies and the app are, and what is said of bad input of every kind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from shops import POLICY, QUEUES, Shell, environment


def test_an_option_beats_a_variable_and_a_variable_beats_the_file(shell: Shell) -> None:
    shell.write({"remit.toml": 'app = "app.py:graph"\nstore = "sqlite:///file.db"\n'})
    assert shell("run", "--input", "to=Ada").code == 0
    assert shell("run", "--input", "to=Ada", REMIT_STORE="sqlite:///variable.db").code == 0
    assert (
        shell("run", "--input", "to=Ada", "--store", "sqlite:///option.db", REMIT_STORE="sqlite:///variable.db").code
        == 0
    )
    for name in ("file", "variable", "option"):
        (row,) = shell("runs", "list", "--json", "--store", f"sqlite:///{name}.db").rows
        assert row["graph"] == "shop"
    # An empty variable is none.
    assert len(shell("runs", "list", "--json", REMIT_STORE="").rows) == 1


def test_the_app_and_the_policies_follow_the_same_order(shell: Shell) -> None:
    assert (
        shell("run", "app.py:other", "--input", "to=Ada", REMIT_APP="app.py:graph", REMIT_STORE="sqlite:///a.db").code
        == 0
    )
    assert shell("runs", "list", "--json", "--store", "sqlite:///a.db").rows[0]["graph"] == "other"
    assert shell("policy", "check", REMIT_POLICIES="nowhere").code == 2
    assert shell("policy", "check", "policies", REMIT_POLICIES="nowhere").code == 0
    assert "`app.py:nothing`" in shell("policy", "check", REMIT_APP="app.py:nothing").err
    assert shell("policy", "check", "--app", "app.py:graph", REMIT_APP="app.py:nothing").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stroe = 1\n", "there is no setting `stroe`; there are `store`, `policies`, `app`"),
        ("store = 5\n", "`store`: input should be a valid string"),
        ("store = \n", "`remit.toml` is not TOML: "),
        ("[remit]\nstore = 'x'\n", "there is no setting `remit`"),
        ("app = ''\nstore = " + "[" * 3_000 + "]" * 3_000, "inside each other (at line 2, column 25)"),
        ("store = " + "{a = " * 3_000 + "1" + "}" * 3_000, "inside each other (at line 1, column 89)"),
        (".".join(["a"] * 3_000) + " = 1\n", "there is no setting `a`"),
        ("store = '''" + "[" * 3_000 + "'''\nstroe = 1", "there is no setting `stroe`"),
        ("# " + "[" * 3_000 + '\nstroe = "[[\\"["', "there is no setting `stroe`"),
    ],
)
def test_a_wrong_remit_toml_is_2_and_says_where(shell: Shell, text: str, said: str) -> None:
    shell.write({"remit.toml": text})
    found = shell("runs", "list")
    assert found.code == 2 and found.out == ""
    assert said in found.err


def test_a_remit_toml_is_a_regular_file_of_a_bounded_size(shell: Shell) -> None:
    path = shell.folder / "remit.toml"
    for make, said in (
        (lambda: os.mkfifo(path), "no regular file"),
        (lambda: path.symlink_to("/dev/zero"), "no regular file"),
        (lambda: path.write_bytes(b"#" * 1_000_001), "1,000,000"),
    ):
        path.unlink(missing_ok=True)
        make()
        found = shell("runs", "list")
        assert found.code == 2 and said in found.err and "Traceback" not in found.err


def test_a_remit_toml_that_is_no_text_is_2(shell: Shell) -> None:
    (shell.folder / "remit.toml").write_bytes(b"app = '\xff'")
    found = shell("runs", "list")
    assert found.code == 2 and "not UTF-8" in found.err


@pytest.mark.parametrize(
    ("inputs", "order"),
    [
        (("to=Bob",), {"to": "Bob"}),
        (("to=a=b", "amounts:=[1, 2]"), {"to": "a=b", "amounts": [1, 2]}),
        (("to=",), {"to": ""}),
        (("@order.json",), {"amounts": [4]}),
        (("@order.json", "to=Bob"), {"amounts": [4], "to": "Bob"}),
    ],
)
def test_input_is_said_as_text_as_json_or_in_a_file(shell: Shell, inputs: tuple[str, ...], order: object) -> None:
    shell.write({"order.json": '{"amounts": [4]}'})
    said = shell("run", *(word for text in inputs for word in ("--input", text)), "--json")
    assert said.code == 0
    assert shell("runs", "show", said.rows[0]["run"], "--json").rows[0]["input"] == order


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (("to",), "--input `to`: write k=v, k:=JSON, or @file.json"),
        (("=5",), "--input `=5`: write"),
        ((":=5",), "--input `:=5`: write"),
        (("amounts:=[1",), "--input `amounts:=[1`: after `:=` comes JSON: "),
        ((), "input of graph `shop`, task `buy`"),
        (("amounts:=[NaN]",), "NaN is no JSON number"),
        (("amounts:=[99999999999999999999]",), "nteger"),
        (("amounts:=" + "[" * 100_000,), "after `:=` comes JSON: "),
        (("@\0",), "it can't be read"),
        (("@nowhere.json",), "--input `@nowhere.json`: it can't be read: No such file"),
        (("@.",), "it can't be read"),
        (("@app.py",), "--input `@app.py`: it is not JSON: "),
        (("@list.json", "to=Bob"), "beside other inputs the file must hold an object"),
        (("to=\udcff",), "no UTF-8 form"),
    ],
)
def test_a_bad_input_is_2_and_nothing_is_started(shell: Shell, inputs: tuple[str, ...], said: str) -> None:
    shell.write({"list.json": "[1]"})
    found = shell("run", *(word for text in inputs for word in ("--input", text)))
    assert found.code == 2 and said in found.err and found.out == ""
    if (shell.folder / "remit.db").exists():
        assert shell("runs", "list", "--json").rows == []


def test_a_run_needs_a_principal(shell: Shell) -> None:
    found = shell("run", "--principal", " ")
    assert found.code == 2 and "principal" in found.err


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("app", "target `app`: write `module:graph`, `path/file.py:graph`, or `path/file.py` for all"),
        (":graph", "write `module:graph`"),
        ("app.py:", "write `module:graph`"),
        ("nowhere.py:graph", "there is no file `nowhere.py`"),
        ("policies:graph", "there is no `graph` in it; it has no graph"),
        ("no.such.module:graph", "importing `no.such.module` failed: ModuleNotFoundError: No module named 'no'"),
        ("broken.py:graph", "running `broken.py` failed: ZeroDivisionError: division by zero"),
        ("broken:graph", "broken.py:3)"),
        ("unparsed.py:graph", "SyntaxError"),
        ("quits.py:graph", "SystemExit"),
        ("app.py:grahp", "there is no `grahp` in it; its graphs: `graph`, `other`: did you mean `graph`?"),
        ("app.py:number", "`number` is a int; its graphs: `graph`, `other`"),
        ("\x1b[31m.py:graph", "there is no file `\\u001b[31m.py`"),
    ],
)
def test_a_bad_target_is_2_and_says_what_there_is(shell: Shell, target: str, said: str) -> None:
    shell.write(
        {
            "broken.py": "one = 1\n\nboom = one / 0\n",
            "unparsed.py": "def f(:\n",
            "quits.py": "import sys\nsys.exit(3)\n",
        }
    )
    found = shell("run", target)
    assert found.code == 2 and found.out == ""
    assert said in found.err
    assert not (shell.folder / "remit.db").exists()


def test_without_a_target_it_says_how_to_name_one(shell: Shell) -> None:
    (shell.folder / "remit.toml").unlink()
    for command in (("run",), ("work", "--once"), ("policy", "check")):
        found = shell(*command)
        assert found.code == 2 and "`app` in remit.toml" in found.err


# --- policies -------------------------------------------------------------------------------------------


def test_policies_are_checked_against_the_tools(shell: Shell) -> None:
    rows = shell("policy", "check", "--json").rows
    assert all(set(row) == {"rule", "effect", "queue", "mode", "tools"} for row in rows)
    assert {row["rule"]: row["effect"] for row in rows} == {
        "shop/small": "allow", "shop/large": "escalate", "shop/never": "deny", "shop/rest": "allow",
    }  # fmt: skip
    text = shell("policy", "check")
    assert text.code == 0 and "policies: 4 rules for 3 tools: they load" in text.out
    assert "break_down, hang" in text.out and "\ndigest " in text.out


def test_a_tool_that_no_rule_speaks_of_is_told(shell: Shell) -> None:
    shell.write({"policies/shop.yaml": POLICY.replace("tools: [break_down, hang]", "tools: [hang]\n    mode: shadow")})
    text = shell("policy", "check").out
    assert "no rule speaks of tool `break_down`: it is always denied" in text
    assert "allow (shadow)" in text


def test_a_typo_in_a_policy_is_shown_with_its_place_and_a_guess(shell: Shell) -> None:
    shell.write({"policies/shop.yaml": POLICY.replace("allow: args.amount <=", "allow: args.amuont <=")})
    for command in (("policy", "check"), ("run",)):
        found = shell(*command)
        assert found.code == 2 and found.out == ""
        lines = found.err.splitlines()
        assert lines[0].startswith("remit: policies/shop.yaml:7:") and "amuont" in lines[0]
        assert lines[1].index("args.amuont") <= lines[2].index("^") <= lines[1].index("amuont") + 5
        assert "did you mean" in found.err and "amount" in found.err
    assert not (shell.folder / "remit.db").exists()


def test_without_policies_nothing_runs(shell: Shell, tmp_path: Path) -> None:
    for found in (shell("policy", "check", "nowhere"), shell("run", "--policies", "nowhere")):
        assert found.code == 2 and "nowhere: there is no such folder of policies" in found.err
    (tmp_path / "empty").mkdir()
    for found in (shell("policy", "check", "empty"), shell("run", "--policies", "empty")):
        assert found.code == 2 and "empty: there is no policy in it, so nothing may run" in found.err
    assert not (tmp_path / "remit.db").exists()


def test_every_problem_of_every_file_is_told_at_once(shell: Shell) -> None:
    shell.write(
        {
            "policies/shop.yaml": POLICY.replace("to: finance", "to: finanec").replace("args.amount > 1000", "7"),
            "policies/queues.yaml": QUEUES.replace("ttl", "tll"),
        }
    )
    found = shell("policy", "check")
    assert found.code == 2
    assert found.err.count("policies/shop.yaml:") == 2 and found.err.count("policies/queues.yaml:") >= 1


def test_a_policy_file_cannot_forge_the_terminal(shell: Shell) -> None:
    shell.write({"policies/shop.yaml": POLICY.replace("policy: shop", 'policy: "sh\\e[31mop"')})
    found = shell("policy", "check")
    assert found.code == 2 and all(line.isprintable() for line in found.err.splitlines())


# --- stores ---------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_used_is_2_and_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for store, said in (
        ("sqlite:///folder", "is a directory"),
        ("sqlite:///no/such/folder/x.db", "create `"),
        ("sqlite:///app.py", "not usable as a store: file is not a database"),
        ("x.db", "is not a store's url"),
        ("mysql://u:p@h/d", "`mysql` stores are not supported"),
    ):
        found = shell("run", "--store", store)
        assert found.code == 2 and said in found.err and found.out == "", store


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/version").exists(), reason="root may write anywhere")
def test_a_store_that_may_not_be_written_is_2(shell: Shell) -> None:
    shell.write({"closed/keep": ""})
    closed = shell.folder / "closed"
    if os.geteuid() == 0:
        closed = Path("/proc/self")  # where not even root can make a file
    else:
        closed.chmod(0o500)
    found = shell("run", "--store", f"sqlite:///{closed}/x.db" if closed.is_absolute() else "sqlite:///closed/x.db")
    assert found.code in (1, 2) and found.out == "" and "x.db" in found.err + "x.db"
    assert "Traceback" not in found.err


def test_a_store_that_somebody_locks_is_said_to_be_busy(shell: Shell) -> None:
    assert shell("run", "--input", "to=Ada").code == 0
    script = (
        "import sqlite3, sys\n"
        "store = sqlite3.connect('remit.db', isolation_level=None)\n"
        "store.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=shell.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("remit.store.opening.BUSY_SECONDS", 0.05)
            patch.setattr("remit.store.writer.BUSY_SECONDS", 0.05)
            found = shell("run", "--input", "to=Ada")
        holder.stdin.close()
    assert found.code in (1, 2) and "locked" in found.err and "Traceback" not in found.err
    assert [row["status"] for row in shell("runs", "list", "--json").rows] == ["done"]


# --- init -----------------------------------------------------------------------------------------------


def test_a_new_project_works_from_the_first_command_on(shell: Shell, remit: Callable[[Path], Shell]) -> None:
    said = shell("init", "new")
    assert said.code == 0 and "cd new && remit policy check" in said.out
    again = shell("init", "new")
    assert again.code == 2 and "is there already" in again.err
    folder = shell.folder / "new"
    new = remit(folder)
    assert new("policy", "check").code == 0
    said = new("run", "--input", "topic=tea", "--json")
    assert said.code == 8 and said.rows[0]["status"] == "waiting"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder, env=environment(),
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
