"""Revokes reviewers and keys, and restores them: signed, in one append, and in force for every worker from then on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from remit.core.canonical import canonical
from remit.core.entries import PolicyRestored, PolicyRevoked, seal, unseal
from remit.core.identity import identity
from remit.core.notes import SignerKey, VerifierKey
from remit.core.people import People, is_within
from remit.core.reviews import seats_filled
from remit.core.revoking import statement, unsound
from remit.core.sshsig import PublicKey, read_public_key
from remit.errors import BadInput, Conflict, SettingsError, Stale, Tampered, UnknownId
from remit.runtime.ambient import Ambient, NeverBack, stamp
from remit.runtime.force import Force, look, people_of
from remit.runtime.stream import Draft
from remit.store.journal import Append, Journal

_TRIES = 20
_KEYS = ("ssh-", "ecdsa-", "sk-")


async def revoke(
    journal: Journal, ambient: Ambient, signer: SignerKey | None, trusted: Sequence[VerifierKey], whom: str, by: str,
    reason: str, *, restore: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Revokes, or restores, a reviewer or a key; returns what was done as `rows` does, with `unstaffed` queues.

    Args:
        whom: a reviewer's name, a key's fingerprint (`SHA256:…`), or the line of a `.pub` file.
        trusted: keys whose word counts; where none are named, all that the journal has.

    Raises:
        UnknownId: no such reviewer, or no such key.
        BadInput: no reason.
        Stale: it is revoked already, or it is to be restored and is not revoked.
        SettingsError: there is no key to sign it with, or one that doesn't count.
    """
    if signer is None:
        raise SettingsError("a revocation is signed, and there is no key here: make one with `remit keys new`")
    if trusted and signer.verifier not in trusted:
        raise SettingsError(f"key `{signer.name}` is not one of `policy_keys`: no worker would heed it")
    if not reason.strip():
        raise BadInput("say why with --reason: who comes after you will read it")
    ambient = NeverBack(ambient, await journal.latest())
    for _ in range(_TRIES):
        force = await look(journal, trusted)
        name, key = _whom(await people_of(journal, force), force, whom)
        if ((key or identity(name)) in force.revoked) is not restore:
            raise Stale(f"`{key or name}` is {'not revoked' if restore else 'revoked already'}")
        draft = Draft("policy", force.head, ambient)
        kind = PolicyRestored if restore else PolicyRevoked
        body = kind(name, key, by, draft.commit("/reason", canonical(reason)))
        text = statement(body, force.head.seq + 1, force.head.hash)
        body = msgspec.structs.replace(body, signature=signer.sign(text).removeprefix(f"{text}\n").rstrip("\n"))
        sealed = seal("policy", force.head, stamp(ambient.now()), f"operator:{by}", body)
        if why := unsound(unseal(sealed.bytes), [signer.verifier]):
            raise Tampered(f"it would not count: {why}")
        try:
            await journal.append(Append((sealed,), tuple(draft.payloads)))
        except Conflict:
            continue
        people = await people_of(journal, await look(journal, trusted))
        done = {"reviewer": name, "key": key, "revoked": not restore, "by": by, "reason": reason}
        return {**done, "unstaffed": unstaffed(people)}
    raise Conflict("the policy stream changes faster than anybody can be revoked: try again")


def _whom(people: People, force: Force, whom: str) -> tuple[str, str]:
    """Returns name and key, one of them "": of those in charge, or of those that are revoked. Raises UnknownId."""
    if whom.startswith(_KEYS):
        return "", read_public_key(whom).text
    known = {key.text for person in people.persons.values() for key in person.keys}
    known |= {one for one in force.revoked if one.startswith(_KEYS) and " " in one}
    if whom.startswith("SHA256:"):
        found = [text for text in sorted(known) if fingerprint(text).startswith(whom)]
        if len(found) != 1:
            raise UnknownId(f"{len(found) or 'no'} reviewers' keys begin with `{whom}`: `remit reviewers list` has all")
        return "", found[0]
    for id in people.persons:
        if identity(id) == identity(whom):
            return id, ""
    if identity(whom) in force.revoked:
        return whom, ""
    named = ", ".join(f"`{id}`" for id in people.persons) or "none"
    raise UnknownId(f"there is no reviewer `{whom}` in the policy set in force; there are {named}")


def fingerprint(key: str) -> str:
    """Returns a key's SHA-256 as `ssh-keygen -l` writes it."""
    found: PublicKey = read_public_key(key)
    return found.fingerprint


def rows(people: People, now: str) -> list[dict[str, Any]]:
    """Returns a row for each reviewer of the set in force: groups, queues, keys, and whether they rule at `now`."""
    found = []
    for person in people.persons.values():
        keys = [
            {
                "fingerprint": fingerprint(key.text), "since": key.since, "until": key.until,
                "revoked": key.text in people.revoked,
                "counts": people.owner(key.text, now) is person,
            }
            for key in person.keys
        ]  # fmt: skip
        revoked = people.is_revoked(person.id)
        rules = not revoked and is_within(person.since, now, person.until)
        found.append({
            "reviewer": person.id, "name": person.name, "groups": list(person.groups), "revoked": revoked,
            "rules": rules and any(key["counts"] for key in keys), "keys": keys,
            "queues": sorted(name for name, queue in people.queues.items() if person.id in people.members(queue)),
        })  # fmt: skip
    return found


def unstaffed(people: People) -> list[str]:
    """Returns the queues in which nobody can settle a review any more: too few of its reviewers have a key."""
    found = []
    for name, queue in sorted(people.queues.items()):
        signing = [
            people.persons[id].groups
            for id in sorted(people.members(queue))
            if any(key.text not in people.revoked for key in people.persons[id].keys)
        ]
        if not people.single_operator and not seats_filled(queue.terms, signing):
            found.append(name)
    return found
