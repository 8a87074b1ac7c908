"""What the launcher and the supervisors take while agents do nothing, and what one agent's flood does to the launcher.

Fifty idle workers are measured twice: with the shell backend, and with agents that report tokens of a model with a
known price, so that the price table is in memory. CPU is the launcher's own over a quiet stretch, the sampler's looks
at the process table included; memory is PSS of the launcher and USS of the supervisors.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import (
    MIB,
    WORKERS_AT_ONCE,
    Goal,
    Site,
    folder,
    own_bytes,
    peak_bytes,
    process_bytes,
    process_cpu_s,
    wait_until,
)

QUIET_S = 20.0
SETTLE_S = 3.0
FLOOD_BYTES = 10**9
CPU_PERCENT_PER_WORKER = 0.5
BASE_MIB = 60.0
MIB_PER_WORKER = 1.0
SUPERVISOR_MIB = 6.0
FLOOD_MIB = 100.0

PRICED_AGENT = """#!/bin/sh
printf '%s\\n' '{system}' '{reply}'
touch "{stamps}/$$"
exec sleep 600
"""
"""Speaks as `claude --output-format stream-json` does, once, and then thinks for long."""


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        site = Site(place, files=20)
        stamps = site.folder / "stamps"
        stamps.mkdir()
        shell = site.parallel(f'touch "{stamps}/$$"; exec sleep 600', WORKERS_AT_ONCE, "--grace", "1s")
        goals = idle(site, stamps, shell, "shell")
        goals += idle(site, stamps, priced(site, stamps), "priced")
        return [*goals, flood(site)]


def priced(site: Site, stamps: Path) -> tuple[str, ...]:
    """The command line with the claude backend, whose program is a stand-in that reports tokens."""
    session = {"session_id": "00000000-0000-4000-8000-000000000000"}
    usage = {"input_tokens": 1000, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 200, "output_tokens": 9}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
               "content": [{"type": "text", "text": "thinking"}], "usage": usage}  # fmt: skip
    system = {"type": "system", "subtype": "init", "model": "claude-sonnet-4-5", **session}
    reply = {"type": "assistant", "message": message, **session}
    program = site.folder / "priced-agent"
    program.write_text(PRICED_AGENT.format(system=json.dumps(system), reply=json.dumps(reply), stamps=stamps))
    program.chmod(0o755)
    site.configure(f"backends: {{claude: {{command: ['{program}']}}}}\n")
    site.env["ANTHROPIC_API_KEY"] = "none"
    argv = list(site.parallel("think", WORKERS_AT_ONCE, "--grace", "1s"))
    argv[argv.index("shell")] = "claude"
    return tuple(argv)


@contextmanager
def running(site: Site, argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A launcher in the background; stopped politely at the end, and waited for."""
    site.clear()
    with subprocess.Popen(argv, cwd=site.repository, env=site.env, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(timeout=120)


def idle(site: Site, stamps: Path, argv: Sequence[str], kind: str) -> list[Goal]:
    """CPU and memory of a launcher whose workers all sleep."""
    for stamp in stamps.iterdir():
        stamp.unlink()
    with running(site, argv) as launcher:
        wait_until(lambda: len(list(stamps.iterdir())) == WORKERS_AT_ONCE, f"{WORKERS_AT_ONCE} {kind} agents")
        time.sleep(SETTLE_S)
        cpu_s, begun = process_cpu_s(launcher.pid), time.monotonic()
        time.sleep(QUIET_S)
        cpu_percent = 100 * (process_cpu_s(launcher.pid) - cpu_s) / (time.monotonic() - begun)
        launcher_mib = process_bytes(launcher.pid, "Pss") / MIB
        pids = supervising(launcher.pid)
        own_mib = [own_bytes(pid) / MIB for pid in pids]
        shared_mib = sum(process_bytes(pid, "Pss") for pid in pids) / MIB / WORKERS_AT_ONCE
    return [
        Goal(
            name=f"{WORKERS_AT_ONCE} idle workers ({kind}): launcher CPU per worker",
            measured=cpu_percent / WORKERS_AT_ONCE,
            limit=CPU_PERCENT_PER_WORKER,
            unit="%",
            note=f"{cpu_percent:.1f} % of a core in all",
        ),
        Goal(
            name=f"{WORKERS_AT_ONCE} idle workers ({kind}): launcher memory",
            measured=launcher_mib,
            limit=BASE_MIB + WORKERS_AT_ONCE * MIB_PER_WORKER,
            unit="MiB",
        ),
        Goal(
            name=f"{WORKERS_AT_ONCE} idle workers ({kind}): largest supervisor",
            measured=max(own_mib),
            limit=SUPERVISOR_MIB,
            unit="MiB",
            note=f"{len(pids)} processes, median {statistics.median(own_mib):.1f} MiB; "
            f"{shared_mib:.1f} MiB a worker with its share of shared pages",
        ),
    ]


def supervising(launcher: int) -> list[int]:
    """The launcher's children and theirs that run the supervisor: a guard and a supervisor per worker."""
    found = []
    for child in children(launcher):
        found += [pid for pid in (child, *children(child)) if b"supervisor.py" in command_line(pid)]
    if len(found) < WORKERS_AT_ONCE:
        raise RuntimeError(f"only {len(found)} supervisor processes for {WORKERS_AT_ONCE} workers")
    return found


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def flood(site: Site) -> Goal:
    """The launcher's highest resident memory while one agent prints 1 GB without a newline."""
    peak = 0
    with running(site, site.parallel(f"head -c {FLOOD_BYTES} /dev/zero | tr '\\0' x", 1)) as launcher:
        begun = time.monotonic()
        while launcher.poll() is None:
            peak = max(peak, peak_bytes(launcher.pid) or 0)
            time.sleep(0.02)
        took_s = time.monotonic() - begun
    if launcher.returncode != 0:
        raise RuntimeError(f"the run with the flood ended with {launcher.returncode}")
    return Goal(
        name="one agent prints 1 GB in one line: launcher peak",
        measured=peak / MIB,
        limit=FLOOD_MIB,
        unit="MiB",
        note=f"read in {took_s:.1f} s",
    )


if __name__ == "__main__":
    from benchmarks.__main__ import show

    sys.exit(show(measure()))
