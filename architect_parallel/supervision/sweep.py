"""The second best way to end a process tree, for when its supervisors are gone."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil

from architect_parallel.supervision.child import tree

COOKIE = "ARCHITECT_WORKER_COOKIE"
"""Environment variable that marks every process of one worker."""
guards: set[int] = set()
"""The pids of guards of this process whose trees have not ended."""


def sweep(cookie: str, session: int | None = None, *, timeout_s: float) -> int:
    """Kill every process that carries the cookie or is in the session; return how many remain after `timeout_s`.

    This is the second best way, used when no supervisor is left. A process that left the session and dropped its
    environment is found only if this process is a subreaper, as the `architect` command is.
    """
    until = time.monotonic() + timeout_s
    while True:
        found = [process for process in psutil.process_iter() if _belongs(process, cookie, session)]
        found += [process for process in _adopted() if process not in found]
        if not found or time.monotonic() > until:
            return len(found)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in found:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
        psutil.wait_procs(found, timeout=0.02)


def _adopted() -> list[psutil.Process]:
    """Processes that became children of this subreaper because their supervisors died, with all their descendants.

    The `architect` command starts nothing in another session except guards. Other programs are no subreaper of ours.
    """
    orphans: list[psutil.Process] = []
    if not tree.adopts:
        return orphans
    own = os.getsid(0)
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(child.pid) in (own, *guards):
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
