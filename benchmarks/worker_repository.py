"""What a worker repository costs on a repository of about 6,500 files: making it, and taking over two commits.

Both are measured in this process and the git processes it starts, against one `git status` in the same worktree.
"""

from __future__ import annotations

import sys
from pathlib import Path

from architect_parallel.system.git import open_repository
from architect_parallel.worktrees.worker_repository import WorkerRepository
from benchmarks.measure import Cost, Goal, Site, alternate, cpu, folder, median_of, median_ratio
from benchmarks.tripwire import FILES, cost_of

ROUNDS = 15
BRANCH = "architect/parallel-1"


def measure() -> list[Goal]:
    """Run the benchmark."""
    with folder() as place:
        site = Site(place, files=FILES)
        repository = open_repository(site.repository)
        worktree = place / "worktree"
        site.git("worktree", "add", "--quiet", "-b", BRANCH, str(worktree))
        admin = Path(site.git("-C", str(worktree), "rev-parse", "--absolute-git-dir").strip())
        lent = WorkerRepository(
            repository=repository, directory=repository.state_dir / "runs" / "r" / "repo" / "worker-1",
            worktree=worktree, admin_dir=admin, branch=BRANCH,
        )  # fmt: skip

        def status() -> Cost:
            return cost_of(lambda: site.git("-C", str(worktree), "status", "--porcelain"))

        def lend() -> Cost:
            return cost_of(lent.lend)

        def take_back() -> Cost:
            for number in range(2):
                (worktree / f"new-{number}.txt").write_text(f"{len(list(worktree.iterdir()))} {number}\n" * 100)
                site.git("-C", str(worktree), "add", "--all")
                site.git("-C", str(worktree), "commit", "--quiet", "--allow-empty", "-m", "work")
            return cost_of(lambda: lent.take_back("run", 1))

        theirs, made, taken = alternate(ROUNDS, status, lend, take_back)
        given = f"git status {1000 * median_of(theirs, cpu):.1f} ms"
        return [
            Goal(
                name="worker repository: CPU of making it, against git status",
                measured=median_ratio(made, theirs, cpu),
                limit=0.6,
                note=f"{1000 * median_of(made, cpu):.1f} ms, {given}",
            ),
            Goal(
                name="worker repository: CPU of taking over two commits, against git status",
                measured=median_ratio(taken, theirs, cpu),
                limit=2.0,
                note=f"{1000 * median_of(taken, cpu):.1f} ms, {given}",
            ),
        ]


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
