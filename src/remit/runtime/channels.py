"""Channels that people are told through: signed webhooks, commands, and whatever apprise knows.

Each tells once and says whether it was heard. Retrying, and that nobody waits for it, is `runtime.notifying`'s affair.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import importlib
import json
import os
import re
import signal
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from remit.errors import RemitError, SettingsError
from remit.runtime.ambient import Ambient

EVENTS: Final = ("opened", "reminder", "handed_on", "expired", "ruled", "grant_made", "grant_revoked")
"""What can be told."""
_SECRET: Final = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes of a secret, as Standard Webhooks has it
_WORDS: Final = 300
_GONE: Final = 410
_ANSWER: Final = 65_536
"""Bytes of an answer's head that are read; its body isn't."""
_PLAIN: Final = re.compile(r"[!-~]+")
_STATUS: Final = re.compile(r"HTTP/1\.[01] ([0-9]{3})( .*)?")


class Undelivered(RemitError):
    """A channel didn't take a message. `gone`: it never will; `after`: it wants to be left alone so many seconds.

    `brief` is the message without anything that the other side or a library wrote, which may hold a secret.
    """

    def __init__(self, message: str, *, gone: bool = False, after: float = 0.0, brief: str = "") -> None:
        super().__init__(message)
        self.brief = brief or message
        self.gone = gone
        self.after = after


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `id` is the same at every attempt, `body` canonical JSON; title and text are for people."""

    id: str
    body: bytes
    title: str
    text: str


class Way(Protocol):
    """How a channel is told."""

    async def tell(self, message: Message, ambient: Ambient) -> None:
        """Sends the message once. Raises Undelivered."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of remit.toml: which events it hears of, and how long one attempt may take, in seconds."""

    name: str
    way: Way
    events: tuple[str, ...] = EVENTS
    timeout: float = 10.0

    async def tell(self, message: Message, ambient: Ambient) -> None:
        """Sends the message once. Raises Undelivered, whatever goes wrong."""
        try:
            async with ambient.timeout(self.timeout):
                await self.way.tell(message, ambient)
        except Undelivered:
            raise
        except TimeoutError as error:
            raise Undelivered(f"no answer in {self.timeout:g} s") from error
        except Exception as error:
            name = type(error).__name__
            raise Undelivered(f"{name}: {error}"[:_WORDS], brief=name) from error


@dataclass(frozen=True, slots=True)
class Webhook:
    """An HTTP POST, signed as Standard Webhooks 1.0.0 says: HMAC-SHA256 over id, time and body."""

    url: str = field(repr=False)
    secret: bytes = field(repr=False)

    async def tell(self, message: Message, ambient: Ambient) -> None:
        """Posts the message. Any answer but 2xx is a refusal; a redirect is none that is followed."""
        headers = signed_headers(self.secret, message.id, int(ambient.now().timestamp()), message.body)
        status, after = await _post(self.url, headers, message.body)
        if not 200 <= status < 300:
            raise Undelivered(f"it answered {status}", gone=status == _GONE, after=after)


def signed_headers(secret: bytes, id: str, at: int, body: bytes) -> dict[str, str]:
    """Returns the headers of a webhook sent at a moment, in seconds since 1970."""
    digest = hmac.new(secret, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": "remit",
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


async def _post(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, float]:
    """Returns the answer's status, and the seconds that it asks to be left alone.

    On the loop itself and not in a thread: a server that never ends its answer can be left at any moment.
    """
    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure, limit=_ANSWER)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        said = {"host": parts.netloc, "content-length": str(len(body)), "connection": "close", **headers}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {text}" for name, text in said.items()), "", ""]
        writer.write("\r\n".join(lines).encode("ascii") + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answer = _STATUS.fullmatch(head[0])
        if answer is None:
            raise Undelivered("it doesn't answer in HTTP")
        found = {name.strip().lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:])}
        after = found.get("retry-after", "")
        return int(answer[1]), float(after) if after.isdecimal() and len(after) < 6 else 0.0
    finally:
        writer.close()


@dataclass(frozen=True, slots=True)
class Command:
    """A program that reads the message as JSON from its standard input; it was heard where that ends with 0."""

    words: tuple[str, ...]

    async def tell(self, message: Message, ambient: Ambient) -> None:
        """Runs it, without a shell. Where it takes too long, it is killed with all that it has started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise Undelivered(f"`{self.words[0]}` can't be run: {error}") from error
        try:
            _, errors = await process.communicate(message.body)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode != 0:
            said = errors.decode(errors="replace").strip().splitlines()
            brief = f"`{self.words[0]}` ended with {process.returncode}"
            raise Undelivered(f"{brief}: {(said or [''])[-1]}"[:_WORDS], brief=brief[:_WORDS])


@dataclass(frozen=True, slots=True)
class Apprise:
    """Whatever apprise knows by a URL: Slack, Teams, mail and a hundred more. It is an extra, imported on request."""

    url: str = field(repr=False)
    # A thread of its own: one that hangs takes none from tools.
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "remit-apprise"), repr=False)

    async def tell(self, message: Message, ambient: Ambient) -> None:
        """Sends title and text."""
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self.pool, self._notify, message.title, message.text):
            raise Undelivered("apprise says that it could not be sent")

    def _notify(self, title: str, text: str) -> bool:
        found: Any = load_apprise().Apprise()
        if not found.add(self.url):
            raise Undelivered("apprise doesn't know such a URL")
        return bool(found.notify(title=title, body=text))


def load_apprise() -> Any:
    """Returns the library. Raises SettingsError where it isn't installed."""
    try:
        return importlib.import_module("apprise")
    except ImportError as error:
        raise SettingsError("channels of kind `apprise` need it: pip install 'remit[notify]'") from error


@dataclass(frozen=True, slots=True)
class Broken:
    """A channel that isn't set up rightly: what it is to be told waits until it is."""

    why: str

    async def tell(self, message: Message, ambient: Ambient) -> None:
        """Raises Undelivered."""
        raise Undelivered(self.why)


class Said(Protocol):
    """What the settings say of a channel."""

    @property
    def kind(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def url_env(self) -> str: ...

    @property
    def secret_env(self) -> str: ...

    @property
    def command(self) -> Sequence[str]: ...

    @property
    def events(self) -> Sequence[str]: ...

    @property
    def timeout(self) -> float: ...


def open_channels(said: Mapping[str, Said], environ: Mapping[str, str]) -> tuple[dict[str, Channel], list[str]]:
    """Returns the channels, and what is wrong with those that can't be used as they are set up."""
    channels, problems = {}, []
    for name, one in said.items():
        try:
            way = _way(one, environ)
        except SettingsError as error:
            way = Broken(str(error))
            problems.append(f"channel `{name}`: {error}")
        channels[name] = Channel(name, way, tuple(one.events) or EVENTS, one.timeout)
    return channels, problems


def _way(said: Said, environ: Mapping[str, str]) -> Way:
    if said.kind == "command":
        if not said.command:
            raise SettingsError('which command? `command = ["/usr/local/bin/page"]`')
        return Command(tuple(said.command))
    url = _variable(said.url_env, environ) if said.url_env else said.url
    if not url:
        raise SettingsError("it has no URL: say `url`, or `url_env` with the name of the variable that holds it")
    if said.kind == "apprise":
        load_apprise()
        return Apprise(url)
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc or not _PLAIN.fullmatch(url):
        raise SettingsError("its URL is not one of https:// or http://, without a password and blanks")
    if not said.secret_env:
        raise SettingsError("webhooks are signed: name the variable that holds the secret with `secret_env`")
    return Webhook(url, read_secret(_variable(said.secret_env, environ), said.secret_env))


def _variable(name: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        raise SettingsError(f"the variable `{name}` isn't set")
    return environ[name]


def read_secret(text: str, name: str) -> bytes:
    """Returns the bytes of a secret such as `whsec_` and base64. Raises SettingsError, which doesn't repeat it."""
    try:
        secret = base64.b64decode(text.strip().removeprefix(_SECRET), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.strip().startswith(_SECRET) or not _SHORTEST <= len(secret) <= _LONGEST:
        raise SettingsError(
            f"the variable `{name}` holds no secret: that is `{_SECRET}` and base64 of {_SHORTEST} to {_LONGEST} bytes,"
            f" such as from `echo {_SECRET}$(openssl rand -base64 32)`"
        )
    return secret


def message_of(id: str, body: bytes) -> Message:
    """Returns a message with its words for people; they say no more than the JSON does."""
    said = json.loads(body)
    data = said["data"]
    what, _, event = said["type"].partition(".")
    title = f"{what} {data[what]} in queue {data['queue']}: {event.replace('_', ' ')}"
    lines = [data["title"]] if data.get("title") else []
    lines.append(f"tool {data['tool']}, now {data['status']}")
    if what == "review":
        lines += [f"call {data['call']} of run {data['run']}"] if data["run"] else []
        lines += [f"until {data['expires']}"]
    else:
        lines += [f"{data['used']} of {data['uses']} uses, until {data['until']}"]
    return Message(id, body, title, "\n".join((*lines, f"remit {what} show {data[what]}")))
