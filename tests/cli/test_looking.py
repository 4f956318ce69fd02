"""`runs`, `review list|show`, `audit`: looking changes nothing, and shows what is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from shops import HOSTILE, Said, Shell, environment, is_harmless

from remit.cli import cli
from remit.cli.output import width

RUN = {
    "run", "status", "graph", "principal", "started", "ended", "waiting", "calls", "cost", "worker", "entries",
    "problem", "failed",
}  # fmt: skip
REVIEW = {
    "approvals", "needed", "claimed", "claimed_until", "priority",
    "review", "status", "run", "call", "tool", "queue", "opened", "expires", "reviewer", "ruled", "in_doubt", "problem",
    "activation", "principal", "title",
}  # fmt: skip
RUN_VIEW = {
    "run", "status", "graph", "target", "principal", "starter", "started", "ended", "worker", "policies", "purpose",
    "input", "output", "failed", "spent", "graph_tasks", "tasks", "calls",
}  # fmt: skip
CALL_VIEW = {
    "call", "task", "tool", "status", "args", "digest", "outcome", "rules", "broken", "shadow", "reasons", "reviews",
    "because", "attempts", "ok", "lost", "result", "cause", "error", "changed", "obliged", "grants",
}  # fmt: skip
REVIEW_VIEW = {
    "rulings", "comments", "version", "approvals", "needed", "needed_of", "may_edit", "may_respond", "hands_on_to",
    "claimed_by", "claimed_until", "priority", "activation", "granted", "may_grant",
    "review", "status", "queue", "run", "call", "tool", "opened", "expires", "in_doubt", "digest", "rules", "shown",
    "args", "seen", "starter", "denials", "denials_needed", "then_to",
    "ruling", "title", "gone",
}  # fmt: skip
SHOWN = {
    "run", "principal", "call", "agent", "tool", "description", "effect", "repeat", "args", "reasons", "digest",
    "facts", "queue",
}  # fmt: skip


@pytest.fixture
def shop(remit: Callable[[Path], Shell], history: Path) -> Shell:
    return remit(history)


@pytest.fixture
def runs(shop: Shell) -> list[dict[str, Any]]:
    """The runs, in the order in which they were started."""
    return shop("runs", "list", "--json").rows[::-1]


def test_runs_are_listed_with_stable_keys_the_latest_first(shop: Shell) -> None:
    rows = shop("runs", "list", "--json").rows
    assert all(set(row) == RUN for row in rows)
    assert [row["status"] for row in rows[::-1]] == [
        "done",
        "failed",
        "failed",
        "waiting",
        "failed",
        "waiting",
        "failed",
    ]
    text = shop("runs", "list")
    assert (text.code, text.err) == (0, "")
    assert [line.split()[0] for line in text.out.splitlines()] == ["RUN", *(row["run"] for row in rows)]


def test_a_run_is_shown_with_stable_keys(shop: Shell, runs: list[dict[str, Any]]) -> None:
    for row in runs:
        (view,) = shop("runs", "show", row["run"], "--json").rows
        assert set(view) == RUN_VIEW
        assert view["status"] == row["status"]
        assert all(set(call) == CALL_VIEW for call in view["calls"])
        assert {key for task in view["tasks"] for key in task} == {
            "task", "status", "agent", "instances", "labels", "cause", "error",
        }  # fmt: skip


def test_a_run_tells_what_was_decided_and_why(shop: Shell, runs: list[dict[str, Any]]) -> None:
    done, failed, denied, waiting, refused, *_ = (shop("runs", "show", row["run"]).out for row in runs)
    assert '#0 pay(amount=1, to="Ada", why="")' in done
    assert "allow by shop/small" in done
    assert "output\n" in done and '{"1": "paid Ada", "2": "paid Ada"}' in done
    assert "ValueError: out of order" in failed
    assert "deny by shop/never" in denied and "5000 is too much" in denied
    assert "20 to Ada is a lot" in waiting and "in finance: open, expires 2" in waiting
    assert "denied by bob" in refused and "refused (ruled)" in refused
    for text, row in zip((done, failed), runs, strict=False):
        assert text.startswith(f"run {row['run']} is {row['status']}\n")


def test_tasks_are_told_in_the_order_of_the_graph(shop: Shell, runs: list[dict[str, Any]]) -> None:
    (view,) = shop("runs", "show", runs[0]["run"], "--json").rows
    assert [task["task"] for task in view["tasks"]] == ["buy", "sum"]


def test_a_graph_is_drawn_as_text_dot_and_mermaid(shop: Shell, runs: list[dict[str, Any]]) -> None:
    run = runs[0]["run"]
    assert shop("runs", "graph", run).out == "buy  done\nsum  done  after buy\n"
    dot = shop("runs", "graph", run, "--format", "dot").out
    assert dot.startswith("digraph run {") and '"buy" -> "sum";' in dot and dot.endswith("}\n")
    assert shop("runs", "graph", run, "--format", "mermaid").out.startswith('flowchart LR\n  t0["buy<br/>done"]')
    rows = shop("runs", "graph", run, "--json").rows
    assert set(rows[0]) == {"id", "agent", "version", "after", "over", "status"}


def test_reviews_are_listed_with_stable_keys_the_oldest_first(shop: Shell) -> None:
    rows = shop("review", "list", "--json").rows
    assert len(rows) == 2 and all(set(row) == REVIEW for row in rows)
    assert [row["opened"] for row in rows] == sorted(row["opened"] for row in rows)
    every = shop("review", "list", "--all", "--json").rows
    assert [row["status"] for row in every] == ["open", "denied", "open"]
    assert "bob" in shop("review", "list", "--all").out


def test_a_review_shows_the_call_in_full(shop: Shell) -> None:
    row = shop("review", "list", "--json").rows[0]
    (view,) = shop("review", "show", row["review"], "--json").rows
    assert set(view) == REVIEW_VIEW and set(view["shown"]) >= SHOWN
    assert view["shown"]["args"] == {"amount": 20, "to": "Ada", "why": ""}
    text = shop("review", "show", row["review"][:8]).out
    for words in ("in queue finance is open", "20 to Ada is a lot", "amount  20", "shop/large", view["digest"]):
        assert words in text
    assert f"remit review deny {row['review']} --reason WHY" in text


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_nothing_that_an_agent_wrote_acts_on_the_terminal(shop: Shell, columns: str) -> None:
    every = [
        shop("runs", "list", COLUMNS=columns),
        shop("review", "list", "--all", COLUMNS=columns),
        *(shop("runs", "show", row["run"], COLUMNS=columns) for row in shop("runs", "list", "--json").rows),
        *(shop("audit", "trace", row["run"], COLUMNS=columns) for row in shop("runs", "list", "--json").rows),
        *(shop("review", "show", row["review"], COLUMNS=columns) for row in shop("review", "list", "--json").rows),
    ]
    for said in every:
        assert (said.code, said.err) == (0, "")
        assert all(is_harmless(line) for line in said.out.split("\n"))
        assert not any(line.startswith("  verdict  allow") for line in said.out.split("\n"))
        assert all(width(line) <= int(columns) for line in said.out.splitlines())
    assert any("\\u001b[2J" in said.out for said in every)


def test_json_carries_the_values_exactly_and_moves_no_cursor(shop: Shell) -> None:
    said = shop("review", "show", shop("review", "list", "--json").rows[1]["review"], "--json")
    assert said.rows[0]["shown"]["args"]["to"] == HOSTILE
    assert is_harmless(said.out.replace("\n", ""))


@pytest.mark.parametrize("what", ["runs show", "runs graph", "review show", "review approve", "resume"])
def test_an_id_that_nothing_has_is_5(shop: Shell, what: str) -> None:
    said = shop(*what.split(), "zzzz\x1b[31m\nremit: all is well")
    assert said.code == 5 and said.out == ""
    assert "there is no re" in said.err or "there is no run" in said.err
    assert "`zzzz\\u001b[31m" in said.err
    assert not any(line.startswith("remit: all") for line in said.err.splitlines())
    empty = shop(*what.split(), "")
    assert empty.code == 5 and "type its id" in empty.err


def test_a_prefix_that_fits_several_ids_names_them(shell: Shell) -> None:
    seen: dict[str, list[str]] = {}
    shell.write({"started.py": _START})
    subprocess.run([sys.executable, "started.py"], cwd=shell.folder, env=environment(), check=True, timeout=60)
    for row in shell("runs", "list", "--json").rows:
        seen.setdefault(row["run"][0], []).append(row["run"])
    first, several = next((first, runs) for first, runs in seen.items() if len(runs) > 1)
    said = shell("runs", "show", first)
    assert said.code == 5
    assert f"`{first}` fits {len(several)} runs: {sorted(several)[0]}" in said.err
    assert shell("runs", "show", several[0][:11]).code == 0


_START = """
import asyncio
from app import graph
from remit import Runtime

async def main():
    async with Runtime(graph) as runtime:
        for _ in range(40):
            await runtime.start(graph, {}, principal="ada")

asyncio.run(main())
"""


LOOKING = ["runs list", "runs show x", "runs graph x", "review list", "review show x", "review approve x",
           "review deny x --reason no", "resume", "audit export --all -o out"]  # fmt: skip


@pytest.mark.parametrize("command", LOOKING)
def test_looking_for_a_store_that_is_not_there_makes_none(shell: Shell, command: str) -> None:
    before = set(os.listdir(shell.folder))
    said = shell(*command.split())
    assert said.code == 2 and said.out == ""
    assert "no store at" in said.err and "remit.db" in said.err
    assert set(os.listdir(shell.folder)) == before


@pytest.mark.parametrize("command", LOOKING[:4])
def test_a_file_that_is_no_store_is_left_as_it_is(shell: Shell, command: str) -> None:
    shell.write({"remit.db": "once upon a time"})
    said = shell(*command.split())
    assert said.code == 2 and "remit.db" in said.err
    assert (shell.folder / "remit.db").read_text() == "once upon a time"
    assert shell(*command.split(), "--store", "postgres://ada:secret@x/y").code == 2
    assert "secret" not in shell(*command.split(), "--store", "postgres://ada:secret@x/y").err


def _commands(group: click.Group, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += _commands(command, *path, name)
    return found


def test_every_option_of_every_command_has_a_help_text() -> None:
    for path, command in _commands(cli):
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)
                assert (
                    parameter.metavar
                    or parameter.is_flag
                    or isinstance(parameter.type, click.Choice)
                    or (parameter.name in ("reason",))
                ), (path, parameter.name)


def test_every_command_has_help_that_fits_80_columns(shell: Shell) -> None:
    for path, _ in _commands(cli):
        said = shell(*path, "--help", COLUMNS="80")
        assert said.code == 0 and said.out.startswith("Usage: ")
        assert all(len(line) <= 80 for line in said.out.splitlines()), path


def test_every_command_that_prints_data_has_json() -> None:
    silent = {
        ("init",),
        ("demo",),
        ("policy", "schema"),
        ("audit", "verifier"),
    }  # a schema is JSON, a verifier a program
    for path, command in _commands(cli):
        if not isinstance(command, click.Group) and path not in silent:
            assert any(parameter.name == "as_json" for parameter in command.params), path


def test_an_export_is_verified_and_a_changed_one_is_not(shop: Shell, tmp_path: Path) -> None:
    out = tmp_path / "export"
    (row,) = shop("audit", "export", "--all", "-o", str(out), "--json").rows
    assert set(row) >= {"scope", "streams", "entries", "payloads", "digest", "output"}
    (held,) = shop("audit", "verify", str(out), "--json").rows
    assert held["ok"] is True and held["problems"] == [] and held["effects"] > 0
    assert set(held) >= {
        "ok",
        "entries",
        "streams",
        "payloads",
        "decisions",
        "effects",
        "approvals",
        "problems",
        "notes",
    }
    assert "holds" in shop("audit", "verify", str(out)).out
    again = shop("audit", "export", "--all", "-o", str(out))
    assert again.code == 2 and "is there already" in again.err
    payloads = out / "payloads.jsonl"
    payloads.write_bytes(payloads.read_bytes().replace(b"5000", b"6000", 1))
    broken = shop("audit", "verify", str(out))
    assert broken.code == 1 and "DOES NOT HOLD" in broken.out and "problem: " in broken.out
    (found,) = shop("audit", "verify", str(out), "--json").rows
    assert found["ok"] is False and set(found["problems"][0]) == {"place", "message"}


def test_one_run_is_exported_to_a_zip(shop: Shell, tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    out = tmp_path / "deep" / "one.zip"
    said = shop("audit", "export", runs[0]["run"][:10], "-o", str(out))
    assert said.code == 0 and out.is_file() and f"remit audit verify {out}" in said.out
    assert shop("audit", "verify", str(out)).code == 0


def test_what_is_no_export_is_2(shop: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("once")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"format": "something"}')
    for name in ("nothing", "file", "folder", "other"):
        said = shop("audit", "verify", str(tmp_path / name))
        assert said.code == 2 and f"{tmp_path / name}" in said.err, name
    for wrong in (("-o", "x"), ("--all", "abc", "-o", "x")):
        said = shop("audit", "export", *wrong)
        assert said.code == 2 and "export what?" in said.err
    assert shop("audit", "export", "--all").code == 2
    assert shop("audit", "export", "zzzz", "-o", str(tmp_path / "never")).code == 5
    assert not (tmp_path / "never").exists()


def test_a_command_that_is_not_there_is_2_and_says_where_help_is(shop: Shell) -> None:
    def wrong(*command: str) -> Said:
        said = shop(*command)
        assert said.code == 2 and said.out == ""
        return said

    assert wrong("rums").err.startswith("remit: no such command `rums`")
    assert wrong("runs", "list", "--jsno").err.startswith("remit: no such option")
    assert "try `remit runs show --help`" in wrong("runs", "show").err
    assert wrong().err.startswith("Usage: ")
    assert json.loads(shop("runs", "list", "--json").out)


def test_a_review_is_named_by_four_characters_at_least(shell: Shell) -> None:
    shell("run", "--input", "amounts:=[20]")
    (row,) = shell("review", "list", "--json").rows
    for size in (1, 3):
        said = shell("review", "approve", row["review"][:size])
        assert (
            said.code == 5
            and f"is too short to name a review, which takes 4 characters: do you mean {row['review']}?" in said.err
        )
    assert shell("review", "list", "--json").rows[0]["status"] == "open"
    assert shell("review", "approve", row["review"][:4]).code == 0
