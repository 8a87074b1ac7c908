"""The guard and the supervisor; `supervision/child/supervisor.py` says what they are for."""

from __future__ import annotations

import os
import select
import sys
import time

from .channel import Channel, Config
from .spawn import quiet_streams, set_all_signals, spawn
from .tree import Tree, become_subreaper, end_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal

INFINITY = float("inf")
SETTLE_S = 0.1
"""What an agent's helpers have, after its own end, to end by themselves before they count as left behind."""
LEFTOVER_GRACE_S = 1.0
"""Between SIGTERM and the kill for what an agent left behind."""


class Supervisor:
    """Starts the agent, waits for its end or an order, ends the tree."""

    def __init__(self, config: Config, channel: Channel) -> None:
        self.config = config
        self.channel = channel
        self.tree = Tree(config.cookie, channel)
        self.kill_at = INFINITY
        """When grace ends; infinite while nobody asked for a stop."""
        self.poll = select.poll()
        self.wake, wake_end = os.pipe()
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        self.poll.register(self.wake, select.POLLIN)
        self.poll.register(channel.descriptor, select.POLLIN)

    def watch_launcher(self, pid: int) -> None:
        """Notices the launcher's death even if a copy of its end of the channel lives on in another process."""
        try:
            self.poll.register(os.pidfd_open(pid), select.POLLIN)
        except (OSError, AttributeError):  # an old kernel, macOS: then the channel alone tells
            pass

    def run(self) -> None:
        agent, problem = spawn(self.config)
        quiet_streams()
        if problem is not None:
            self.channel.say("spawn_failed", problem)
            self.channel.say("gone", 0, 0)
            return
        self.tree.agent = agent
        self.channel.say("started", agent, os.getpid())
        self.config.forget()
        self.tree.empty = False
        while self.tree.exit_code is None and self.kill_at == INFINITY:
            self.pause(INFINITY)
        if self.tree.exit_code is None:
            self.ask()
        leaked = 0
        if self.tree.exit_code is not None:
            leaked = self.count_leftovers()
        if not self.tree.empty and time.monotonic() < self.kill_at:
            for pid, parent in self.tree.descendants().items():
                self.tree.send(pid, parent, signal.SIGTERM)
                self.tree.send(pid, parent, signal.SIGCONT)
            self.pause_while(lambda: not self.tree.empty, INFINITY)
        end_tree(self.tree, leaked)

    def ask(self) -> None:
        """The agent's own polite signal to its group, and some time for it."""
        if time.monotonic() < self.kill_at:
            for each in (self.config.polite_signal, signal.SIGCONT):
                try:
                    os.killpg(self.tree.agent, each)
                except OSError:
                    pass
            self.pause_while(lambda: self.tree.exit_code is None, time.monotonic() + self.config.polite_wait_s)

    def count_leftovers(self) -> int:
        """How many the agent left behind at its own end; sets the end of their grace."""
        self.pause_while(lambda: not self.tree.empty, time.monotonic() + SETTLE_S)
        if self.tree.empty:
            return 0
        leaked = self.tree.living()
        self.stop(min(LEFTOVER_GRACE_S, self.config.grace_s))
        return leaked

    def stop(self, grace_s: float) -> None:
        """Sets the end of grace; a later order can only bring it forward."""
        self.kill_at = min(self.kill_at, time.monotonic() + grace_s)

    def pause_while(self, condition: Callable[[], bool], until: float) -> None:
        """Waits until the condition fails, `until`, or the end of grace."""
        while condition() and time.monotonic() < min(until, self.kill_at):
            self.pause(until)

    def pause(self, until: float) -> None:
        """Sleeps until something happens, `until`, or the end of grace; then takes orders and takes in the dead."""
        left_s = min(until, self.kill_at) - time.monotonic()
        timeout_ms = None if left_s == INFINITY else max(0, int(left_s * 1000) + 1)
        for descriptor, _ in self.poll.poll(timeout_ms):
            if descriptor == self.wake:
                os.read(self.wake, 4096)
            elif descriptor == self.channel.descriptor:
                self.take_orders(self.channel.lines())
            else:
                self.poll.unregister(descriptor)
                self.stop(self.config.grace_s)
        self.tree.reap()

    def take_orders(self, lines: list[str] | None) -> None:
        """Does what the launcher says; `None`, its death, is an order too."""
        if lines is None:
            self.poll.unregister(self.channel.descriptor)
            self.stop(self.config.grace_s)
            return
        for line in lines:
            word, _, seconds = line.partition(" ")
            self.stop(0.0 if word == "kill" else float(seconds))


def guard(supervisor: int, config: Config, channel: Channel) -> None:
    """Keeps the supervisor going, and does its work when it is killed."""
    quiet_streams()
    config.forget()
    while True:
        _, status = os.waitpid(supervisor, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        os.kill(supervisor, signal.SIGCONT)
    if status != 0:
        end_tree(Tree(config.cookie, channel), None)


def main() -> None:
    channel = Channel(int(sys.argv[1]))
    os.set_inheritable(channel.descriptor, False)
    launcher = os.getppid()
    set_all_signals(signal.SIG_IGN)  # nothing an agent sends its parent, short of SIGKILL, ends it
    signal.signal(signal.SIGCHLD, lambda *_: None)
    first: list[str] = []
    while not first:
        lines = channel.lines()
        if lines is None:
            return  # the launcher died before it said what to start
        first = lines
    config = Config(first[0])
    become_subreaper()
    pid = os.fork()
    if pid != 0:
        guard(pid, config, channel)
        return
    become_subreaper()  # not inherited
    supervisor = Supervisor(config, channel)
    supervisor.watch_launcher(launcher)
    supervisor.take_orders(first[1:])
    supervisor.run()
