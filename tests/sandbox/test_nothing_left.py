"""Whatever ends a contained run: no process, no mount and no temporary file of it is left."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.console import Architect
from support.mechanisms import needs_namespaces

pytestmark = needs_namespaces
TASK = "echo x > /tmp/file; (setsid sleep 1000 &) ; sleep 1000 & touch started; sleep 1000"


def eventually(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def scratches(checkout: Path) -> list[Path]:
    return list(checkout.glob(".git/architect/runs/*/scratch-*"))


def begun(architect: Architect, checkout: Path, *more: str) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """A run whose agents are at work, and every process of it."""
    launcher = architect.begin(
        "parallel", TASK, "--backend", "shell", "--workers", "2", "--sandbox", "write", "--grace", "1s", *more
    )
    eventually(lambda: len(list(checkout.glob(".architect-parallel-*/started"))) == 2, "the agents began")
    processes = psutil.Process(launcher.pid).children(recursive=True)
    assert len(processes) >= 2 * 6  # guard, supervisor, keeper, shell, three sleepers
    assert len(scratches(checkout)) == 2
    return launcher, processes


@pytest.mark.usefixtures("mount_table")
@pytest.mark.parametrize("victim", ["launcher", "guards", "supervisors", "keepers"])
def test_nothing_is_left_after_a_kill(architect: Architect, checkout: Path, victim: str) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    launcher, processes = begun(architect, checkout)
    guards = psutil.Process(launcher.pid).children()
    supervisors = [child for guard in guards for child in guard.children()]
    keepers = [child for supervisor in supervisors for child in supervisor.children()]
    of_launcher = [psutil.Process(launcher.pid)]
    for process in {"launcher": of_launcher, "guards": guards, "supervisors": supervisors, "keepers": keepers}[victim]:
        process.kill()
    if victim == "guards":  # that alone changes nothing: the supervisors go on
        launcher.send_signal(signal.SIGTERM)
    architect.finish(launcher)
    eventually(lambda: not any(map(_lives, processes)), "every process ended")
    eventually(lambda: scratches(checkout) == [], "the temporary directories are gone")
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_nothing_is_left_after_an_ordinary_end_or_a_stop(architect: Architect, checkout: Path) -> None:
    launcher, processes = begun(architect, checkout)
    launcher.send_signal(signal.SIGINT)
    assert architect.finish(launcher).code == 130
    eventually(lambda: not any(map(_lives, processes)), "every process ended")
    eventually(lambda: scratches(checkout) == [], "the temporary directories are gone")
    done = architect(
        "parallel",
        "echo x > /tmp/f; (sleep 1000 &)",
        "--backend",
        "shell",
        "--workers",
        "1",
        "--sandbox",
        "write",
        "--json",
    )
    assert done.json["results"][0]["leaked"] == 1
    eventually(lambda: scratches(checkout) == [], "the temporary directories are gone")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
