"""A reviewer or a key that is revoked rules no more, from the next entry on, whatever the policy files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from acts import Acts, files
from pens import Pen

from remit import Context, Denied, Graph, Task
from remit.core.entries import KINDS, PolicyRestored, PolicyRevoked, seal
from remit.core.revoking import statement
from remit.errors import BadInput, NotEntitled, SettingsError, Stale, UnknownId
from remit.runtime.ambient import stamp
from remit.runtime.force import look, people_of
from remit.runtime.policylog import policy_log
from remit.runtime.revoking import fingerprint, revoke, rows
from remit.store.journal import Append, Journal

DESK: dict[str, Any] = {"ttl": "24h", "reviewers": ["ann", "bob"]}


class Revoking(Acts):
    """A world in which somebody has to be revoked: `ann` and `bob` rule, and `ann` has a second key."""

    async def ready(self, policies: Literal["following", "pinned"] = "following") -> Revoking:
        act = self.act()

        async def agent(ctx: Context) -> str:
            try:
                return await ctx.call(act, what="pay", amount=7)
            except Denied as error:
                return "; ".join(error.reasons)

        self.policy({"id": "rest", "allow": "false"}, escalate="true").queues(single_operator=False, desk=DESK)
        keys = [{"key": Pen(name).public.text} for name in ("ann", "ann's second")]
        self.staff(bob={}, ann={"keys": keys})
        await self.begin(Graph("app", [Task("t", agent)], tools=[act], policies=policies))
        return self

    async def waits(self) -> tuple[str, str]:
        async with self.runtime(self.graph) as runtime:
            report = await runtime.run(self.graph, principal="me")
        assert report.status == "waiting"
        return report.run, report.reviews[0]

    async def resumes(self, run: str) -> Any:
        async with self.runtime(self.graph) as runtime:
            report = await runtime.resume(run)
        return report.output or report.status

    async def revokes(self, whom: str, **options: Any) -> dict[str, Any]:
        async with await Journal.open(self.url, keys=self.keys) as journal:
            signer = await self.ring.signer(journal)
            return await revoke(journal, self.clock, signer, (), whom, "olga", options.pop("reason", "left"), **options)

    async def rows(self) -> dict[str, dict[str, Any]]:
        async with await Journal.open(self.url, keys=self.keys) as journal:
            made = rows(await people_of(journal, await look(journal)), stamp(self.clock.now()))
        return {row["reviewer"]: row for row in made}

    def activated(self) -> dict[str, str]:
        """The folder's files, as a set to be activated."""
        return {path.name: path.read_text() for path in sorted(self.policies.iterdir())}


@pytest.fixture
async def world(tmp_path: Path) -> Revoking:
    return await Revoking(tmp_path).ready()


KEY = Pen("ann").public


@pytest.mark.parametrize("activated", [False, True], ids=["folder", "activated"])
@pytest.mark.parametrize("whom", ["ann", "ANN", KEY.text, KEY.fingerprint])
async def test_who_is_revoked_rules_no_more_from_the_next_entry_on(world: Revoking, whom: str, activated: bool) -> None:
    if activated:
        await world.activates(world.activated())
    _, review = await world.waits()
    done = await world.revokes(whom)
    assert done["revoked"] and (done["reviewer"], done["key"]) == (("ann", "") if len(whom) == 3 else ("", KEY.text))
    with pytest.raises(NotEntitled, match="revoked"):
        await world.rule(review, by="ann")
    await world.rule(review, by="bob")
    assert await world.verified()


@pytest.mark.parametrize("policies", ["following", "pinned"])
async def test_what_was_approved_by_who_is_revoked_and_has_not_run_is_asked_again(
    tmp_path: Path, policies: Literal["following", "pinned"]
) -> None:
    world = await Revoking(tmp_path).ready(policies)
    run, review = await world.waits()
    async with world.runtime(world.graph) as runtime:  # which knows the run's set, and goes on afterwards
        await runtime.resume(run)
        await world.rule(review, by="ann")
        await world.revokes("ann")
        report = await runtime.resume(run)
        assert (report.status, world.done) == ("waiting", [])
        await world.rule(report.reviews[0], by="bob")
        assert (await runtime.resume(run)).output == "did pay"
    assert await world.verified()


async def test_what_has_run_stays_as_it_was(world: Revoking) -> None:
    run, review = await world.waits()
    await world.rule(review, by="ann")
    assert await world.resumes(run) == "did pay"
    await world.revokes("ann")
    assert await world.verified()


async def test_a_key_is_revoked_and_the_person_rules_with_another(world: Revoking) -> None:
    run, review = await world.waits()
    await world.revokes(KEY.text, reason="lost")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        from remit.runtime.rulings import Reviewer, Said, rule

        await rule(journal, world.clock, review, Reviewer("ann", Pen("ann's second")), Said(True, "because"))
    assert await world.resumes(run) == "did pay"
    found = await world.rows()
    assert found["ann"]["rules"] and [key["revoked"] for key in found["ann"]["keys"]] == [True, False]
    assert await world.verified()


async def test_a_revocation_outlives_every_activation_until_it_ends(world: Revoking) -> None:
    await world.waits()
    await world.revokes("ann")
    await world.activates(world.activated())
    run, review = await world.waits()
    with pytest.raises(NotEntitled, match="was revoked"):
        await world.rule(review, by="ann")
    assert not (await world.rows())["ann"]["rules"] and (await world.rows())["bob"]["rules"]
    assert not (await world.revokes("ann", restore=True, reason="back"))["revoked"]
    await world.rule(review, by="ann")
    assert await world.resumes(run) == "did pay"
    assert await world.verified()


async def test_a_queue_that_nobody_can_settle_any_more_is_named(world: Revoking) -> None:
    await world.waits()
    assert (await world.revokes("ann"))["unstaffed"] == []
    assert (await world.revokes("bob"))["unstaffed"] == ["desk"]


async def test_bad_input_revokes_nobody_and_names_the_remedy(world: Revoking) -> None:
    await world.waits()
    for whom, error, said in (
        ("eve", UnknownId, "there are `bob`, `ann`"),
        ("SHA256:nothing", UnknownId, "no reviewers' keys"),
        ("SHA256:", UnknownId, "3 reviewers' keys"),
        ("ssh-ed25519 nonsense", BadInput, "not a public key"),
    ):
        with pytest.raises(error, match=said):
            await world.revokes(whom)
    with pytest.raises(BadInput, match="--reason"):
        await world.revokes("ann", reason=" ")
    with pytest.raises(Stale, match="not revoked"):
        await world.revokes("ann", restore=True)
    await world.revokes("ann")
    with pytest.raises(Stale, match="revoked already"):
        await world.revokes("Ann")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        with pytest.raises(SettingsError, match="remit keys new"):
            await revoke(journal, world.clock, None, (), "bob", "olga", "why")
        kinds = [entry.kind for entry in await journal.read("policy")]
    assert kinds.count("policy.revoked") == 1


@pytest.mark.parametrize("forgery", ["unsigned", "copied", "other name", "both", "restored"])
async def test_a_revocation_that_is_not_signed_for_its_place_does_not_count_and_is_found(
    world: Revoking, forgery: str
) -> None:
    _, review = await world.waits()
    if forgery in ("copied", "restored"):
        await world.revokes("ann")
    if forgery == "copied":
        await world.revokes("ann", restore=True)
    async with await Journal.open(world.url, keys=world.keys) as journal:
        entries = await journal.read("policy")
        head, signer = entries[-1].head, await world.ring.signer(journal)
        assert signer is not None
        made: PolicyRevoked | PolicyRestored = PolicyRevoked("ann", by="eve")
        text = statement(made, head.seq + 1, head.hash)
        signed = msgspec.structs.replace(made, signature=signer.sign(text).removeprefix(text + "\n").strip())
        body = {
            "unsigned": made,
            "copied": next((one.body for one in entries if isinstance(one.body, PolicyRevoked)), made),
            "other name": msgspec.structs.replace(signed, reviewer="bob"),
            "both": msgspec.structs.replace(signed, key=KEY.text),
            "restored": PolicyRestored("ann", by="eve", signature=signed.signature),
        }[forgery]
        await journal.append(Append((seal("policy", head, stamp(world.clock.now()), "operator:eve", body),)))
        last = (await policy_log(journal))[-1]
        assert last["refused"] and last["of"] in ("ann", "bob")
    if forgery == "restored":
        with pytest.raises(NotEntitled, match="was revoked"):
            await world.rule(review, by="ann")
    else:
        await world.rule(review, by="ann" if forgery != "other name" else "bob")
    found = await world.problems()
    assert ("of a reviewer, or of a key" if forgery == "both" else "sign") in found


async def test_a_ruling_written_after_its_reviewer_was_revoked_is_found_by_both_verifiers(world: Revoking) -> None:
    run, review = await world.waits()
    async with await Journal.open(world.url, keys=world.keys) as journal:
        store = world.path.read_bytes()
    await world.rule(review, by="ann")
    ruled = (await world.entries(f"review/{review}"))[-1]
    for path in world.path.parent.glob(f"{world.path.name}-*"):
        path.unlink()
    world.path.write_bytes(store)
    world.forget_marks()
    await world.revokes("ann")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        head = (await journal.read(f"review/{review}"))[-1].head
        await journal.append(Append((seal(f"review/{review}", head, ruled.at, ruled.actor, ruled.body),)))
    assert await world.resumes(run) == "waiting" and world.done == []
    assert "revoked" in await world.problems()


async def test_the_log_and_the_list_say_who_was_revoked_by_whom_and_why(world: Revoking) -> None:
    await world.waits()
    await world.revokes("ann", reason="left the firm")
    async with await Journal.open(world.url, keys=world.keys) as journal:
        last = (await policy_log(journal))[-1]
    assert (last["what"], last["of"], last["by"], last["reason"]) == ("revoked", "ann", "olga", "left the firm")
    found = (await world.rows())["ann"]
    assert found["revoked"] and found["queues"] == [] and found["keys"][0]["fingerprint"] == fingerprint(KEY.text)
    assert {"policy.revoked", "policy.restored"} <= set(KINDS)


async def test_reviewers_who_are_revoked_do_not_approve_an_activation(world: Revoking) -> None:
    (world.policies / "queues.yaml").write_text(
        (world.policies / "queues.yaml").read_text().replace("{", '{"policy": {"activation": "desk"}, ', 1)
    )
    await world.activates(world.activated())
    other = {
        **world.activated(),
        "more.yaml": files({"id": "more", "deny": "false"})["main.yaml"].replace("main", "more"),
    }
    waiting = await world.activates(other)
    await world.rule(waiting.review, by="ann")
    await world.revokes("ann")
    with pytest.raises(NotEntitled, match="doesn't count"):
        await world.activates(other, review=waiting.review)
    assert await world.verified()
