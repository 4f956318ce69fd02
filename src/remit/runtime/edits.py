"""What a reviewer changed, or answered, brought from the review's stream to the run's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from remit.core.canonical import plain
from remit.core.entries import Commitment, Payload, ReviewRuled, is_committed
from remit.core.judging import Judged
from remit.core.tools import Call, call_digest
from remit.core.typed import Tool
from remit.errors import InvalidArguments, Tampered
from remit.runtime.stream import Draft, RunStream


@dataclass(frozen=True, slots=True)
class Proposed:
    """The call as it was approved; `payloads` are what a reviewer said, with its salt, and `editor` who."""

    call: Call
    editor: str = ""
    unfit: bool = False
    """The tool itself, which checks more than its schema says, doesn't take it."""
    payloads: tuple[tuple[str, Commitment, Payload], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments that were changed."""
        return tuple(path for path, _, _ in self.payloads if not path.startswith("/"))

    def copy(self, draft: Draft) -> dict[str, Commitment]:
        """Adds the edited arguments to an entry of the run: the same salts, so the same commitments."""
        return {name: draft.keep(f"/edited/{name}", said, payload) for name, said, payload in self.payloads}


async def proposed(stream: RunStream, judged: Judged, tool: Tool[..., object], call: Call) -> Proposed:
    """Returns what the reviewers approved in place of `call`: itself, where nobody proposed anything.

    Raises:
        Tampered: what was proposed is gone, or isn't what was ruled on.
    """
    vote = judged.proposal.proposed if judged.proposal else None
    if judged.proposal is None or vote is None:
        return Proposed(call)
    name = f"review/{judged.proposal.opened.review}"
    stored = await stream.journal.payloads(name)
    wanted = {**{f"/edited/{key}": said for key, said in vote.body.edited.items()}, "/answer": vote.body.answer}
    found = []
    for path, said in wanted.items():
        if said is None:
            continue
        payload = stored.get((vote.seq, path))
        if payload is None or not is_committed(payload, said):
            raise Tampered(f"{name}#{vote.seq} {path}: the payload is gone, or not what the ruling committed to")
        found.append((path.removeprefix("/edited/"), said, payload))
    if vote.body.answer is not None:
        return Proposed(call, vote.body.reviewer, payloads=tuple(found))
    edited = _edited(stream, call, vote.body, found)
    try:
        fits = tool.arguments.normalise(edited.args) == edited.args
    except InvalidArguments:
        fits = False
    return Proposed(edited, vote.body.reviewer, not fits, tuple(found))


def _edited(stream: RunStream, call: Call, body: ReviewRuled, found: list[tuple[str, Commitment, Payload]]) -> Call:
    args = {**call.args, **{name: plain(payload.value) for name, _, payload in found}}
    record = msgspec.structs.replace(call.record, args={**call.record.args, **body.edited})
    record = msgspec.structs.replace(record, digest=call_digest(call.run, call.principal, record))
    if record.digest != body.proposes:
        raise Tampered(f"{stream.name}: call `{call.id}`: the edit is not the one whose digest was ruled on")
    return replace(call, args=args, record=record)


def answer_of(draft: Draft, said: Proposed) -> tuple[Commitment, bytes]:
    """Adds a reviewer's answer to an entry of the run, and returns it. Raises Tampered."""
    for path, commitment, payload in said.payloads:
        if path == "/answer":
            return draft.keep("/result", commitment, payload), payload.value
    raise Tampered(f"call `{said.call.id}`: there is no answer in its review")
