"""Publishes the journal as a static transparency log: C2SP tlog-tiles, for clients and witnesses of others.

checkpoint                   the newest signed checkpoint
tile/<L>/<N>[.p/<W>]         hashes of the tree, 256 to a full tile
tile/entries/<N>[.p/<W>]     the entries, each behind its length as two bytes, big-endian
"""

from __future__ import annotations

from pathlib import Path

from remit.core.notes import unchecked
from remit.errors import BadInput, Tampered
from remit.store.integrator import WIDTH, Integrator, Tree, tile_path
from remit.store.journal import Journal


async def write_tiles(journal: Journal, out: Path, note: str) -> int:
    """Writes the log that `note`, a checkpoint of this journal, is of; returns how many files there are.

    Full tiles never change: into a folder that has some, only what is new is written. The checkpoint comes last.

    Raises:
        BadInput: the folder can't be written.
        Tampered: a full tile that is there differs from the journal's.
    """
    size = unchecked(note).size
    await Integrator(journal).integrate()
    hashes = await journal.query(lambda connection: list(Tree(connection).tiles(size)))
    count = 0
    try:
        for path, data in hashes:
            count += _put(out / path, data)
        for number in range((size + WIDTH - 1) // WIDTH):
            width = min(size - number * WIDTH, WIDTH)
            entries = [data for _, data in await journal.since(number * WIDTH, width)]
            path = tile_path(0, number, width).replace("tile/0/", "tile/entries/", 1)
            count += _put(out / path, b"".join(len(data).to_bytes(2, "big") + data for data in entries))
        (out / "checkpoint").write_text(note, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"`{out}` can't be written: {error.strerror or error}") from error
    return count + 1


def _put(path: Path, data: bytes) -> int:
    if path.is_file():
        if path.read_bytes() != data:
            raise Tampered(f"`{path}` was published with other content: the journal is not the one it was")
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return 1
