"""A decided call as the journal has it: what was given, seen and decided, to explain it or decide it again."""

from __future__ import annotations

from dataclasses import dataclass

from remit.core.canonical import plain
from remit.core.decide import Approval
from remit.core.entries import CallDecidedAgain, PolicyLoaded, VerdictRecord, is_committed
from remit.core.people import People
from remit.core.recorded import RecordedPolicies
from remit.core.rulings import counts
from remit.errors import BadInput, Tampered, UnknownId
from remit.policykit.situations import Situation
from remit.runtime.load import load_grant, load_review, load_run
from remit.store.journal import Journal


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """The latest decision on a call: `types` names the artifact with the tools, `texts` the policies' files."""

    situation: Situation
    approval: Approval | None
    verdict: VerdictRecord
    policies: RecordedPolicies
    types: bytes


async def recorded_call(journal: Journal, run: str, id: str) -> RecordedCall:
    """Returns the latest decision on a call.

    Raises:
        UnknownId: there is no such call.
        BadInput: it was never decided, or its arguments or facts were erased.
        Tampered: what is stored isn't what was recorded.
    """
    state = await load_run(journal, run)
    call = state.calls.get(id)
    if call is None:
        known = ", ".join(sorted(state.calls)[:5])
        raise UnknownId(f"run `{run}` has no call `{id}`; its calls begin with {known or 'none'}")
    record, verdict = call.record, call.verdict
    if record is None or verdict is None:
        raise BadInput(f"call `{id}` was rejected before any policy was asked: its arguments don't fit the tool")
    entries = await journal.read(f"run/{run}", after=call.decided - 1)
    payloads = await journal.payloads(f"run/{run}")
    body = entries[0].body
    wanted = {(seq, path): said for seq, path, said in call.places.values()}
    wanted[call.decided, "/facts"] = getattr(body, "facts", "")
    values = {}
    for place, said in wanted.items():
        payload = payloads.get(place)
        if payload is None:
            raise BadInput(f"call `{id}` can't be explained: its {place[1]} was erased")
        if not is_committed(payload, said):
            raise Tampered(f"run/{run}#{place[0]} {place[1]}: the payload is not what the entry committed to")
        values[place[1]] = plain(payload.value)
    policies, types = await _policies(journal, verdict.policies, record.tool, record.tool_digest)
    args = {name: values[path] for name, (_, path, _) in call.places.items()}
    version = call.current.digest if call.current else ""
    approval = None
    if isinstance(body, CallDecidedAgain):
        approval = await _approval(journal, body, version, policies.people())
    elif call.grants:
        grants = [await load_grant(journal, grant) for grant in call.grants]
        approval = Approval({one.made.queue: frozenset(one.made.disclosed) for one in grants})
    situation = Situation(policies.tools[record.tool], args, values["/facts"], approval is not None)
    return RecordedCall(situation, approval, verdict, policies, types)


async def _policies(journal: Journal, digest: str, tool: str, tool_digest: str) -> tuple[RecordedPolicies, bytes]:
    for entry in reversed(await journal.read("policy")):
        body = entry.body
        if isinstance(body, PolicyLoaded) and body.digest == digest:
            artifacts = {name: await journal.artifact(name) for name in (body.types, body.texts)}
            data = {name: found.data for name, found in artifacts.items() if found is not None}
            policies = RecordedPolicies(body, data)
            if tool in policies.tools and policies.tools[tool].digest == tool_digest:
                return policies, data[body.types]
    raise Tampered(f"policy set {digest[:12]} was never loaded for this tool `{tool}`")


async def _approval(journal: Journal, body: CallDecidedAgain, version: str, people: People) -> Approval:
    disclosed: dict[str, frozenset[str]] = {}
    for ruling in body.rulings:
        review = await load_review(journal, ruling.review)
        if review.ruled is not None and review.version == version and counts(people, review):
            queue = review.opened.queue
            disclosed[queue] = disclosed.get(queue, frozenset()) | frozenset(review.ruled.disclosed)
    return Approval(disclosed)


async def recorded_texts(journal: Journal, body: PolicyLoaded) -> dict[str, str]:
    """Returns the files of a policy set that was in force. Raises Tampered."""
    found = await journal.artifact(body.texts)
    if found is None:
        raise Tampered(f"policy set {body.digest[:12]}: its files are not there")
    texts: dict[str, str] = plain(found.data)["files"]
    return texts
