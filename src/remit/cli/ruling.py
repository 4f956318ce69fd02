"""`remit review approve`, `deny` and the rest of what a reviewer does; `cli.review` is how they look."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import click

from remit.cli import DONE, code_of
from remit.cli.drafts import says_what_is_in_force
from remit.cli.editing import edited_by_hand
from remit.cli.inputs import read_inputs
from remit.cli.output import complaint, escaped, fields, folded, heading, mark, moment, print_json, value
from remit.cli.review import review
from remit.cli.settings import asynchronous, json_option, key_option, settings, store_option
from remit.cli.stores import open_store
from remit.cli.who import who_acts
from remit.core.canonical import canonical
from remit.core.reviews import ReviewState
from remit.errors import BadInput, RemitError
from remit.runtime.ambient import System, stamp
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
)
from remit.runtime.views import review_view
from remit.store.journal import Journal
from remit.store.projections import Projections

View = dict[str, Any]
_Act = Callable[[Journal, View, Reviewer], Awaitable[ReviewState]]
_Words = Callable[[View], str]
_ID = click.argument("review_id", metavar="REVIEW")
_IDS = click.argument("reviews", metavar="REVIEW...", nargs=-1, required=True)
_DIGEST = click.option("--if-digest", default="", metavar="HEX", help="Only if this is (the beginning of) its digest.")
_BEHALF = click.option("--on-behalf-of", "behalf", default="", metavar="WHO", help="Who delegated it to you.")
_SEEN = click.option("--seen", multiple=True, metavar="CODE", help="Of an argument that `show` cuts; repeatable.")
_REASON = click.option("--reason", default="", help="Why; recorded.")
_YES = click.option("--yes", is_flag=True, help="Don't ask on a terminal; elsewhere nothing is asked.")


async def _act(
    reviews: Sequence[str], behalf: str, key: str | None, store: str | None, as_json: bool, act: _Act, did: _Words,
    *, asks: str = "",
) -> int:  # fmt: skip
    """Does something with each review as whoever has the key, and says what was done, and to what.

    Args:
        did: what was done, in words, from the review as it stands after it.
        asks: what is asked on a terminal before anything is done; "" for nothing.

    Returns the exit code: of several reviews, that of the first that failed. A review that is not there, or can't be
    shown, is an error before anything is done.
    """
    found = settings(store=store, review_key=key)
    code, after = DONE, []
    async with await open_store(found) as journal:
        ids = dict.fromkeys([(await Projections(journal).find_review(one)).review for one in reviews])
        views = [await review_view(journal, id) for id in ids]  # what can't be shown can't be ruled on
        reviewer = await who_acts(journal, found.review_key, behalf)
        if asks and sys.stdin.isatty() and sys.stdout.isatty():
            for view in views:
                click.echo(folded(in_a_line(view), "  "), err=True)
            click.confirm(f"{asks} A ruling is final.", abort=True, err=True)
        for view in views:
            try:
                await act(journal, view, reviewer)
            except RemitError as error:
                if len(views) == 1:
                    raise
                click.echo(f"remit: review {view['review']} is as it was: {complaint(str(error))}", err=True)
                code = code or code_of(error)
                continue
            after.append(await review_view(journal, view["review"]))
            if not as_json:
                _tell(after[-1], did(after[-1]))
    if as_json:
        print_json(after)
    return code


def in_a_line(view: View) -> str:
    """Returns which review it is, in a line: its id, its title, and for whom it is."""
    whose = f", for {value(view['shown']['principal'])}" if view["shown"] else ""
    return f"review {view['review']}: {escaped(view['title'])}{whose}"


def _tell(view: View, did: str) -> None:
    whose = f", for {value(view['shown']['principal'])}" if view["shown"] and not view["activation"] else ""
    words = f"{heading('review ' + view['review'])} {did}: {escaped(view['title'])}{whose}"
    click.echo(folded(words, hang=4))
    if view["granted"]:
        click.echo(f"  and grant {view['granted']} is made: `remit grant show {view['granted']}`")
    if view["activation"] and view["status"] == "approved":
        goes_on = f"the set is put in force with `remit policy activate --review {view['review']}`"
        click.echo(folded(f"this is final; {goes_on}", "  "))
    elif view["activation"] and view["status"] == "denied":
        click.echo("  this is final; the set is not put in force")
    elif view["status"] in ("approved", "denied"):
        goes_on = f"the run goes on with `remit resume {view['run']}`, or by itself under `remit work`"
        click.echo(folded(f"this is final; {goes_on}", "  "))
    elif view["rulings"]:
        click.echo(f"  {view['approvals']} of {view['needed']} have approved it as it stands")


def _stands(view: View) -> str:
    return f"is {mark(view['status'])}"


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
@_IDS
@click.option("--edit", "by_hand", is_flag=True, help="Change arguments in $EDITOR first; see the difference, agree.")
@_REASON
@_DIGEST
@_SEEN
@_YES
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
    reviews: tuple[str, ...], by_hand: bool, reason: str, if_digest: str, seen: tuple[str, ...], yes: bool,
    condition: str | None, uses: int, until: str, same_grant: bool, behalf: str, **common: Any,
) -> int:  # fmt: skip
    """Approve the call of each REVIEW, exactly as shown, once.

    On a terminal it says what it is about to approve and asks, unless --if-digest, --seen or --yes says that you have
    looked. Of several, each is ruled on by itself: one that can't be approved is told of, and the others go on.

    With --grant, calls like it are approved in advance, where its queue permits that: those of the same agent, tool
    and principal for which the condition is true, such as "args.amount <= 500 && args.iban == this.args.iban"; `this`
    is the call you see. It is made once all whose approval counts have granted the same.

    Exit codes: 0 approved, 2 refused, 4 not entitled, 5 no such review, 6 claimed by another, 7 ruled on before,
    changed or expired, 130 not agreed to; of several, that of the first that failed.
    """
    grant = _grant(condition, uses, until, same_grant)
    if len(reviews) > 1 and (by_hand or if_digest or seen or grant):
        raise BadInput("--edit, --if-digest, --seen and --grant are of one call: name one review with them")

    async def act(journal: Journal, view: View, who: Reviewer) -> ReviewState:
        said = Said(True, reason, digest=if_digest or view["version"], seen=seen, grant=grant)
        if by_hand:
            edited = edited_by_hand(view)
            # What was in the editor was on the screen, whole; and it is a change to exactly that.
            read = tuple(view["seen"][name] for name in view["may_edit"] if name in view["seen"])
            said = replace(said, edited=edited, seen=(*seen, *read))
        return await rule(journal, System(), view["review"], who, said)

    asks = "Approve it?" if len(reviews) == 1 else f"Approve these {len(reviews)}?"
    looked = yes or by_hand or if_digest or seen
    return await _act(reviews, behalf, **common, act=act, did=_stands, asks="" if looked else asks)


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
@_IDS
@click.option("--reason", required=True, help="Why; the agent is told, and it is recorded.")
@_DIGEST
@_BEHALF
@key_option
@store_option
@json_option
@asynchronous
async def deny(reviews: tuple[str, ...], reason: str, if_digest: str, behalf: str, **common: Any) -> int:
    """Deny the call of each REVIEW. A no is final.

    Exit codes: as of `approve`.
    """
    if len(reviews) > 1 and if_digest:
        raise BadInput("--if-digest is of one call: name one review with it")

    async def act(journal: Journal, view: View, who: Reviewer) -> ReviewState:
        return await rule(journal, System(), view["review"], who, Said(False, reason, digest=if_digest))

    return await _act(reviews, behalf, **common, act=act, did=_stands)


@review.command()
@_ID
@click.option("--set", "changes", multiple=True, metavar="K=V", help="An argument: k=v, or k:=JSON; repeatable.")
@_REASON
@_DIGEST
@_SEEN
@_YES
@_BEHALF
@key_option
@store_option
@json_option
@asynchronous
async def edit(
    review_id: str, changes: tuple[str, ...], reason: str, if_digest: str, seen: tuple[str, ...], yes: bool,
    behalf: str, **common: Any,
) -> int:  # fmt: skip
    """Approve the call of REVIEW with other arguments, where its queue permits them to be changed.

    Policy decides on the call as changed before anything is signed: where it denies, nothing is recorded and the
    review stays open. When the call runs it is decided anew, and the agent is told. Exit codes: as of `approve`.
    """
    edited = read_inputs(changes)
    if not isinstance(edited, dict):
        raise BadInput("change what? say `--set amount=500`")

    async def act(journal: Journal, view: View, who: Reviewer) -> ReviewState:
        said = Said(True, reason, edited, digest=if_digest or view["version"], seen=seen)
        return await rule(journal, System(), view["review"], who, said)

    changed = ", ".join(f"{escaped(name)}={value(found, 100)}" for name, found in edited.items())
    asks = "" if yes or if_digest or seen else f"Approve it with {changed}?"
    return await _act(
        [review_id], behalf, **common, act=act, did=lambda view: f"{_stands(view)} with your changes", asks=asks
    )


@review.command()
@_ID
@click.option("--value", "answer", required=True, metavar="V", help="The answer: JSON, or @file.json.")
@_REASON
@_DIGEST
@_YES
@_BEHALF
@key_option
@store_option
@json_option
@asynchronous
async def respond(
    review_id: str, answer: str, reason: str, if_digest: str, yes: bool, behalf: str, **common: Any
) -> int:
    """Answer in the tool's place, where the queue of REVIEW permits it: nothing runs.

    The agent gets the answer, which must be what the tool could return. Exit codes: as of `approve`.
    """
    given: Any = read_inputs((answer if answer.startswith("@") else f"it:={answer}",))
    said = Said(True, reason, answer=canonical(given if answer.startswith("@") else given["it"]))

    async def act(journal: Journal, view: View, who: Reviewer) -> ReviewState:
        return await rule(journal, System(), view["review"], who, replace(said, digest=if_digest or view["version"]))

    asks = "" if yes or if_digest else "Answer in the tool's place?"
    words = "with your answer, which the agent gets; nothing runs"
    return await _act([review_id], behalf, **common, act=act, did=lambda view: f"{_stands(view)} {words}", asks=asks)


@review.command(name="claim")
@_IDS
@key_option
@store_option
@json_option
@asynchronous
async def claim_(reviews: tuple[str, ...], **common: Any) -> int:
    """Keep others from ruling on each REVIEW for the time that its queue says.

    Exit codes: 0 yours, 4 not entitled, 5 no such review, 6 claimed by another, 7 ruled on before or expired.
    """
    return await _act(
        reviews, "", **common, act=lambda journal, view, who: claim(journal, System(), view["review"], who),
        did=lambda view: f"is yours until {moment(view['claimed_until'])}",
    )  # fmt: skip


@review.command(name="release")
@_IDS
@key_option
@store_option
@json_option
@asynchronous
async def release_(reviews: tuple[str, ...], **common: Any) -> int:
    """Give up your claim on each REVIEW. By separation of duties you can't rule on it then, unless its queue says so.

    Exit codes: as of `claim`.
    """
    return await _act(
        reviews, "", **common, act=lambda journal, view, who: release(journal, System(), view["review"], who),
        did=lambda _: "is free for others again",
    )  # fmt: skip


@review.command()
@_ID
@click.argument("queue")
@key_option
@store_option
@json_option
@asynchronous
async def handon(review_id: str, queue: str, **common: Any) -> int:
    """Hand REVIEW on to QUEUE, one of those that its own queue names; it is ruled on afresh there.

    Exit codes: as of `claim`, and 2 where its queue doesn't hand on to QUEUE.
    """
    return await _act(
        [review_id], "", **common,
        act=lambda journal, view, who: hand_on(journal, System(), view["review"], who, queue),
        did=lambda view: f"is handed on to queue {escaped(view['queue'])}, where it is ruled on afresh",
    )  # fmt: skip


@review.command(name="comment")
@_ID
@click.argument("text")
@key_option
@store_option
@json_option
@asynchronous
async def comment_(review_id: str, text: str, **common: Any) -> int:
    """Leave a remark on REVIEW for the other reviewers; recorded.

    Exit codes: as of `claim`.
    """
    return await _act(
        [review_id], "", **common, act=lambda journal, view, who: comment(journal, System(), view["review"], who, text),
        did=lambda _: "has your remark, which the other reviewers see",
    )  # fmt: skip
