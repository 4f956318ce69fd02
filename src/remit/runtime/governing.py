"""Which policy set is in force for a worker: the folder's, or, once a store has an activation, the journal's.

At start nothing runs unless the set that is in force is whole, signed, unexpired and the newest. In a worker that runs,
what is refused changes nothing: the last good set stays, and that is an error in the log; where it is a set that others
run under, it is an entry as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from remit.core.activation import unlike
from remit.core.canonical import canonical, digest_bytes
from remit.core.entries import Entry, Head, PolicyActivated, PolicyKept, PolicyLoaded
from remit.core.notes import VerifierKey
from remit.core.policy import PolicySet, is_beside
from remit.errors import Conflict, PolicyError, Problem, RunError, Tampered
from remit.logs import get
from remit.runtime.ambient import Ambient, stamp
from remit.runtime.force import Force, look
from remit.runtime.guards import Guards, load_governed
from remit.runtime.keys import KeyRing
from remit.runtime.policyfolder import read_policies
from remit.runtime.registry import Registry
from remit.runtime.stream import Draft
from remit.runtime.trust import trusted_keys
from remit.store.journal import Append, Artifact, Journal

_REMEDY = "activate a set with `remit policy activate`"


@dataclass(frozen=True, slots=True)
class Governed:
    """A policy set as a worker runs under it.

    Attributes:
        head: of the stream `policy`, up to which this is what is in force; None where that doesn't matter.
        expires: from then on nothing runs under it; "" for never.
    """

    policies: PolicySet
    guards: Guards
    head: Head | None = None
    expires: str = ""

    def without(self, revoked: frozenset[str]) -> Governed:
        """Returns the same set once these reviewers and keys are revoked."""
        people = self.policies.people.without(revoked)
        if people is self.policies.people:
            return self
        return replace(self, policies=replace(self.policies, people=people))


class Following(Protocol):
    """What a gate asks before it decides: which set is in force for it, and whether that has changed."""

    now: Governed

    async def moved(self) -> bool: ...


class Governing:
    """The policy set in force for one worker."""

    def __init__(
        self, journal: Journal, registry: Registry, ambient: Ambient, worker: str, *, folder: str, packs: Sequence[str],
        ring: KeyRing, trusted: Sequence[VerifierKey] = (),
    ) -> None:  # fmt: skip
        self._journal = journal
        self._registry = registry
        self._ambient = ambient
        self._worker = worker
        self._folder = folder
        self._packs = tuple(packs)
        self._ring = ring
        self._trusted = tuple(trusted)
        self._force = Force()
        self._texts: Mapping[str, str] | None = None
        self._complaint = ""

    async def begin(self) -> Governed:
        """Returns what is in force.

        Raises:
            PolicyError: it is missing, broken, unsigned, older, expired or altered: nothing runs.
        """
        if not self._trusted:
            self._trusted = tuple(await trusted_keys(self._journal, self._ring, ()))
        self._force = await look(self._journal, self._trusted)
        if self._force.refused:
            hint = f"{_REMEDY}; where another key is to count here, name it in `policy_keys`"
            raise _refuse(f"the newest activation, {self._force.refused}", hint)
        if self._force.ignored:
            self._shout(f"a revocation doesn't count: {self._force.ignored}")
        self.now = await self._governed()
        return self.now

    async def reload(self) -> Governed:
        """Looks again: at the journal, and without an activation at the folder. Never raises PolicyError."""
        if not await self.moved() and self._force.activated is None:
            try:
                if read_policies(self._folder, self._packs) != self._texts:
                    self.now = await self._governed()
                    get().warning("policies changed", digest=self.now.policies.digest[:12])
                self._complaint = ""
            except PolicyError as error:
                self._shout(str(error))
        return self.now

    async def moved(self) -> bool:
        """Looks at the journal; says whether another set is in force for this worker now."""
        if await self._journal.head("policy") == self._force.head:
            return False
        before, was = self._force, self.now
        self._force = await look(self._journal, self._trusted, before)
        if self._force.refused and self._force.refused != before.refused:
            self._shout(f"the newest activation, {self._force.refused}")
        if self._force.ignored and self._force.ignored != before.ignored:
            self._shout(f"a revocation doesn't count: {self._force.ignored}")
        try:
            if self._force.activated is not None and self._force.place != before.place:
                await self._take()
        except BaseException:
            self._force = before  # what was not recorded is not in force here: the next look begins anew
            raise
        self.now = replace(self.now.without(self._force.revoked), head=self._force.head)
        return self.now.policies is not was.policies

    async def _take(self) -> None:
        """Goes on under the set that was activated, or where it can't, under the last good one; recorded either way."""
        try:
            self.now = await self._governed()
            get().warning("policies activated", digest=self.now.policies.digest[:12], revision=self._force.revision)
        except (PolicyError, Tampered) as error:
            self._shout(str(error))
            await self._keep(str(error))

    async def pinned(self, digest: str) -> Pinned:
        """Returns a set that was in force, as the journal has it, for a run that is decided under it to its end.

        Whom the journal says to be revoked is so in it, too.

        Raises:
            RunError: it isn't there, doesn't load, or was checked against other tools than these.
        """
        said = [
            entry.body
            for entry in await self._journal.read("policy")
            if isinstance(entry.body, PolicyLoaded) and entry.body.digest == digest
        ]
        place = f"policy set {digest[:12]}, which the run is pinned to,"
        try:
            if not said:
                raise Tampered("it was never loaded")
            texts = await self._texts_of(said[-1])
            policies, guards = load_governed("(journal)", texts, self._registry, self._ambient)
        except (PolicyError, Tampered) as error:
            raise RunError(f"{place} can't be used: {error}") from error
        types = digest_bytes(self._registry.types(guards.schemas))
        if types not in {one.types for one in said}:
            raise RunError(f"{place} was checked against other tools than these: resume it with the code of then")
        ends = [one.expires for one in said if isinstance(one, PolicyActivated)]
        return Pinned(self, Governed(policies, guards, None, ends[-1] if ends else ""))

    # --- loading ---

    async def _governed(self) -> Governed:
        """Loads what is in force, and records that it is. Raises PolicyError, Tampered."""
        while True:
            said = self._force.activated
            if said is None:
                texts: Mapping[str, str] = read_policies(self._folder, self._packs)
                policies, guards = load_governed(self._folder, texts, self._registry, self._ambient)
            else:
                if said.expires and said.expires <= stamp(self._ambient.now()):
                    raise _refuse(f"revision {said.revision} expired at {said.expires}", _REMEDY)
                texts = await self._texts_of(said)
                policies, guards = load_governed("(activated)", texts, self._registry, self._ambient)
                self._compare(said)
            try:
                await self._record(policies, guards)
            except Conflict:
                self._force = await look(self._journal, self._trusted, self._force)
                continue
            self._texts = texts  # last: where recording them failed, they are read again the next time
            expires = said.expires if said else ""
            return Governed(policies, guards, self._force.head, expires).without(self._force.revoked)

    async def _texts_of(self, said: PolicyLoaded) -> dict[str, str]:
        artifact = await self._journal.artifact(said.texts)
        if why := unlike(said, artifact.data if artifact else None):
            raise Tampered(f"policy set {said.digest[:12]}: {why}")
        assert artifact is not None  # then it would be unlike
        texts: dict[str, str] = orjson.loads(artifact.data)["files"]
        return texts

    def _compare(self, said: PolicyActivated) -> None:
        """Says so loudly where the folder isn't what runs."""
        try:
            texts = read_policies(self._folder, self._packs)
            own = {
                name: digest_bytes(text.encode(errors="surrogateescape"))
                for name, text in texts.items()
                if not is_beside(name)
            }
        except PolicyError:
            own = {}
        if own != said.files:
            get().warning(
                "the folder of policies is a draft, and not what is in force: `remit policy diff` says what differs",
                folder=self._folder, revision=said.revision, digest=said.digest[:12],
            )  # fmt: skip

    async def _record(self, policies: PolicySet, guards: Guards) -> None:
        """Appends that this set is loaded, with these tools, unless that was said since it is in force.

        Raises:
            Conflict: the stream has grown.
        """
        types, texts = self._registry.types(guards.schemas), canonical({"files": dict(policies.texts)})
        body = PolicyLoaded(
            policies.digest, dict(policies.files), digest_bytes(types), digest_bytes(texts),
            policies.single_operator, policies.people.activation,
        )  # fmt: skip
        entries = await self._journal.read("policy", max(self._force.place - 1, -1) if self._force.activated else -1)
        if entries and entries[-1].head != self._force.head:
            raise Conflict("the policy in force has changed")
        entries = entries if self._force.activated else entries[-1:]
        if any(_same(entry, body) for entry in entries):
            return
        draft = Draft("policy", self._force.head, self._ambient)
        sealed = draft.seal(self._worker, body)
        artifacts = (Artifact(body.texts, "policies", texts), Artifact(body.types, "types", types))
        await self._journal.append(Append((sealed,), (), artifacts))
        self._force = await look(self._journal, self._trusted, self._force)

    async def _keep(self, why: str) -> None:
        """Records that this worker goes on under the set it has, since it can't run under the one in force."""
        said = self._force.activated
        assert said is not None  # otherwise nothing would have changed
        while True:
            draft = Draft("policy", self._force.head, self._ambient)
            body = PolicyKept(
                said.digest, self.now.policies.digest, self._worker, draft.commit("/reason", canonical(why))
            )
            try:
                await self._journal.append(Append((draft.seal(self._worker, body),), tuple(draft.payloads)))
            except Conflict:
                force = await look(self._journal, self._trusted, self._force)
                if force.place != self._force.place:
                    return  # yet another set: it is looked at the next time
                self._force = force
                continue
            self._force = await look(self._journal, self._trusted, self._force)
            return

    def _shout(self, why: str) -> None:
        """Once for each thing that is wrong, not at every look."""
        if why != self._complaint:
            self._complaint = why
            get().error("policies refused: the last good set stays in force", error=why)


class Pinned:
    """A set that a run is decided under to its end, with those revoked whom the journal says."""

    def __init__(self, governing: Governing, pinned: Governed) -> None:
        self._governing = governing
        self.now = pinned
        self._follow()

    async def moved(self) -> bool:
        """Looks at the journal; says whether somebody was revoked or restored."""
        await self._governing.moved()
        return self._follow()

    def _follow(self) -> bool:
        followed, was = self._governing.now, self.now.policies
        self.now = replace(self.now.without(followed.policies.people.revoked), head=followed.head)
        return self.now.policies is not was


def _same(entry: Entry, body: PolicyLoaded) -> bool:
    said = entry.body
    return isinstance(said, PolicyLoaded) and (said.digest, said.types, said.texts, said.single_operator) == (
        body.digest, body.types, body.texts, body.single_operator,
    )  # fmt: skip


def _refuse(message: str, hint: str) -> PolicyError:
    return PolicyError((Problem("", 0, 0, message, hint),))
