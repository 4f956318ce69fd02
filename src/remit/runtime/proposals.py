"""What a reviewer proposes in place of a call, checked against its tool before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from remit.core.canonical import canonical, plain
from remit.core.entries import CallRecord, Commitment, is_committed
from remit.core.foreign import ForeignArguments
from remit.core.reviews import ReviewState
from remit.core.tools import JsonSchema, ToolSpec, call_digest
from remit.errors import BadInput, InvalidArguments, Tampered
from remit.runtime.load import load_run
from remit.store.journal import Journal

_DECIMAL = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?")


@dataclass(frozen=True, slots=True)
class EditedCall:
    """A call with other arguments: `changed` are all that differ from what the review opened on."""

    run: str
    principal: str
    record: CallRecord
    changed: Mapping[str, object]

    def digest(self, edited: Mapping[str, Commitment]) -> str:
        """Returns the digest of the call with these commitments in place of its own."""
        record = msgspec.structs.replace(self.record, args={**self.record.args, **edited})
        return call_digest(self.run, self.principal, record)


async def edited_call(journal: Journal, state: ReviewState, edited: Mapping[str, object]) -> EditedCall:
    """Returns the review's call as it stands, with `edited` arguments.

    Raises:
        BadInput: they don't fit the tool's schema, or change nothing.
        Tampered: the call isn't what the review says it is.
    """
    opened = state.opened
    run = await load_run(journal, opened.run)
    call = run.calls.get(opened.call)
    record = call.current if call else None
    if record is None or record.digest != opened.digest:
        raise Tampered(f"review `{opened.review}` is not of the call that run `{opened.run}` has")
    shown = await shown_arguments(journal, state)
    before = await standing_arguments(journal, state)
    after = {**before, **edited}
    if canonical(after) == canonical(before):
        raise BadInput("the edit changes nothing: approve it as it is")
    spec = await tool_of(journal, record)
    _check(spec.normal, after, spec)
    changed = {name: value for name, value in after.items() if canonical(value) != canonical(shown.get(name))}
    # One that was changed back is said again, so that it is clear what is proposed.
    return EditedCall(run.run, run.started.principal, record, changed or dict(edited))


async def shown_arguments(journal: Journal, state: ReviewState) -> dict[str, object]:
    """Returns the arguments that the review shows. Raises Tampered."""
    stream = f"review/{state.opened.review}"
    shown = (await journal.payloads(stream)).get((0, "/shown"))
    if shown is None or not is_committed(shown, state.opened.shown):
        raise Tampered(f"{stream}#0 /shown: what reviewers are to be shown is gone or changed")
    args: dict[str, object] = plain(shown.value)["args"]
    return args


async def standing_arguments(journal: Journal, state: ReviewState) -> dict[str, object]:
    """Returns the arguments as they stand: as shown, with what reviewers have changed. Raises Tampered."""
    return {**await shown_arguments(journal, state), **await _proposed(journal, state)}


async def _proposed(journal: Journal, state: ReviewState) -> dict[str, object]:
    if state.proposed is None:
        return {}
    seq, stored = state.proposed.seq, await journal.payloads(f"review/{state.opened.review}")
    found = {}
    for name, said in state.proposed.body.edited.items():
        payload = stored.get((seq, f"/edited/{name}"))
        if payload is None or not is_committed(payload, said):
            raise Tampered(f"review/{state.opened.review}#{seq} /edited/{name}: it is gone or changed")
        found[name] = plain(payload.value)
    return found


async def fitting_answer(journal: Journal, state: ReviewState, answer: bytes) -> bytes:
    """Returns an answer that fits the tool's result, as canonical JSON. Raises BadInput where it doesn't."""
    run = await load_run(journal, state.opened.run)
    call = run.calls.get(state.opened.call)
    if call is None or call.record is None:
        raise Tampered(f"review `{state.opened.review}` is of no call of run `{state.opened.run}`")
    spec = await tool_of(journal, call.record)
    # A result is any JSON value: as the one property of an object, it is checked as arguments are.
    schema = {key: value for key, value in spec.result.items() if key == "$defs"}
    whole = {**schema, "type": "object", "properties": {"answer": spec.result}, "required": ["answer"]}
    try:
        value = plain(answer)
        data = canonical(value)
    except ValueError as error:
        raise BadInput(f"the answer is no JSON value: {error}") from error
    _check(whole, {"answer": value}, spec)
    return data


async def tool_of(journal: Journal, record: CallRecord) -> ToolSpec:
    """Returns the spec of the tool that was called. Raises Tampered."""
    artifact = await journal.artifact(record.tool_digest)
    if artifact is None:
        raise Tampered(f"the spec of tool `{record.tool}` is not in the store")
    return ToolSpec.from_document(plain(artifact.data))


def _check(schema: JsonSchema, value: Mapping[str, object], spec: ToolSpec) -> None:
    try:
        ForeignArguments(schema, spec.name, as_it_is=True).normalise(value)
    except InvalidArguments as error:
        raise BadInput(str(error)) from error
    for name in spec.decimals:
        found = value.get(name)
        if name in value and not (isinstance(found, str) and _DECIMAL.fullmatch(found)):
            raise BadInput(f"tool `{spec.name}`: `{name}` must be a decimal number in quotes, such as `12.50`")
