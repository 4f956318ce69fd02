"""What happens to reviews and grants, told through channels: worked out from the journal, kept until it was heard.

Nothing waits for this: it reads what others have committed, and what can't be told stays in the outbox.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from remit.core.canonical import canonical, plain
from remit.core.entries import is_committed
from remit.core.grants import GrantState
from remit.core.lifecycle import fold
from remit.core.people import People, Queue
from remit.core.reviews import ReviewState
from remit.errors import BadInput, JournalError, RemitError, UnknownId
from remit.logs import get
from remit.runtime.ambient import Ambient, stamp
from remit.runtime.channels import Broken, Channel, Undelivered, message_of
from remit.runtime.load import load_review
from remit.runtime.rulings import in_force
from remit.store.journal import Journal
from remit.store.outbox import DEAD, PENDING, SENT, Delivery, Outbox
from remit.store.projections import Projections, ReviewRow

_EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "review.opened": ("opened", "review.opened"),
    "review.handed_on": ("handed_on", "review.handed_on"),
    "review.expired": ("expired", "review.expired"),
    "review.ruled": ("ruled", "review.ruled"),
    "grant.made": ("grant_made", "grant.made"),
    "grant.revoked": ("grant_revoked", "grant.revoked"),
}
"""Kind of entry to the event's name in the settings, and its type in the message."""
BACKOFF: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200)
"""Seconds between one attempt and the next; after the last it is dead. Together that is about 28 hours."""
_MARGIN: Final = 60.0
"""Seconds that a delivery stays taken beyond its channel's timeout."""
_AT_ONCE: Final = 20
_KEPT: Final = timedelta(days=90)
"""How long what was sent is remembered."""
_LONGEST, _SHORTEST, _TROUBLE = 60.0, 1.0, 5.0  # seconds between two looks
_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went; `state` is what the delivery is after it."""

    delivery: Delivery
    ok: bool
    state: str
    error: str = ""


class Notifier:
    """Tells channels of what happens in a journal's queues. Any number may run on a store."""

    def __init__(self, journal: Journal, ambient: Ambient, channels: Mapping[str, Channel]) -> None:
        self._journal = journal
        self._ambient = ambient
        self._channels = dict(channels)
        self._outbox = Outbox(journal)
        self._people: tuple[str, People] = ("", People())
        self._woken = {name: asyncio.Event() for name in channels}
        self._begun = False

    async def once(self) -> list[Attempt]:
        """Works out what is to be told, and makes every attempt that is due, each channel beside the others."""
        await self.work_out()
        found: list[Attempt] = []

        async def deliver(channel: Channel) -> None:
            found.extend([attempt async for attempt in self._deliver(channel)])

        async with asyncio.TaskGroup() as group:
            for channel in await self._all_channels():
                group.create_task(deliver(channel))
        return sorted(found, key=lambda attempt: (attempt.delivery.at, attempt.delivery.id))

    async def keep(self) -> None:
        """Does so for ever. Whatever goes wrong is logged: it ends nothing and nobody waits for it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_working_out())
            for channel in self._channels.values():
                group.create_task(self._keep_delivering(channel))

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Does so for as long as the body takes."""
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self.keep())
            try:
                yield
            finally:
                keeping.cancel()

    # --- working out ---

    async def work_out(self) -> int:
        """Puts into the outbox what has happened since the last time, and reminders that are due; returns how many."""
        if not self._begun:
            if await self._outbox.begin():
                await self._outbox.add(await self._waiting())
            await self._outbox.forget(stamp(self._ambient.now() - _KEPT))
            self._begun = True
        count = 0
        while True:
            since, until, happened = await self._outbox.news(tuple(_EVENTS))
            made = [one for entry in happened for one in await self._told(entry.stream, entry.seq, entry.kind)]
            if since == until:
                break
            if await self._outbox.put(made, since=since, until=until):
                count += len(made)
        return count + await self._outbox.add([one for row in await self._due_rows() for one in row])

    async def _waiting(self) -> list[Delivery]:
        """Returns what waits where there was no outbox yet: the past is nobody's news, but this is."""
        found: list[Delivery] = []
        for row in await Projections(self._journal).reviews(open_only=True):
            queue = await self._queue(row.queue)
            if queue is not None and not row.problem:
                about = await self._about(await load_review(self._journal, row.review))
                found += self._to(queue, f"review/{row.review}#0", "opened", "review.opened", row.opened, about)
        return found

    async def _told(self, stream: str, seq: int, kind: str) -> list[Delivery]:
        """Returns what an entry is told as: as its review or grant stood right after it."""
        entries = await self._journal.read(stream)
        event, type_ = _EVENTS[kind]
        try:
            state = fold(entries[: seq + 1])
        except RemitError as error:
            _log.error("can't be told", stream=stream, entry=seq, error=str(error))
            return []
        if isinstance(state, ReviewState):
            # An expiry is told once, whether the clock or the entry came first.
            key = f"{stream}:expired" if event == "expired" else f"{stream}#{seq}"
            about = await self._about(state)
            return list(self._to(await self._queue(state.queue), key, event, type_, entries[seq].at, about))
        if isinstance(state, GrantState):
            review = await load_review(self._journal, state.made.grant)
            queue = await self._queue(review.queue)
            return list(self._to(queue, f"{stream}#{seq}", event, type_, entries[seq].at, _about_grant(state)))
        return []

    async def _due_rows(self) -> list[list[Delivery]]:
        """Returns what only the clock says: reminders, and deadlines that have passed."""
        people = await self._in_force()
        if not any(queue.notify for queue in people.queues.values()):
            return []
        now = self._ambient.now()
        found = []
        for row in await Projections(self._journal).reviews(open_only=True):
            queue = people.queue(row.queue)
            if queue is None or not queue.notify or row.problem:
                continue
            if stamp(now) >= row.expires:
                found.append(await self._passed(row, queue))
            elif due := [left for left in queue.remind if _at(row, left) <= stamp(now)]:
                # Of several that have passed unsaid only the latest says anything.
                key = f"review/{row.review}:{row.expires}:reminder:{min(due)}"
                state = await load_review(self._journal, row.review)
                at = _at(row, min(due))
                found.append(list(self._to(queue, key, "reminder", "review.reminder", at, await self._about(state))))
        return found

    async def _passed(self, row: ReviewRow, queue: Queue) -> list[Delivery]:
        state = await load_review(self._journal, row.review)
        if not state.waits or state.terms.next:
            return []
        about = {**await self._about(state), "status": "expired"}
        return list(self._to(queue, f"review/{row.review}:expired", "expired", "review.expired", row.expires, about))

    async def _about(self, state: ReviewState) -> dict[str, Any]:
        """What a message says of a review: what and where, and by what its queue says to know it.

        Nothing else of what was asked for, by whom or why leaves here.
        """
        opened = state.opened
        shown = (await self._journal.payloads(f"review/{opened.review}")).get((0, "/shown"))
        known = shown is not None and is_committed(shown, opened.shown)
        return {
            "review": opened.review,
            "title": str(plain(shown.value).get("title", "")) if shown is not None and known else "",
            "queue": state.queue,
            "status": state.status.value,
            "tool": opened.tool,
            "run": opened.run,
            "call": opened.call,
            "expires": state.expires,
            "approvals": len(state.approving),
            "needed": state.terms.approvals,
            "in_doubt": opened.in_doubt,
            "priority": opened.priority,
        }

    def _to(
        self, queue: Queue | None, key: str, event: str, type_: str, at: str, data: Mapping[str, Any]
    ) -> Iterator[Delivery]:
        for name in queue.notify if queue else ():
            channel = self._channels.get(name)
            if channel is not None and event not in channel.events:
                continue
            id = f"msg_{hashlib.sha256(f'{key}:{name}'.encode()).hexdigest()[:32]}"
            yield Delivery(id, name, event, at, canonical({"data": data, "id": id, "timestamp": at, "type": type_}))

    async def _queue(self, name: str) -> Queue | None:
        return (await self._in_force()).queue(name)

    async def _in_force(self) -> People:
        """Returns who is in charge by the policy set in force; nobody where there never was one."""
        head = await self._journal.head("policy")
        if head.hash != self._people[0]:
            try:
                self._people = head.hash, (await in_force(self._journal)).people
            except BadInput:
                self._people = head.hash, People()
        return self._people[1]

    async def next_reminder(self) -> str:
        """Returns when the clock alone has something to say next; "" for never."""
        people = await self._in_force()
        if not any(queue.notify for queue in people.queues.values()):
            return ""
        now, moments = stamp(self._ambient.now()), []
        for row in await Projections(self._journal).reviews(open_only=True):
            queue = people.queue(row.queue)
            if queue is not None and queue.notify and not row.problem:
                moments += [moment for left in (0, *queue.remind) if (moment := _at(row, left)) > now]
        return min(moments, default="")

    # --- telling ---

    async def _all_channels(self) -> list[Channel]:
        """Those of the settings, and those that only queues name: what they are to be told fails, and says why."""
        named = {one.channel for one in await self._outbox.rows(all_=False) if one.state == PENDING}
        lost = [Channel(name, Broken("remit.toml has no such channel")) for name in sorted(named - set(self._channels))]
        return [*self._channels.values(), *lost]

    async def _deliver(self, channel: Channel) -> AsyncGenerator[Attempt]:
        """Makes the attempts that are due on a channel, one after the other."""
        while True:
            now = stamp(self._ambient.now())
            due = await self._outbox.due(channel.name, now, _AT_ONCE)
            if not due:
                return
            for delivery in due:
                attempt = await self._attempt(channel, delivery)
                if attempt is not None:
                    yield attempt

    async def _attempt(self, channel: Channel, delivery: Delivery) -> Attempt | None:
        now = self._ambient.now()
        until = stamp(now + timedelta(seconds=channel.timeout + _MARGIN))
        if not await self._outbox.take(delivery.id, stamp(now), until):
            return None  # another sender was faster
        try:
            await channel.tell(message_of(delivery.id, delivery.body), self._ambient)
        except Undelivered as error:
            return await self._undelivered(delivery, error)
        await self._outbox.settle(delivery.id, SENT, now=stamp(self._ambient.now()))
        return Attempt(delivery, True, SENT)

    async def _undelivered(self, delivery: Delivery, error: Undelivered) -> Attempt:
        now, tried = self._ambient.now(), delivery.attempts + 1
        dead = error.gone or tried > len(BACKOFF)
        seconds = 0.0 if dead else max(float(BACKOFF[tried - 1]), error.after)
        state = DEAD if dead else PENDING
        next_at = "" if dead else stamp(now + timedelta(seconds=seconds))
        await self._outbox.settle(delivery.id, state, now=stamp(now), next_at=next_at, error=str(error))
        _log.warning("not delivered", channel=delivery.channel, delivery=delivery.id, dead=dead, error=str(error))
        return Attempt(delivery, False, state, str(error))

    # --- for ever ---

    async def _keep_working_out(self) -> None:
        while True:
            try:
                position = await self._journal.position()
                if await self.work_out():
                    for event in self._woken.values():
                        event.set()
                seconds = self._until(await self.next_reminder())
                await self._ambient.sleep(_SHORTEST)
                await self._journal.wait(position, max(seconds - _SHORTEST, 0.05))
            except JournalError as error:
                _log.error("nothing can be told", error=str(error))
                await self._ambient.sleep(_TROUBLE)
            except Exception:  # noqa: BLE001 - a run's worker goes on whatever happens here
                _log.exception("nothing can be told")
                await self._ambient.sleep(_TROUBLE)

    async def _keep_delivering(self, channel: Channel) -> None:
        woken = self._woken[channel.name]
        while True:
            woken.clear()
            try:
                if self._begun:
                    async for _ in self._deliver(channel):
                        pass
                seconds = self._until(await self._outbox.next(channel.name)) if self._begun else _SHORTEST
            except Exception as error:  # noqa: BLE001 - as above, and the other channels do, too
                _log.error("nothing can be told", channel=channel.name, error=f"{type(error).__name__}: {error}")
                seconds = _TROUBLE
            try:
                async with self._ambient.timeout(max(seconds, _SHORTEST)):
                    await woken.wait()
            except TimeoutError:
                continue

    def _until(self, moment: str) -> float:
        if not moment:
            return _LONGEST
        left = (datetime.fromisoformat(moment) - self._ambient.now()).total_seconds()
        return min(max(left, 0.0), _LONGEST)


def _at(row: ReviewRow, left: int) -> str:
    return stamp(datetime.fromisoformat(row.expires) - timedelta(seconds=left))


def _about_grant(state: GrantState) -> dict[str, Any]:
    return {
        "grant": state.made.grant,
        "queue": state.made.queue,
        "status": state.status.value,
        "tool": state.terms.tool,
        "uses": state.terms.uses,
        "used": state.used,
        "until": state.terms.until,
    }


async def retry(journal: Journal, ambient: Ambient, ids: Sequence[str]) -> int:
    """Makes dead deliveries pending again: all, or those whose ids begin so. Raises UnknownId: one fits none."""
    outbox = Outbox(journal)
    await outbox.begin()
    dead = [one.id for one in await outbox.rows(all_=False) if one.state == DEAD]
    wanted = {found for prefix in ids for found in dead if found.startswith(prefix)}
    for prefix in ids:
        if not prefix or not any(found.startswith(prefix) for found in dead):
            raise UnknownId(f"no dead delivery is called `{prefix}`: `remit notify list` names them")
    if ids:
        return await outbox.again(stamp(ambient.now()), sorted(wanted))
    return await outbox.again(stamp(ambient.now()))
