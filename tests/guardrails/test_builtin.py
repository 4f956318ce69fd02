"""A detector is made from what a file says of it, or refused with the place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remit.errors import BadInput
from remit.guardrails.builtin import BUILTIN, build, options_of

NEEDED: dict[str, dict[str, Any]] = {
    "paths": {"roots": ["/tmp"]},
    "schema": {"document": {"type": "object"}},
    "quality": {"checks": {}},
}


def now() -> datetime:
    return datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("detector", BUILTIN)
def test_every_detector_can_be_made_from_a_file_under_any_name(detector: str) -> None:
    made = build(detector, "mine", NEEDED.get(detector, {}), now)
    assert made.name == "mine"
    assert made.look([("/a", "x")]).facts is not None


@pytest.mark.parametrize("detector", BUILTIN)
def test_an_option_that_does_not_exist_is_refused(detector: str) -> None:
    with pytest.raises(BadInput, match=f"option `nope` of detector `{detector}`"):
        build(detector, detector, {**NEEDED.get(detector, {}), "nope": 1}, now)
    assert "nope" not in options_of(detector)


def test_options_reach_the_detector_in_their_types() -> None:
    made = build("quality", "quality", {"checks": {"rows": [1, 5], "fresh": {"at": "P1D"}}}, now)
    assert made.look([("", [{"at": (now() - timedelta(hours=23)).isoformat()}])]).facts.passed
    assert not made.look([("", [{"at": (now() - timedelta(hours=25)).isoformat()}])]).facts.passed


@pytest.mark.parametrize(
    ("detector", "options", "words"),
    [
        ("sql", {"dialect": 7}, "option `dialect`"),
        ("sql", {"dialect": "cobol"}, "no SQL dialect"),
        ("urls", {"hosts": "example.com"}, "option `hosts`"),
        ("paths", {}, "option `roots`"),
        ("quality", {"checks": {"rowz": 1}}, "option `checks"),
        ("nothing", {}, "there is no detector `nothing`"),
    ],
)
def test_a_wrong_option_is_refused_by_name(detector: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        build(detector, detector, options, now)
