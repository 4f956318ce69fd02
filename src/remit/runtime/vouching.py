"""People vouch for a run's sources while it goes on; the run's owner takes that into account at its next call.

They write to the stream `flow/<run>` and never to the run's. The owner notes in the run's own stream what it has read
there, before the decision that rests on it: so a replay and an auditor see the same, in the same order.
"""

from __future__ import annotations

import msgspec
import orjson

from remit.core.canonical import canonical
from remit.core.entries import Head, RunVouched, Vouched, is_committed
from remit.core.labels import UNTRUSTED
from remit.core.lifecycle import RunState, RunStatus
from remit.core.matching import words
from remit.core.people import People
from remit.core.tools import LABEL
from remit.core.vouching import may_not_vouch, statement_of, unsound_vouching
from remit.errors import BadInput, NotEntitled, Stale, Tampered
from remit.logs import get
from remit.runtime.ambient import Ambient, NeverBack, stamp
from remit.runtime.load import load_run
from remit.runtime.rulings import Reviewer, in_force
from remit.runtime.stream import Draft, RunStream
from remit.store.journal import Append, Journal

_log = get(__name__)
_LONGEST = 500


async def vouch(
    journal: Journal, ambient: Ambient, run: str, who: Reviewer, source: str, reason: str, label: str = ""
) -> Vouched:
    """Records that a person endorses a source for a run; with `label`, that what comes from it doesn't have that.

    Args:
        source: a tool, a part of what it returns as `tool/part`, or, to endorse, a source by its name.

    Raises:
        UnknownId: there is no such run.
        Stale: it is over.
        NotEntitled: policy doesn't let them.
        BadInput: it says nothing that could be meant.
        Conflict: somebody else did at this moment; try again.
    """
    ambient = NeverBack(ambient, await journal.latest())
    state, force = await load_run(journal, run), await in_force(journal)
    if state.status is not RunStatus.RUNNING:
        raise Stale(f"run `{run}` is {state.status} already: nothing of it is decided any more")
    _check_said(source, reason, label)
    if who.signer is None:
        if not force.people.single_operator:
            raise NotEntitled("words without signatures are off: policy has switched single-operator mode off")
    elif why := may_not_vouch(force.people, state.started, _agents(state), who.name, label, stamp(ambient.now())):
        raise NotEntitled(f"run `{run}`: {why}")
    entries = await journal.read(f"flow/{run}")
    draft = Draft(f"flow/{run}", entries[-1].head if entries else Head(), ambient)
    said, why = draft.commit("/source", canonical(source)), draft.commit("/reason", canonical(reason))
    body = Vouched(run, said, who.name, why, force.digest, label, single_operator=who.signer is None)
    if who.signer is not None:
        body = msgspec.structs.replace(body, signature=await who.signer.sign(statement_of(body)))
    if why := unsound_vouching(force.people, state.started, _agents(state), body, stamp(ambient.now())):
        raise NotEntitled(f"run `{run}`: {why}")
    sealed = draft.seal(who.actor, body)
    await journal.append(Append((sealed,), tuple(draft.payloads), unchanged=(("policy", force.head),)))
    return body


def _check_said(source: str, reason: str, label: str) -> None:
    if not reason.strip():
        raise BadInput("say why with --reason: the auditor will read it")
    tool, slash, part = source.partition("/")
    if not words(source) or len(source) > _LONGEST or (slash and not (tool and part)):
        raise BadInput(f"`{source[:80]}` is no source: name a tool, or a tool's part as `tool/part`")
    if label == UNTRUSTED:
        raise BadInput(f"`{UNTRUSTED}` is not removed: endorse the source instead")
    if label and not LABEL.fullmatch(label):
        raise BadInput(f"`{label[:80]}` is no label: lowercase letters, digits and `_.:-`")


def _agents(state: RunState) -> set[str]:
    return {task.agent for task in state.tasks.values() if task.agent}


async def take_into_account(stream: RunStream, people: People) -> None:
    """Notes in the run what people have vouched for since; the run's lineage is then made anew.

    What doesn't count under the policies of now is passed over, and said in the log.

    Raises:
        Tampered: what was vouched for is gone, or isn't what was signed.
    """
    if not people.flow:
        return
    run = stream.state.run
    entries = await stream.journal.read(f"flow/{run}", after=stream.flow_read)
    stored = await stream.journal.payloads(f"flow/{run}") if entries else {}
    for entry in entries:
        body = entry.body
        if entry.seq <= stream.flow_read or not isinstance(body, Vouched):
            continue  # another branch of the run has meanwhile
        stream.flow_read = entry.seq
        if any(one.hash == entry.hash for one in stream.state.vouched):
            continue
        if why := unsound_vouching(people, stream.state.started, _agents(stream.state), body, entry.at):
            _log.warning("vouching passed over", run=run, by=body.by, why=why)
            continue
        payload = stored.get((entry.seq, "/source"))
        if payload is None or not is_committed(payload, body.source):
            raise Tampered(f"flow/{run}#{entry.seq} /source: the payload is gone, or not what was committed to")
        draft = stream.draft()
        taken = RunVouched(entry.hash, body.by, draft.keep("/source", body.source, payload), body.label)
        stream.enqueue(draft, "gate", taken, keep=True)
        stream.lineage = None
        _log.info("vouched for", run=run, by=body.by, label=body.label, source=orjson.loads(payload.value))
