"""A world whose policies are activated: with a key, and people who approve what is put in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from vaults import Vault, checked, holds, resealed, signer

from remit import Graph, Runtime
from remit.core.activation import statement
from remit.core.entries import Entry, PolicyActivated, seal
from remit.core.reviews import ReviewState
from remit.errors import RemitError
from remit.export import standalone
from remit.policykit.toolset import recorded_tools
from remit.runtime.activating import Activated, Asked, Candidate, activate
from remit.runtime.ambient import stamp
from remit.runtime.force import look
from remit.runtime.load import load_review
from remit.runtime.registry import Registry
from remit.store.journal import Append, Journal

__all__ = ["Acts", "Asked", "bundled_problems", "checked", "files", "resealed", "runtime_of"]


def files(*rules: dict[str, object], queues: Mapping[str, Any] | None = None, **effects: str) -> dict[str, str]:
    """A policy set: rules as in YAML, or `allow="cond"`; JSON is YAML."""
    made: list[dict[str, object]] = [{"tools": ["*"], **rule} for rule in rules]
    made += [{"id": f"{effect}-rule", "tools": ["*"], effect: condition} for effect, condition in effects.items()]
    said = queues or {"single_operator": True, "queues": {"desk": {}}}
    return {"main.yaml": json.dumps({"policy": "main", "rules": made}), "queues.yaml": json.dumps(said)}


class Acts(Vault):
    """A vault, in which sets are activated as the command line does it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.graph: Graph

    async def begin(self, graph: Graph) -> Acts:
        """Gives the journal a key."""
        self.graph = graph
        await self.key()
        return self

    def candidate(self, texts: Mapping[str, str], expires: str = "", graph: Graph | None = None) -> Candidate:
        types = Registry([graph or self.graph]).types()
        return Candidate(recorded_tools(types).load(texts), types, expires)

    async def activates(
        self, texts: Mapping[str, str], by: str = "olga", *, reason: str = "because", expires: str = "",
        review: str = "", graph: Graph | None = None,
    ) -> Activated:  # fmt: skip
        """Somebody activates a set, from a process of their own."""
        async with await Journal.open(self.url, keys=self.keys) as journal:
            ring = self.ring
            trusted = [known.key for known in await ring.known(journal) if known.here]
            asked = Asked(by, reason, ["~ something"], {"decisions": 3, "newly_denied": 1})
            candidate = self.candidate(texts, expires, graph)
            return await activate(journal, self.clock, await ring.signer(journal), trusted, candidate, asked, review)

    async def forged(self, change: Any, sign: bool = True) -> None:
        """Appends an activation as somebody does who can write to the store: a copy of the newest, changed."""
        async with await Journal.open(self.url, keys=self.keys) as journal:
            entries = await journal.read("policy")
            last = next(entry for entry in reversed(entries) if isinstance(entry.body, PolicyActivated))
            body = change(last.body)
            head = entries[-1].head
            if sign:
                text = statement(body, head.seq + 1, head.hash)
                body = msgspec.structs.replace(
                    body, signature=signer(self).sign(text).removeprefix(text + "\n").strip()
                )
            await journal.append(Append((seal("policy", head, stamp(self.clock.now()), "operator:eve", body),)))

    async def state_of(self, review: str) -> ReviewState:
        async with await Journal.open(self.url, keys=self.keys) as journal:
            return await load_review(journal, review)

    async def policy_entries(self) -> list[Entry]:
        return await self.entries("policy")

    async def revision(self) -> int:
        async with await Journal.open(self.url, keys=self.keys) as journal:
            force = await look(journal)
            return force.activated.revision if force.activated else 0

    async def starts(self, graph: Graph | None = None) -> str:
        """Starts a worker; returns the digest that it runs under, or why nothing runs."""
        try:
            async with self.runtime(graph or self.graph) as runtime:
                return runtime.policies.digest
        except RemitError as error:
            return f"{type(error).__name__}: {error}"

    async def verified(self, name: str = "") -> bool:
        """What both verifiers say of an export."""
        self._exports += 1
        return holds(await self.out(name or f"out-{self._exports}"))

    async def problems(self) -> str:
        self._exports += 1
        out = await self.out(f"out-{self._exports}")
        found = checked(out)
        assert found is not None and not holds(out)
        return "\n".join(map(str, found.problems))

    def draft(self, texts: Mapping[str, str]) -> None:
        """Writes the folder of policies."""
        for path in self.policies.iterdir():
            path.unlink()
        for name, text in texts.items():
            (self.policies / name).write_text(text, encoding="utf-8")


def runtime_of(world: Acts, *graphs: Graph, **options: Any) -> Runtime:
    return Runtime(*graphs, store=world.url, policies=world.policies, keys=world.keys, ambient=world.clock, **options)


def bundled_problems(path: Path) -> list[str]:
    """What the bundle's own verifier finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standalone, "HERE", path)
        return standalone.check([], "")[0].problems
