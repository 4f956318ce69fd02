"""`remit notify`, and `remit work` that tells beside its work."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from shops import Shell

QUEUES = """
single_operator: true
queues:
  finance: {ttl: 72h, notify: [hook, fails]}
"""
KEEPS = "import sys; open('told.jsonl', 'a').write(sys.stdin.read() + chr(10))"
CHANNELS = f"""
app = "app.py:graph"

[channels.hook]
kind = "command"
command = [{json.dumps(sys.executable)}, "-c", {json.dumps(KEEPS)}]

[channels.fails]
kind = "command"
command = ["false"]
events = ["opened"]
"""


@pytest.fixture
def told(shell: Shell) -> Shell:
    shell.write({"policies/queues.yaml": QUEUES, "remit.toml": CHANNELS})
    assert shell("run", "--input", "amounts:=[5]", "--json").code == 0
    assert shell("notify", "--once", "--json").rows == []
    return shell


def types(shell: Shell) -> list[str]:
    file = shell.folder / "told.jsonl"
    return [json.loads(line)["type"] for line in file.read_text().splitlines()] if file.exists() else []


def test_what_happens_is_told_listed_and_tried_again(told: Shell) -> None:
    (report,) = told("run", "--input", "amounts:=[20]", "--json").rows
    said = told("notify", "--once", "--json")
    assert said.code == 1
    assert sorted((row["channel"], row["event"], row["state"]) for row in said.rows) == [
        ("fails", "opened", "pending"), ("hook", "opened", "sent"),
    ]  # fmt: skip
    (waiting,) = told("notify", "list", "--json").rows
    assert (waiting["channel"], waiting["state"], waiting["attempts"]) == ("fails", "pending", 1)
    assert "ended with 1" in waiting["error"] and "fails" in told("notify", "list").out
    assert len(told("notify", "list", "--all", "--json").rows) == 2
    assert told("notify", "retry", "--json").rows == [{"pending": 0}]
    assert told("notify", "retry", "msg_nosuch").code == 5
    assert told("review", "approve", report["reviews"][0]).code == 0
    assert told("notify", "--once").out.split() == ["hook", "ruled", "sent"]
    assert types(told) == ["review.opened", "review.ruled"]


def test_a_channel_can_be_tried(told: Shell) -> None:
    assert told("notify", "test", "hook").out == "hook: it was heard\n"
    said = told("notify", "test", "fails", "--json")
    assert (said.code, said.rows[0]["ok"]) == (1, False)
    assert told("notify", "test", "hok").code == 5


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('kind = "pigeon"', "channels.hook.kind"),
        ('kind = "webhook"\nurll = "x"', "channels.hook.urll"),
        ('kind = "command"\ntimeout = 0', "channels.hook.timeout"),
        ('kind = "command"\nevents = ["nothing"]', "channels.hook.events"),
    ],
)
def test_a_mistake_in_a_channel_names_its_place(shell: Shell, line: str, words: str) -> None:
    shell.write({"remit.toml": f"[channels.hook]\n{line}\n"})
    said = shell("notify", "--once")
    assert said.code == 2 and words in said.err


def test_work_tells_beside_its_work_and_a_channel_that_is_set_up_wrongly_keeps_no_run_waiting(told: Shell) -> None:
    broken = '\n[channels.broken]\nkind = "webhook"\nurl = "https://example.com/"\nsecret_env = "NOT_SET"\n'
    told.write({"remit.toml": CHANNELS + broken})
    (report,) = told("run", "--input", "amounts:=[20]", "--json").rows
    assert told("review", "approve", report["reviews"][0]).code == 0
    said = told("work", "--once")
    assert said.code == 0 and "`NOT_SET` isn't set" in said.err
    assert types(told) == ["review.opened", "review.ruled"]
    assert told("runs", "show", report["run"], "--json").rows[0]["status"] == "done"


def test_notify_tells_until_it_is_stopped(told: Shell) -> None:
    with told.start("notify") as running:
        running.until("telling hook, fails")
        told("run", "--input", "amounts:=[20]")
        for _ in range(300):
            if types(told):
                break
            signal.sigtimedwait([], 0.05)
        assert running.end(signal.SIGTERM) == 143
    assert types(told) == ["review.opened"]
    assert Path(told.folder / "told.jsonl").read_text().count("\n") == 1


def test_a_test_says_how_a_command_ended_and_nothing_that_it_wrote(shell: Shell) -> None:
    code = "import sys; print('token-1'); print('\\x1b[2Jtoken-2', file=sys.stderr); sys.exit(3)"
    command = json.dumps([sys.executable, "-c", code])
    shell.write({"remit.toml": f'app = "app.py:graph"\n[channels.pager]\nkind = "command"\ncommand = {command}\n'})
    said, rows = shell("notify", "test", "pager"), shell("notify", "test", "pager", "--json")
    assert (said.code, rows.code) == (1, 1)
    assert "ended with 3" in said.out and rows.rows[0]["error"].endswith("ended with 3")
    assert not any("token" in text or "\x1b" in text for text in (said.out, said.err, rows.out, rows.err))
