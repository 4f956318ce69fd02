"""`remit run`, `resume` and `work`, in several processes at once, and stopped in every way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from shops import Shell

from remit.runtime.app import LEASE_SECONDS, is_dead

REPORT = {"run", "status", "output", "failed", "reviews", "errors"}


@pytest.mark.parametrize(
    ("order", "code", "status"),
    [
        ("amounts:=[1]", 0, "done"),
        ("words=broken", 1, "failed"),
        ("amounts:=[5000]", 1, "failed"),
        ("amounts:=[20]", 8, "waiting"),
    ],
)
def test_how_a_run_ended_is_its_exit_code(shell: Shell, order: str, code: int, status: str) -> None:
    said = shell("run", "--input", order, "--principal", "ada", "--json")
    (report,) = said.rows
    assert (said.code, said.err) == (code, "")
    assert set(report) == REPORT and report["status"] == status
    text = shell("run", "app.py:graph", "--input", order)
    run = text.err.removeprefix("run ").strip()
    assert text.code == code and text.out.startswith(f"run {run} is {status}\n")
    again = shell("resume", run)
    assert again.code == code and f"run {run} is {status}" in again.out


def test_a_run_that_waits_names_its_reviews_and_what_to_do(shell: Shell) -> None:
    said = shell("run", "--input", "amounts:=[20]")
    (row,) = shell("review", "list", "--json").rows
    assert f"waits for review {row['review']}" in said.out and f"`remit resume {row['run']}`" in said.out


def test_a_module_is_a_target_too(shell: Shell) -> None:
    said = shell.run("run", "app:graph", "--input", "amounts:=[1]", "--json")
    assert said.code == 0 and said.rows[0]["output"] == {"1": "paid Ada"}
    assert shell("runs", "show", said.rows[0]["run"], "--json").rows[0]["target"] == "app:graph"


def test_resume_goes_on_with_every_run_that_can(shell: Shell) -> None:
    assert shell("resume", "--json", "--store", "sqlite:///new.db").code == 2
    assert shell("run", "--input", "amounts:=[1]").code == 0
    assert shell("resume").err == "no run is unfinished\n"
    assert shell("resume", "--json").rows == []
    first, second, third = (shell("run", "--input", f"amounts:=[{n}]", "--json").rows[0] for n in (20, 30, 40))
    assert shell("review", "approve", first["reviews"][0]).code == 0
    assert shell("review", "deny", second["reviews"][0], "--reason", "no").code == 0
    said = shell("resume", "--json")
    assert {row["run"]: row["status"] for row in said.rows} == {
        first["run"]: "done", second["run"]: "failed", third["run"]: "waiting",
    }  # fmt: skip
    assert said.code == 8
    assert shell.ledger() == [1, 20]


def test_a_run_goes_on_with_the_code_that_the_settings_name_and_with_no_other(shell: Shell) -> None:
    elsewhere = (shell.folder / "app.py").read_text(encoding="utf-8").replace('Graph("other"', 'Graph("elsewhere"')
    shell.write({"elsewhere.py": elsewhere})
    (report,) = shell("run", "elsewhere.py:other", "--input", "amounts:=[20]", "--json").rows
    assert shell("review", "approve", report["reviews"][0]).code == 0
    wrong = shell("resume", report["run"])
    assert wrong.code == 5 and "is of graph `elsewhere`, not one of `app.py:graph`" in wrong.err
    assert shell("resume").err == "no run is unfinished\n"
    assert shell("resume", "--app", "elsewhere.py:other").code == 0
    assert shell.ledger() == [20]


def test_where_the_settings_name_no_code_a_run_goes_on_with_what_it_was_started_with(shell: Shell) -> None:
    (report,) = shell("run", "--input", "amounts:=[20]", "--json").rows
    assert shell("review", "approve", report["reviews"][0]).code == 0
    (shell.folder / "remit.toml").unlink()
    assert shell("resume", report["run"]).code == 0
    assert shell.ledger() == [20]


def test_work_goes_on_with_what_others_started_and_ruled_on(shell: Shell) -> None:
    (report,) = shell("run", "--input", "amounts:=[20]", "--json").rows
    assert shell("work", "--once", "--json").out == ""
    assert shell("review", "approve", report["reviews"][0]).code == 0
    said = shell("work", "--once", "--json")
    assert said.code == 0 and said.rows[0]["status"] == "done"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_work_notices_a_ruling_of_another_process_and_stops_when_told(shell: Shell, stop: signal.Signals) -> None:
    (report,) = shell("run", "--input", "amounts:=[20]", "--json").rows
    with shell.start("work") as worker:
        worker.until("working on app.py:graph")
        assert shell("review", "approve", report["reviews"][0]).code == 0
        worker.until(f"run {report['run']} is done")
        assert worker.end(stop) == 0
    assert worker.lines[-1] == "stopped\n" and "Traceback" not in "".join(worker.lines)
    assert shell.ledger() == [20]


def test_a_run_that_waits_goes_on_as_soon_as_somebody_has_ruled(shell: Shell) -> None:
    with shell.start("run", "--wait", "--input", "amounts:=[20, 30]", "--log-level", "info") as running:
        for call in ("buy#0", "buy#1"):
            running.until(f"parked  call={call}")
            (row,) = shell("review", "list", "--json").rows
            assert row["call"] == call
            assert shell("review", "approve", row["review"]).code == 0
        assert running.end() == 0
    assert shell.ledger() == [20, 30]


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_was_stopped_in_the_middle_can_be_resumed_at_once(
    shell: Shell, stop: signal.Signals, code: int
) -> None:
    with shell.start("run", "--input", "amounts:=[1]", "--input", "hangs:=true") as running:
        running.until("hanging")
        assert running.end(stop) == code
    text = "".join(running.lines)
    (row,) = shell("runs", "list", "--json").rows
    assert row["status"] == "running"
    assert f"go on with `remit resume {row['run']}`" in text and "Traceback" not in text
    shell.write({"go": ""})
    assert shell("resume", row["run"]).code == 0
    assert shell.ledger() == [1]


_BLOCKING = """
import sys
from pathlib import Path

from remit import NOT_DONE, Context, Graph, Invocation, Task, tool


def has_happened(invocation: Invocation) -> object:
    return "done" if Path("effect").exists() else NOT_DONE


@tool(effect="commit", repeat="once", authority=[], content=[], labels={}, probe=has_happened)
def block(invocation: Invocation) -> str:
    print("blocking", file=sys.stderr, flush=True)
    Path("pipe").read_text()
    with Path("effect").open("a") as effect:
        effect.write("effect ")
    return "done"


async def go(ctx: Context) -> str:
    return await ctx.call(block)


graph = Graph("blocking", [Task("go", go)], tools=[block])
"""


def test_a_run_that_is_stopped_is_kept_until_its_tool_has_come_to_its_end(shell: Shell) -> None:
    shell.write(
        {
            "blocking.py": _BLOCKING,
            "one/policy.yaml": 'policy: p\nrules:\n  - id: a\n    tools: [block]\n    allow: "true"\n',
            "remit.toml": 'app = "blocking.py:graph"\npolicies = "one"\n',
        }
    )
    os.mkfifo(shell.folder / "pipe")
    with shell.start("run") as running:
        run = running.until("run ").split()[1]
        running.until("blocking")
        running.process.send_signal(signal.SIGTERM)
        # The tool is in the middle of its effect: nobody may ask its probe yet, and do it again.
        assert shell.run("resume", run).code == 7
        (shell.folder / "pipe").write_text("go")
        assert running.end() == 143
    assert shell("resume", run).code == 0
    assert (shell.folder / "effect").read_text() == "effect "


def test_after_a_kill_nobody_waits_for_the_lease_of_the_dead(shell: Shell) -> None:
    with shell.start("run", "--input", "amounts:=[1]", "--input", "hangs:=true") as running:
        run = running.until("run ").split()[1]
        running.until("hanging")
        # While it lives, it is not disturbed.
        said = shell("resume", run)
        assert said.code == 7 and "is being driven by another worker" in said.err
        assert shell("work", "--once").out == ""
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
    shell.write({"go": ""})
    before = os.times().elapsed
    assert shell("resume", run).code == 0
    assert os.times().elapsed - before < LEASE_SECONDS / 2
    assert shell.ledger() == [1]
    (view,) = shell("runs", "show", run, "--json").rows
    assert [call["attempts"] for call in view["calls"]] == [1, 1]


def test_a_worker_is_dead_only_where_that_is_certain() -> None:
    host = socket.gethostname()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(30)
    for worker in ("", "ada", "ada@elsewhere:1:x", f"ada@elsewhere:{gone.pid}:x", f"ada@{host}:me:x"):
        assert not is_dead(worker)
    assert not is_dead(f"ada@{host}:{os.getpid()}:x")
    assert not is_dead(f"ada@{host}:1:x")
    assert is_dead(f"ada@{host}:{gone.pid}:x")
    assert is_dead(f"ada@{host}:{10**30}:x")


def test_a_governed_call_leaves_lines_with_its_ids(shell: Shell) -> None:
    said = shell.run("run", "--input", "amounts:=[1, 20]", "--json", "--log-format", "json", "--log-level", "info")
    assert said.code == 8 and said.rows[0]["status"] == "waiting"
    lines = [json.loads(line) for line in said.err.splitlines()]
    of_calls = [line for line in lines if "call" in line]
    assert [(line["event"], line["call"]) for line in of_calls] == [
        ("decided", "buy#0"), ("settled", "buy#0"), ("decided", "buy#1"), ("parked", "buy#1"),
    ]  # fmt: skip
    assert all(line["run"] == said.rows[0]["run"] for line in lines)
    assert all(line["task"] == "buy" for line in of_calls)
    decided = of_calls[2]
    assert (decided["outcome"], decided["rules"], decided["tool"]) == ("escalate", "shop/large", "pay")
    assert decided["reviews"] == said.rows[0]["reviews"][0]
    assert lines[-1]["event"] == "run waiting"
    quiet = shell("run", "--input", "amounts:=[1, 20]", "--json")
    assert quiet.err == ""


def test_logs_for_people_are_on_stderr_and_in_plain_text(shell: Shell) -> None:
    said = shell("run", "--input", "words=oops\x1b[31m", "--log-level", "info")
    assert said.code == 1
    assert "settled" in said.err and "call=buy#0" in said.err and "run failed" in said.err
    assert all(line.isprintable() for line in said.err.splitlines())


TWO = """
from remit import Context, Graph, Task, tool

@tool(effect="write", labels={})
def quick(what: str) -> str:
    return f"quick {what}"

@tool(effect="write", labels={})
def slow(what: str) -> str:
    return f"slow {what}"

async def first(ctx: Context) -> str:
    return await ctx.call(quick, what="one")

async def second(ctx: Context) -> str:
    return await ctx.call(slow, what="two")

one = Graph("one", [Task("t", first)], tools=[quick])
two = Graph("two", [Task("t", second)], tools=[slow])
"""


EXITS = """
import sys
from remit import Context, Graph, Task, tool

@tool(effect="commit", labels={})
def act(code: int) -> str:
    sys.exit(code)

async def body(ctx: Context, input: dict[str, int]) -> str:
    return await ctx.call(act, code=input["code"])

graph = Graph("g", [Task("t", body)], tools=[act])
"""


def test_one_folder_of_policies_and_one_worker_serve_all_graphs_of_a_module(
    remit: Callable[[Path], Shell], tmp_path: Path
) -> None:
    shell = remit(tmp_path)
    rules = [{"id": name, "tools": [name], "allow": "true"} for name in ("quick", "slow")]
    shell.write({"app.py": TWO, "policies/p.yaml": json.dumps({"policy": "p", "rules": rules})})
    assert "quick one" in shell("run", "app.py:one").out
    assert "slow two" in shell("run", "app.py:two").out
    assert shell("policy", "check", "--app", "app.py").code == 0
    assert shell("policy", "check", "--app", "app.py:one").code == 0
    assert shell("work", "--once", "--app", "app.py").code == 0
    asked = shell("run", "app.py")
    assert asked.code == 2 and "it has several graphs, `one`, `two`: name one as `app.py:NAME`" in asked.err


@pytest.mark.parametrize("code", [0, 3])
def test_a_tool_that_calls_exit_fails_its_task_and_says_where(
    remit: Callable[[Path], Shell], tmp_path: Path, code: int
) -> None:
    shell = remit(tmp_path)
    rules = [{"id": "all", "tools": ["act"], "allow": "true"}]
    shell.write({"app.py": EXITS, "policies/p.yaml": json.dumps({"policy": "p", "rules": rules})})
    said = shell("run", "app.py:graph", "--input", f"code:={code}")
    assert said.code == 1
    assert f"t: ToolFailed: `act` failed: SystemExit: it called sys.exit({code}) (at app.py:10)" in said.out
    assert shell("runs", "list", "--json").rows[0]["status"] == "failed"
    assert shell("resume").err == "no run is unfinished\n"
    told = shell("run", "app.py:graph", "--input", f"code:={code}", "--log-level", "info")
    assert "Traceback (most recent call last)" in told.err and "sys.exit(code)" in told.err


def test_a_run_that_waits_for_people_though_it_has_failed_already_says_so(
    remit: Callable[[Path], Shell], tmp_path: Path
) -> None:
    shell = remit(tmp_path)
    app = """
from remit import Context, Graph, Task, tool

@tool(effect="write", labels={})
def act(item: int) -> str:
    return "done"

async def spread(ctx: Context) -> list[int]:
    return [1, 2]

async def work(ctx: Context, item: int) -> str:
    if item == 1:
        raise ValueError("one is broken")
    return await ctx.call(act, item=item)

graph = Graph("g", [Task("spread", spread), Task("work", work, over="spread")], tools=[act])
"""
    rules = [{"id": "ask", "tools": ["act"], "escalate": "true", "to": "desk"}]
    shell.write({
        "app.py": app,
        "policies/p.yaml": json.dumps({"policy": "p", "rules": rules}),
        "policies/queues.yaml": json.dumps({"single_operator": True, "queues": {"desk": {}}}),
    })  # fmt: skip
    said = shell("run", "app.py:graph")
    assert said.code == 8
    assert "work[0]: ValueError: one is broken (at app.py:13)" in said.out
    assert "it comes to no good end any more" in said.out
    assert "waiting, failing" in shell("runs", "list").out
    run = shell("runs", "list", "--json").rows[0]["run"]
    assert "it comes to no good end any more: work[0] failed" in shell("runs", "show", run).out
    assert shell("runs", "show", run, "--json").rows[0]["failed"] == ["work[0]"]
