"""One snapshot tells who descends from whom and what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.process_trees import wait_for

from architect_parallel.supervision.messages import Launch
from architect_parallel.supervision.process import start_supervised
from architect_parallel.supervision.process_table import memory_bytes, snapshot


def test_a_snapshot_holds_the_whole_tree_of_a_supervised_program(tmp_path: Path) -> None:
    code = "setsid sh -c 'setsid sh -c \"echo ready; sleep 60; :\"; :'; :"
    launch = Launch(argv=("sh", "-c", code), cwd=tmp_path, env={"PATH": os.defpath})
    with start_supervised(launch) as supervised:
        wait_for(supervised, b"ready")
        assert supervised.supervisor_pid is not None
        found = snapshot().descendants(supervised.supervisor_pid)
        sessions = {os.getsid(pid) for pid in found}
    assert len(found) >= 3
    assert len(sessions) == 3


def test_a_process_whose_name_looks_like_fields_is_read(tmp_path: Path) -> None:
    code = "open('/proc/self/comm', 'w').write(') S 1 2 (x'); print('ready', flush=True); input()"
    os.mkfifo(tmp_path / "stdin")
    hold = os.open(tmp_path / "stdin", os.O_RDWR)
    try:
        launch = Launch(
            argv=(sys.executable, "-I", "-S", "-c", code), cwd=tmp_path, env={}, stdin_file=tmp_path / "stdin"
        )
        with start_supervised(launch) as supervised:
            wait_for(supervised, b"ready")
            assert supervised.supervisor_pid is not None
            assert len(snapshot().descendants(supervised.supervisor_pid)) == 1
    finally:
        os.close(hold)


def test_memory_shared_between_processes_counts_once(tmp_path: Path) -> None:
    """Ten forks of a process with 50 MiB: the control, summed resident sets, says more than 500 MiB."""
    code = """if 1:
        import os, time
        data = bytearray(os.urandom(1 << 20)) * 50
        for _ in range(10):
            if os.fork() == 0:
                sum(data[::4096])
                os.write(1, b'!')
                time.sleep(60)
        time.sleep(60)"""
    launch = Launch(argv=(sys.executable, "-I", "-S", "-c", code), cwd=tmp_path, env={})
    with start_supervised(launch) as supervised:
        heard = b""
        while heard.count(b"!") < 10:
            heard += b"".join(getattr(each, "data", b"") for each in supervised.wait(60))
        table = snapshot()
        assert supervised.supervisor_pid is not None
        pids = table.descendants(supervised.supervisor_pid)
        exact, naive = memory_bytes(pids), table.resident_sum_bytes(pids)
    assert len(pids) == 11
    assert 50 << 20 < exact < 150 << 20
    assert naive > 500 << 20


@pytest.mark.parametrize("pid", [2**22 + 1, 0])
def test_who_is_not_there_counts_nothing(pid: int) -> None:
    assert memory_bytes([pid]) == 0
    assert snapshot().resident_sum_bytes([2**22 + 1]) == 0


def test_an_unknown_process_has_no_descendants() -> None:
    assert snapshot().descendants(2**22 + 1) == ()


def test_psutil_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways name the same parent, and almost the same resident memory (the kernel counts it in batches)."""
    with subprocess.Popen(("sh", "-c", "echo; read x"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        looks = [snapshot()]
        with monkeypatch.context() as patched:
            patched.setattr(sys, "platform", "elsewhere")
            looks.append(snapshot())
    for look in looks:
        assert child.pid in look.children[os.getpid()]
    assert abs(looks[0].resident_bytes[child.pid] - looks[1].resident_bytes[child.pid]) < 512 << 10
