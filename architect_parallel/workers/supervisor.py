"""The small process that owns one worker's process tree. Run as `python -I -S supervisor.py FD`, never imported.

Standard library only and few modules of it: one of these runs per worker. It may not read the agent's output (that
goes straight to the launcher) nor decide anything about the worker; it starts one program, ends what came of it, and
tells what it saw.

Invariant: after `gone` with no survivors nothing of the tree is alive. The proof is `waitpid` saying ECHILD: as a
child subreaper this process is the parent every orphan of the tree falls to, whatever session, group, name or
environment the orphan has given itself. Signals, listings and the cookie only help to get there.

Two processes stand here. The *guard* is the launcher's child; it forks the *supervisor*, the parent of the agent. Both
are subreapers. An agent that kills or stops its parent hits the supervisor: the orphans fall to the guard, which wakes
a stopped supervisor and, for a dead one, ends the tree itself. Killing the guard changes nothing for the supervisor.
If both die at once the launcher sees the channel close without `gone` and sweeps for the cookie from outside.

The channel FD is a socket whose other end only the launcher holds. In, one line each: the configuration as JSON (so
that no secret stands in an argv), then `stop SECONDS` or `kill`. Its end, or the launcher's, is a stop. Out, one JSON
object per line: `started`, `spawn_failed`, `exited`, `gone`.

A stop is a ladder: the agent's own polite signal to its group; SIGTERM to every descendant; at the end of the grace a
loop of SIGSTOP (so that nobody sees a sibling die and starts another) and SIGKILL until ECHILD.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # the name type checkers know; importing typing would cost a fifth of the memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

INFINITY = float("inf")
SETTLE_S = 0.1
"""What an agent's helpers have, after its own end, to end by themselves before they count as left behind."""
LEFTOVER_GRACE_S = 1.0
"""Between SIGTERM and the kill for what an agent left behind."""
PROOF_S = 1.0
"""How long the kill loop may take before it reports survivors (a process in a disk wait, or another user's)."""
LINGER_S = 30.0
"""How long survivors are hunted after they were reported."""
FREEZE_PASSES = 10
NEXT_PIDS = 8
LINUX = sys.platform == "linux"


class Config:
    """What to start and how to stop it."""

    def __init__(self, line: str) -> None:
        data: dict[str, Any] = json.loads(line)
        self.argv = [raw(word) for word in data["argv"]]
        self.env = {raw(name): raw(value) for name, value in data["env"].items()}
        self.cwd = raw(data["cwd"])
        self.cookie = raw(data["cookie"])
        self.nice = int(data["nice"])
        self.polite_signal = int(data["polite_signal"])
        self.polite_wait_s = float(data["polite_wait_s"])
        self.grace_s = float(data["grace_s"])

    def forget(self) -> None:
        """Drops what may hold secrets, once it is used."""
        self.argv, self.env = [], {}


def raw(text: str) -> bytes:
    """The bytes behind a string of the configuration: paths and values need not be text in any encoding."""
    return text.encode("latin-1")


class Channel:
    """The door to the launcher."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._pending = b""

    def lines(self) -> list[str] | None:
        """Lines that arrived, after waiting for some bytes; `None`: the launcher closed it or is gone."""
        try:
            data = os.read(self.descriptor, 1 << 20)
        except OSError:
            return None
        if not data:
            return None
        *complete, self._pending = (self._pending + data).split(b"\n")
        return [line.decode() for line in complete]

    def say(self, **fact: object) -> None:
        """Tells one fact; a launcher that is gone is not told."""
        with contextlib.suppress(OSError):
            os.write(self.descriptor, json.dumps(fact).encode() + b"\n")


class Tree:
    """All descendants of this process."""

    def __init__(self, cookie: bytes) -> None:
        self.cookie = cookie
        self.agent = 0
        """pid of the agent; 0: not started."""
        self.exit_code: int | None = None
        """Of the agent; `None`: not reaped."""
        self.empty = True
        self.last_reaped = 0

    def reap(self) -> bool:
        """Takes in the dead; whether the agent's own end was among them. Sets `empty`, which is the proof."""
        agent_ended = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.empty = True
                return agent_ended
            if pid == 0:
                self.empty = False
                return agent_ended
            self.last_reaped = pid
            if pid == self.agent:
                self.exit_code = os.waitstatus_to_exitcode(status)
                agent_ended = True

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
        if not LINUX:
            return len(self.descendants())
        return sum(1 for pid in self.descendants() if parent_and_state(pid)[1] not in "ZX")

    def freeze_and_kill(self) -> bool:
        """One round of the kill loop; whether it met a process not seen in the round's first look."""
        first = self.descendants()
        frozen: dict[int, int] = {}
        look = first
        for _ in range(FREEZE_PASSES):
            fresh = {pid: parent for pid, parent in look.items() if pid not in frozen}
            if not fresh:
                break
            for pid, parent in fresh.items():
                self.send(pid, parent, signal.SIGSTOP)
            frozen.update(fresh)
            look = self.descendants()
        for pid, parent in frozen.items():
            self.send(pid, parent, signal.SIGKILL)
        return len(frozen) > len(first)

    def kill_strays(self) -> int:
        """Kills processes outside the tree that carry the cookie (started for the agent by some service)."""
        count = 0
        for pid in carriers(self.cookie):
            try:
                handle = os.pidfd_open(pid)
                try:
                    if carries(pid, self.cookie):
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                        count += 1
                finally:
                    os.close(handle)
            except OSError:
                pass
        return count


def parent_and_state(pid: int) -> tuple[int, str]:
    """Parent pid and state letter; (0, "X") when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read(512).rpartition(b")")[2].split(None, 2)
        return int(fields[1]), fields[0].decode()
    except (OSError, IndexError, ValueError):
        return 0, "X"


def children(pid: int) -> list[int]:
    """Children of `pid`; empty when it is gone.

    Raises:
        NotImplementedError: Where the kernel does not tell (no CONFIG_PROC_CHILDREN, no /proc).
    """
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                while part := file.read(1 << 16):
                    # A part ends after a complete number and a space: the kernel writes whole records.
                    found += map(int, part.split())
    except OSError:
        if pid == os.getpid():
            raise NotImplementedError from None
    return found


def parents() -> dict[int, int]:
    """pid → parent pid of every process of the machine; the slow way."""
    if LINUX:
        return {int(name): parent_and_state(int(name))[0] for name in os.listdir("/proc") if name.isdecimal()}
    with os.popen("/bin/ps -axo pid=,ppid=") as listing:
        return {int(pid): int(parent) for pid, parent in (line.split() for line in listing)}


def below(root: int, parent_of: dict[int, int]) -> dict[int, int]:
    """The part of `parent_of` that descends from `root`."""
    found: dict[int, int] = {}
    while True:
        more = {p: q for p, q in parent_of.items() if p not in found and p != root and (q == root or q in found)}
        if not more:
            return found
        found.update(more)


def carries(pid: int, cookie: bytes) -> bool:
    """Whether the process was started with the cookie in its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return cookie in file.read(1 << 22)
    except OSError:
        return False


def carriers(cookie: bytes) -> list[int]:
    """Pids of all processes with the cookie; empty where there is no /proc."""
    if not LINUX:
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and carries(int(name), cookie)]


def end_tree(tree: Tree, channel: Channel, leaked: int) -> None:
    """Kills until nothing is left, and says so. What cannot be killed in time is said too, and hunted further."""
    begun = time.monotonic()
    pause_s = 0.0
    reported = False
    while True:
        tree.reap()
        strays = tree.kill_strays() if tree.empty else 0
        if tree.empty and not strays:
            break
        leaked += strays
        now = time.monotonic()
        if not reported and now > begun + PROOF_S:
            channel.say(gone=leaked, survivors=max(1, tree.living()))
            reported = True
        if now > begun + PROOF_S + LINGER_S:
            return
        # Newcomers must be outrun; the dying only need a moment.
        pause_s = 0.0 if tree.freeze_and_kill() else min(pause_s + 0.001, 0.02 if not reported else 0.5)
        time.sleep(pause_s)
    if not reported:
        channel.say(gone=leaked, survivors=0)


class Supervisor:
    """Starts the agent, waits for its end or an order, ends the tree."""

    def __init__(self, config: Config, channel: Channel) -> None:
        self.config = config
        self.channel = channel
        self.tree = Tree(config.cookie)
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
        with contextlib.suppress(OSError, AttributeError):  # an old kernel, macOS: then the channel alone tells
            self.poll.register(os.pidfd_open(pid), select.POLLIN)

    def run(self) -> None:
        agent, problem = spawn(self.config)
        quiet_streams()
        if problem is not None:
            self.channel.say(spawn_failed=problem)
            self.channel.say(gone=0, survivors=0)
            return
        self.tree.agent = agent
        self.channel.say(started=agent, supervisor=os.getpid())
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
        end_tree(self.tree, self.channel, leaked)

    def ask(self) -> None:
        """The agent's own polite signal to its group, and some time for it."""
        if time.monotonic() < self.kill_at:
            for each in (self.config.polite_signal, signal.SIGCONT):
                with contextlib.suppress(OSError):
                    os.killpg(self.tree.agent, each)
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
                self.take_orders()
            else:
                self.poll.unregister(descriptor)
                self.stop(self.config.grace_s)
        if self.tree.reap():
            self.channel.say(exited=self.tree.exit_code)

    def take_orders(self) -> None:
        lines = self.channel.lines()
        if lines is None:
            self.poll.unregister(self.channel.descriptor)
            self.stop(self.config.grace_s)
            return
        for line in lines:
            word, _, seconds = line.partition(" ")
            self.stop(0.0 if word == "kill" else float(seconds))


def spawn(config: Config) -> tuple[int, str | None]:
    """Starts the agent; (pid, None), or (0, what is wrong).

    It gets its own session, default signals, an empty signal mask and no descriptor but 0, 1 and 2.
    """
    failure, failure_end = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        return 0, f"cannot start a process: {error.strerror}"
    if pid == 0:
        try:
            become_agent(config)
        except BaseException as error:
            os.write(failure_end, explain(config, error).encode("utf-8", "backslashreplace")[:4096])
        finally:
            os._exit(127)
    os.close(failure_end)
    problem = os.read(failure, 4096).decode()
    os.close(failure)
    if not problem:
        return pid, None
    os.waitpid(pid, 0)
    return 0, problem


def become_agent(config: Config) -> None:
    os.setsid()
    set_all_signals(signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.nice(config.nice)
    os.chdir(config.cwd)
    os.execvpe(config.argv[0], config.argv, config.env)


def set_all_signals(disposition: signal.Handlers) -> None:
    for each in range(1, signal.NSIG):
        with contextlib.suppress(OSError, ValueError):  # SIGKILL, SIGSTOP and libc's own
            signal.signal(each, disposition)


def explain(config: Config, error: BaseException) -> str:
    """What kept the agent from starting, for the user."""
    program, cwd = os.fsdecode(config.argv[0]), os.fsdecode(config.cwd)
    if not isinstance(error, OSError):
        return f"cannot start {program}: {error}"
    if not os.path.isdir(cwd):
        return f"cannot enter {cwd}: no such directory"
    code = error.errno
    if code == errno.ENOENT and os.path.exists(program):
        return f"cannot start {program}: the interpreter in its first line does not exist"
    if code == errno.ENOENT:
        return f"cannot start {program}: no such program"
    if code == errno.EACCES:
        return f"cannot start {program}: not executable, or {cwd} may not be entered"
    if code == errno.ENOEXEC:
        return f"cannot start {program}: not a program for this machine (or a script without a #! line)"
    if code == errno.E2BIG:
        return f"cannot start {program}: its arguments and environment are too long"
    return f"cannot start {program}: {error.strerror}"


def quiet_streams() -> None:
    """Lets go of the agent's pipes, so that their end shows when the tree's last holder is gone."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def become_subreaper() -> None:
    """Makes this process the parent of orphans below it; does nothing where there is no such thing (macOS)."""
    if LINUX:
        import ctypes

        pr_set_child_subreaper = 36  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


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
        tree = Tree(config.cookie)
        tree.reap()
        end_tree(tree, channel, 0 if tree.empty else tree.living())


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
    supervisor.run()


if __name__ == "__main__":
    main()
