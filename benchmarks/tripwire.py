"""What the tripwire costs on a repository of about 6,500 files: one look, the first look, and a whole run with it.

A look is measured in this process and the git processes it starts, against one `git status` that lists untracked files
one by one: what a script that watches the checkout would call. A run of ten workers is measured with and without.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

from architect_parallel.system.git import open_repository
from architect_parallel.tripwire.checkout import MainCheckout
from architect_parallel.worktrees.places import exclude_from_status
from benchmarks.measure import Cost, Goal, Site, alternate, cpu, folder, median_of, median_ratio, run_measured

FILES = 6500
WORKERS = 10
LOOKS = 15
RUNS = 5
AGENT = "echo changed >> package_1/part_1/module_1.py"


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        site = Site(place, files=FILES)
        repository = open_repository(site.repository)
        exclude_from_status(repository)
        time.sleep(1.1)  # as a checkout is that was not made this very second
        site.git("update-index", "-q", "--refresh", "--force-write-index")
        watched = MainCheckout(repository, place / "watched")
        places = (place / f"first-{number}" for number in range(LOOKS))

        def status() -> Cost:
            return cost_of(lambda: site.git("status", "--porcelain", "-z", "--untracked-files=all"))

        def look() -> Cost:
            return cost_of(watched.changes)

        def first() -> Cost:
            return cost_of(lambda: MainCheckout(repository, next(places)))

        theirs, looks, firsts = alternate(LOOKS, status, look, first)
        without, with_it = alternate(RUNS, lambda: run(site, "off"), lambda: run(site, "fail"))
        given = f"git status {1000 * median_of(theirs, cpu):.1f} ms"
        return [
            Goal(
                name="tripwire: CPU of a look, against git status",
                measured=median_ratio(looks, theirs, cpu),
                limit=1.5,
                note=f"{1000 * median_of(looks, cpu):.1f} ms, {given}",
            ),
            Goal(
                name="tripwire: CPU of the first look, against git status",
                measured=median_ratio(firsts, theirs, cpu),
                limit=6.0,
                note=f"{1000 * median_of(firsts, cpu):.1f} ms, {given}",
            ),
            Goal(
                name=f"tripwire: CPU of a run of {WORKERS}, with and without",
                measured=median_ratio(with_it, without, cpu),
                limit=1.1,
                note=f"CPU {median_of(with_it, cpu):.2f} s against {median_of(without, cpu):.2f} s",
            ),
        ]


def run(site: Site, tripwire: str) -> Cost:
    """A run of ten workers."""
    site.clear()
    return run_measured(site.parallel(AGENT, WORKERS, "--tripwire", tripwire), cwd=site.repository, env=site.env)


def cost_of(act: Callable[[], object]) -> Cost:
    """What `act` takes here and in the processes it waits for."""
    begun_s, begun_cpu_s = time.monotonic(), _cpu_s()
    act()
    return Cost(wall_s=time.monotonic() - begun_s, cpu_s=_cpu_s() - begun_cpu_s)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
