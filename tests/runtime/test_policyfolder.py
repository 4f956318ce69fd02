"""Nothing in a folder of policies that could be meant as one is passed over in silence."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remit.core.filenames import KINDS, LEFTOVERS, MOST, is_left_over, is_policy_file, largest, refusal
from remit.errors import BadInput, PolicyError
from remit.runtime.policyfolder import read_policies
from remit.runtime.textfiles import read_bounded

POLICY = "policy: p\nrules:\n  - id: a\n    tools: [look]\n    allow: true\n"
DENY = POLICY.replace("policy: p", "policy: d").replace("allow", "deny")

LEFT = (
    ".#p.yaml", "#p.yaml#", "p.yaml~", ".p.yaml.swp", ".p.yaml.swo", "4913", "p.yaml___jb_tmp___", ".DS_Store",
    "._p.yaml", "Thumbs.db", ".git", ".gitignore", "README.md", "readme.txt", "LICENSE", "policy.schema.json",
    ".~lock.a.list.csv#", "~$a.list.csv", ".nfs00000001", "..data", "..2026_12_01_10_00_00.1", "lost+found",
)  # fmt: skip
REFUSED = (
    "deny.json", "deny.yaml.bak", "deny.ymal", "deny.yaml.txt", "deny.YAML", "deny.Yml", "deny.yaml ", "deny.yaml.orig",
    "deny.yaml.disabled", "deny.yalm", "deny", "deny.txt", "deny.toml", "deny.yaml.swp", "blocked.list.tsv",
    "blocked.list", "deny.csv", "Queues.yaml", "REVIEWERS.yml", "deny.yaml.gpg", "deny.py", ".deny", "~deny.yml.old",
    "d\u0435ny.yaml\u200b",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "policies"
    place.mkdir()
    (place / "p.yaml").write_text(POLICY)
    return place


def refused(folder: Path) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        read_policies(folder)
    return caught.value


@pytest.mark.parametrize("name", LEFT)
def test_what_editors_leave_is_passed_over_whatever_it_is(folder: Path, name: str) -> None:
    os.symlink("ann@host.1:2", folder / name)
    assert read_policies(folder) == {"p.yaml": POLICY}
    (folder / name).unlink()
    (folder / name).write_bytes(b"\xff\x00")
    assert read_policies(folder) == {"p.yaml": POLICY}
    (folder / name).unlink()
    (folder / name).mkdir()
    (folder / name / "deny.yaml").write_text(DENY)
    assert read_policies(folder) == {"p.yaml": POLICY}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_meant_as_policy_is_refused_by_name_with_a_remedy(folder: Path, name: str) -> None:
    (folder / name).write_text(DENY)
    (problem,) = refused(folder).problems
    assert problem.file == str(folder / name) and problem.message and problem.hint


def test_every_problem_of_a_folder_is_told_at_once(folder: Path) -> None:
    for name in REFUSED:
        (folder / name).write_text(DENY)
    (folder / "sub").mkdir()
    (folder / "sub" / "deny.yaml").write_text(DENY)
    assert {Path(problem.file).name for problem in refused(folder).problems} == {*REFUSED, "sub"}


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30))
@example("a.yaml")
@example("queues.YML")
@example(".#a.yaml")
def test_a_name_is_read_passed_over_or_refused_and_never_anything_else(name: str) -> None:
    kinds = [is_left_over(name), refusal(name) is not None, is_policy_file(name) and not is_left_over(name)]
    assert any(kinds) and not (kinds[0] and kinds[1])
    if kinds[2] and kinds[1]:  # it ends as a policy does, and has nearly the name of a special one
        assert name.rpartition(".")[0].casefold() in KINDS


def test_no_name_of_a_policy_or_list_is_among_those_that_are_passed_over() -> None:
    for name in (
        "deny.yaml",
        "deny.yml",
        ".deny.yaml",
        "a.list.csv",
        "a.cases.yaml",
        *(f"{kind}.yaml" for kind in KINDS),
    ):
        assert not is_left_over(name) and refusal(name) is None
    assert all(pattern == pattern.casefold() for patterns in LEFTOVERS.values() for pattern in patterns)


# --- folders in it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["deny.yaml", "deny.txt", "deeper/deny.yaml", "deeper/deepest/anything"])
def test_a_folder_with_anything_in_it_is_refused(folder: Path, inside: str) -> None:
    place = folder / "sub" / inside
    place.parent.mkdir(parents=True)
    place.write_text(DENY)
    (problem,) = refused(folder).problems
    assert problem.file == str(folder / "sub") and "apart: [sub]" in problem.hint


def test_an_empty_folder_and_one_with_leftovers_only_are_passed_over(folder: Path) -> None:
    (folder / "empty" / "deeper").mkdir(parents=True)
    (folder / "empty" / "deeper" / ".DS_Store").write_bytes(b"")
    assert read_policies(folder) == {"p.yaml": POLICY}
    (folder / "empty").rename(folder / "empty.yaml")
    assert [Path(one.file).name for one in refused(folder).problems] == ["empty.yaml"]


def test_a_folder_that_stands_apart_is_named_and_has_to_be_there(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "deny.yaml").write_text(DENY)
    (folder / "folders.yaml").write_text("apart: [sub]\n")
    assert set(read_policies(folder)) == {"p.yaml", "folders.yaml"}
    (folder / "folders.yaml").write_text("apart: [sub, sbu]\n")
    (problem,) = refused(folder).problems
    assert (problem.line, problem.message) == (1, "there is no sub folder `sbu`")
    (folder / "folders.yaml").write_text("apart: sub\n")
    assert {Path(one.file).name for one in refused(folder).problems} == {"folders.yaml", "sub"}
    (folder / "folders.yaml").write_text("apart: [sub]\n")
    (folder / "folders.yml").write_text("apart: [sub]\n")
    assert [Path(one.file).name for one in refused(folder).problems] == ["folders.yml"]


def test_a_loop_of_links_ends(folder: Path) -> None:
    (folder / "sub").mkdir()
    os.symlink("..", folder / "sub" / "up")
    assert refused(folder).problems


# --- what is read --------------------------------------------------------------------------------------


def test_only_regular_files_are_read_and_links_to_them(folder: Path) -> None:
    (folder.parent / "elsewhere").write_text(DENY)
    os.symlink(folder.parent / "elsewhere", folder / "d.yaml")
    assert read_policies(folder)["d.yaml"] == DENY
    for number, make in enumerate([
        lambda path: os.mkfifo(path),
        lambda path: os.symlink("/dev/zero", path),
        lambda path: os.symlink("nowhere", path),
        lambda path: os.symlink(path, path),
    ]):  # fmt: skip
        path = folder / f"bad{number}.yaml"
        make(path)
        (problem,) = refused(folder).problems
        assert problem.file == str(path) and problem.message.startswith(("it is no regular file", "it can't be read"))
        path.unlink()


@pytest.mark.parametrize("name", ["big.yaml", "big.list.csv", "big.cases.yaml"])
def test_how_large_a_file_may_be_is_said_and_no_more_of_it_is_read(folder: Path, name: str) -> None:
    with (folder / name).open("wb") as file:
        file.truncate(1 << 36)  # 64 GiB of nothing
    (problem,) = refused(folder).problems
    assert problem.file == str(folder / name) and f"({largest(name):,})" in problem.message


def test_a_folder_with_too_many_files_is_refused(folder: Path) -> None:
    for number in range(MOST + 5):
        (folder / f"{number}.md").write_bytes(b"")
    assert any(f"({MOST:,})" in problem.message for problem in refused(folder).problems)


def test_read_bounded_takes_all_there_may_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_bounded(tmp_path / "a", 10) == "x" * 10
    with pytest.raises(BadInput, match="more bytes"):
        read_bounded(tmp_path / "a", 9)


def test_a_git_ref_is_read_as_the_folder_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from remit.cli.policy.comparing import files_of
    from remit.cli.settings import settings

    monkeypatch.chdir(folder.parent)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    (folder / "blocked.list.txt").write_text("evil.example\n")
    (folder / "README.md").write_text("about\n")

    def committed() -> dict[str, str]:
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "x"], check=True)
        return asyncio.run(files_of(settings(), "HEAD:policies"))

    subprocess.run([*git, "init", "-q"], check=True)
    assert committed() == {"p.yaml": POLICY, "blocked.list.txt": "evil.example\n"}
    (folder / "deny.yaml.bak").write_text(DENY)
    os.symlink("p.yaml", folder / "link.yaml")
    (folder / "sub").mkdir()
    (folder / "sub" / "deny.yaml").write_text(DENY)
    with pytest.raises(PolicyError) as caught:
        committed()
    assert {problem.file.rpartition("policies/")[2].rstrip("/") for problem in caught.value.problems} == {
        "deny.yaml.bak", "link.yaml", "sub",
    }  # fmt: skip
