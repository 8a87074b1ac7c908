"""The second best way to end a process tree, for when its supervisors are gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import psutil

from architect_parallel.supervision.child import tree

COOKIE = "ARCHITECT_WORKER_COOKIE"
"""Environment variable that marks every process of one worker."""
_guards: set[int] = set()
"""The pids of guards of this process that have not ended."""
_lock = threading.Lock()
"""Held while a guard starts: a sweep in another thread would take one that is not known yet for an orphan."""


def start_guard(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Start a guard, so that no sweep ends it. Call `forget_guard` when it has been waited for."""
    with _lock:
        guard = start()
        _guards.add(guard.pid)
        return guard


def forget_guard(pid: int) -> None:
    """The guard has ended and was waited for."""
    _guards.discard(pid)


def sweep(cookie: str, session: int | None = None, *, timeout_s: float) -> int:
    """Kill every process that carries the cookie or is in the session. Return how many remain after `timeout_s`.

    This is the second best way, used when no supervisor is left. A process that left the session and dropped its
    environment is found only if this process is a subreaper, as the `architect` command is.
    """
    until = time.monotonic() + timeout_s
    while True:
        processes = [process for process in psutil.process_iter() if _belongs(process, cookie, session)]
        processes += [process for process in _adopted() if process not in processes]
        if not processes or time.monotonic() > until:
            return len(processes)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
        psutil.wait_procs(processes, timeout=0.02)


def _adopted() -> list[psutil.Process]:
    """Processes that became children of this subreaper because their supervisors died, with all their descendants.

    The `architect` command starts nothing in another session except guards. Other programs are no subreaper of ours.
    """
    orphans: list[psutil.Process] = []
    if not tree.adopts:
        return orphans
    own = os.getsid(0)
    with _lock:
        children, known = psutil.Process().children(), {own, *_guards}
    for child in children:
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(child.pid) in known:
                continue
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
                continue
            orphans += [child, *child.children(recursive=True)]
    return orphans


def _belongs(process: psutil.Process, cookie: str, session: int | None) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if session is not None and os.getsid(process.pid) == session:
            return True
        return process.environ().get(COOKIE) == cookie
    except (psutil.Error, OSError):
        return False
