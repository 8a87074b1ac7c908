"""What containment costs: the start of a worker's agent, its memory, and a run of fifty agents that do nothing.

Starts at each level take turns, so that a busy machine is as busy for all of them. Every goal is the difference to the
level `off`, or a ratio to it. A mechanism that does not work here is left out.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import psutil

from architect_parallel.containment.box import Box
from architect_parallel.containment.probe import problem_with
from architect_parallel.domain import Mechanism, Network, Sandbox, SandboxLevel
from architect_parallel.supervision.consume import consume
from architect_parallel.supervision.messages import Launch, Started
from architect_parallel.supervision.process import start_supervised
from architect_parallel.system.git import open_repository
from benchmarks.measure import MIB, WORKERS_AT_ONCE, Cost, Goal, Site, alternate, folder, median_ratio, own_bytes, wall
from benchmarks.measure import run_measured as run

STARTS = 21
RUNS = 3
RESIDENT_MIB = 12.0
WAYS: dict[str, tuple[Sandbox, float]] = {
    "write": (Sandbox(level=SandboxLevel.WRITE, mechanism=Mechanism.NAMESPACES), 15.0),
    "write, hosts": (
        Sandbox(level=SandboxLevel.WRITE, mechanism=Mechanism.NAMESPACES, network=Network.HOSTS, hosts=("a.example",)),
        25.0,
    ),
    "closed": (Sandbox(level=SandboxLevel.CLOSED, mechanism=Mechanism.NAMESPACES), 20.0),
    "write by bwrap": (Sandbox(level=SandboxLevel.WRITE, mechanism=Mechanism.BWRAP), 40.0),
    "write by landlock": (Sandbox(level=SandboxLevel.WRITE, mechanism=Mechanism.LANDLOCK), 15.0),
}
"""Name → the sandbox, and the most milliseconds that it may add to a start."""


def measure() -> list[Goal]:
    """Run the benchmark."""
    ways = {name: way for name, way in WAYS.items() if problem_with(way[0].mechanism) is None}
    with folder() as place:
        site = Site(place, files=20)
        worktree = site.repository / ".architect-parallel-1"
        worktree.mkdir()
        sandboxes = {"off": Sandbox(), **{name: sandbox for name, (sandbox, _) in ways.items()}}
        boxes = {name: box(site, worktree, sandbox) for name, sandbox in sandboxes.items()}
        starts: dict[str, list[float]] = {name: [] for name in boxes}
        for _ in range(STARTS):
            for name in boxes:
                starts[name].append(start_ms(boxes[name]))
        goals = []
        for name, (_, limit) in ways.items():
            added = [one - off for one, off in zip(starts[name], starts["off"], strict=True)]
            note = f"{statistics.median(starts[name]):.1f} ms, off {statistics.median(starts['off']):.1f} ms"
            title = f"sandbox {name}: start beyond off"
            goals.append(Goal(name=title, measured=statistics.median(added), limit=limit, unit="ms", note=note))
        for name in ways:
            title = f"sandbox {name}: memory of a worker without its agent"
            goals.append(Goal(name=title, measured=resident_mib(boxes[name]), limit=RESIDENT_MIB, unit="MiB"))
        return [*goals, *fifty(site)] if "write" in ways else goals


def box(site: Site, worktree: Path, sandbox: Sandbox) -> Box:
    """The box of a worker."""
    repository = open_repository(site.repository)
    run_dir = repository.state_dir / "runs" / "r"
    run_dir.mkdir(parents=True, exist_ok=True)
    return Box(
        sandbox=sandbox,
        repository=repository,
        run_dir=run_dir,
        environ=site.env,
        directory=worktree,
        name="worker-1",
    )


def launch(box: Box, *argv: str) -> Launch:
    """An agent in its box."""
    return box.contain(Launch(argv=argv, cwd=box.directory, env=box.environ))


def start_ms(box: Box) -> float:
    """Milliseconds from the decision to start a program that does nothing to its proven end."""
    begun = time.perf_counter()
    with start_supervised(launch(box, "true")) as program:
        facts = consume(program, lambda stream, data: None)
    if facts.exit_code != 0:
        raise RuntimeError(f"a program ended with {facts.exit_code}: {facts.spawn_error}")
    return (time.perf_counter() - begun) * 1000


def resident_mib(box: Box) -> float:
    """Memory of the processes that hold an agent, and of nobody else."""
    with start_supervised(launch(box, "sleep", "600")) as program:
        while not any(isinstance(message, Started) for message in program.wait(1.0)):
            pass
        supervisor = psutil.Process(program.supervisor_pid)
        while not (sleepers := [child for child in supervisor.children(recursive=True) if child.name() == "sleep"]):
            time.sleep(0.02)
        holders = {supervisor, supervisor.parent(), *supervisor.children(recursive=True)} - set(sleepers)
        return sum(own_bytes(process.pid) for process in holders if process is not None) / MIB


def fifty(site: Site) -> list[Goal]:
    """Fifty agents that do nothing, contained and not."""

    def whole(level: str) -> Cost:
        site.clear()
        return run(site.parallel("true", WORKERS_AT_ONCE, "--sandbox", level), cwd=site.repository, env=site.env)

    contained, free = alternate(RUNS, lambda: whole("write"), lambda: whole("off"))
    ratio = median_ratio(contained, free, wall)
    note = f"{statistics.median(cost.wall_s for cost in free):.1f} s at off"
    return [Goal(name=f"{WORKERS_AT_ONCE} x true at write, against off", measured=ratio, limit=1.1, note=note)]


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
