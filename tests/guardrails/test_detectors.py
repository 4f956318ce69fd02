"""A detector says facts and places of any value whatever, or raises; it never hangs and never says what it saw."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.detectors import Detector, Finding, Places, Report, texts
from remit.errors import BadInput
from remit.guardrails.paths import paths
from remit.guardrails.pii import pii
from remit.guardrails.quality import Checks, quality
from remit.guardrails.schema import schema
from remit.guardrails.secrets import secrets
from remit.guardrails.shell import shell
from remit.guardrails.sql import sql
from remit.guardrails.text import text
from remit.guardrails.urls import urls

DETECTORS: list[Detector[Any]] = [
    sql("postgres"), shell(), paths(["/tmp"]), urls(), urls(embedded=True, name="embedded"), secrets(), pii(), text(),
    schema({"type": "object"}), quality(Checks(required=("a",)), lambda: datetime(2026, 11, 22, tzinfo=UTC)),
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
HOSTILE = {
    "brackets": "(" * 20_000,
    "quotes": "'" * 20_001,
    "backslashes": "\\" * 20_001,
    "substitutions": "$(" * 5_000,
    "backticks": "`" * 20_001,
    "pipes": "|" * 20_000,
    "at signs": "a@" * 10_000,
    "dots": "a." * 10_000,
    "digits": "4" * 20_000,
    "digits and spaces": "4 " * 10_000,
    "letters and digits": "a1" * 10_000,
    "iban": "DE" + "12" * 10_000,
    "slashes": "/" * 20_000,
    "colons": "http://" * 3_000,
    "markdown": "![" * 10_000,
    "links": "[a](" * 5_000,
    "references": "[a]: <" * 3_000,
    "emphasis": "*a_" * 7_000,
    "tags": "<a " * 7_000,
    "comments": "<!--" * 5_000,
    "base64": "QUFB" * 5_000,
    "hex": "ff" * 10_000,
    "percent": "%25" * 7_000,
    "assignments": "password=" * 2_000,
    "escapes": "\x1b[" * 10_000,
    "invisible": "\u200b" * 10_000,
    "look-alikes": "а" * 10_000,
    "spaces": " " * 20_000 + "x",
    "newlines": "\n" * 20_000,
    "unions": "select 1 union " * 1_000 + "select 1",
    "ands": "select 1 where " + "a and " * 2_000 + "b",
    "nots": "select " + "not " * 3_000 + "a",
    "heredocs": "cat <<A\n" * 2_000,
    "surrogate": "a\ud800b",
    "braces": "".join("{" + chr(point) for point in range(0x80, 0x11000, 0x101) if not 0xD800 <= point < 0xE000),
    "braces, far": "".join("{" + chr(point) for point in range(0x10000, 0x110000, 0x1F1)),
}


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
@settings(max_examples=60, deadline=None)
@given(value=JSON)
def test_any_value_gets_facts_of_the_declared_types_or_an_error(detector: Detector[Any], value: Any) -> None:
    report = detector.look([("/it", value)])
    facts = msgspec.to_builtins(report.facts)
    assert set(facts) == set(detector.schema["properties"])
    msgspec.convert(facts, detector.facts)
    assert all(finding.pointer.startswith("/it") and 0 <= finding.start <= finding.end for finding in report.findings)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
@pytest.mark.timeout(20)
def test_a_hostile_text_ends_in_facts_or_an_error_and_soon(detector: Detector[Any], name: str) -> None:
    try:
        detector.look([("/it", HOSTILE[name])])
    except (BadInput, UnicodeError):
        assert name == "surrogate"


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.name)
def test_looking_twice_says_the_same_and_leaves_nothing_behind(detector: Detector[Any]) -> None:
    first = detector.look([("/it", "rm -rf / ; select * from t -- ann@example.com https://10.0.0.1/")])
    detector.look([("/it", "something else")])
    assert detector.look([("/it", "rm -rf / ; select * from t -- ann@example.com https://10.0.0.1/")]) == first


class ShoutingFacts(msgspec.Struct, frozen=True):
    loud: bool = False


def test_a_users_own_detector_takes_ten_lines() -> None:
    def look(places: Places) -> Report[ShoutingFacts]:
        found = tuple(Finding("loud", pointer, 0, len(said)) for pointer, said in texts(places) if said.isupper())
        return Report(ShoutingFacts(loud=bool(found)), found)

    shouting = Detector("shouting", ShoutingFacts, look)
    assert shouting.look([("/a", {"b": ["HEY", "you"]})]) == Report(
        ShoutingFacts(True), (Finding("loud", "/a/b/0", 0, 3),)
    )
    assert shouting.schema["properties"] == {"loud": {"type": "boolean"}}


def test_a_detector_whose_name_or_facts_conditions_could_not_use_is_refused() -> None:
    class Bare(msgspec.Struct, frozen=True):
        loud: bool

    with pytest.raises(BadInput, match="can't be called `not a name`"):
        Detector("not a name", ShoutingFacts, lambda _: Report(ShoutingFacts()))
    with pytest.raises(BadInput, match="every field of `Bare` needs a default"):
        Detector("bare", Bare, lambda _: Report(Bare(True)))


def test_pointers_escape_what_keys_may_hold() -> None:
    assert list(texts([("", {"a/b": {"c~d": "x"}})])) == [("/a~1b/c~0d", "x")]
