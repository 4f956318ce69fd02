"""No typed tool can be defined for which what is decided and what runs differ, and no result comes back as another."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Optional, TypeVar, Union

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretBytes, SecretStr, computed_field
from typing_extensions import TypedDict

from remit import FactRequest, Graph, Task, fact, tool
from remit.core.canonical import canonical
from remit.core.roundtrip import equal
from remit.core.typed import Results
from remit.errors import InvalidArguments, NotCanonical, ToolError

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Plain(BaseModel):
    a: int
    b: str = "x"


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    sender: str = Field(alias="from")


class Chosen(BaseModel):
    who: str = Field(validation_alias=AliasChoices("who", "whom"))


class Split(BaseModel):
    sender: str = Field(validation_alias="fromIn", serialization_alias="fromOut")


class WritesOther(BaseModel):
    sender: str = Field(serialization_alias="out")


class Hidden(BaseModel):
    limit: int = Field(default=1_000_000, exclude=True)


class HiddenNeeded(BaseModel):
    limit: int = Field(exclude=True)


class Computed(BaseModel):
    a: int = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.a


class ComputedClosed(Computed):
    model_config = ConfigDict(extra="forbid")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Secret(BaseModel):
    token: SecretStr


class Doubles(BaseModel):
    """A validator that changes its own output."""

    n: int

    @pydantic.field_validator("n")
    @classmethod
    def doubled(cls, value: int) -> int:
        return value * 2


class OnlyOnce(BaseModel):
    """A validator that refuses its own output."""

    n: int

    @pydantic.field_validator("n", mode="before")
    @classmethod
    def negated(cls, value: int) -> int:
        if value < 0:
            raise ValueError("below zero")
        return -value


class WrittenOtherwise(BaseModel):
    n: int

    @pydantic.field_serializer("n")
    def written(self, value: int) -> int:
        return value + 1


class Unwritten(BaseModel):
    limit: int = Field(default=1_000_000, exclude_if=lambda _: True)


class Emptied(BaseModel):
    limit: int = 1_000_000

    @pydantic.model_serializer
    def written(self) -> dict[str, int]:
        return {}


class Numbered(BaseModel):
    """A private attribute, another at each making, and no argument."""

    a: int
    _id: uuid.UUID = pydantic.PrivateAttr(default_factory=uuid.uuid4)


class Trimmed(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    text: str


class Tree(BaseModel):
    value: int = 0
    children: list[Tree] = []


class Box(BaseModel, Generic[T]):
    inside: T


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = "Rex"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Initial:
    x: int
    seed: dataclasses.InitVar[int] = 3


class Pair(NamedTuple):
    first: int
    second: str = "s"


class Row(TypedDict):
    id: int
    name: NotRequired[str]


class Kept(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


REFUSED: list[Any] = [
    SecretStr, SecretBytes, Secret, list[Secret], pydantic.Secret[str], Optional[pydantic.Secret[date]], Split, WritesOther, Hidden, HiddenNeeded, dict[str, Hidden],
    ComputedClosed, set[str], frozenset[int], list[set[int]], Box[set[int]], Initial, Optional[Split],
]  # fmt: skip
BASE: list[Any] = [
    int, str, bool, float, Decimal, None, bytes, date, time, datetime, timedelta, uuid.UUID, Colour, Level, Plain, Aliased,
    Chosen, Computed, Open, Doubles, OnlyOnce, WrittenOtherwise, Unwritten, Emptied, Numbered, Trimmed, Tree, Box[int], Point, Pair, Row, Kept,
    Literal["a", 1], Any, Annotated[Cat | Dog, Field(discriminator="kind")], Union[int, str], Union[date, str],
    Union[datetime, date, str], Union[float, int], Union[Decimal, str], pydantic.Base64Bytes,
    Annotated[str, pydantic.StringConstraints(to_lower=True)], Annotated[str, pydantic.PlainSerializer(lambda v: v[:1])],
    Iterable[int], Generator[Plain, None, None], pydantic.AwareDatetime, pydantic.HttpUrl,
]  # fmt: skip


def types() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.sampled_from([*BASE, *REFUSED]),
        lambda inner: st.one_of(
            inner.map(lambda t: list[t]),  # type: ignore[valid-type]
            inner.map(lambda t: dict[str, t]),  # type: ignore[valid-type]
            inner.map(lambda t: Optional[t]),
            inner.map(lambda t: tuple[t, int]),  # type: ignore[valid-type]
            inner.map(lambda t: Box[t]),  # type: ignore[valid-type]
            st.tuples(inner, inner).map(lambda two: Union[two[0], two[1]]),
        ),
        max_leaves=4,
    )


NUMBERS = [0, 1, -7, 2**53 - 1, 2**53, 2**60, -(2**63), 10**40, 1.5, 1e16, float("nan"), float("inf"), -0.0]
TEXTS = [
    "", "a", "red", " padded ", "UPPER", "2026-01-05", "2026-01-05T09:00:00+02:00", "2026-01-05T09:00:00", "P400D", "PT1S",
    "1.50", "1e3", "NaN", "\ud800", "ü", "\x00", "aGk=", "https://Acme.com", "09:00:00", "12:00", str(uuid.UUID(int=7)),
]  # fmt: skip


def values() -> st.SearchStrategy[Any]:
    leaf = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS))
    names = st.sampled_from(
        [
            "a",
            "b",
            "n",
            "kind",
            "inside",
            "value",
            "children",
            "from",
            "who",
            "whom",
            "x",
            "y",
            "id",
            "text",
            "data",
            "lives",
            "limit",
        ]
    )
    known = st.sampled_from([
        {"a": 1}, {"from": "me"}, {"who": "w"}, {"n": 3}, {"n": -3}, {"text": " t "}, {"value": 1, "children": [{"value": 2}]},
        {"limit": 5}, {"inside": 1}, {"x": 1}, [1, "s"], {"id": 1}, {"data": "aGk="}, {"kind": "cat"}, {"kind": "dog"}, {"a": 1, "z": 2**60},
    ])  # fmt: skip
    return st.recursive(
        st.one_of(leaf, known),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
        max_leaves=6,
    )


def defined(annotation: Any) -> Any:
    def act(v: Any) -> None: ...

    act.__annotations__ = {"v": annotation, "return": None}
    try:
        return tool(act)
    except ToolError:
        return None


@settings(max_examples=400)
@given(types(), st.lists(values(), min_size=1, max_size=6))
def test_no_typed_tool_can_be_defined_for_which_decided_and_run_differ(annotation: Any, given_: list[Any]) -> None:
    made = defined(annotation)
    if made is None:
        return
    for value in given_:
        try:
            args = made.arguments.normalise({"v": value})
        except InvalidArguments:
            continue
        data = canonical(args)
        bound = made.arguments.bind(args)["v"]
        # What the function is given is what was given and decided, and deciding it again changes nothing.
        assert equal(bound, _read(annotation, {"v": value}))
        assert canonical(made.arguments.normalise(args)) == data
        assert canonical(args) == data
        assert equal(made.arguments.bind(args)["v"], bound)


def _read(annotation: Any, arguments: dict[str, Any]) -> Any:
    """What pydantic makes of the JSON that an agent gives, in which 1.0 is 1 and -0.0 is 0 (RFC 8785)."""
    made = pydantic.create_model("Read", v=(annotation, ...), __config__=ConfigDict(allow_inf_nan=False))
    return made.model_validate_json(canonical(arguments), strict=True).v


@settings(max_examples=300)
@given(types(), st.lists(values(), min_size=1, max_size=6))
def test_a_result_that_is_kept_comes_back_as_it_was(annotation: Any, given_: list[Any]) -> None:
    try:
        results: Results[Any] = Results(annotation)
    except (ToolError, pydantic.PydanticUserError):
        return
    for value in given_:
        for made in (value, _as(annotation, value)):
            try:
                data = results.dump(made)
            except (ValueError, NotCanonical, TypeError, RecursionError):
                continue
            assert results.dump(results.load(data)) == data


def _as(annotation: Any, value: Any) -> Any:
    try:
        return pydantic.TypeAdapter(annotation).validate_python(value)
    except Exception:  # noqa: BLE001 - then there is no such value
        return value


@pytest.mark.parametrize("annotation", REFUSED, ids=str)
def test_what_cannot_make_the_round_trip_is_refused_where_a_tool_an_agent_or_a_fact_is_defined(annotation: Any) -> None:
    def takes(v: Any) -> None: ...

    takes.__annotations__ = {"v": annotation, "return": None}
    with pytest.raises(ToolError, match="tool `takes`: "):
        tool(takes)

    def gives() -> Any: ...

    gives.__annotations__ = {"return": annotation}
    with pytest.raises(ToolError, match="tool `gives`: its result: "):
        tool(gives)

    async def agent(ctx: Any) -> Any: ...

    agent.__annotations__ = {"ctx": Any, "return": annotation}
    with pytest.raises(ToolError, match="agent `agent`: its output: "):
        Graph("app", [Task("t", agent)])

    async def reader(ctx: Any, input: Any) -> None: ...

    reader.__annotations__ = {"ctx": Any, "input": annotation, "return": None}
    with pytest.raises(ToolError, match="agent `reader`: its input: "):
        Graph("app", [Task("t", reader)])

    act = tool(lambda_named())

    def known(request: FactRequest) -> Any: ...

    known.__annotations__ = {"request": FactRequest, "return": annotation}
    with pytest.raises(ToolError, match="fact `known`: its value: "):
        Graph("app", [Task("t", quiet)], tools=[act], facts=[fact(tools=[act])(known)])


def lambda_named() -> Callable[..., None]:
    def act() -> None: ...

    act.__annotations__ = {"return": None}
    return act


async def quiet(ctx: Any) -> None: ...


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Secret, "declare it as a secret of the tool instead"),
        (Split, "`v.sender`: it is written as `fromOut` and read as `fromIn`: use one `alias` for both"),
        (Hidden, "`v.limit`: a field with `exclude=True` is not written, and comes back as its default"),
        (ComputedClosed, "`v.twice`: a computed field is written"),
        (set[str], "`v`: a set has no order, so its JSON differs from process to process: use a list or a tuple"),
        (Initial, "`v.seed`: an `InitVar` is not written"),
    ],
)
def test_the_refusal_names_the_place_the_reason_and_the_remedy(annotation: Any, words: str) -> None:
    def act(v: Any) -> None: ...

    act.__annotations__ = {"v": annotation, "return": None}
    with pytest.raises(ToolError) as caught:
        tool(act)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Doubles, {"n": 2}),
        (OnlyOnce, {"n": 2}),
        (WrittenOtherwise, {"n": 2}),
        (Unwritten, {"limit": 5}),
        (Emptied, {"limit": 5}),
        (list[Emptied], [{"limit": 5}]),
        (Annotated[str, pydantic.PlainSerializer(lambda v: v[:1])], "secret"),
        (list[str], {"a", "b"}),
        (Any, {"deep": [{"a", "b"}]}),
        (str, SecretStr("x")),
        (int, 2**60),
        (float, float("nan")),
        (dict[str, Any], {"n": 10**40}),
        (str, "\ud800"),
    ],
)
def test_what_code_of_the_users_changes_or_json_can_not_keep_is_rejected_before_it_is_decided(
    annotation: Any, value: Any
) -> None:
    made = defined(annotation)
    with pytest.raises(InvalidArguments):
        made.arguments.normalise({"v": value})


@pytest.mark.parametrize("annotation", [Iterable[int], list[Iterable[int]], Generator[int, None, None]], ids=str)
def test_what_can_be_gone_through_only_once_is_refused_as_an_argument(annotation: Any) -> None:
    """It would be empty when it runs: it is looked at before."""

    def act(v: Any) -> None: ...

    act.__annotations__ = {"v": annotation, "return": None}
    with pytest.raises(ToolError, match="can be gone through only once, and is before it runs: use a list"):
        tool(act)


def test_a_private_attribute_that_differs_at_each_making_is_no_argument() -> None:
    assert defined(Numbered).arguments.normalise({"v": {"a": 1}}) == {"v": {"a": 1}}


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Aliased, Aliased(sender="me")),
        (Chosen, Chosen(whom="me")),
        (Computed, Computed(a=3)),
        (Kept, Kept(data=b"\xff\x00")),
        (datetime, datetime(2026, 1, 5, 9, tzinfo=timezone(timedelta(hours=2)))),
        (timedelta, timedelta(days=400, microseconds=1)),
        (Pair, Pair(1, "x")),
        (Tree, Tree(children=[Tree(value=2)])),
        (Decimal, Decimal("1.50")),
        (pydantic.Base64Bytes, b"hi"),
        (datetime, datetime(2026, 1, 5, tzinfo=UTC)),
    ],
)
def test_types_that_people_use_come_back_equal(annotation: Any, value: Any) -> None:
    results: Results[Any] = Results(annotation)
    assert results.load(results.dump(value)) == value
