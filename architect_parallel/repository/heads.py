"""What the git directory of a checkout says: its HEAD, the operation in progress there, the branches that one needs.

HEAD is a file only in the files backend, where it is read as data, which costs no process. With another ref storage
(reftable) the file is a stub, so git is asked in that very directory. `git worktree list` is never asked: it fails in
one of some hundred calls while another process registers a worktree ("failed to read …/commondir").

The files of an operation in progress are those that git's `wt-status.c`, `branch.c` and `sequencer.c` (2.47) look at
before they let a branch move.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from architect_parallel.system.files import replace_file
from architect_parallel.system.git import Git

_OID = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_BRANCHES = "refs/heads/"
_STUB = f"ref: {_BRANCHES}.invalid"
"""HEAD as a file, where the refs are no files (git's `Documentation/technical/reftable`)."""


def read_head(admin_dir: Path) -> str | None:
    """`ref: <full name>` or the id of a commit, as HEAD of a checkout says.

    `None` means that there is no HEAD or that it is unusable.

    Args:
        admin_dir: git's directory there: `<common>/worktrees/<name>`, or the common one of the main checkout.
    """
    path = admin_dir / "HEAD"
    try:  # a link, as `core.preferSymlinkRefs` makes it
        text = f"ref: {os.readlink(path)}" if path.is_symlink() else _content(path).rstrip()
    except OSError:
        return None
    if text == _STUB or _has_reftable(admin_dir):
        return _asked(admin_dir)
    if text.startswith("ref:"):
        ref = text.removeprefix("ref:").lstrip()
        return f"ref: {ref}" if ref.startswith("refs/") else None
    return text if _OID.fullmatch(text) else None


def head_branch(admin_dir: Path) -> str | None:
    """Short name of the branch a checkout is on; `None` means that it is detached, half-made or unreadable."""
    return _branch(read_head(admin_dir))


def head_branches(common_dir: Path, admin_dirs: Sequence[Path]) -> dict[Path, str]:
    """`head_branch` of several checkouts of a repository, without those that are on none; mostly in one process."""
    if has_files_backend(common_dir):
        found = {admin: head_branch(admin) for admin in admin_dirs}
    else:
        names = [
            "main-worktree/HEAD" if admin == common_dir else f"worktrees/{admin.name}/HEAD" for admin in admin_dirs
        ]
        # With `--` at the end, because the stubs of HEAD are files of those names.
        output = _git(common_dir).run("rev-parse", "--symbolic-full-name", *names, "--", check=False)
        refs = output.text.split("\n")[:-1]
        if output.code != 0 or len(refs) != len(names):  # a branch without a commit, or a half-made worktree
            found = {admin: head_branch(admin) for admin in admin_dirs}
        else:
            found = {admin: _branch(f"ref: {ref}") for admin, ref in zip(admin_dirs, refs, strict=True)}
    return {admin: branch for admin, branch in found.items() if branch is not None}


def put_head_on(admin_dir: Path, branch: str) -> None:
    """Let HEAD of a checkout name the branch, whatever it named. Files and index of the checkout stay as they are.

    Raises:
        OSError, GitError: HEAD cannot be written.
    """
    if has_files_backend(admin_dir):
        replace_file(admin_dir / "HEAD", os.fsencode(f"ref: {_BRANCHES}{branch}\n"))
    else:
        _git(admin_dir).run("symbolic-ref", "HEAD", f"{_BRANCHES}{branch}")


def has_files_backend(admin_dir: Path) -> bool:
    """Whether the refs of a git directory are files that may be read; a reftable is a directory in each of them."""
    return not _has_reftable(admin_dir) and _content(admin_dir / "HEAD").rstrip() != _STUB


def is_taken(common_dir: Path, ref: str) -> bool:
    """Whether a ref of that full name is there, also one that dangles or is broken, which git itself would replace.

    In the files backend a packed ref is not looked for: that one git does not replace.
    """
    if has_files_backend(common_dir):
        return (common_dir / ref).is_file() or (common_dir / ref).is_symlink()
    return _git(common_dir).ok("show-ref", "--exists", ref)  # since 2.43, and reftables since 2.45


def read_reflog(admin_dir: Path, ref: str) -> list[tuple[str, str]]:
    """(New commit, message) of each entry in the reflog of a ref, oldest first; empty means that there is none."""
    if not has_files_backend(admin_dir):
        output = _git(admin_dir).run("log", "-g", "-z", "--format=%H %gs", ref, "--", check=False)
        entries = (os.fsdecode(entry).partition(" ") for entry in output.stdout.split(b"\0") if entry)
        return [(oid, message) for oid, _, message in entries][::-1]
    found = []
    for line in _content(admin_dir / "logs" / ref).split("\n")[:-1]:  # `<old> <new> <who> <time> <zone>\t<message>`
        head, _, message = line.partition("\t")
        words = head.split(" ", 2)
        if len(words) == 3:
            found.append((words[1], message))
    return found


def operation_in(admin_dir: Path) -> str | None:
    """The operation that git is in the middle of in a checkout: `rebase`, `git am`, `bisect`, `merge`, `cherry-pick` or
    `revert`; `None` means that there is none."""
    if os.path.lexists(admin_dir / "rebase-apply" / "applying"):
        return "git am"
    for name, operation in (("rebase-merge", "rebase"), ("rebase-apply", "rebase"), ("MERGE_HEAD", "merge")):
        if os.path.lexists(admin_dir / name):
            return operation
    for ref, operation in (("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")):
        # Pseudo-refs: a reftable has them.
        files = has_files_backend(admin_dir)
        if os.path.lexists(admin_dir / ref) or (not files and _git(admin_dir).resolve(ref) is not None):
            return operation
    if todo := _content(admin_dir / "sequencer" / "todo"):  # between two commits of a series
        return "revert" if todo.startswith("revert") else "cherry-pick"
    return "bisect" if os.path.lexists(admin_dir / "BISECT_LOG") else None


def occupied_branches(admin_dir: Path) -> dict[str, str]:
    """Short names of the branches that a rebase or bisect in progress has left and will come back to, or will move when
    it ends (`rebase --update-refs`), each with the operation. HEAD of the checkout does not name them."""
    found: dict[str, str] = {}
    try:
        if not {"rebase-merge", "rebase-apply", "BISECT_LOG"} & {entry.name for entry in os.scandir(admin_dir)}:
            return found
    except OSError:
        return found
    for name in ("rebase-merge/head-name", "rebase-apply/head-name"):
        if (branch := _first_line(admin_dir / name).removeprefix(_BRANCHES)) and branch != "detached HEAD":
            found[branch] = "rebase"
    start = _first_line(admin_dir / "BISECT_START") if os.path.lexists(admin_dir / "BISECT_LOG") else ""
    if start and not _OID.fullmatch(start):
        found[start.removeprefix(_BRANCHES)] = "bisect"
    # Three lines each: ref, commit before, commit after.
    refs = _content(admin_dir / "rebase-merge" / "update-refs").split("\n")[::3]
    return found | {ref.removeprefix(_BRANCHES): "rebase" for ref in refs if ref.startswith(_BRANCHES)}


def ending_of(operation: str, path: Path) -> str:
    """The commands that end an operation in the checkout at `path`, for a hint."""
    place = shlex.quote(os.fspath(path))
    if operation == "bisect":
        return f"git -C {place} bisect reset"
    return f"git -C {place} {operation.removeprefix('git ')} --continue, or --abort"


def _has_reftable(admin_dir: Path) -> bool:
    return os.path.exists(admin_dir / "reftable")


def _first_line(path: Path) -> str:
    return _content(path).split("\n")[0].strip()


def _content(path: Path) -> str:
    """The text of a regular file; empty for anything else, because a FIFO would never end."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(path.stat().st_mode):
            return os.fsdecode(path.read_bytes())
    return ""


def _branch(head: str | None) -> str | None:
    start = f"ref: {_BRANCHES}"
    return head.removeprefix(start) if head is not None and head.startswith(start) else None


def _asked(admin_dir: Path) -> str | None:
    git = _git(admin_dir)
    output = git.run("symbolic-ref", "--quiet", "HEAD", check=False)
    if output.code == 0:
        return f"ref: {output.text}"
    return git.resolve("HEAD") if output.code == 1 else None


def _git(admin_dir: Path) -> Git:
    # With a work tree, because a `core.worktree` that is not there would end the command.
    return Git(cwd=admin_dir, git_dir=admin_dir, work_tree=admin_dir)
