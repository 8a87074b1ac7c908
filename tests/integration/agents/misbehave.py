"""Agents that do not want to end: `misbehave.py KIND TOKEN LIFELINE`.

Every process of a tree has TOKEN in its command line, whatever else it changes, so that a test can find it, and holds
the lock on the file LIFELINE by the one descriptor all inherit, so that a test knows whether any is left, however
short it lives. When the tree stands the agent prints `ready`. Everything ends by itself when
the file LIFELINE.end appears, or after a minute and a half, should a test fail to end it.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import threading
import time

KIND, TOKEN, LIFELINE = sys.argv[1:4]
DIES_AT = time.monotonic() + 90
PARENT = os.getppid()
"""The supervisor. Nobody else is ever attacked: an orphan's new parent may be the user's session."""
LIBC = ctypes.CDLL(None)
LINE = os.open(LIFELINE, os.O_RDWR | os.O_CREAT, 0o600)
os.set_inheritable(LINE, True)
with contextlib.suppress(BlockingIOError):  # one that became another kind: the descriptor it inherited holds it
    fcntl.flock(LINE, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lives_on() -> bool:
    return time.monotonic() < DIES_AT and not os.path.exists(LIFELINE + ".end")


def live(period_s: float = 0.05, each=lambda: None) -> None:
    while lives_on():
        each()
        time.sleep(period_s)
    os._exit(0)


def ready() -> None:
    os.write(1, b"ready\n")


def ignore_signals() -> None:
    for number in range(1, signal.NSIG):
        if number != signal.SIGCHLD:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN)


def child(body=live, session: bool = False, double: bool = False) -> int:
    """Forks `body`, in a session of its own, as a daemon; its pid, or the first fork's. Returns when it runs."""
    stands, stands_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(stands_end)
        os.read(stands, 1)
        os.close(stands)
        if double:
            os.waitpid(pid, 0)
        return pid
    os.close(stands)
    if session:
        os.setsid()
    if double and os.fork():
        os._exit(0)
    os.write(stands_end, b".")
    os.close(stands_end)
    body()
    os._exit(0)


def attack_parent(number: int) -> None:
    if os.getppid() == PARENT != 1:
        os.kill(PARENT, number)


def become(kind: str) -> None:
    """Starts over as another kind with an empty environment."""
    os.execve(sys.executable, [sys.executable, "-S", __file__, kind, TOKEN, LIFELINE], {})


def ignores_term() -> None:
    ignore_signals()
    child()
    ready()
    live()


def new_session() -> None:
    ignore_signals()
    child(session=True)
    ready()
    live()


def double_fork() -> None:
    ignore_signals()
    child(session=True, double=True)
    ready()
    live()


def scrubbed_environment() -> None:
    ignore_signals()
    child(lambda: become("plain"), session=True)
    time.sleep(0.1)
    ready()
    live()


def plain() -> None:
    ignore_signals()
    live()


def scrubbed_daemon() -> None:
    ignore_signals()
    child(lambda: become("plain"), session=True, double=True)
    time.sleep(0.1)
    ready()


def chain(links: int = 0) -> None:
    """Each link starts the next and is gone; nobody lives for a millisecond."""
    while lives_on():
        if links == 20:
            ready()
        if os.fork():
            os._exit(0)
        links += 1


def fork_chain() -> None:
    ignore_signals()
    child(chain, session=True, double=True)
    live()


def kills_parent() -> None:
    ignore_signals()
    child(lambda: become("plain"), session=True, double=True)
    time.sleep(0.1)
    ready()
    attack_parent(signal.SIGKILL)
    live()


def stops_parent() -> None:
    ignore_signals()
    child(session=True)
    ready()
    live(0.01, lambda: attack_parent(signal.SIGSTOP))


def holds_pipe() -> None:
    ignore_signals()
    child(session=True, double=True)
    ready()


def stops_itself() -> None:
    child(lambda: os.kill(os.getpid(), signal.SIGSTOP), session=True)
    ready()
    os.kill(os.getpid(), signal.SIGSTOP)
    live()


def respawns_on_term() -> None:
    """Two daemons watch each other; a signal, or the other's death, makes one start a successor."""

    def watcher() -> None:
        signal.signal(signal.SIGTERM, lambda *_: child(watcher, session=True, double=True))
        live(0.02)

    child(watcher, session=True, double=True)
    child(watcher, session=True, double=True)
    signal.signal(signal.SIGTERM, lambda *_: child(watcher, session=True, double=True))
    ready()
    live()


def many_children() -> None:
    ignore_signals()
    for number in range(200):
        child(lambda: live(5.0), session=number % 2 == 0, double=number % 4 == 0)
    ready()
    live()


def renames_itself() -> None:
    """Changes name, group and session all the time, in a process that is never the same for long."""

    def restless() -> None:
        ignore_signals()
        while lives_on():
            with open("/proc/self/comm", "w") as file:
                file.write(os.urandom(4).hex())
            for move in (os.setsid, lambda: os.setpgid(0, 0)):
                with contextlib.suppress(OSError):
                    move()
            if os.fork():
                time.sleep(0.002)
                os._exit(0)

    child(restless)
    ready()
    live()


def zombies_and_vforks() -> None:
    """Never reaps, and holds a parent in the uninterruptible wait of vfork."""
    ignore_signals()

    def maker() -> None:
        for _ in range(20):
            child(lambda: os._exit(0))
        live()

    def vforker() -> None:
        # In Python the child of a vfork shares our memory; a C call that never returns is all it may do.
        clone_vfork, sys_clone = 0x4000, 56
        if os.uname().machine != "x86_64":
            live()
        LIBC.syscall(sys_clone, clone_vfork | signal.SIGCHLD, 0, 0, 0, 0)
        live()

    child(maker, session=True)
    child(vforker, session=True)
    ready()
    live()


def dead_leader() -> None:
    """The main thread is gone (a zombie in every listing), another one lives and forks."""
    ignore_signals()
    threading.Thread(target=lambda: (child(session=True), ready(), live())).start()
    time.sleep(0.05)
    LIBC.pthread_exit(None)


globals()[KIND]()
