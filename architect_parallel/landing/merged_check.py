"""Tells whether a branch's work is in another branch, however it got there; decides nothing and changes nothing.

May not run anything the repository's configuration names, for agents can write there (a merge driver): all comparing is
done in a throw-away repository that borrows the objects. In doubt the answer is no, and the branch stays.
"""

from __future__ import annotations

from architect_parallel.repository.temporary_repository import NOBODY, temporary_repository
from architect_parallel.system.git import MERGE_TREE_VERSION, Git, Repository, version


def is_merged(repository: Repository, *, tip: str, target: str, base: str | None = None) -> bool:
    """Whether all that `tip` brings is in `target`: nothing was done, or it was merged, rebased or squash-merged.

    Args:
        tip, target: Full commit ids.
        base: Where `tip` started; a branch still there is empty and counts as merged.
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
    """Merging would leave the target's tree as it is."""
    if version() < MERGE_TREE_VERSION:
        return False
    merged = git.run("merge-tree", "--write-tree", "-z", "--no-messages", target, tip, check=False)
    return merged.code == 0 and merged.fields[:1] == [git.resolve(f"{target}^{{tree}}")]


def _same_patches(git: Git, tip: str, target: str, fork: str) -> bool:
    """Each commit, or all of them squashed into one, has its like in the target, which may have gone on since."""
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
