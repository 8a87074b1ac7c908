"""Attacks on the launcher's processes: reading its memory, and surviving the supervisors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from support.console import SCRIPT, write_program

PYTHON = Path("/usr/bin/python3")
KEY = "sk-launcher-0123456789"
HIDE = (
    "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)"  # as `hide_memory` does, for a Python without this package
)


@pytest.mark.skipif(os.geteuid() != 0 or not PYTHON.exists(), reason="needs root to become two processes of one user")
@pytest.mark.parametrize("hidden", [True, False], ids=["attack", "control"])
@pytest.mark.parametrize("name", ["environ", "mem", "maps", "fd/0", "cwd"])
def test_a_process_of_the_same_user_reads_the_launcher(tmp_path: Path, name: str, hidden: bool) -> None:
    """Whatever a launcher holds in its environment. Root reads everything, so this is about ordinary users."""
    victim = f"{HIDE if hidden else ''}\nprint('ready', flush=True)\nimport sys; sys.stdin.read()\n"
    with subprocess.Popen(
        [PYTHON, "-c", victim], stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=65534, env={"KEY": KEY}, cwd="/"
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"ready\n"
        path = f"/proc/{launcher.pid}/{name}"
        read = f"import os; os.readlink({path!r})" if name in ("fd/0", "cwd") else f"open({path!r}, 'rb')"
        agent = subprocess.run([PYTHON, "-c", read], user=65534, capture_output=True, cwd="/", check=False)
        launcher.kill()
    assert (agent.returncode != 0) == hidden, agent.stderr


@pytest.mark.parametrize("hidden", [True, False], ids=["attack", "control"])
def test_the_command_is_not_dumpable(hidden: bool) -> None:
    """`PR_GET_DUMPABLE` of a process that has done what `architect` does first."""
    call = "app._guard_this_process(); " if hidden else ""
    code = f"import ctypes; from architect_parallel.cli import app; {call}print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout == "0\n") == hidden


def escape(directory: Path) -> str:
    """An agent that starts a process without its session and environment, then kills both supervisors at once."""
    program = directory / "escape"
    write_program(
        program,
        textwrap.dedent(f"""\
        import os, signal
        def parent(pid):
            return int(open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1])
        supervisor = os.getppid()
        while b"supervisor.py" not in open(f"/proc/{{supervisor}}/cmdline", "rb").read():
            supervisor = parent(supervisor)
        guard = parent(supervisor)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open({str(directory / "pid")!r}, "w").write(str(os.getpid()))
                for descriptor in range(3):
                    os.close(descriptor)
                os.execve("/bin/sleep", ["sleep", "120"], {{}})
            os._exit(0)
        os.wait()
        while not os.path.exists({str(directory / "pid")!r}):
            pass
        os.kill(guard, signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)
        """),
    )
    return str(program)


@pytest.mark.parametrize("adopts", [True, False], ids=["attack", "control"])
def test_a_process_survives_both_supervisors(checkout: Path, tmp_path: Path, adopts: bool) -> None:
    task = escape(tmp_path)
    words = ["parallel", task, "--backend", "shell", "--workers", "1", "--quiet"]
    if adopts:
        subprocess.run([SCRIPT, *words], cwd=checkout, capture_output=True, check=False)
    else:
        python = (
            "import sys; from architect_parallel.cli import app; app._guard_this_process = lambda: None; "
            f"sys.argv = ['architect', *{words!r}]; app.main()"
        )
        subprocess.run([sys.executable, "-c", python], cwd=checkout, capture_output=True, check=False)
    pid = int((tmp_path / "pid").read_text())
    try:
        lives = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        lives = False
    if lives:
        os.kill(pid, signal.SIGKILL)
    assert lives != adopts
