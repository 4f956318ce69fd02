"""Who may rule, and whether a ruling counts: identity, entitlement, separation of duties and signature.

The same functions say so when somebody rules, when a worker is about to act on it, and when an auditor looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from remit.core.canonical import canonical, digest
from remit.core.entries import Commitment, ReviewRuled
from remit.core.identity import spelt
from remit.core.people import People, Person, is_within
from remit.core.reviews import ReviewState, Vote, latest, seats_filled
from remit.core.sshsig import check_signature, read_signature
from remit.errors import Tampered

KIND = "remit ruling v1"


def statement(body: ReviewRuled) -> bytes:
    """Returns what a ruling's signature is over: all that the entry's body says, but the signature."""
    unsigned = msgspec.structs.replace(body, signature="")
    return canonical({**msgspec.json.decode(msgspec.json.encode(unsigned)), "statement": KIND})


def answer_digest(call: str, answer: Commitment) -> str:
    """Returns the digest that names an answer given in the tool's place to the call with this digest."""
    return digest({"answer": answer, "call": call})


def may_not_rule(people: People, review: ReviewState, reviewer: str, at: str, on_behalf: str = "") -> str:
    """Returns why this reviewer may not rule on a review at a moment; "" where they may.

    Whoever asked may not: the principal, who started the run, the agent; nor who claimed the review and let it
    go; nor a delegate of any of these; nor anybody on behalf of one of them.
    """
    queue = people.queue(review.queue)
    person = people.persons.get(reviewer)
    if queue is None:
        return f"there is no queue `{review.queue}` any more"
    if person is None or not is_within(person.since, at, person.until):
        return f"`{reviewer}` is no reviewer now"
    if why := revoked_by(people, reviewer):
        return why
    behalf = people.persons.get(on_behalf) if on_behalf else person
    if behalf is None or (on_behalf and not people.delegated(on_behalf, reviewer, review.queue, at)):
        return f"`{on_behalf}` has not delegated queue `{review.queue}` to `{reviewer}`"
    if behalf.id not in people.members(queue):
        return f"`{behalf.id}` is no reviewer of queue `{review.queue}`"
    for role, names in _kept_out(people, review).items():
        out = [one for one in people.persons.values() if one.is_one_of(names)]
        for one in (person, behalf):
            if one.is_one_of(names):
                shown = next(name for name in names if one.is_one_of((name,)))
                return f"`{one.id}` {role}" + ("" if shown == one.id else f", as `{spelt(shown)}`")
        for other in out:
            if people.delegated(other.id, reviewer, review.queue, at):
                return f"`{reviewer}` is a delegate of `{other.id}`, who {role}"
    return ""


def revoked_by(people: People, reviewer: str, signature: str = "") -> str:
    """Returns why a revocation keeps a reviewer, or a signature's key, from having a word; "" where none does."""
    if people.is_revoked(reviewer):
        return f"`{reviewer}` was revoked as a reviewer"
    try:
        key = read_signature(signature).key if signature and people.revoked else None
    except Tampered as error:
        return str(error)
    return f"key {key.fingerprint} was revoked" if key is not None and key.text in people.revoked else ""


def _kept_out(people: People, review: ReviewState) -> dict[str, tuple[str, ...]]:
    """Names that may not rule, by what keeps them out; what the queue's policy of now relaxes is left out."""
    queue = people.queue(review.queue)
    relaxed = queue.terms.may_also_rule if queue else ()
    opened = review.opened
    found: dict[str, tuple[str, ...]] = {
        "is the principal this run acts for": (opened.principal,),
        "is the agent that asks": (opened.agent,),
    }
    if "starter" not in relaxed:
        found["started the run"] = (opened.starter,)
    if "released" not in relaxed:
        found["claimed this review and let it go"] = review.released
    return {role: tuple(name for name in names if name) for role, names in found.items()}


def groups_of(people: People, reviewer: str, on_behalf: str = "") -> tuple[str, ...]:
    """Returns the groups that a ruling brings: of the person in whose place it counts."""
    person: Person | None = people.persons.get(on_behalf or reviewer)
    return tuple(sorted(person.groups)) if person else ()


def unsound(people: People, review: ReviewState, body: ReviewRuled, at: str) -> str:
    """Returns why a ruling given at a moment doesn't count under these policies; "" where it does."""
    if body.single_operator and not body.signature:
        return "" if people.single_operator else "it was made in single-operator mode, which policy doesn't permit"
    if body.single_operator or not body.signature:
        return "it is not signed, and was not made in single-operator mode"
    if why := signed_by(people, body.reviewer, body.signature, statement(body), at):
        return why
    if not set(body.groups) <= set(groups_of(people, body.reviewer, body.on_behalf)):
        return f"`{body.on_behalf or body.reviewer}` is not in all the groups it says"
    return may_not_rule(people, review, body.reviewer, at, body.on_behalf)


def signed_by(people: People, reviewer: str, signature: str, message: bytes, at: str) -> str:
    """Returns why a signature over `message` isn't this reviewer's at a moment; "" where it is."""
    try:
        key = check_signature(signature, message)
    except Tampered as error:
        return str(error)
    if why := revoked_by(people, reviewer, signature):
        return why
    owner = people.owner(key.text, at)
    return "" if owner is not None and owner.id == reviewer else f"key {key.fingerprint} was not `{reviewer}`'s then"


def counts(people: People, review: ReviewState) -> bool:
    """Whether an approved review is one under the policies of now, too: who ruled still may, and they are enough.

    The terms are both the ones it was opened on and the queue's of now, so that neither can be slackened or
    passed over by the other.
    """
    queue = people.queue(review.queue)
    if queue is None:
        return False
    sound = [vote for vote in review.approving if not unsound(people, review, vote.body, vote.at)]
    seats = [vote.body.groups for vote in sound]
    return seats_filled(review.terms, seats) and seats_filled(queue.terms, seats)


def names_of(votes: Sequence[Vote]) -> tuple[str, ...]:
    """Returns who gave these votes, in order; one given on behalf of another says so."""
    said = [vote.body for vote in latest(votes)]
    return tuple(f"{one.reviewer} for {one.on_behalf}" if one.on_behalf else one.reviewer for one in said)
