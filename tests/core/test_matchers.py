"""Paths, hosts, addresses and amounts: what isn't one is an error, so that a rule about it only gets stricter."""

from __future__ import annotations

import ipaddress
import posixpath
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.cel.money import DECIMALS
from remit.core.conditions import Environment, Failure, compile_condition, compile_expression
from remit.errors import ConditionError

ENVIRONMENT = Environment(
    {
        "text": {"type": "string"},
        "about": {"type": "string"},
        "amount": {"type": "string", "format": "decimal"},
        "number": {"type": "number"},
        "anything": {},
    }
)


def value(source: str, **roots: Any) -> object:
    return compile_condition(source, ENVIRONMENT).evaluate(roots)


def is_error(source: str, **roots: Any) -> bool:
    return isinstance(value(source, **roots), Failure)


def refused(source: str) -> str:
    with pytest.raises(ConditionError) as caught:
        compile_condition(source, ENVIRONMENT)
    return caught.value.problems[0].message


# --- paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "folder", "is_within"),
    [
        ("/srv/app/main.py", "/srv/app", True),
        ("/srv/app", "/srv/app/", True),
        ("/srv//app/./x", "/srv/app", True),
        ("/srv/application/x", "/srv/app", False),
        ("/etc/passwd", "/srv", False),
        ("/", "/srv", False),
        ("/anything", "/", True),
        ("src/x", "src", True),
        ("x", ".", True),
    ],
)
def test_a_path_is_within_a_folder_by_whole_names(path: str, folder: str, is_within: bool) -> None:
    assert value("text.isWithin(about)", text=path, about=folder) is is_within


@pytest.mark.parametrize(
    "path", ["", "/srv/../etc", "..", "/srv/app/..", "~/x", "/srv\\app", "/srv/\0x", "/srv/\nx", "x", "a" * 5000]
)
def test_a_path_that_may_lead_elsewhere_is_an_error_and_never_outside_or_inside(path: str) -> None:
    assert is_error('text.isWithin("/srv")', text=path)
    assert is_error('!text.isWithin("/srv")', text=path)


@given(st.text(st.sampled_from("/.ab~\\"), max_size=12), st.sampled_from(["/a", "/a/b", "a", "/"]))
def test_what_is_within_is_within_after_the_system_has_resolved_it(path: str, folder: str) -> None:
    if value("text.isWithin(about)", text=path, about=folder) is True:
        resolved, root = posixpath.normpath(path).replace("//", "/"), posixpath.normpath(folder)
        assert posixpath.commonpath([resolved, root]) == root


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("src/a.py", "src/*.py", True),
        ("src/a/b.py", "src/*.py", False),
        ("src/a/b.py", "src/**/*.py", True),
        ("src/b.py", "src/**/*.py", True),
        ("src", "src/**", False),
        ("src/a/b", "src/**", True),
        ("release/1.2", "release/?.?", True),
        ("release/1x2", "release/?.?", False),
        ("a+b(c)[d]", "a+b(c)[d]", True),
        ("a\nb", "a*b", True),
        ("main", "main", True),
        ("main2", "main", False),
        ("feature/x", "**/x", True),
        ("", "*", True),
    ],
)
def test_a_glob_stays_within_names_unless_it_says_otherwise(text: str, pattern: str, matches: bool) -> None:
    assert value("text.matchesGlob(about)", text=text, about=pattern) is matches


def test_a_glob_does_not_match_what_climbs() -> None:
    assert is_error('text.matchesGlob("src/**")', text="src/../../etc/passwd")
    assert value('text.matchesGlob("v*")', text="v1..v2") is True
    assert "whole names" in refused('text.matchesGlob("src/**.py")')
    assert is_error("text.matchesGlob(about)", text="a", about="*" * 2000)


# --- hosts and addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "is_in"),
    [
        ("acme.example", True),
        ("ACME.Example.", True),
        ("mail.acme.example", True),
        ("ada@acme.example", True),
        ("ada.l+x@sub.acme.example", True),
        ("notacme.example", False),
        ("acme.example.evil.example", False),
        ("10.0.0.1", False),
    ],
)
def test_a_host_or_a_mail_address_is_in_its_domain_and_the_ones_above(host: str, is_in: bool) -> None:
    assert value('text.isInDomain("acme.example")', text=host) is is_in


@pytest.mark.parametrize(
    "text",
    ["", "acme.example:80", "http://acme.example", "a b.acme.example", ".acme.example", "x..acme.example",
     "-x.acme.example", "\u0430cme.example", "acme\u3002example", '"a@evil.example"@acme.example', "a@b@acme.example",
     "@acme.example", "Ada <ada@acme.example>", "x@evil.example,y@acme.example", "a" * 300],
)  # fmt: skip
def test_what_is_no_host_is_in_no_domain_and_out_of_none(text: str) -> None:
    assert is_error('text.isInDomain("acme.example")', text=text)
    assert is_error('!text.isInDomain("acme.example")', text=text)


@pytest.mark.parametrize(
    ("address", "network", "is_in"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("fd00::1", "fc00::/7", True),
        ("10.1.2.3", "fc00::/7", False),
        ("192.0.2.1", "192.0.2.1", True),
    ],
)
def test_an_address_is_in_the_networks_that_hold_it(address: str, network: str, is_in: bool) -> None:
    assert value("text.isInNetwork(about)", text=address, about=network) is is_in


@pytest.mark.parametrize(
    "text", ["", "010.1.2.3", "10.1.2", "0x0a010203", "167838211", "10.1.2.3/8", "fe80::1%eth0", "host"]
)
def test_what_is_no_address_is_an_error(text: str) -> None:
    assert is_error('text.isInNetwork("10.0.0.0/8")', text=text)


@given(st.ip_addresses(), st.integers(0, 32))
def test_networks_are_those_of_the_standard_library(address: Any, length: int) -> None:
    network = ipaddress.ip_network((int(ipaddress.ip_address("10.1.2.3")) >> (32 - length) << (32 - length), length))
    plain = getattr(address, "ipv4_mapped", None) or address
    assert value("text.isInNetwork(about)", text=str(address), about=str(network)) is (plain in network)


@given(st.text(max_size=80), st.text(max_size=30))
def test_whatever_the_text_there_is_an_answer_or_an_error(text: str, about: str) -> None:
    for name in ("matchesGlob", "isWithin", "isInDomain", "isInNetwork"):
        found = value(f"text.{name}(about)", text=text, about=about)
        assert found is True or found is False or isinstance(found, Failure)


def test_a_bad_literal_is_refused_when_it_loads() -> None:
    assert "is not a network" in refused('text.isInNetwork("10.0.0.1/8")')
    assert "is not a host" in refused('text.isInDomain("bücher.example")')
    assert "mail address" in refused('text.isInDomain("ada@acme.example")')
    assert "`..`" in refused('text.isWithin("/srv/../etc")')
    assert "unknown name `isWithn`" in refused('text.isWithn("/srv")')


@pytest.mark.parametrize("wrong", [None, 1, 1.5, True, [], {}, Decimal(1)])
def test_a_value_of_another_type_is_an_error(wrong: object) -> None:
    for name in ("matchesGlob", "isWithin", "isInDomain", "isInNetwork"):
        assert is_error(
            f'anything.{name}("a")' if name != "isInNetwork" else f'anything.{name}("10.0.0.0/8")', anything=wrong
        )
        assert is_error(f"text.{name}(anything)", text="a", anything=wrong)


# --- money -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "fits"),
    [("1.23", "EUR", True), ("1.234", "EUR", False), ("1.230", "EUR", True), ("1.5", "JPY", False),
     ("150", "JPY", True),
     ("1.234", "KWD", True), ("1.2345", "CLF", True), ("0.000", "JPY", True), ("-3.1", "USD", True)],
)  # fmt: skip
def test_money_has_the_decimals_of_its_currency(amount: str, currency: str, fits: bool) -> None:
    assert value("amount.isMoneyIn(text)", amount=Decimal(amount), text=currency) is fits


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**20), max_value=10**20),
    st.sampled_from(sorted(DECIMALS)),
)
def test_an_amount_fits_its_currency_exactly_if_rounding_changes_nothing(amount: Decimal, currency: str) -> None:
    expected = (Fraction(amount) * 10 ** DECIMALS[currency]).denominator == 1
    assert value("amount.isMoneyIn(text)", amount=amount, text=currency) is expected


def test_money_is_never_a_float_and_has_a_currency() -> None:
    assert "double" in refused('number.isMoneyIn("EUR")')
    assert "double" in refused("decimal(number) > 1")
    assert is_error('anything.isMoneyIn("EUR")', anything=1.5)
    assert is_error('amount.isMoneyIn("eur")', amount=Decimal(1))
    assert is_error('amount.isMoneyIn("EUR")', amount=Decimal("NaN"))
    assert is_error("anything.isMoneyIn(text)", anything=True, text="EUR")
    assert len(DECIMALS) == sum(len(code) == 3 and code.isalpha() for code in DECIMALS)


def test_a_decimal_is_read_exactly() -> None:
    assert value('decimal("0.1") + decimal("0.2") == decimal("0.3")') is True
    assert value("decimal(text) > 9007199254740993", text="9007199254740993.1") is True
    for text in ("", "1e999999", "NaN", "inf", " 1", "1_000", "0x10", "\u0661"):
        assert is_error("decimal(text) > 0", text=text)
    assert compile_expression("decimal(12)", ENVIRONMENT).evaluate({}) == Decimal(12)
