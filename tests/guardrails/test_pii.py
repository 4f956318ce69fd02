"""Personal data is found by its checksum or its form, and numbers that are none are left alone."""

from __future__ import annotations

import sys

import pytest

from remit.errors import BadInput
from remit.guardrails.pii import pii

FOUND = [
    ("ann@example.com", "email"), ("Mail ann.lee+x@mail.example.co.uk now", "email"), ("ANN@EXAMPLE.COM", "email"),
    ("<ann@example.com>", "email"), ("mailto:ann@example.com?subject=x", "email"), ("ann [at] example [dot] com", "email"),
    ("ann(at)example.com", "email"), ("o'neil@example.ie", "email"), ("ann_lee@sub-domain.example.org", "email"),
    ("ann\u200b@example.com", "email"), ("ａｎｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "email"), ('{"to": "a.b@example.net"}', "email"),
    ("DE89370400440532013000", "iban"), ("DE89 3704 0044 0532 0130 00", "iban"), ("de89 3704 0044 0532 0130 00", "iban"),
    ("IBAN: GB82 WEST 1234 5698 7654 32.", "iban"), ("FR14 2004 1010 0505 0001 3M02 606", "iban"), ("NL91ABNA0417164300", "iban"),
    ("CH93-0076-2011-6238-5295-7", "iban"), ("AT611904300234573201", "iban"), ("ES91 2100 0418 4502 0005 1332", "iban"),
    ("IT60 X054 2811 1010 0000 0123 456", "iban"), ("BE68 5390 0754 7034", "iban"), ("PL61 1090 1014 0000 0712 1981 2874", "iban"),
    ("pay to DE89 3704 0044 0532 0130 00 by Friday", "iban"), ("D\u200bE89370400440532013000", "iban"),
    ("ＤＥ８９３７０４００４４０５３２０１３０００", "iban"), ("DE89.3704.0044.0532.0130.00", "iban"),
    ("4111 1111 1111 1111", "card"), ("4111111111111111", "card"), ("4111-1111-1111-1111", "card"), ("5555555555554444", "card"),
    ("378282246310005", "card"), ("6011111111111117", "card"), ("30569309025904", "card"), ("3530111333300000", "card"),
    ("card 4012 8888 8888 1881 exp 12/29", "card"), ("4111.1111.1111.1111", "card"), ("４１１１１１１１１１１１１１１１", "card"),
    ("4111\u200b1111\u200b1111\u200b1111", "card"), ("2223003122003222", "card"), ("٤١١١١١١١١١١١١١١١", "card"),
    ("536-90-4399", "us_ssn"), ("SSN 536 90 4399", "us_ssn"), ("５３６-９０-４３９９", "us_ssn"), ("536–90–4399", "us_ssn"),
    ("943 476 5919", "gb_nhs"), ("943-476-5919", "gb_nhs"), ("2 95 10 99 126 111 93", "fr_nir"), ("295109912611193", "fr_nir"),
    ("12345678Z", "es_dni"), ("54362315-K", "es_dni"), ("X-2482300W", "es_nie"), ("RCCMNL83S18D969H", "it_codice"),
    ("44051401359", "pl_pesel"), ("36 574 261 809", "de_idnr"), ("880320-0016", "se_personnummer"), ("131052-308T", "fi_hetu"),
    ("211062-5629", "dk_cpr"), ("151086 95088", "no_fodselsnummer"), ("756.9217.0769.85", "ch_ahv"), ("85.07.30-033.28", "be_nn"),
    ("390.533.447-05", "br_cpf"), ("2341 2341 2346", "in_aadhaar"), ("ACUPA7085R", "in_pan"), ("360426199101010071", "cn_ric"),
    ("971013-9019902", "kr_rrn"), ("123-456-782", "ca_sin"), ("1630615123457", "ro_cnp"), ("6433435F", "ie_pps"),
    ("+49 30 901820", "phone"), ("+1 202 456 1111", "phone"), ("+44 20 7946 0958", "phone"), ("+33 1 42 68 53 00", "phone"),
    ("(202) 456-1111", "phone"), ("202-456-1111", "phone"), ("call 030 901820 today", "phone"), ("+81 3-3581-0101", "phone"),
    ("tel:+12024561111", "phone"), ("+49\u00a030\u00a0901820", "phone"), ("020 7946 0958", "phone"), ("+1.202.456.1111", "phone"),
]  # fmt: skip
NOTHING = [
    "", "hello", "ann", "@ann", "ann@", "@example.com", "ann@localhost", "a @ b", "user@@example", "1234", "2026-11-22",
    "order 123456789", "invoice 2026-0042", "12:30", "3.14159265358979", "1,000,000.00", "192.168.1.1", "v1.22.333", "4111",
    "4111111111111112", "0000000000000000", "1111111111111111", "1234567890123456", "DE00 3704 0044 0532 0130 00",
    "GB00WEST12345698765432", "XX89370400440532013000", "DE89370400", "000-00-0000", "666-12-3456", "900-00-0000", "12345678A",
    "123-456-789", "550e8400-e29b-41d4-a716-446655440000", "2c2513b0d7e1fbd6d7a6bd9d0ba5d4a4c2f7a1bb", "ISBN 978-3-16-148410-0",
    "2026-11-22T21:44:03.000000Z", "1700000000", "1700000000000", "#112233", "0x1F4A", "total: 4200.00 EUR", "page 3 of 12",
    "12 apples, 34 pears, 56 plums", "50.1109, 8.6821", "A1B2C3", "EUR 1.234.567,89", "ROOM 101", "+1", "+49", "00000000000",
]  # fmt: skip
FIELDS = [
    "first_name", "lastName", "surname", "date_of_birth", "dateOfBirth", "dob", "birthday", "ssn", "passport_number", "email",
    "emailAddress", "phone", "phone_number", "mobilePhone", "street", "home_address", "postcode", "zip_code", "gender",
    "nationality", "salary", "iban", "account_number", "card_number", "cvv", "diagnosis", "blood_type", "tax_id",
]  # fmt: skip
NO_FIELDS = [
    "name",
    "id",
    "amount",
    "status",
    "created_at",
    "filename",
    "hostname",
    "username",
    "ip",
    "emails_sent",
    "address_family",
]


@pytest.mark.parametrize(("text", "kind"), FOUND)
def test_personal_data_is_found_and_named_in_every_spelling(text: str, kind: str) -> None:
    assert kind in pii().look([("/it", text)]).facts.kinds


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_no_personal_data_is_left_alone(text: str) -> None:
    assert pii().look([("/it", text)]).findings == ()


def test_fields_whose_names_say_that_they_are_personal_are_named() -> None:
    row: dict[str, object] = dict.fromkeys([*FIELDS, *NO_FIELDS], 1)
    assert set(pii().look([("/it", {"rows": [row]})]).facts.fields) == set(FIELDS)


def test_a_finding_covers_the_number_as_it_was_written() -> None:
    for text, least in (
        ("to DE89 3704 0044 0532 0130 00 at once", "DE89 3704 0044 0532 0130 00"),
        ("x 4111-1111-1111-1111.", "4111-1111-1111-1111"),
    ):
        finding = pii().look([("/a", [text])]).findings[0]
        assert (finding.pointer, text[finding.start : finding.end]) == ("/a/0", least)
    hidden = "4111\u200b1111\u200b1111\u200b1111"
    assert (pii().look([("/a", hidden)]).findings[0].start, pii().look([("/a", hidden)]).findings[0].end) == (
        0,
        len(hidden),
    )


def test_only_the_kinds_of_numbers_that_are_asked_for_are_looked_for() -> None:
    assert pii(numbers=["pl_pesel"]).look([("/a", "536-90-4399")]).facts.kinds == ()
    with pytest.raises(BadInput, match="no such kind of number: `us_sn`"):
        pii(numbers=["us_sn"])
    with pytest.raises(BadInput, match="no such region: `us`"):
        pii(regions=["us"])


def test_without_presidio_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(BadInput, match=r"pip install 'remit\[presidio\]'"):
        pii(presidio="en_core_web_sm")


def test_presidio_adds_names_to_what_has_a_form_and_only_scores() -> None:
    pytest.importorskip("presidio_analyzer")
    import spacy  # type: ignore[import-not-found]

    models = [model for model in spacy.util.get_installed_models() if model.startswith("en")]
    if not models:
        pytest.skip("no English model of spaCy's is installed")
    with pytest.raises(BadInput, match="there is no spaCy model `en_core_web_none`"):
        pii(presidio="en_core_web_none")
    detector = pii(presidio=models[0])
    text = "Please ask Angela Merkel in Berlin, ann@example.com, about it."
    report = detector.look([("/text", text)])
    found = {(one.kind, text[one.start : one.end]) for one in report.findings}
    assert {("person", "Angela Merkel"), ("location", "Berlin"), ("email", "ann@example.com")} <= found
    assert {"person", "email"} <= set(report.facts.kinds) and detector.scores
    assert not pii().scores
