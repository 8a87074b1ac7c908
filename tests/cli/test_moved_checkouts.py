"""`resume` and `--continue` in a copied or moved repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.console import Architect
from support.landing_runs import everything
from support.repositories import git


def test_a_copy_takes_over_nothing_of_the_original(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    answer = architect("parallel", "--backend", "shell", "--workers", "1", "echo hi > b.txt; exit 3")
    assert answer.code == 1, answer.err
    (checkout / ".architect-parallel-1" / "later.txt").write_text("unsaved\n")
    before = everything(checkout)
    copy = Path(shutil.copytree(checkout, tmp_path / "copy", symlinks=True))
    place = copy / ".architect-parallel-1"

    resumed = architect("resume", "latest", "--json", cwd=copy)
    assert resumed.code == 1
    [worker] = resumed.json["results"]
    assert f"{place} is not the worktree run" in worker["error"]
    assert f"{checkout}/.git/worktrees/" in worker["error"]
    assert worker["worktree_path"] == str(place)
    continued = architect("parallel", "--continue", "latest", "1", "echo more", cwd=copy)
    assert continued.code == 3
    assert f"{place} is not the worktree it was" in continued.err
    assert everything(checkout) == before
    assert (place / "later.txt").read_text() == "unsaved\n"


def test_a_moved_repository_goes_on_after_a_repair(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    architect("parallel", "--backend", "shell", "--workers", "1", "echo hi > b.txt; exit 3")
    moved = checkout.rename(tmp_path / "moved")
    place = moved / ".architect-parallel-1"
    refused = architect("parallel", "--continue", "latest", "1", "echo more > c.txt", cwd=moved)
    assert (refused.code, f"git worktree repair {place}" in refused.err) == (3, True)
    shown = architect("parallel-cleanup", "--dry-run", "--json", cwd=moved).json
    assert [(each["name"], each["hint"]) for each in shown["stays"]] == [(str(place), f"git worktree repair {place}")]
    git(moved, "worktree", "repair", place)
    assert architect("parallel", "--continue", "latest", "1", "echo more > c.txt", cwd=moved).code == 0
    assert git(moved, "show", "architect/parallel-1:c.txt") == "more"
    assert architect("resume", "latest", cwd=moved).code == 4
