"""Credentials in values: keys with a known form, private keys, passwords in URLs and assignments, also when encoded.

Known forms carry a prefix of their issuer, so that few of them are found by accident. What has no form (a word
that happens to be a password) can't be seen by looking at it.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import msgspec

from remit.core.detectors import Detector, Finding, Places, Report, texts
from remit.errors import BadInput

_EDGE = r"(?<![A-Za-z0-9_-])"
_FORMS: dict[str, str] = {
    "aws": _EDGE + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])",
    "github": _EDGE + r"(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})",
    "gitlab": _EDGE + r"gl(?:pat|dt|rt|ptt|agent|soat|cbt)-[A-Za-z0-9_-]{20,}",
    "slack": _EDGE
    + r"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|https://hooks\.slack\.com/services/T\w+/B\w+/\w{20,}",
    "stripe": _EDGE + r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{32,}",
    "google": _EDGE + r"AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{30,}",
    "anthropic": _EDGE + r"sk-ant-[a-z]+\d+-[A-Za-z0-9_-]{40,}",
    "openai": _EDGE
    + r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}|sk-proj-[A-Za-z0-9_-]{40,}",
    "huggingface": _EDGE + r"hf_[A-Za-z]{34}",
    "npm": _EDGE + r"npm_[A-Za-z0-9]{36}",
    "pypi": _EDGE + r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}",
    "docker": _EDGE + r"dckr_pat_[A-Za-z0-9_-]{27}",
    "sendgrid": _EDGE + r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    "twilio": _EDGE + r"SK[0-9a-f]{32}(?![A-Za-z0-9])",
    "mailgun": _EDGE + r"key-[0-9a-f]{32}(?![A-Za-z0-9])",
    "telegram": _EDGE + r"\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])",
    "digitalocean": _EDGE + r"do[opr]_v1_[0-9a-f]{64}",
    "shopify": _EDGE + r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    "vault": _EDGE + r"hv[sbr]\.[A-Za-z0-9_-]{24,}",
    "databricks": _EDGE + r"dapi[0-9a-f]{32}",
    "linear": _EDGE + r"lin_api_[A-Za-z0-9]{40}",
    "age": _EDGE + r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    "azure": r"AccountKey=[A-Za-z0-9+/]{86}==|[?&]sig=[A-Za-z0-9%]{43,}%3D",
    "jwt": _EDGE + r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}",
    "private_key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "url_password": r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@'\"]{0,200}:(?P<value>[^\s/@'\"]{3,200})@[^\s/@]",
    "header": r"(?i)\bauthorization\s*[:=]\s*[\"']?(?:basic|bearer|token)\s+(?P<value>[A-Za-z0-9+/=._~-]{12,})",
}
_COMPILED = {kind: re.compile(pattern) for kind, pattern in _FORMS.items()}
_ASSIGNED = re.compile(
    r"(?i)(?<![a-z])(?:\w{0,40}[_.-])?(?:passw(?:or)?d|passwd|pwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|token"
    r"|client[_-]?secret|private[_-]?key|credentials?|passphrase|pass)[\"']?\s*(?:=>|:=|=|:)\s*"
    r"(?:\"(?P<a>[^\"\n]{6,200})\"|'(?P<b>[^'\n]{6,200})'|(?P<c>[^\s\"',;}&]{6,200}))"
)
_EMPTY = re.compile(
    r"(?i)^(?:x{3,}|\*{3,}|\.{3,}|<.*>|\$\{?.*\}?|\{\{.*\}\}|%.*%|your[_-].*|my[_-]?(?:password|secret|token|key)|change[_-]?me"
    r"|example.*|placeholder|redacted|\[?(?:redacted|hidden|removed)\]?|null|none|true|false|undefined|password|secret"
    r"|os\.environ.*|process\.env.*|getenv.*|env\..*|settings\..*|config\..*|self\..*|vault:.*|arn:.*|required|string"
    r"|optional|test(?:ing|123)?|dummy|foobar|todo|n/?a|sample.*|fake.*)$"
)
_CODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){20,}")


class SecretFacts(msgspec.Struct, frozen=True):
    """Credentials in a call's arguments, or in a result."""

    found: bool = False
    count: int = 0
    kinds: tuple[str, ...] = ()
    """`aws`, `github`, `private_key`, `jwt`, `assigned`, …, or a name of the user's own."""
    encoded: bool = False
    """One was found only after decoding (base64, hex, percent) or after invisible characters were taken out."""


def secrets(own: dict[str, str] | None = None, name: str = "secrets") -> Detector[SecretFacts]:
    """Returns a detector of credentials.

    Args:
        own: more forms: a name, and what it looks like as a regular expression of RE2.

    Raises:
        BadInput: a form that is no regular expression.
    """
    import re2  # noqa: PLC0415 - only here are patterns from others compiled

    forms: dict[str, object] = dict(_COMPILED)
    for kind, pattern in (own or {}).items():
        try:
            forms[kind] = re2.compile(pattern)
        except re2.error as error:
            raise BadInput(f"the form `{kind}` is no regular expression: {error}") from error

    def look(places: Places) -> Report[SecretFacts]:
        findings: list[Finding] = []
        encoded = False
        for pointer, text in texts(places, keys=True):
            plain = list(_found(forms, text))
            findings += [Finding(kind, pointer, start, end) for kind, start, end in plain]
            spans = [(start, end) for _, start, end in plain]
            for start, end, inner in _decoded(text):
                if any(a < end and start < b for a, b in spans):
                    continue
                for kind, _, _ in _found(forms, inner):
                    findings.append(Finding(kind, pointer, start, end))
                    encoded = True
        kinds = tuple(sorted({finding.kind for finding in findings}))
        return Report(SecretFacts(bool(findings), len(findings), kinds, encoded), tuple(findings))

    return Detector(name, SecretFacts, look)


def _found(forms: dict[str, object], text: str) -> Iterator[tuple[str, int, int]]:
    for kind, pattern in forms.items():
        for match in pattern.finditer(text):  # type: ignore[attr-defined]
            if kind in ("url_password", "header"):
                if _EMPTY.match(match.group("value")):
                    continue
                yield kind, *match.span("value")
            else:
                yield kind, *match.span()
    for match in _ASSIGNED.finditer(text):
        name = next(group for group in "abc" if match.group(group) is not None)
        if _is_secret(match.group(name), quoted=name != "c"):
            yield "assigned", *match.span(name)


def _is_secret(value: str, *, quoted: bool) -> bool:
    """Whether what is assigned to a telling name looks like a value, not a placeholder, a call or a sentence."""
    if _EMPTY.match(value) or "(" in value or (quoted and value.count(" ") > 3):
        return False
    if not quoted and re.fullmatch(r"[a-z]+|[A-Za-z_]+\.[A-Za-z_.]+|[A-Z_]+", value):
        return False  # a bare word, an attribute, a constant's name
    return _bits(value) > 2.2


def _bits(text: str) -> float:
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _decoded(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields what parts of the text say once decoded, with where they stand."""
    clean = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    if clean != text:
        yield 0, len(text), clean
    if "%" in text and (unquoted := unquote(text)) != text:
        yield 0, len(text), unquoted
    joined = re.sub(r"[\s\"'+\\]+", "", text) if len(text) < 10_000 else ""
    if joined and joined != text:
        yield from ((0, len(text), inner) for _, _, inner in _base64(joined))
        if re.search(r"[\"']\s*\+\s*[\"']|\\\n", text):
            yield 0, len(text), re.sub(r"[\"']\s*\+\s*[\"']|\\\n", "", text)
    yield from _base64(text)
    for match in _HEX.finditer(text):
        yield *match.span(), bytes.fromhex(match.group()).decode("latin-1")


def _base64(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _CODED.finditer(text):
        coded = match.group().rstrip("=").replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
        inner = data.decode("latin-1")
        yield *match.span(), inner
        if _CODED.fullmatch(inner.strip()):
            yield from ((*match.span(), deeper) for _, _, deeper in _base64(inner.strip()))


FORMS: Sequence[str] = (*_FORMS, "assigned")
"""Every kind that is found."""
