from pathlib import Path

from repositories import git

from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import add_worktree, require_base


def test_fixture_repositories_are_the_same_everywhere(checkout: Path) -> None:
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "log", "--format=%s") == "a command line\nslugify titles"
    assert git(checkout, "rev-parse", "HEAD") == "1d00bbedca8f476465de8fae82555fc66e42889d"


def test_worktree_has_the_files_of_its_base(repository: Repository, checkout: Path) -> None:
    base = require_base(repository)
    worktree = add_worktree(
        repository,
        path=checkout / ".architect-parallel-1",
        branch="architect/parallel-1",
        base_commit=base,
        run_id="r1",
    )
    assert git(worktree.path, "status", "--porcelain") == ""
