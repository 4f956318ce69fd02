"""Made the bundle beside it, once, by Remit 0.1.0: `python tests/golden/journal-v1/make.py NEW-FOLDER`.

Every later version must read and verify that bundle. It is never made anew: another format is another folder.
Clock, entropy and keys are those of a VirtualClock, so that the same code gives the same entries.
"""

from __future__ import annotations

import asyncio
import pwd
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

sys.path[:0] = [str(Path(__file__).parents[2] / "runtime"), str(Path(__file__).parents[2] / "evidence")]

from vaults import Vault  # noqa: E402
from worlds import one  # noqa: E402

from remit import Context  # noqa: E402
from remit.runtime.erasing import Selection, erase  # noqa: E402
from remit.store.journal import Journal  # noqa: E402


async def make(folder: Path, out: Path) -> None:
    vault = Vault(folder, seed=1)
    key = await vault.key("example.com/golden")
    await vault.live([1, 9])
    before = await vault.out("before")
    held = (before / "checkpoint").read_text(encoding="utf-8")
    (erased,) = await vault.live([7])
    act = vault.act()

    async def rejected(ctx: Context) -> None:
        vault.clock.advance(1)
        ctx.uuid()
        await ctx.call(act, what=[], amount=1)  # type: ignore[arg-type]

    async def denied(ctx: Context) -> str:
        return await ctx.call(act, amount=7)

    async with vault.runtime(one(rejected, act)) as runtime:
        await runtime.run("app", principal="me")
    async with vault.runtime(one(denied, act)) as runtime:
        report = await runtime.run("app", principal="me")
        await vault.rule(report.reviews[0], approved=False)
        await runtime.resume(report.run)
    async with await Journal.open(vault.url) as journal:
        await erase(journal, vault.clock, Selection(run=erased, pointer="/args/what"), by="ann", reason="asked for")
        await vault.ring.rotate(journal, vault.clock, "operator:ann", "once a year")
    made = await vault.out("bundle", held=held, withhold=["tool:look"])
    out.mkdir(parents=True)
    made.rename(out / "bundle")
    (out / "held-checkpoint").write_text(held, encoding="utf-8")
    async with await Journal.open(vault.url) as journal:
        keys = [str(known.key) for known in await vault.ring.known(journal)]
    assert keys[0] == str(key)
    (out / "keys").write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")


if __name__ == "__main__":
    pwd.getpwuid = lambda uid: SimpleNamespace(pw_name="golden")  # type: ignore[assignment,return-value]
    with tempfile.TemporaryDirectory(dir=Path(sys.argv[1]).parent) as made_in:
        asyncio.run(make(Path(made_in) / "vault", Path(sys.argv[1])))
