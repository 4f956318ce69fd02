"""Puts people in charge of the payables: makes a key for each, and writes who they are and what they decide.

    python examples/payables/staff.py policies people

From then on, two of finance must approve what `policies/payables.yaml` escalates, each with their own key, as in
`remit review approve ID --key people/ann`. It takes `ssh-keygen`. The keys have no passphrase: they are for trying
it out. In earnest everybody makes their own and hands in the line of its `.pub` file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FINANCE = {"ann": "Ann Achterberg", "bob": "Bob Bauer", "cat": "Cat Costa"}
NO_KEYS = 3
"""Exit code where no key can be made; nothing was written then."""

QUEUES = """\
# Who is asked, and on which terms. Nobody rules without a key of theirs.
queues:
  finance:
    description: Payments that two people decide.
    reviewers: [finance]
    approvals: 2
    ttl: 72h
    edit: [amount]
    title: "{{args.supplier}}: {{args.amount}} {{args.currency}}, {{args.document}} {{args.reference}}"
"""


def main(policies: Path, people: Path) -> int:
    """Makes the keys and writes both files; returns an exit code."""
    people.mkdir(parents=True, exist_ok=True)
    reviewers = ["# Made by examples/payables/staff.py.", "reviewers:"]
    for id, name in FINANCE.items():
        key = people / id
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", id, "-f", str(key)]
        try:
            if not key.exists():
                subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
            public = key.with_name(f"{id}.pub").read_text(encoding="utf-8").strip()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no key for {id}: {getattr(error, 'stderr', None) or error}", file=sys.stderr)
            return NO_KEYS
        reviewers += [f"  {id}:", f"    name: {name}", "    groups: [finance]", f'    keys: [{{key: "{public}"}}]']
    (policies / "reviewers.yaml").write_text("\n".join(reviewers) + "\n", encoding="utf-8")
    (policies / "queues.yaml").write_text(QUEUES, encoding="utf-8")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python staff.py POLICIES PEOPLE")
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
