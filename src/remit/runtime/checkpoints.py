"""Signs checkpoints of the journal, and keeps a copy of the newest where the store's machine can't change it."""

from __future__ import annotations

import asyncio
import os
import shlex
from pathlib import Path

from remit.core.notes import open_note, unchecked
from remit.errors import SettingsError, Tampered
from remit.logs import get
from remit.runtime.ambient import Ambient, stamp
from remit.runtime.keys import KeyRing
from remit.store.integrator import Integrator
from remit.store.journal import Journal

ENTRIES = 1_000
SECONDS = 60.0
"""A checkpoint is due after so many entries, or so long after an entry; also at a run's end and at an export."""
_ANCHOR_SECONDS = 30.0


class Checkpoints:
    """Makes checkpoints of a journal where it has a key, and anchors them.

    Args:
        anchor: a file's path; or `| command`, which is run with `write` (the note on its standard input) and
            with `read` (it prints the newest note it was given, or nothing); "" for no anchor.
    """

    def __init__(self, journal: Journal, keys: KeyRing, ambient: Ambient, anchor: str = "") -> None:
        self._journal = journal
        self._keys = keys
        self._ambient = ambient
        self._anchor = anchor
        self._integrator = Integrator(journal)

    async def make(self) -> str | None:
        """Signs the journal as it is and anchors the note; None where there is no key.

        Raises:
            Tampered: the journal doesn't begin with what the last checkpoint said.
            SettingsError: the anchor can't be written.
        """
        key = await self._keys.signer(self._journal)
        if key is None:
            return None
        note = await self._integrator.checkpoint(key, stamp(self._ambient.now()))
        if self._anchor:
            await self._write(note)
        return note

    async def check_anchor(self) -> None:
        """Compares the store with the newest anchored checkpoint.

        Raises:
            Tampered: the store is smaller than it was, or its entries are others.
            SettingsError: the anchor can't be read.
        """
        note = await self._read() if self._anchor else ""
        if not note:
            return
        # The key that signed it may have been cut off with the tail: then the size tells.
        known = [found.key for found in await self._keys.known(self._journal)]
        claimed = unchecked(note)
        size = await self._integrator.integrate()
        if size < claimed.size:
            raise Tampered(
                f"the store has {size} entries, and its anchor `{self._anchor}` saw {claimed.size}: entries were cut"
                " off, or this is another or an older store"
            )
        open_note(note, known)
        if await self._integrator.root_of_entries(claimed.size) != claimed.root:
            raise Tampered(
                f"the first {claimed.size} entries of the store are not those that its anchor `{self._anchor}` saw"
            )

    async def keep(self) -> None:
        """Makes checkpoints as they fall due, for ever."""
        done = await self._journal.position()
        begun = self._ambient.monotonic()
        while True:
            await self._ambient.sleep(1.0)
            position, now = await self._journal.position(), self._ambient.monotonic()
            if position == done:
                begun = now
            elif position - done >= ENTRIES or now - begun >= SECONDS:
                try:
                    await self.make()
                except SettingsError as error:
                    get().error("checkpoint not anchored", error=str(error))
                done, begun = position, now

    # --- the anchor ---

    async def _write(self, note: str) -> None:
        if self._anchor.startswith("|"):
            await self._command("write", note)
            return
        await asyncio.to_thread(_replace, Path(self._anchor), note)

    async def _read(self) -> str:
        if self._anchor.startswith("|"):
            return await self._command("read", "")
        path = Path(self._anchor)
        try:
            return await asyncio.to_thread(path.read_text, encoding="utf-8") if path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"anchor `{path}` can't be read: {error}") from error

    async def _command(self, verb: str, note: str) -> str:
        process = None
        try:
            words = [*shlex.split(self._anchor.removeprefix("|")), verb]
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with self._ambient.timeout(_ANCHOR_SECONDS):
                out, err = await process.communicate(note.encode())
        except (OSError, ValueError, TimeoutError) as error:
            raise SettingsError(f"anchor `{self._anchor}` can't be run: {str(error) or 'it took too long'}") from error
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            get().error("anchor failed", stderr=err.decode(errors="replace"))
            raise SettingsError(f"anchor `{self._anchor} {verb}` ended with exit code {process.returncode}")
        return out.decode(errors="replace")


def _replace(path: Path, note: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")  # other processes may write their own meanwhile
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise SettingsError(f"anchor `{path}` can't be written: {error.strerror}") from error
