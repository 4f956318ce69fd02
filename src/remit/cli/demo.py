"""`remit demo`: the payables example, played with the commands that anybody would type, in a temporary folder."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import orjson

import remit
from remit.cli.output import folded, heading, mark, value
from remit.errors import RemitError

_INVOICES = "payables/invoices"


@click.command()
@click.option("--keep", metavar="DIR", help="Play it in DIR (new or empty), and leave everything there.")
def demo(keep: str | None) -> None:
    """Watch a governed run from end to end: an agent that believes whatever an invoice says.

    Takes some seconds. Needs no network, no model and no account.
    """
    with _folder(keep) as folder:
        _copy_example(folder)
        _Story(folder).tell()
        if keep:
            click.echo(f"\nEverything is in {folder}; look around with `remit runs list` there.")


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep:
        path = Path(keep)
        if path.exists() and any(path.iterdir()):
            raise click.UsageError(f"`{keep}` is not empty")
        path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="remit-demo-") as made:
        yield Path(made)


def _copy_example(folder: Path) -> None:
    """Copies the example: from the wheel, or from the repository that this is installed from."""
    package = Path(remit.__file__).parent
    for root in (package / "_example", package.parents[1]):
        example = root / "examples" / "payables"
        if (example / "app.py").is_file():
            shutil.copytree(example, folder / "payables", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copytree(root / "policies", folder / "policies")
            (folder / "remit.toml").write_text('app = "payables/app.py:graph"\n')
            return
    raise RemitError("the payables example did not come with this installation: install the wheel again")


@dataclass
class _Story:
    folder: Path
    run: str = ""
    _step: int = field(default=0)

    def tell(self) -> None:
        """Plays it, command by command; every command is a process of its own."""
        self._say(
            "An agent pays invoices",
            "Eight e-invoices (UBL) came in. The agent reads each, looks the supplier up, and pays. It is gullible on"
            " purpose: where an invoice tells it to pay another account, it obeys. What it may do is in"
            " policies/payables.yaml.",
        )
        report = self._remit(
            "run", "--input", f"invoices={_INVOICES}", "--principal", "books@example.com", codes=(8,)
        )
        self.run = report[0]["run"]
        self._calls()
        self._say(
            "Three payments wait for people",
            "The run is parked: no process, no memory. The reviews are in the store.",
        )
        reviews = self._remit("review", "list")
        for row in reviews:
            click.echo(
                f"  {row['review']}  {row['tool']} in queue {row['queue']}, expires {row['expires'][:10]}"
            )
        self._rule(reviews)
        self._say(
            "Another process goes on",
            "The agent runs again from the top; what it did before is answered from the journal.",
        )
        done = self._remit("resume", self.run)
        self._outcome(done[0]["output"])
        self._audit()

    def _calls(self) -> None:
        """Tells what was decided of each payment, and why."""
        view = self._remit("runs", "show", self.run, quiet=True)[0]
        for call in view["calls"]:
            if call["tool"] != "pay":
                continue
            args = call["args"]
            what = f"{args['amount']} {args['currency']} to {args['supplier']}"
            click.echo(f"  {mark(call['outcome']):<9} {what}")
            if call["outcome"] != "allow":
                for reason in call["reasons"]:
                    click.echo(folded(value(reason), " " * 12))

    def _rule(self, reviews: list[dict[str, Any]]) -> None:
        large, credit, unknown = (row["review"] for row in reviews)
        self._say(
            "A person rules",
            "Approving binds to exactly this call, once; denying needs a reason, and is final.",
        )
        self._remit("review", "approve", large, "--reason", "ordered on 12 October, catalogue received")
        self._remit("review", "deny", credit, "--reason", "set it off against the next invoice")
        self._remit("review", "deny", unknown, "--reason", "we ordered no tiles")
        again = self._remit("review", "approve", credit, codes=(7,), failing=True)
        click.echo(folded(again, "  "))

    def _outcome(self, output: dict[str, Any]) -> None:
        for document in output["documents"]:
            click.echo(
                f"  {document['outcome']:<9} {document['amount']:>8} {document['currency']}  {document['supplier']}"
            )
            if document["outcome"] != "paid":
                click.echo(folded(document["why"], " " * 12))
        click.echo(f"  paid {output['paid']} documents, {output['total']} EUR in all")

    def _audit(self) -> None:
        self._say(
            "An auditor checks it",
            "The export is a folder of files; checking it needs neither this machine nor its word.",
        )
        self._remit("audit", "export", "--all", "-o", "export")
        found = self._remit("audit", "verify", "export")[0]
        click.echo(
            f"  holds: {found['entries']} entries chained, {found['decisions']} decisions made again,"
            f" {found['effects']} effects each with a verdict before it"
        )
        entries = self.folder / "export" / "entries.jsonl"
        data = bytearray(entries.read_bytes())
        place = data.index(b'"outcome":"deny"') + len('"outcome":"')
        data[place] ^= 1
        entries.write_bytes(data)
        self._say("Somebody changes it", "A byte of a recorded verdict is changed in the export.")
        broken = self._remit("audit", "verify", "export", codes=(1,))[0]
        for problem in broken["problems"][:3]:
            click.echo(folded(f"{problem['place']}: {problem['message']}", "  "))

    # --- telling ---

    def _say(self, title: str, text: str) -> None:
        self._step += 1
        click.echo(f"\n{heading(f'{self._step}. {title}')}")
        click.echo(textwrap.fill(text, 110))

    def _remit(
        self, *command: str, codes: tuple[int, ...] = (0,), quiet: bool = False, failing: bool = False
    ) -> Any:
        """Runs `remit` in a process of its own; returns what it printed as JSON, or its error's words."""
        if not quiet:
            click.echo(f"  $ {shlex.join(('remit', *command))}")
        variables = {**os.environ, "PAYABLES_BOOKS": "books", "NO_COLOR": "1"}
        for name in ("REMIT_STORE", "REMIT_POLICIES", "REMIT_APP"):
            variables.pop(name, None)
        done = subprocess.run(
            [sys.executable, "-m", "remit", *command, "--json"],
            cwd=self.folder, env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode not in codes:
            raise RemitError(
                f"`remit {' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stderr.strip() if failing else orjson.loads(done.stdout)
