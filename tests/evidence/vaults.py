"""A world whose journal has a key, its exports, and both verifiers as one question: does it hold?"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from worlds import World, one

from remit import Context, Runtime
from remit.core.entries import Head, seal
from remit.core.notes import SignerKey, VerifierKey
from remit.errors import BadInput
from remit.export import bundle, standalone
from remit.export.withhold import withholding
from remit.runtime.ambient import stamp
from remit.runtime.keys import KeyRing
from remit.store.journal import Journal
from remit.verify import Verification, verify

NAME = "example.com/vault"
IBAN = "DE02120300000000202051"


class Vault(World):
    """A world with a folder of keys, and perhaps an anchor."""

    def __init__(self, folder: Path, *, anchor: str = "", seed: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, seed=seed)
        self.policy({"id": "small", "allow": "args.amount < 5"}, escalate="args.amount == 7", deny="args.amount > 7")
        self.keys = folder / "keys"
        self.ring = KeyRing(self.keys)
        self.anchor = anchor

    def runtime(self, *graphs: Any, **options: Any) -> Runtime:
        return Runtime(
            *graphs, store=self.url, policies=self.policies, keys=self.keys, anchor=self.anchor, ambient=self.clock,
            worker="tester",
        )  # fmt: skip

    async def key(self, name: str = NAME) -> VerifierKey:
        async with await Journal.open(self.url, keys=self.keys) as journal:
            return await self.ring.new(journal, self.clock, "operator:tester", name)

    async def live(self, amounts: Sequence[int] = (1, 9, 7), what: str = IBAN, result: str = "paid") -> list[str]:
        """A run for each amount, in which a tool is asked to pay it: 1 is allowed, 7 approved, 9 denied."""
        act = self.act(repeat="keyed", body=lambda *_: result, labels={"": ["bank"]})
        other = self.act("look", effect="read", repeat="keyed", body=lambda *_: f"saw {IBAN[::-1]}")

        async def ask(ctx: Context, amount: int) -> str:
            await ctx.call(other, what="at it", amount=2)
            await ctx.call(act, what=what, amount=amount)
            return "done"

        graph, runs = one(ask, act, other), []
        async with self.runtime(graph) as runtime:
            for amount in amounts:
                report = await runtime.run(graph, amount, principal="me")
                for review in report.reviews:
                    await self.rule(review)
                    report = await runtime.resume(report.run)
                runs.append(report.run)
        return runs

    async def out(self, name: str = "out", runs: Sequence[str] | None = None, **options: Any) -> Path:
        """Exports as the command line does."""
        rules = options.pop("withhold", ())
        async with await Journal.open(self.url, keys=self.keys) as journal:
            request = bundle.Request(
                stamp(self.clock.now()), "operator:tester", runs, await self.ring.signer(journal),
                [known.key for known in await self.ring.known(journal)], options.pop("held", ""), withholding(rules),
            )  # fmt: skip
            await bundle.export(journal, self.folder / name, request)
        return self.folder / name


def checked(path: Path, keys: Sequence[VerifierKey] = (), held: str = "") -> Verification | None:
    """What remit says of a bundle; None where it is none."""
    try:
        return verify(path, keys=keys, held=held)
    except BadInput:
        return None


def holds(path: Path, keys: Sequence[VerifierKey] = (), held: str = "") -> bool:
    """What both verifiers say, which is the same."""
    found = checked(path, keys, held)
    ours = found is not None and found.ok
    assert bundled(path, keys, held) == ours, found and found.problems[:5]
    return ours


def bundled(path: Path, keys: Sequence[VerifierKey] = (), held: str = "") -> bool:
    """What the bundle's own verifier says, run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standalone, "HERE", path)
        try:
            journal, _ = standalone.check([str(key) for key in keys], held)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError, standalone.Misused):
            return False
        return not journal.problems


def alone(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The bundle's own verifier, in a Python that has nothing but its standard library."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(path / "verify.py"), *map(str, arguments)],
        capture_output=True, encoding="utf-8", timeout=60, check=False, cwd="/", env={},
    )  # fmt: skip


@contextmanager
def quick_signatures() -> Iterator[None]:
    """For thousands of checks: Ed25519 in C. tests/core/test_notes.py says that both say the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            standalone, "ed25519_holds", lambda public, text, signature: VerifierKey("k", public).holds(text, signature)
        )
        yield


def copied(path: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(path, to))


def contains(folder: Path, value: str) -> list[str]:
    """The files in whose bytes the value stands, however JSON or HTML would write it."""
    words = {value.encode(), orjson.dumps(value)[1:-1]}
    return [path.name for path in folder.iterdir() if path.is_file() and any(w in path.read_bytes() for w in words)]


def resealed(lines: Sequence[bytes], change: Any) -> list[bytes]:
    """Entries as a liar writes them: `change(entry) -> body`, and every chain hashed anew."""
    from remit.core.entries import unseal

    heads: dict[str, Head] = {}
    made = []
    for line in lines:
        entry = unseal(line)
        one_ = seal(entry.stream, heads.get(entry.stream, Head()), entry.at, entry.actor, change(entry))
        heads[entry.stream] = one_.head
        made.append(one_.bytes)
    return made


def signer(vault: Vault) -> SignerKey:
    (path,) = vault.keys.glob("*.key")
    return SignerKey.parse(path.read_text(encoding="utf-8"))
