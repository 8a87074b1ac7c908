"""The run that owns a branch, recorded in its reflog and in a separate ref, so that either may be lost.

A run that creates a branch writes its id into the branch's reflog. The ref `refs/architect/owned/<run>/<branch>` names
the commit at which the run left the branch. Reflogs expire, and a branch that is deleted and created again gets a new
one. The ref remains, is copied with the repository, and keeps the commits from being pruned. It is deleted with the
branch.
"""

from __future__ import annotations

from architect_parallel.system.git import Repository

OWNED = "refs/architect/owned"

DEFAULT_BRANCHES = ("refs/heads/architect/parallel-", "refs/heads/architect/merged-")
"""Beginnings of branches of this program. Runs of early versions have no owner refs."""


def owner_ref(run_id: str, branch: str) -> str:
    """The ref which records that the run created the branch."""
    return f"{OWNED}/{run_id}/{branch}"


def creation_message(run_id: str) -> str:
    """The reflog message of a run that creates a branch."""
    return f"architect-parallel: created by run {run_id}"


def reset_message(run_id: str) -> str:
    """The reflog message of a run that resets its branch to the base."""
    return f"architect-parallel: reset to the base by run {run_id}"


def owns_branch(repository: Repository, branch: str, run_id: str, base_commit: str | None = None) -> bool:
    """Return whether run `run_id` created the branch of that name.

    A branch that was deleted and created again counts only if it is at the commit at which the run left it.

    Args:
        base_commit: The commit at which the run's branch began. A branch created again there does not count. `None`
            means that no branch created again counts.
    """
    tip = repository.store.resolve(f"refs/heads/{branch}")
    if tip is None:
        return False
    messages = _messages(repository, branch)
    # Deleting a branch deletes its reflog. So an entry of the run proves that it is the same branch.
    own = {creation_message(run_id), reset_message(run_id)}
    if any(message in own or message.startswith(f"architect: collect {run_id} worker ") for message in messages):
        return True
    left_at = repository.store.resolve(owner_ref(run_id, branch))
    if left_at is None:
        return False
    if base_commit is not None and tip == left_at != base_commit:
        return True
    if _was_made_again(repository, branch, messages):
        return False
    return repository.store.ok("merge-base", "--is-ancestor", left_at, tip)  # its reflog has expired


def record_branch(repository: Repository, *, branch: str, commit: str, run_id: str) -> None:
    """Record that run `run_id` left its branch at `commit`.

    Raises:
        GitError: It cannot be written.
    """
    repository.store.run("update-ref", owner_ref(run_id, branch), commit)


def owners(repository: Repository, branch: str) -> list[str]:
    """The refs of all runs that made a branch of that name."""
    listed = repository.store.text("for-each-ref", "--format=%(refname)", f"{OWNED}/*/{branch}")
    return listed.splitlines()


def branches_of_runs(repository: Repository) -> frozenset[str]:
    """The full names of the branches that runs made and recorded. See also `DEFAULT_BRANCHES`."""
    return frozenset(f"refs/heads/{branch}" for _, branch in branches_by_run(repository))


def branches_by_run(repository: Repository) -> frozenset[tuple[str, str]]:
    """(Run, short name of the branch) of the branches that runs made and recorded."""
    owned = repository.store.text("for-each-ref", "--format=%(refname)", OWNED).splitlines()
    parts = (ref.removeprefix(f"{OWNED}/").partition("/") for ref in owned)
    return frozenset((run_id, branch) for run_id, _, branch in parts)


def _messages(repository: Repository, branch: str) -> list[str]:
    """Messages of the branch's reflog, newest first. Empty without branch or reflog."""
    output = repository.store.run("log", "-g", "--format=%gs", f"refs/heads/{branch}", "--", check=False)
    return output.text.splitlines() if output.code == 0 else []


def _was_made_again(repository: Repository, branch: str, messages: list[str]) -> bool:
    """Return whether the reflog is missing or begins with the branch's creation by another program."""
    try:
        with (repository.common_dir / "logs" / "refs" / "heads" / branch).open("rb") as log:
            first = log.readline()
    except OSError:
        # Not kept in files (reftable), or the branch was made again where reflogs are switched off.
        return not repository.store.ok("reflog", "exists", f"refs/heads/{branch}") or bool(
            messages and messages[-1].startswith("branch: Created")
        )
    return first.startswith((b"0" * 40 + b" ", b"0" * 64 + b" "))
