"""Where a path leads is what the system resolves it to, and an odd spelling is said to be odd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from labelled import wrong

from remit.errors import BadInput
from remit.guardrails.paths import paths

INSIDE = [
    "b.txt", "docs/b.txt", "x/y/z", "1", "a-b_c.d",
    "a.txt", "./a.txt", "docs/a.txt", "docs/../docs/a.txt", "docs//a.txt", "docs/./a.txt", "new/file.txt", "docs/", ".",
    "a b.txt", "résumé.txt", "日本語.txt", "a...txt", "a..txt", "..a/b", "docs/a.tar.gz", "A.TXT", "docs/x-1_2.csv", "a,b.txt",
    "docs/(1).txt", "docs/a+b.txt", "docs/#1.txt", "docs/a@b.txt", "docs/a'b.txt", "x" * 200,
]  # fmt: skip
OUTSIDE = [
    ("..", "outside traversal"),
    ("../", "outside traversal"),
    ("../x", "outside traversal"),
    ("../../etc/passwd", "outside traversal"),
    ("docs/../../x", "outside traversal"),
    ("docs/../../root/../x", "outside traversal"),
    ("a.txt/../../x", "outside traversal"),
    ("./../x", "outside traversal"),
    ("/etc/passwd", "outside absolute"),
    ("//etc/passwd", "outside absolute"),
    ("/", "outside absolute"),
    ("/tmp", "outside absolute"),
    ("/proc/self/environ", "outside absolute links devices"),
    ("/dev/null", "outside absolute devices"),
    ("/sys/kernel", "outside absolute devices"),
    ("out", "outside links"),
    ("out/passwd", "outside links"),
    ("docs/up/x", "outside links"),
    ("loop", "links"),
    ("inner", "links"),
    ("inner/a.txt", "links"),
    ("broken", "outside links"),
    ("out/../a.txt", "outside links traversal"),
    ("inner/../a.txt", "links traversal"),
    ("a\0.txt", "outside odd"),
    ("", "outside odd"),
]
ODD = [
    ("%2e%2e/x", "traversal odd"),
    ("..%2fx", "traversal odd"),
    ("%2e%2e%2fx", "traversal odd"),
    ("%252e%252e%252fx", "traversal odd"),
    ("..%5cx", "traversal odd"),
    ("..\\x", "traversal odd"),
    ("docs\\..\\..\\x", "traversal odd"),
    (".. /x", "traversal odd"),
    ("../x\n", "outside traversal odd"),
    ("... /x", "traversal odd"),
    ("．．/x", "traversal odd"),
    ("‥/x", "traversal odd"),
    ("..∕x", "traversal odd"),
    ("..／x", "traversal odd"),
    ("%c0%ae%c0%ae/x", "odd"),
    ("C:\\Windows", "odd"),
    ("C:/Windows", "odd"),
    ("c:x", "odd"),
    ("\\\\server\\share", "odd"),
    ("~/x", "odd"),
    ("~root/x", "odd"),
    ("$HOME/x", "odd"),
    ("${HOME}/x", "odd"),
    ("a.txt:stream", "odd"),
    ("a.txt::$DATA", "odd"),
    ("file:///etc/passwd", "odd"),
    ("FILE:a.txt", "odd"),
    ("http://example.com/x", "odd"),
    (" a.txt", "odd"),
    ("a.txt ", "odd"),
    ("a\tb", "odd"),
    ("a\nb", "odd"),
    ("a\rb", "odd"),
    ("a\x1b[2Jb", "odd"),
    ("a\x7fb", "odd"),
    ("a\u200bb", "odd"),
    ("a\u202etxt.exe", "odd"),
    ("ﬁle.txt", "odd"),
    ("ａ.txt", "odd"),
]
HIDDEN = [
    (".env", "hidden"),
    (".ssh/id_rsa", "hidden"),
    (".git/config", "hidden"),
    ("docs/.htaccess", "hidden"),
    ("docs/.a/b", "hidden"),
    ("%2eenv", "hidden odd"),
    ("..env", "hidden"),
    ("a/.b/../c", "hidden traversal"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a link out of it, one inside it, one to itself, and one to nothing."""
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / "a.txt").write_text("x")
    (root / "docs" / "a.txt").write_text("x")
    (root / "out").symlink_to("/etc")
    (root / "docs" / "up").symlink_to(tmp_path)
    (root / "inner").symlink_to(root / "docs")
    (root / "loop").symlink_to(root / "loop")
    (root / "broken").symlink_to(tmp_path / "nothing")
    return root


def test_each_labelled_path_is_said_to_lead_where_the_system_resolves_it(root: Path) -> None:
    inside = [(path, "hidden" if path == "..a/b" else "traversal" if "/../" in path else "") for path in INSIDE]
    samples = inside + OUTSIDE + ODD + HIDDEN
    assert len(samples) >= 100
    assert wrong(paths([str(root)]), samples) == ""


def test_a_folder_whose_name_begins_like_the_root_is_outside_of_it(root: Path) -> None:
    beside = root.parent / "rootkit"
    beside.mkdir()
    assert paths([str(root)]).look([("/p", str(beside / "x"))]).facts.outside
    assert paths([str(root)]).look([("/p", str(root / "x"))]).facts.outside is False


def test_what_is_said_to_be_inside_is_where_opening_it_would_lead(root: Path) -> None:
    detector = paths([str(root)])
    for path, _ in OUTSIDE + ODD + HIDDEN:
        if "\0" in path:
            continue
        real = os.path.realpath(os.path.join(root, path)) if path else ""
        within = real == str(root) or real.startswith(f"{root}/")
        assert detector.look([("/p", path)]).facts.outside is not within, path


def test_endings_and_where_it_leads_are_named(root: Path) -> None:
    facts = paths([str(root)]).look([("/p", ["docs/a.TXT", "inner/b.csv"])]).facts
    assert facts.suffixes == (".csv", ".txt")
    assert facts.resolved == (f"{root}/docs/a.TXT", f"{root}/docs/b.csv")


def test_without_a_root_that_is_there_no_detector_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least one root"):
        paths([])
    with pytest.raises(BadInput, match="is not a folder"):
        paths([str(tmp_path / "nothing")])
