"""Functions on names that say where something is: file paths, hosts, mail addresses and network addresses.

A text that isn't what the function is about is an error and never a guess: so a rule that allows doesn't, and a rule
that denies does. Nothing is looked up; whether a path is a link is what the guardrail `paths` says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from remit.core.cel.conversions import PATTERN_MAX, Pattern
from remit.core.cel.functions import no_overload
from remit.core.cel.values import Budget, EvalError

Ready = Callable[[object, Budget], bool]
PATH_MAX: Final = 4_096
NETWORK_MAX: Final = 64
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.ASCII)
LOCAL: Final = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def segments(path: str) -> tuple[bool, tuple[str, ...]]:
    """Whether a path is absolute, and its names; EvalError where it can't be told where it leads."""
    shown = path[:60]
    if not path or len(path) > PATH_MAX:
        raise EvalError(f"a path has 1 to {PATH_MAX:,} characters, this one {len(path):,}")
    if "\\" in path or not path.isprintable():
        raise EvalError(f"path `{shown}` has a backslash or a control character")
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if ".." in names or path.startswith("~"):
        raise EvalError(f"path `{shown}` has `..` or `~`: it can't be told where it leads")
    return path.startswith("/"), names


def glob(pattern: str) -> Ready:
    """`*` and `?` stay within a name, `**` is any number of names; every other character is itself.

    Raises:
        EvalError: `**` is a part of a name, or the pattern is longer than a regular expression may be.
    """
    parts: list[str] = []
    names = pattern.split("/")
    for number, name in enumerate(names):
        last = number == len(names) - 1
        if name == "**":
            parts.append(".*" if last else "(?:[^/]+/)*")
            continue
        if "**" in name:
            raise EvalError(f"`**` stands for whole names: `{pattern[:60]}`")
        steps = ("[^/]*" if c == "*" else "[^/]" if c == "?" else re.escape(c) for c in name)
        parts.append("".join(steps) + ("" if last else "/"))
    text = f"(?s)^{''.join(parts)}$"
    if len(text) > PATTERN_MAX:
        raise EvalError(f"glob of more than {PATTERN_MAX:,} characters")
    compiled = Pattern(text)

    def matches(value: object, budget: Budget) -> bool:
        if not isinstance(value, str):
            raise no_overload("matchesGlob", value, pattern)
        if "/../" in f"/{value}/":
            raise EvalError(f"`{value[:60]}` has `..`: it can't be told where it leads")
        return compiled.matches(value, budget)

    return matches


def within(folder: str) -> Ready:
    """The folder itself, or anything under it, by the names alone."""
    absolute, inside = segments(folder)

    def is_within(value: object, budget: Budget) -> bool:
        if not isinstance(value, str):
            raise no_overload("isWithin", value, folder)
        is_absolute, names = segments(value)
        if is_absolute is not absolute:
            kinds = ("absolute", "relative")
            raise EvalError(f"path `{value[:60]}` is {kinds[absolute]}, and `{folder[:60]}` {kinds[not absolute]}")
        return names[: len(inside)] == inside

    return is_within


def host_of(text: str) -> str:
    """The host a name or a mail address is about, in small letters; EvalError where it is neither."""
    local, at, host = text.lower().rpartition("@")
    host = host.removesuffix(".")
    if HOST.fullmatch(host) is None or (at and LOCAL.fullmatch(local) is None):
        raise EvalError(f"`{text[:60]}` is not a host or a mail address in ASCII (write other letters as `xn--`)")
    return host


def in_domain(domain: str) -> Ready:
    """The domain itself or a name under it, of a host or a mail address."""
    if "@" in domain:
        raise EvalError(f"`{domain[:60]}` is a mail address, not a domain")
    wanted = host_of(domain)

    def is_in_domain(value: object, budget: Budget) -> bool:
        if not isinstance(value, str):
            raise no_overload("isInDomain", value, domain)
        host = host_of(value)
        return host == wanted or host.endswith("." + wanted)

    return is_in_domain


def address_of(text: str) -> Address:
    """An IP address; one of IPv4 that is written as IPv6 is the one of IPv4."""
    if len(text) > NETWORK_MAX or "%" in text:
        raise EvalError(f"`{text[:60]}` is not an IP address")
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise EvalError(f"`{text[:60]}` is not an IP address") from None
    return (found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None) or found


def in_network(network: str) -> Ready:
    """An address of a network in CIDR notation."""
    try:
        known = ipaddress.ip_network(network) if len(network) <= NETWORK_MAX else None
    except ValueError as error:
        raise EvalError(f"`{network[:60]}` is not a network such as 10.0.0.0/8: {error}") from None
    if known is None:
        raise EvalError(f"`{network[:60]}` is not a network such as 10.0.0.0/8")

    def is_in_network(value: object, budget: Budget) -> bool:
        if not isinstance(value, str):
            raise no_overload("isInNetwork", value, network)
        return address_of(value) in known

    return is_in_network


PREPARED: Final = {"matchesGlob": glob, "isWithin": within, "isInDomain": in_domain, "isInNetwork": in_network}
"""What a literal second argument is made into when the condition loads."""


def asked(name: str) -> Callable[[object, object, Budget], bool]:
    """The function where its second argument is known only now."""

    def ask(value: object, about: object, budget: Budget) -> bool:
        if not isinstance(about, str):
            raise no_overload(name, value, about)
        budget.charge(16 + len(about))
        return PREPARED[name](about)(value, budget)

    return ask


MATCHERS: Final = {name: asked(name) for name in PREPARED}
