"""Move a branch together with the checkout that has it, or move neither: forward for `merge`, back for `undo`.

The caller decides on the new commit. Invariant: no file of the user is overwritten. The order is the safety. First the
checkout is inspected: tracked files are clean, no untracked file is in the way. Then its files and index go to the new
commit by a two-tree `read-tree`, which itself refuses changed files. The branch moves last, by compare-and-swap. After
a kill in between, the staged difference of the checkout is exactly the new commit. The other order would leave a
checkout that looks as if the user had reverted it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.repository.checkouts import Checkout, checkouts
from architect_parallel.repository.heads import operation_in
from architect_parallel.system.git import Git, GitError, Repository
from architect_parallel.text.quantities import summarize


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A local branch and the worktree that has it checked out."""

    branch: str
    """Short name."""
    tip: str
    """Its commit when it was read."""
    checkout: Path | None
    """Top directory of the worktree that has it, also one with a rebase of it in progress. `None` means that none has
    it.
    """

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"


def find_target(repository: Repository, branch: str | None) -> Target:
    """Find the named branch and its checkout.

    Args:
        name: Short name. `None` means the current branch.

    Raises:
        UsageError: There is no such local branch.
        EnvironmentProblem: HEAD is detached, its branch has no commit, or two checkouts have the branch.
    """
    if branch is None:
        output = repository.git.run("symbolic-ref", "--quiet", "HEAD", check=False)
        if output.code != 0 or not output.text.startswith("refs/heads/"):
            raise _detached(repository)
        branch = output.text.removeprefix("refs/heads/")
        tip = repository.store.resolve(f"refs/heads/{branch}")
        if tip is None:
            raise EnvironmentProblem(f"branch {branch!r} has no commit yet", hint="--into BRANCH")
    else:
        # `--verify` first: `main^0` is no branch.
        known = "\0" not in branch and repository.store.ok("show-ref", "--verify", "--quiet", f"refs/heads/{branch}")
        tip = repository.store.resolve(f"refs/heads/{branch}") if known else None
        if tip is None:
            raise UsageError(f"there is no local branch {branch!r}", hint="git branch --list")
    checkout = _checkout_of(repository, branch)
    return Target(branch=branch, tip=tip, checkout=checkout.path if checkout else None)


def _detached(repository: Repository) -> EnvironmentProblem:
    """Explain that HEAD is detached, perhaps only while an operation is in progress."""
    for branch, places in checkouts(repository).items():
        for checkout in places:
            if checkout.path == repository.checkout:
                return EnvironmentProblem(f"{branch} {checkout.words}", hint=checkout.hint)
    return EnvironmentProblem("HEAD is detached: there is no current branch", hint="--into BRANCH")


def _checkout_of(repository: Repository, branch: str) -> Checkout | None:
    """The one checkout that has the branch. `None` means that none has it.

    Raises:
        EnvironmentProblem: Several have it.
    """
    places = checkouts(repository).get(branch, [])
    if len(places) > 1:
        shown = ", ".join(str(checkout.path) for checkout in places)
        raise EnvironmentProblem(f"{branch} is checked out in several worktrees: {shown}", hint="git worktree list")
    return places[0] if places else None


def require_unoccupied(repository: Repository, target: Target) -> None:
    """Check that no operation in progress needs the target where it is. Changes nothing.

    Raises:
        EnvironmentProblem: A rebase, bisect, `git am`, merge, cherry-pick or revert is in progress, its checkout is
            missing or replaced, or another checkout has the target than when it was found.
    """
    checkout = _checkout_of(repository, target.branch)
    if (checkout.path if checkout else None) != target.checkout:
        raise EnvironmentProblem(f"{target.branch} was checked out or left meanwhile", hint="try again")
    if checkout is None:
        return
    if checkout.path == repository.common_dir:
        raise EnvironmentProblem(
            f"{target.branch} is checked out, but {repository.common_dir} does not say where",
            hint="type it in that checkout",
        )
    operation = checkout.operation or operation_in(checkout.admin_dir)
    occupied = dataclasses.replace(checkout, operation=operation)
    if operation is not None or not checkout.path.is_dir():
        raise EnvironmentProblem(f"{target.branch} {occupied.words}", hint=occupied.hint)
    git_dir = Git(cwd=checkout.path).run("rev-parse", "--absolute-git-dir", check=False)
    if git_dir.code != 0 or not os.path.samefile(git_dir.text, checkout.admin_dir):
        raise EnvironmentProblem(
            f"{checkout.path} is not the checkout of {target.branch} that {repository.common_dir} registers",
            hint=f"git worktree repair, or git worktree prune if {checkout.path} is to stay what it is",
        )


def require_movable(repository: Repository, target: Target, new: str) -> None:
    """Check that the target's checkout can go to `new` without touching the user's files. Changes nothing.

    Raises:
        EnvironmentProblem: It is dirty, has an operation in progress (see `require_unoccupied`), or an untracked file
            is in the way.
    """
    require_unoccupied(repository, target)
    if target.checkout is None:
        return
    git = Git(cwd=target.checkout)
    dirty = git.run(
        "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=dirty"
    ).fields
    if dirty:
        raise EnvironmentProblem(
            f"{target.branch} is checked out in {target.checkout} with uncommitted changes: "
            + summarize([line[3:] for line in dirty]),
            hint="git commit or git stash, then again",
        )
    if in_the_way := _in_the_way(git, target.checkout, target.tip, new):
        raise EnvironmentProblem(
            f"untracked files in {target.checkout} would be overwritten: {summarize(in_the_way)}", hint="move them away"
        )


def move(repository: Repository, target: Target, new: str, *, message: str) -> None:
    """Move the branch from `target.tip` to `new`, with the files and index of its checkout.

    Raises:
        EnvironmentProblem: The checkout is in the way (see `require_movable`), the branch has moved meanwhile, or
            something is locked. Nothing has changed then.
        GitError: The checkout has the new files and the branch has not moved: git failed to write the files back.
    """
    require_movable(repository, target, new)
    git = repository.store if target.checkout is None else Git(cwd=target.checkout)
    if target.checkout is not None:
        git.run("update-index", "-q", "--refresh", check=False)
        _switch_files(git, target.checkout, target.tip, new)
    try:
        # In the checkout, so that its HEAD's reflog has it as well.
        git.run("update-ref", "--no-deref", "-m", message, target.ref, new, target.tip)
    except GitError as error:
        if target.checkout is not None:
            git.run("read-tree", "-m", "-u", new, target.tip)
        raise _refused(error, f"{target.branch} could not be moved") from error


def _switch_files(git: Git, checkout: Path, old: str, new: str) -> None:
    try:
        git.run("read-tree", "-n", "-m", "-u", old, new)
    except GitError as error:
        raise _refused(error, f"{checkout} has changed meanwhile") from error
    try:
        git.run("read-tree", "-m", "-u", old, new)
    except GitError as error:
        _write_back(git, checkout, old, new)
        raise _refused(error, f"the files of {checkout} could not be updated") from error


def _refused(error: GitError, otherwise: str) -> EnvironmentProblem:
    """The error for a step that git refused without a change, with git's reason if it is known."""
    if error.reason is not None:
        return EnvironmentProblem(error.reason.message, hint=error.reason.hint)
    text = " ".join(error.stderr.split())[:200]
    return EnvironmentProblem(f"{otherwise}: {text}" if text else otherwise, hint="git status")


def _write_back(git: Git, checkout: Path, old: str, new: str) -> None:
    """Write the files of `old` back after a switch that failed midway (a full disk, a filter), compared by content.

    The index is still the old one. A file that equals neither `old` nor `new` belongs to somebody else and stays.
    """
    with tempfile.TemporaryDirectory() as folder:
        ahead = dataclasses.replace(git, index_file=Path(folder, "index"))
        ahead.run("read-tree", new)
        ahead.run("update-index", "-q", "--refresh", check=False)
        foreign = set(ahead.run("diff-files", "-z", "--name-only", "--diff-filter=MTU").fields)
    for path in _paths(git, "A", old, new):
        if path not in foreign:
            with contextlib.suppress(OSError):
                (checkout / path).unlink()
    gone = {path for path in _paths(git, "D", old, new) if not os.path.lexists(checkout / path)}
    ours = (set(_paths(git, "MT", old, new)) - foreign) | gone
    names = b"".join(os.fsencode(path) + b"\0" for path in sorted(ours))
    git.run("checkout-index", "--force", "--quiet", "-z", "--stdin", input=names, check=False)
    git.run("update-index", "-q", "--refresh", check=False)


def _in_the_way(git: Git, checkout: Path, old: str, new: str) -> list[str]:
    """Files that `old` does not track and `new` would overwrite.

    Ignored files count: git treats them as expendable, but a user's `.env` is not.
    """
    added = _paths(git, "A", old, new)
    if not added:
        return []
    leaving = set(_paths(git, "D", old, new))
    paths = set()
    for path in added:
        for parent in reversed(Path(path).parents):
            above = checkout / parent
            if parent != Path() and os.path.lexists(above) and (above.is_symlink() or not above.is_dir()):
                paths.add(str(parent))
                break
        here = checkout / path
        if here.is_dir() and not here.is_symlink():
            below = (Path(folder, name) for folder, _, names in os.walk(here) for name in names)
            paths |= {str(file.relative_to(checkout)) for file in below}
        elif os.path.lexists(here):
            paths.add(path)
    return sorted(paths - leaving)


def _paths(git: Git, kind: str, old: str, new: str) -> list[str]:
    return git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", f"--diff-filter={kind}", old, new).fields
