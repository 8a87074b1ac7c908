"""Specs: what the runner adds to the critical path, how long a thousand tasks take to plan, and what each costs it.
Flows: whether a late state costs the launcher more than an early one.

The scenarios are in seconds what people have in minutes. As in `scheduling`, each is a run of sleeping tasks less a run
of the same graph whose tasks end at once: worktrees, starts and collections cancel out, and what is left is the time in
which a task waited although it might have run.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest import mock

from architect_parallel.domain import RunStatus
from architect_parallel.events import FlowMoved, Recorded
from architect_parallel.flows.plan import FlowConfig
from architect_parallel.flows.runner import run_flow
from architect_parallel.runs.options import ParallelConfig
from architect_parallel.specs.plan import SpecConfig
from architect_parallel.specs.runner import SpecRunner
from benchmarks.measure import ARCHITECT, Cost, Goal, Site, alternate, folder, median_of, run_measured, wall

REPEAT = 3
OVER_IDEAL = 1.05
TASKS = 1000
PLANNED_S = 1.0
CPU_MS_PER_TASK = 5.0
STATES = 150
SOME = 15
LATE_STATE = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A graph of tasks that sleep."""

    name: str
    ideal_s: float
    sleeps: Mapping[str, float]
    needs: Mapping[str, Sequence[str]]
    at_once: int = 4


SCENARIOS = (
    Scenario(name="3 of 5 s side by side", ideal_s=5, sleeps={"a": 5, "b": 5, "c": 5}, needs={}),
    Scenario(name="5, 3 and 4 s side by side", ideal_s=5, sleeps={"a": 5, "b": 3, "c": 4}, needs={}),
    Scenario(
        name="5 tasks of 15 s, critical path 8 s", ideal_s=8, sleeps={"a": 3, "b": 4, "c": 3, "d": 1, "e": 4},
        needs={"b": ["a"], "c": ["a"], "d": ["b", "c"]},
    ),
    Scenario(name="10 of 1 s, 4 at a time", ideal_s=3, sleeps={f"t{n}": 1 for n in range(10)}, needs={}),
)  # fmt: skip


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        site = Site(place, files=50)
        goals = [scenario_goal(site, each) for each in SCENARIOS]
        site.clear()
        return [*goals, *thousand_goals(site), flow_goal(site)]


def scenario_goal(site: Site, scenario: Scenario) -> Goal:
    def run(*, sleeping: bool) -> Cost:
        site.clear()
        tasks = [
            {
                "name": name,
                "task": f"echo {name} > {name}; sleep {seconds if sleeping else 0}",
                "dependencies": scenario.needs.get(name, []),
            }
            for name, seconds in scenario.sleeps.items()
        ]
        file = write(site, tasks, execution={"maxConcurrentAgents": scenario.at_once})
        return run_measured((*ARCHITECT, "spec", "run", str(file), "--quiet"), cwd=site.repository, env=site.env)

    slow, quick = alternate(REPEAT, lambda: run(sleeping=True), lambda: run(sleeping=False))
    took_s = statistics.median(one.wall_s - other.wall_s for one, other in zip(slow, quick, strict=True))
    return Goal(
        name=f"spec: {scenario.name}, of its ideal",
        measured=took_s / scenario.ideal_s,
        limit=OVER_IDEAL,
        note=f"{median_of(slow, wall):.2f} s less {median_of(quick, wall):.2f} s; ideal {scenario.ideal_s:g} s",
    )


def thousand_goals(site: Site) -> list[Goal]:
    dice = random.Random(5)
    tasks = [
        {
            "name": f"t{number}",
            "task": ":",
            "isolation": "none",
            "dependencies": [
                f"t{other}" for other in sorted(dice.sample(range(number), min(number, dice.randrange(5))))
            ],
        }
        for number in range(TASKS)
    ]
    file = write(site, tasks, execution={"maxConcurrentAgents": 8})
    with mock.patch.dict(os.environ, site.env, clear=True):
        runner = SpecRunner(SpecConfig(file=file, flags=ParallelConfig()), site.repository)
        timed(runner)  # the imports are not the plan's
        planned_s = statistics.median(timed(runner) for _ in range(REPEAT))
        before_s, begun_s = time.process_time(), time.monotonic()
        result = runner.execute()
        cpu_s, wall_s = time.process_time() - before_s, time.monotonic() - begun_s
    if result.status is not RunStatus.SUCCESS:
        raise RuntimeError(f"the run of {TASKS} tasks ended as {result.status}")
    return [
        Goal(
            name=f"spec: {TASKS} tasks with random dependencies planned", measured=planned_s, limit=PLANNED_S, unit="s"
        ),
        Goal(
            name=f"spec: {TASKS} tasks without worktrees, launcher CPU each",
            measured=1000 * cpu_s / TASKS,
            limit=CPU_MS_PER_TASK,
            unit="ms",
            note=f"`:` in a shell, 8 at a time; {wall_s:.0f} s in all, planning included",
        ),
    ]


def flow_goal(site: Site) -> Goal:
    """Both within one run, so that what a flow costs once is in neither."""
    states = {
        f"s{number}": {"tool": "bash", "arguments": {"command": ":"}, "next": f"s{number + 1}"}
        for number in range(STATES)
    }
    file = site.folder / "flow.json"
    file.write_text(json.dumps({"states": {**states, f"s{STATES}": {"tool": "bash", "arguments": {"command": ":"}}}}))
    ratios, early, late = [], [], []
    with mock.patch.dict(os.environ, site.env, clear=True):
        for _ in range(REPEAT):
            costs = state_costs(file, site.repository)
            early.append(statistics.mean(costs[1 : 1 + SOME]))  # the first one pays for imports
            late.append(statistics.mean(costs[-SOME:]))
            ratios.append(late[-1] / early[-1])
            site.clear()
    return Goal(
        name=f"flow: launcher CPU of the last {SOME} of {STATES} states, of the first {SOME}",
        measured=statistics.median(ratios),
        limit=LATE_STATE,
        note=f"{1000 * statistics.median(late):.1f} ms against {1000 * statistics.median(early):.1f} ms a state",
    )


def state_costs(file: Path, repository: Path) -> list[float]:
    """CPU of this process from each state to the next one."""
    marks: list[float] = []

    def hear(recorded: Recorded) -> None:
        if isinstance(recorded.event, FlowMoved):
            marks.append(time.process_time())

    result = run_flow(FlowConfig(file=file, variables={}), repository, lambda demand: None, listeners=[hear])
    if result.status is not RunStatus.SUCCESS:
        raise RuntimeError(f"the flow of {STATES} states ended as {result.status}")
    return [later - earlier for earlier, later in pairwise(marks)]


def timed(runner: SpecRunner) -> float:
    """Processor time: planning waits for nothing but a few git processes."""
    begun_s = time.process_time()
    runner.plan()
    return time.process_time() - begun_s


def write(site: Site, tasks: Sequence[Mapping[str, object]], **more: object) -> Path:
    file = site.folder / "spec.json"
    file.write_text(json.dumps({"defaults": {"backend": "shell"}, "tasks": tasks, **more}))
    return file


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
