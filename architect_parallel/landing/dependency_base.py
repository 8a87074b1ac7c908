"""The base of a worker with dependencies: their results merged in the object store, without a checkout or a branch.

The same results give the same commit, at any time and on any machine. So a further attempt, or a resumed run, starts
from the same base.
"""

from __future__ import annotations

from collections.abc import Sequence

from architect_parallel.domain import WorkerResult
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.landing.strategies import merge, require_merge_tree
from architect_parallel.system.git import Repository

_WHO = {"NAME": "architect-parallel", "EMAIL": "architect-parallel@localhost"}


def merged_base(repository: Repository, base_commit: str, results: Sequence[WorkerResult]) -> str:
    """Return the commit that holds `base_commit` and `results`, merged in their order.

    Raises:
        EnvironmentProblem: Two of them conflict. The files are named.
    """
    git, commit, taken = repository.store, base_commit, list[str]()
    for result in results:
        if result.diff is None or git.ok("merge-base", "--is-ancestor", result.diff.head, commit):
            continue
        if not git.ok("merge-base", "--is-ancestor", commit, result.diff.head):
            require_merge_tree()
        date = git.text("show", "--no-patch", "--format=%cd", "--date=raw", result.diff.head)
        env = {f"GIT_{role}_{key}": word for role in ("AUTHOR", "COMMITTER") for key, word in _WHO.items()}
        env |= {f"GIT_{role}_DATE": date for role in ("AUTHOR", "COMMITTER")}
        message = f"architect: base of {', '.join([*taken, result.name])}"
        combined = merge(git, commit, result.diff.head, message=message, env=env)
        if combined.commit is None:
            shown = ", ".join(combined.conflicts[:20])
            others = " and ".join(taken)
            raise EnvironmentProblem(
                f"the work of {others} conflicts with that of {result.name} in {shown}",
                hint="let one of them depend on the other",
            )
        commit = combined.commit
        taken.append(result.name)
    return commit
