"""The process tree of one worker: its processes, signals to all of them, their end and the proof of it.

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
"""Seconds that the kill loop has before it reports survivors (a process in a disk wait, or another user's)."""
LINGER_S = 30.0
"""Seconds for which survivors are hunted after they were reported."""
FREEZE_PASSES = 10
NEXT_PIDS = 8
adopts = False
"""True if this process is the parent of every orphan below it."""


class Tree:
    """All descendants of this process."""

    def __init__(self, cookie: bytes, channel: Channel, cgroup: bytes = b"") -> None:
        self.cookie = cookie
        self.channel = channel
        self.cgroup = cgroup
        """The control group of the program. Empty means none."""
        self.agent = 0
        """The agent's pid. 0 means not started."""
        self.keeper = 0
        """The pid of the first process of the agent's PID namespace. 0 means that it has none."""
        self.status: int | None = None
        """Descriptor on which the keeper writes the agent's wait status. `None` means that nothing is to come."""
        self.exit_code: int | None = None
        """The agent's. `None` means not reaped."""
        self.empty = True
        self.last_reaped = 0

    def reap(self) -> None:
        """Reap dead children, report the agent's own end, and set `empty`, which is the proof."""
        while True:
            self.read_status()
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.empty = True
                return
            if pid == 0:
                self.empty = False
                return
            self.last_reaped = pid
            if pid == self.keeper:
                self.read_status()
            if pid in (self.agent, self.keeper):
                self.take_end(status)

    def read_status(self) -> None:
        """Take the agent's end from its keeper, which has reaped it."""
        if self.status is None:
            return
        try:
            data = os.read(self.status, 32)
        except BlockingIOError:
            return
        os.close(self.status)
        self.status = None
        if data:
            self.take_end(int(data))

    def take_end(self, status: int) -> None:
        """Report the agent's end, once. A keeper that was killed had no time to tell it: then its own end counts."""
        if self.exit_code is None:
            self.exit_code = os.waitstatus_to_exitcode(status)
            self.channel.report("exited", self.exit_code)

    def descendants(self) -> dict[int, int]:
        """pid → parent, from one look. It may miss processes that fork meanwhile."""
        me = os.getpid()
        parents_below: dict[int, int] = {}
        try:
            todo = [(child, me) for child in children(me)]
            while todo:
                pid, parent = todo.pop()
                if pid not in parents_below:
                    parents_below[pid] = parent
                    todo += [(child, pid) for child in children(pid)]
        except NotImplementedError:
            parents_below = below(me, parents())
        if LINUX:
            # A fork chain is one link further by the time a look ends; its links have ascending pids.
            for pid in range(self.last_reaped + 1, self.last_reaped + 1 + NEXT_PIDS):
                if pid not in parents_below and parent_and_state(pid)[0] == me:
                    parents_below[pid] = me
        return parents_below

    def send(self, pid: int, parent: int, number: int) -> None:
        """Signal a descendant, and no other process that got its pid meanwhile."""
        try:
            if parent == os.getpid() or not LINUX:
                os.kill(pid, number)  # our own child: its pid is taken until we reap it
                return
            handle = os.pidfd_open(pid)
            try:
                if parent_and_state(pid)[0] in (parent, os.getpid(), self.keeper):
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
        except OSError:
            pass

    def living(self) -> int:
        """Count the descendants that are not zombies, without the keeper."""
        return sum(alive(pid) for pid in self.descendants() if pid != self.keeper)

    def freeze_and_kill(self) -> set[int]:
        """Do one round of the kill loop. Return the pids that it met."""
        frozen: dict[int, int] = {}
        kill_group(self.cgroup)
        if self.keeper:
            self.send(self.keeper, os.getpid(), signal.SIGKILL)  # the kernel kills its whole namespace with it
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
        """Kill processes outside the tree with the cookie, which a service started for the agent. Return their pids."""
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
    """Kill until no process is left, and report it. Survivors are reported after `PROOF_S` and hunted further."""
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
            tree.channel.report("gone", leaked, tree.living() + len(strays) or 1)
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
        tree.channel.report("gone", leaked, 0)


def kill_group(group: bytes) -> None:
    """Kill every process of a control group in one step."""
    if group:
        try:
            descriptor = os.open(group + b"/cgroup.kill", os.O_WRONLY)
            os.write(descriptor, b"1")
            os.close(descriptor)
        except OSError:
            pass


def is_exhausted(group: bytes) -> bool:
    """Return true if the kernel killed something of the group for its use of memory."""
    if not group:
        return False
    try:
        with open(group + b"/memory.events", "rb", buffering=0) as file:
            return any(line.startswith(b"oom_kill ") and line != b"oom_kill 0" for line in file.read(4096).splitlines())
    except OSError:
        return False


def remove_group(group: bytes) -> None:
    if group:
        try:
            os.rmdir(group)
        except OSError:
            pass


def remove_tree(path: bytes) -> None:
    """Remove a directory with everything in it, as far as that is possible. An empty path means none.

    By `rm`, which takes any depth and costs less than to load `shutil`.
    """
    if path:
        quietly = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        forced = ("rm", "-rf", "--"), ("chmod", "-R", "u+rwX", "--"), ("rm", "-rf", "--")
        for words in forced:
            if os.path.lexists(path):
                try:
                    pid = os.posix_spawn(f"/bin/{words[0]}", [*words, path], {}, file_actions=[quietly])
                    os.waitpid(pid, 0)
                except OSError:
                    return


def become_subreaper() -> None:
    """Make this process the parent of orphans below it. Do nothing on systems without subreapers (macOS)."""
    global adopts
    adopts = LINUX
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def hide_memory() -> None:
    """Keep other processes of this user from reading the environment and memory of this one.

    It does not hold for root, and `exec` ends it. It does nothing on other systems than Linux.
    """
    _prctl(4, 0)  # PR_SET_DUMPABLE


def _prctl(option: int, value: int) -> None:
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
