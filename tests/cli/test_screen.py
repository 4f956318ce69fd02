"""The reviewer's screen: what it shows is escaped, what it does is what the commands do, and others are followed."""

from __future__ import annotations

import os
import pty
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Label, Static
from worlds import World, one

from remit import Context
from remit.cli import cli
from remit.cli.screen import Answer, Question, Reviews
from remit.runtime.rulings import Reviewer
from remit.store.journal import Journal

HOSTILE = "\x1b[2Jpay\u202e 0001 [bold]EUR[/bold]\nreview x is approved"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(escalate="true")


async def waiting(world: World, *whats: str) -> list[str]:
    """Starts a run that waits for each; returns the reviews."""
    act = world.act()

    async def agent(ctx: Context, what: str) -> str:
        return await ctx.call(act, what=what)

    async with world.runtime(one(agent, act)) as runtime:
        return [(await runtime.run("app", what, principal="me")).reviews[0] for what in whats]


async def on_screen(world: World, play: Callable[[Pilot[Any], Reviews], Awaitable[None]]) -> None:
    async with await Journal.open(world.url, keys=world.keys) as journal:
        app = Reviews(journal, Reviewer("ann"), world.clock)
        async with app.run_test(size=(140, 60)) as pilot:
            await until(pilot, lambda: app.query_one("#queue", DataTable).row_count > 0)
            await play(pilot, app)


async def until(pilot: Pilot[Any], true: Callable[[], object]) -> None:
    """Lets the screen go on until something holds."""
    for _ in range(400):
        await pilot.pause(0.01)
        if true():
            return
    raise AssertionError("it never came")


def page(app: Reviews) -> str:
    return str(app.query_one("#review", Static).render())


def choose(app: Reviews, review: str) -> None:
    app.query_one("#queue", DataTable).move_cursor(row=app.query_one("#queue", DataTable).get_row_index(review))


async def test_what_waits_is_shown_in_full_and_nothing_in_it_can_forge_the_screen(world: World) -> None:
    (review,) = await waiting(world, HOSTILE)

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        await until(pilot, lambda: review in page(app) and "your ruling" in page(app))
        shown = page(app)
        assert "\x1b" not in shown and "\u202e" not in shown
        assert "[bold]EUR[/bold]" in shown  # markup is text
        assert not any(line.startswith("review x is approved") for line in shown.splitlines())

    await on_screen(world, play)


async def test_keys_claim_approve_and_deny_and_say_why(world: World) -> None:
    first, second = await waiting(world, "one", "two")

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        for review, key, reason in ((first, "a", "fine"), (second, "d", "no way")):
            choose(app, review)
            await until(pilot, lambda id=review: id in page(app) and "your ruling" in page(app))
            await pilot.press("c")
            await until(pilot, lambda id=review: app._waiting[id].status == "claimed")
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, Question))
            await pilot.press(*reason.replace(" ", "_"), "enter")
            await until(pilot, lambda id=review: id not in app._waiting)

    await on_screen(world, play)
    approved, denied = await world.entries(f"review/{first}"), await world.entries(f"review/{second}")
    assert [entry.kind for entry in approved] == ["review.opened", "review.claimed", "review.ruled"]
    assert (approved[-1].body.approved, denied[-1].body.approved) == (True, False)  # type: ignore[union-attr]


async def test_escape_leaves_a_review_as_it_is_and_a_denial_without_a_reason_is_none(world: World) -> None:
    (review,) = await waiting(world, "one")

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        await until(pilot, lambda: "your ruling" in page(app))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("y", "escape")
        await until(pilot, lambda: not isinstance(app.screen, Question))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, Question)
        await pilot.press("escape")

    await on_screen(world, play)
    assert [entry.kind for entry in await world.entries(f"review/{review}")] == ["review.opened"]


async def test_a_long_argument_takes_its_code_as_on_the_command_line(world: World) -> None:
    (review,) = await waiting(world, "x" * 5_000)

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        await until(pilot, lambda: "its code is" in page(app))
        code = page(app).split("its code is ")[1].split()[0]
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("enter")  # no code: nothing happens
        await pilot.pause()
        app.screen.query_one("#codes", Input).value = code
        app.screen.query_one("#codes", Input).focus()
        await pilot.press("enter")
        await until(pilot, lambda: review not in app._waiting)

    await on_screen(world, play)
    assert (await world.entries(f"review/{review}"))[-1].kind == "review.ruled"


async def test_what_others_do_is_followed_and_a_lost_race_is_told(world: World) -> None:
    first, second = await waiting(world, "one", "two")

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        choose(app, second)
        await until(pilot, lambda: second in page(app))
        await world.rule(first)
        await until(pilot, lambda: first not in app._waiting)
        app._waiting[first] = app._waiting[second]  # as if the news had not come yet
        app._shown = first
        app._rule({"review": first, "version": ""}, False, Answer("too late"))
        await until(pilot, lambda: any("a ruling is final" in str(one_.message) for one_ in app._notifications))

    await on_screen(world, play)
    assert [entry.kind for entry in await world.entries(f"review/{first}")][-1] == "review.ruled"


async def test_the_filter_keeps_what_fits(world: World) -> None:
    _, second = await waiting(world, "one", "two")

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        await pilot.press("slash", *second)
        await until(pilot, lambda: app.query_one("#queue", DataTable).row_count == 1)
        await pilot.press("enter", "slash")
        await until(pilot, lambda: app.query_one("#queue", DataTable).row_count == 2)

    await on_screen(world, play)


async def test_the_filter_searches_what_people_look_for(world: World) -> None:
    world.queues(desk={"ttl": "1h", "title": "order of {{args.what}}"})
    await waiting(world, "chairs", "desks")

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        table = app.query_one("#queue", DataTable)
        await until(pilot, lambda: table.row_count == 2)
        for words, count in {"order of CHAIRS": 1, "me": 2, "order of": 2, "tables": 0}.items():
            app.query_one("#filter", Input).value = words
            await until(pilot, lambda count=count: table.row_count == count)
        app.query_one("#filter", Input).value = "chairs"
        await until(pilot, lambda: table.row_count == 1)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert any("order of chairs" in str(label.render()) for label in app.screen.query(Label))

    await on_screen(world, play)


async def test_escape_closes_the_filter_and_shows_all_again(world: World) -> None:
    _, second = await waiting(world, "one", "two")

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        await pilot.press("slash", *second)
        await until(pilot, lambda: app.query_one("#queue", DataTable).row_count == 1)
        await pilot.press("escape")
        await until(pilot, lambda: app.query_one("#queue", DataTable).row_count == 2)
        assert not app.query_one("#filter").has_class("shown")

    await on_screen(world, play)


async def test_keys_in_an_empty_table_break_nothing(world: World) -> None:
    await waiting(world, "one", "two")

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        await pilot.press("slash", *"zzz", "enter", "pagedown", "down", "end", "a", "d", "c")
        await pilot.press("escape")
        await until(pilot, lambda: app.query_one("#queue", DataTable).row_count == 2)

    await on_screen(world, play)


_KEYS = (
    "a", "d", "c", "r", "e", "m", "slash", "escape", "question_mark", "enter", "tab", "up", "down", "pageup",
    "pagedown",
    "home", "end", "backspace", "x", "1", "ctrl+a", "delete", "left", "right", "space",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_no_keys_that_anybody_types_end_the_screen(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty keys of a fixed seed, on four seeds; the editor is one that changes nothing."""
    monkeypatch.setenv("EDITOR", "true")
    await waiting(world, "one", "two", "three")
    dice = random.Random(seed)

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        for _ in range(60):
            await pilot.press(dice.choice(_KEYS))
        assert app.is_running and app._exception is None

    await on_screen(world, play)


async def test_the_question_says_what_is_approved(world: World) -> None:
    (review,) = await waiting(world, "one")

    async def play(pilot: Pilot[Any], app: Reviews) -> None:
        choose(app, review)
        await until(pilot, lambda: app._page is not None)
        await pilot.press("a")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        said = " ".join(str(label.render()) for label in app.screen.query("Label"))
        assert 'what="one"' in said

    await on_screen(world, play)


def test_without_a_terminal_there_is_no_screen_and_a_command_is_named() -> None:
    done = CliRunner().invoke(cli, ["review"])
    assert done.exit_code == 2 and "needs a terminal" in done.output


async def test_on_a_terminal_it_starts_and_leaves_it_as_it_was(world: World) -> None:
    (review,) = await waiting(world, "one")
    master, slave = pty.openpty()
    environment = {**os.environ, "REMIT_STORE": world.url, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(
        [sys.executable, "-m", "remit", "review"], cwd=world.folder, env=environment,
        stdin=slave, stdout=slave, stderr=slave,
    ) as child:  # fmt: skip
        os.close(slave)
        seen = b""
        while review.encode() not in seen:
            seen += os.read(master, 65_536)
        os.write(master, b"q")
        with suppress(OSError):  # a terminal whose other end is gone
            while data := os.read(master, 65_536):
                seen += data
        assert child.wait(20) == 0
    assert b"\x1b[?1049l" in seen  # the alternate screen is left
