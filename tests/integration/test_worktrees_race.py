"""Looking at a repository while another process registers worktrees never fails; git's own lists do now and then."""

from __future__ import annotations

import threading
from pathlib import Path

from support.repositories import git

from architect_parallel.repository.checkouts import checkouts, checkouts_of
from architect_parallel.repository.side_effects import read_refs
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import add_worktree, require_base
from architect_parallel.worktrees.remove import remove_worktree


def test_refs_and_checkouts_are_read_while_worktrees_come_and_go(repository: Repository) -> None:
    base = require_base(repository)
    over = threading.Event()
    seen: list[int] = []

    def come_and_go() -> None:
        for number in range(1, 16):
            place = repository.root / f".architect-parallel-{number}"
            branch = f"architect/parallel-{number}"
            add_worktree(repository, path=place, branch=branch, base_commit=base, run_id="20260101-000000-race")
            remove_worktree(repository, path=place, branch=branch, run_id="20260101-000000-race")
        over.set()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    while not over.is_set():
        assert [checkout.path for checkout in checkouts_of(repository, "main")] == [repository.root]
        assert "refs/heads/main" in read_refs(repository).oids
        seen.append(len(checkouts(repository)))
    thread.join()

    assert max(seen) >= 2, "a worktree was seen while it stood"


def test_a_half_made_registration_does_not_hide_the_others(repository: Repository, tmp_path: Path) -> None:
    git(repository.root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    half = repository.common_dir / "worktrees" / "half"
    half.mkdir()
    (half / "gitdir").write_text(f"{tmp_path / 'half' / '.git'}\n")
    (half / "locked").write_text("initializing")
    (half / "HEAD").write_text("0" * 40 + "\n")
    (half / "commondir").touch()

    # The control: git itself gives up on what a concurrent `worktree add` looks like for a moment.
    listed = git(repository.root, "for-each-ref", "--format=%(worktreepath)", check=False)
    assert str(tmp_path / "side") not in listed

    places = {branch: [checkout.path for checkout in found] for branch, found in checkouts(repository).items()}
    assert places == {"main": [repository.root], "side": [tmp_path / "side"]}
