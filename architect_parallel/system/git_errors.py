"""The reason a git command failed, read from its stderr: a lock, rights, a full disk, a ref that moved.

git has one exit code for all of these and no machine format, so its words are matched here and nowhere else. They are
those of the C locale, which the door to git sets, as 2.39 and 2.47 write them. Words that are not known give no reason;
the caller then shows git's text as it is.
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
"""Any lock file: `index.lock`, `HEAD.lock`, `refs/heads/main.lock`, `packed-refs.lock`, `shallow.lock`."""
_CONFIG = re.compile(r"could not lock config file (.+): (.+)$", re.MULTILINE)
_REFTABLE = "cannot lock references"
_MOVED = re.compile(r"cannot lock ref '(.+)': (?:is at \S+ but expected|unable to resolve reference)")
_OBJECTS = re.compile(r"insufficient permission for adding an object to repository database (.+)$", re.MULTILINE)
_FULL = re.compile(r"^(?:fatal: |error: )?(.*(?:No space left on device|Disk quota exceeded))", re.MULTILINE)
_NO_WORK_TREE = "this operation must be run in a work tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a git command failed, in the words of a message to the user."""

    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})"


def find_reason(stderr: str, *, cwd: Path, git_dir: Path | None = None) -> Reason | None:
    """The reason in git's stderr; `None` means it is not one of the known ones.

    Args:
        cwd: Where git ran. Some of its messages name a file relative to it.
        git_dir: `GIT_DIR` of the command, if it had one.
    """
    if found := _CREATE.search(stderr):
        return _not_created(cwd / found[1], found[2])
    if found := _CONFIG.search(stderr):
        return _not_created(cwd / f"{found[1]}.lock", found[2])
    if _REFTABLE in stderr:  # it does not name the file
        locks = [place / "reftable" / "tables.list.lock" for place in _git_dirs(cwd, git_dir)]
        return describe_lock(next((lock for lock in locks if lock.exists()), locks[0])) if locks else None
    if found := _MOVED.search(stderr):
        return Reason(message=f"{found[1].removeprefix('refs/heads/')} has moved meanwhile", hint="try again")
    if found := _FULL.search(stderr):
        return Reason(message=f"git: {found[1]}", hint="free some space, then again")
    if found := _OBJECTS.search(stderr):
        return _not_created(cwd / found[1], "Permission denied")
    if _NO_WORK_TREE in stderr:
        return Reason(message=f"git does not see a checkout in {cwd}", hint="git config core.bare false")
    return None


def describe_lock(lock: Path) -> Reason:
    """The lock file with its age and the process that has it open, as a reason."""
    try:
        age_s = clock.now().timestamp() - lock.stat().st_mtime
    except OSError:  # gone meanwhile
        return Reason(message=f"another git process held {lock}", hint="try again")
    holders = machine.processes_with_open(lock)
    if holders:
        shown = ", ".join(f"process {pid} ({name})" for pid, name in holders)
        return Reason(message=f"{lock} is held by {shown} for {_duration(age_s)}", hint="wait for its end, then again")
    return Reason(
        message=f"{lock} is in the way, {_duration(age_s)} old: another git process is at work, or one was killed",
        hint=f"rm {shlex.quote(os.fspath(lock))}, if no git process is running there",
    )


def _not_created(path: Path, why: str) -> Reason:
    path = Path(os.path.normpath(path))
    if why == "File exists":
        return describe_lock(path)
    return Reason(message=f"{path} cannot be written: {why}", hint="check its owner and the free space")


def _git_dirs(cwd: Path, git_dir: Path | None) -> list[Path]:
    """The git directory of a command and the common one, which may be the same."""
    if git_dir is None:
        above = (place / ".git" for place in (cwd, *cwd.parents) if (place / ".git").exists())
        git_dir = next(above, cwd)
        with contextlib.suppress(OSError):
            git_dir = cwd / os.fsdecode(git_dir.read_bytes()).removeprefix("gitdir: ").rstrip("\n")
    found = [git_dir]
    with contextlib.suppress(OSError):
        found.append(git_dir / os.fsdecode((git_dir / "commondir").read_bytes()).rstrip("\n"))
    return [Path(os.path.normpath(place)) for place in found]


def _duration(seconds: float) -> str:
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    unit, size_s = next((found for found in units if seconds >= found[1]), units[-1])
    count = max(0, int(seconds // size_s))
    return f"{count} {unit}{'' if count == 1 else 's'}"
