"""Tell whether another branch holds a branch's work, in whatever form. Changes nothing.

Nothing that the repository's configuration names may run here, because agents can write there (a merge driver). So
everything is compared in a temporary repository that borrows the objects. In doubt the answer is no, and the branch
stays.
"""

from __future__ import annotations

from architect_parallel.repository.temporary_repository import NOBODY, temporary_repository
from architect_parallel.system.git import MERGE_TREE_VERSION, Git, Repository, version


def is_merged(repository: Repository, *, tip: str, target: str, base: str | None = None) -> bool:
    """Tell whether `target` holds everything that `tip` adds: no change, a merge, a rebase or a squash merge.

    Args:
        tip, target: Full commit ids.
        base: The commit that `tip` started from. A branch still there is empty and counts as merged.
    """
    store = repository.store
    if tip == base or store.ok("merge-base", "--is-ancestor", tip, target):
        return True
    fork = store.run("merge-base", tip, target, check=False).text.split("\n")[0]
    if not fork:
        return False
    with temporary_repository(repository) as git:
        return _adds_nothing(git, tip, target) or _same_patches(git, tip, target, fork)


def _adds_nothing(git: Git, tip: str, target: str) -> bool:
    """Tell whether merging would leave the target's tree unchanged."""
    if version() < MERGE_TREE_VERSION:
        return False
    merged = git.run("merge-tree", "--write-tree", "-z", "--no-messages", target, tip, check=False)
    return merged.code == 0 and merged.fields[:1] == [git.resolve(f"{target}^{{tree}}")]


def _same_patches(git: Git, tip: str, target: str, fork: str) -> bool:
    """Tell whether the target has the same patch for each commit, or one patch for all of them together."""
    tree = git.resolve(f"{tip}^{{tree}}")
    if tree is None:  # a partial clone without it
        return False
    squashed = git.run("commit-tree", tree, "-p", fork, "-m", "squashed", env=NOBODY).text
    for head in (squashed, tip):
        listed = git.run("rev-list", "--cherry-mark", "--right-only", f"{target}...{head}", check=False)
        marks = {line[:1] for line in listed.text.splitlines()}
        if listed.code == 0 and marks == {"="}:
            return True
    return False
