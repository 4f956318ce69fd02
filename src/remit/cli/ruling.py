"""`remit review approve`, `deny` and the rest of what a reviewer does; `cli.review` is how they look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import click

from remit.cli.drafts import says_what_is_in_force
from remit.cli.editing import edited_by_hand
from remit.cli.inputs import read_inputs
from remit.cli.output import escaped, fields, heading, mark, print_json, value
from remit.cli.review import review
from remit.cli.settings import asynchronous, json_option, key_option, settings, store_option
from remit.cli.stores import open_store
from remit.core.canonical import canonical
from remit.core.reviews import ReviewState
from remit.errors import BadInput
from remit.runtime.ambient import System, stamp, user
from remit.runtime.grants import Grant
from remit.runtime.rulings import (
    Reviewer,
    Said,
    claim,
    comment,
    hand_on,
    in_force,
    release,
    rule,
    whoever_has,
)
from remit.runtime.signing import open_key
from remit.runtime.views import review_view
from remit.store.journal import Journal
from remit.store.projections import Projections

_Act = Callable[[Journal, str, Reviewer], Awaitable[ReviewState]]
_ID = click.argument("review_id", metavar="REVIEW")
_DIGEST = click.option("--if-digest", default="", metavar="HEX", help="Only if this is (the beginning of) its digest.")
_BEHALF = click.option("--on-behalf-of", "behalf", default="", metavar="WHO", help="Who delegated it to you.")
_SEEN = click.option("--seen", multiple=True, metavar="CODE", help="Of an argument that `show` cuts; repeatable.")
_REASON = click.option("--reason", default="", help="Why; recorded.")


async def _act(review_id: str, behalf: str, key: str | None, store: str | None, as_json: bool, act: _Act) -> None:
    """Does something with a review as whoever has the key, and shows what became of it."""
    found = settings(store=store, review_key=key)
    async with await open_store(found) as journal:
        id = (await Projections(journal).find_review(review_id)).review
        view = await review_view(journal, id)  # what can't be shown can't be ruled on
        reviewer = await who_acts(journal, found.review_key, behalf)
        await act(journal, id, reviewer)
        view = await review_view(journal, id)
    if as_json:
        return print_json([view])
    where = f" in run {view['run']}" if view["run"] else ""
    click.echo(f"{heading('review ' + id)} is {mark(view['status'])}: {escaped(view['tool'])}{where}")
    if view["granted"]:
        click.echo(f"  and grant {view['granted']} is made: `remit grant show {view['granted']}`")
    if view["activation"] and view["status"] == "approved":
        click.echo(f"  the set is put in force with `remit policy activate --review {id}`")
    elif view["activation"] and view["status"] == "denied":
        click.echo("  the set is not put in force")
    elif view["status"] in ("approved", "denied"):
        click.echo(f"  the run goes on with `remit resume {view['run']}`, or by itself under `remit work`")
    elif view["rulings"]:
        click.echo(f"  {view['approvals']} of {view['needed']} have approved it as it stands")
    return None


async def who_acts(journal: Journal, key: str, behalf: str = "") -> Reviewer:
    """Returns whose key it is, or in single-operator mode who sits here. Raises NotEntitled."""
    signer = await open_key(key) if key else None
    found = await whoever_has(journal, System(), signer, user())
    if behalf and signer is None:
        raise BadInput("--on-behalf-of takes a key: in single-operator mode nobody delegates")
    return Reviewer(found.name, signer, behalf)


@review.command()
@key_option
@store_option
@json_option
@says_what_is_in_force
@asynchronous
async def whoami(key: str | None, store: str | None, as_json: bool) -> None:
    """Say who you are to `remit review`, by your key, and where you may rule.

    Exit codes: 0 known, 4 your key is no reviewer's.
    """
    found = settings(store=store, review_key=key)
    async with await open_store(found) as journal:
        reviewer = await who_acts(journal, found.review_key)
        people = (await in_force(journal)).people
    queues = [
        name
        for name, queue in people.queues.items()
        if reviewer.signer is None or reviewer.name in people.members(queue)
    ]
    now = stamp(System().now())
    behalf = sorted(
        id for id in people.persons if any(people.delegated(id, reviewer.name, name, now) for name in people.queues)
    )
    row = {
        "reviewer": reviewer.name,
        "key": reviewer.signer.public.fingerprint if reviewer.signer else "",
        "single_operator": reviewer.signer is None,
        "queues": sorted(queues),
        "on_behalf_of": behalf,
    }
    if as_json:
        return print_json([row])
    click.echo(heading(value(reviewer.name)))
    fields(
        [
            ("key", str(row["key"]) or "none: single-operator mode"),
            ("queues", ", ".join(sorted(queues)) or "none"),
            ("on behalf of", ", ".join(behalf)),
        ]
    )
    return None


@review.command()
@_ID
@click.option("--edit", "by_hand", is_flag=True, help="Change arguments in $EDITOR first; see the difference, agree.")
@_REASON
@_DIGEST
@_SEEN
@click.option("--grant", "condition", metavar="CEL", help="Approve calls like it in advance, where this is true.")
@click.option("--uses", type=int, default=0, metavar="N", help="With --grant: how many calls.")
@click.option("--until", default="", metavar="24h", help="With --grant: for how long; as long as may be, if not said.")
@click.option("--same-grant", is_flag=True, help="Grant what those who approved before you did; see `show`.")
@_BEHALF
@key_option
@store_option
@json_option
@asynchronous
async def approve(
    review_id: str, by_hand: bool, reason: str, if_digest: str, seen: tuple[str, ...], condition: str | None,
    uses: int, until: str, same_grant: bool, behalf: str, **common: Any,
) -> None:  # fmt: skip
    """Approve the call of REVIEW, exactly as shown, once.

    With --grant, calls like it are approved in advance, where its queue permits that: those of the same agent, tool
    and principal for which the condition is true, such as "args.amount <= 500 && args.iban == this.args.iban"; `this`
    is the call you see. It is made once all whose approval counts have granted the same.

    Exit codes: 0 approved, 2 refused, 4 not entitled, 5 no such review, 6 claimed by another, 7 ruled on before,
    changed or expired, 130 not agreed to.
    """

    async def act(journal: Journal, id: str, who: Reviewer) -> ReviewState:
        said = Said(True, reason, digest=if_digest, seen=seen, grant=_grant(condition, uses, until, same_grant))
        if by_hand:
            view = await review_view(journal, id)
            edited = edited_by_hand(view)
            # What was in the editor was on the screen, whole; and it is a change to exactly that.
            read = tuple(view["seen"][name] for name in view["may_edit"] if name in view["seen"])
            said = replace(said, edited=edited, digest=if_digest or view["version"], seen=(*seen, *read))
        return await rule(journal, System(), id, who, said)

    await _act(review_id, behalf, **common, act=act)


def _grant(condition: str | None, uses: int, until: str, same: bool) -> Grant | None:
    if condition is None and not same:
        if uses or until:
            raise BadInput("--uses and --until are of a grant: say --grant with its condition")
        return None
    if same and (condition is not None or uses or until):
        raise BadInput("--same-grant is what others have said: it goes without --grant, --uses and --until")
    if not same and uses < 1:
        raise BadInput("how often may the grant be used? say --uses 10")
    return Grant(condition or "", uses, until, same)


@review.command()
@_ID
@click.option("--reason", required=True, help="Why; the agent is told, and it is recorded.")
@_DIGEST
@_BEHALF
@key_option
@store_option
@json_option
@asynchronous
async def deny(review_id: str, reason: str, if_digest: str, behalf: str, **common: Any) -> None:
    """Deny the call of REVIEW. A no is final.

    Exit codes: as of `approve`.
    """
    said = Said(False, reason, digest=if_digest)
    await _act(review_id, behalf, **common, act=lambda journal, id, who: rule(journal, System(), id, who, said))


@review.command()
@_ID
@click.option("--set", "changes", multiple=True, metavar="K=V", help="An argument: k=v, or k:=JSON; repeatable.")
@_REASON
@_DIGEST
@_SEEN
@_BEHALF
@key_option
@store_option
@json_option
@asynchronous
async def edit(
    review_id: str,
    changes: tuple[str, ...],
    reason: str,
    if_digest: str,
    seen: tuple[str, ...],
    behalf: str,
    **common: Any,
) -> None:
    """Approve the call of REVIEW with other arguments, where its queue permits them to be changed.

    Policy is decided anew on the call as changed, and the agent is told. Exit codes: as of `approve`.
    """
    edited = read_inputs(changes)
    if not isinstance(edited, dict):
        raise BadInput("change what? say `--set amount=500`")
    said = Said(True, reason, edited, digest=if_digest, seen=seen)
    await _act(review_id, behalf, **common, act=lambda journal, id, who: rule(journal, System(), id, who, said))


@review.command()
@_ID
@click.option("--value", "answer", required=True, metavar="V", help="The answer: JSON, or @file.json.")
@_REASON
@_DIGEST
@_BEHALF
@key_option
@store_option
@json_option
@asynchronous
async def respond(review_id: str, answer: str, reason: str, if_digest: str, behalf: str, **common: Any) -> None:
    """Answer in the tool's place, where the queue of REVIEW permits it: nothing runs.

    The agent gets the answer, which must be what the tool could return. Exit codes: as of `approve`.
    """
    given: Any = read_inputs((answer if answer.startswith("@") else f"it:={answer}",))
    said = Said(True, reason, answer=canonical(given if answer.startswith("@") else given["it"]), digest=if_digest)
    await _act(review_id, behalf, **common, act=lambda journal, id, who: rule(journal, System(), id, who, said))


@review.command(name="claim")
@_ID
@key_option
@store_option
@json_option
@asynchronous
async def claim_(review_id: str, **common: Any) -> None:
    """Keep others from ruling on REVIEW for the time that its queue says.

    Exit codes: 0 yours, 4 not entitled, 5 no such review, 6 claimed by another, 7 ruled on before or expired.
    """
    await _act(review_id, "", **common, act=lambda journal, id, who: claim(journal, System(), id, who))


@review.command(name="release")
@_ID
@key_option
@store_option
@json_option
@asynchronous
async def release_(review_id: str, **common: Any) -> None:
    """Give up your claim on REVIEW. By separation of duties you can't rule on it then, unless its queue says so.

    Exit codes: as of `claim`.
    """
    await _act(review_id, "", **common, act=lambda journal, id, who: release(journal, System(), id, who))


@review.command()
@_ID
@click.argument("queue")
@key_option
@store_option
@json_option
@asynchronous
async def handon(review_id: str, queue: str, **common: Any) -> None:
    """Hand REVIEW on to QUEUE, one of those that its own queue names; it is ruled on afresh there.

    Exit codes: as of `claim`, and 2 where its queue doesn't hand on to QUEUE.
    """
    await _act(review_id, "", **common, act=lambda journal, id, who: hand_on(journal, System(), id, who, queue))


@review.command(name="comment")
@_ID
@click.argument("text")
@key_option
@store_option
@json_option
@asynchronous
async def comment_(review_id: str, text: str, **common: Any) -> None:
    """Leave a remark on REVIEW for the other reviewers; recorded.

    Exit codes: as of `claim`.
    """
    await _act(review_id, "", **common, act=lambda journal, id, who: comment(journal, System(), id, who, text))
