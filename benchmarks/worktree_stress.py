"""1,000 worktrees, made by two launcher processes at once in one repository: how many fail?

`python benchmarks/worktree_stress.py [--worktrees N] [--naive]` prints one line and exits 1 on any failure. Each
launcher makes its half with four threads, reserving numbers as a run does, on branches of a remote-tracking base.
`--naive` is the control: plain `git worktree add -b` side by side, as tools without a lock do it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from support.repositories import git, make_repository  # noqa: E402  (the path above first)

from architect_parallel.errors import ArchitectParallelError  # noqa: E402
from architect_parallel.system.git import open_repository  # noqa: E402
from architect_parallel.worktrees.create import add_worktree, owns_branch, require_base  # noqa: E402
from architect_parallel.worktrees.remove import delete_branch, remove_worktree  # noqa: E402

LAUNCHERS = 2
THREADS = 4
BATCH = 100
"""Worktrees that exist at the same time, per launcher: afterwards they go, so that the disk does not fill."""


def launch(place: Path, launcher: int, count: int, naive: bool) -> int:
    """One launcher's part; returns how many worktrees it could not make, check or remove."""
    repository = open_repository(place)
    base = require_base(repository, "origin/main")
    run_id = f"stress-{launcher}"
    failures: list[str] = []

    def make(number: int) -> None:
        path, branch = place / f".architect-parallel-{number}", f"architect/parallel-{number}"
        try:
            if naive:
                git(place, "worktree", "add", "-q", "-b", branch, path, "origin/main")
            else:
                add_worktree(repository, path=path, branch=branch, base_commit=base, run_id=run_id)
            if git(path, "status", "--porcelain") or not (naive or owns_branch(repository, branch, run_id)):
                failures.append(f"{number}: not as it should be")
        except (ArchitectParallelError, AssertionError) as error:
            failures.append(f"{number}: {error}")

    def clear(number: int) -> None:
        path, branch = place / f".architect-parallel-{number}", f"architect/parallel-{number}"
        try:
            remove_worktree(repository, path=path, branch=branch, run_id=run_id)
            if reason := delete_branch(repository, branch, base):
                failures.append(f"{number}: {reason}")
        except ArchitectParallelError as error:
            failures.append(f"{number}: {error}")

    numbers = list(range(launcher + 1, LAUNCHERS * count + 1, LAUNCHERS))
    for start in range(0, count, BATCH):
        batch = numbers[start : start + BATCH]
        in_threads(make, batch)
        if not naive:
            in_threads(clear, batch)
    for failure in failures[:3]:
        print(failure[:300], file=sys.stderr)
    return len(failures)


def in_threads(work: object, numbers: list[int]) -> None:
    """Calls `work(number)` for all numbers in `THREADS` threads."""
    assert callable(work)

    def some(part: list[int]) -> None:
        for number in part:
            work(number)

    threads = [threading.Thread(target=some, args=(numbers[first::THREADS],)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worktrees", type=int, default=1000)
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("--launcher", nargs=2, metavar=("PLACE", "INDEX"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    count = options.worktrees // LAUNCHERS
    if options.launcher:
        print(launch(Path(options.launcher[0]), int(options.launcher[1]), count, options.naive))
        return 0
    with tempfile.TemporaryDirectory(prefix="worktree-stress-") as directory:
        origin = make_repository(Path(directory) / "origin", {f"d{n % 7}/f{n}": f"{n}\n" for n in range(50)})
        place = Path(directory) / "clone"
        git(Path(directory), "clone", "-q", origin, place)
        started = time.monotonic()
        words = [sys.executable, __file__, f"--worktrees={options.worktrees}", *(["--naive"] if options.naive else [])]
        launchers = [
            subprocess.Popen([*words, "--launcher", str(place), str(index)], stdout=subprocess.PIPE, text=True)
            for index in range(LAUNCHERS)
        ]
        failures = sum(int(launcher.communicate()[0] or count) for launcher in launchers)
        seconds = time.monotonic() - started
        entries = sorted(path.name for path in place.iterdir() if path.name.startswith(".architect"))
        remaining = 0 if options.naive else len(entries) + len(list(place.glob(".git/worktrees/*")))
    kind = "naive git worktree add" if options.naive else "worktrees made and removed"
    print(
        f"worktree stress: {LAUNCHERS * count} {kind} by {LAUNCHERS} launchers at once: "
        f"{failures} failures, {remaining} left behind, {seconds:.1f} s"
    )
    return 1 if failures or remaining else 0


if __name__ == "__main__":
    sys.exit(main())
