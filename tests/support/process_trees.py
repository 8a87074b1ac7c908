"""What tests and `benchmarks/kill_table.py` share: starting misbehaving agents, and finding what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from architect_parallel.supervision.messages import Gone, Launch, Message, Output
from architect_parallel.supervision.process import Supervised, start_supervised
from architect_parallel.system.files import is_locked

KINDS = (
    "ignores_term", "new_session", "double_fork", "scrubbed_environment", "scrubbed_daemon", "fork_chain",
    "kills_parent", "stops_parent", "holds_pipe", "stops_itself", "respawns_on_term", "many_children",
    "renames_itself", "zombies_and_vforks", "dead_leader",
)  # fmt: skip
PROGRAM = Path(__file__).parents[1] / "integration" / "agents" / "misbehave.py"


def agent_argv(kind: str, token: str, lifeline: Path) -> tuple[str, ...]:
    """Command line of one misbehaving agent."""
    return (sys.executable, "-S", str(PROGRAM), kind, token, str(lifeline))


def launch(kind: str, token: str, lifeline: Path, *, grace_s: float = 0.3) -> Launch:
    """The agent as the program would start it."""
    return Launch(
        argv=agent_argv(kind, token, lifeline),
        cwd=lifeline.parent,
        env={"PATH": os.defpath},
        polite_wait_s=grace_s / 3,
        grace_s=grace_s,
    )


def wait_for(supervised: Supervised, text: bytes, timeout_s: float = 60.0) -> list[Message]:
    """All messages up to the one with `text` in its output, or up to `Gone`."""
    until = time.monotonic() + timeout_s
    seen: list[Message] = []
    while time.monotonic() < until:
        seen += supervised.wait(0.5)
        if any(isinstance(each, Gone) or (isinstance(each, Output) and text in each.data) for each in seen):
            return seen
    raise AssertionError(f"no {text!r} within {timeout_s} s: {seen}")


def until_gone(supervised: Supervised, timeout_s: float = 60.0) -> list[Message]:
    """All messages up to and with `Gone`."""
    until = time.monotonic() + timeout_s
    seen: list[Message] = []
    while not supervised.finished:
        assert time.monotonic() < until, f"no end within {timeout_s} s: {seen}"
        seen += supervised.wait(0.5)
    return seen


def carrying(token: str) -> list[int]:
    """Living processes with `token` in their command line."""
    needle, found = token.encode(), []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            try:
                words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
                state = Path("/proc", name, "stat").read_bytes().rpartition(b") ")[2][:1]
            except OSError:
                continue
            if needle in words and (state != b"Z" or _has_threads(name)):
                found.append(int(name))
    return found


def _has_threads(name: str) -> bool:
    try:
        return len(os.listdir(f"/proc/{name}/task")) > 1
    except OSError:
        return False


def survivors(token: str, lifeline: Path) -> int:
    """How many processes of the tree live on; at least 1 while any holds the lifeline, however quick it is."""
    return max(1, len(carrying(token))) if is_locked(lifeline) else 0


def exterminate(token: str, lifeline: Path) -> None:
    """Ends whatever of a tree a failed test or a control left behind."""
    until = time.monotonic() + 60
    if survivors(token, lifeline):
        lifeline.with_name(lifeline.name + ".end").touch()  # a fork chain outruns every look of ours
    while time.monotonic() < until:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in carrying(token):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        if not survivors(token, lifeline):
            return
    raise AssertionError(f"cannot end the processes with {token} in their command line")


def wait_until_empty(token: str, lifeline: Path, timeout_s: float) -> int:
    """Survivors of a tree that ends by itself within `timeout_s`."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if not survivors(token, lifeline):
            return 0
        time.sleep(0.02)
    return survivors(token, lifeline)


def start_launcher(kind: str, token: str, lifeline: Path, *, grace_s: float = 0.3) -> subprocess.Popen[bytes]:
    """A launcher of its own process, for tests that kill it; returns when its agent is ready."""
    # The token travels glued to the kind, so that the launcher itself is not found by it.
    argv = [sys.executable, __file__, f"{kind}:{token}", str(lifeline), str(grace_s)]
    root = str(PROGRAM.parents[3])
    launcher = subprocess.Popen(
        argv, stdout=subprocess.PIPE, start_new_session=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert launcher.stdout is not None
    with launcher.stdout:
        if launcher.stdout.readline() != b"ready\n":
            launcher.kill()
            launcher.wait()
            raise AssertionError(f"the launcher of {kind} did not get its agent ready")
    return launcher


def main() -> None:
    """The launcher behind `start_launcher`: starts the agent, says so, and keeps listening."""
    name, lifeline, grace_s = sys.argv[1:]
    kind, token = name.split(":")
    supervised = start_supervised(launch(kind, token, Path(lifeline), grace_s=float(grace_s)))
    wait_for(supervised, b"ready")
    print("ready", flush=True)
    while not supervised.finished:
        supervised.wait()


if __name__ == "__main__":
    main()
