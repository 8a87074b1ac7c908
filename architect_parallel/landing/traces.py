"""Tell cheaply which past runs may have left something, so that only those are looked at. Read-only.

`inventory` counts a worktree if its registration names the run, and a branch if its reflog or its owner ref does. A run
that none of them names left nothing. In doubt the answer is yes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from architect_parallel.domain import RunSummary, WorktreeSettings
from architect_parallel.journal import Journal
from architect_parallel.repository.heads import read_reflog
from architect_parallel.repository.ownership import branches_by_run
from architect_parallel.repository.registry import admin_dirs, marked_run, mismatch, registered_path
from architect_parallel.system.files import names
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.places import auxiliary_path
from architect_parallel.worktrees.temporary import temporary_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """The branches and registrations of a repository, read once."""

    repository: Repository
    branches: frozenset[str]
    """Short names of all branches."""
    recorded: frozenset[tuple[str, str]]
    """(Run, short name of its branch) as owner refs have it."""
    marked: frozenset[str]
    """The runs that registrations name."""
    entries: str
    """Names of registrations, of the directories they name, and of all entries where temporary worktrees are made."""
    integrations: frozenset[tuple[str, str]]
    """(Run, short name of the branch) of the integration branches that merges made."""
    _messages: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, repository: Repository, journal: Journal) -> Traces:
        """Read the repository as it is now."""
        admins = admin_dirs(repository)
        paths = (registered_path(admin) for admin in admins)
        entries = [admin.name for admin in admins] + [path.name for path in paths if path is not None]
        heads = repository.store.text("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads")
        merges = (
            (operation.run_id or "", str(operation.payload["integration"]))
            for operation in journal.operations()
            if operation.payload.get("integration")
        )
        return cls(
            repository=repository,
            branches=frozenset(heads.splitlines()),
            recorded=branches_by_run(repository),
            marked=frozenset(filter(None, map(marked_run, admins))),
            entries="\n".join([*entries, *names(auxiliary_path(repository, WorktreeSettings(), "").parent)]),
            integrations=frozenset(merges),
        )

    def may_have_left(self, run: RunSummary) -> bool:
        """Return whether a branch, a worktree or a temporary worktree of the run may be left."""
        return (
            run.run_id in self.marked
            or temporary_name(run.run_id) in self.entries
            or any(run_id == run.run_id and branch in self.branches for run_id, branch in self.integrations)
            or any(self._may_be_of(run.run_id, branch) for branch in self.branches.intersection(run.branches))
        )

    def _may_be_of(self, run_id: str, branch: str) -> bool:
        if branch not in self._messages:
            reflog = read_reflog(self.repository.common_dir, f"refs/heads/{branch}")
            self._messages[branch] = [message for _, message in reflog]
        messages = self._messages[branch]
        return not messages or (run_id, branch) in self.recorded or any(run_id in message for message in messages)


def marked_worktrees(
    repository: Repository, run_id: str | None = None, *, without: Collection[str] = ()
) -> dict[str, str]:
    """Existing worktrees whose registration names a run, or the run `run_id`, as path → run id.

    Args:
        without: Runs that are left out.
    """
    runs = {}
    for admin in admin_dirs(repository):
        path, marked = registered_path(admin), marked_run(admin)
        if path is None or marked is None or run_id not in (None, marked) or marked in without or not path.exists():
            continue
        if mismatch(repository, path) is None:  # in a copied repository it is the original's
            runs[str(path)] = marked
    return runs
