"""Read HEAD of a checkout, the operation in progress there, and the branches that the operation needs.

In the files backend, HEAD is a file and is read as data, without a process. With another ref storage (reftable) the
file is a stub, so git runs in that directory. `git worktree list` is never used: about one in a hundred calls fails
while another process registers a worktree ("failed to read …/commondir").

The files of an operation in progress are those that git's `wt-status.c`, `branch.c` and `sequencer.c` (2.47) check
before they let a branch move.
"""

from __future__ import annotations

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
"""The content of the file HEAD in a repository with a reftable (git's `Documentation/technical/reftable`)."""


def read_head(admin_dir: Path) -> str | None:
    """HEAD of a checkout: `ref: <full name>` or the id of a commit.

    `None` means that there is no HEAD or that it is unusable.

    Args:
        admin_dir: git's directory there: `<common>/worktrees/<name>`, or the common one of the main checkout.
    """
    path = os.path.join(admin_dir, "HEAD")
    try:
        text = _content(path, os.O_NOFOLLOW).rstrip() or f"ref: {os.readlink(path)}"  # `core.preferSymlinkRefs`
    except OSError:
        return None
    if text == _STUB or _has_reftable(admin_dir):
        return _read_with_git(admin_dir)
    if text.startswith("ref:"):
        ref = text.removeprefix("ref:").lstrip()
        return f"ref: {ref}" if ref.startswith("refs/") else None
    return text if _OID.fullmatch(text) else None


def head_branch(admin_dir: Path) -> str | None:
    """Short name of a checkout's branch. `None` means that HEAD is detached, incomplete or unreadable."""
    return _branch(read_head(admin_dir))


def head_branches(common_dir: Path, admin_dirs: Sequence[Path]) -> dict[Path, str]:
    """`head_branch` of several checkouts of a repository, without those on no branch. Mostly one process."""
    if has_files_backend(common_dir):
        branches = {admin: head_branch(admin) for admin in admin_dirs}
    else:
        names = [
            "main-worktree/HEAD" if admin == common_dir else f"worktrees/{admin.name}/HEAD" for admin in admin_dirs
        ]
        # With `--` at the end, because the stubs of HEAD are files of those names.
        output = _git(common_dir).run("rev-parse", "--symbolic-full-name", *names, "--", check=False)
        refs = output.text.split("\n")[:-1]
        if output.code != 0 or len(refs) != len(names):  # a branch without a commit, or a partial worktree
            branches = {admin: head_branch(admin) for admin in admin_dirs}
        else:
            branches = {admin: _branch(f"ref: {ref}") for admin, ref in zip(admin_dirs, refs, strict=True)}
    return {admin: branch for admin, branch in branches.items() if branch is not None}


def put_head_on(admin_dir: Path, branch: str) -> None:
    """Let HEAD of a checkout name the branch. Files and index of the checkout stay as they are.

    Raises:
        OSError, GitError: HEAD cannot be written.
    """
    if has_files_backend(admin_dir):
        replace_file(admin_dir / "HEAD", os.fsencode(f"ref: {_BRANCHES}{branch}\n"))
    else:
        _git(admin_dir).run("symbolic-ref", "HEAD", f"{_BRANCHES}{branch}")


def has_files_backend(admin_dir: Path) -> bool:
    """Return whether the refs of a git directory are files. With a reftable, each git directory has one."""
    return not _has_reftable(admin_dir) and _content(admin_dir / "HEAD").rstrip() != _STUB


def is_taken(common_dir: Path, ref: str) -> bool:
    """Return whether a ref of that full name exists, even a dangling or broken one, which git itself would replace.

    In the files backend, packed refs are not searched: git does not replace those.
    """
    if has_files_backend(common_dir):
        return (common_dir / ref).is_file() or (common_dir / ref).is_symlink()
    return _git(common_dir).ok("show-ref", "--exists", ref)  # since 2.43, and reftables since 2.45


def read_reflog(admin_dir: Path, ref: str) -> list[tuple[str, str]]:
    """(New commit, message) of each entry in the reflog of a ref, oldest first. Empty means that it has none."""
    if not has_files_backend(admin_dir):
        output = _git(admin_dir).run("log", "-g", "-z", "--format=%H %gs", ref, "--", check=False)
        entries = (os.fsdecode(entry).partition(" ") for entry in output.stdout.split(b"\0") if entry)
        return [(oid, message) for oid, _, message in entries][::-1]
    log = []
    for line in _content(admin_dir / "logs" / ref).split("\n")[:-1]:  # `<old> <new> <who> <time> <zone>\t<message>`
        head, _, message = line.partition("\t")
        fields = head.split(" ", 2)
        if len(fields) == 3:
            log.append((fields[1], message))
    return log


def operation_in(admin_dir: Path) -> str | None:
    """The operation in progress in a checkout: `rebase`, `git am`, `bisect`, `merge`, `cherry-pick` or `revert`.

    `None` means that there is none.
    """
    if os.path.lexists(admin_dir / "rebase-apply" / "applying"):
        return "git am"
    for name, operation in (("rebase-merge", "rebase"), ("rebase-apply", "rebase"), ("MERGE_HEAD", "merge")):
        if os.path.lexists(admin_dir / name):
            return operation
    for ref, operation in (("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")):
        # Pseudo-refs: a reftable stores them.
        files = has_files_backend(admin_dir)
        if os.path.lexists(admin_dir / ref) or (not files and _git(admin_dir).resolve(ref) is not None):
            return operation
    if todo := _content(admin_dir / "sequencer" / "todo"):  # between two commits of a series
        return "revert" if todo.startswith("revert") else "cherry-pick"
    return "bisect" if os.path.lexists(admin_dir / "BISECT_LOG") else None


def occupied_branches(admin_dir: Path) -> dict[str, str]:
    """Branches that a rebase or bisect in progress will return to or move at its end, as short name → operation.

    HEAD of the checkout does not name them. `rebase --update-refs` moves further branches.
    """
    occupied: dict[str, str] = {}
    try:
        if {"rebase-merge", "rebase-apply", "BISECT_LOG"}.isdisjoint(os.listdir(admin_dir)):
            return occupied
    except OSError:
        return occupied
    for name in ("rebase-merge/head-name", "rebase-apply/head-name"):
        if (branch := _first_line(admin_dir / name).removeprefix(_BRANCHES)) and branch != "detached HEAD":
            occupied[branch] = "rebase"
    start = _first_line(admin_dir / "BISECT_START") if os.path.lexists(admin_dir / "BISECT_LOG") else ""
    if start and not _OID.fullmatch(start):
        occupied[start.removeprefix(_BRANCHES)] = "bisect"
    # Three lines each: ref, commit before, commit after.
    refs = _content(admin_dir / "rebase-merge" / "update-refs").split("\n")[::3]
    return occupied | {ref.removeprefix(_BRANCHES): "rebase" for ref in refs if ref.startswith(_BRANCHES)}


def ending_of(operation: str, path: Path) -> str:
    """The commands that end an operation in the checkout at `path`, for a hint."""
    quoted = shlex.quote(os.fspath(path))
    if operation == "bisect":
        return f"git -C {quoted} bisect reset"
    return f"git -C {quoted} {operation.removeprefix('git ')} --continue, or --abort"


def _has_reftable(admin_dir: Path) -> bool:
    return os.path.exists(os.path.join(admin_dir, "reftable"))


def _first_line(path: Path) -> str:
    return _content(path).split("\n")[0].strip()


def _content(path: str | Path, flags: int = 0) -> str:
    """The text of a regular file. Anything else counts as empty, because reading a FIFO would block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        with open(descriptor, "rb", closefd=False) as file:
            return os.fsdecode(file.read())
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _branch(head: str | None) -> str | None:
    start = f"ref: {_BRANCHES}"
    return head.removeprefix(start) if head is not None and head.startswith(start) else None


def _read_with_git(admin_dir: Path) -> str | None:
    git = _git(admin_dir)
    output = git.run("symbolic-ref", "--quiet", "HEAD", check=False)
    if output.code == 0:
        return f"ref: {output.text}"
    return git.resolve("HEAD") if output.code == 1 else None


def _git(admin_dir: Path) -> Git:
    # With a work tree, because a `core.worktree` that is missing makes the command fail.
    return Git(cwd=admin_dir, git_dir=admin_dir, work_tree=admin_dir)
