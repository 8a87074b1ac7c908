"""What `parallel-cleanup` costs with a large result: a worker that made 50,000 files, which its branch has.

Each repetition is a run of its own, merged; its worktree is cleaned up, and an equal worktree of the same commit is
removed by `git worktree remove`. Both wall times are of the whole command. The goal is the median of their ratios.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.measure import ARCHITECT, Goal, Site, folder

FILES = 50_000
REPEAT = 3
LIMIT = 3.0
_WRITE = f"""
import pathlib
for number in range({FILES}):
    path = pathlib.Path("made", str(number // 200), f"{{number}}.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{{number}}\\n")
"""


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        site = Site(place, files=100)
        script = place / "write.py"
        script.write_text(_WRITE)
        found = [_once(site, f"'{sys.executable}' '{script}'") for _ in range(REPEAT)]
    ratios = [ours_s / git_s for ours_s, git_s in found]
    ours_s, git_s = (statistics.median(times) for times in zip(*found, strict=True))
    return [
        Goal(
            name=f"cleanup of a worktree with {FILES:,} new files", measured=statistics.median(ratios), limit=LIMIT,
            note=f"{ours_s:.2f} s, git worktree remove {git_s:.2f} s",
        )
    ]  # fmt: skip


def _once(site: Site, task: str) -> tuple[float, float]:
    """Wall seconds of a cleanup and of git's own removal."""
    _run(site, *site.parallel(task, 1))
    site.git("update-ref", "refs/heads/landed", "architect/parallel-1")
    site.git("worktree", "add", "--quiet", "--detach", "../naive-tree", "landed")
    git_s = _run(site, "git", "worktree", "remove", "../naive-tree")
    ours_s = _run(site, *ARCHITECT, "parallel-cleanup")
    if (site.repository / ".architect-parallel-1").exists():
        raise RuntimeError("the cleanup left the worktree")
    site.clear()
    return ours_s, git_s


def _run(site: Site, *argv: str) -> float:
    begun = time.perf_counter()
    subprocess.run(argv, cwd=site.repository, env=site.env, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    for goal in measure():
        print(f"{goal.name}: {goal.measured:.2f} x (limit {goal.limit:g}), {goal.note}")
