"""`worktrees.index_file`: what git wrote is read, and what is written is read by git."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.repositories import git, make_repository

from architect_parallel.repository.index_file import enter_times, parse_index, read_index

FILES = {"a": "1", "dir/b": "22", "dir/bcd": "", "dir.x/ü": "4", "long/" + "n" * 250: "5"}


@pytest.mark.parametrize("version", ["2", "3", "4"])
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_every_entry_of_every_version_is_read(tmp_path: Path, version: str, hash_name: str) -> None:
    root = make_repository(tmp_path / "r", FILES, options=(f"--object-format={hash_name}",))
    git(root, "update-index", "--index-version", version)
    if version != "2":
        git(root, "update-index", "--skip-worktree", "a")
    found = read_index(root / ".git" / "index", 20 if hash_name == "sha1" else 32)
    listed = git(root, "ls-files", "-s", "-z").split("\0")[:-1]
    assert [f"{entry.mode} {entry.oid} 0\t{path}" for path, entry in found.items()] == listed
    assert all(entry.matches((root / path).lstat()) for path, entry in found.items())
    assert [path for path, entry in found.items() if not entry.is_plain] == ([] if version == "2" else ["a"])


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_git_believes_the_times_that_are_entered(tmp_path: Path, hash_name: str) -> None:
    root = make_repository(tmp_path / "r", FILES, options=(f"--object-format={hash_name}",))
    index, size = root / ".git" / "index", 20 if hash_name == "sha1" else 32
    oid = git(root, "rev-parse", "HEAD:dir/b")
    git(root, "update-index", "--cacheinfo", f"100644,{oid},a")
    assert not read_index(index, size)["a"].matches((root / "a").lstat())
    enter_times(index, {"a": (root / "a").lstat(), "not there": root.lstat()}, size)
    assert read_index(index, size)["a"].matches((root / "a").lstat())
    assert git(root, "ls-files", "-s", "a") == f"100644 {oid} 0\ta"
    git(root, "fsck", "--strict")


@pytest.mark.parametrize(
    "data", [b"", b"DIRC", b"DIRC\0\0\0\5\0\0\0\0", b"DIRC\0\0\0\2\0\0\0\1" + b"x" * 30, b"PACK" * 9]
)
def test_anything_else_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_index(data, 20)
