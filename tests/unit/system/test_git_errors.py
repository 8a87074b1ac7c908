"""`system.git_errors`: git's words as reasons."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from architect_parallel.system.git import GitError
from architect_parallel.system.git_errors import GitFailure, describe_lock, find_reason

LOCKED = """error: cannot lock ref 'HEAD': Unable to create '{}': File exists.

Another git process seems to be running in this repository, e.g.
an editor opened by 'git commit'. Please make sure all processes
are terminated then try again."""


def made(lock: Path, age_s: float = 0) -> Path:
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    os.utime(lock, (time.time() - age_s, time.time() - age_s))
    return lock


def reason(stderr: str, cwd: Path) -> GitFailure:
    found = find_reason(stderr, cwd=cwd)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (0, "0 seconds old"),
        (61, "1 minute old"),
        (7_300, "2 hours old"),
        (200_000, "2 days old"),
        (-60, "0 seconds old"),
    ],
)
def test_a_lock_is_named_with_its_age(tmp_path: Path, age_s: float, words: str) -> None:
    lock = made(tmp_path / "it's" / "HEAD.lock", age_s)
    found = reason(LOCKED.format(lock), tmp_path)
    assert found.message.startswith(f"{lock} is in the way, {words}: ")
    assert found.hint.startswith("rm '")
    assert "if no git process is running" in found.hint


def test_a_lock_that_is_gone_again_is_tried_again(tmp_path: Path) -> None:
    assert reason(LOCKED.format(tmp_path / "index.lock"), tmp_path).hint == "try again"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are known on Linux only")
def test_who_holds_a_lock_is_named(tmp_path: Path) -> None:
    lock = made(tmp_path / "index.lock")
    assert "is in the way" in describe_lock(lock).message
    with lock.open():
        held = describe_lock(lock)
    assert f"is held by process {os.getpid()} (" in held.message
    assert "rm" not in held.hint


def test_the_lock_of_the_configuration_is_found_from_where_git_ran(tmp_path: Path) -> None:
    lock = made(tmp_path / ".git" / "config.lock")
    assert str(lock) in reason("error: could not lock config file .git/config: File exists\n", tmp_path).message


def test_the_lock_of_a_reftable_is_found_though_git_does_not_name_it(tmp_path: Path) -> None:
    admin = tmp_path / "repo" / ".git" / "worktrees" / "w"
    admin.mkdir(parents=True)
    (admin / "commondir").write_text("../..\n")
    (tmp_path / "w" / "sub").mkdir(parents=True)
    (tmp_path / "w" / ".git").write_text(f"gitdir: {admin}\n")
    lock = made(tmp_path / "repo" / ".git" / "reftable" / "tables.list.lock")
    words = "fatal: update_ref failed for ref 'refs/heads/main': cannot lock references\n"
    assert str(lock) in reason(words, tmp_path / "w" / "sub").message
    own = made(admin / "reftable" / "tables.list.lock")
    assert str(own) in reason(words, tmp_path / "w").message


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("fatal: Unable to create '/r/.git/index.lock': Permission denied\n", "/r/.git/index.lock cannot be written"),
        ("fatal: Unable to create '/r/.git/shallow.lock': Read-only file system.\n", "Read-only file system"),
        ("error: could not lock config file .git/config: Permission denied", "/r/.git/config.lock cannot be written"),
        (
            "error: insufficient permission for adding an object to repository database .git/objects\n",
            "/r/.git/objects cannot be written",
        ),
        ("error: unable to write file /r/x: No space left on device\n", "No space left on device"),
        ("fatal: cannot lock ref 'refs/heads/a': is at 12 but expected 34\n", "a has moved meanwhile"),
        ("fatal: this operation must be run in a work tree\n", "does not see a checkout in /r"),
    ],
)
def test_other_reasons(stderr: str, words: str) -> None:
    found = reason(stderr, Path("/r"))
    assert words in found.message
    assert "index.lock exists" not in found.message
    assert str(GitError(("update-ref",), 128, stderr, cwd=Path("/r"))) == str(found)


def test_unknown_words_are_shown_as_they_are() -> None:
    assert find_reason("fatal: bad object 12\n", cwd=Path("/r")) is None
    assert (
        GitError(("show", "12"), 128, "fatal: bad\n object 12\n").message == "git show 12 failed: fatal: bad object 12"
    )
