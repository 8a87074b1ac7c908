"""Eight workers and a server that serves two at a time and refuses the others: nobody fails, and little time is lost.

Ideal is two at a time without a gap: four rounds of one job. The same run with the server serving all eight, and the
launcher told to run two at a time, is what anybody can have who knows the server's limit: worktrees, start of the
agents and collecting are in it. The ratio of the medians of neighbouring runs is the figure. That no worker failed is
a goal of its own.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Goal, Site, folder, run_measured

WORKERS = 8
SERVED = 2
JOB_S = 2.0
REPEAT = 3
LIMIT = 3.0
AGENT = """
import fcntl, json, os, pathlib, sys, time
place, slots, job_s = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
for slot in range(slots):
    held = open(place / f"slot-{slot}", "w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        continue
    time.sleep(job_s)
    print(json.dumps({"status": "success", "steps": 1, "cost": 0.0}))
    sys.exit(0)
print(json.dumps({"status": "failed", "reason": "rate_limited", "error": "HTTP 429"}))
sys.exit(1)
"""


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        site = Site(place, files=50)
        ratios, failed, attempts, walls = [], 0, [], []
        for _ in range(REPEAT):
            known, _, _ = _run(site, slots=WORKERS, at_once=SERVED)
            refused, bad, tried = _run(site, slots=SERVED, at_once=WORKERS)
            ratios.append(refused / known)
            failed += bad
            attempts.append(tried)
            walls.append(refused)
    ideal_s = JOB_S * WORKERS / SERVED
    return [
        Goal(
            name=f"{WORKERS} workers, a server for {SERVED}: time against knowing it",
            measured=statistics.median(ratios),
            limit=LIMIT,
            note=f"{statistics.median(walls):.1f} s, {statistics.median(attempts):.0f} attempts",
        ),
        Goal(
            name=f"{WORKERS} workers, a server for {SERVED}: time against the ideal {ideal_s:g} s",
            measured=statistics.median(walls) / ideal_s,
            limit=LIMIT,
            note=f"{JOB_S:g} s a job",
        ),
        Goal(name="workers that failed for a refusal", measured=failed, limit=0, unit=""),
    ]


def _run(site: Site, *, slots: int, at_once: int) -> tuple[float, int, int]:
    """Wall seconds, workers that did not succeed, and attempts of one run."""
    with tempfile.TemporaryDirectory(dir=site.folder) as name:
        script, answer = Path(name) / "agent.py", Path(name) / "answer.json"
        script.write_text(AGENT)
        command = [sys.executable, "-S", "-E", str(script), name, str(slots), str(JOB_S)]
        site.configure(json.dumps({"backends": {"architect": {"command": command}}})[1:-1])
        argv = (*site.parallel("do", WORKERS, "--json", at_once=at_once),)
        words = ["architect" if word == "shell" else word for word in argv]
        begun = time.monotonic()
        run_measured(words, cwd=site.repository, env=site.env, ok=(0, 1), output=answer)
        wall_s = time.monotonic() - begun
        results = json.loads(answer.read_text())["results"]
        site.clear()
    failed = sum(result["status"] != "success" for result in results)
    return wall_s, failed, sum(result["attempts"] for result in results)
