"""Which policy set is in force: replayed, unsigned, altered, swapped, or approved by whoever asked for it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from remit.core.entries import Entry, PolicyActivated
from remit.core.graph import Graph
from remit.errors import RemitError
from remit.policykit.toolset import recorded_tools
from remit.probes.ground import DESK, FINANCE, Ground, asking, expect, graph_of
from remit.runtime.activating import Activated, Asked, Candidate, activate
from remit.runtime.keys import KeyRing
from remit.runtime.registry import Registry

_ALLOW, _DENY = {"id": "rest", "allow": "true"}, {"id": "freeze", "deny": "true"}


async def an_older_set_that_is_replayed_from_a_backup_is_not_in_force(ground: Ground) -> None:
    """a set that allows is replaced by one that denies, and its entry is appended again, as it was or renumbered"""
    graph = await _begun(ground, _set(_ALLOW))
    first = (await _activations(ground))[0]
    await _activates(ground, graph, _set(_ALLOW, _DENY))
    expect("denies it" in await ground.runs(graph), "the new set is not in force")
    for revision in (1, 2, 3):
        body = first.body
        assert isinstance(body, PolicyActivated)
        await ground.adds("policy", msgspec.structs.replace(body, revision=revision), first.actor)
        said = await ground.runs(graph)
        expect(said.startswith("PolicyError"), f"under a replayed revision {revision} it {said}")
    expect(not ground.done and not await ground.verifies(), f"{ground.done} ran, or an export verifies")


async def a_set_that_is_not_signed_or_was_altered_runs_nothing(ground: Ground) -> None:
    """a set is activated without a signature, with the one of another, or its files are changed in the store"""
    for name in ("unsigned", "another's", "altered"):
        here = ground.another(name)
        graph = await _begun(here, _set(_ALLOW, _DENY))
        last = (await _activations(here))[-1]
        body = last.body
        assert isinstance(body, PolicyActivated)
        if name == "altered":
            changed = "CAST(replace(bytes, 'deny', 'allow') AS BLOB)"
            here.sql(f"UPDATE artifacts SET bytes = {changed} WHERE kind = 'policies'")
        else:
            signature = "" if name == "unsigned" else body.signature
            await here.adds("policy", msgspec.structs.replace(body, revision=2, signature=signature), last.actor)
        said = await here.runs(graph)
        expect(said.startswith("PolicyError") and not here.done, f"it ran under a set that is {name}: {said}")
        expect(not await here.verifies(), f"an export with a set that is {name} verifies")


async def a_folder_that_is_swapped_on_one_worker_changes_nothing(ground: Ground) -> None:
    """on one machine the folder of policies is replaced by one that allows everything, broken, or taken away"""
    graph = await _begun(ground, _set(_ALLOW, _DENY))
    ground.policy(_ALLOW)
    expect("denies it" in await ground.runs(graph), "another folder is in force on one worker")
    (ground.policies / "main.yaml").write_text("policy: [", encoding="utf-8")
    expect("denies it" in await ground.runs(graph), "a broken folder changed what is in force")
    for file in ground.policies.iterdir():
        file.unlink()
    expect("denies it" in await ground.runs(graph) and not ground.done, "it ran without the set in force")


async def who_asks_for_an_activation_does_not_approve_it(ground: Ground) -> None:
    """who asked to activate a set approves it: under their own name, or under the login that they asked with"""
    ground.staff({**FINANCE, "dan": {"groups": ["finance"], "also": ["daniel"]}})
    graph = await _begun(ground, _set(_ALLOW, _DENY, ground=ground, activation="desk"))
    for by, who in (("ann", "ann"), ("daniel", "dan")):
        texts = _set({**_ALLOW, "because": by}, ground=ground, activation="desk")
        asked = await _activates(ground, graph, texts, by)
        expect(asked.status == "waiting", "it was activated without any approval")
        why = await ground.refuses(asked.review, who)
        expect("NotEntitled" in why, why)
        asked = await _activates(ground, graph, texts, by)
        expect(asked.status == "waiting", "it was activated by whoever asked")
    expect("denies it" in await ground.runs(graph) and not ground.done, "another set is in force")


async def an_approval_of_one_set_does_not_activate_another(ground: Ground) -> None:
    """a set that still denies is approved, and on that another is activated, or one without reviewers, or it twice"""
    strict = _set(_ALLOW, _DENY, ground=ground, activation="desk")
    graph = await _begun(ground, strict)
    words = {"id": "freeze", "deny": "true", "because": "not now"}
    other = _set(_ALLOW, words, ground=ground, activation="desk")
    asked = await _activates(ground, graph, other)
    await ground.rules(asked.review, "ann")
    for texts in (_set(_ALLOW, ground=ground, activation="desk"), _set(_ALLOW, ground=ground), _set(_ALLOW)):
        for review in (asked.review, ""):
            try:
                said = await _activates(ground, graph, texts, review=review)
            except RemitError:
                continue
            expect(said.status == "waiting", "an approval of another set was enough")
    done = await _activates(ground, graph, other)
    expect((done.status, done.revision) == ("activated", 2), f"what was approved is {done.status}")
    expect("not now" in await ground.runs(graph), "what was approved is not in force")
    back = await _activates(ground, graph, strict)
    expect(back.status == "waiting", "going back took no approval")
    expect(not ground.done and await ground.verifies(), f"{ground.done} ran, or the export doesn't verify")


# --- the steps -------------------------------------------------------------------------------------------


def _set(*rules: Mapping[str, object], ground: Ground | None = None, activation: str = "") -> dict[str, str]:
    """The files of a policy set."""
    made = [{"tools": ["*"], **rule} for rule in rules]
    policy = {"policy": {"activation": activation}} if activation else {}
    texts = {"main.yaml": json.dumps({"policy": "main", "rules": made})}
    if ground is not None:
        texts["reviewers.yaml"] = (ground.policies / "reviewers.yaml").read_text(encoding="utf-8")
        texts["queues.yaml"] = json.dumps({**policy, "queues": {"desk": DESK}})
    return texts


async def _begun(ground: Ground, texts: Mapping[str, str]) -> Graph:
    """Gives the journal a key, and activates a first set."""
    act = ground.tool()
    graph = graph_of(asking(act, what="rent", amount=7), act)
    async with ground.runtime(graph) as runtime:
        await _ring(ground).new(runtime.journal, ground.clock, "operator:olga", "example.com/ground")
    done = await _activates(ground, graph, texts)
    expect(done.status == "activated", f"the first set is {done.status}")
    return graph


async def _activates(
    ground: Ground, graph: Graph, texts: Mapping[str, str], by: str = "olga", review: str = ""
) -> Activated:
    async with ground.journal() as journal:
        ring = _ring(ground)
        types = Registry([graph]).types()
        candidate = Candidate(recorded_tools(types).load(texts), types)
        trusted = [known.key for known in await ring.known(journal) if known.here]
        signer = await ring.signer(journal)
        return await activate(journal, ground.clock, signer, trusted, candidate, Asked(by, "because"), review)


async def _activations(ground: Ground) -> list[Entry]:
    return [entry for entry in await ground.entries("policy") if isinstance(entry.body, PolicyActivated)]


def _ring(ground: Ground) -> KeyRing:
    return KeyRing(ground.folder / "keys")
