"""An export as a journal: in a store of its own, so that whatever reads a journal reads an export as well."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import orjson

from remit.bundles import UNFIT, UNREADABLE, Bundle, Payloads
from remit.core.entries import Payload, Sealed, unseal
from remit.errors import BadInput, RemitError
from remit.store.journal import Append, Journal
from remit.store.writer import Artifact

_BATCH = 500


@asynccontextmanager
async def reopened(path: Path) -> AsyncIterator[Journal]:
    """Opens the export at `path`, a folder or a .zip, as a journal in a temporary folder, which goes afterwards.

    It is read as it is: `remit audit verify` says whether it holds.
    Values that are withheld are not there, and `Journal.exported` is true.

    Raises:
        BadInput: it is no export, or it is not whole.
    """
    with tempfile.TemporaryDirectory(prefix="remit-export-") as folder:
        async with await Journal.open(f"sqlite:///{Path(folder) / 'export.db'}") as journal:
            try:
                with closing(Bundle(path)) as bundle:
                    await _fill(journal, bundle)
            except (*UNFIT, *UNREADABLE, RemitError) as error:
                raise BadInput(f"`{path}` can't be read as an export: {error}: see `remit audit verify`") from error
            journal.exported = True
            yield journal


async def _fill(journal: Journal, bundle: Bundle) -> None:
    await journal.append(Append((), artifacts=tuple(_artifacts(bundle))))
    values = Payloads(bundle, _refuse)
    entries: list[Sealed] = []
    payloads: list[Payload] = []
    try:
        with closing(bundle.lines("entries.jsonl")) as lines:
            for _, line in lines:
                entry = unseal(line)
                entries.append(Sealed(entry.stream, entry.seq, entry.kind, entry.prev, entry.hash, line))
                found = values.of(entry)
                payloads += (Payload(entry.stream, entry.seq, name, *value) for name, value in found.items())
                if len(entries) == _BATCH:
                    await journal.append(Append(tuple(entries), tuple(payloads)))
                    entries.clear()
                    payloads.clear()
        await journal.append(Append(tuple(entries), tuple(payloads)))
    finally:
        values.close()


def _artifacts(bundle: Bundle) -> list[Artifact]:
    found = {}
    with closing(bundle.lines("artifacts.jsonl")) as lines:
        for _, line in lines:
            row = orjson.loads(line)
            data = row["data"].encode()
            found[hashlib.sha256(data).hexdigest()] = Artifact(row["digest"], row["kind"], data)
    return list(found.values())


def _refuse(place: str, message: str) -> None:
    raise BadInput(f"{place}: {message}")
