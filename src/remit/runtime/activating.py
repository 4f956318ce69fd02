"""Puts a policy set in force: signed, in one append, and after those have approved it whom the set in force names.

Two that activate at once both write after the same head, so one of them is refused and told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from remit.core.activation import proposal, statement, unapproved, unsound
from remit.core.canonical import canonical, digest_bytes, plain
from remit.core.entries import (
    Head,
    Payload,
    PolicyActivated,
    ReviewConsumed,
    ReviewExpired,
    ReviewOpened,
    Sealed,
    is_committed,
    seal,
    unseal,
)
from remit.core.notes import SignerKey, VerifierKey
from remit.core.people import People, Queue, deadline
from remit.core.policy import PolicySet
from remit.core.reviews import ReviewState, ReviewStatus, is_expired
from remit.errors import BadInput, Conflict, NotEntitled, SettingsError, Stale, Tampered
from remit.runtime.ambient import Ambient, NeverBack, new_id, stamp
from remit.runtime.force import Force, look, people_of
from remit.runtime.load import load_review
from remit.runtime.stream import Draft
from remit.store.journal import Append, Artifact, Journal
from remit.store.projections import Projections

TOOL = "policy.activate"
"""What a review of an activation has in a tool's place."""
_SAYS = "Puts this policy set in force for every worker of the store."
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A set to be activated: loaded, with the tools it was checked against as the journal keeps them."""

    policies: PolicySet
    types: bytes
    expires: str = ""

    @property
    def texts(self) -> bytes:
        """The files, as the journal keeps them."""
        return canonical({"files": dict(self.policies.texts)})

    @property
    def artifacts(self) -> tuple[Artifact, Artifact]:
        """What the journal has to have of it."""
        texts, types = self.texts, self.types
        return Artifact(digest_bytes(texts), "policies", texts), Artifact(digest_bytes(types), "types", types)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for it and why, and what they were shown: the differences in words, the effect as counts."""

    by: str
    reason: str
    changes: Sequence[str] = ()
    effect: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Activated:
    """What became of it: `status` is `activated`, `in force` (it was before), or `waiting` (for `review`)."""

    status: str
    revision: int
    digest: str
    previous: str
    review: str = ""


@dataclass(frozen=True, slots=True)
class _Pen:
    """What it takes to write: the journal, its signing key, and whose activations count."""

    journal: Journal
    ambient: Ambient
    signer: SignerKey
    trusted: Sequence[VerifierKey]
    actor: str


async def activate(
    journal: Journal, ambient: Ambient, signer: SignerKey | None, trusted: Sequence[VerifierKey],
    candidate: Candidate, asked: Asked, review: str = "", seen: Force | None = None,
) -> Activated:  # fmt: skip
    """Activates a set, or opens a review of it where the set in force takes one that was not approved yet.

    Args:
        review: use this approval, and no other.
        seen: what was in force when the differences were looked at; now, if not given.

    Raises:
        SettingsError: there is no key to sign it with, or one whose activations don't count.
        BadInput: no reason, or an end that has passed.
        NotEntitled: it was denied, or the approval doesn't count.
        Stale: another set was activated meanwhile, or the review is of another one.
    """
    if signer is None:
        raise SettingsError("an activation is signed, and there is no key here: make one with `remit keys new`")
    if trusted and signer.verifier not in trusted:
        raise SettingsError(f"key `{signer.name}` is not one of `policy_keys`: no worker would take its activation")
    ambient = NeverBack(ambient, await journal.latest())
    if candidate.expires and candidate.expires <= stamp(ambient.now()):
        raise BadInput(f"it would have expired at {candidate.expires} already")
    pen = _Pen(journal, ambient, signer, trusted, f"operator:{asked.by}")
    first = seen or await look(journal, trusted)
    for _ in range(_TRIES):
        force = await look(journal, trusted)
        if force.activated is not None and force.place != first.place:
            raise Stale(
                f"somebody else has activated policy set {force.activated.digest[:12]} as revision"
                f" {force.activated.revision} meanwhile: look at it, and ask again"
            )
        try:
            return await _once(pen, force, candidate, asked, review)
        except Conflict:
            continue
    raise Conflict("the policy stream changes faster than a set can be activated: try again")


async def _once(pen: _Pen, force: Force, candidate: Candidate, asked: Asked, review: str) -> Activated:
    body = propose(force, candidate, asked.by)
    now = force.activated
    if (
        not review
        and now is not None
        and (now.digest, now.types, now.expires) == (body.digest, body.types, body.expires)
    ):
        return Activated("in force", now.revision, now.digest, now.previous)
    people = await people_of(pen.journal, force)
    state = None
    if people.activation or review:
        state = await _review_of(pen.journal, body, review)
        if review and state is None:
            raise Stale(f"review `{review}` is not of this set as revision {body.revision}")
        if state is None or _is_over(state, stamp(pen.ambient.now())):
            if not people.activation:
                raise Stale(f"review `{review}` has ended without an approval")
            return await _ask(pen, people, body, candidate, asked, state)
        if state.waits:
            return Activated("waiting", body.revision, body.digest, body.previous, state.opened.review)
        body = msgspec.structs.replace(body, review=state.opened.review, by=state.opened.principal)
        if why := unapproved(body, people, state, stamp(pen.ambient.now())):
            raise NotEntitled(f"revision {body.revision}: {why}")
    if not asked.reason.strip() and state is None:
        raise BadInput("an activation needs a reason: say it with --reason: who comes after you will read it")
    return await _append(pen, force, body, candidate, asked, state)


def propose(force: Force, candidate: Candidate, by: str) -> PolicyActivated:
    """Returns what an activation would say, without its reason and signature."""
    policies = candidate.policies
    texts, types = candidate.artifacts
    return PolicyActivated(
        policies.digest, dict(policies.files), types.digest, texts.digest, policies.single_operator,
        policies.people.activation, force.revision + 1, force.said.digest if force.said else "", by,
        expires=candidate.expires,
    )  # fmt: skip


# --- the review --------------------------------------------------------------------------------------


async def _review_of(journal: Journal, body: PolicyActivated, wanted: str) -> ReviewState | None:
    """Returns the newest review of exactly this proposal, whoever asked for it; that one's name is in its digest."""
    found = None
    for row in await Projections(journal).reviews():
        if row.activation and not row.problem and wanted in ("", row.review):
            state = await load_review(journal, row.review)
            theirs = msgspec.structs.replace(body, by=state.opened.principal)
            if state.opened.digest == proposal(theirs) and state.status is not ReviewStatus.CONSUMED:
                found = state
    return found


def _is_over(state: ReviewState, now: str) -> bool:
    """Whether nobody can rule on it, or use it, any more; a no is over, too, and final."""
    if state.status is ReviewStatus.DENIED:
        by = state.ruled.reviewer if state.ruled else "a reviewer"
        raise NotEntitled(f"review `{state.opened.review}` was denied by {by}: a no is final for exactly this set")
    return state.status in (ReviewStatus.EXPIRED, ReviewStatus.WITHDRAWN) or is_expired(state, now)


async def _ask(
    pen: _Pen, people: People, body: PolicyActivated, candidate: Candidate, asked: Asked, old: ReviewState | None
) -> Activated:
    """Opens a review in which the reviewers see what would change, and what that would have done."""
    if not asked.reason.strip():
        raise BadInput("an activation needs a reason: say it with --reason: its reviewers will read it")
    queue = people.queue(people.activation)
    if queue is None:
        raise Tampered(f"the set in force names queue `{people.activation}` for activations, and has no such queue")
    id = new_id(pen.ambient)
    draft = Draft(f"review/{id}", Head(), pen.ambient)
    shown = draft.commit("/shown", canonical(_shown(body, asked)))
    opened = ReviewOpened(
        id, "", "", proposal(body), TOOL, queue.name, stamp(deadline(pen.ambient.now(), queue)), shown,
        terms=_terms(queue), principal=asked.by, starter=asked.by, activation=True,
    )  # fmt: skip
    entries: list[Sealed] = [draft.seal(pen.actor, opened)]
    if old is not None and (old.waits or old.status is ReviewStatus.APPROVED):
        ended = Draft(f"review/{old.opened.review}", old.head, pen.ambient)
        entries.append(ended.seal(pen.actor, ReviewExpired(old.opened.review)))
    await pen.journal.append(Append(tuple(entries), tuple(draft.payloads), candidate.artifacts))
    return Activated("waiting", body.revision, body.digest, body.previous, id)


def _terms(queue: Queue) -> Any:
    """The queue's, without what is about calls; nobody hands it on when its time is up."""
    return msgspec.structs.replace(queue.terms, next="", edit=(), respond=False)


def _shown(body: PolicyActivated, asked: Asked) -> dict[str, Any]:
    args: dict[str, Any] = {
        "reason": asked.reason,
        "changes": list(asked.changes),
        "effect": dict(asked.effect),
        "revision": body.revision,
        "policies": body.digest,
        "before": body.previous,
        "expires": body.expires,
        "files": sorted(body.files),
    }
    return {
        "run": "", "principal": asked.by, "call": "", "agent": "", "tool": TOOL, "description": _SAYS,
        "effect": "commit", "repeat": "once", "args": args, "digest": proposal(body), "facts": {},
        "reasons": [f"{asked.by} asks to put revision {body.revision} in force: {asked.reason}"],
        "texts": body.texts, "types": body.types,
    }  # fmt: skip


async def shown_of(journal: Journal, state: ReviewState) -> dict[str, Any]:
    """Returns what the reviewers of an activation were shown. Raises BadInput where it is of a call, or Tampered."""
    stream = f"review/{state.opened.review}"
    if not state.opened.activation:
        raise BadInput(f"review `{state.opened.review}` is of a call, and of no policy set")
    payload: Payload | None = (await journal.payloads(stream)).get((0, "/shown"))
    if payload is None or not is_committed(payload, state.opened.shown):
        raise Tampered(f"{stream}#0 /shown: what reviewers were shown is gone or changed")
    shown: dict[str, Any] = plain(payload.value)
    return shown


async def asked_in(journal: Journal, state: ReviewState) -> Asked:
    """Returns who asked, why, and what the reviewers saw. Raises as `shown_of`."""
    args = (await shown_of(journal, state))["args"]
    return Asked(state.opened.principal, args["reason"], args["changes"], args["effect"])


async def files_in(journal: Journal, state: ReviewState) -> tuple[dict[str, str], bytes, str]:
    """Returns the files that a review is of, the tools they were checked against, and until when. Raises Tampered."""
    shown = await shown_of(journal, state)
    found = [await journal.artifact(shown[name]) for name in ("texts", "types")]
    texts, types = (artifact.data if artifact else None for artifact in found)
    if texts is None or types is None:
        raise Tampered(f"review `{state.opened.review}`: the set that it is of is not in the store")
    return orjson.loads(texts)["files"], types, shown["args"]["expires"]


# --- the append --------------------------------------------------------------------------------------


async def _append(
    pen: _Pen, force: Force, body: PolicyActivated, candidate: Candidate, asked: Asked, state: ReviewState | None
) -> Activated:
    if state is not None:
        asked = await asked_in(pen.journal, state)  # what its reviewers have read, and not what is said now
    draft = Draft("policy", force.head, pen.ambient)
    body = msgspec.structs.replace(
        body, by=asked.by, reason=draft.commit("/reason", canonical(asked.reason)), effect=dict(asked.effect)
    )
    text = statement(body, force.head.seq + 1, force.head.hash)
    body = msgspec.structs.replace(body, signature=pen.signer.sign(text).removeprefix(f"{text}\n").rstrip("\n"))
    sealed = seal("policy", force.head, stamp(pen.ambient.now()), pen.actor, body)
    if why := unsound(unseal(sealed.bytes), force.revision, [pen.signer.verifier]):
        raise Tampered(f"revision {body.revision} would not count: {why}")
    entries, payloads = [sealed], list(draft.payloads)
    if state is not None:
        # The approval is used up in the same append that puts the set in force: there is no second use.
        used = Draft(f"review/{state.opened.review}", state.head, pen.ambient)
        entries.append(used.seal(pen.actor, ReviewConsumed(state.opened.review, "", "", state.version)))
    await pen.journal.append(Append(tuple(entries), tuple(payloads), candidate.artifacts))  # THE COMMIT POINT.
    return Activated("activated", body.revision, body.digest, body.previous, body.review)
