"""A command of the agent's is bounded in time and output and leaves nothing of its group running."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from architect_parallel.agent.conversation import ToolCall, ToolResult
from architect_parallel.agent.tools import ConfirmMode, Toolbox, tools_of
from architect_parallel.agent.workspace import WorkingDirectory
from architect_parallel.system.shell import ProgramOutcome, run_bounded

LINGER = "sleep 600 & echo $! > pid; echo started"


def shell(tmp_path: Path, command: str, timeout_s: float = 30, output_bytes: int = 1000) -> ProgramOutcome:
    return run_bounded(
        ("/bin/sh", "-c", command), cwd=tmp_path, env=dict(os.environ), timeout_s=timeout_s,
        output_bytes=output_bytes, stop=threading.Event(),
    )  # fmt: skip


def is_running(pid: int) -> bool:
    """Whether a process is there and not merely unreaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    while is_running(pid):
        time.sleep(0.01)


def test_output_and_exit_code_come_back(tmp_path: Path) -> None:
    outcome = shell(tmp_path, "echo out; echo err >&2; exit 3")
    assert (outcome.exit_code, outcome.output, outcome.timed_out) == (3, b"out\nerr\n", False)


def test_a_background_process_neither_holds_it_up_nor_survives(tmp_path: Path) -> None:
    outcome = shell(tmp_path, LINGER)
    assert (outcome.exit_code, outcome.output) == (0, b"started\n")
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_control_the_naive_way_waits_for_the_background_process(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(LINGER, shell=True, cwd=tmp_path, capture_output=True, timeout=0.3, check=False)
    pid = int((tmp_path / "pid").read_text())
    assert is_running(pid)
    os.kill(pid, 9)


def test_a_command_over_its_time_is_ended_with_its_children(tmp_path: Path) -> None:
    outcome = shell(tmp_path, "trap '' TERM; (trap '' TERM; echo $$ > pid; sleep 600); sleep 600", timeout_s=0.3)
    assert (outcome.exit_code, outcome.timed_out) == (None, True)
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_flood_is_cut_in_the_middle_and_costs_no_memory(tmp_path: Path) -> None:
    outcome = shell(tmp_path, "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last")
    assert outcome.output.startswith(b"first\nx")
    assert outcome.output.endswith(b"x\nlast\n")
    assert len(outcome.output) < 1100
    assert outcome.omitted_bytes > 2_900_000


def test_a_command_that_closes_its_output_is_still_waited_for(tmp_path: Path) -> None:
    assert shell(tmp_path, "exec >&- 2>&-; sleep 0.2; touch done").exit_code == 0
    assert (tmp_path / "done").exists()


def call(toolbox: Toolbox, tool: str, **arguments: object) -> ToolResult:
    return asyncio.run(toolbox.call(ToolCall(id="1", tool=tool, arguments=arguments)))


def toolbox(root: Path, **environ: str) -> Toolbox:
    return Toolbox(WorkingDirectory(root), tools_of(False, ConfirmMode.YOLO), dict(os.environ) | environ)


def test_the_shell_runs_in_the_worktree_without_the_keys(tmp_path: Path) -> None:
    tools = toolbox(tmp_path, OPENAI_API_KEY="sk-secret", ARCHITECT_PROGRESS_FILE="/p", PROJECT_TOKEN="kept")
    text = call(tools, "shell", command="pwd; env").text
    assert text.startswith(f"{tmp_path}\n")
    assert "sk-secret" not in text
    assert "ARCHITECT_PROGRESS_FILE" not in text
    assert "PROJECT_TOKEN=kept" in text


def test_what_went_wrong_is_told_to_the_model(tmp_path: Path) -> None:
    assert call(toolbox(tmp_path), "shell", command="exit 7").text == "\n[exit code 7]"
    assert call(toolbox(tmp_path), "shell", command="sleep 9", timeout=0.1).text == "\n[stopped after 0.1 s]"


def test_a_cancelled_command_is_ended_before_the_cancellation_goes_on(tmp_path: Path) -> None:
    async def cancelled() -> None:
        tools = toolbox(tmp_path)
        command = ToolCall(id="1", tool="shell", arguments={"command": "echo $$ > pid; sleep 600"})
        running = asyncio.create_task(tools.call(command))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert not is_running(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("in_repository", [True, False])
def test_grep_finds_lines_and_leaves_ignored_files_out(tmp_path: Path, in_repository: bool) -> None:
    if in_repository:
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        (tmp_path / ".gitignore").write_text("build/\n")
        (tmp_path / "build").mkdir()
        (tmp_path / "build" / "b.py").write_text("def needle(): ...\n")
    (tmp_path / "a.py").write_text("x\ndef needle(): ...\n")
    assert call(toolbox(tmp_path), "grep", pattern="def +needle").text == "a.py:2:def needle(): ...\n"
    assert call(toolbox(tmp_path), "grep", pattern="no such thing").text == "(no match)"
    assert "outside" in call(toolbox(tmp_path), "grep", pattern="root", path="/etc/passwd").text


def test_grep_takes_a_pattern_that_looks_like_an_option(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("--open-files-in-pager=touch pwned\n")
    assert call(toolbox(tmp_path), "grep", pattern="--open-files-in-pager=touch pwned").text.startswith("a:1:")
    assert not (tmp_path / "pwned").exists()
