"""The result of a merge, squash or rebase, computed in the object store. No checkout, index or branch is touched.

Needs git 2.38 (`merge-tree --write-tree`). Each function returns the new commit of the target or the conflicting paths.
Objects of a merge that never lands are unreachable and cost nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.repository.temporary_repository import NOBODY
from architect_parallel.system.git import MERGE_TREE_VERSION, Git, version


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """The outcome of a computed merge: a commit, or the conflicts that prevent one."""

    commit: str | None
    """`None` means a conflict."""
    conflicts: tuple[str, ...] = ()
    """Paths, sorted."""


def require_merge_tree() -> None:
    """Raise EnvironmentProblem if git is too old to merge in the object store."""
    if version() < MERGE_TREE_VERSION:
        present, needed = ".".join(map(str, version())), ".".join(map(str, MERGE_TREE_VERSION))
        raise EnvironmentProblem(f"git {present} is too old to merge", hint=f"install git {needed} or newer")


def require_identity(git: Git) -> None:
    """Raise EnvironmentProblem if git has no identity for commits."""
    if not git.ok("var", "GIT_COMMITTER_IDENT") or not git.ok("var", "GIT_AUTHOR_IDENT"):
        raise EnvironmentProblem("git has no identity for commits", hint='git config user.email "you@example.com"')


def merge(
    git: Git,
    ours: str,
    theirs: str,
    *,
    message: str,
    fast_forward: bool = True,
    env: dict[str, str] | None = None,
) -> Combined:
    """Merge like `git merge`: a fast-forward where possible and wanted, otherwise a commit with both parents.

    Args:
        env: Identity and date of the commit, as variables. `None` means the user, now.
    """
    if fast_forward and git.ok("merge-base", "--is-ancestor", ours, theirs):
        return Combined(commit=theirs)
    tree, conflicts = _merge_tree(git, ours, theirs)
    if conflicts:
        return Combined(commit=None, conflicts=conflicts)
    return Combined(commit=_commit(git, tree, (ours, theirs), message.encode("utf-8", "replace"), env))


def squash(git: Git, ours: str, theirs: str, *, message: str) -> Combined:
    """Put everything that `theirs` adds on `ours` as one commit."""
    tree, conflicts = _merge_tree(git, ours, theirs)
    if conflicts:
        return Combined(commit=None, conflicts=conflicts)
    return Combined(commit=_commit(git, tree, (ours,), message.encode("utf-8", "replace")))


def rebase(git: Git, ours: str, theirs: str) -> Combined:
    """Put the commits of `theirs` that `ours` lacks on `ours`, one after another, with their authors and messages.

    Commits that change nothing there are dropped, as `git rebase` does.

    Raises:
        UsageError: One of them is a merge, whose resolution would be lost.
    """
    if git.ok("merge-base", "--is-ancestor", ours, theirs):
        return Combined(commit=theirs)
    if git.text("rev-list", "--merges", "--max-count=1", theirs, f"^{ours}"):
        raise UsageError("the branch has merge commits and cannot be rebased", hint="--merge or --squash")
    onto = ours
    for commit in git.text("rev-list", "--reverse", "--topo-order", theirs, f"^{ours}").split():
        tree, conflicts = _picked_tree(git, onto, commit)
        if conflicts:
            return Combined(commit=None, conflicts=conflicts)
        if tree != tree_of(git, onto):
            onto = _copied(git, commit, tree, onto)
    return Combined(commit=onto)


def tree_of(git: Git, commit: str) -> str:
    """The tree of a commit."""
    return git.text("rev-parse", f"{commit}^{{tree}}")


def _merge_tree(git: Git, ours: str, theirs: str) -> tuple[str, tuple[str, ...]]:
    args = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    output = git.run(*args, check=False)
    if output.code not in (0, 1):
        raise output.error
    tree, *paths = output.fields
    # Where a file stands in a directory's way git tells of the name it gave the file in its tree: `path~<commit>`.
    plain = {path.removesuffix(f"~{ours}").removesuffix(f"~{theirs}") for path in paths}
    return tree, tuple(sorted(plain)) if output.code == 1 else ()


def _picked_tree(git: Git, onto: str, commit: str) -> tuple[str, tuple[str, ...]]:
    # `merge-tree --merge-base` came with 2.40. Two made-up commits over a made-up base give the same three trees.
    parents = git.text("rev-list", "--parents", "--max-count=1", commit).split()[1:]
    before = tree_of(git, parents[0]) if parents else git.run("mktree").text
    base = _commit(git, before, (), b"base", env=NOBODY)
    ours = _commit(git, tree_of(git, onto), (base,), b"ours", env=NOBODY)
    theirs = _commit(git, tree_of(git, commit), (base,), b"theirs", env=NOBODY)
    return _merge_tree(git, ours, theirs)


def _copied(git: Git, commit: str, tree: str, onto: str) -> str:
    shown = git.run("log", "-1", "--no-show-signature", "--format=%an%x00%ae%x00%ad%x00%B", "--date=raw", commit).stdout
    name, email, date, message = shown.split(b"\0", 3)
    author = {
        "GIT_AUTHOR_NAME": os.fsdecode(name),
        "GIT_AUTHOR_EMAIL": os.fsdecode(email),
        "GIT_AUTHOR_DATE": "@" + os.fsdecode(date),
    }
    return _commit(git, tree, (onto,), message, env=author)


def _commit(git: Git, tree: str, parents: tuple[str, ...], message: bytes, env: dict[str, str] | None = None) -> str:
    words = [word for parent in parents for word in ("-p", parent)]
    return git.run("commit-tree", tree, *words, "-F", "-", input=message.rstrip(b"\n") + b"\n", env=env).text
