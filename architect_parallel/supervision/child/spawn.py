"""Start the agent: a fresh session, default signals, nothing inherited but its three streams."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from .channel import Config
else:
    import _signal as signal


class Spawned:
    """The started agent, or the reason why it was not started."""

    def __init__(self, agent: int = 0, *, keeper: int = 0, status: int | None = None, problem: str = "") -> None:
        self.agent = agent
        self.keeper = keeper
        """Process 1 of the agent's PID namespace. 0 means that there is none."""
        self.status = status
        """Read end of a pipe on which the keeper writes the agent's wait status. `None` means no keeper."""
        self.problem = problem


def spawn(config: Config, channel: int) -> Spawned:
    """Start the agent.

    It gets its own session, default signals, an empty signal mask and no descriptor but 0, 1 and 2.
    """
    reports, reports_end = os.pipe()
    has_keeper = any(step.startswith(b"unshare\0") for step in config.cage)
    status, status_end = os.pipe() if has_keeper else (-1, -1)
    try:
        pid = os.fork()
    except OSError as error:
        return Spawned(problem=f"cannot start a process: {error.strerror}")
    if pid == 0:
        try:
            if config.cgroup:
                enter_group(config.cgroup)
            is_wrapped = config.cage == [b"wrapped"]
            if config.cage and not is_wrapped:
                enter_cage(config, channel, reports_end, status_end)
            become_agent(config, channel if is_wrapped else None)
        except BaseException as error:
            report(reports_end, explain(config, error))
        finally:
            os._exit(127)
    os.close(reports_end)
    if has_keeper:
        os.close(status_end)
        os.waitpid(pid, 0)  # it has left the keeper to this process, or failed
    pids: dict[str, int] = {}
    problem = ""
    for line in read_all(reports).splitlines():
        word, _, number = line.partition(" ")
        if word in ("keeper", "agent") and number.isdecimal():
            pids[word] = int(number)
        else:
            problem = problem or line
    if has_keeper and not problem and "agent" not in pids:
        problem = "cannot contain the program: its first process was killed"
    if has_keeper and not problem:
        os.set_blocking(status, False)
        return Spawned(pids["agent"], keeper=pids["keeper"], status=status)
    if not problem:
        return Spawned(pid)
    if not has_keeper or "keeper" in pids:
        os.waitpid(pids.get("keeper", pid), 0)
    if has_keeper:
        os.close(status)
    return Spawned(problem=problem)


def enter_group(group: bytes) -> None:
    descriptor = os.open(group + b"/cgroup.procs", os.O_WRONLY)
    os.write(descriptor, b"0")
    os.close(descriptor)


def enter_cage(config: Config, channel: int, reports_end: int, status_end: int) -> None:
    """Return only in the process that is to become the agent: in the cage, as a child of its keeper if it has one."""
    from .cage import Cage

    cage = Cage(config.cage)
    if status_end < 0:
        cage.settle()
        return
    cage.enter()
    cage.listen(channel)
    outer_proc = os.open("/proc", os.O_RDONLY)
    keeper = os.fork()
    if keeper != 0:
        report(reports_end, f"keeper {keeper}")
        os._exit(0)
    cage.settle()
    os.chdir(config.cwd)  # the old one lies below what was mounted since
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    agent = os.fork()
    if agent == 0:
        report(reports_end, f"agent {os.readlink('self', dir_fd=outer_proc)}")
        return
    keep(agent, status_end)


def keep(agent: int, status_end: int) -> None:
    """Reap until nothing is left in the namespace. This process has no descriptor that would be worth taking."""
    quiet_streams()
    os.dup2(status_end, 3, inheritable=False)
    os.closerange(4, 1 << 16)
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            os._exit(0)
        if pid == agent:
            os.write(3, b"%d" % status)


def report(descriptor: int, text: str) -> None:
    os.write(descriptor, text.replace("\n", " ").encode("utf-8", "backslashreplace")[:4096] + b"\n")


def read_all(descriptor: int) -> str:
    parts = []
    while part := os.read(descriptor, 4096):
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()


def become_agent(config: Config, channel: int | None) -> None:
    """Become the program.

    Args:
        channel: It starts the agent by itself (`inside.py`), gets the channel as descriptor 3, and must not die of a
            polite signal before the agent does. `None` means that it is the agent.
    """
    os.setsid()
    set_all_signals(signal.SIG_DFL)
    if channel is not None:
        os.dup2(channel, 3)
        os.set_inheritable(3, True)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.nice(config.nice)
    os.chdir(config.cwd)
    os.execvpe(config.argv[0], config.argv, config.env)


def explain(config: Config, error: BaseException) -> str:
    """Explain to the user why the agent did not start."""
    program, cwd = os.fsdecode(config.argv[0]), os.fsdecode(config.cwd)
    if not isinstance(error, OSError):
        verb = "contain" if type(error).__name__ == "CageError" else "start"
        return f"cannot {verb} {program}: {error}"
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


def set_all_signals(disposition: signal.Handlers) -> None:
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, disposition)
        except (OSError, ValueError):  # SIGKILL, SIGSTOP and libc's own
            pass


def quiet_streams() -> None:
    """Close the agent's pipes here, so that they end when the tree's last process is gone."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
