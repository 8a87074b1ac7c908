"""Whatever ends a contained run: no process, no mount and no temporary file of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest
from support.console import Architect
from support.mechanisms import needs_bwrap, needs_namespaces

from architect_parallel.containment.probe import WITHOUT
from architect_parallel.supervision.cgroups import _candidates

pytestmark = needs_namespaces
ROUNDS = int(os.environ.get("KILL_ROUNDS", "1"))
"""Rounds of each end at each network; `make kill-rounds` has 20."""
WAITING = (
    "echo x > /tmp/file; (setsid sleep 1000 &) ; touch started; until test -e go; do sleep 0.1; done; pkill sleep; true"
)
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
@pytest.mark.parametrize("victim", ["guards", "keepers"])
def test_nothing_is_left_after_a_kill(architect: Architect, checkout: Path, victim: str) -> None:
    before = mounts(checkout)
    launcher, processes = begun(architect, checkout)
    guards = psutil.Process(launcher.pid).children()
    supervisors = [child for guard in guards for child in guard.children()]
    keepers = [child for supervisor in supervisors for child in supervisor.children()]
    for process in {"guards": guards, "keepers": keepers}[victim]:
        process.kill()
    if victim == "guards":  # that alone changes nothing: the supervisors go on
        launcher.send_signal(signal.SIGTERM)
    architect.finish(launcher)
    eventually(lambda: not any(map(_lives, processes)), "every process ended")
    eventually(lambda: scratches(checkout) == [], "the temporary directories are gone")
    assert mounts(checkout) == before


ENDS = ("launcher", "supervisor", "end", "timeout", "interrupt")


@pytest.mark.timeout(240 * ROUNDS)
@pytest.mark.usefixtures("mount_table")
@pytest.mark.parametrize(
    ("end", "mechanism"),
    [
        *(pytest.param(end, "namespaces", id=end) for end in ENDS),
        *(pytest.param(end, "bwrap", id=f"{end}-bwrap", marks=needs_bwrap) for end in ENDS[: 5 if ROUNDS > 1 else 2]),
    ],
)
def test_nothing_is_left_after_rounds_of_ends(
    end: str, mechanism: str, architect: Architect, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process, namespace, mount, control group or temporary file, and the tree of the agent is gone with it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv(WITHOUT, "" if mechanism == "namespaces" else "namespaces")
    for network in ("open", "hosts") * ROUNDS:
        one_round(architect, checkout, end, network)
        assert list((tmp_path / "tmp").iterdir()) == []


def one_round(architect: Architect, checkout: Path, end: str, network: str) -> None:
    before, files = mounts(checkout), left_in(checkout)
    limit = ("--timeout-per-worker", "3s") if end == "timeout" else ()
    words = ("--backend", "shell", "--workers", "1", "--sandbox", "write", "--network", network, "--grace", "1s")
    launcher = architect.begin("parallel", WAITING, *words, *limit)
    eventually(lambda: bool(list(checkout.glob(".architect-parallel-*/started"))), "the agent began")
    processes = psutil.Process(launcher.pid).children(recursive=True)
    own = namespaces(processes) - namespaces([psutil.Process()])
    assert len(own) >= (3 if network == "open" else 4), "mount, pid, ipc, and maybe net"
    match end:
        case "launcher":
            launcher.kill()
        case "supervisor":
            psutil.Process(launcher.pid).children()[0].children()[0].kill()
        case "end":
            next(checkout.glob(".architect-parallel-*")).joinpath("go").touch()
        case "interrupt":
            launcher.send_signal(signal.SIGINT)
    code = architect.finish(launcher).code
    assert code == {"launcher": -signal.SIGKILL, "end": 0, "interrupt": 130}.get(end, 1)
    eventually(lambda: not any(map(_lives, processes)), "every process ended")
    eventually(lambda: not own & namespaces(psutil.process_iter()), "every namespace is gone")
    eventually(lambda: left_in(checkout) == files, "no temporary file and no group is left")
    assert mounts(checkout) == before
    assert architect("parallel-cleanup", "--force").code == 0


def mounts(checkout: Path) -> list[str]:
    """The mounts of this process, without those that other programs make in their temporary directories meanwhile."""
    lines = [line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    foreign = ("/tmp/", "/var/tmp/", "/dev/shm/")
    return [line[4] for line in lines if line[4].startswith(str(checkout)) or not line[4].startswith(foreign)]


def namespaces(processes: Iterable[psutil.Process]) -> set[str]:
    """The namespaces that these processes are in, as far as that can be seen."""
    names = set()
    for process in processes:
        for kind in ("mnt", "pid", "net", "ipc", "user"):
            with contextlib.suppress(OSError):
                names.add(os.readlink(f"/proc/{process.pid}/ns/{kind}"))
    return names


def left_in(checkout: Path) -> set[str]:
    """Temporary files of runs, and control groups."""
    groups = [group.name for place in _candidates() if place.is_dir() for group in place.glob("architect-*")]
    return {*map(str, scratches(checkout)), *groups}


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    "without", ["", pytest.param("namespaces", marks=needs_bwrap)], ids=["by namespaces", "by bwrap"]
)
def test_a_contained_agent_is_stopped_politely(
    architect: Architect, checkout: Path, without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WITHOUT, without)
    task = "trap 'echo bye > said; exit 0' TERM; touch started; while :; do sleep 0.1; done"
    launcher = architect.begin("parallel", task, "--backend", "shell", "--workers", "1", "--sandbox", "write")
    eventually(lambda: (checkout / ".architect-parallel-1" / "started").exists(), "the agent began")
    launcher.send_signal(signal.SIGINT)
    assert architect.finish(launcher).code == 130
    assert (checkout / ".architect-parallel-1" / "said").exists()
