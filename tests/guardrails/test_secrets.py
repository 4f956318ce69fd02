"""Credentials are found by their form, also when coded, and what only looks like one is left alone.

The samples are made here from a seed, so that no file holds anything that a scanner would take for real.
"""

from __future__ import annotations

import base64
import random
import string

import pytest

from remit.errors import BadInput
from remit.guardrails.secrets import FORMS, secrets

_ALNUM = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"
_B32 = string.ascii_uppercase + "234567"


def some(length: int, alphabet: str = _ALNUM, seed: int = 7) -> str:
    chosen = random.Random(f"{seed}/{length}/{alphabet}")
    return "".join(chosen.choice(alphabet) for _ in range(length))


def keys(seed: int = 7) -> dict[str, str]:
    """A made-up credential of every form."""
    a = lambda n: some(n, _ALNUM, seed)  # noqa: E731
    h = lambda n: some(n, _HEX, seed)  # noqa: E731
    return {
        "aws": "AKIA" + some(16, _B32, seed),
        "github": "ghp_" + a(36),
        "gitlab": "glpat-" + a(20),
        "slack": "xoxb-" + some(12, string.digits, seed) + "-" + a(24),
        "stripe": "sk_live_" + a(24),
        "google": "AIza" + a(35),
        "anthropic": "sk-ant-api03-" + a(93),
        "openai": "sk-proj-" + a(60),
        "huggingface": "hf_" + some(34, string.ascii_letters, seed),
        "npm": "npm_" + a(36),
        "pypi": "pypi-AgEIcHlwaS5vcmc" + a(70),
        "docker": "dckr_pat_" + a(27),
        "sendgrid": "SG." + a(22) + "." + a(43),
        "twilio": "SK" + h(32),
        "mailgun": "key-" + h(32),
        "telegram": some(9, "123456789", seed) + ":AA" + a(33),
        "digitalocean": "dop_v1_" + h(64),
        "shopify": "shpat_" + h(32),
        "vault": "hvs." + a(24),
        "databricks": "dapi" + h(32),
        "linear": "lin_api_" + a(40),
        "age": "AGE-SECRET-KEY-1" + some(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", seed),
        "azure": "AccountKey=" + a(86) + "==",
        "jwt": f"eyJ{a(20)}.eyJ{a(40)}.{a(43)}",
        "private_key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
        "url_password": "postgresql://app:" + a(14) + "@db.example/prod",
        "header": "Authorization: Bearer " + a(40),
        "assigned": "db_password = '" + a(14) + "'",
    }


NOTHING = [
    "", "hello", "The password must have at least twelve characters.", "password", "password:", "password = ''",
    "password = None", "password: <your password>", "password: ${DB_PASSWORD}", "password = os.environ['DB_PASSWORD']",
    "api_key = process.env.API_KEY", "token: {{ token }}", "secret = getenv('SECRET')", "password=****", "password=xxxxxxxx",
    "token = get_token(user)", "the token is valid for one hour", "Secret Santa: draw a name", "password: changeme",
    "api_key: your_api_key_here", "passphrase: [redacted]", "pwd: /home", "pass: required", "token_type: bearer",
    "secret_santa = 'we draw the names of our colleagues in December'", "tokens: 4096", "max_tokens=1000000",
    "https://example.com/a@b", "https://user@example.com/", "https://user:<password>@example.com/", "git@example.com:a/b.git",
    "mailto:a@example.com", "Authorization: none", "AKIA", "AKIAshort", "ghp_short", "sk-ant", "xoxb", "eyJ.eyJ.x",
    "-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----", "SG.a.b", "hf_model", "npm_config_registry",
    "2c2513b0d7e1fbd6d7a6bd9d0ba5d4a4c2f7a1bb", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "550e8400-e29b-41d4-a716-446655440000", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "TGllYmUgS29sbGVnZW4sIGRpZSBaYWhsZW4gZGVzIGxldHp0ZW4gUXVhcnRhbHM", "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA",
    "def password(self): return self._password", "self.password = password", "password=settings.DB_PASSWORD", "DE89 3704 0044 0532 0130 00",
]  # fmt: skip


def dressed(secret: str) -> dict[str, str]:
    """A credential in the dresses in which it leaves unseen."""
    coded = base64.b64encode(f"see {secret} there".encode()).decode()
    return {
        "in a sentence": f"The key is {secret}, keep it.",
        "base64": coded,
        "base64 for URLs": base64.urlsafe_b64encode(f"k={secret}".encode()).decode().rstrip("="),
        "base64 twice": base64.b64encode(coded.encode()).decode(),
        "base64 in lines": "\n".join(coded[i : i + 20] for i in range(0, len(coded), 20)),
        "hex": f"key {secret} end".encode().hex(),
        "percent": "".join(f"%{byte:02X}" for byte in secret.encode()),
        "zero width": "\u200b".join(secret),
        "full width": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in secret),
        "in JSON": '{"k": "' + secret.replace('"', "'") + '"}',
    }


@pytest.mark.parametrize("kind", [*keys()])
def test_a_credential_of_every_form_is_found_and_named(kind: str) -> None:
    report = secrets().look([("/it", f"x {keys()[kind]} y")])
    assert kind in report.facts.kinds
    assert not report.facts.encoded


def test_there_is_a_sample_of_every_form() -> None:
    assert set(keys()) == set(FORMS)


@pytest.mark.parametrize("dress", [*dressed("x")])
def test_a_credential_is_found_in_every_dress(dress: str) -> None:
    unseen = []
    for kind, secret in keys(seed=11).items():
        if kind in ("private_key", "header", "assigned", "azure", "url_password") and dress in (
            "full width",
            "in JSON",
        ):
            continue
        if not secrets().look([("/it", dressed(secret)[dress])]).facts.found:
            unseen.append(kind)
    assert unseen == []


@pytest.mark.parametrize("text", NOTHING)
def test_what_only_looks_like_a_credential_is_left_alone(text: str) -> None:
    assert secrets().look([("/it", text)]).findings == ()


def test_the_samples_are_more_than_a_hundred() -> None:
    assert len(keys()) * (1 + len(dressed("x"))) + len(NOTHING) > 300


@pytest.mark.parametrize(
    "text",
    [
        'password: "Tr0ub4dor&3"', "PASSWORD=hunter2x", "DB_PASS=k3Xw9v!q", "client_secret: 8f14e45fceea", "api-key => 'abc123xyz789'",
        '{"password": "S3cr3t!pass"}', '"apiKey": "q9w8e7r6t5"', "export TOKEN=k29sla83hf", "passwd = 'p@ssw0rd9'",
        "redis://:p4ssw0rd@cache:6379", "https://bob:tr1ck@example.com/", "Authorization: Basic Ym9iOnRyaWNrOTk5", "my.secret.key: passphrase = 'k7d8f9g0h1'",
    ],
)  # fmt: skip
def test_a_password_is_found_by_the_name_beside_it(text: str) -> None:
    assert secrets().look([("/it", text)]).facts.found


def test_a_finding_says_where_and_never_what() -> None:
    secret = keys()["github"]
    text = f"use {secret} now"
    (finding,) = secrets().look([("/body", {"note": text})]).findings
    assert (finding.pointer, text[finding.start : finding.end]) == ("/body/note", secret)
    assert secret not in repr(finding)


def test_a_form_of_the_users_own_is_found_and_a_broken_one_refused() -> None:
    assert secrets({"badge": r"BADGE-\d{6}"}).look([("/it", "BADGE-123456")]).facts.kinds == ("badge",)
    with pytest.raises(BadInput, match="the form `badge` is no regular expression"):
        secrets({"badge": "("})
