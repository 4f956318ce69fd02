"""`remit demo`: the payables example, played with the commands that anybody would type, in a temporary folder."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import orjson

import remit
from remit.cli.output import escaped, fields, folded, heading, mark, terminal, value
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
        _Story(folder, _staff(folder)).tell()
        if keep:
            click.echo("\n" + escaped(f"Everything is in {folder}; look around with `remit runs list` there."))


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
            shutil.copytree(example, folder / "payables", ignore=shutil.ignore_patterns("__pycache__", "policies"))
            shutil.copytree(root / "policies", folder / "policies")
            (folder / "remit.toml").write_text('app = "payables/app.py:graph"\n')
            return
    raise RemitError("the payables example did not come with this installation: install the wheel again")


def _staff(folder: Path) -> bool:
    """Puts two people in charge, by the example's own script; says whether their keys could be made."""
    done = subprocess.run(
        [sys.executable, "payables/staff.py", "policies", "people"], cwd=folder, capture_output=True, check=False
    )
    return done.returncode == 0


@dataclass
class _Story:
    folder: Path
    staffed: bool
    """Whether finance are people with keys; or whoever sits here."""
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
        report = self._json("run", "--input", f"invoices={_INVOICES}", "--principal", "books@example.com", codes=(8,))
        self.run = report[0]["run"]
        waiting = self._calls()
        self._say(
            "Three payments wait for people",
            "The run is parked: no process, no memory. The reviews are in the store, for whoever may rule.",
        )
        self._shown("review", "list")
        self._rule(waiting)
        self._say(
            "Another process goes on",
            "The agent runs again from the top; what it did before is answered from the journal, and nothing is"
            " paid twice.",
        )
        done = self._json("resume", self.run)
        self._outcome(done[0]["output"])
        self._audit()
        self._tamper()

    def _calls(self) -> list[str]:
        """Tells what was decided of each payment, and why; returns the open reviews, in the calls' order."""
        view = self._json("runs", "show", self.run, quiet=True)[0]
        reviews = []
        for call in view["calls"]:
            if call["tool"] != "pay":
                continue
            args = call["args"]
            click.echo(
                f"  {mark(call['outcome'])}{' ' * (8 - len(call['outcome']))}  {args['amount']:>8} {args['currency']}"
                f"  {value(args['supplier'])}"
            )
            if call["outcome"] != "allow":
                for reason in call["reasons"]:
                    click.echo(folded(escaped(reason), " " * 26))
            reviews += [review["review"] for review in call["reviews"]]
        return reviews

    def _rule(self, reviews: list[str]) -> None:
        large, credit, unknown = reviews
        if self.staffed:
            self._say(
                "Two people rule",
                "Finance needs two of its three people, each with a key of their own. An approval is for exactly this"
                " call, once. A no needs a reason, and is final.",
            )
        else:
            self._say(
                "A person rules",
                "Finance would need two people, each with a key of their own. `ssh-keygen` can't make keys here, so"
                " this is played in single-operator mode: nothing is signed, and every entry says so. An approval is"
                " for exactly this call, once. A no needs a reason, and is final.",
            )
        reason = ("--reason", "ordered on 12 October, catalogue received")
        for who in ("ann", "bob") if self.staffed else ("",):
            self._shown("review", "approve", large, *reason, *self._key(who))
        self._shown("review", "deny", credit, "--reason", "set it off against the next invoice", *self._key("bob"))
        self._shown("review", "deny", unknown, "--reason", "we ordered no tiles", *self._key("ann"))
        self._shown("review", "approve", credit, *self._key("ann"), codes=(7,))

    def _key(self, who: str) -> tuple[str, ...]:
        return ("--key", f"people/{who}") if self.staffed else ()

    def _outcome(self, output: dict[str, Any]) -> None:
        for document in output["documents"]:
            outcome = document["outcome"]
            word = mark(outcome, "done" if outcome == "paid" else "refused")
            click.echo(
                f"  {word}{' ' * (8 - len(outcome))}  {document['amount']:>8} {document['currency']}"
                f"  {value(document['supplier'])}"
            )
            if document["outcome"] != "paid":
                click.echo(folded(escaped(document["why"]), " " * 26))
        click.echo(f"  {output['paid']} documents are paid, {output['total']} EUR in all.")

    def _audit(self) -> None:
        self._say(
            "An auditor checks it",
            "The export is a folder of files; checking it needs neither this machine nor its word.",
        )
        self._shown("audit", "export", "--all", "-o", "export", lines=1)
        self._shown("audit", "verify", "export")

    def _tamper(self) -> None:
        """Changes one byte of a recorded amount, and makes the manifest's checksum fit again."""
        payloads = self.folder / "export" / "payloads.jsonl"
        before = payloads.read_bytes()
        place = next(
            match.start(1) for match in re.finditer(rb'"path":"/args/amount".*?"\\"(\d)', before) if match[1] == b"4"
        )
        after = before[:place] + b"9" + before[place + 1 :]
        payloads.write_bytes(after)
        manifest = self.folder / "export" / "manifest.json"
        was, is_now = (hashlib.sha256(data).hexdigest().encode() for data in (before, after))
        manifest.write_bytes(manifest.read_bytes().replace(was, is_now))
        self._say(
            "Somebody changes a byte of it",
            "The amount that was approved, in the auditor's copy; and the manifest's checksum, so that it fits again.",
        )
        start = before.rindex(b"\n", 0, place) + 1
        for name, data in (("before", before), ("after ", after)):
            line = orjson.loads(data[start : data.index(b"\n", place)])
            where = f"{line['path']} of {line['stream']}#{line['seq']}"
            fields([(name, f"payloads.jsonl, byte {place} is `{chr(data[place])}`: {where} is {line['value']}")])
        lines = self._remit("audit", "verify", "export", codes=(1,)).stdout.splitlines()
        problems = next(number for number, line in enumerate(lines) if "problem:" in line)
        for text in (lines[0], *lines[problems:]):
            click.echo(folded(text, "  "))

    # --- telling ---

    def _say(self, title: str, text: str) -> None:
        self._step += 1
        click.echo(f"\n{heading(f'{self._step}. {title}')}")
        click.echo(folded(text))

    def _shown(self, *command: str, codes: tuple[int, ...] = (0,), lines: int | None = None) -> None:
        """Runs a command and shows what it prints, or the first lines of that."""
        done = self._remit(*command, codes=codes)
        for line in (done.stdout + done.stderr).splitlines()[:lines]:
            click.echo(folded(line, "  "))

    def _json(self, *command: str, codes: tuple[int, ...] = (0,), quiet: bool = False) -> Any:
        return orjson.loads(self._remit(*command, codes=codes, hidden=("--json",), quiet=quiet).stdout)

    def _remit(
        self, *command: str, codes: tuple[int, ...], hidden: tuple[str, ...] = (), quiet: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Runs `remit` in a process of its own, with nothing of this one's settings."""
        if not quiet:
            click.echo(folded(shlex.join(("remit", *command)), "  $ "))
        variables = {name: text for name, text in os.environ.items() if not name.startswith("REMIT_")}
        variables |= {"PAYABLES_BOOKS": "books", "NO_COLOR": "1", "COLUMNS": str(terminal() - 2), "PYTHONUTF8": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "remit", *command, *hidden],
            cwd=self.folder, env=variables, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        if done.returncode not in codes:
            raise RemitError(f"`remit {' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
        return done
