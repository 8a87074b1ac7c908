"""What collecting costs: wall time, CPU and git processes per worker on a repository of 6,500 files.

Each worktree is checked out, its agent changes one file and adds one right away (within the second of the checkout,
which is the dear case), and it is collected. Prints one line per figure; the comparison is a plain `git add -A`
followed by `git commit` in an equal worktree.
"""

from __future__ import annotations

import contextlib
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect_parallel.domain import AgentProfile, WorkerSpec
from architect_parallel.snapshots.collect import collect
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.git import Git, GitOutput, Repository, open_repository

FILES = 6500
ROUNDS = 9


def build(root: Path) -> Repository:
    """A repository with the shape of a mid-sized project: 130 directories of 50 files, 1 to 16 KiB each."""
    dice = random.Random(1)
    for number in range(FILES):
        file = root / f"package{number % 13}" / f"module{number % 130}" / f"file{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"x{dice.random()} = {line}\n" for line in range(dice.randint(40, 600))))
    run(root, "init", "-q")
    run(root, "add", "-A")
    run(root, "-c", "user.name=b", "-c", "user.email=b@example.invalid", "commit", "-qm", "all")
    return open_repository(root)


def run(directory: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


def fresh_worktree(repository: Repository, number: int) -> WorkerSpec:
    path = repository.root.parent / f"worktree-{number}"
    branch = f"architect/parallel-{number}"
    run(repository.root, "worktree", "add", "-q", "-b", branch, str(path))
    return WorkerSpec(
        run_id="bench", worker_id=number, index=number, number=number, name="bench", prompt="bench", backend="shell",
        model=None, agent=AgentProfile(name="build"), branch=branch, worktree_path=str(path),
        base_commit=run(path, "rev-parse", "HEAD"),
    )  # fmt: skip


def work(spec: WorkerSpec) -> None:
    path = Path(spec.worktree_path)
    (path / "package0" / "module0" / "file0.py").write_text("changed\n")
    (path / "new.py").write_text("new\n")


def cpu_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass(slots=True)
class Figures:
    """What one act cost."""

    wall_ms: float = 0.0
    cpu_ms: float = 0.0


@contextlib.contextmanager
def measured() -> Iterator[Figures]:
    """The figures of what is done within; filled in at its end."""
    figures, wall, cpu = Figures(), time.perf_counter(), cpu_s()
    yield figures
    figures.wall_ms, figures.cpu_ms = (time.perf_counter() - wall) * 1000, (cpu_s() - cpu) * 1000


class Count:
    """Counts git processes: stands before `Git.run` as long as it is used as a context."""

    def __init__(self) -> None:
        self.processes = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        run_git = Git.run

        def counted(git: Git, *args: Any, **kwargs: Any) -> GitOutput:
            self.processes += 1
            return run_git(git, *args, **kwargs)

        with unittest.mock.patch.object(Git, "run", counted):
            yield


def one_round(repository: Repository, directory: Path, number: int) -> tuple[Figures, Figures, Figures, int]:
    spec = fresh_worktree(repository, 2 * number)
    with measured() as create:
        private = PrivateGit.create(repository, directory / "private" / str(number), Path(spec.worktree_path))
    work(spec)
    count = Count()
    with count(), measured() as collecting:
        collect(repository, private, spec)
    other = fresh_worktree(repository, 2 * number + 1)
    work(other)
    where = Path(other.worktree_path)
    with measured() as plain:
        run(where, "add", "-A")
        run(where, "-c", "user.name=b", "-c", "user.email=b@example.invalid", "commit", "-qm", "plain")
    return create, collecting, plain, count.processes


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        repository = build(Path(directory) / "repository")
        rounds = [one_round(repository, Path(directory), number) for number in range(1, ROUNDS + 1)]
    created, collected, plain, processes = zip(*rounds, strict=True)
    for name, figures in (("create", created), ("collect", collected), ("plain add and commit", plain)):
        wall = statistics.median(each.wall_ms for each in figures)
        cpu = statistics.median(each.cpu_ms for each in figures)
        print(f"{name}: {wall:.0f} ms wall, {cpu:.0f} ms CPU (median of {ROUNDS})")
    print(f"git processes per collect: {statistics.median(processes):.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
