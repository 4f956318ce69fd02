"""Notifications: none is lost, none is sent twice but after a crash and under its key, and nobody waits for them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from worlds import World, one

from remit import Context, Denied
from remit.cli.settings import ChannelSettings
from remit.core.people import read_people
from remit.errors import PolicyError, UnknownId
from remit.runtime.ambient import System
from remit.runtime.channels import EVENTS, Apprise, Channel, Message, Undelivered, Webhook, message_of, open_channels
from remit.runtime.grants import Grant
from remit.runtime.notifying import BACKOFF, Attempt, Notifier, retry
from remit.store.journal import Journal
from remit.store.outbox import Outbox
from remit.testing import VirtualClock

SECRET = b"a secret of thirty-two bytes, yes"
DESK: dict[str, Any] = {"ttl": "8h", "notify": ["ops"], "remind": ["4h", "1h"]}


@dataclass
class Server:
    """A web server that answers as it is told, and keeps what it got."""

    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    hangs: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    found.hangs.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.got.append(({name.lower(): text for name, text in self.headers.items()}, body))
            found.hangs.wait(20)
            self.send_response(found.answers.pop(0) if found.answers else 204)
            for name, text in found.headers.items():
                self.send_header(name, text)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = False  # closing it waits for what it still answers
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{http.server_port}/hook?team=a"
    yield found
    found.hangs.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path).policy(escalate="true").queues(desk=DESK)


def webhook(server: Server, name: str = "ops", **more: Any) -> dict[str, Channel]:
    return {name: Channel(name, Webhook(server.url, SECRET), **more)}


class Noted:
    """A way that keeps what it was told, and fails as often as it is told to."""

    def __init__(self, fails: int = 0) -> None:
        self.told: list[Message] = []
        self.fails = fails

    async def tell(self, message: Message, ambient: Any) -> None:
        self.told.append(message)
        if self.fails:
            self.fails -= 1
            raise Undelivered("not now")

    @property
    def types(self) -> list[str]:
        return [json.loads(message.body)["type"] for message in self.told]


def paying(act: Any, what: str = "the secret IBAN") -> Any:
    async def agent(ctx: Context) -> str:
        try:
            return str(await ctx.call(act, what=what))
        except Denied as error:
            return str(error)

    return agent


class Desk:
    """A run that waits at the desk, and the store's notifier, begun before it."""

    def __init__(self, world: World, channels: dict[str, Channel]) -> None:
        self.world = world
        self.channels = channels
        act = world.act()
        self.graph = one(paying(act), act)

    async def begins(self) -> None:
        """What was before is nobody's news."""
        async with self.world.runtime(self.graph):
            pass
        assert await self.tells() == []

    async def asks(self) -> tuple[str, str]:
        async with self.world.runtime(self.graph) as runtime:
            report = await runtime.run(self.graph, principal="anna@example.com")
        return report.run, report.reviews[0]

    async def resumes(self, run: str) -> None:
        async with self.world.runtime(self.graph) as runtime:
            await runtime.resume(run)

    async def tells(self) -> list[Attempt]:
        """As a process of its own would."""
        async with await Journal.open(self.world.url, keys=self.world.keys) as journal:
            return await Notifier(journal, self.world.clock, self.channels).once()

    async def box(self) -> dict[str, str]:
        async with await Journal.open(self.world.url, keys=self.world.keys) as journal:
            return {one_.id: one_.state for one_ in await Outbox(journal).rows(all_=True)}


# --- what is told ------------------------------------------------------------------------------------------


async def test_a_webhook_is_signed_as_standard_webhooks_says_and_says_nothing_of_what_was_asked_for(
    world: World, server: Server
) -> None:
    desk = Desk(world, webhook(server))
    await desk.begins()
    run, review = await desk.asks()
    assert [(one_.ok, one_.delivery.event) for one_ in await desk.tells()] == [(True, "opened")]
    ((headers, body),) = server.got
    id, at = headers["webhook-id"], headers["webhook-timestamp"]
    wanted = hmac.new(SECRET, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(wanted).decode()}"
    assert int(at) == int(world.clock.now().timestamp()) and "." not in id
    said = json.loads(body)
    assert (said["id"], said["type"], said["data"]["review"], said["data"]["run"]) == (id, "review.opened", review, run)
    assert not any(word in body.decode() for word in ("IBAN", "anna", "secret"))
    assert await desk.tells() == []
    assert len(server.got) == 1


async def test_everything_that_happens_in_a_queue_is_told_once_in_its_order(world: World) -> None:
    board = {"ttl": "4h", "notify": ["ops"], "remind": ["1h"]}
    hands = {**DESK, "on_expiry": "hand on", "hand_on_to": ["board"], "grant": {"uses": 2, "for": "1d"}}
    world.queues(desk=hands, board=board)
    way = Noted()
    desk = Desk(world, {"ops": Channel("ops", way)})
    await desk.begins()
    run, _ = await desk.asks()
    _, second = await desk.asks()
    await world.rule(second, grant=Grant("args.what == this.args.what", 1, "10h"))
    for hours in (0, 4, 3, 1, 3, 1):
        world.clock.advance(hours * 3600)
        if hours == 1:
            await desk.resumes(run)
        await desk.tells()
        await desk.tells()
    assert way.types == [
        "review.opened", "review.opened", "review.ruled", "grant.made", "review.reminder", "review.reminder",
        "review.handed_on", "review.reminder", "review.expired",
    ]  # fmt: skip
    assert len({message.id for message in way.told}) == len(way.told)


async def test_a_deadline_that_passes_is_told_once_whether_a_worker_has_noticed_or_not(world: World) -> None:
    way = Noted()
    desk = Desk(world, {"ops": Channel("ops", way)})
    await desk.begins()
    run, _ = await desk.asks()
    world.clock.advance(8 * 3600)
    await desk.tells()
    await desk.resumes(run)
    await desk.tells()
    assert way.types == ["review.opened", "review.expired"]


async def test_of_reminders_that_nobody_sent_only_the_latest_says_anything(world: World) -> None:
    way = Noted()
    desk = Desk(world, {"ops": Channel("ops", way)})
    await desk.begins()
    await desk.asks()
    world.clock.advance(7 * 3600 + 60)
    await desk.tells()
    await desk.tells()
    assert way.types == ["review.opened", "review.reminder"]


async def test_a_channel_hears_of_its_events_and_of_queues_that_name_it(world: World) -> None:
    ways = {name: Noted() for name in ("ops", "some", "other")}
    world.queues(desk={**DESK, "notify": ["ops", "some"]})
    channels = {name: Channel(name, way, ("ruled",) if name == "some" else EVENTS) for name, way in ways.items()}
    desk = Desk(world, channels)
    await desk.begins()
    _, review = await desk.asks()
    await world.rule(review)
    await desk.tells()
    assert {name: way.types for name, way in ways.items()} == {
        "ops": ["review.opened", "review.ruled"], "some": ["review.ruled"], "other": [],
    }  # fmt: skip


async def test_of_what_was_before_there_was_an_outbox_only_what_waits_is_told_and_an_older_store_gets_one(
    world: World,
) -> None:
    way = Noted()
    desk = Desk(world, {"ops": Channel("ops", way)})
    _, settled = await desk.asks()
    await world.rule(settled)
    _, waits = await desk.asks()
    world.sql("DROP TABLE IF EXISTS outbox", "DROP TABLE IF EXISTS notified")
    await desk.tells()
    assert [json.loads(message.body)["data"]["review"] for message in way.told] == [waits]
    await desk.asks()
    await desk.tells()
    await desk.tells()
    assert way.types == ["review.opened"] * 2


# --- failing -----------------------------------------------------------------------------------------------


async def test_what_fails_is_tried_again_later_and_later_under_the_same_id_and_then_it_is_dead(
    world: World, server: Server
) -> None:
    desk = Desk(world, webhook(server))
    await desk.begins()
    await desk.asks()
    server.answers = [500] * 100
    assert [one_.error for one_ in await desk.tells()] == ["it answered 500"]
    for seconds in BACKOFF:
        world.clock.advance(seconds - 1)
        assert [one_ for one_ in await desk.tells() if one_.delivery.event == "opened"] == []
        world.clock.advance(1)
        await desk.tells()
    opened = [headers["webhook-id"] for headers, body in server.got if b"review.opened" in body]
    assert len(opened) == len(BACKOFF) + 1 and len(set(opened)) == 1
    assert (await desk.box())[opened[0]] == "dead"
    world.clock.advance(100_000)
    assert [one_ for one_ in await desk.tells() if one_.delivery.event == "opened"] == []
    async with await Journal.open(world.url, keys=world.keys) as journal:
        with pytest.raises(UnknownId):
            await retry(journal, world.clock, ["msg_nosuch"])
        assert await retry(journal, world.clock, [opened[0][:10]]) == 1
    server.answers.clear()
    assert [one_.ok for one_ in await desk.tells() if one_.delivery.event == "opened"] == [True]


async def test_who_says_that_it_is_gone_is_told_no_more_and_who_asks_for_time_gets_it(
    world: World, server: Server
) -> None:
    desk = Desk(world, webhook(server))
    await desk.begins()
    await desk.asks()
    await desk.asks()
    server.answers, server.headers = [410, 503], {"retry-after": "900"}
    assert sorted(one_.state for one_ in await desk.tells()) == ["dead", "pending"]
    world.clock.advance(899)
    assert await desk.tells() == []
    world.clock.advance(1)
    assert [one_.ok for one_ in await desk.tells()] == [True]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no.such.host.invalid/", "redirect"])
async def test_a_server_that_is_not_there_or_sends_elsewhere_has_not_heard(
    world: World, server: Server, url: str
) -> None:
    if url == "redirect":
        server.answers, server.headers, url = [307], {"location": "https://example.com/"}, server.url
    channel = Channel("ops", Webhook(url, SECRET), timeout=5)
    with pytest.raises(Undelivered):
        await channel.tell(message_of("msg_1", _BODY), System())


_BODY = json.dumps(
    {"type": "review.opened", "data": {"review": "r", "queue": "q", "tool": "t", "status": "open", "call": "c",
                                       "run": "x", "expires": "never"}}
).encode()  # fmt: skip


async def test_a_channel_that_hangs_keeps_neither_another_channel_nor_a_run_waiting(
    world: World, server: Server
) -> None:
    server.hangs.clear()
    way = Noted()
    world.clock = System()  # type: ignore[assignment]  # the senders wait for real
    world.queues(desk={**DESK, "notify": ["slow", "ops"]})
    channels = {**webhook(server, "slow", timeout=600.0), "ops": Channel("ops", way)}
    desk = Desk(world, channels)
    await desk.begins()
    async with await Journal.open(world.url, keys=world.keys) as journal, asyncio.TaskGroup() as group:
        notifier = Notifier(journal, System(), channels)
        keeping = group.create_task(notifier.keep())
        for number in range(1, 3):
            run, review = await desk.asks()
            while len(way.told) < 2 * number - 1:
                await journal.wait(await journal.position(), 0.05)
            await world.rule(review)
            await desk.resumes(run)
            assert world.did == ["the secret IBAN"] * number
            while len(way.told) < 2 * number:
                await journal.wait(await journal.position(), 0.05)
        keeping.cancel()
    assert way.types == ["review.opened", "review.ruled"] * 2
    assert len(server.got) == 1


async def test_a_server_that_never_ends_its_answer_is_left_in_time() -> None:
    left = asyncio.Event()

    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            writer.close()
            left.set()

    clock = VirtualClock()
    async with await asyncio.start_server(drips, "127.0.0.1", 0) as serving:
        port = serving.sockets[0].getsockname()[1]
        channel = Channel("ops", Webhook(f"http://127.0.0.1:{port}/", SECRET), timeout=10)
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(_fails(channel, clock))
            await asyncio.sleep(0.05)
            clock.advance(10)
        assert "no answer in 10 s" in telling.result()
        await left.wait()


async def _fails(channel: Channel, clock: Any) -> str:
    with pytest.raises(Undelivered) as error:
        await channel.tell(message_of("msg_1", _BODY), clock)
    return str(error.value)


# --- once, and not lost ------------------------------------------------------------------------------------


async def test_two_senders_at_once_send_each_message_once(world: World, server: Server) -> None:
    desk = Desk(world, webhook(server))
    await desk.begins()
    for _ in range(5):
        await desk.asks()
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(desk.tells()) for _ in range(2)]
    assert sum(len(one_.result()) for one_ in both) == 5
    ids = [headers["webhook-id"] for headers, _ in server.got]
    assert len(ids) == len(set(ids)) == 5


async def test_a_sender_that_dies_between_sending_and_recording_sends_again_under_the_same_id(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(world, webhook(server))
    await desk.begins()
    await desk.asks()

    class Dies(BaseException):
        pass

    async def dies(*_: object, **__: object) -> None:
        raise Dies

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "settle", dies)
        with pytest.raises(BaseExceptionGroup):
            await desk.tells()
    assert await desk.tells() == []  # it is taken: perhaps the other still lives
    world.clock.advance(71)
    assert [one_.ok for one_ in await desk.tells()] == [True]
    first, second = (headers["webhook-id"] for headers, _ in server.got)
    assert first == second


async def test_an_event_whose_place_in_the_outbox_was_not_committed_is_found_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Noted()
    desk = Desk(world, {"ops": Channel("ops", way)})
    await desk.begins()
    await desk.asks()

    async def fails(*_: object, **__: object) -> bool:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "put", fails)
        with pytest.raises(OSError):
            await desk.tells()
    await desk.tells()
    assert way.types == ["review.opened"]


async def test_what_a_queue_tells_a_channel_that_is_not_set_up_waits_and_is_listed(world: World) -> None:
    desk = Desk(world, {})
    await desk.begins()
    await desk.asks()
    assert [one_.error for one_ in await desk.tells()] == ["remit.toml has no such channel"]
    desk.channels = {"ops": Channel("ops", way := Noted())}
    world.clock.advance(BACKOFF[0])
    await desk.tells()
    assert way.types == ["review.opened"]


# --- commands and apprise ----------------------------------------------------------------------------------


def command(code: str, *words: str, timeout: float = 10.0) -> Channel:
    from remit.runtime.channels import Command

    return Channel("pager", Command((sys.executable, "-c", code, *words)), timeout=timeout)


async def test_a_command_reads_the_message_as_json_and_its_exit_code_says_whether_it_was_heard(tmp_path: Path) -> None:
    out = tmp_path / "out; touch evil"
    keeps = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    await command(keeps, str(out)).tell(message_of("msg_1", _BODY), System())
    assert out.read_bytes() == _BODY and not (tmp_path / "evil").exists()
    with pytest.raises(Undelivered, match="ended with 3: no pager"):
        await command("import sys; print('no pager', file=sys.stderr); sys.exit(3)").tell(
            message_of("msg_1", _BODY), System()
        )


async def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(60)\n"
    )
    clock = VirtualClock()
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(_fails(command(code, str(pids), timeout=5), clock))
        while not (pids.exists() and len(pids.read_text().split()) == 2):
            await asyncio.sleep(0.02)
        clock.advance(5)
    assert "no answer in 5 s" in telling.result()
    for pid in pids.read_text().split():
        for _ in range(100):
            stat = Path(f"/proc/{pid}/stat")
            if not stat.exists() or stat.read_text().split()[2] == "Z":
                break
            time.sleep(0.02)
        else:
            raise AssertionError(f"{pid} still lives")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_apprise_sends_title_and_text(server: Server) -> None:
    pytest.importorskip("apprise")
    channel = Channel("team", Apprise(server.url.replace("http://", "json://").partition("?")[0]))
    await channel.tell(message_of("msg_1", _BODY), System())
    ((_, body),) = server.got
    said = json.loads(body)
    assert said["title"] == "review r in queue q: opened"
    assert said["message"].splitlines()[-1] == "remit review show r"
    server.answers = [500]
    with pytest.raises(Undelivered):
        await channel.tell(message_of("msg_1", _BODY), System())


# --- setting up --------------------------------------------------------------------------------------------

GOOD = f"whsec_{base64.b64encode(SECRET).decode()}"


@pytest.mark.parametrize(
    ("said", "environ", "words"),
    [
        ({"kind": "webhook", "url": "https://a.b/"}, {}, "signed"),
        ({"kind": "webhook", "url": "https://a.b/", "secret_env": "S"}, {}, "`S` isn't set"),
        ({"kind": "webhook", "url": "https://a.b/", "secret_env": "S"}, {"S": "hunter2"}, "holds no secret"),
        ({"kind": "webhook", "url": "https://a.b/", "secret_env": "S"}, {"S": "whsec_aGk="}, "24 to 64 bytes"),
        ({"kind": "webhook", "secret_env": "S"}, {"S": GOOD}, "no URL"),
        ({"kind": "webhook", "url": "ftp://a.b/", "secret_env": "S"}, {"S": GOOD}, "https://"),
        ({"kind": "webhook", "url": "https://u:p@a.b/", "secret_env": "S"}, {"S": GOOD}, "password"),
        ({"kind": "webhook", "url": "https://a.b/ x", "secret_env": "S"}, {"S": GOOD}, "blanks"),
        ({"kind": "command"}, {}, "which command"),
        ({"kind": "apprise", "url_env": "U"}, {}, "`U` isn't set"),
    ],
)
async def test_a_channel_that_is_set_up_wrongly_says_so_and_the_others_work(
    said: dict[str, Any], environ: dict[str, str], words: str
) -> None:
    both = {"bad": ChannelSettings(**said), "good": ChannelSettings(kind="command", command=["true"])}
    channels, problems = open_channels(both, environ)
    assert len(problems) == 1 and words in problems[0] and "hunter2" not in problems[0]
    with pytest.raises(Undelivered):
        await channels["bad"].tell(message_of("msg_1", _BODY), System())
    await channels["good"].tell(message_of("msg_1", _BODY), System())


def test_reminders_and_channels_are_the_queues_to_name() -> None:
    text = '{"queues": {"desk": {"ttl": "8h", "remind": ["1h", "4h"], "notify": ["ops"]}}}'
    queue = read_people({"queues.yaml": text}).queues["desk"]
    assert (queue.remind, queue.notify) == ((14_400, 3_600), ("ops",))


def test_a_reminder_before_the_review_is_there_is_refused_when_the_policy_loads(world: World) -> None:
    world.queues(desk={**DESK, "remind": ["9h"]})
    act = world.act()
    with pytest.raises(PolicyError, match="before it is there"):
        asyncio.run(_open(world, one(paying(act), act)))


async def _open(world: World, graph: Any) -> None:
    async with world.runtime(graph):
        pass


async def test_a_message_has_the_title_that_the_queue_says_and_nothing_else_of_the_call(world: World) -> None:
    world.queues(desk={**DESK, "title": "pays {{args.what.size()}} things"})
    way = Noted()
    desk = Desk(world, {"ops": Channel("ops", way)})
    await desk.begins()
    await desk.asks()
    await desk.tells()
    (message,) = way.told
    assert json.loads(message.body)["data"]["title"] == "pays 15 things"
    assert message.text.splitlines()[0] == "pays 15 things" and "IBAN" not in message.text
