"""The documentation is true: its code and commands run, its generated parts are current, what it names exists."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit import cli
from remit.cli.settings import Settings
from remit.runtime.ambient import user

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BIN = Path(sys.executable).parent
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- code and commands -----------------------------------------------------------------------------------

BLOCK = re.compile(r"(<!-- not run[^\n]*-->\n)?^```([a-z]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml|toml))\n")
EXITS = re.compile(r"\s+# exits (\d+)$")
PLAY = "test_every_file_and_command_of_a_page_does_what_the_page_says"
PLAYED = [page for page in PAGES if "```sh\n" in page.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plays]:
    """Plays the pages that are wanted, two at a time: they wait for processes, most of the time."""
    wanted = {
        item.callspec.params["page"] for item in request.session.items if getattr(item, "originalname", "") == PLAY
    }
    # Of several workers each is given only some of them, and doesn't know which.
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    with ThreadPoolExecutor(2 if alone else 1) as pool:
        yield Plays(pool, tmp_path_factory, sorted(wanted, key=lambda page: -page.stat().st_size) if alone else [])
        pool.shutdown(cancel_futures=True)


class Plays(dict[Path, Future[None]]):
    """Pages and how playing them ended; one that was not begun begins when it is asked for."""

    def __init__(self, pool: ThreadPoolExecutor, folders: pytest.TempPathFactory, pages: list[Path]) -> None:
        super().__init__()
        self._pool = pool
        self._folders = folders
        for page in pages:
            self[page]

    def __missing__(self, page: Path) -> Future[None]:
        self[page] = self._pool.submit(play, page, self._folders.mktemp("page"))
        return self[page]


@pytest.mark.timeout(300)  # the first may wait for others, on a busy machine
@pytest.mark.parametrize("page", PLAYED, ids=name_of)
def test_every_file_and_command_of_a_page_does_what_the_page_says(page: Path, plays: Plays) -> None:
    plays[page].result()


def play(page: Path, folder: Path) -> None:
    story = Story(folder)
    output = None
    for not_run, kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if not_run:
            continue
        if kind == "sh":
            output = story.run(text)
        elif kind == "text":
            assert output is not None, f"output without commands before it:\n{text}"
            story.compare(text, output)
            output = None
        elif kind in ("python", "yaml", "toml"):
            story.write(text)


class Story:
    """One page's files and commands, in a folder of its own.

    What differs from one time to the next is bound when it is first seen: an id or a key in a page's output stands
    for the one that was printed, here and in later commands. A line `…` stands for any lines.
    """

    BOUND = (
        (r"\b(?=[a-z]*\d)[0-9a-hjkmnp-tv-z]{12}\b", r"[0-9a-hjkmnp-tv-z]{12}"),
        (r"\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}", r"\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}"),
    )
    NAMES = re.compile("|".join(shown for shown, _ in BOUND))
    VARYING = (
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"\d{4}-\d\d-\d\dT[\d:.]+Z"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"),
        (r"\b[0-9a-f]{40,64}\b", r"[0-9a-f]{40,64}"),
        (r"\bin \d+ (?:d|h|min)(?: \d+ (?:h|min))?(?=\s)", r"in \d+ \w+(?: \d+ \w+)?"),
        (r"\bin \d+\.\d\ds\b", r"in \d+\.\d\ds"),
        (r"\bada\b", rf"(?:ada|{re.escape(user())})"),  # on a page, whoever sits at the machine is called Ada
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, str] = {}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REMIT_", "PYTEST_"))}
        self._environment = {
            **kept,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def write(self, text: str) -> None:
        named = FILE.match(text)
        assert named, f"a block of code is a file, and begins with its name:\n{text}"
        path = self._folder / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, text: str) -> str:
        script = self.NAMES.sub(lambda found: self._known.get(found[0], found[0]), self._script(text))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder, env=self._environment, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _script(self, text: str) -> str:
        lines = []
        for line in text.splitlines():
            expected = EXITS.search(line)
            if expected is None:
                lines.append(line)
                continue
            command, code = line[: expected.start()], expected[1]
            lines.append(f'code=0; {command} || code=$?; [ $code = {code} ] || {{ echo "ended with $code"; exit 99; }}')
        return "\n".join(lines)

    def compare(self, expected: str, found: str) -> None:
        bound: dict[str, str] = {}
        lines = (r"(?:.*\n)*?" if line == "…" else self._line(line, bound) + r"\n" for line in expected.splitlines())
        match = re.fullmatch("".join(lines), found)
        assert match, f"expected:\n{expected}\nfound:\n{found}"
        self._known.update({name: match[group] for name, group in bound.items()})

    def _line(self, line: str, bound: dict[str, str]) -> str:
        """Returns a pattern of a line, in which what varies may vary."""
        kinds = (*self.VARYING, *self.BOUND)
        parts, at = [], 0
        for found in re.finditer("|".join(f"(?P<k{index}>{shown})" for index, (shown, _) in enumerate(kinds)), line):
            parts.append(re.escape(line[at : found.start()]))
            at = found.end()
            name = found[0]
            kind = kinds[int(str(found.lastgroup)[1:])]
            if kind in self.VARYING:
                parts.append(kind[1])
            elif name in self._known:
                parts.append(re.escape(self._known[name]))
            elif name in bound:
                parts.append(f"(?P={bound[name]})")
            else:
                bound[name] = f"b{len(bound)}"
                parts.append(f"(?P<{bound[name]}>{kind[1]})")
        return "".join(parts) + re.escape(line[at:])


def test_a_page_that_says_something_else_is_found_out(tmp_path: Path) -> None:
    story = Story(tmp_path)
    output = story.run("echo 'run fmkq8x66ja10 is done'\necho more")
    story.compare("run aaaa8x66ja11 is done\n…\n", output)
    assert story.run("echo aaaa8x66ja11") == "fmkq8x66ja10\n"
    for wrong in ("run aaaa8x66ja11 is done\n", "run aaaa8x66ja11 is waiting\nmore\n", "run bbbb8x66ja12 is\nmore\n"):
        with pytest.raises(AssertionError):
            story.compare(wrong, output)
    with pytest.raises(AssertionError):
        story.run("false   # exits 2")


# --- generated parts -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("remit_docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_are_what_the_code_says(generate: ModuleType) -> None:
    stale = [
        name_of(page)
        for page in generate.pages()
        if generate.rendered(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")
    ]
    assert not stale, f"run `python docs/generate.py`: {stale} differ from the code"
    text = "".join(page.read_text(encoding="utf-8") for page in generate.pages())
    for part in generate.PARTS:
        assert text.count(f"<!-- generated: {part} -->") == 1


def test_the_help_texts_are_what_the_command_prints(generate: ModuleType) -> None:
    text = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    for path, help in generate.commands():
        assert f"### {path}\n\n```\n{help}\n```\n" in text
    environment = {**os.environ, "COLUMNS": str(generate.COLUMNS), "NO_COLOR": "1"}
    for words in (["--help"], ["run", "--help"]):
        found = subprocess.run([BIN / "remit", *words], env=environment, capture_output=True, text=True, check=True)
        assert f"```\n{found.stdout.strip()}\n```" in text


def test_the_table_of_exit_codes_is_the_programs() -> None:
    text = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    known = {cli.DONE, cli.FAILED, cli.USAGE, cli.TIMED_OUT, cli.NOT_ENTITLED, cli.UNKNOWN, cli.CLAIMED, cli.STALE}
    assert codes == known | {cli.WAITING, cli.INTERRUPTED, cli.TERMINATED}


def test_the_table_of_settings_is_the_programs() -> None:
    text = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| `(\w+)` \| `REMIT_(\w+)` \|", text, re.MULTILINE))
    assert named == {name: name.upper() for name in Settings.model_fields}


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what a command changes in the process it runs in."""
    logger = logging.getLogger("remit")
    before = logger.handlers, logger.level, logger.propagate
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for name in Settings.model_fields:
        monkeypatch.delenv(f"REMIT_{name.upper()}", raising=False)
    yield
    logger.handlers, logger.level, logger.propagate = before
    sys.modules.pop("remit_target_app", None)


@pytest.mark.usefixtures("quiet")
def test_the_table_of_json_keys_is_what_the_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generate: ModuleType
) -> None:
    monkeypatch.chdir(tmp_path)
    table = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    keys: dict[str, list[str]] = {}
    for command, said in re.findall(r"^\| `remit ([a-z ]+)` \| [^|]+ \| ([^|]+) \|$", table, re.MULTILINE):
        same = re.fullmatch(r"as `remit ([a-z ]+)`", said.strip())
        keys[command] = keys[same[1]] if same else re.findall(r"`(\w+)`", said)
    assert set(keys) == {path.removeprefix("remit ") for path, help in generate.commands() if " --json " in help}

    def remit(command: str, *words: str) -> list[dict[str, object]]:
        done = CliRunner().invoke(cli.cli, [*command.split(), *words, "--json"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        rows: list[dict[str, object]] = json.loads(done.stdout)
        assert sorted(rows[0]) == keys.pop(command), command
        return rows

    CliRunner().invoke(cli.cli, ["init"])
    assert remit("policy check") and remit("policy test")
    assert remit("policy explain", "--case", "notes.cases.yaml#1")
    assert remit("policy analyse") and remit("policy ask", "outcome == ALLOW")
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "policies").glob("*.yaml"):
        (tmp_path / "other" / path.name).write_text(path.read_text().replace("1000", "10"))
    assert remit("policy diff", "other")
    more = "{edit: [name], respond: true, hand_on_to: [others], may_also_rule: [released],"
    more += " grant: {uses: 2, for: 1h}, notify: [hook]}"
    queues = f"single_operator: true\nqueues:\n  editors: {more}\n  others: {{}}\n"
    queues += "flow: {endorse: [principal], declassify: [principal]}\n"
    Path("policies/queues.yaml").write_text(queues, encoding="utf-8")
    later = "policy: later\nmode: shadow\nrules:\n  - {id: a, tools: ['*'], deny: 'true'}\n"
    Path("policies/reviewers.yaml").write_text("reviewers: {ann: {}}\n", encoding="utf-8")
    Path("policies/later.yaml").write_text(later, encoding="utf-8")
    settings = Path("remit.toml").read_text(encoding="utf-8")
    hook = '[channels.hook]\nkind = "command"\ncommand = ["true"]\n'
    Path("remit.toml").write_text(f"{settings}\n{hook}", encoding="utf-8")
    assert remit("keys new", "example.com/notes") and remit("keys rotate") and remit("keys list")
    assert remit("store info")
    CliRunner().invoke(cli.cli, ["notify", "--once"])
    run = str(remit("run", "--input", "topic=tea")[0]["run"])
    CliRunner().invoke(cli.cli, ["run", "--input", "topic=mint"])
    first, second = (str(row["review"]) for row in remit("review list"))
    keys.pop("review watch")  # never ends: tests/cli/test_following.py looks at its rows
    assert remit("review next") and remit("queue list") and remit("queue stats")
    why = ("--reason", "so")
    assert (
        remit("reviewers list") and remit("reviewers revoke", "ann", *why) and remit("reviewers restore", "ann", *why)
    )
    granting = ("--grant", "args.name == this.args.name", "--uses", "2")
    assert remit("review show", first) and remit("review approve", first, *granting) and remit("review wait", first)
    assert (
        remit("notify", "--once")
        and remit("notify list", "--all")
        and remit("notify retry")
        and remit("notify test", "hook")
    )
    assert remit("grant list") and remit("grant show", first) and remit("grant revoke", first, "--reason", "no more")
    assert remit("resume", run)
    assert remit("review deny", second, "--reason", "no")
    assert remit("work", "--once")
    for topic in ("sage", "dill", "rue"):
        CliRunner().invoke(cli.cli, ["run", "--input", f"topic={topic}"])
    found = CliRunner().invoke(cli.cli, ["review", "list", "--json"])
    third, fourth, fifth = (str(row["review"]) for row in json.loads(found.stdout))
    assert remit("review whoami") and remit("review claim", third) and remit("review release", third)
    assert remit("review comment", third, "well") and remit("review edit", third, "--set", "name=basil")
    assert remit("review respond", fourth, "--value", "true") and remit("review handon", fifth, "others")
    going = str(json.loads(found.stdout)[0]["run"])
    assert remit("runs endorse", going, "write_note", "--reason", "well known")
    assert remit("runs declassify", going, "private", "write_note", "--reason", "well known")
    assert remit("runs list") and remit("runs show", run) and remit("runs graph", run)
    call = f"{run}/take-notes#0"
    assert remit("audit trace", call) and remit("audit prove", call) and remit("audit tiles", "log")
    assert remit("policy shadow") and remit("policy backtest") and remit("policy cases", "--from", "reviews")
    assert remit("audit erase", "--call", call, "--reason", "asked for")
    assert remit("audit erasures")
    masking = {
        "detector": "text",
        "tools": ["write_note"],
        "results": [""],
        "when": "!ansi",
        "then": "mask",
        "keep": True,
    }
    Path("policies/guardrails.yaml").write_text(json.dumps({"guardrails": [masking]}), encoding="utf-8")
    found = json.loads(CliRunner().invoke(cli.cli, ["run", "--input", "topic=sage", "--json"]).stdout)
    assert remit("audit original", f"{found[0]['run']}/take-notes#0") == [
        {"call": f"{found[0]['run']}/take-notes#0", "result": "sage", "args": {}}
    ]
    assert remit("policy activate", "--reason", "so") and remit("policy log")
    assert remit("audit export", "--all", "-o", "e") and remit("audit verify", "e")
    for key in Path("keys").glob("*.journal"):
        key.unlink()
    assert remit("store adopt", "--reason", "the key was lost")
    assert not keys, f"commands that were not tried: {list(keys)}"


# --- the worked example of the format --------------------------------------------------------------------


def test_the_worked_example_of_the_journal_is_what_the_specification_gives() -> None:
    """Made again with hashlib and Ed25519, and with nothing of ours: another could do it from the page alone."""
    text = (DOCS / "reference/journal.md").read_text(encoding="utf-8")
    example = text[text.index("## A worked example") :]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", example, re.M | re.S)
    journal, call = (block.splitlines() for kind, block in blocks if kind == "json")
    public, note, proof = (block for kind, block in blocks if not kind)

    def sha256(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    for line in (*journal, *call):
        assert json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")) == line
    entries = [json.loads(line) for line in journal]
    leaves = [sha256(b"\0", line.encode()) for line in journal]
    assert re.findall(r"^\| (\d) \| `([^`]+)` \| `(\w+)` \|$", example, re.M) == [
        (str(index), f"{entry['stream']}#{entry['seq']}", leaf.hex())
        for index, (entry, leaf) in enumerate(zip(entries, leaves, strict=True))
    ]
    assert [entry["prev"] for entry in entries] == ["0" * 64, "0" * 64, leaves[1].hex()]
    committed = sha256(b"remit payload v1\0", bytes(range(16)), b'{"topic":"tea"}').hex()
    assert entries[1]["body"]["input"] == committed and f"`{committed}`" in example

    node = sha256(b"\1", leaves[0], leaves[1])
    root = sha256(b"\1", node, leaves[2])
    assert f"`{node.hex()}`" in example and f"`{root.hex()}`" in example

    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    name, key = "example.com/tea", b"\1" + private.public_key().public_bytes_raw()
    id = sha256(name.encode(), b"\n", key)[:4]
    assert public == f"{name}+{id.hex()}+{base64.b64encode(key).decode()}\n"
    assert entries[0]["body"]["key"] == public.strip()
    said = f"{name}\n3\n{base64.b64encode(root).decode()}\n"
    signature = base64.b64encode(id + private.sign(said.encode())).decode()
    assert note == f"{said}\n\N{EM DASH} {name} {signature}\n"
    beside = "".join(base64.b64encode(leaf).decode() + "\n" for leaf in (leaves[0], leaves[2]))
    assert proof == f"c2sp.org/tlog-proof@v1\nindex 1\n{beside}\n{note}"

    digest = sha256(call[0].encode()).hex()
    repeated = sha256(b"remit idempotency key v1\0", digest.encode()).hex()[:40]
    assert f"| call digest | `{digest}` |\n| idempotency key | `{repeated}` |" in example


# --- what is named exists --------------------------------------------------------------------------------

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w/]+\.py)(?::([\w.]+))?`")
NAMING = tuple(
    f"docs/{name}.md" for name in ("guarantees", "life-of-a-tool-call", "trust", "architecture", "compliance")
)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.exists(), f"{name_of(page)}: {target}"
        assert place.is_relative_to(ROOT), f"{name_of(page)}: {target}"
        assert not anchor or anchor in anchors(place), f"{name_of(page)}: {target}"


@pytest.mark.parametrize("name", NAMING)
def test_every_file_and_function_that_is_named_is_there(name: str) -> None:
    found = NAMED.findall((ROOT / name).read_text(encoding="utf-8"))
    assert found
    for file, function in found:
        path = next((root / file for root in (ROOT / "src/remit", ROOT) if (root / file).is_file()), None)
        assert path is not None, f"{name}: there is no file {file}"
        assert not function or function in defined(path), f"{name}: there is no {function} in {file}"


def defined(path: Path) -> set[str]:
    """Returns the names that a module defines, `Class.method` included."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (part for part in node.body if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)))
            names |= {f"{node.name}.{method.name}" for method in methods}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_test_that_guards_a_guarantee_is_collected() -> None:
    named = set(TEST.findall((DOCS / "guarantees.md").read_text(encoding="utf-8")))
    assert named
    files = sorted({file for file, _ in named})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    collected = {tuple(line.partition("[")[0].split("::")) for line in done.stdout.splitlines() if "::" in line}
    assert not named - collected, f"not collected: {sorted(named - collected)}\n{done.stdout[-2000:]}"


def test_the_reading_order_is_the_one_that_imports_are_held_to() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    section = text[text.index("## Reading order") : text.index("## Where what goes")]
    rows = "".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "core-order")
    modules = [layer.strip("()") for layer in reversed(layers)]
    there = [module for module in modules if (ROOT / f"src/remit/core/{module}.py").is_file()]
    assert re.findall(r"`core/(\w+)\.py`", rows) == there


def test_every_make_target_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8")))
        assert named <= targets, f"{name_of(page)}: {named - targets}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
