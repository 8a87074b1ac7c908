"""Programs in a control group of their own. Few machines let a test set limits; all that is not a limit is tried."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from architect_parallel.domain import Limits, Reason
from architect_parallel.supervision import cgroups
from architect_parallel.supervision.consume import run_limited
from architect_parallel.supervision.messages import Launch
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken

LIMITS = Limits(memory_bytes=100 << 20, processes=50)


@pytest.fixture
def group() -> Iterator[Path]:
    """A group without limits in the first place where one can be made."""
    for place in cgroups._candidates():
        group = place / f"architect-test-{secrets.token_hex(4)}"
        try:
            group.mkdir()
        except OSError:
            continue
        yield group
        assert not group.exists()
        return
    pytest.skip("no control group can be made here")


def run(code: str, group: Path, monkeypatch: pytest.MonkeyPatch, directory: Path) -> tuple[StopToken, str]:
    monkeypatch.setattr(cgroups, "grouped", lambda launch, limits: replace(launch, cgroup=group))
    output: list[bytes] = []
    token = StopToken()
    launch = Launch(argv=("sh", "-c", code), cwd=directory, env={"PATH": os.defpath})
    run_limited(launch, lambda stream, data: output.append(data), limits=LIMITS, stop_token=token, sampler=Sampler())
    return token, b"".join(output).decode()


def test_a_program_is_in_its_group_and_the_group_ends_with_it(
    group: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token, output = run("cat /proc/self/cgroup; setsid sleep 1000 &", group, monkeypatch, tmp_path)
    assert f"/{group.name}\n" in output
    assert token.reason is None


def test_the_limits_are_written_as_the_kernel_reads_them(tmp_path: Path) -> None:
    cgroups.set_limits(tmp_path, LIMITS)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {
        "memory.max": str(100 << 20), "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "200",
    }  # fmt: skip


@pytest.mark.parametrize(("kills", "reason"), [(0, None), (3, Reason.MEMORY)])
def test_a_worker_that_the_kernel_killed_for_its_memory_ends_for_that_reason(
    kills: int, reason: Reason | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in = tmp_path / "group"
    stand_in.mkdir()
    (stand_in / "cgroup.procs").touch()
    (stand_in / "memory.events").write_text(f"max 10\noom 3\noom_kill {kills}\noom_group_kill 1\n")
    token, _ = run("true", stand_in, monkeypatch, tmp_path)
    assert (token.reason, token.detail) == (reason, "more than 100 MiB" if reason else "")


def test_groups_of_workers_are_not_left_by_a_run_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"/proc/self/cgroup": "0::/a/architect-1\n", "/proc/self/mountinfo": "1 1 0:1 / /c rw - cgroup2 none rw\n"}
    monkeypatch.setattr(Path, "read_text", lambda path: texts[str(path)])
    assert list(cgroups._candidates()) == []
    texts["/proc/self/cgroup"] = "0::/user/shell\n"
    assert list(cgroups._candidates()) == [Path("/c/user/shell"), Path("/c/user")]
