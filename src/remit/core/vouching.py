"""Who may endorse a source or remove a label while a run goes on, and whether their word counts.

The same functions say so when it is given, when a run takes it into account, and when an auditor looks.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from remit.core.canonical import canonical
from remit.core.entries import RunStarted, Vouched
from remit.core.people import PRINCIPAL, People, is_within
from remit.core.sshsig import check_signature
from remit.errors import Tampered

KIND = "remit vouching v1"


def statement_of(body: Vouched) -> bytes:
    """Returns what the signature is over: all that the entry's body says, but the signature."""
    unsigned = msgspec.structs.replace(body, signature="")
    return canonical({**msgspec.json.decode(msgspec.json.encode(unsigned)), "statement": KIND})


def may_not_vouch(people: People, started: RunStarted, agents: Iterable[str], by: str, label: str, at: str) -> str:
    """Returns why somebody may not endorse a source of a run (with `label`: remove it) at a moment; "" where they may.

    The run's agents never may, and who asked may only as the principal, where policy names the principal.
    """
    what = "declassify" if label else "endorse"
    named = set(people.flow.get(what, ()))
    person = people.persons.get(by)
    if not named:
        return f"policy lets nobody {what} while a run goes on: `flow: {{{what}: [...]}}` in queues.yaml would"
    if person is None or not is_within(person.since, at, person.until) or people.is_revoked(by):
        return f"`{by}` is no reviewer now"
    if person.is_one_of(agents):
        return f"`{by}` is an agent of this run"
    if person.is_one_of((started.principal,)):
        if PRINCIPAL in named and person.is_called(started.principal):
            return ""
        return f"`{by}` is the principal this run acts for, or looks so, and `flow` doesn't name them"
    if person.is_one_of((started.starter,)):
        return f"`{by}` started the run"
    return "" if named & {by, *person.groups} else f"`{by}` is not among those whom `flow` lets {what}"


def unsound_vouching(people: People, started: RunStarted, agents: Iterable[str], body: Vouched, at: str) -> str:
    """Returns why somebody's word doesn't count under these policies; "" where it does."""
    if body.run != started.run:
        return "it is about another run"
    if body.single_operator and not body.signature:
        if not people.single_operator:
            return "it was made in single-operator mode, which policy doesn't permit"
        return "" if people.flow.get("declassify" if body.label else "endorse") else "policy lets nobody do that"
    if body.single_operator or not body.signature:
        return "it is not signed, and was not made in single-operator mode"
    try:
        key = check_signature(body.signature, statement_of(body))
    except Tampered as error:
        return str(error)
    owner = people.owner(key.text, at)
    if owner is None or owner.id != body.by:
        return f"key {key.fingerprint} was not `{body.by}`'s then"
    return may_not_vouch(people, started, agents, body.by, body.label, at)
