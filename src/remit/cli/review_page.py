"""A review on one page, for whoever rules on it. What others wrote can't forge it, and what is cut says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from remit.cli.disguise import disguises
from remit.cli.output import escaped, fields, folded, heading, mark, moment, pretty, until, value
from remit.core.reading import LONGEST
from remit.runtime.ambient import System, stamp

_EFFECTS: Final = {
    "read": "it changes nothing",
    "fetch": "it reads, and its arguments leave for elsewhere",
    "write": "it changes data",
    "send": "data leaves to others",
    "commit": "it binds whom it is for, as a payment or a booking does",
    "destroy": "data is gone afterwards",
}
_REPEATS: Final = {
    "idempotent": "run twice, it has the effect of once",
    "keyed": "run twice with the same key, it has the effect of once",
    "once": "run twice, it would have two effects; it is never run again by guess",
}
_CALLS: Final = 10
"""Earlier calls of the run that are shown."""


def print_review(
    view: dict[str, Any], run: dict[str, Any] | None, rules: Sequence[dict[str, Any]] = (), *, full: bool = False,
    you: str = "",
) -> None:  # fmt: skip
    """Prints what there is to know before ruling: `run` is the run's view, None where it can't be read.

    `rules` are those that asked, with the parts of their conditions as `audit trace` has them; `you` says whether who
    looks may rule.

    Values over `LONGEST` are cut, unless `full`; then their codes stand at their ends.
    """
    waits = view["status"] in ("open", "claimed")
    click.echo(f"{heading('review ' + view['review'])} in queue {escaped(view['queue'])} is {mark(view['status'])}")
    if view["shown"] is None:
        why = view["gone"].strip("[]")
        click.echo(f"  what its reviewers were shown is {why}; it is of run {view['run']}, call {view['call']}")
    else:
        fields([("title", escaped(view["title"]))])
        _print_shown(view, view["shown"], full)
        _print_rules(rules)
    if run is not None:
        _print_run(run, view["call"])
    _print_said(view)
    if waits:
        _print_choices(view, you)


def print_argument(view: dict[str, Any], name: str) -> None:
    """Prints one argument in full, and the code that approving takes where it was cut."""
    click.echo(f"{heading('review ' + view['review'])}, argument {escaped(name)}")
    _print_value(view, name, full=True)


def _print_shown(view: dict[str, Any], shown: dict[str, Any], full: bool) -> None:
    facts = shown.get("facts", {})
    longest = None if full else LONGEST
    fields(("why", value(reason, longest)) for reason in shown["reasons"])
    click.echo(f"\n{heading(shown['tool'])}")
    widest = max((len(escaped(name)) for name in view["args"]), default=0)
    for name in view["args"]:
        _print_value(view, name, full=full, widest=widest)
    if view["activation"]:
        click.echo(f"\n{heading('about the activation')}")
        about = [("does", value(shown["description"], longest)), ("asked by", value(shown["principal"], longest))]
        return fields([*about, ("opened", moment(view["opened"])), ("digest", view["version"])])
    click.echo(f"\n{heading('about the call')}")
    return fields(
        [
            ("does", value(shown["description"], longest) if shown["description"] else ""),
            ("effect", _in_words(shown["effect"], _EFFECTS)),
            ("repeated", _in_words(shown["repeat"], _REPEATS)),
            ("asked by", f"agent {escaped(shown['agent'])}"),
            ("for", value(shown["principal"], longest)),
            ("started by", value(view["starter"], longest) if view["starter"] else ""),
            ("in", f"run {escaped(shown['run'])}, call {escaped(shown['call'])}"),
            ("rules", ", ".join(_hit(hit) for hit in view["rules"])),
            ("has read", _read(facts.get("labels", []))),
            ("facts", pretty(facts["facts"], longest) if facts.get("facts") else ""),
            ("run so far", _so_far(facts)),
            ("priority", str(view["priority"]) if view["priority"] else ""),
            ("opened", moment(view["opened"])),
            ("digest", view["version"]),
        ]
    )


def _in_words(word: str, words: Mapping[str, str]) -> str:
    return f"{escaped(word)}: {words[word]}" if word in words else escaped(word)


def _read(labels: Sequence[str]) -> str:
    """What the task has read so far, by its labels."""
    return f"data with the labels {', '.join(map(escaped, labels))}" if labels else ""


def _print_value(view: dict[str, Any], name: str, *, full: bool, widest: int = 0) -> None:
    """An argument: its value as it stands, what it was, and what isn't as it looks."""
    found, before = view["args"][name], view["shown"]["args"].get(name)
    code = view["seen"].get(name, "")
    cut = bool(code) and not full
    fields([(escaped(name).ljust(widest), _cut(found) if cut else pretty(found))])
    notes = [_source(view["shown"].get("facts", {}), name), *(f"! {note}" for note in disguises(found))]
    if cut:
        notes.append(f"! cut: it is longer than is shown here; `remit review show {view['review']} --arg` shows it all")
    elif code:
        notes.append(f"that was all of it; its code is {code}")
    if name not in view["shown"]["args"] or found != before:
        notes.append(f"a reviewer changed it; the agent asked for {value(before, 200)}")
    for note in filter(None, notes):
        click.echo(folded(note, "      "))


def _cut(found: object) -> str:
    text = pretty(found)
    return f"{text[:LONGEST]}… (cut: {len(text)} characters)"


def _source(facts: dict[str, Any], name: str) -> str:
    """Where an argument came from, in words; "" where the run didn't follow that."""
    found = facts.get("provenance")
    origin = found.get(name) if isinstance(found, dict) else None
    if not isinstance(origin, dict) or not origin.get("says"):
        return ""
    doubt = "! from nobody trusted: " if origin.get("untrusted") and not origin.get("trusted") else ""
    return f"{doubt}{value(origin['says'], LONGEST)}"


def _print_rules(rules: Sequence[dict[str, Any]]) -> None:
    """Why it is here: the value of each part of the conditions, when it was decided."""
    from remit.policykit.explain import part_lines  # noqa: PLC0415 - who lists reviews doesn't need it

    if rules:
        click.echo(f"\n{heading('why it is here')}")
    for rule in rules:
        click.echo(escaped(f"  {rule['rule']}"))
        for line in part_lines(rule["condition"], 4):
            click.echo(folded(escaped(line.lstrip(" ")), " " * (len(line) - len(line.lstrip(" ")))))


def _print_run(run: dict[str, Any], call: str) -> None:
    """What the run has done before this call."""
    before = []
    for one in run["calls"]:
        if one["call"] == call:
            break
        before.append(one)
    if not before:
        return
    click.echo(f"\n{heading('before it, this run called')}")
    if len(before) > _CALLS:
        click.echo(f"  … {len(before) - _CALLS} more, before these: `remit runs show {run['run']}`")
    for one in before[-_CALLS:]:
        click.echo(folded(f"{value(one['tool'], 100)}  {_ended(one)}  {value(one['args'], 100)}", "  "))


def _ended(call: dict[str, Any]) -> str:
    return escaped(call["status"] if not call["cause"] else f"{call['status']} ({call['cause']})")


def _print_said(view: dict[str, Any]) -> None:
    for said in view["rulings"]:
        word = "approved" if said["approved"] else "denied"
        how = " in single-operator mode" if said["single_operator"] else ""
        behalf = f" on behalf of {value(said['on_behalf'])}" if said["on_behalf"] else ""
        click.echo(f"\n{heading(word)} by {value(said['reviewer'])}{behalf} at {moment(said['at'])}{how}")
        changes = [(escaped(name), f"changed to {pretty(found, LONGEST)}") for name, found in said["edited"].items()]
        answer = [("answers", pretty(said["answer"], LONGEST))] if said["answers"] else []
        fields(
            [
                *changes,
                *answer,
                *_granted(said["grant"]),
                ("reason", value(said["reason"], LONGEST) if said["reason"] else ""),
            ]
        )
    for one in view["comments"]:
        said = value(one["comment"], LONGEST)
        click.echo("\n" + folded(f"{value(one['reviewer'])} at {moment(one['at'])}: {said}"))


def _granted(grant: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What somebody granted beside the call; whoever rules next may say the same, and sees all of it."""
    if grant is None:
        return []
    condition = value(grant["condition"], None) if grant["condition"] is not None else grant["gone"]
    return [("grants", f"{grant['uses']} calls like it until {moment(grant['until'])}, if {condition}")]


def _print_choices(view: dict[str, Any], you: str) -> None:
    """Who holds it, what either answer does, what silence does, and the command for each thing that may be done."""
    now = System().now()
    click.echo(f"\n{heading('your ruling')}")
    if stamp(now) >= view["expires"]:
        click.echo(
            folded(f"  its time was up at {moment(view['expires'])}: {if_silent(view)}, and nobody can rule on it")
        )
        return
    held = stamp(now) < view["claimed_until"]
    claimed = f"{value(view['claimed_by'])} until {moment(view['claimed_until'])}" if held else ""
    fields(
        [
            ("you are", value(you) if you else ""),
            ("so far", quorum(view)),
            ("claimed by", claimed),
            ("if you approve", if_approved(view)),
            ("if you deny", if_denied(view)),
            ("if nobody rules", if_silent(view)),
            ("time left", f"{until(view['expires'], now)}, {moment(view['expires'])}"),
        ]
    )
    click.echo("\n  A ruling is final.")
    for command, what in choices(view, held=held):
        click.echo(folded(f"{command}  ({what})" if what else command, "  "))


def choices(view: dict[str, Any], *, held: bool) -> list[tuple[str, str]]:
    """Returns the command for each thing that may be done with a review that waits, and a word on it."""
    id = view["review"]
    seen = "".join(" --seen CODE" for _ in view["seen"])
    found = [(f"remit review approve {id} --if-digest {view['version'][:12]}{seen}", "")]
    if view["may_edit"] and not view["in_doubt"]:
        found.append((f"remit review approve {id} --edit", f"may change: {', '.join(map(escaped, view['may_edit']))}"))
    if (grant := view["may_grant"]) and not view["in_doubt"]:
        again = "--same-grant" if any(said["grant"] for said in view["rulings"]) else "--grant CONDITION --uses N"
        found.append((f"remit review approve {id} {again}", f"at most {grant['uses']} uses"))
    if view["may_respond"] and not view["in_doubt"]:
        found.append((f"remit review respond {id} --value JSON", "the agent gets this answer, and nothing runs"))
    found.append((f"remit review deny {id} --reason WHY", ""))
    for queue in view["hands_on_to"]:
        found.append((f"remit review handon {id} {escaped(queue)}", "it is ruled on afresh there"))
    if held:
        found.append((f"remit review release {id}", f"for {value(view['claimed_by'])}, who holds it"))
    else:
        found.append((f"remit review claim {id}", "others can't rule on it meanwhile"))
    return [*found, (f"remit review comment {id} TEXT", "the other reviewers see it")]


def quorum(view: dict[str, Any]) -> str:
    """Returns how far it is from being settled."""
    groups = ", ".join(f"{count} of {escaped(group)}" for group, count in sorted(view["needed_of"].items()))
    of = f" ({groups})" if groups else ""
    no = f"; {view['denials']} of {view['denials_needed']} have denied it" if view["denials_needed"] > 1 else ""
    return f"{view['approvals']} of {view['needed']} needed{of} have approved it as it stands{no}"


def if_approved(view: dict[str, Any]) -> str:
    """Returns what one more yes does."""
    if view["shown"] is None:
        return "you can't: what there was to see was erased"
    what = "it is run again" if view["in_doubt"] else "the call runs, exactly as shown, once"
    if view["activation"]:
        what = f"`remit policy activate --review {view['review']}` puts exactly this set in force, once"
    if view["approvals"] + 1 < view["needed"]:
        return f"{view['needed'] - view['approvals'] - 1} more must approve it; then {what}"
    permitted = "if no other set is activated before" if view["activation"] else "if policy still permits it"
    return f"{what}, {permitted}" + (", and each group has its seats filled" if view["needed_of"] else "")


def if_denied(view: dict[str, Any]) -> str:
    """Returns what one more no does."""
    left = view["denials_needed"] - view["denials"] - 1
    first = f"{left} more must deny it; then " if left > 0 else ""
    if view["activation"]:
        return f"{first}this set is not activated on this request"
    return f"{first}the call never runs, and the agent is told your reason"


def if_silent(view: dict[str, Any]) -> str:
    """Returns what happens at the deadline."""
    return f"it goes on to queue {escaped(view['then_to'])}" if view["then_to"] else "it is denied"


def _hit(hit: dict[str, Any]) -> str:
    return escaped(hit["rule"]) + (f" (broken: {escaped(hit['broken'])})" if hit["broken"] else "")


def _so_far(facts: dict[str, Any]) -> str:
    if "spent" not in facts:
        return ""
    history = facts["history"]
    return (
        f"{facts['spent']['calls']} calls, cost {facts['spent']['cost']};"
        f" {history['allowed']} allowed, {history['escalated']} escalated, {history['denied']} denied"
    )
