"""What `queues.yaml` and `reviewers.yaml` may say: who is in charge, and on which terms.

The models are the files' structure; `policyfiles` reads them, and `people` says what they mean together.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from remit.core.sshsig import read_public_key
from remit.core.yamltext import Number
from remit.errors import BadInput


class Strict(BaseModel):
    """A part of a file: what it doesn't name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


MOST: Final = 99
"""Approvals or denials that a queue may ask for."""
MOST_USES: Final = 9_999
"""Uses that a queue may let its reviewers grant."""

_WHOLE: Final = re.compile(r"[1-9][0-9]?")
_USES: Final = re.compile(r"[1-9][0-9]{0,3}")
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))?")
_CLOCK: Final = re.compile(r"(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)")


def wanted(hint: str) -> PydanticCustomError:
    """The error of a value that isn't what is wanted; `hint` says what is."""
    return PydanticCustomError("wanted", "wanted", {"hint": hint})


def _count(value: object) -> object:
    """A whole number from 1 to 99, which the reader hands on as it was written."""
    if isinstance(value, Number) and _WHOLE.fullmatch(value.text):
        return int(value.text)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST:
        return value
    raise wanted(f"say a whole number from 1 to {MOST}")


def _uses(value: object) -> object:
    text = value.text if isinstance(value, Number) else str(value)
    if not isinstance(value, bool) and isinstance(value, (int, Number)) and _USES.fullmatch(text):
        return int(text)
    raise wanted(f"say a whole number from 1 to {MOST_USES}")


def _approvals(value: object) -> object:
    if isinstance(value, dict):
        if not value:
            raise wanted("name at least one group: `{finance: 1, legal: 1}`")
        return {name: _count(count) for name, count in value.items()}
    return _count(value)


def _moment(value: object) -> object:
    """RFC 3339, or a date, which is its midnight in UTC; as entries write times."""
    hint = "say a date or a time with its zone: `2026-01-31` or `2026-01-31T17:00:00Z`"
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise wanted(hint)
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise wanted(hint) from error
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _key(value: object) -> object:
    if not isinstance(value, str):
        raise wanted("put the line of a `.pub` file in quotes")
    try:
        return read_public_key(value).text
    except BadInput as error:
        raise wanted(str(error)) from error


def clock_hours(value: object) -> object:
    """From when to when: `09:00-17:30`."""
    start, _, end = str(value).partition("-")
    if _CLOCK.fullmatch(start) and _CLOCK.fullmatch(end) and start >= end:
        hint = "its end is not after its start"
        raise wanted(f'{hint}; a night is two spans: `"{start}-24:00"`, and on the next day `"00:00-{end}"`')
    if not (_CLOCK.fullmatch(start) and _CLOCK.fullmatch(end) and start < end):
        raise wanted('say from when to when: `"09:00-17:30"`')
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Duration = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}[smhd]$")]
Count = Annotated[int, BeforeValidator(_count), Field(ge=1, le=MOST)]
Moment = Annotated[str, BeforeValidator(_moment)]
_Text = Annotated[str, StringConstraints(min_length=1)]


class HoursText(Strict):
    """When people work: only then does a review's time to live run."""

    timezone: _Text = Field(description="A zone of the IANA database, such as `Europe/Berlin`.")
    hours: Annotated[str, BeforeValidator(clock_hours)] = Field(description='From when to when: `"09:00-17:30"`.')
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        ["mon", "tue", "wed", "thu", "fri"], min_length=1, description="On which days."
    )


class GrantText(Strict):
    """How far the reviewers of a queue may approve calls like a reviewed one in advance."""

    uses: Annotated[int, BeforeValidator(_uses), Field(ge=1, le=MOST_USES)] = Field(
        description="How many calls at most."
    )
    for_: Duration = Field(alias="for", description="For how long at most: `24h`.")
    outlives_policies: bool = Field(
        False, description="A grant goes on when the policies change; it ends with them, if not said."
    )


class QueueText(Strict):
    """A queue in which escalated calls wait for a reviewer."""

    description: str = Field("", description="For reviewers.")
    reviewers: list[Name] = Field(
        default_factory=list, description="Who may rule: people and groups of reviewers.yaml, by name."
    )
    approvals: Annotated[
        int | dict[Name, int], BeforeValidator(_approvals, json_schema_input_type=Count | dict[Name, Count])
    ] = Field(
        1, description="How many people must approve; or how many of each of several groups. Nobody counts twice."
    )
    denials: Count = Field(1, description="How many people must deny it to end a review; the first, if not said.")
    ttl: Duration = Field("72h", description="How long a review waits: `90s`, `30m`, `72h`, `7d`.")
    working_hours: HoursText | None = Field(None, description="Count the time to live in these hours only.")
    on_expiry: Literal["deny", "hand on"] = Field(
        "deny", description="What an expired review means: its call is denied, or the next queue is asked."
    )
    hand_on_to: list[Name] = Field(
        default_factory=list,
        description="Queues that its reviewers may hand a review on to; with `on_expiry: hand on`, the first is next.",
    )
    may_also_rule: list[Literal["starter", "released"]] = Field(
        default_factory=list,
        description="Whom separation of duties lets in all the same: who started the run on this machine, or who"
        " claimed the review and released it.",
    )
    claim: Duration = Field("30m", description="How long a claim keeps others from ruling.")
    reason: Literal["on denial", "always"] = Field("on denial", description="When a ruling must say why.")
    edit: list[_Text] = Field(default_factory=list, description="Arguments that a reviewer may change.")
    respond: bool = Field(False, description="A reviewer may answer in the tool's place; nothing runs then.")
    notify: list[Name] = Field(
        default_factory=list, description="Channels of remit.toml that are told what happens here."
    )
    remind: list[Duration] = Field(
        default_factory=list, description="How long before a review's deadline they are reminded of it: `[4h, 1h]`."
    )
    grant: GrantText | None = Field(None, description="Lets its reviewers grant; they may not, if not said.")
    priority: _Text | None = Field(
        None, description="A whole number in CEL over what a rule sees; higher comes first, 0 if it fails."
    )
    title: _Text | None = Field(
        None,
        description="One line by which reviewers know one review from another, with CEL over what a rule sees:"
        " `{{args.supplier}}: {{args.amount}} {{args.currency}}`. Lists, messages and answers show it, so put nothing"
        " secret there. The tool and its arguments, if not said.",
    )


class ChangesText(Strict):
    """Who must approve changes of the policy itself."""

    activation: Name | None = Field(
        None, description="The queue whose reviewers must approve before another policy set is activated."
    )


class FlowText(Strict):
    """Whose word counts, while a run goes on, on where its data comes from; and who may read what."""

    endorse: list[Name] = Field(
        default_factory=list,
        description="Who may endorse a source for a run: people and groups, and `principal` for whom it acts for.",
    )
    declassify: list[Name] = Field(
        default_factory=list, description="Who may remove a label from what comes from a source, for a run."
    )
    readers: dict[Annotated[str, StringConstraints(pattern=r"^(private|in:[a-z0-9_.:-]{1,60})$")], list[_Text]] = Field(
        default_factory=dict,
        description="Who may read what is `private` or in a compartment (`in:finance`): recipients as calls name them,"
        " where `*` stands for any characters.",
    )


class QueuesText(Strict):
    """The file `queues.yaml`: the queues that rules escalate to."""

    policy: ChangesText = Field(
        default_factory=lambda: ChangesText(activation=None), description="Who must approve changes of the policy."
    )

    single_operator: bool = Field(False, description="Whoever asked may also approve. Every entry made so says so.")
    queues: dict[Name, QueueText] = Field(default_factory=dict, description="Queues by name.")
    flow: FlowText | None = Field(None, description="People's word on information flow.")


class KeyText(Strict):
    """A public key, and from when until when it signs."""

    key: Annotated[str, BeforeValidator(_key)] = Field(description="The line of a `.pub` file: `ssh-ed25519 AAAA…`.")
    from_: Moment | None = Field(None, alias="from", description="Signs nothing before this.")
    until: Moment | None = Field(None, description="Signs nothing from this moment on.")


class DelegateText(Strict):
    """Somebody who may rule on behalf of a reviewer."""

    to: Name = Field(description="The reviewer who may.")
    from_: Moment | None = Field(None, alias="from", description="Not before this.")
    until: Moment = Field(description="Not from this moment on.")
    queues: list[Name] = Field(default_factory=list, description="In these queues only; in all, if none is named.")


class ReviewerText(Strict):
    """A person who may rule."""

    name: str = Field("", description="For people.")
    groups: list[Name] = Field(default_factory=list, description="Groups, which are named here and nowhere else.")
    also: list[_Text] = Field(
        default_factory=list, description="Names that runs know this person by: logins, addresses, principals."
    )
    from_: Moment | None = Field(None, alias="from", description="Rules nothing before this.")
    until: Moment | None = Field(None, description="Rules nothing from this moment on.")
    keys: list[KeyText] = Field(default_factory=list, description="Public SSH keys that sign for this person.")
    delegates: list[DelegateText] = Field(default_factory=list, description="Who may rule on behalf of this person.")


class ReviewersText(Strict):
    """The file `reviewers.yaml`: who may rule, and with which keys."""

    reviewers: dict[Name, ReviewerText] = Field(description="People by name.")


MODELS: Final[dict[str, Any]] = {
    "policy": ChangesText,
    "queues": QueueText,
    "reviewers": ReviewerText,
    "keys": KeyText,
    "delegates": DelegateText,
    "working_hours": HoursText,
    "grant": GrantText,
}
"""Which model stands below a key of these files."""
