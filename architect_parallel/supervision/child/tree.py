"""The tree of one worker: who is in it, signals to all of it, its end and the proof of that.

Acts only on descendants of the calling process and, at the very end, on carriers of the worker's cookie.
"""

from __future__ import annotations

import os
import time

from .procfs import LINUX, alive, below, carriers, carries, children, parent_and_state, parents

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from .channel import Channel
else:
    import _signal as signal

PROOF_S = 1.0
"""How long the kill loop may take before it reports survivors (a process in a disk wait, or another user's)."""
LINGER_S = 30.0
"""How long survivors are hunted after they were reported."""
FREEZE_PASSES = 10
NEXT_PIDS = 8


class Tree:
    """All descendants of this process."""

    def __init__(self, cookie: bytes, channel: Channel) -> None:
        self.cookie = cookie
        self.channel = channel
        self.agent = 0
        """pid of the agent; 0: not started."""
        self.exit_code: int | None = None
        """Of the agent; `None`: not reaped."""
        self.empty = True
        self.last_reaped = 0

    def reap(self) -> None:
        """Takes in the dead, tells of the agent's own end, and sets `empty`, which is the proof."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.empty = True
                return
            if pid == 0:
                self.empty = False
                return
            self.last_reaped = pid
            if pid == self.agent:
                self.exit_code = os.waitstatus_to_exitcode(status)
                self.channel.say("exited", self.exit_code)

    def descendants(self) -> dict[int, int]:
        """pid → parent, as far as one look can tell: those that fork meanwhile may be missed."""
        me = os.getpid()
        found: dict[int, int] = {}
        try:
            todo = [(child, me) for child in children(me)]
            while todo:
                pid, parent = todo.pop()
                if pid not in found:
                    found[pid] = parent
                    todo += [(child, pid) for child in children(pid)]
        except NotImplementedError:
            found = below(me, parents())
        if LINUX:
            # A fork chain is one link further by the time a look ends; its links have ascending pids.
            for pid in range(self.last_reaped + 1, self.last_reaped + 1 + NEXT_PIDS):
                if pid not in found and parent_and_state(pid)[0] == me:
                    found[pid] = me
        return found

    def send(self, pid: int, parent: int, number: int) -> None:
        """Signals a descendant, and nobody who got its pid meanwhile."""
        try:
            if parent == os.getpid() or not LINUX:
                os.kill(pid, number)  # our own child: its pid is taken until we reap it
                return
            handle = os.pidfd_open(pid)
            try:
                if parent_and_state(pid)[0] in (parent, os.getpid()):
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
        except OSError:
            pass

    def living(self) -> int:
        """How many descendants are not zombies."""
        return sum(map(alive, self.descendants()))

    def freeze_and_kill(self) -> set[int]:
        """One round of the kill loop; the pids it met."""
        frozen: dict[int, int] = {}
        for _ in range(FREEZE_PASSES):
            fresh = {pid: parent for pid, parent in self.descendants().items() if pid not in frozen}
            if not fresh:
                break
            for pid, parent in fresh.items():
                self.send(pid, parent, signal.SIGSTOP)
            frozen.update(fresh)
        for pid, parent in frozen.items():
            self.send(pid, parent, signal.SIGKILL)
        if not LINUX and self.agent:
            try:  # no subreaper there: orphans are only found by their group
                os.killpg(self.agent, signal.SIGKILL)
            except OSError:
                pass
        return set(frozen)

    def kill_strays(self) -> set[int]:
        """Kills what carries the cookie outside the tree, started for the agent by some service; the pids."""
        killed: set[int] = set()
        for pid in carriers(self.cookie):
            try:
                handle = os.pidfd_open(pid)
                try:
                    if carries(pid, self.cookie):
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                        killed.add(pid)
                finally:
                    os.close(handle)
            except OSError:
                pass
        return killed


def end_tree(tree: Tree, leaked: int | None) -> None:
    """Kills until nothing is left, and says so. What cannot be killed in time is said too, and hunted further."""
    begun = time.monotonic()
    pause_s = 0.0
    reported = False
    met: set[int] = set()
    all_strays: set[int] = set()
    while True:
        tree.reap()
        strays = tree.kill_strays() if tree.empty else set()
        if tree.empty and not strays:
            break
        leaked = None if leaked is None else leaked + len(strays - all_strays)
        all_strays |= strays
        now = time.monotonic()
        if not reported and now > begun + PROOF_S:
            tree.channel.say("gone", leaked, tree.living() + len(strays) or 1)
            reported = True
        if now > begun + PROOF_S + LINGER_S:
            return
        before, met = met, tree.freeze_and_kill()
        # Newcomers, and those too quick to be seen, must be outrun; the dying only need a moment.
        outrun = met - before or not (met or tree.empty)
        pause_s = 0.0 if outrun else min(pause_s + 0.001, 0.5 if reported else 0.02)
        if pause_s:
            time.sleep(pause_s)
    if not reported:
        tree.channel.say("gone", leaked, 0)


def become_subreaper() -> None:
    """Makes this process the parent of orphans below it; does nothing where there is no such thing (macOS)."""
    if LINUX:
        import ctypes

        pr_set_child_subreaper = 36  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)
