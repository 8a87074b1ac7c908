"""The run that owns a branch, recorded in its reflog and in a separate ref, so that either may be lost.

A run that makes a branch writes its id into the branch's reflog and points `refs/architect/owned/<run>/<branch>` at the
commit it left the branch at. Reflogs expire, and a branch that is deleted and made again has a new one. The ref stays,
goes along into a copy of the repository, and keeps the work from being pruned. It goes when the branch is removed.
"""

from __future__ import annotations

from architect_parallel.system.git import Repository

OWNED = "refs/architect/owned"


def owner_ref(run_id: str, branch: str) -> str:
    """The ref that says that the run made the branch."""
    return f"{OWNED}/{run_id}/{branch}"


def creation_message(run_id: str) -> str:
    """The reflog message of a run that makes a branch."""
    return f"architect-parallel: created by run {run_id}"


def reset_message(run_id: str) -> str:
    """The reflog message of a run that puts a branch of its own back to the base."""
    return f"architect-parallel: reset to the base by run {run_id}"


def owns_branch(repository: Repository, branch: str, run_id: str, base_commit: str | None = None) -> bool:
    """Return whether the branch of that name is the one run `run_id` made.

    A branch that somebody deleted and made again is not, unless it is at the work that the run left on it.

    Args:
        base_commit: The commit the run's branch began at; a branch made again there is no work of the run. `None`
            means that no branch made again counts.
    """
    tip = repository.store.resolve(f"refs/heads/{branch}")
    if tip is None:
        return False
    messages = _messages(repository, branch)
    # Deleting a branch deletes its reflog: an entry of the run says that it is the same branch still.
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


def _messages(repository: Repository, branch: str) -> list[str]:
    """Messages of the branch's reflog, newest first; empty without branch or reflog."""
    output = repository.store.run("log", "-g", "--format=%gs", f"refs/heads/{branch}", "--", check=False)
    return output.text.splitlines() if output.code == 0 else []


def _was_made_again(repository: Repository, branch: str, messages: list[str]) -> bool:
    """Return whether the branch's reflog begins with its creation, by somebody else, or there is none at all."""
    try:
        with (repository.common_dir / "logs" / "refs" / "heads" / branch).open("rb") as log:
            first = log.readline()
    except OSError:
        # Not kept in files (reftable), or the branch was made again where reflogs are switched off.
        return not repository.store.ok("reflog", "exists", f"refs/heads/{branch}") or bool(
            messages and messages[-1].startswith("branch: Created")
        )
    return first.startswith((b"0" * 40 + b" ", b"0" * 64 + b" "))
