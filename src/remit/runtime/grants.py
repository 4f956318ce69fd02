"""What reviewers grant: approvals in advance, written with the ruling that makes them, and revoked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from remit.core.canonical import canonical, plain
from remit.core.entries import (
    Commitment,
    GrantMade,
    GrantRevoked,
    GrantTerms,
    Head,
    PolicyLoaded,
    Sealed,
)
from remit.core.facts import roots
from remit.core.granting import (
    compile_grant,
    covers,
    may_not_revoke,
    revocation,
)
from remit.core.grants import GrantState, GrantStatus, write_condition
from remit.core.people import People, seconds_of
from remit.core.recorded import RecordedPolicies
from remit.core.reviews import ReviewState, ReviewStatus, later
from remit.core.tools import ToolSpec
from remit.errors import BadInput, Conflict, NotEntitled, Stale, Tampered
from remit.runtime.ambient import Ambient, NeverBack, stamp
from remit.runtime.force import look, people_of
from remit.runtime.load import condition_payload, load_grant, load_review, load_run
from remit.runtime.proposals import shown_arguments, tool_of
from remit.runtime.signing import Signer
from remit.runtime.stream import Draft
from remit.store.journal import Append, Journal

_DURATION: Final = re.compile(r"[1-9][0-9]{0,4}[smhd]")
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Grant:
    """What a reviewer wants to grant; `same`: what the ones before them did, exactly.

    `until` is a duration such as `24h`, or a moment with its zone; "" is as long as the queue permits.
    """

    condition: str = ""
    uses: int = 0
    until: str = ""
    same: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """Terms that are about to be signed, and their condition: the value and its salt, as they are committed to."""

    terms: GrantTerms
    salt: bytes
    value: bytes


async def offer(journal: Journal, ambient: Ambient, state: ReviewState, policies: PolicyLoaded, wanted: Grant) -> Offer:
    """Returns the terms for a ruling on this review, checked as far as they can be before they are signed.

    Raises:
        BadInput: the condition doesn't compile for the tool, isn't true of the reviewed call itself, or the uses or
            the time are none; or nobody has granted anything that this could be the same as.
        NotEntitled: the queue doesn't permit it, or not as much.
    """
    limits, place = state.terms.grant, f"queue `{state.queue}`"
    if limits is None or state.opened.in_doubt:
        raise NotEntitled(f"{place} permits no grants: `grant: {{uses: 20, for: 24h}}` in queues.yaml would")
    if state.proposed is not None:
        raise BadInput("an edited call, or an answer, is approved for itself: it grants nothing beside it")
    if wanted.same:
        return await _same(journal, state)
    if not 1 <= wanted.uses <= limits.uses:
        raise NotEntitled(f"{place} permits 1 to {limits.uses} uses of a grant, not {wanted.uses}")
    now = ambient.now()
    latest = later(stamp(now), limits.seconds)
    until = _until(wanted.until, now) if wanted.until else latest
    if not stamp(now) < until <= latest:
        raise NotEntitled(f"{place} permits a grant to last until {latest}, from now, not until {until}")
    run = await load_run(journal, state.opened.run)
    call = run.calls.get(state.opened.call)
    record = call.current if call else None
    if record is None or record.digest != state.opened.digest:
        raise Tampered(f"review `{state.opened.review}` is not of the call that run `{state.opened.run}` has")
    spec = await tool_of(journal, record)
    args = await shown_arguments(journal, state)
    facts = await _shown_facts(journal, state)
    await _check_condition(journal, policies, spec, wanted.condition, args, facts)
    value, salt = write_condition(wanted.condition, args), ambient.entropy(16)
    terms = GrantTerms(
        record.agent, record.version, record.tool, record.tool_digest, run.started.principal, "", wanted.uses, until
    )
    return Offer(terms, salt, value)


async def _same(journal: Journal, state: ReviewState) -> Offer:
    said = [vote.body.grant for vote in state.approving if vote.body.grant is not None]
    if not said:
        raise BadInput("nobody has granted anything here yet: say --grant with the condition")
    if any(one != said[0] for one in said):
        raise BadInput("those before you have granted different things: nothing is the same as all of them")
    payload = await condition_payload(journal, state)
    if payload is None:
        raise Tampered(f"review `{state.opened.review}`: the condition of its grant is gone")
    return Offer(said[0], payload.salt, payload.value)


async def _check_condition(
    journal: Journal, policies: PolicyLoaded, spec: ToolSpec, condition: str, args: Mapping[str, object],
    facts: Mapping[str, object],
) -> None:  # fmt: skip
    recorded = await recorded_policies(journal, policies)
    if recorded.tools.get(spec.name) is None or recorded.tools[spec.name].digest != spec.digest:
        raise Stale(f"tool `{spec.name}` isn't the one that the call was asked for any more: nothing can be granted")
    compiled = compile_grant(condition, spec, recorded.root_types(spec))  # a typo ends here
    if not covers(compiled, roots(facts, spec, args), spec, args):
        raise BadInput("the condition isn't true of the reviewed call itself: that is surely not what you mean")


async def recorded_policies(journal: Journal, body: PolicyLoaded) -> RecordedPolicies:
    """Returns a policy set of the journal. Raises Tampered."""
    artifacts = {digest: await journal.artifact(digest) for digest in (body.types, body.texts)}
    return RecordedPolicies(body, {digest: found.data for digest, found in artifacts.items() if found is not None})


async def _shown_facts(journal: Journal, state: ReviewState) -> Mapping[str, object]:
    shown = (await journal.payloads(f"review/{state.opened.review}"))[0, "/shown"]
    facts: Mapping[str, object] = plain(shown.value)["facts"]
    return facts


def _until(text: str, now: datetime) -> str:
    if _DURATION.fullmatch(text):
        return stamp(now + timedelta(seconds=seconds_of(text)))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadInput(f"`{text}` is no time: say a duration such as `24h`, or a time with its zone")
    return stamp(moment)


def committed(terms: GrantTerms, condition: Commitment) -> GrantTerms:
    """Returns the terms with the commitment to their condition."""
    return msgspec.structs.replace(terms, condition=condition)


def made_by(state: ReviewState, policies: str, ambient: Ambient, actor: str) -> tuple[Sealed, ...]:
    """Returns the entry that begins a grant's stream, where a review has just come to grant something."""
    if state.status is not ReviewStatus.APPROVED or state.granted is None or state.ruled is None:
        return ()
    opened = state.opened
    body = GrantMade(
        opened.review, opened.run, state.granted, opened.queue, state.ruled.disclosed, state.ruling, policies
    )
    return (Draft(f"grant/{opened.review}", Head(), ambient).seal(actor, body),)


async def revoke(
    journal: Journal, ambient: Ambient, grant: str, reviewer: str, signer: Signer | None, reason: str
) -> GrantState:
    """Ends a grant: nothing is intended under it after this append. Returns it as it stands then.

    Raises:
        UnknownId: there is no such grant.
        NotEntitled: they neither rule in its queue nor have granted it.
        Stale: it is used up, over or revoked already.
        BadInput: there is no reason.
    """
    if not reason.strip():
        raise BadInput("a revocation needs a reason: say it with --reason; it is recorded")
    ambient = NeverBack(ambient, await journal.latest())
    for _ in range(_TRIES):
        state = await load_grant(journal, grant)
        review = await load_review(journal, grant)
        force = await look(journal)
        people, policies = await people_of(journal, force), force.said.digest if force.said else ""
        _check_revoking(state, review, people, reviewer, signer, stamp(ambient.now()))
        draft = Draft(f"grant/{grant}", state.head, ambient)
        body = GrantRevoked(grant, reviewer, draft.commit("/reason", canonical(reason)), policies, signer is None)
        if signer is not None:
            body = msgspec.structs.replace(body, signature=await signer.sign(revocation(body)))
        sealed = draft.seal(f"reviewer:{reviewer}", body)
        try:
            await journal.append(Append((sealed,), tuple(draft.payloads), unchanged=(("policy", force.head),)))
        except Conflict:
            continue  # it was used meanwhile, perhaps for the last time
        return await load_grant(journal, grant)
    raise Conflict(f"grant `{grant}` is used faster than it can be revoked: try again")


def _check_revoking(
    state: GrantState, review: ReviewState, people: People, reviewer: str, signer: Signer | None, now: str
) -> None:
    grant = state.made.grant
    if state.status is not GrantStatus.OPEN or not state.is_open(now):
        words = {GrantStatus.USED_UP: "is used up", GrantStatus.REVOKED: f"was revoked at {state.revoked_at}"}
        raise Stale(f"grant `{grant}` {words.get(state.status, f'ended at {state.terms.until}')}")
    if signer is None:
        if not people.single_operator:
            raise NotEntitled("revocations are signed, as rulings are: policy has switched single-operator mode off")
    elif why := may_not_revoke(people, review, reviewer):
        raise NotEntitled(f"grant `{grant}`: {why}")
