"""The keys that sign checkpoints and exports: private ones in a folder, public ones in the journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from remit.core.canonical import canonical
from remit.core.entries import Fact, KeyAdded, KeyRetired
from remit.core.notes import SignerKey, VerifierKey
from remit.errors import BadInput, Conflict
from remit.runtime.ambient import Ambient
from remit.runtime.stream import Draft
from remit.store.authentic import private_folder, write_private
from remit.store.journal import Append, Journal


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key the journal knows: since when, until when ("" for still), and whether it can sign here."""

    key: VerifierKey
    added: str
    retired: str
    here: bool


class KeyRing:
    """A folder of private keys, one file each, readable by their owner only."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    async def known(self, journal: Journal) -> list[KnownKey]:
        """Returns every key that the journal has had, the oldest first."""
        found: dict[str, KnownKey] = {}
        for entry in await journal.read("store"):
            body = entry.body
            if isinstance(body, KeyAdded):
                key = VerifierKey.parse(body.key)
                found[body.key] = KnownKey(key, entry.at, "", self._path(key).is_file())
            elif isinstance(body, KeyRetired) and body.key in found:
                old = found[body.key]
                found[body.key] = KnownKey(old.key, old.added, entry.at, old.here)
        return list(found.values())

    async def signer(self, journal: Journal) -> SignerKey | None:
        """Returns the newest key in force whose private half is in the folder; None where there is none.

        Raises:
            BadInput: the file isn't the private half of the key it is named after.
        """
        for known in reversed(await self.known(journal)):
            if known.here and not known.retired:
                return self._read(known.key)
        return None

    async def new(self, journal: Journal, ambient: Ambient, actor: str, name: str) -> VerifierKey:
        """Makes a key, keeps its private half in the folder, and records the public one in the journal.

        Raises:
            BadInput: the name has spaces or `+`, or the folder can't be written.
        """
        if not name or "+" in name or any(character.isspace() for character in name):
            raise BadInput(f"key name `{name}`: no spaces and no `+`; a name like `example.com/payables` is best")
        key = SignerKey(name, ambient.entropy(32))
        path = self._path(key.verifier)
        try:
            private_folder(self._folder)
            write_private(path, f"{key}\n")
        except OSError as error:
            raise BadInput(f"`{path}` can't be written: {error.strerror}") from error
        await self._append(journal, ambient, actor, KeyAdded(str(key.verifier)))
        return key.verifier

    async def rotate(self, journal: Journal, ambient: Ambient, actor: str, reason: str) -> VerifierKey:
        """Makes a key of the same name, and then retires those before it. What they signed still holds.

        Raises:
            BadInput: there is no key to rotate.
        """
        before = [known for known in await self.known(journal) if not known.retired]
        if not before:
            raise BadInput("there is no key to rotate: make one with `remit keys new`")
        key = await self.new(journal, ambient, actor, before[-1].key.name)
        for known in before:
            await self._append(journal, ambient, actor, KeyRetired(str(known.key)), reason)
        return key

    def _path(self, key: VerifierKey) -> Path:
        return self._folder / f"{key.id.hex()}.key"

    def _read(self, key: VerifierKey) -> SignerKey:
        path = self._path(key)
        try:
            found = SignerKey.parse(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadInput(f"`{path}` can't be read: {error.strerror}") from error
        except ValueError:  # it would carry what is in the file
            raise BadInput(f"`{path}` can't be read: it is not text") from None
        if found.verifier != key:
            raise BadInput(f"`{path}` is not the private half of key {key.id.hex()}")
        return found

    async def _append(self, journal: Journal, ambient: Ambient, actor: str, body: Fact, reason: str = "") -> None:
        while True:
            draft = Draft("store", await journal.head("store"), ambient)
            said = body
            if reason and isinstance(body, KeyRetired):
                said = KeyRetired(body.key, draft.commit("/reason", canonical(reason)))
            try:
                return await journal.append(Append((draft.seal(actor, said),), tuple(draft.payloads)))
            except Conflict:
                continue
