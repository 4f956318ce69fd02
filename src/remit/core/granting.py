"""Whether a grant covers a call: what it is bound to, under the policies of now; its condition, typed.

The same functions say so when a call is about to use a grant, and when an auditor looks.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from remit.core.canonical import canonical
from remit.core.conditions import Condition, Environment, compile_condition
from remit.core.entries import CallRecord, GrantRevoked, GrantTerms, RunStarted
from remit.core.facts import this_of, this_type
from remit.core.grants import GrantState
from remit.core.identity import identity
from remit.core.people import People
from remit.core.reviews import ReviewState, later
from remit.core.rulings import counts, revoked_by, signed_by
from remit.core.tools import JsonSchema, ToolSpec

KIND = "remit revocation v1"
_UNSEEN = ("approval", "authority", "content", "provenance")
"""What a grant's condition can't see: whether it was approved is what is asked, and a run follows where values came
from only where a rule looks at it."""


def compile_grant(source: str, tool: ToolSpec, roots: Mapping[str, JsonSchema]) -> Condition:
    """Returns a grant's condition for a tool; `roots` are the names that rules on it see. Raises ConditionError."""
    seen = {name: schema for name, schema in roots.items() if name not in _UNSEEN}
    return compile_condition(source, Environment({**seen, "this": this_type(tool)}))


def covers(condition: Condition, roots: Mapping[str, object], tool: ToolSpec, reviewed: Mapping[str, object]) -> bool:
    """Whether a condition is true of a call; an error is a no. `reviewed` are the reviewed call's arguments."""
    return condition.evaluate({**roots, "this": this_of(tool, reviewed)}) is True


def is_of(terms: GrantTerms, record: CallRecord) -> str:
    """Returns why a call isn't one that these terms can be about; "" where it is."""
    if (record.agent, record.version) != (terms.agent, terms.version):
        return f"it is for agent `{terms.agent}`, version `{terms.version}`"
    if (record.tool, record.tool_digest) != (terms.tool, terms.tool_digest):
        return f"it is for another tool than this `{record.tool}`, or for another version of it"
    return ""


def unusable(
    grant: GrantState, review: ReviewState, record: CallRecord, started: RunStarted, at: str, policies: str,
    people: People,
) -> str:  # fmt: skip
    """Returns why a grant can't be used by a call at a moment, its condition aside; "" where it can.

    Args:
        review: in which it was made.
        started: of the run that the call is in: whoever asked there can't have granted it either.
        policies: digest of the set in force, and `people` those in charge by it.
    """
    terms, queue = grant.terms, people.queue(review.queue)
    then, limits = review.terms.grant, queue.terms.grant if queue else None
    if not grant.is_open(at):
        return f"it is {grant.status.value}, and ends at {terms.until}"
    if why := is_of(terms, record):
        return why
    if started.principal != terms.principal:
        return "it is for another principal"
    if then is None or limits is None:
        return f"queue `{review.queue}` permits no grants"
    if grant.used >= limits.uses or at >= later(grant.at, limits.seconds):
        return f"queue `{review.queue}` permits {limits.uses} uses, for {limits.seconds} s"
    if policies != grant.made.policies and not (then.outlives_policies and limits.outlives_policies):
        return f"it ended with policy set {grant.made.policies[:12]}"
    opened = msgspec.structs.replace(
        review.opened, principal=started.principal, starter=started.starter, agent=record.agent
    )
    if not counts(people, review) or not counts(people, msgspec.structs.replace(review, opened=opened)):
        return "who granted it may not, or not for this run, or they aren't enough any more"
    return ""


def misstated(grant: GrantState, review: ReviewState | None) -> str:
    """Returns what a grant says that its review doesn't; "" where they agree."""
    made = grant.made
    if review is None or review.ruled is None or review.granted is None:
        return "there is no review that grants anything before it"
    ruled, opened = review.ruled, review.opened
    said = (made.grant, made.run, made.terms, made.queue, made.disclosed, made.ruling, made.policies)
    if said != (
        opened.review, opened.run, review.granted, opened.queue, ruled.disclosed, review.ruling, ruled.policies,
    ):  # fmt: skip
        return "it isn't the grant that was made in its review"
    return ""


# --- revoking ------------------------------------------------------------------------------------------


def revocation(body: GrantRevoked) -> bytes:
    """Returns what a revocation's signature is over: all that the entry's body says, but the signature."""
    unsigned = msgspec.structs.replace(body, signature="")
    return canonical({**msgspec.json.decode(msgspec.json.encode(unsigned)), "statement": KIND})


def may_not_revoke(people: People, review: ReviewState, reviewer: str) -> str:
    """Returns why somebody may not end a grant; "" where they may: whoever rules in its queue, or granted it.

    Separation of duties doesn't matter: nothing is allowed by it.
    """
    queue = people.queue(review.queue)
    grantors = {name for vote in review.approving for name in vote.names}
    if why := revoked_by(people, reviewer):
        return why
    if identity(reviewer) in grantors or (queue is not None and reviewer in people.members(queue)):
        return ""
    return f"`{reviewer}` is no reviewer of queue `{review.queue}`, and has not granted it"


def unsound_revocation(people: People, review: ReviewState, body: GrantRevoked, at: str) -> str:
    """Returns why a revocation wasn't one under these policies; "" where it was."""
    if body.single_operator and not body.signature:
        return "" if people.single_operator else "it was made in single-operator mode, which policy doesn't permit"
    why = signed_by(people, body.reviewer, body.signature, revocation(body), at)
    return why or may_not_revoke(people, review, body.reviewer)
