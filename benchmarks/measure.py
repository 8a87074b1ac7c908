"""What the benchmarks share: goals, measured commands, figures of processes, and the repositories they work on.

Every goal is a ratio or a bound taken within one run of the benchmark, on medians of repetitions that alternate with
their baseline (A B A B): a machine that is slow, or busy with something else, is so for both.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("architect")
ARCHITECT = (str(SCRIPT),) if SCRIPT.exists() else (sys.executable, "-m", "architect_parallel")
"""The program as a user starts it."""
WORKERS_AT_ONCE = 50
CEILING = 10
"""The most workers without a configuration that says otherwise."""
MIB = 2**20
ROOM_BYTES = 4 * 2**30
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One row of the table."""

    name: str
    measured: float
    limit: float
    unit: str = "x"
    note: str = ""
    """What the figure was made from."""

    @property
    def met(self) -> bool:
        return self.measured <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a command and everything it waited for took."""

    wall_s: float
    cpu_s: float
    """User and system time."""


def run_measured(
    argv: Sequence[str], *, cwd: Path, env: dict[str, str], ok: Iterable[int] = (0,), output: Path | None = None
) -> Cost:
    """Runs a command to its end.

    Args:
        output: Where stdout goes; `None`: nowhere.

    Raises:
        RuntimeError: Its exit code is not one of `ok`.
    """
    begun = time.monotonic()
    with open(output or os.devnull, "wb") as stdout:
        process = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout)
        _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in ok:
        raise RuntimeError(f"{' '.join(argv)[:200]} ended with {process.returncode}")
    return Cost(wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime)


def alternate(repeat: int, *ways: Callable[[], Cost]) -> list[list[Cost]]:
    """Runs the ways in turn, `repeat` times each; one list of costs per way."""
    costs: list[list[Cost]] = [[] for _ in ways]
    for _ in range(repeat):
        for found, way in zip(costs, ways, strict=True):
            found.append(way())
    return costs


def median_ratio(ours: Sequence[Cost], theirs: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    """Median of the pairs' ratios: each run is compared with its neighbour in time."""
    return statistics.median(of(one) / of(other) for one, other in zip(ours, theirs, strict=True))


def median_of(costs: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    """Median of one figure."""
    return statistics.median(of(cost) for cost in costs)


def wall(cost: Cost) -> float:
    return cost.wall_s


def cpu(cost: Cost) -> float:
    return cost.cpu_s


def process_cpu_s(pid: int) -> float:
    """CPU time a living process used so far, its children's not included."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def process_bytes(pid: int, *kinds: str) -> int:
    """Memory of a living process by the kinds of `smaps_rollup`, summed: `Pss`, or `Private_Clean`, `Private_Dirty`
    (together the USS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.partition(":")[0] in kinds)


def own_bytes(pid: int) -> int:
    """USS: what would be free if this process ended."""
    return process_bytes(pid, "Private_Clean", "Private_Dirty")


def peak_bytes(pid: int) -> int | None:
    """Highest resident memory so far; `None`: it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
    """Waits for a fact.

    Raises:
        RuntimeError: It did not come about in time.
    """
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.02)


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder, in memory where there is room: the goals are about processor time and order, and a disk that
    is busy, or that discards blocks at each deletion, would drown them. `TMPDIR` names another place."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free >= ROOM_BYTES
    place = memory if roomy and "TMPDIR" not in os.environ else None
    with tempfile.TemporaryDirectory(prefix="architect-bench-", dir=place) as name:
        yield Path(name)


class Site:
    """A home folder, a configuration and a repository, all below one temporary folder."""

    def __init__(self, folder: Path, *, files: int) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        home = folder / "home"
        home.mkdir()
        (home / ".gitconfig").write_text("[user]\n\tname = Bench\n\temail = bench@localhost\n[gc]\n\tauto = 0\n")
        self.config = folder / "config.yaml"
        self._configured = False
        self._write_configuration("")
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "CI": "1", "TMPDIR": str(folder),
        }  # fmt: skip
        make_files(self.repository, files)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=files")
        self.git("repack", "-adq")
        self.base_commit = self.git("rev-parse", "HEAD")

    def configure(self, more: str) -> None:
        """Writes the configuration: the raised ceiling, and `more` in YAML; every run reads it from now on."""
        self._configured = True
        self._write_configuration(more)

    def _write_configuration(self, more: str) -> None:
        self.config.write_text(f"parallel_runs: {{workers_ceiling: {WORKERS_AT_ONCE}}}\n{more}")

    def git(self, *args: str) -> str:
        """Runs git in the repository and returns what it printed."""
        done = subprocess.run(["git", *args], cwd=self.repository, env=self.env, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def parallel(self, task: str, workers: int, *more: str, at_once: int | None = None) -> tuple[str, ...]:
        """The command line of a run with the shell backend; a configuration is named only where one is needed."""
        count = ("--workers", str(workers), "--max-parallel", str(at_once or workers))
        config = ("-c", str(self.config)) if self._configured or workers > CEILING else ()
        return (*ARCHITECT, "parallel", task, "--backend", "shell", *count, *config, "--quiet", *more)

    def clear(self) -> None:
        """Removes what runs and baselines left, so that each begins with the same repository."""
        for path in (*self.repository.glob(".architect-parallel-*"), *self.folder.glob("naive-*")):
            shutil.rmtree(path)
        self.git("worktree", "prune")
        for ref in self.git("for-each-ref", "--format=%(refname)", "refs").splitlines():
            if ref != "refs/heads/main":
                self.git("update-ref", "-d", ref)
        shutil.rmtree(self.repository / ".git" / "architect", ignore_errors=True)
        self.git("prune", "--expire=now")


MEDIAN_BYTES = 2048
SIGMA = 1.6
LARGEST_FILE_BYTES = 256 * 1024


def make_files(folder: Path, count: int) -> None:
    """Writes `count` text files in a tree of packages, the same ones each time. Their sizes are log-normal, as those of
    source files are: half of them below 2 KiB, about 7 KiB on average."""
    dice = random.Random(6500)
    words = [f"{dice.choice('bcdfghklmnprst')}{dice.choice('aeiou')}{dice.randrange(9999)}" for _ in range(3000)]
    for number in range(count):
        path = folder / f"package_{number % 40}" / f"part_{number % 7}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = min(int(dice.lognormvariate(math.log(MEDIAN_BYTES), SIGMA)), LARGEST_FILE_BYTES)
        lines = []
        while size > 0:
            lines.append(" ".join(dice.choices(words, k=9)) + "\n")
            size -= len(lines[-1])
        path.write_text("".join(lines) or "\n")
