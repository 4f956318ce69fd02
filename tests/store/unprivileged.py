"""Opens stores that it may not write, as a user who isn't root: prints what each is refused with."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from remit.errors import SettingsError
from remit.store.journal import Journal


async def opened(path: Path) -> None:
    await (await Journal.open(f"sqlite:///{path}")).close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await opened(Path(folder) / "remit.db")  # imports what is imported late, while that is permitted
    if os.geteuid() == 0:
        os.setuid(65534)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "remit.db"
        await opened(path)
        for place, mode in ((path, 0o600), (path.parent, 0o700)):
            place.chmod(0o500)
            try:
                await opened(path)
            except SettingsError as error:
                print(error)
            place.chmod(mode)


asyncio.run(main())
