"""Ten workers on a repository of about 6,500 files, against what a shell script would do.

The baseline is ten `git worktree add`, one after another, and then the same ten agents at once; it collects nothing,
so it is spared what ours does besides: diff, commit, journal, limits. Ours includes the start of Python.

And the first agent: it starts within one checkout and half a second, however many workers were asked for.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time

from benchmarks.measure import (
    WORKERS_AT_ONCE,
    Cost,
    Goal,
    Site,
    alternate,
    cpu,
    folder,
    median_of,
    median_ratio,
    run_measured,
    wait_until,
    wall,
)

FILES = 6500
WORKERS = 10
REPEAT = 3
FIRST_REPEAT = 3
AGENT = "echo changed >> package_1/part_1/module_1.py"


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        site = Site(place, files=FILES)
        return [*fan_out(site), *first_agents(site)]


def fan_out(site: Site) -> list[Goal]:
    theirs, ours = alternate(REPEAT, lambda: naive(site), lambda: architect(site))

    def note(of: str, figures: tuple[float, float]) -> str:
        return f"{of} {figures[0]:.2f} s against {figures[1]:.2f} s"

    return [
        Goal(
            name=f"fan-out of {WORKERS}: wall time",
            measured=median_ratio(ours, theirs, wall),
            limit=0.9,
            note=note("wall", (median_of(ours, wall), median_of(theirs, wall))),
        ),
        Goal(
            name=f"fan-out of {WORKERS}: CPU",
            measured=median_ratio(ours, theirs, cpu),
            limit=1.3,
            note=note("CPU", (median_of(ours, cpu), median_of(theirs, cpu))),
        ),
    ]


def naive(site: Site) -> Cost:
    """Ten `git worktree add` in a row, then the agents at once."""
    site.clear()
    script = (
        f"for n in $(seq {WORKERS}); do git worktree add --quiet -b naive-$n ../naive-$n || exit 1; done; "
        f"for n in $(seq {WORKERS}); do (cd ../naive-$n && exec /bin/sh -c '{AGENT}') & done; wait"
    )
    return run_measured(("/bin/sh", "-c", script), cwd=site.repository, env=site.env)


def architect(site: Site) -> Cost:
    """The same with this program; every change has to be committed on its branch."""
    site.clear()
    cost = run_measured(site.parallel(AGENT, WORKERS), cwd=site.repository, env=site.env)
    tips = site.git("for-each-ref", "--format=%(objectname)", "refs/heads/architect").splitlines()
    changed = [site.git("diff", "--name-only", site.base_commit, tip) for tip in tips]
    if changed != ["package_1/part_1/module_1.py"] * WORKERS:
        raise RuntimeError(f"not every worker's change was collected: {changed}")
    return cost


def first_agents(site: Site) -> list[Goal]:
    """Time to the first agent's first act, from the start of the program, less one checkout measured beside it."""
    late_s: dict[int, list[float]] = {1: [], WORKERS: [], WORKERS_AT_ONCE: []}
    checkouts_s: list[float] = []
    for _ in range(FIRST_REPEAT):
        for workers, found in late_s.items():
            checkouts_s.append(one_checkout_s(site))
            found.append(first_agent_s(site, workers) - checkouts_s[-1])
    note = f"one checkout {statistics.median(checkouts_s):.2f} s"
    return [
        Goal(
            name=f"first of {workers} agents, beyond one checkout",
            measured=statistics.median(found),
            limit=0.5,
            unit="s",
            note=note,
        )
        for workers, found in late_s.items()
    ]


def one_checkout_s(site: Site) -> float:
    site.clear()
    argv = ("git", "worktree", "add", "--quiet", "-b", "naive-1", "../naive-1")
    return run_measured(argv, cwd=site.repository, env=site.env).wall_s


def first_agent_s(site: Site, workers: int) -> float:
    site.clear()
    stamps = site.folder / "stamps"
    stamps.unlink(missing_ok=True)
    argv = site.parallel(f"date +%s.%N >> {stamps}; exec sleep 60", workers, "--grace", "1s")
    begun = time.time()
    with subprocess.Popen(argv, cwd=site.repository, env=site.env, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: stamps.exists() and stamps.read_text().endswith("\n"), "the first agent's start")
            found = min(map(float, stamps.read_text().split())) - begun
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=120)
    return found


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
