"""The sweep of a launcher ends what its dead supervisors left, and nothing of its other workers."""

from __future__ import annotations

import subprocess
import threading

import pytest

from architect_parallel.supervision import sweep
from architect_parallel.supervision.child import tree


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], start_new_session=True)


def test_a_guard_that_starts_meanwhile_is_no_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "adopts", True)
    is_running, may_be_known = threading.Event(), threading.Event()
    orphan, started, adopted = sleeper(), list[subprocess.Popen[bytes]](), set[int]()

    def start() -> subprocess.Popen[bytes]:
        started.append(sleeper())
        is_running.set()
        may_be_known.wait()
        return started[0]

    def look() -> None:
        adopted.update(process.pid for process in sweep._adopted())

    starting, looking = threading.Thread(target=sweep.start_guard, args=(start,)), threading.Thread(target=look)
    starting.start()
    is_running.wait()
    looking.start()
    looking.join(1)  # without the lock it would have taken the guard by now
    may_be_known.set()
    for thread in (starting, looking):
        thread.join()
    sweep.forget_guard(started[0].pid)
    for process in (orphan, *started):
        process.kill()
        process.wait()
    assert orphan.pid in adopted, "the control"
    assert started[0].pid not in adopted
