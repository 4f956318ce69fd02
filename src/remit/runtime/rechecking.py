"""What others have decided, checked before it is acted on: with the code that checks an export."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from remit.checks import Checks, Counted
from remit.core.canonical import commitment
from remit.core.entries import (
    CallInDoubt,
    CallRecord,
    Entry,
    Payload,
    PolicyActivated,
    PolicyLoaded,
    RunStarted,
    commitments,
)
from remit.core.lifecycle import CallStatus
from remit.core.recorded import UNFIT
from remit.errors import RemitError, Tampered
from remit.runtime.stream import RunStream
from remit.store.journal import Journal

_TOLD = 3
"""How many problems an error names."""


async def recheck(stream: RunStream, call: str) -> None:
    """Checks what let a call begin that this worker is about to run again, or to ask its tool about.

    The decision is made again from the facts and the policy set that were recorded, and the rulings and grants that it
    rests on are checked, as `remit audit verify` does. All calls of the run that have begun by then are checked at
    once, each once for as long as this worker owns the run.

    Raises:
        Tampered: something in the run doesn't follow, or the decision can't be made again: the call isn't run.
    """
    if call in stream.rechecked:
        return
    begun = (CallStatus.INTENDED, CallStatus.IN_DOUBT)
    wanted = {id for id, one in stream.state.calls.items() if one.status in begun} - stream.rechecked
    await stream.flushed()
    problems = await problems_of(stream.journal, stream.state.run, wanted)
    if problems:
        more = f", and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        raise Tampered(
            f"run `{stream.state.run}`: call `{call}` isn't run again, because what let it begin doesn't hold:"
            f" {'; '.join(problems[:_TOLD])}{more}: export the run and look at it with `remit audit verify`"
        )
    stream.rechecked |= wanted


async def problems_of(journal: Journal, run: str, calls: Collection[str]) -> list[str]:
    """Returns what doesn't hold in a run, its reviews, its grants and the policies before them; none where all does.

    Args:
        calls: whose decisions are made again.
    """
    found: list[str] = []
    done = Counted()
    artifacts: dict[str, bytes] = {}
    checks = Checks(
        artifacts,
        lambda place, message: found.append(f"{place}: {message}"),
        lambda _: None,
        done,
        elsewhere=lambda other: other != run,
        decides=frozenset(calls).__contains__,
    )
    entries = await journal.merged((f"run/{run}", "policy", "store"), partial(_named, run))
    values: dict[tuple[str, int, str], Payload] = {}
    for name in dict.fromkeys(entry.stream for entry in entries):
        values |= {(name, seq, path): one for (seq, path), one in (await journal.payloads(name)).items()}
    for entry in entries:
        place = f"{entry.stream}#{entry.seq} {entry.kind}"
        if entry.stream in checks.broken:
            continue
        try:
            checks.follow(entry)
            for digest in _artifacts_of(entry.body):
                if digest not in artifacts and (artifact := await journal.artifact(digest)) is not None:
                    artifacts[digest] = artifact.data
        except (RemitError, *UNFIT) as error:
            found.append(f"{place}: {error}")
            continue
        said = {}
        for path, expected in commitments(entry.body).items():
            payload = values.get((entry.stream, entry.seq, path))
            if payload is not None and commitment(payload.salt, payload.value) == expected:
                said[path] = payload.value
            elif payload is not None:
                found.append(f"{place}: {path}: the payload is not what the entry committed to")
        checks.check(place, entry, said)
    if done.undecided:
        found.append(f"{done.undecided} decisions can't be made again: values they rest on are not there")
    return found


def _named(run: str, entries: Sequence[Entry]) -> Iterator[str]:
    """Returns the streams that a run rests on: its reviews, its grants and theirs, and those of activations."""
    yield f"flow/{run}"
    for body in (entry.body for entry in entries):
        reviews = (body.review,) if isinstance(body, (PolicyActivated, CallInDoubt)) else getattr(body, "reviews", ())
        for id in filter(None, (*reviews, *getattr(body, "grants", ()))):
            yield f"review/{id}"
            yield f"grant/{id}"


def _artifacts_of(body: object) -> tuple[str, ...]:
    if isinstance(body, PolicyLoaded):
        return body.types, body.texts
    if isinstance(body, RunStarted):
        return (body.graph_digest,)
    call = getattr(body, "call", None)
    return (call.tool_digest,) if isinstance(call, CallRecord) else ()
