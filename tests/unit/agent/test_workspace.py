"""The file tools stay in their directory and change what they were asked to change, nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from architect_parallel.agent.workspace import ToolProblem, WorkingDirectory

ESCAPES = (
    "../outside.txt",
    "a/../../outside.txt",
    "{outside}",
    "link-to-file",
    "link-to-directory/outside.txt",
    "chain/outside.txt",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("untouched")
    (root / "link-to-file").symlink_to(tmp_path / "outside.txt")
    (root / "link-to-directory").symlink_to(tmp_path)
    (root / "chain").symlink_to("link-to-directory")
    return root


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out(root: Path, path: str) -> None:
    outside = root.parent / "outside.txt"
    path = path.format(outside=outside)
    workspace = WorkingDirectory(root)
    with pytest.raises(ToolProblem, match="outside the working directory"):
        workspace.read(path)
    with pytest.raises(ToolProblem, match="outside the working directory"):
        workspace.write(path, "changed")
    with pytest.raises(ToolProblem, match="outside the working directory"):
        workspace.edit(path, "untouched", "changed")
    assert outside.read_text() == "untouched"
    # The control: joining the path, as a naive tool would, does get out.
    (root / path).write_text("changed")
    assert outside.read_text() == "changed"


@pytest.mark.parametrize("path", ["..", "/", "link-to-directory", "chain", "a/../.."])
def test_no_directory_outside_is_listed(root: Path, path: str) -> None:
    with pytest.raises(ToolProblem, match="outside the working directory"):
        WorkingDirectory(root).list(path)


def test_a_missing_file_behind_a_link_out_is_not_created(root: Path) -> None:
    with pytest.raises(ToolProblem, match="outside"):
        WorkingDirectory(root).write("link-to-directory/new.txt", "x")
    assert not (root.parent / "new.txt").exists()


def test_links_and_dots_that_stay_inside_are_fine(root: Path) -> None:
    (root / "inner").symlink_to("a")
    workspace = WorkingDirectory(root)
    workspace.write("inner/../a/b.txt", "one\n")
    assert workspace.read(str(root / "a" / "b.txt")) == "     1\tone"


@pytest.mark.parametrize("path", [".git", ".git/config", "sub/.GIT/hooks/pre-commit"])
def test_git_is_not_written(root: Path, path: str) -> None:
    with pytest.raises(ToolProblem, match="git"):
        WorkingDirectory(root).write(path, "x")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_is_said(root: Path, path: str) -> None:
    with pytest.raises(ToolProblem, match="empty or holds a NUL"):
        WorkingDirectory(root).read(path)


def test_a_fifo_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(ToolProblem, match="not a file"):
        WorkingDirectory(root).read("pipe")


def test_lines_are_numbered_and_counted(root: Path) -> None:
    (root / "f").write_text("a\nb\nc\nd\n")
    workspace = WorkingDirectory(root)
    assert workspace.read("f", offset=2, limit=2) == "     2\tb\n     3\tc\n(1 more lines)"
    assert workspace.read("f", offset=9) == "(f has 4 lines)"


def test_write_makes_directories_and_keeps_the_mode(root: Path) -> None:
    workspace = WorkingDirectory(root)
    workspace.write("new/deep/run.sh", "one")
    (root / "new/deep/run.sh").chmod(0o755)
    workspace.write("new/deep/run.sh", "two")
    assert (root / "new/deep/run.sh").read_text() == "two"
    assert (root / "new/deep/run.sh").stat().st_mode & 0o777 == 0o755


def test_write_does_not_reach_other_names_of_a_shared_file(root: Path) -> None:
    """Package caches share files with a project by hard links."""
    cached = root.parent / "cached"
    cached.write_text("cached")
    os.link(cached, root / "shared")
    WorkingDirectory(root).write("shared", "mine")
    assert cached.read_text() == "cached"


def test_edit_keeps_every_other_byte(root: Path) -> None:
    (root / "f").write_bytes(b"\xff\xfe one\r\ntwo\r\n\xe9")
    WorkingDirectory(root).edit("f", "one\ntwo", "one\n2")
    assert (root / "f").read_bytes() == b"\xff\xfe one\r\n2\r\n\xe9"


def test_edit_refuses_what_is_not_unique(root: Path) -> None:
    (root / "f").write_text("x x")
    workspace = WorkingDirectory(root)
    with pytest.raises(ToolProblem, match="2 times"):
        workspace.edit("f", "x", "y")
    with pytest.raises(ToolProblem, match="does not occur"):
        workspace.edit("f", "z", "y")
    assert workspace.edit("f", "x", "y", replace_all=True) == "edited f (2 places)"
    assert (root / "f").read_text() == "y y"


def test_list_names_directories_and_hides_git(root: Path) -> None:
    (root / ".git").write_text("gitdir: elsewhere")
    (root / os.fsdecode(b"caf\xe9")).touch()
    assert WorkingDirectory(root).list().split("\n") == [
        "a/",
        "caf\ufffd",
        "chain",
        "link-to-directory",
        "link-to-file",
    ]
