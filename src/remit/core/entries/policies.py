"""What the stream `policy` says."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import Fact


class PolicyLoaded(Fact, frozen=True):
    digest: str
    files: dict[str, str]
    """File name to SHA-256 of its bytes."""
    types: str = ""
    """Digest of the artifact that says which tools and facts the rules were checked against."""
    texts: str = ""
    """Digest of the artifact that holds the files themselves."""
    single_operator: bool = False


KINDS: Mapping[str, type[Fact]] = {
    "policy.loaded": PolicyLoaded,
}
