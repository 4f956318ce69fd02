"""`remit demo` is what people see first: it tells the whole story, wherever it is played, and from the wheel too."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
POLLUTED = {
    "REMIT_STORE": "sqlite:////nowhere/x.db",
    "REMIT_POLICIES": "/nowhere",
    "REMIT_APP": "nothing:here",
    "REMIT_ANYTHING": "else",
    "PAYABLES_BOOKS": "/proc/nowhere",
    "PYTHONWARNINGS": "error",
    "COLUMNS": "80",
}


def demo(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "remit", "demo", *arguments],
        cwd=folder, env={**os.environ, **POLLUTED, **variables}, capture_output=True, encoding="utf-8", timeout=100,
        check=False,
    )  # fmt: skip


def test_the_demo_tells_the_whole_story_whatever_the_settings_are(tmp_path: Path) -> None:
    (tmp_path / "remit.toml").write_text("not = toml = at all")
    done = demo(tmp_path, "--keep", "kept")
    assert (done.returncode, done.stderr) == (0, "")
    told = " ".join(done.stdout.split())
    for words in (
        "1. An agent pays invoices",
        "allow 184.20 EUR Nordwind Bürobedarf GmbH",
        "LT121000011101001000 is not an account of Lumen Éclairage SARL",
        "2. Three payments wait for people",
        "$ remit review list",
        "3. Two people rule",
        "1 of 2 have approved it as it stands",
        "--key people/bob",
        "a ruling is final",
        "4. Another process goes on",
        "3 documents are paid, 5130.60 EUR in all",
        "5. An auditor checks it",
        "export holds",
        "6. Somebody changes a byte of it",
        "before payloads.jsonl, byte",
        'is "4850.00"',
        'is "9850.00"',
        "export DOES NOT HOLD",
        "/args/amount: the payload is not what the entry committed to",
        "Everything is in kept",
    ):
        assert words in told, words
    assert "Traceback" not in told
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert {path.name for path in (tmp_path / "kept").iterdir()} >= {"remit.db", "policies", "payables", "export"}
    # What is kept can be looked at, and is in nobody's way.
    again = demo(tmp_path, "--keep", "kept")
    assert again.returncode == 2 and "`kept` is not empty" in again.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"remit.toml", "kept"}


def test_where_no_keys_can_be_made_it_is_played_by_one_person_and_says_so(tmp_path: Path) -> None:
    done = demo(tmp_path, PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    told = " ".join(done.stdout.split())
    assert "3. A person rules" in told and "played in single-operator mode: nothing is signed" in told
    assert "export holds" in told and "export DOES NOT HOLD" in told and "people/" not in told


def test_the_wheel_has_the_demo_the_skeleton_and_the_types(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed: it comes with the `dev` extra")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    here = {str(path.relative_to(ROOT)) for path in ROOT.glob("src/remit/**/*") if path.is_file()}
    here = {name for name in here if "__pycache__" not in name}
    assert {name.replace("src/", "", 1) for name in here} <= names
    assert "remit/py.typed" in names and any(name.endswith("skeleton/app.py.txt") for name in names)
    example = {
        str(path.relative_to(ROOT))
        for folder in ("examples/payables", "policies")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {f"remit/_example/{name}" for name in example} <= names
    assert not any("__pycache__" in name or name.endswith((".db", ".pyc")) for name in names)
    assert not any(name.startswith(("tests/", "docs/", "src/")) for name in names)
