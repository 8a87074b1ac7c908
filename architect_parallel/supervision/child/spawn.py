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


def spawn(config: Config) -> tuple[int, str | None]:
    """Start the agent; return (pid, None), or (0, error message).

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


def explain(config: Config, error: BaseException) -> str:
    """Explain to the user why the agent did not start."""
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
