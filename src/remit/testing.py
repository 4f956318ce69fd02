"""For tests, ours and yours: a clock that belongs to the test, people who rule with a key, and what was decided.

    ann = Pen("ann")
    async with Governed(graph, folder=tmp_path, policies="policies", reviewers=[ann]) as governed:
        report = await governed.run({"topic": "tea"}, principal="ada")
        await governed.approve(report.reviews[0], by=ann)
        report = await governed.resume(report.run)
        assert [call.outcome for call in await governed.decided(report.run)] == ["allow"]

docs/howto/test-your-agents.md has whole tests. Nothing here is for production: the keys are made of names.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import heapq
import itertools
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from remit.core.canonical import canonical, plain
from remit.core.graph import Graph
from remit.core.sshsig import NAMESPACE, PublicKey
from remit.core.yamltext import read_yaml
from remit.errors import PolicyError
from remit.policykit.toolset import plain_yaml
from remit.runtime.app import Runtime
from remit.runtime.load import load_review, load_run
from remit.runtime.rulings import Reviewer, Said, rule
from remit.runtime.scheduler import RunReport
from remit.runtime.secrets import Provider

BEGINNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""A Monday morning."""


class VirtualClock:
    """An `Ambient` whose time moves only when the test says so, and whose entropy is the same every time.

    With `jump`, a sleep moves the time itself instead of waiting, for retries with backoff. It moves only while nothing
    real is under way: while a tool, a fact provider or a detector works that isn't itself asleep on this clock, who
    sleeps waits for it. So work that takes real time doesn't run out of virtual time.
    """

    def __init__(self, start: datetime = BEGINNING, *, seed: int = 0, jump: bool = False) -> None:
        self._now = start
        self._start = start
        self._jump = jump
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None], tuple[_Limit, ...]]] = []
        self._timeouts: list[tuple[datetime, int, asyncio.Timeout]] = []
        self._bodies: dict[_Limit, int] = {}

    def now(self) -> datetime:
        """The test's time, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self._now - self._start).total_seconds()

    def advance(self, seconds: float) -> None:
        """Moves the time on, and wakes whoever slept until then or has run out of time."""
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, future, within = heapq.heappop(self._sleepers)
            if not future.done():
                # It counts as awake from now on, and not only when the loop comes to it: until then others may sleep,
                # and the time must not move on under it.
                self._asleep(within, -1)
                future.set_result(None)
        while self._timeouts and self._timeouts[0][0] <= self._now:
            timeout = heapq.heappop(self._timeouts)[2]
            # A timeout whose body has ended can't be moved any more, and needn't be.
            if timeout.when() is None and not timeout.expired():
                self._expire(timeout)

    async def sleep(self, seconds: float) -> None:
        """Waits until the test has moved the time on so far; with `jump`, moves it where nothing real is under way."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        within = _WITHIN.get()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), next(self._order), future, within))
        self._asleep(within, 1)
        try:
            self._may_jump()
            await asyncio.sleep(0)  # others have their turn, also where the time has moved already
            await future
        finally:
            if not future.done() or future.cancelled():
                future.cancel()
                self._asleep(within, -1)

    def timeout(self, seconds: float) -> _Limit:
        """A timeout by the test's time."""
        limit = _Limit(self)
        heapq.heappush(self._timeouts, (self._now + timedelta(seconds=seconds), next(self._order), limit.timeout))
        return limit

    def entropy(self, size: int) -> bytes:
        """`size` bytes that are the same in every run of the test."""
        return self._random.randbytes(size)

    def _asleep(self, within: tuple[_Limit, ...], more: int) -> None:
        for limit in within:
            if limit in self._bodies:
                self._bodies[limit] += more

    def _began(self, limit: _Limit) -> None:
        self._bodies[limit] = 0

    def _ended(self, limit: _Limit) -> None:
        self._bodies.pop(limit, None)
        self._may_jump()

    def _may_jump(self) -> None:
        """Moves the time to the next who sleeps, where everybody who works under a limit sleeps, too."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)  # it was cancelled: time doesn't move to where nobody wakes
        if self._jump and self._sleepers and all(self._bodies.values()):
            until = self._sleepers[0][0]
            self.advance(max((until - self._now).total_seconds(), 0.0))

    def _expire(self, timeout: asyncio.Timeout) -> None:
        try:
            timeout.reschedule(asyncio.get_running_loop().time())
        except RuntimeError:
            return  # its body has ended


_WITHIN: ContextVar[tuple[_Limit, ...]] = ContextVar("remit_virtual_limits", default=())


class _Limit:
    """A timeout that tells its clock while its body runs, and whoever sleeps in the body that they do."""

    def __init__(self, clock: VirtualClock) -> None:
        self.timeout = asyncio.timeout(None)
        self._clock = clock

    def expired(self) -> bool:
        """Whether the time has run out."""
        return self.timeout.expired()

    async def __aenter__(self) -> _Limit:
        await self.timeout.__aenter__()
        self._clock._began(self)
        self._token = _WITHIN.set((*_WITHIN.get(), self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _WITHIN.reset(self._token)
        self._clock._ended(self)
        await self.timeout.__aexit__(kind, error, trace)


# --- people ------------------------------------------------------------------------------------------------


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


class Pen:
    """An SSH key of somebody, in memory: the same for the same name, so it is for tests alone.

    It signs as `ssh-keygen -Y sign` does (PROTOCOL.sshsig of OpenSSH), and needs nothing installed.
    """

    def __init__(self, name: str, namespace: str = NAMESPACE) -> None:
        self.name = name
        """Whose it is, as reviewers.yaml names them."""
        self._key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        self._namespace = namespace

    @property
    def public(self) -> PublicKey:
        """What others check with; `public.text` is what reviewers.yaml says under `key`."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PublicKey(_string(b"ssh-ed25519") + _string(raw))

    def sign_now(self, message: bytes) -> str:
        """Returns an armored signature: by PROTOCOL.sshsig it is over a digest with its purpose."""
        head = b"SSHSIG" + _string(self._namespace.encode()) + _string(b"") + _string(b"sha512")
        signature = self._key.sign(head + _string(hashlib.sha512(message).digest()))
        blob = b"SSHSIG" + (1).to_bytes(4) + _string(self.public.blob) + _string(self._namespace.encode())
        blob += _string(b"") + _string(b"sha512") + _string(_string(b"ssh-ed25519") + _string(signature))
        text = base64.b64encode(blob).decode()
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])

    async def sign(self, message: bytes) -> str:
        """As `sign_now`, for who expects a signer."""
        return self.sign_now(message)


# --- a runtime of the test's own ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decided:
    """A call as it was decided.

    Attributes:
        outcome: `allow`, `escalate` or `deny`, the latest; "" where the arguments did not fit the tool.
        args: the arguments that were decided: what the agent asked for, defaults filled in.
        rules: the rules that determined it, each as `policy/rule`.
        reasons: what the agent is told of a denial, and reviewers of an escalation.
        status: `settled` where it has a result or an error, `waiting` for people, `refused`, `rejected`, `intended` or
            `in_doubt`.
        ok: whether it came to a good end.
    """

    id: str
    tool: str
    outcome: str
    args: Mapping[str, Any]
    rules: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    status: str = ""
    ok: bool = False


@dataclass(slots=True)
class Governed:
    """A runtime under your policies, with everything else the test's own: store, keys, clock and reviewers.

    Use it as `async with Governed(graph, folder=tmp_path) as governed`.

    Attributes:
        folder: where the store, the keys and a copy of the policies are kept: pytest's `tmp_path`.
        policies: the folder of policies that is copied.
        reviewers: whose keys count: each is put into the copy's reviewers.yaml, in place of the person's own keys.
        secrets: what the tools' secrets are, by name.
    """

    graph: Graph
    folder: Path
    policies: str | Path = "policies"
    reviewers: Sequence[Pen] = ()
    secrets: Mapping[str, str] | Provider | None = None
    packs: Sequence[str] = ()
    clock: VirtualClock = field(default_factory=VirtualClock)
    _runtime: Runtime | None = field(default=None, init=False, repr=False)

    async def __aenter__(self) -> Governed:
        """Raises PolicyError where the policies are missing, broken or unreadable."""
        copy = self.folder / "policies"
        if not copy.exists():
            shutil.copytree(self.policies, copy)
            self._employ(copy / "reviewers.yaml")
        self._runtime = Runtime(
            self.graph,
            store=f"sqlite:///{self.folder / 'remit.db'}",
            policies=copy,
            keys=self.folder / "keys",
            packs=self.packs,
            secrets=self.secrets,
            ambient=self.clock,
        )
        await self._runtime.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runtime is not None:
            await self._runtime.__aexit__(kind, error, trace)
            self._runtime = None

    def _employ(self, file: Path) -> None:
        if not self.reviewers:
            return
        found: dict[str, Any] = {}
        if file.exists():
            source, value = read_yaml(file.name, file.read_text("utf-8"))
            if source.problems:
                raise PolicyError(tuple(source.problems))
            found = plain_yaml(value)
        people = found.setdefault("reviewers", {})
        for pen in self.reviewers:
            people[pen.name] = {**(people.get(pen.name) or {}), "keys": [{"key": pen.public.text}]}
        file.write_text(json.dumps(found), "utf-8")  # JSON is YAML

    @property
    def runtime(self) -> Runtime:
        """The runtime itself. Raises RuntimeError outside of `async with`."""
        if self._runtime is None:
            raise RuntimeError("use it as `async with Governed(graph, folder=...) as governed`")
        return self._runtime

    async def run(self, input: object = None, *, principal: str, **options: Any) -> RunReport:
        """Runs the graph to its end, or until it only waits for people; see `Runtime.run`."""
        return await self.runtime.run(self.graph, input, principal=principal, **options)

    async def resume(self, run: str) -> RunReport:
        """Drives a run on from where it is; see `Runtime.resume`."""
        return await self.runtime.resume(run)

    async def approve(
        self, review: str, by: Pen | str = "", reason: str = "", edited: Mapping[str, object] | None = None
    ) -> None:
        """Approves the call that a review is about; `edited` has the arguments that shall be others.

        Args:
            by: whose key signs; a name where policies say `single_operator: true`.

        Raises:
            NotEntitled, Stale, BadInput, UnknownId: as for a reviewer at the command line.
        """
        await self._rule(review, by, Said(True, reason, edited=edited or {}))

    async def deny(self, review: str, by: Pen | str = "", reason: str = "it is denied") -> None:
        """Denies the call that a review is about. Raises as `approve`."""
        await self._rule(review, by, Said(False, reason))

    async def answer(self, review: str, answer: object, by: Pen | str = "", reason: str = "") -> None:
        """Gives the agent this result in the tool's place, which doesn't run. Raises as `approve`."""
        await self._rule(review, by, Said(True, reason, answer=canonical(answer)))

    async def _rule(self, review: str, by: Pen | str, said: Said) -> None:
        who = Reviewer(by.name, by) if isinstance(by, Pen) else Reviewer(by or "tester")
        await rule(self.runtime.journal, self.clock, review, who, said)

    async def shown(self, review: str) -> Mapping[str, Any]:
        """Returns the arguments that a review shows."""
        state = await load_review(self.runtime.journal, review)
        stored = await self.runtime.journal.payloads(f"review/{state.opened.review}")
        found: dict[str, Any] = plain(stored[0, "/shown"].value)["args"]
        return found

    async def decided(self, run: str) -> list[Decided]:
        """Returns the calls of a run, in the order in which they were made."""
        journal = self.runtime.journal
        state, stored = await load_run(journal, run), await journal.payloads(f"run/{run}")
        found = []
        for call in sorted(state.calls.values(), key=lambda call: call.seq):
            said = call.verdict
            reasons = stored.get((call.decided, "/reasons"))
            values = {name: stored.get((seq, path)) for name, (seq, path, _) in call.places.items()}
            found.append(
                Decided(
                    id=call.id,
                    tool=call.tool,
                    outcome="" if said is None else said.outcome.value,
                    args={name: plain(value.value) for name, value in values.items() if value is not None},
                    rules=() if said is None else tuple(f"{hit.policy}/{hit.rule}" for hit in said.rules),
                    reasons=() if reasons is None else tuple(plain(reasons.value)),
                    status=call.status.value,
                    ok=call.ok,
                )
            )
        return found
