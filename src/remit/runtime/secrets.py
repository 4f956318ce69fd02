"""Credentials: given to a tool when it runs, and kept out of all that comes back.

They are asked for after the commit point, for the tools that declare them, and handed over in the `Invocation`. Neither
the agent nor the journal nor a log has them: whatever a tool returns or raises is searched for every credential that
was handed out in this process, and what is found is replaced.
"""

from __future__ import annotations

import base64
import inspect
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus, unquote_plus

from remit.core.matching import plain
from remit.errors import ToolError
from remit.runtime.ambient import Ambient
from remit.runtime.outside import cause, in_thread

PREFIX: Final = "REMIT_SECRET_"
"""What the environment variables are called that hold secrets, before their names."""
SHORTEST: Final = 8
_SECONDS: Final = 30.0

Provider = Mapping[str, str] | Callable[[str], str | Awaitable[str]]
"""Where secrets are kept: by name, or asked for by name; it raises where there is none."""


class SecretMissing(ToolError):
    """A secret can't be had, so the tool was not run."""


class Secrets:
    """Hands secrets out, and takes them out of what comes back."""

    def __init__(self, provider: Provider, ambient: Ambient) -> None:
        self._provider = provider
        self._ambient = ambient
        self._given: dict[str, str] = {}
        """Every value that was handed out, with its name."""
        self._pattern: re.Pattern[str] | None = None

    async def of(self, names: Iterable[str]) -> dict[str, str]:
        """Returns the secrets of these names.

        Raises:
            SecretMissing: naming it; never saying anything of its value.
        """
        found = {name: await self._one(name) for name in names}
        fresh = {value: name for name, value in found.items() if value not in self._given}
        if fresh:
            self._given.update(fresh)
            self._pattern = re.compile("|".join(sorted(_all_forms(self._given), key=len, reverse=True)))
        return found

    async def _one(self, name: str) -> str:
        try:
            async with self._ambient.timeout(_SECONDS):
                value = await self._ask(name)
        except Exception as error:  # noqa: BLE001 - its words may hold what must not be told
            raise SecretMissing(f"there is no secret `{name}` ({cause(error)})") from None
        if not isinstance(value, str) or len(value) < SHORTEST:
            # A shorter one is found in text that has nothing to do with it.
            raise SecretMissing(f"secret `{name}` is no text of at least {SHORTEST} characters")
        return value

    async def _ask(self, name: str) -> object:
        if isinstance(self._provider, Mapping):
            return self._provider[name]
        if inspect.iscoroutinefunction(self._provider):
            return await self._provider(name)
        found = await in_thread(self._provider, name)
        return await found if inspect.isawaitable(found) else found

    def out_of(self, text: str) -> str:
        """Returns a text without secrets: as they are, in any case, or encoded as base64, URL, hex or JSON."""
        if self._pattern is None:
            return text
        cleaned = self._pattern.sub(self._stand_in, text)
        # Percent-encoded where it needn't be, or with characters in between that aren't seen: then all of it goes.
        read = {plain(cleaned).casefold(), plain(unquote_plus(cleaned)).casefold()}
        for value, name in self._given.items():
            if any(plain(value).casefold() in way for way in read):
                return f"[secret {name}]"
        return cleaned

    def out_of_value(self, value: object) -> object:
        """Returns a JSON value without secrets, names of fields included."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.out_of(value)
        if isinstance(value, Mapping):
            return {self.out_of(key): self.out_of_value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.out_of_value(item) for item in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = str(value)
            return value if (cleaned := self.out_of(text)) == text else cleaned
        return value

    def _stand_in(self, found: re.Match[str]) -> str:
        text = found.group()
        names = [name for value, name in self._given.items() if re.fullmatch("|".join(_forms(value)), text)]
        return f"[secret {names[0] if names else ''}]"


def kept_outside(files: Mapping[str, str]) -> Provider:
    """Returns what asks the environment (`REMIT_SECRET_<name>`), or reads the file that is named for a secret."""

    def ask(name: str) -> str:
        if name in files:
            return Path(files[name]).read_text(encoding="utf-8").rstrip("\r\n")
        return os.environ[PREFIX + name]

    return ask


def _all_forms(values: Iterable[str]) -> set[str]:
    return {form for value in values for form in _forms(value)}


def _forms(value: str) -> Iterator[str]:
    """Yields patterns of what a secret looks like in text."""
    data = value.encode()
    as_is = {value, quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
    as_is |= {json.dumps(value, ensure_ascii=False)[1:-1], data.hex(), data.hex(" "), data.hex(":"), ascii(value)[1:-1]}
    as_is |= {value.upper(), value.lower(), value.casefold()}  # in capitals some letters are others: `ß` is `SS`
    for form in as_is:
        yield f"(?i:{re.escape(form)})"
    for encoded in _base64s(data):
        yield re.escape(encoded)
        yield re.escape(encoded.replace("+", "-").replace("/", "_"))
        yield re.escape(quote(encoded, safe=""))
    yield re.escape(base64.b32encode(data).decode().rstrip("="))


def _base64s(data: bytes) -> Iterator[str]:
    """Yields what of it is the same in base64 wherever it starts in what is encoded, as in `user:secret`."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode()
        start = (0, 2, 3)[offset]  # characters that the bytes before have a part in
        left = (offset + len(data)) % 3
        end = len(encoded) - (0, 3, 2)[left]  # padding, and the character that the bytes after have a part in
        yield encoded[start:end]
