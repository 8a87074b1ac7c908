"""The door to processes: what a caller hears, what a program inherits, and what it costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.leaks import nothing_left_open
from support.process_trees import until_gone, wait_for

from architect_parallel.domain import Limits, Reason
from architect_parallel.supervision.consume import run_command, run_limited
from architect_parallel.supervision.messages import Exited, Gone, Launch, Message, Output, SpawnFailed, Started
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.process import Supervised, start_supervised
from architect_parallel.supervision.stop import StopToken
from architect_parallel.supervision.sweep import COOKIE

ENVIRONMENT = {"PATH": os.defpath}


def python(code: str, directory: Path, **changes: object) -> Launch:
    """A launch of a small Python program."""
    given = {"argv": (sys.executable, "-I", "-S", "-c", code), "cwd": directory, "env": ENVIRONMENT} | changes
    return Launch(**given)  # type: ignore[arg-type]  # keyword arguments of a test


def shell(code: str, directory: Path, **changes: object) -> Launch:
    """A launch of a small shell program."""
    return python("", directory, argv=("sh", "-c", code), **changes)


def run(launch: Launch) -> list[Message]:
    """All messages of a program."""
    with start_supervised(launch) as supervised:
        return until_gone(supervised)


def printed(messages: list[Message], stream: str = "stdout") -> bytes:
    """What was printed on one stream."""
    return b"".join(each.data for each in messages if isinstance(each, Output) and each.stream == stream)


def test_messages_come_in_order_with_both_streams_apart(tmp_path: Path) -> None:
    messages = run(shell("echo out; echo err >&2; exit 7", tmp_path))
    assert isinstance(messages[0], Started)
    assert Exited(exit_code=7) in messages
    assert messages[-1] == Gone(leaked=0)
    assert [type(each) for each in messages].count(Gone) == 1
    assert (printed(messages), printed(messages, "stderr")) == (b"out\n", b"err\n")


def test_a_death_by_signal_is_a_negative_exit_code(tmp_path: Path) -> None:
    assert Exited(exit_code=-signal.SIGSEGV) in run(shell("kill -SEGV $$", tmp_path))


def test_all_output_is_delivered_before_gone(tmp_path: Path) -> None:
    messages = run(python("import os\nfor _ in range(50): os.write(1, b'x' * 60000)", tmp_path))
    assert len(printed(messages)) == 3_000_000


def test_wait_returns_nothing_after_its_time_and_at_once_after_the_end(tmp_path: Path) -> None:
    with start_supervised(shell("sleep 60", tmp_path)) as supervised:
        assert isinstance(supervised.wait()[0], Started)
        assert supervised.wait(0.01) == []
        supervised.kill()
        until_gone(supervised)
        assert supervised.finished
        assert supervised.wait() == []
        supervised.stop()
        supervised.kill()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("no-such-program",), "no-such-program: no such program"),
        (("{}/missing/program",), "no such program"),
        (("{}/plain.txt",), "not executable"),
        (("{}/lost.sh",), "the interpreter in its first line does not exist"),
        (("{}/binary",), "not a program for this machine"),
        (("true", "a\0b"), "null byte"),
        (("true", "x" * 200_000), "too long"),
    ],
)
def test_a_program_that_cannot_start_is_told_in_one_line(argv: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("text")
    for name, content in (("lost.sh", b"#!/no/such/interpreter\n"), ("binary", b"\x7fELFnonsense")):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    messages = run(python("", tmp_path, argv=tuple(word.format(tmp_path) for word in argv)))
    assert [type(each) for each in messages] == [SpawnFailed, Gone]
    failure = messages[0]
    assert isinstance(failure, SpawnFailed)
    assert said in failure.message
    assert "\n" not in failure.message


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    messages = run(shell("true", tmp_path / "gone"))
    assert messages[0] == SpawnFailed(message=f"cannot enter {tmp_path / 'gone'}: no such directory")


def test_a_missing_stdin_file_is_named_and_nothing_leaks(tmp_path: Path) -> None:
    with nothing_left_open():
        messages = run(shell("cat", tmp_path, stdin_file=tmp_path / "prompt"))
    assert messages == [
        SpawnFailed(message=f"cannot read {tmp_path / 'prompt'}: No such file or directory"),
        Gone(leaked=0),
    ]


def test_running_out_of_descriptors_is_a_failed_start() -> None:
    """In a process of its own, since the limit is the process's."""
    code = (
        "import os, resource; from pathlib import Path\n"
        "from architect_parallel.supervision.messages import Launch\n"
        "from architect_parallel.supervision.process import start_supervised\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "held = []\n"
        "try:\n"
        "    while True: held.append(os.open('/', 0))\n"
        "except OSError: os.close(held.pop()); os.close(held.pop())\n"
        "s = start_supervised(Launch(argv=('true',), cwd=Path('/'), env={}))\n"
        "print(s.wait())\n"
        "while not s.finished: s.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "too many open files" in done.stdout, done.stderr


def test_a_program_inherits_nothing_but_its_streams(tmp_path: Path) -> None:
    """Default signals, an empty mask, three descriptors, a session of its own, the niceness asked for."""
    code = """if 1:
        import json, os
        status = dict(line.split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
        print(json.dumps({
            'ignored': int(status['SigIgn'], 16) & ~0x181001000, 'blocked': int(status['SigBlk'], 16),
            'descriptors': len([d for d in os.listdir('/proc/self/fd')]) - 1, 'leader': os.getsid(0) == os.getpid(),
            'nice': os.nice(0), 'environment': sorted(os.environ.keys() - {'LC_CTYPE'}),  # PEP 538
            'stdin': os.readlink('/proc/self/fd/0'),
        }))"""
    inherited = os.open("/", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        told = json.loads(printed(run(python(code, tmp_path, nice=3))))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
        os.close(inherited)
    # Masked out above: SIGPIPE and SIGXFSZ, which Python ignores at its start, and 32 and 33, the C library's own: its
    # posix_spawn (make uses it) leaves them ignored, and it lets nobody change that.
    assert told == {
        "ignored": 0,
        "blocked": 0,
        "descriptors": 3,
        "leader": True,
        "nice": os.nice(0) + 3,
        "environment": [COOKIE, "PATH"],
        "stdin": "/dev/null",
    }


def test_sigint_ignored_by_the_launcher_reaches_the_program(tmp_path: Path) -> None:
    """A launcher started with `&` from a script has SIGINT ignored; the control is what a plain child gets."""
    ask = "grep SigIgn /proc/self/status"
    code = (
        "import signal, subprocess, sys; from pathlib import Path\n"
        "from architect_parallel.supervision.consume import run_command\n"
        "from architect_parallel.supervision.messages import Launch\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"argv = ('sh', '-c', {ask!r})\n"
        "print(subprocess.run(argv, capture_output=True, text=True).stdout.split()[1])\n"
        "print(run_command(argv, cwd=Path('/'), env={'PATH': '/bin:/usr/bin'}, timeout_s=None).output.split()[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    naive, ours = (bool(int(mask, 16) & 1 << (signal.SIGINT - 1)) for mask in done.stdout.split())
    assert naive
    assert not ours


def test_stdin_comes_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "prompt").write_bytes(b"- do it\n")
    assert printed(run(shell("cat", tmp_path, stdin_file=tmp_path / "prompt"))) == b"- do it\n"


def test_words_that_are_not_utf8_arrive_unchanged(tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    word = os.fsdecode(b"\xff\xfe")
    launch = shell('printf %s "$1$VALUE"; pwd', directory, env=ENVIRONMENT | {"VALUE": word})
    messages = run(Launch(argv=(*launch.argv, "sh", word), cwd=launch.cwd, env=launch.env))
    assert printed(messages) == b"\xff\xfe\xff\xfe" + os.fsencode(directory) + b"\n"


def test_an_environment_larger_than_a_socket_buffer_arrives(tmp_path: Path) -> None:
    env = ENVIRONMENT | {f"V{number}": "x" * 100_000 for number in range(10)}
    assert printed(run(shell('printf "${#V0} ${#V9}"', tmp_path, env=env))) == b"100000 100000"


def test_no_secret_stands_in_a_command_line_or_environment_of_the_supervisors(tmp_path: Path) -> None:
    with start_supervised(shell("echo ready; sleep 60", tmp_path, env=ENVIRONMENT | {"KEY": "s3cret"})) as supervised:
        guard = supervised.supervisor_pid
        wait_for(supervised, b"ready")
        for pid in (guard, supervised.supervisor_pid):
            for file in ("cmdline", "environ"):
                assert b"s3cret" not in Path(f"/proc/{pid}/{file}").read_bytes()
        agent = psutil.Process(supervised.supervisor_pid).children()[0]
        assert b"s3cret" in Path(f"/proc/{agent.pid}/environ").read_bytes()


def test_the_polite_signal_comes_first_and_the_agent_may_still_report(tmp_path: Path) -> None:
    traps = "trap 'echo interrupted; exit 3' INT; trap 'echo terminated; exit 4' TERM"
    code = f"{traps}; echo ready; while :; do sleep 0.01; done"
    launch = shell(code, tmp_path, polite_signal=signal.SIGINT, polite_wait_s=30.0, grace_s=60.0)
    with start_supervised(launch) as supervised:
        wait_for(supervised, b"ready")
        supervised.stop()
        messages = until_gone(supervised)
    assert Exited(exit_code=3) in messages
    assert printed(messages) == b"interrupted\n"


def test_sigterm_follows_for_an_agent_deaf_to_the_polite_signal(tmp_path: Path) -> None:
    code = "trap '' INT; trap 'echo terminated; exit 4' TERM; echo ready; while :; do sleep 0.01; done"
    launch = shell(code, tmp_path, polite_signal=signal.SIGINT, polite_wait_s=0.05, grace_s=60.0)
    with start_supervised(launch) as supervised:
        wait_for(supervised, b"ready")
        supervised.stop()
        messages = until_gone(supervised)
    assert Exited(exit_code=4) in messages


def test_a_kill_cuts_a_long_grace_short_from_any_thread(tmp_path: Path) -> None:
    code = "trap '' INT TERM; echo ready; while :; do sleep 0.01; done"
    with start_supervised(shell(code, tmp_path, polite_wait_s=60.0, grace_s=90.0)) as supervised:
        wait_for(supervised, b"ready")
        supervised.stop()
        supervised.stop(80)
        threads = [threading.Thread(target=supervised.kill) for _ in range(4)]
        for thread in threads:
            thread.start()
        messages = until_gone(supervised)
        for thread in threads:
            thread.join()
    assert Exited(exit_code=-signal.SIGKILL) in messages


def test_an_order_given_before_the_start_is_obeyed(tmp_path: Path) -> None:
    with start_supervised(shell("trap '' TERM INT; sleep 60; sleep 60", tmp_path)) as supervised:
        supervised.kill()
        assert isinstance(until_gone(supervised)[-1], Gone)


def test_a_pipe_held_open_elsewhere_is_not_waited_for(tmp_path: Path) -> None:
    """A process outside the tree keeps the program's stdout open, so that the pipe has no end."""
    with start_supervised(shell("echo ready; sleep 60", tmp_path)) as supervised:
        messages = wait_for(supervised, b"ready")
        agent = next(each.pid for each in messages if isinstance(each, Started))
        holder = os.open(f"/proc/{agent}/fd/1", os.O_WRONLY)
        try:
            supervised.kill()
            assert isinstance(until_gone(supervised)[-1], Gone)
        finally:
            os.close(holder)


def test_output_nobody_asks_for_is_not_read(tmp_path: Path) -> None:
    """Back-pressure: a gigabyte without a newline costs nothing, because the program has to wait for its reader."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from architect_parallel.supervision.messages import Launch, Output\n"
        "from architect_parallel.supervision.process import start_supervised\n"
        "import resource\n"
        "argv = (sys.executable, '-c', 'import os\\nfor _ in range(4096): os.write(1, b\"x\" * 65536)')\n"
        "size = 0\n"
        "with start_supervised(Launch(argv=argv, cwd=Path('/'), env={})) as s:\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    while not s.finished:\n"
        "        size += sum(len(m.data) for m in s.wait() if isinstance(m, Output))\n"
        "print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, grown_kib = map(int, done.stdout.split())
    assert size == 4096 * 65536
    assert grown_kib < 8 * 1024


def test_a_supervisor_needs_little_memory_and_no_time(tmp_path: Path) -> None:
    """What guard and supervisor together have for themselves; benchmarks say how much exactly."""
    with start_supervised(shell("echo ready; sleep 60", tmp_path)) as supervised:
        guard = supervised.supervisor_pid
        wait_for(supervised, b"ready")
        pair = [psutil.Process(guard), psutil.Process(supervised.supervisor_pid)]
        assert sum(each.memory_full_info().uss for each in pair) < 6 * 1024**2
        before = [each.cpu_times()[:2] for each in pair]
        time.sleep(0.1)
        assert [each.cpu_times()[:2] for each in pair] == before


def test_a_command_gives_its_exit_code_and_the_tail_of_both_streams(tmp_path: Path) -> None:
    outcome = run_command(
        ("sh", "-c", "echo out; echo err >&2; exit 2"), cwd=tmp_path, env=ENVIRONMENT, timeout_s=60, tail_bytes=100
    )
    assert outcome.exit_code == 2
    assert sorted(outcome.output.split()) == ["err", "out"]
    assert not outcome.timed_out
    long = run_command(("sh", "-c", "seq 1000"), cwd=tmp_path, env=ENVIRONMENT, timeout_s=60, tail_bytes=9)
    assert long.output == "999\n1000\n"


def test_a_command_that_cannot_start_says_why(tmp_path: Path) -> None:
    outcome = run_command(("no-such-program",), cwd=tmp_path, env=ENVIRONMENT, timeout_s=60)
    assert outcome.exit_code is None
    assert "no such program" in outcome.output


@pytest.mark.parametrize("way", ["time", "cancelled"])
def test_a_command_stopped_leaves_nothing_running(way: str, tmp_path: Path) -> None:
    outcome = run_command(
        ("sh", "-c", "setsid sleep 60 & echo $!; wait"),
        cwd=tmp_path,
        env=ENVIRONMENT,
        timeout_s=0.3 if way == "time" else None,
        is_cancelled=lambda: way == "cancelled" and (tmp_path / "x").write_text("") == 0,
    )
    assert outcome.timed_out
    assert all(not psutil.pid_exists(int(pid)) for pid in outcome.output.split())


def test_a_program_is_gone_when_its_output_cannot_be_handled(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail(stream: str, data: bytes) -> None:
        pids.append(int(data))
        raise OSError("no space left on device")

    launch, stop_token = shell("echo $$; sleep 60", tmp_path), StopToken()
    with pytest.raises(OSError, match="no space left"):
        run_limited(launch, fail, limits=Limits(), stop_token=stop_token, sampler=Sampler())
    assert pids
    assert not psutil.pid_exists(pids[0])


@pytest.mark.parametrize("limits", [Limits(output_bytes=10), Limits(timeout_s=0.2)], ids=["output", "time"])
def test_a_limit_stops_a_child_token_and_not_its_parent(limits: Limits, tmp_path: Path) -> None:
    parent = StopToken()
    child = parent.child()
    launch = shell("seq 100; sleep 60", tmp_path)
    run = run_limited(launch, lambda stream, data: None, limits=limits, stop_token=child, sampler=Sampler())
    assert run is not None
    assert run.facts.exit_code == -signal.SIGTERM
    assert child.reason is (Reason.OUTPUT_LIMIT if limits.output_bytes else Reason.WORKER_TIMEOUT)
    assert parent.reason is None


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[list[Supervised]]:
    """Three idle programs."""
    programs = [start_supervised(shell("echo ready; sleep 60", tmp_path)) for _ in range(3)]
    for each in programs:
        wait_for(each, b"ready")
    yield programs
    for each in programs:
        each.close()


def test_ending_one_program_leaves_the_others(idle: list[Supervised]) -> None:
    idle[1].kill()
    until_gone(idle[1])
    assert [each.finished for each in idle] == [False, True, False]
    assert idle[0].wait(0.05) == []
    assert psutil.Process(idle[2].supervisor_pid).children()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    run(shell("true", tmp_path))
    with nothing_left_open():
        for _ in range(5):
            run(shell("true", tmp_path))
