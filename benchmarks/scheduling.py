"""Ten agents of one second, four at a time: three rounds are three seconds, and what the dispatcher adds is measured.

The time on top of worktree creation is the difference between two runs side by side: agents that sleep one second, and
agents that end at once. Both start Python, make ten worktrees and collect ten results with the same processor time, so
what is left is three rounds of a second and the time in which a place stood empty or an end went unnoticed.

For the reader, the chain of workers that decided the run's length is taken apart as well: from the worker that ended
last back to the one whose end let it start, and so on to the run's beginning.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.events import AgentExited, AgentStarted, WorkerFinished, WorkerStarting, WorktreeReady
from architect_parallel.journal import Journal
from benchmarks.measure import Cost, Goal, Site, alternate, folder, median_of, run_measured, wall

AGENTS = 10
AT_ONCE = 4
REPEAT = 5
LIMIT_S = 3.15


@dataclass(slots=True)
class Times:
    """When things happened to one worker, in seconds since the run began."""

    starting: float = 0.0
    ready: float = 0.0
    agent_started: float = 0.0
    agent_exited: float = 0.0
    finished: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The chain of workers that decided a run's length, in seconds."""

    total: float
    worktrees: float
    """From `worker_starting` to `worktree_ready`."""
    collecting: float
    """From `agent_exited` to `worker_finished`."""


def measure() -> list[Goal]:
    """Runs the benchmark."""
    chains: list[Chain] = []

    def sleeping() -> Cost:
        cost = one_run(site, "sleep 1")
        chains.append(decisive_chain(site))
        return cost

    with folder() as place:
        site = Site(place, files=50)
        slow, quick = alternate(REPEAT, sleeping, lambda: one_run(site, "true"))
    total, worktrees, collecting = (
        statistics.median(of) for of in zip(*((c.total, c.worktrees, c.collecting) for c in chains), strict=True)
    )
    return [
        Goal(
            name=f"{AGENTS} agents of 1 s, {AT_ONCE} at a time, beyond worktrees",
            measured=statistics.median(one.wall_s - other.wall_s for one, other in zip(slow, quick, strict=True)),
            limit=LIMIT_S,
            unit="s",
            note=f"{median_of(slow, wall):.2f} s less {median_of(quick, wall):.2f} s; a run's chain is {total:.2f} s, "
            f"with {worktrees:.2f} s worktrees and {collecting:.2f} s collecting",
        )
    ]


def one_run(site: Site, task: str) -> Cost:
    site.clear()
    return run_measured(site.parallel(task, AGENTS, at_once=AT_ONCE), cwd=site.repository, env=site.env)


def decisive_chain(site: Site) -> Chain:
    """The chain of the run that has just ended."""
    chain = longest_chain(list(read_times(site.repository / ".git" / "architect").values()))
    return Chain(
        total=chain[0].finished - chain[-1].starting,
        worktrees=sum(each.ready - each.starting for each in chain),
        collecting=sum(each.finished - each.agent_exited for each in chain),
    )


def read_times(state_dir: Path) -> dict[int, Times]:
    """The times of every worker of the only run in a journal."""
    with Journal.open(state_dir) as journal:
        (run_id,) = journal.run_ids()
        recorded = journal.recorded(run_id)
    begun = recorded[0].time
    found: dict[int, Times] = {}
    for each in recorded:
        if each.worker_id is None:
            continue
        times, moment = found.setdefault(each.worker_id, Times()), (each.time - begun).total_seconds()
        match each.event:
            case WorkerStarting():
                times.starting = moment
            case WorktreeReady():
                times.ready = moment
            case AgentStarted():
                times.agent_started = moment
            case AgentExited():
                times.agent_exited = moment
            case WorkerFinished():
                times.finished = moment
    return found


def longest_chain(workers: list[Times]) -> list[Times]:
    """The worker that ended last, the one whose end let it start, and so on; each end lets one worker start."""
    chain = [max(workers, key=lambda each: each.finished)]
    while earlier := [each for each in workers if each.finished <= chain[-1].starting]:
        chain.append(max(earlier, key=lambda each: each.finished))
    return chain


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
