"""The conflict matrix: processor time per pair of ten workers on a repository of 6,500 files."""

from __future__ import annotations

import random
import resource
import statistics
import time
from pathlib import Path

from architect_parallel.domain import Diff, FileChange, RunResult, RunStatus, Status, WorkerResult
from architect_parallel.landing.compare import compare
from architect_parallel.system.clock import now
from architect_parallel.system.git import Repository, open_repository
from benchmarks.measure import Goal, Site, folder

FILES = 6500
WORKERS = 10
CHANGED = 100
"""Files that each worker changed: a thousand in all."""
SHARED = 2
"""Of them, files that others may have changed as well, in the same lines."""
ROUNDS = 7
LIMIT_MS = 12.0


def measure() -> list[Goal]:
    """The goal of `architect compare`, everything counted: all pairs, the branch, and the proof of the proposal."""
    with folder() as place:
        site = Site(place, files=FILES)
        repository = open_repository(site.repository)
        result = made_run(site, repository)
        rounds = [one_round(repository, result) for _ in range(ROUNDS)]
    per_pair = statistics.median(each[0] for each in rounds)
    pairs, clean, proposed, wall_ms = rounds[0][1:]
    note = f"{pairs} pairs, {clean} of them clean, {proposed} workers proposed, {wall_ms:.0f} ms wall in all"
    return [Goal(name="conflict matrix, CPU per pair", measured=per_pair, limit=LIMIT_MS, unit="ms", note=note)]


def one_round(repository: Repository, result: RunResult) -> tuple[float, int, int, int, float]:
    """CPU in ms per pair, and what came of it."""
    begun_cpu, begun = cpu_s(), time.perf_counter()
    comparison = compare(repository, result)
    wall_ms, used = (time.perf_counter() - begun) * 1000, cpu_s() - begun_cpu
    pairs = len(comparison.conflicts)
    clean = sum(1 for pair in comparison.conflicts if pair.clean)
    return used * 1000 / pairs, pairs, clean, len(comparison.proposed), wall_ms


def cpu_s() -> float:
    """User and system time of this process and of all children it waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def made_run(site: Site, repository: Repository) -> RunResult:
    """Ten results on branches of their own, committed by plain git; main has gone on since."""
    dice = random.Random(10)
    files = sorted(path.relative_to(site.repository) for path in site.repository.rglob("*.py"))
    dice.shuffle(files)
    common, own = files[: SHARED * 20], files[SHARED * 20 :]
    results = []
    for number in range(1, WORKERS + 1):
        branch = f"architect/parallel-{number}"
        site.git("checkout", "--quiet", "-b", branch, "main")
        part = own[number * CHANGED : number * CHANGED + CHANGED - SHARED]
        changed = [*dice.sample(common, SHARED), *part]
        for path in changed:
            change(site.repository / path, number)
        site.git("commit", "--quiet", "--all", f"--message=worker {number}")
        head = site.git("rev-parse", "HEAD")
        found = tuple(FileChange(path=str(path), status="M") for path in sorted(changed))
        results.append(
            WorkerResult(
                worker_id=number,
                branch=branch,
                model="default",
                status=Status.SUCCESS,
                steps=1,
                cost=None,
                duration=1.0,
                files_modified=[each.path for each in found],
                worktree_path="",
                diff=Diff(base=site.base_commit, head=head, files=found),
            )
        )
    site.git("checkout", "--quiet", "main")
    for path in own[-CHANGED:]:
        change(site.repository / path, 0)
    site.git("commit", "--quiet", "--all", "--message=main goes on")
    return RunResult(
        run_id="bench", status=RunStatus.SUCCESS, exit_code=0, base_commit=site.base_commit, base_ref="main",
        started_at=now(), finished_at=now(), total_duration_seconds=1.0, max_parallel=WORKERS, results=results,
    )  # fmt: skip


def change(file: Path, number: int) -> None:
    """One line somewhere in the file becomes the worker's."""
    lines = file.read_text().splitlines()
    lines[len(lines) // 2] = f"worker {number} was here"
    file.write_text("\n".join(lines) + "\n")
