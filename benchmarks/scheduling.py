"""Ten agents of one second, four at a time: three rounds are three seconds, and what the dispatcher adds is measured.

A run is followed along the chain that decides its length: from the worker that ended last back to the one whose end
let it start, and so on to the run's beginning. Of that chain the time in which a worker got its worktree (from
`worker_starting` to `worktree_ready`) is taken off, since a worktree's price is measured by `fan_out`. Everything
else counts: start of the supervisor, the agent's second, noticing its end, collecting, handing over.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.events import AgentExited, AgentStarted, WorkerFinished, WorkerStarting, WorktreeReady
from architect_parallel.journal import Journal
from benchmarks.measure import Goal, Site, folder, run_measured

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
    with folder() as place:
        site = Site(place, files=50)
        chains = [one_run(site) for _ in range(REPEAT)]
    split = [chain.total - chain.worktrees for chain in chains]
    worktrees, collecting = (
        statistics.median(of) for of in ([c.worktrees for c in chains], [c.collecting for c in chains])
    )
    return [
        Goal(
            name=f"{AGENTS} agents of 1 s, {AT_ONCE} at a time, beyond worktrees",
            measured=statistics.median(split),
            limit=LIMIT_S,
            unit="s",
            note=f"worktrees took {worktrees:.2f} s of the chain; of the figure {collecting:.2f} s is collecting",
        )
    ]


def one_run(site: Site) -> Chain:
    site.clear()
    run_measured(site.parallel("sleep 1", AGENTS, at_once=AT_ONCE), cwd=site.repository, env=site.env)
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
