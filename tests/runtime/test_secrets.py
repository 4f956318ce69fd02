"""A tool has its secret, and nothing that is written, shown or handed on has it: searched for, encodings and all."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import World, one

from remit import Context, Invocation, Runtime, Transient, foreign_tool, logs, tool
from remit.errors import Denied, ToolError, ToolFailed
from remit.runtime.secrets import Secrets, kept_outside
from remit.testing import VirtualClock

CANARY = "tweet/Tweet+7f3a?9e"
ENCODED = {
    CANARY,
    quote(CANARY, safe=""),
    base64.b64encode(CANARY.encode()).decode().rstrip("="),
    base64.b64encode(b"ann:" + CANARY.encode() + b"!").decode()[8:-4],
    CANARY.encode().hex(),
    "".join(f"%{byte:02x}" for byte in CANARY.encode()),
}


def leaks(data: bytes) -> list[str]:
    text = data.decode(errors="replace").casefold()
    return [form for form in ENCODED if form.casefold() in text or form.casefold().replace("/", "\\/") in text]


def spellings(secret: str) -> Iterator[str]:
    data = secret.encode()
    yield from (secret, secret.upper(), f"Bearer {secret}", f"https://x.example/?token={quote(secret, safe='')}")
    yield from ("".join(f"%{byte:02X}" for byte in data), "\u200b".join(secret), data.hex(), json.dumps({"t": secret}))
    for before in (b"", b"a", b"ab"):
        yield base64.b64encode(before + data + b"xyz").decode()
        yield base64.urlsafe_b64encode(before + data).decode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_the_canary_is_nowhere(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    world.clock = VirtualClock(jump=True)
    said = iter(spellings(CANARY))
    had: list[str] = []

    @tool(effect="commit", repeat="keyed", attempts=2, secrets=["BANK_TOKEN"], labels={})
    def pay(invocation: Invocation, how: str) -> dict[str, str]:
        had.append(invocation.secrets["BANK_TOKEN"])
        assert CANARY not in repr(invocation)
        token = invocation.secrets["BANK_TOKEN"]
        if how == "retry" and invocation.attempt == 1:
            raise Transient(f"503 for {token}")
        if how == "raise":
            raise ValueError("x" * 1_990 + token + base64.b64encode(token.encode()).decode())
        if how == "name":
            return {token: "1"}
        return {how: next(said), "more": next(said)}

    @tool(effect="read", repeat="idempotent", labels={})
    def reads_the_environment(what: str) -> str:
        return f"PATH=/bin {CANARY}"

    async def agent(ctx: Context) -> list[str]:
        heard = []
        for how in ("well", "retry", "raise", "name", "asked", "no", "well", "well", "well", "well"):
            try:
                heard.append(json.dumps(await ctx.call(pay, how=how)))
            except (Denied, ToolFailed) as error:
                heard.append(repr(error))
        heard.append(await ctx.call(reads_the_environment, what="all"))
        return heard

    world.policy(
        {"id": "all", "allow": "true"},
        {"id": "ask", "tools": ["pay"], "escalate": 'args.how == "asked"', "to": "desk"},
        {"id": "no", "tools": ["pay"], "deny": 'args.how == "no"'},
    )
    out = io.StringIO()
    logs.configure("json", "debug", out)
    graph = one(agent, pay, reads_the_environment)
    async with Runtime(
        graph,
        store=world.url,
        keys=world.keys,
        policies=world.policies,
        ambient=world.clock,
        secrets={"BANK_TOKEN": CANARY},
    ) as runtime:
        report = await runtime.run("app", principal="ann")
        await world.rule(report.reviews[0])
        before = len(had)
        report = await runtime.resume(report.run)
        assert report.status == "done"
        assert len(had) > before, "the approved call had it as well"
        await world.export("bundle")
        await world.holds()
        everything = [path for path in world.folder.rglob("*") if path.is_file()]
        assert {path.name for path in everything} >= {"remit.db", "remit.db-wal"}
        assert {path.name: found for path in everything if (found := leaks(path.read_bytes()))} == {}
    assert set(had) == {CANARY}
    assert json.dumps(report.output).count("[secret BANK_TOKEN]") >= 10
    assert leaks(json.dumps(report.output).encode()) == []
    assert out.getvalue()
    assert leaks(out.getvalue().encode()) == []
    shown = capfd.readouterr()
    assert leaks((shown.out + shown.err).encode()) == []
    assert {path.name: found for path in everything if path.exists() and (found := leaks(path.read_bytes()))} == {}


async def test_a_secret_is_asked_for_only_when_the_call_is_on_record_as_allowed(world: World) -> None:
    asked: list[list[str]] = []

    async def provider(name: str) -> str:
        asked.append([entry["kind"] for entry in world.committed(f"run/{run}")])
        return CANARY

    @tool(effect="commit", secrets=["KEY"], labels={})
    def act(invocation: Invocation, go: bool) -> None: ...

    async def agent(ctx: Context) -> None:
        with pytest.raises(Denied):
            await ctx.call(act, go=False)
        await ctx.call(act, go=True)

    world.policy(allow="args.go")
    async with Runtime(
        one(agent, act),
        store=world.url,
        policies=world.policies,
        keys=world.keys,
        ambient=world.clock,
        secrets=provider,
    ) as runtime:
        run = await runtime.start("app", principal="ann")
        assert (await runtime.resume(run)).status == "done"
    (kinds,) = asked
    assert kinds.count("call.decided") == 2
    assert "call.settled" not in kinds


@pytest.mark.parametrize("kept", [{}, {"KEY": "short"}, {"KEY": ""}])
async def test_without_its_secret_a_tool_does_not_run(world: World, kept: dict[str, str]) -> None:
    ran: list[int] = []

    @tool(effect="commit", secrets=["KEY"], labels={})
    def act(invocation: Invocation) -> None:
        ran.append(1)

    async def agent(ctx: Context) -> str:
        with pytest.raises(ToolFailed) as caught:
            await ctx.call(act)
        return str(caught.value)

    world.policy(allow="true")
    async with Runtime(
        one(agent, act), store=world.url, policies=world.policies, keys=world.keys, ambient=world.clock, secrets=kept
    ) as runtime:
        report = await runtime.run("app", principal="ann")
    assert "secret `KEY`" in str(report.output)
    assert "short" not in str(report.output)
    assert ran == []
    await world.holds()


async def test_secrets_are_in_the_environment_or_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("of the file\n")
    monkeypatch.setenv("REMIT_SECRET_OTHER", "of the environment")
    secrets = Secrets(kept_outside({"KEY": str(tmp_path / "key")}), VirtualClock())
    assert await secrets.of(["KEY", "OTHER"]) == {"KEY": "of the file", "OTHER": "of the environment"}


def test_a_secret_comes_with_the_invocation_or_not_at_all() -> None:
    with pytest.raises(ToolError, match="make it its first parameter"):

        @tool(secrets=["KEY"])
        def act() -> None: ...

    with pytest.raises(ToolError, match="is no name of one"):

        @tool(secrets=["key word"])
        def other(invocation: Invocation) -> None: ...

    async def run(invocation: Invocation, arguments: dict[str, object]) -> None: ...

    made = foreign_tool("x", {"type": "object"}, run, secrets=["KEY"])
    assert made.secrets == ("KEY",)


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=8, max_size=24), st.text(max_size=8))
async def test_no_spelling_of_any_secret_comes_through(secret: str, around: str) -> None:
    secrets = Secrets({"KEY": secret}, VirtualClock())
    await secrets.of(["KEY"])
    for spelt in spellings(secret):
        cleaned = secrets.out_of(around + spelt + around)
        assert spelt not in cleaned
        assert "[secret KEY]" in cleaned
    assert secrets.out_of("an ordinary sentence of words") == "an ordinary sentence of words"
