"""The guard and the supervisor. `supervision/child/supervisor.py` explains them."""

from __future__ import annotations

import os
import select
import sys
import time

from .channel import Channel, Config
from .spawn import quiet_streams, set_all_signals, spawn
from .tree import Tree, become_subreaper, end_tree, hide_memory, is_exhausted, remove_group, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal

INFINITY = float("inf")
SETTLE_S = 0.1
"""Seconds that an agent's helpers have to end by themselves, after its own end, before they count as leaked."""
LEFTOVER_GRACE_S = 1.0
"""Seconds between SIGTERM and the kill for leaked processes."""


class Supervisor:
    """Starts the agent, waits for its end or an order, ends the tree."""

    def __init__(self, config: Config, channel: Channel) -> None:
        self.config = config
        self.channel = channel
        self.tree = Tree(config.cookie, channel, config.cgroup)
        self.kill_at = INFINITY
        """When the grace ends. Infinite until a stop is ordered."""
        self.poll = select.poll()
        self.wake, wake_end = os.pipe()
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        self.poll.register(self.wake, select.POLLIN)
        self.poll.register(channel.descriptor, select.POLLIN)

    def watch_launcher(self, pid: int) -> None:
        """Notice the launcher's death even if another process holds a copy of its end of the channel."""
        try:
            self.poll.register(os.pidfd_open(pid), select.POLLIN)
        except (OSError, AttributeError):  # an old kernel, macOS: then only the channel shows it
            pass

    def run(self) -> None:
        spawned = spawn(self.config, self.channel.descriptor)
        quiet_streams()
        if spawned.problem:
            self.channel.report("spawn_failed", spawned.problem)
            self.channel.report("gone", 0, 0)
            self.clear()
            return
        self.tree.agent, self.tree.keeper, self.tree.status = spawned.agent, spawned.keeper, spawned.status
        if spawned.status is not None:
            self.poll.register(spawned.status, select.POLLIN)
        self.channel.report("started", spawned.agent, os.getpid())
        self.config.forget()
        self.tree.empty = False
        while self.tree.exit_code is None and self.kill_at == INFINITY:
            self.pause(INFINITY)
        if self.tree.exit_code is None:
            self.stop_politely()
        leaked = 0
        if self.tree.exit_code is not None:
            leaked = self.count_leftovers()
        if not self.tree.empty and time.monotonic() < self.kill_at:
            for pid, parent in self.tree.descendants().items():
                self.tree.send(pid, parent, signal.SIGTERM)
                self.tree.send(pid, parent, signal.SIGCONT)
            self.pause_while(lambda: not self.tree.empty, INFINITY)
        if is_exhausted(self.config.cgroup):
            self.channel.report("exhausted")
        end_tree(self.tree, leaked)
        self.clear()

    def clear(self) -> None:
        """Remove what was made for the program."""
        remove_group(self.config.cgroup)
        remove_tree(self.config.scratch)

    def stop_politely(self) -> None:
        """Send the agent's own polite signal to its group, and wait."""
        if time.monotonic() < self.kill_at:
            for number in (self.config.polite_signal, signal.SIGCONT):
                try:
                    os.killpg(self.tree.agent, number)
                except OSError:
                    pass
            self.pause_while(lambda: self.tree.exit_code is None, time.monotonic() + self.config.polite_wait_s)

    def count_leftovers(self) -> int:
        """Count the processes that outlived the agent, and set the end of their grace."""
        self.pause_while(lambda: not self.tree.empty, time.monotonic() + SETTLE_S)
        if self.tree.empty:
            return 0
        leaked = self.tree.living()
        self.stop(min(LEFTOVER_GRACE_S, self.config.grace_s))
        return leaked

    def stop(self, grace_s: float) -> None:
        """Set the end of the grace. A later order can only bring it forward."""
        self.kill_at = min(self.kill_at, time.monotonic() + grace_s)

    def pause_while(self, condition: Callable[[], bool], until: float) -> None:
        """Wait until the condition fails, `until`, or the end of the grace."""
        while condition() and time.monotonic() < min(until, self.kill_at):
            self.pause(until)

    def pause(self, until: float) -> None:
        """Sleep until an event, `until`, or the end of the grace. Then take orders and reap."""
        left_s = min(until, self.kill_at) - time.monotonic()
        timeout_ms = None if left_s == INFINITY else max(0, int(left_s * 1000) + 1)
        for descriptor, _ in self.poll.poll(timeout_ms):
            if descriptor == self.wake:
                os.read(self.wake, 4096)
            elif descriptor == self.channel.descriptor:
                self.take_orders(self.channel.lines())
            elif descriptor == self.tree.status:
                self.poll.unregister(descriptor)  # `reap` reads it
            else:
                self.poll.unregister(descriptor)
                self.stop(self.config.grace_s)
        self.tree.reap()

    def take_orders(self, lines: list[str] | None) -> None:
        """Obey the launcher. `None` means that it is gone, which is a stop."""
        if lines is None:
            self.poll.unregister(self.channel.descriptor)
            self.stop(self.config.grace_s)
            return
        for line in lines:
            word, _, seconds = line.partition(" ")
            self.stop(0.0 if word == "kill" else float(seconds))


def guard(supervisor: int, config: Config, channel: Channel) -> None:
    """Keep the supervisor running, and do its work when it is killed."""
    quiet_streams()
    config.forget()
    while True:
        _, status = os.waitpid(supervisor, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        os.kill(supervisor, signal.SIGCONT)
    if status != 0:
        end_tree(Tree(config.cookie, channel, config.cgroup), None)
        remove_group(config.cgroup)
        remove_tree(config.scratch)


def main() -> None:
    channel = Channel(int(sys.argv[1]))
    os.set_inheritable(channel.descriptor, False)
    launcher = os.getppid()
    set_all_signals(signal.SIG_IGN)  # no signal of an agent to its parent ends it, except SIGKILL
    signal.signal(signal.SIGCHLD, lambda *_: None)
    first: list[str] = []
    while not first:
        lines = channel.lines()
        if lines is None:
            return  # the launcher died before it sent the configuration
        first = lines
    config = Config(first[0])
    become_subreaper()
    hide_memory()
    pid = os.fork()
    if pid != 0:
        guard(pid, config, channel)
        return
    become_subreaper()  # not inherited
    supervisor = Supervisor(config, channel)
    supervisor.watch_launcher(launcher)
    supervisor.take_orders(first[1:])
    supervisor.run()
