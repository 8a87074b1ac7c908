"""The HTML report of ten workers with 1,000 changed files in all: time to write it, its size, and its first paint.

The run is made of commits in a repository of 6,500 files, without agents: half of each worker's files are changed in a
few places, a quarter is rewritten, a quarter is new. Every worker printed a megabyte. Writing is the program from start
to end, `architect report RUN --format html --output FILE`, with ranking, comparison and everything else a report needs.
First paint is `first-contentful-paint` of headless chromium from a file, a new page each time; `ready` is when a
diff has been built. Without chromium its row says so and misses.
"""

from __future__ import annotations

import random
import shutil
import statistics
from datetime import UTC, datetime
from pathlib import Path

from architect_parallel.domain import AgentProfile, Reason, RunPlan, RunStatus, Status, WorkerResult, WorkerSpec
from architect_parallel.events import (
    AgentExited,
    AgentStarted,
    Collected,
    Event,
    RunFinished,
    RunStarted,
    StepTaken,
    WorkerFinished,
    WorkerStarting,
)
from architect_parallel.journal import Journal
from architect_parallel.snapshots.diff import diff
from architect_parallel.system.git import open_repository
from benchmarks.measure import ARCHITECT, Goal, Site, folder, run_measured

WORKERS = 10
CHANGED = 100
"""Files per worker."""
FILES = 6500
REPEAT = 5
LOG_BYTES = 1_000_000
RUN_ID = "20260102-030405-bead"
WRITTEN_S = 2.0
SIZE_MB = 5.0
PAINT_S = 1.0


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        site = Site(place, files=FILES)
        _make_run(site)
        file = place / "report.html"
        argv = (*ARCHITECT, "report", RUN_ID, "--format", "html", "--output", str(file))
        costs = [run_measured(argv, cwd=site.repository, env=site.env) for _ in range(REPEAT)]
        written_s = statistics.median(cost.wall_s for cost in costs)
        cpu_s = statistics.median(cost.cpu_s for cost in costs)
        size = file.stat().st_size / 1e6
        paints, note = _paints(file)
    name = f"HTML report, {WORKERS} workers, {WORKERS * CHANGED:,} changed files"
    return [
        Goal(name=f"{name}: written in", measured=written_s, limit=WRITTEN_S, unit="s", note=f"{cpu_s:.2f} s CPU"),
        Goal(name=f"{name}: size", measured=size, limit=SIZE_MB, unit="MB"),
        Goal(name=f"{name}: first paint", measured=paints, limit=PAINT_S, unit="s", note=note),
    ]


def _make_run(site: Site) -> None:
    repository = open_repository(site.repository)
    dice = random.Random(10)
    paths = sorted(path for path in site.repository.rglob("*.py"))
    specs, results = [], []
    events: list[tuple[str, int | None, Event]] = []
    for number in range(1, WORKERS + 1):
        branch = f"architect/parallel-{number}"
        site.git("checkout", "--quiet", "-b", branch, site.base_commit)
        for path in dice.sample(paths, CHANGED * 3 // 4):
            _edit(path, dice)
        for new in range(CHANGED // 4):
            shutil.copy(dice.choice(paths), site.repository / f"new_{number}_{new}.py")
        site.git("add", "--all")
        site.git("commit", "--quiet", "--message=work")
        head = site.git("rev-parse", "HEAD")
        spec = WorkerSpec(
            run_id=RUN_ID, worker_id=number, index=number - 1, number=number, name=f"worker-{number}",
            prompt="Change a hundred files.", backend="claude", model=f"model-{number}",
            agent=AgentProfile(name="build"), branch=branch,
            worktree_path=str(site.repository / f".architect-parallel-{number}"), base_commit=site.base_commit,
        )  # fmt: skip
        found = diff(repository.store, site.base_commit, head)
        result = WorkerResult(
            worker_id=number, branch=branch, model=f"model-{number}", status=Status.SUCCESS, steps=number,
            cost=number / 9, duration=float(number), files_modified=[file.path for file in found.files],
            task=spec.prompt, worktree_path=spec.worktree_path, backend="claude", reason=Reason.COMPLETED, diff=found,
            output="Done.\n" * 20, started_at=datetime.now(UTC),
        )  # fmt: skip
        specs.append(spec)
        results.append(result)
        happened: list[Event] = [
            WorkerStarting(attempt=1),
            AgentStarted(supervisor_pid=1, agent_pid=2, argv=("claude",)),
            *(StepTaken(steps=step) for step in range(100)),
            AgentExited(exit_code=0, leaked=0, peak_memory_bytes=None),
            Collected(diff=found),
            WorkerFinished(result=result),
        ]
        events += [(RUN_ID, number, event) for event in happened]
    site.git("checkout", "--quiet", "main")
    plan = RunPlan(
        run_id=RUN_ID, repository=str(repository.root), base_commit=site.base_commit, base_ref="main",
        workers=tuple(specs), max_parallel=WORKERS,
    )  # fmt: skip
    with Journal.open(repository.state_dir) as journal:
        finished = RunFinished(status=RunStatus.SUCCESS, exit_code=0)
        journal.append([(RUN_ID, None, RunStarted(plan=plan, launcher_pid=1)), *events, (RUN_ID, None, finished)])
        logs = journal.run_dir(RUN_ID) / "logs"
    logs.mkdir(parents=True)
    text = paths[0].read_text() + paths[1].read_text() + paths[2].read_text()
    for number in range(1, WORKERS + 1):
        (logs / f"worker-{number}.log").write_text((text * (LOG_BYTES // len(text) + 1))[:LOG_BYTES])


def _edit(path: Path, dice: random.Random) -> None:
    lines = path.read_text().splitlines(keepends=True)
    if dice.random() < 1 / 3:
        dice.shuffle(lines)
        lines = [line.swapcase() for line in lines]
    else:
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(lines) + 1)
            lines[at : at + dice.randint(0, 3)] = [f"changed {dice.random()}\n" for _ in range(dice.randint(0, 4))]
    path.write_text("".join([*lines, "# seen\n"]))


def _paints(file: Path) -> tuple[float, str]:
    """Median seconds to the first contentful paint, and what else is worth knowing."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        return float("inf"), "there is no chromium: apt-get install chromium"
    paints, ready = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for _ in range(REPEAT):
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-ready]")
            ready.append(page.evaluate("performance.now()") / 1000)
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000)
            page.close()
        browser.close()
    return statistics.median(paints), f"ready after {statistics.median(ready):.2f} s"
