"""What the streams `flow/<run>` say: people's word on where a run's data comes from, while the run goes on."""

from __future__ import annotations

from collections.abc import Mapping

from remit.core.entries.facts import Commitment, Fact


class Vouched(Fact, frozen=True):
    """Somebody endorses a source for one run; or, with `label`, says that what comes from it doesn't have that label.

    Every field but `signature` is what the signature is over.
    """

    run: str
    source: Commitment
    """A tool, a part of what it returns as `tool/part`, or a source by its name."""
    by: str
    reason: Commitment
    policies: str
    """The policy set that lets them."""
    label: str = ""
    single_operator: bool = False
    signature: str = ""
    """Armored, as `ssh-keygen -Y sign -n ruling@remit` makes it; empty in single-operator mode."""


KINDS: Mapping[str, type[Fact]] = {"flow.vouched": Vouched}
