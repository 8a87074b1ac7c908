"""Every timing and memory goal, measured in one run: `make bench`, or `python -m benchmarks [NAME…]`.

Exit code 1 when a goal is missed. `docs/benchmarks.md` says how each is measured.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Goal

MEASURED = (
    "startup", "fan_out", "scheduling", "footprint", "reading", "rate_limits", "tripwire", "conflicts", "html_report",
    "graph", "worker_repository", "large_results", "process_table", "sandbox",
    "past_runs", "copying", "growth",
)  # fmt: skip
"""Modules with `measure() -> list[Goal]`."""
PROVEN = {
    "worktree_stress": "1,000 worktrees by two launchers at once: failures",
    "budget": "100 runs under a budget: overshoot beyond one reply per worker",
    "kill_table": "misbehaving process trees: survivors",
}
"""Programs with a table of their own, whose exit code says whether they hold."""
INFORMATIVE = ("collect",)
"""Programs that only report; run by name."""
NAMES = (*MEASURED, *PROVEN, *INFORMATIVE)


def show(goals: Sequence[Goal]) -> int:
    """Prints the table; 1 when a goal is missed, else 0."""
    width = max(len(goal.name) for goal in goals)
    print(f"{'GOAL':{width}}  {'MEASURED':>10}  {'LIMIT':>10}  ")
    for goal in goals:
        word = "ok" if goal.met else "MISSED"
        measured, limit = (f"{value:.3g} {goal.unit}" for value in (goal.measured, goal.limit))
        print(f"{goal.name:{width}}  {measured:>10}  {limit:>10}  {word:6}  {goal.note}".rstrip())
    return 0 if all(goal.met for goal in goals) else 1


def machine() -> str:
    """What the figures were taken on, and how busy it was with other things."""
    git = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout.strip()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {git}, load {load}"


def run_program(name: str) -> list[Goal]:
    """Runs a benchmark that is a program of its own; its output stands where it was printed."""
    code = subprocess.run([sys.executable, Path(__file__).with_name(f"{name}.py")], check=False).returncode
    return [Goal(name=PROVEN.get(name, name), measured=code, limit=0, unit="", note="exit code; its table is above")]


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description="Every timing and memory goal")
    arguments.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)} [all that have a goal]")
    names = arguments.parse_args().names or (*MEASURED, *PROVEN)
    if unknown := [name for name in names if name not in NAMES]:
        arguments.error(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    print(machine(), flush=True)
    goals: list[Goal] = []
    for name in names:
        begun = time.monotonic()
        module = f"benchmarks.{name}"
        goals += importlib.import_module(module).measure() if name in MEASURED else run_program(name)
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return show(goals)


if __name__ == "__main__":
    sys.exit(main())
