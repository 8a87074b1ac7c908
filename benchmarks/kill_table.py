"""The kill table: misbehaving process trees × ways to end them, and how many processes survived.

    python benchmarks/kill_table.py [--repeat 20] [--jobs 6] [KIND…]

For each kind of tree it prints the survivors after `stop`, after `kill`, and after the launcher was SIGKILLed, the
longest time a stop took beyond its grace, and, as the control, what a naive launcher leaves alive that signals the
process group. Exit code 1 if anything of ours survived, or if the control does not fail, since then the table proves
nothing.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.process_trees import (  # noqa: E402
    KINDS,
    agent_argv,
    exterminate,
    launch,
    start_launcher,
    survivors,
    until_gone,
    wait_for,
    wait_until_empty,
)

from architect_parallel.supervision.process import start_supervised  # noqa: E402

GRACE_S = 0.3
BOUND_S = 2.0
"""A stop ends within its grace and this."""
CONTROLS = 2


@dataclass
class Cell:
    """All runs of one kind ended in one way."""

    runs: int = 0
    survivors: int = 0
    failed_runs: int = 0
    longest_s: float = 0.0
    """Beyond the grace."""
    problems: list[str] = field(default_factory=list)

    def add(self, found: int, took_s: float) -> None:
        self.runs += 1
        self.survivors += found
        self.failed_runs += found > 0
        self.longest_s = max(self.longest_s, took_s)


def by_order(kind: str, token: str, lifeline: Path, order: str) -> tuple[int, float]:
    """Ends a supervised tree by `stop` or `kill`."""
    with start_supervised(launch(kind, token, lifeline, grace_s=GRACE_S)) as supervised:
        wait_for(supervised, b"ready")
        begun = time.monotonic()
        if order == "stop":
            supervised.stop()
        else:
            supervised.kill()
        until_gone(supervised)
        took_s = time.monotonic() - begun - (GRACE_S if order == "stop" else 0.0)
    return survivors(token, lifeline), took_s


def by_stop(kind: str, token: str, lifeline: Path) -> tuple[int, float]:
    return by_order(kind, token, lifeline, "stop")


def by_kill(kind: str, token: str, lifeline: Path) -> tuple[int, float]:
    return by_order(kind, token, lifeline, "kill")


def by_launcher_death(kind: str, token: str, lifeline: Path) -> tuple[int, float]:
    """Kills the launcher and waits as long as a stop may take."""
    launcher = start_launcher(kind, token, lifeline, grace_s=GRACE_S)
    launcher.kill()
    launcher.wait()
    begun = time.monotonic()
    found = wait_until_empty(token, lifeline, GRACE_S + BOUND_S)
    return found, time.monotonic() - begun - GRACE_S


def by_killpg(kind: str, token: str, lifeline: Path) -> tuple[int, float]:
    """The control: what starting in a new session and killing the process group leaves."""
    # A shell between stands for the supervisor, which some of the agents attack.
    argv = ("sh", "-c", '"$@"; :', "sh", *agent_argv(kind, token, lifeline))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        begun = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(agent.pid, number)
            except ProcessLookupError:
                break
            time.sleep(GRACE_S)
        found = survivors(token, lifeline)
        took_s = time.monotonic() - begun
    return found, took_s


WAYS: dict[str, Callable[[str, str, Path], tuple[int, float]]] = {
    "stop": by_stop,
    "kill": by_kill,
    "launcher killed": by_launcher_death,
    "control: killpg": by_killpg,
}


def run_one(kind: str, way: str, directory: Path, cell: Cell) -> None:
    token = f"kill-table-{secrets.token_hex(8)}"
    lifeline = directory / token
    try:
        cell.add(*WAYS[way](kind, token, lifeline))
    except Exception as error:  # a row of the table must not end the table
        cell.problems.append(f"{kind}, {way}: {error!r}")
    finally:
        exterminate(token, lifeline)


def main() -> int:
    arguments = argparse.ArgumentParser(description="Survivors of misbehaving process trees")
    arguments.add_argument("kinds", nargs="*", choices=[[], *KINDS], metavar="KIND")
    arguments.add_argument("--repeat", type=int, default=20)
    arguments.add_argument("--jobs", type=int, default=6)
    options = arguments.parse_args()
    kinds = options.kinds or list(KINDS)
    cells = {(kind, way): Cell() for kind in kinds for way in WAYS}
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.jobs) as pool:
        for kind, way in cells:
            for _ in range(CONTROLS if way.startswith("control") else options.repeat):
                pool.submit(run_one, kind, way, Path(name), cells[kind, way])
    print(
        f"{'survivors (runs with any) of':30}" + "".join(f"{way:>22}" for way in WAYS) + f"{'longest over grace':>20}"
    )
    for kind in kinds:
        row = [cells[kind, way] for way in WAYS]
        longest_s = max(cell.longest_s for cell in row[:-1])
        counts = "".join(f"{cell.survivors:>8} ({cell.failed_runs}/{cell.runs})".rjust(22) for cell in row)
        print(f"{kind:30}{counts}{longest_s:>18.2f} s")
    ours = [cell for (_, way), cell in cells.items() if not way.startswith("control")]
    control = sum(cell.survivors for (_, way), cell in cells.items() if way.startswith("control"))
    problems = [problem for cell in cells.values() for problem in cell.problems]
    late = [cell for cell in ours if cell.longest_s > BOUND_S]
    runs, left = sum(cell.runs for cell in ours), sum(cell.survivors for cell in ours)
    print(f"{left} survivors in {runs} runs; the control left {control}", *problems, sep="\n")
    return 1 if left or late or problems or not control else 0


if __name__ == "__main__":
    sys.exit(main())
