"""Find the reason of a failed git command in its stderr: a lock, permissions, a full disk, a ref that moved.

git has one exit code for all of these and no machine-readable format. So its text is matched here and nowhere else. The
text is that of the C locale, which `git_environment` sets, as git 2.39 and 2.47 write it. For unknown text there is no
reason, and the caller shows git's text.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.system import clock, machine

_CREATE = re.compile(r"Unable to create '(.+)': (.+?)\.?$", re.MULTILINE)
"""A lock file: `index.lock`, `HEAD.lock`, `refs/heads/main.lock`, `packed-refs.lock`, `shallow.lock`."""
_CONFIG = re.compile(r"could not lock config file (.+): (.+)$", re.MULTILINE)
_REFTABLE = "cannot lock references"
_MOVED = re.compile(r"cannot lock ref '(.+)': (?:is at \S+ but expected|unable to resolve reference)")
_OBJECTS = re.compile(r"insufficient permission for adding an object to repository database (.+)$", re.MULTILINE)
_FULL = re.compile(r"^(?:fatal: |error: )?(.*(?:No space left on device|Disk quota exceeded))", re.MULTILINE)
_NO_WORK_TREE = "this operation must be run in a work tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitFailure:
    """The reason of a failed git command, as a message to the user."""

    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})"


def find_reason(stderr: str, *, cwd: Path, git_dir: Path | None = None) -> GitFailure | None:
    """The reason in git's stderr. `None` means that it is not a known one.

    Args:
        cwd: The directory in which git ran. Some messages name a file relative to it.
        git_dir: `GIT_DIR` of the command, if it had one.
    """
    if match := _CREATE.search(stderr):
        return _not_created(cwd / match[1], match[2])
    if match := _CONFIG.search(stderr):
        return _not_created(cwd / f"{match[1]}.lock", match[2])
    if _REFTABLE in stderr:  # it does not name the file
        locks = [directory / "reftable" / "tables.list.lock" for directory in _git_dirs(cwd, git_dir)]
        return describe_lock(next((lock for lock in locks if lock.exists()), locks[0])) if locks else None
    if match := _MOVED.search(stderr):
        return GitFailure(message=f"{match[1].removeprefix('refs/heads/')} has moved meanwhile", hint="try again")
    if match := _FULL.search(stderr):
        return GitFailure(message=f"git: {match[1]}", hint="free some space, then again")
    if match := _OBJECTS.search(stderr):
        return _not_created(cwd / match[1], "Permission denied")
    if _NO_WORK_TREE in stderr:
        return GitFailure(message=f"git does not see a checkout in {cwd}", hint="git config core.bare false")
    return None


def describe_lock(lock: Path) -> GitFailure:
    """The lock file with its age and the process that has it open, as a reason."""
    try:
        age_s = clock.now().timestamp() - lock.stat().st_mtime
    except OSError:  # gone by now
        return GitFailure(message=f"another git process held {lock}", hint="try again")
    holders = machine.processes_with_open(lock)
    if holders:
        processes = ", ".join(f"process {pid} ({name})" for pid, name in holders)
        return GitFailure(
            message=f"{lock} is held by {processes} for {_duration(age_s)}", hint="wait for its end, then again"
        )
    return GitFailure(
        message=f"{lock} is in the way, {_duration(age_s)} old: another git process is at work, or one was killed",
        hint=f"rm {shlex.quote(os.fspath(lock))}, if no git process is running there",
    )


def _not_created(path: Path, error: str) -> GitFailure:
    path = Path(os.path.normpath(path))
    if error == "File exists":
        return describe_lock(path)
    return GitFailure(message=f"{path} cannot be written: {error}", hint="check its owner and the free space")


def _git_dirs(cwd: Path, git_dir: Path | None) -> list[Path]:
    """The git directory of a command and the common one, which may be the same."""
    if git_dir is None:
        candidates = (directory / ".git" for directory in (cwd, *cwd.parents))
        git_dir = next((candidate for candidate in candidates if candidate.exists()), cwd)
        with contextlib.suppress(OSError):
            git_dir = cwd / os.fsdecode(git_dir.read_bytes()).removeprefix("gitdir: ").rstrip("\n")
    git_dirs = [git_dir]
    with contextlib.suppress(OSError):
        git_dirs.append(git_dir / os.fsdecode((git_dir / "commondir").read_bytes()).rstrip("\n"))
    return [Path(os.path.normpath(directory)) for directory in git_dirs]


def _duration(seconds: float) -> str:
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    unit, size_s = next(((unit, size_s) for unit, size_s in units if seconds >= size_s), units[-1])
    count = max(0, int(seconds // size_s))
    return f"{count} {unit}{'' if count == 1 else 's'}"
