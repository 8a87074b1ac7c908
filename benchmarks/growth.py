"""What each worker of a run costs, and each worktree of a cleanup, when there are four times as many.

What the program costs with one worker is taken off.
"""

from __future__ import annotations

import sys

from benchmarks.measure import ARCHITECT, WORKERS_AT_ONCE, Goal, Site, cpu, folder, run_measured

FEW, MANY = 12, WORKERS_AT_ONCE
AT_ONCE = 2
GROWTH = 1.5


def measure() -> list[Goal]:
    """Run the benchmark."""
    with folder() as place:
        site = Site(place, files=10)
        alone, few, many = (costs(site, count) for count in (1, FEW, MANY))
    goals = []
    for number, name in enumerate(("a run, each worker", "a cleanup, each worktree")):
        cheap_s = (few[number] - alone[number]) / (FEW - 1)
        dear_s = (many[number] - alone[number]) / (MANY - 1)
        note = f"{1000 * dear_s:.0f} ms against {1000 * cheap_s:.0f} ms"
        title = f"CPU of {name} of {MANY}, of that of {FEW}"
        goals.append(Goal(name=title, measured=dear_s / cheap_s, limit=GROWTH, note=note))
    return goals


def costs(site: Site, workers: int) -> tuple[float, float]:
    """CPU seconds of a run of so many workers that change nothing, and of the cleanup after it."""
    site.clear()
    run = run_measured(site.parallel(":", workers, at_once=AT_ONCE), cwd=site.repository, env=site.env)
    cleanup = run_measured((*ARCHITECT, "parallel-cleanup"), cwd=site.repository, env=site.env)
    if left := site.git("for-each-ref", "--format=%(refname)", "refs/heads/architect"):
        raise RuntimeError(f"the cleanup left {left}")
    return cpu(run), cpu(cleanup)


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
