"""Where URLs lead: hosts, schemes, private addresses, credentials, data. Parsed by ada-url, as in browsers.

A name is not looked up: that a name leads to a private address (DNS rebinding) is for the tool's own connection to
refuse. Each hop of a redirect is a URL of its own: a tool that follows them looks again.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from urllib.parse import parse_qsl, unquote

import msgspec

from remit.core.detectors import Detector, Finding, Places, Report, texts
from remit.guardrails.libraries import library

_IN_TEXT = re.compile(
    r"(?:[a-zA-Z][a-zA-Z0-9+.-]{1,20}:)?//[^\s<>\"'`\\^{}|]{2,}|\b(?:javascript|data|mailto):[^\s<>\"'`]+"
)
_TRAILING = ".,;:!?)]}'\""
_HOME = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "home.arpa")
_METADATA = frozenset(("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "metadata.google.internal", "metadata"))
_WRAPPED = re.compile(r"(?:^|[.-])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?:$|[.-])")
_URL = re.compile(r"(?:https?:|ftp:)?//|^[a-z]+:", re.I)


class UrlFacts(msgspec.Struct, frozen=True):
    """Where the URLs in a call's arguments lead."""

    count: int = 0
    invalid: bool = False
    """Something in the place of a URL is none: no reader would agree where it leads."""
    hosts: tuple[str, ...] = ()
    """As a browser resolves them: lower case, punycode, numbers as dotted addresses."""
    schemes: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    """Hosts that are not on the list, when there is one."""
    schemes_unlisted: tuple[str, ...] = ()
    private: bool = False
    """An address that is not public, in any spelling, or a name that only means something inside a network."""
    metadata: bool = False
    """Where clouds hand out credentials."""
    credentials: bool = False
    """`user:password@`."""
    punycode: bool = False
    address: bool = False
    """A bare address instead of a name."""
    port: bool = False
    """A port other than the scheme's own."""
    redirects: bool = False
    """A URL inside the URL: it may lead on to there."""
    data: bool = False
    """Its path, query, fragment or host carries more than `carried` characters of payload."""


def urls(
    hosts: Sequence[str] = (),
    schemes: Sequence[str] = ("https",),
    embedded: bool = False,
    carried: int = 64,
    name: str = "urls",
) -> Detector[UrlFacts]:
    """Returns a detector of where URLs lead.

    Args:
        hosts: the list: `example.com` is that host, `*.example.com` every host below it; empty: there is no list.
        schemes: those that are expected.
        embedded: whether the values are texts with URLs in them; otherwise each string is one URL.
        carried: characters of payload (a value in the query, a long part of the path) from which on it counts as data.

    Raises:
        BadInput: ada-url is not installed.
    """
    ada = library("ada_url")
    listed = tuple(host.lower() for host in hosts)

    def look(places: Places) -> Report[UrlFacts]:
        reading = _Reading(ada, listed, tuple(schemes), carried)
        for pointer, text in texts(places):
            if not embedded:
                reading.url(pointer, text, 0)
                continue
            for match in _IN_TEXT.finditer(text):
                found = match.group().rstrip(_TRAILING)
                reading.url(pointer, "https:" + found if found.startswith("//") else found, match.start(), len(found))
        return Report(reading.facts(), tuple(reading.findings))

    return Detector(name, UrlFacts, look)


class _Reading:
    def __init__(self, ada: ModuleType, listed: tuple[str, ...], schemes: tuple[str, ...], carried: int) -> None:
        self._ada = ada
        self._listed = listed
        self._expected = schemes
        self._carried = carried
        self._count = 0
        self._flags: set[str] = set()
        self._hosts: set[str] = set()
        self._schemes: set[str] = set()
        self.findings: list[Finding] = []

    def url(self, pointer: str, text: str, start: int, length: int | None = None) -> None:
        """Looks at one URL, found at `start` of the string at `pointer`."""
        self._count += 1
        kinds = self._kinds(text)
        self._flags |= kinds
        end = start + (len(text) if length is None else length)
        self.findings += [Finding(kind, pointer, start, end) for kind in sorted(kinds)]

    def facts(self) -> UrlFacts:
        """Returns all that was seen as facts."""
        named = ("invalid", "private", "metadata", "credentials", "punycode", "address", "port", "redirects", "data")
        unlisted = [host for host in self._hosts if self._listed and not _on(self._listed, host)]
        return UrlFacts(
            count=self._count,
            hosts=tuple(sorted(self._hosts)),
            schemes=tuple(sorted(self._schemes)),
            unlisted=tuple(sorted(unlisted)),
            schemes_unlisted=tuple(sorted(self._schemes - set(self._expected))),
            **{kind: kind in self._flags for kind in named},
        )

    def _kinds(self, text: str) -> set[str]:
        try:
            parsed = self._ada.URL(text)
        except ValueError:
            return {"invalid"}
        kinds: set[str] = set()
        scheme, host = parsed.protocol.rstrip(":"), parsed.hostname.strip("[]").rstrip(".").lower()
        self._schemes.add(scheme)
        if host:
            self._hosts.add(host)
            kinds |= _host(host)
        elif scheme in ("http", "https", "ftp", "ws", "wss"):
            kinds.add("invalid")
        if re.search(r"[\x00-\x20\x7f]|\\", text):
            kinds.add("invalid")  # browsers drop or turn these, other readers don't
        if parsed.username or parsed.password:
            kinds.add("credentials")
        if parsed.port:
            kinds.add("port")
        inside = unquote(unquote(parsed.pathname[1:] + parsed.search + parsed.hash))
        if re.search(r"https?:/|ftp:/|[=?/]//?[\w-]+\.[a-z]", inside, re.I):
            kinds.add("redirects")
        if self._carries(parsed, host):
            kinds.add("data")
        return kinds

    def _carries(self, parsed: object, host: str) -> bool:
        search, path, fragment = (str(getattr(parsed, part)) for part in ("search", "pathname", "hash"))
        values = [value for _, value in parse_qsl(search[1:], keep_blank_values=True)]
        if len(search) > 2 * self._carried or len(fragment) > self._carried:
            return True
        if any(len(value) >= self._carried for value in (*values, search[1:])):
            return True
        labels = [part for part in host.split(".") if len(part) >= 24]
        parts = [unquote(part) for part in path.split("/")]
        bare = [text[1:] for text in (search, fragment) if "=" not in text]
        return any(_is_dense(part, self._carried // 2) for part in (*parts, *values, *labels, *bare)) or any(
            len(part) >= 3 * self._carried for part in parts
        )


def _is_dense(text: str, least: int) -> bool:
    """Whether a text is long and looks coded: more than 4 bits a character, and no words in it (Shannon's entropy)."""
    if len(text) < max(least, 20):
        return False
    counts = Counter(text)
    bits = -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
    words = re.findall(r"[a-z]{3,}", text.replace("-", " ").replace("_", " "))
    spelt = sum(len(word) for word in words)
    mixed = bool(re.search(r"[A-Z]", text)) + bool(re.search(r"[a-z]", text)) + bool(re.search(r"\d", text))
    return bits > (3.0 if re.fullmatch(r"[0-9a-fA-F]+", text) else 3.9) and (mixed > 1 or spelt < len(text) / 2)


def _host(host: str) -> set[str]:
    kinds: set[str] = set()
    if host in _METADATA:
        kinds |= {"metadata", "private"}
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if "xn--" in host:
            kinds.add("punycode")
        if "." not in host or any(host == end or host.endswith("." + end) for end in _HOME):
            kinds.add("private")
        # `10.0.0.1.nip.io` and its kin lead to the address in their name.
        if match := _WRAPPED.search(host):
            numbers = [int(part) for part in match.groups()]
            if max(numbers) < 256 and not ipaddress.IPv4Address(bytes(numbers)).is_global:
                kinds.add("private")
        return kinds
    kinds.add("address")
    inner = _inner(address)
    if not inner.is_global or inner.is_multicast:
        kinds.add("private")
    if str(inner) in _METADATA:
        kinds.add("metadata")
    return kinds


def _inner(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Returns the IPv4 address that an IPv6 one carries (mapped, compatible, NAT64, 6to4), else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    packed = address.packed
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if packed[:12] in (bytes(12), b"\0\x64\xff\x9b" + bytes(8)) and packed[12:] > b"\0\0\0\1":
        return ipaddress.IPv4Address(packed[12:])
    return address


def _on(listed: tuple[str, ...], host: str) -> bool:
    return any(host == entry or (entry.startswith("*.") and host.endswith(entry[1:])) for entry in listed)
