"""What reviewers do: rule, claim, release, hand on, comment. It goes to the review's own stream, never to the run's.

Whether they may is decided for exactly the state that the entry is appended to: the append holds only if neither
the review nor the policy in force has moved since. Where one has, it is decided anew, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from remit.core.canonical import canonical
from remit.core.entries import (
    Commitment,
    Fact,
    Head,
    PolicyLoaded,
    ReviewClaimed,
    ReviewCommented,
    ReviewHandedOn,
    ReviewReleased,
    ReviewRuled,
    commitments,
    unseal,
)
from remit.core.people import IN_DOUBT, People, deadline
from remit.core.reading import codes
from remit.core.reviews import ReviewState, ReviewStatus, apply_review, is_expired
from remit.core.rulings import answer_digest, groups_of, may_not_rule, statement, unsound
from remit.errors import BadInput, Claimed, Conflict, JournalError, NotEntitled, Stale, Tampered
from remit.runtime.ambient import Ambient, NeverBack, stamp
from remit.runtime.editchecks import check_edit
from remit.runtime.force import look, people_of
from remit.runtime.grants import Grant, committed, made_by, offer
from remit.runtime.load import load_review
from remit.runtime.proposals import edited_call, fitting_answer, standing_arguments
from remit.runtime.signing import Signer
from remit.runtime.stream import Draft
from remit.store.journal import Append, Journal
from remit.store.payloads import commit

_TRIES = 20
"""How often it is tried again where others write to the same review meanwhile."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The policy set that the journal has in force, and who is in charge by it."""

    head: Head
    digest: str
    people: People
    loaded: PolicyLoaded


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who acts: the owner of a key, or in single-operator mode this machine's user."""

    name: str
    signer: Signer | None = None
    on_behalf: str = ""

    @property
    def actor(self) -> str:
        """How entries name who wrote them."""
        return f"reviewer:{self.name}"


@dataclass(frozen=True, slots=True)
class Said:
    """A ruling to be made.

    Attributes:
        edited: arguments to change, as JSON values.
        answer: canonical JSON to give the agent in the tool's place; None for none.
        digest: the beginning of the digest that the reviewer looked at; "" for whatever is there.
        seen: the codes at the ends of the arguments that were cut where the review was shown.
        grant: what to approve in advance beside it.
    """

    approved: bool
    reason: str = ""
    edited: Mapping[str, object] = field(default_factory=dict)
    answer: bytes | None = None
    digest: str = ""
    seen: tuple[str, ...] = ()
    grant: Grant | None = None


async def in_force(journal: Journal) -> InForce:
    """Returns the policy set in force. Raises BadInput: the journal has none, or Tampered."""
    force = await look(journal)
    if force.said is None:
        raise BadInput("no policy was ever in force in this store: run something first")
    return InForce(force.head, force.said.digest, await people_of(journal, force), force.said)


async def whoever_has(journal: Journal, ambient: Ambient, signer: Signer | None, user: str) -> Reviewer:
    """Returns who acts: whose key it is; or `user`, where there is no key and policy permits to rule without.

    Raises:
        NotEntitled: the key is nobody's now, or it takes one.
    """
    people = (await in_force(journal)).people
    if signer is None:
        if not people.single_operator:
            raise NotEntitled(
                "rulings are signed here: name your key with --key, REMIT_REVIEW_KEY or `review_key` in remit.toml;"
                " rulings without signatures are off: `single_operator: true` in policies/queues.yaml would switch"
                " them on, and every entry then says so"
            )
        return Reviewer(user)
    owner = people.owner(signer.public.text, stamp(ambient.now()))
    if owner is None:
        if signer.public.text in people.revoked:
            raise NotEntitled(f"key {signer.public.fingerprint} was revoked")
        raise NotEntitled(
            f"key {signer.public.fingerprint} is no reviewer's now: reviewers.yaml says whose keys count, and"
            " `remit reviewers list` who was revoked"
        )
    return Reviewer(owner.id, signer)


async def why_not(journal: Journal, ambient: Ambient, review: str, reviewer: Reviewer) -> str:
    """Returns why somebody can't rule on a review now; "" where they can. Raises UnknownId, Tampered."""
    state, force = await load_review(journal, review), await in_force(journal)
    try:
        _check(state, force.people, reviewer, NeverBack(ambient, await journal.latest()))
    except (Stale, NotEntitled, Claimed) as error:
        return str(error)
    return ""


async def rule(journal: Journal, ambient: Ambient, review: str, reviewer: Reviewer, said: Said) -> ReviewState:
    """Records what a reviewer says, and returns the review as it stands after it.

    Raises:
        UnknownId: no such review.
        NotEntitled: they may not rule on it.
        Claimed: somebody else holds it.
        Stale: somebody ruled first, it expired, or it isn't what they looked at any more.
        BadInput: a reason is missing, the queue doesn't permit what they say, or policy denies the call as edited.
    """
    ambient = NeverBack(ambient, await journal.latest())
    state = await load_review(journal, review)
    force = await in_force(journal)
    _check(state, force.people, reviewer, ambient)
    _check_said(state, said)
    if said.approved:
        await _check_shown(journal, state, said)
    drafted = await _draft(journal, ambient, state, force, reviewer, said)
    if said.approved and said.answer is None and (said.edited or (state.proposed and state.proposed.body.edited)):
        await check_edit(journal, state, force.loaded, said.edited, reviewer.name, stamp(ambient.now()))
    body = drafted.body
    if reviewer.signer is not None:
        body = msgspec.structs.replace(body, signature=await reviewer.signer.sign(statement(body)))
        if why := unsound(force.people, state, body, stamp(ambient.now())):
            raise NotEntitled(f"review `{review}`: {why}")

    def make(state: ReviewState, force: InForce, draft: Draft) -> Fact:
        if (state.version, state.expires, force.digest) != (body.digest, body.expires, body.policies):
            raise Stale(f"review `{review}` or its policy has changed since you looked: look again")
        for path, (salt, value) in drafted.values.items():
            draft.payloads.append(commit(draft.stream, state.head.seq + 1, path, value, salt)[1])
        return body

    return await _append(journal, ambient, review, reviewer, make)


async def claim(journal: Journal, ambient: Ambient, review: str, reviewer: Reviewer) -> ReviewState:
    """Keeps others from ruling for the time the queue says. Raises as `rule`."""

    def make(state: ReviewState, _: InForce, __: Draft) -> Fact:
        until = min(stamp(ambient.now() + timedelta(seconds=state.terms.claim)), state.expires)
        return ReviewClaimed(review, reviewer.name, until)

    return await _append(journal, ambient, review, reviewer, make)


async def release(journal: Journal, ambient: Ambient, review: str, reviewer: Reviewer) -> ReviewState:
    """Gives a claim up: by separation of duties, who does so doesn't rule on it. Raises as `rule`."""

    def make(state: ReviewState, _: InForce, __: Draft) -> Fact:
        if state.claimed is None or state.claimed.reviewer != reviewer.name:
            raise Stale(f"review `{review}` is not claimed by `{reviewer.name}`")
        return ReviewReleased(review, reviewer.name)

    return await _append(journal, ambient, review, reviewer, make)


async def hand_on(journal: Journal, ambient: Ambient, review: str, reviewer: Reviewer, to: str) -> ReviewState:
    """Puts a review into another queue, where it is ruled on afresh. Raises as `rule`."""

    def make(state: ReviewState, force: InForce, _: Draft) -> Fact:
        queue = force.people.queue(to)
        if queue is None or to not in state.terms.hand_on_to:
            known = ", ".join(f"`{name}`" for name in state.terms.hand_on_to) or "no other queue"
            raise BadInput(f"queue `{state.queue}` hands on to {known}, not to `{to}`")
        return ReviewHandedOn(review, to, stamp(deadline(ambient.now(), queue)), queue.terms, reviewer.name)

    return await _append(journal, ambient, review, reviewer, make)


async def comment(journal: Journal, ambient: Ambient, review: str, reviewer: Reviewer, text: str) -> ReviewState:
    """Adds a remark for the other reviewers. Raises as `rule`; a claim of another's doesn't matter."""
    if not text.strip():
        raise BadInput("a comment says something")

    def make(_: ReviewState, __: InForce, draft: Draft) -> Fact:
        return ReviewCommented(review, reviewer.name, draft.commit("/comment", canonical(text)))

    return await _append(journal, ambient, review, reviewer, make, claimed=True)


# --- the transaction ---------------------------------------------------------------------------------


async def _append(
    journal: Journal,
    ambient: Ambient,
    review: str,
    reviewer: Reviewer,
    make: Callable[[ReviewState, InForce, Draft], Fact],
    *,
    claimed: bool = False,
) -> ReviewState:
    """Appends what `make` says of the review as it is; only if it still is so, under the policy still in force."""
    ambient = NeverBack(ambient, await journal.latest())
    for _ in range(_TRIES):
        state, force = await load_review(journal, review), await in_force(journal)
        _check(state, force.people, reviewer, ambient, claimed=claimed)
        draft = Draft(f"review/{review}", state.head, ambient)
        sealed = draft.seal(reviewer.actor, make(state, force, draft))
        try:
            after = apply_review(state, unseal(sealed.bytes))
        except Tampered as error:  # what the fold refuses is never written
            raise Stale(str(error).partition(": ")[2]) from error
        try:
            made = made_by(after, force.digest, ambient, reviewer.actor)
            await journal.append(Append((sealed, *made), tuple(draft.payloads), unchanged=(("policy", force.head),)))
        except Conflict:
            continue
        return after
    raise Conflict(f"review `{review}` changes faster than it can be ruled on: try again")


def _check(state: ReviewState, people: People, reviewer: Reviewer, ambient: Ambient, *, claimed: bool = False) -> None:
    """Raises where this person can't do anything with the review now."""
    now = stamp(ambient.now())
    place = f"review `{state.opened.review}`"
    if state.ruled is not None:
        word = "approved" if state.ruled.approved else "denied"
        raise Stale(f"{place} was {word} by {state.ruled.reviewer} at {state.ruled_at}: a ruling is final")
    if state.status is ReviewStatus.WITHDRAWN:
        raise Stale(f"{place} was withdrawn: its call was refused or decided without it")
    if not state.waits or is_expired(state, now):
        raise Stale(f"{place} expired at {state.expires}: an expired review can't be ruled on")
    if reviewer.signer is None:
        if not people.single_operator:
            raise NotEntitled("rulings without signatures are off: policy has switched single-operator mode off")
    elif why := may_not_rule(people, state, reviewer.name, now, reviewer.on_behalf):
        raise NotEntitled(f"{place}: {why}")
    holder = state.holder(now)
    if holder not in ("", reviewer.name) and not claimed:
        until = state.claimed.until if state.claimed else ""
        raise Claimed(f"{place} is claimed by {holder} until {until}")


def _check_said(state: ReviewState, said: Said) -> None:
    """Raises where the queue doesn't permit what is said."""
    terms, place = state.terms, f"queue `{state.queue}`"
    if not said.approved and not said.reason.strip():
        raise BadInput("a denial needs a reason: say it with --reason: the agent and the auditor will read it")
    if (said.edited or said.answer is not None) and not said.approved:
        raise BadInput("a denial changes nothing: deny it as it is, or approve it with the edit")
    if said.edited and said.answer is not None:
        raise BadInput("a call is edited, or answered in its tool's place: not both")
    if said.grant is not None and (not said.approved or said.edited or said.answer is not None):
        raise BadInput("a grant goes with an approval of the call as it is: not with an edit, an answer or a denial")
    if terms.reason and not said.reason.strip():
        raise BadInput(f"{place} wants a reason for every ruling: say it with --reason")
    if said.digest and not state.version.startswith(said.digest.lower()):
        raise Stale(f"review `{state.opened.review}` is of call {state.version[:12]}, not of {said.digest}: look again")
    if refused := sorted(set(said.edited) - set(terms.edit)):
        known = ", ".join(f"`{name}`" for name in terms.edit) or "nothing"
        raise NotEntitled(f"{place} permits {known} to be edited, not `{refused[0]}`")
    if said.answer is not None and not terms.respond:
        raise NotEntitled(f"{place} doesn't permit to answer in the tool's place")
    if state.opened.in_doubt and (said.edited or said.answer is not None):
        raise BadInput(f"a call in queue `{IN_DOUBT}` is run again as it is, or given up")


async def _check_shown(journal: Journal, state: ReviewState, said: Said) -> None:
    """What can't be shown as it was recorded can't be approved, nor what was cut and then not read to its end."""
    review = state.opened.review
    try:
        args = await standing_arguments(journal, state)
    except Tampered as error:
        raise Tampered(f"{error}: it can only be denied") from error
    if said.answer is not None:
        return  # nothing of it runs
    for name, code in codes(args, state.version).items():
        if name not in said.edited and code not in said.seen:
            raise BadInput(
                f"argument `{name}` is too long to be shown at once: read it with `remit review show {review}"
                f" --arg {name}`, and repeat this with --seen and the code at its end"
            )


@dataclass(frozen=True, slots=True)
class _Drafted:
    """A ruling before it is signed, and the values it commits to, with their salts."""

    body: ReviewRuled
    values: Mapping[str, tuple[bytes, bytes]]


async def _draft(
    journal: Journal, ambient: Ambient, state: ReviewState, force: InForce, reviewer: Reviewer, said: Said
) -> _Drafted:
    opened, values = state.opened, dict[str, tuple[bytes, bytes]]()

    def promise(path: str, value: bytes, salt: bytes = b"") -> Commitment:
        values[path] = salt or ambient.entropy(16), value
        return commit("", 0, path, value, values[path][0])[0]

    edited: dict[str, Commitment] = {}
    answer, proposes, grant = None, "", None
    if said.grant is not None:
        offered = await offer(journal, ambient, state, force.loaded, said.grant)
        grant = committed(offered.terms, promise("/grant", offered.value, offered.salt))
    if said.edited:
        call = await edited_call(journal, state, said.edited)
        edited = {name: promise(f"/edited/{name}", canonical(value)) for name, value in call.changed.items()}
        proposes = call.digest(edited)
    elif said.answer is not None:
        answer = promise("/answer", await fitting_answer(journal, state, said.answer))
        proposes = answer_digest(opened.digest, answer)
    body = ReviewRuled(
        opened.review,
        state.version,
        said.approved,
        reviewer.name,
        tuple(hit.digest for hit in opened.disclosed),
        promise("/reason", canonical(said.reason)) if said.reason else None,
        single_operator=reviewer.signer is None,
        expires=state.expires,
        policies=force.digest,
        groups=groups_of(force.people, reviewer.name, reviewer.on_behalf) if reviewer.signer else (),
        on_behalf=reviewer.on_behalf,
        edited=edited,
        answer=answer,
        proposes=proposes,
        grant=grant,
    )
    if set(values) != set(commitments(body)):
        raise JournalError(f"review `{opened.review}`: the ruling doesn't commit to what it says")
    return _Drafted(body, values)
