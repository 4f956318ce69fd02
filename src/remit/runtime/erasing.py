"""Erases values: salts and values go, the entries stay, and so does every proof."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from remit.core.canonical import canonical
from remit.core.entries import Entry, Erased, Payload
from remit.core.grants import GrantState
from remit.core.lifecycle import RunState, RunStatus, State, fold
from remit.core.reviews import ReviewState
from remit.errors import BadInput, Conflict, UnknownId
from remit.export.withhold import COPIES, is_below, quoted_in
from remit.runtime.ambient import Ambient
from remit.runtime.stream import Draft
from remit.store.journal import Append, Journal

_AT_ONCE = 400
"""Places in an entry: it holds 65,535 bytes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to erase: of one run or call, at or below a JSON pointer, or wherever a text stands.

    Attributes:
        run, call: ids; "" for any. A call's values also stand in its reviews.
        pointer: such as `/args/iban`; "" for all.
        subject: values that have this text in a string, whatever run they are of.
    """

    run: str = ""
    call: str = ""
    pointer: str = ""
    subject: str = ""


async def erase(journal: Journal, ambient: Ambient, selection: Selection, *, by: str, reason: str) -> list[Payload]:
    """Erases what `selection` names and returns what it was: places only, their values are gone.

    The entry that says so comes first, so that no value is ever missing without one.

    Raises:
        BadInput: nothing is selected, there is no reason, or a run that isn't over still needs a value.
        UnknownId: nothing is there to erase.
    """
    if not (selection.run or selection.subject):
        raise BadInput("erase what? name a run, a call of one, or a subject")
    if not reason.strip():
        raise BadInput("an erasure needs a reason: say it with --reason: it is recorded")
    found: dict[str, list[Payload]] = {}
    for stream in await _streams(journal):
        if chosen := await _chosen(journal, stream, selection):
            found[stream] = chosen
    if not found:
        raise UnknownId("there is nothing to erase: no value is there that this names")
    for stream, payloads in found.items():
        places = [(payload.seq, payload.path) for payload in payloads]
        for first in range(0, len(places), _AT_ONCE):
            some = tuple(places[first : first + _AT_ONCE])
            await _record(journal, ambient, stream, some, by, reason)
            await journal.erase([(stream, seq, path) for seq, path in some])
    return [payload for payloads in found.values() for payload in payloads]


async def _streams(journal: Journal) -> Iterable[str]:
    return [name for family in ("run/", "review/", "grant/", "flow/") for name in await journal.streams(family)]


async def _chosen(journal: Journal, stream: str, selection: Selection) -> list[Payload]:
    """Returns the selected payloads of a stream. Raises BadInput where its run isn't over."""
    entries = await journal.read(stream)
    state = None if stream.startswith("flow/") else fold(entries)
    run = _run_of(state) if state is not None else stream.removeprefix("flow/")
    if selection.run and run != selection.run:
        return []
    payloads = (await journal.payloads(stream)).values()
    quoting = _quoting(entries, selection)
    chosen = [
        payload
        for payload in payloads
        if (_fits(payload, selection) or (payload.seq in quoting and payload.path in COPIES))
        and _of_call(state, payload, selection.call)
    ]
    if chosen and await _is_going(journal, state, run):
        raise BadInput(f"run `{run}` isn't over, and going on with it needs these values: finish it first")
    return chosen


def _run_of(state: State | None) -> str:
    if isinstance(state, RunState):
        return state.run
    if isinstance(state, GrantState):
        return state.made.run
    return state.opened.run if isinstance(state, ReviewState) else ""


def _quoting(entries: Sequence[Entry], selection: Selection) -> set[int]:
    """With an argument goes all that may quote it, as with withholding."""
    if selection.subject or not selection.pointer.startswith("/args/"):
        return set()
    return quoted_in(entries, {selection.pointer.split("/")[2]})


async def _is_going(journal: Journal, state: State | None, run: str) -> bool:
    if not isinstance(state, RunState):
        state = fold(await journal.read(f"run/{run}"))
    return isinstance(state, RunState) and state.status is RunStatus.RUNNING


def _fits(payload: Payload, selection: Selection) -> bool:
    pointer = selection.pointer
    if pointer and not is_below(payload.path, pointer):
        return False
    return not selection.subject or _mentions(orjson.loads(payload.value), _squeezed(selection.subject))


def _mentions(value: object, subject: str) -> bool:
    """Whether the text stands in any string of the value, however it is spaced and cased there."""
    if isinstance(value, str):
        return subject in _squeezed(value)
    if isinstance(value, dict):
        return any(_mentions(key, subject) or _mentions(item, subject) for key, item in value.items())
    return isinstance(value, list) and any(_mentions(item, subject) for item in value)


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _of_call(state: State | None, payload: Payload, call: str) -> bool:
    if not call:
        return True
    if isinstance(state, ReviewState):
        return state.opened.call == call
    if isinstance(state, GrantState):
        return False  # what a revocation says is of no call
    found = state.calls.get(call) if isinstance(state, RunState) else None
    return found is not None and payload.seq in (found.seq, found.decided, found.settled)


async def _record(
    journal: Journal, ambient: Ambient, stream: str, places: tuple[tuple[int, str], ...], by: str, reason: str
) -> None:
    while True:
        draft = Draft("store", await journal.head("store"), ambient)
        body = Erased(stream, places, by, draft.commit("/reason", canonical(reason)))
        try:
            return await journal.append(Append((draft.seal(f"operator:{by}", body),), tuple(draft.payloads)))
        except Conflict:
            continue
