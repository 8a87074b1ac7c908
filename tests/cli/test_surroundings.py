"""Odd surroundings: closed or full streams, a directory or a home that is not there, few files, an odd umask."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import SCRIPT, Answer, Architect

RUN = f"{SCRIPT} parallel 'echo hi > b.txt' --backend shell --workers 1"
FAILING_RUN = f"{SCRIPT} parallel 'exit 7' --backend shell --workers 1"


def sh(command: str, cwd: Path, **env: str) -> Answer:
    """The answer of a shell command: how a user closes or redirects a stream."""
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=cwd, env=os.environ | env, capture_output=True, timeout=60, check=False
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def recorded(architect: Architect) -> str:
    """Status of the newest run."""
    return str(architect("status", "--json").json["runs"][0]["status"])


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_with_closed_streams_ends_as_any_other(architect: Architect, closed: str) -> None:
    answer = sh(f"{RUN} {closed}", architect.cwd)
    assert (answer.code, answer.err) == (0, "")
    assert recorded(architect) == "success"
    journal = architect.cwd / ".git" / "architect" / "runs.db"
    assert journal.read_bytes().startswith(b"SQLite format 3\0")  # and no output went into it


def test_looking_with_stdout_closed_is_no_error(architect: Architect) -> None:
    assert sh(f"{SCRIPT} status >&-", architect.cwd) == Answer(0, "", "")


@pytest.mark.parametrize(
    ("run", "options"), [(RUN, ""), (RUN, "--json"), (FAILING_RUN, "--quiet")], ids=["text", "json", "failing"]
)
def test_an_answer_on_a_full_device_is_exit_3_after_the_run_is_recorded(
    architect: Architect, run: str, options: str
) -> None:
    answer = sh(f"{run} {options} >/dev/full", architect.cwd)
    assert answer.code == 3
    assert answer.err.endswith("architect: cannot write to standard output: No space left on device\n")
    assert recorded(architect) == ("success" if run == RUN else "failed")


def test_notes_on_a_full_device_are_left_out(architect: Architect) -> None:
    assert sh(f"{RUN} 2>/dev/full", architect.cwd).code == 0
    assert sh(f"{SCRIPT} status no-such-run 2>/dev/full", architect.cwd).code == 4


@pytest.mark.parametrize("command", ["status", "backends", "config show", "--help", "--version"])
def test_looking_on_a_full_device_is_one_line_and_exit_3(architect: Architect, command: str) -> None:
    answer = sh(f"{SCRIPT} {command} >/dev/full", architect.cwd)
    assert answer.code == 3
    assert answer.err.startswith("architect: ")
    assert "No space left on device" in answer.err
    assert "Traceback" not in answer.err
    assert answer.err.count("architect: ") == 1


def test_a_reader_that_leaves_does_not_change_the_exit_code(architect: Architect) -> None:
    answer = sh(f"{FAILING_RUN} | true; echo ${{PIPESTATUS[0]}}", architect.cwd)
    assert answer.out == "1\n"
    assert recorded(architect) == "failed"
    answer = sh(f"{SCRIPT} --help | true; echo ${{PIPESTATUS[0]}}", architect.cwd)
    assert (answer.out, answer.err) == ("0\n", "")


@pytest.mark.parametrize("command", ["watch", "logs latest 1"])
def test_looking_ends_when_its_reader_leaves(architect: Architect, command: str) -> None:
    assert architect("parallel", "seq 100000", "--backend", "shell", "--workers", "1").code == 0
    answer = sh(f"{SCRIPT} {command} | head -n 1; echo ${{PIPESTATUS[0]}}", architect.cwd)
    assert answer.out.endswith("\n0\n")
    assert answer.err == ""


@pytest.mark.parametrize(
    "command",
    ["status", "parallel-cleanup", "doctor", "backends", "config show", "undo", "parallel x --backend shell", "run x"],
)
def test_a_removed_current_directory_is_one_line_and_exit_3(architect: Architect, command: str) -> None:
    answer = sh(f'mkdir gone; cd gone; rmdir "$PWD"; exec {SCRIPT} {command}', architect.cwd)
    assert answer.code == 3
    assert answer.err == "architect: the current directory has been removed\n  try: cd to your repository\n"


def test_help_needs_no_current_directory(architect: Architect) -> None:
    assert sh(f'mkdir gone; cd gone; rmdir "$PWD"; exec {SCRIPT} --help', architect.cwd).code == 0


WITHOUT_ENTRY = """
import os, sys
os.getuid = lambda: 4711  # patched: whoever runs this test may not change its user
from architect_parallel.cli.app import main
main()
"""


@pytest.mark.parametrize("words", ["parallel true --backend shell", "config show"])
def test_a_user_without_home_and_name_is_one_line_and_exit_3(architect: Architect, words: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ENTRY, *words.split()],
        cwd=architect.cwd, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    said = "architect: no home directory: HOME is not set and user id 4711 has no name\n"
    assert done.stderr == said + "  try: export HOME=/an/existing/directory\n"


def test_a_relative_home_is_no_place_for_a_configuration(architect: Architect) -> None:
    place = architect.cwd / "relative" / ".config" / "architect-parallel"
    place.mkdir(parents=True)
    (place / "config.yaml").write_text("parallel: {workers: 5}\n")
    answer = sh(f"env -u XDG_CONFIG_HOME HOME=relative {SCRIPT} config show", architect.cwd)
    assert answer.code == 3
    assert "HOME is 'relative'" in answer.err


def test_a_run_with_too_few_files_is_not_started(architect: Architect) -> None:
    answer = sh(f"ulimit -n 32; {RUN}", architect.cwd)
    assert answer.code == 3
    assert answer.err == "architect: this process may open 32 files, a run needs 64\n  try: ulimit -n 1024\n"
    assert architect("status", "--json").json["runs"] == []


def test_a_run_with_few_files_has_fewer_workers_at_once(architect: Architect) -> None:
    command = f"{SCRIPT} parallel 'echo $$ > work.txt' --backend shell --workers 12 --max-parallel 12 --json"
    answer = sh(f"ulimit -n 72; ARCHITECT_WORKERS_CEILING=12 {command}", architect.cwd)
    assert answer.code == 0, answer.err
    assert [result["status"] for result in answer.json["results"]] == ["success"] * 12
    assert any(warning.startswith("4 workers run at once: ") for warning in answer.json["warnings"])


@pytest.mark.parametrize("limit", [8, 12, 32, 64])
def test_looking_with_few_files_is_never_a_bug_of_ours(architect: Architect, limit: int) -> None:
    answer = sh(f"ulimit -n {limit}; {SCRIPT} status", architect.cwd)
    assert answer.code in (0, 3)
    assert answer.code == 0 or "Too many open files" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("mask", ["0777", "0177"])
def test_a_umask_leaves_the_owner_his_own_files(architect: Architect, mask: str) -> None:
    assert sh(f"umask {mask}; {RUN}", architect.cwd).code == 0
    for place in (architect.cwd / ".architect-parallel-1", architect.cwd / ".git" / "architect" / "runs"):
        assert place.stat().st_mode & 0o700 == 0o700
    assert (architect.cwd / ".architect-parallel-1" / "b.txt").stat().st_mode & 0o600 == 0o600


def test_a_missing_temporary_directory_is_no_obstacle(architect: Architect) -> None:
    assert sh(RUN, architect.cwd, TMPDIR="/no/such/directory").code == 0


def test_names_beyond_ascii_survive_the_c_locale(architect: Architect) -> None:
    name = "ünï-çødé"
    c = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = RUN.replace("b.txt", f'"{name}"')
    assert sh(command, architect.cwd, **c).code == 0
    answer = sh(f"{SCRIPT} diff latest 1", architect.cwd, **c)
    assert f"b/{name}" in answer.out


@pytest.fixture
def full_state(architect: Architect, mount_table: None) -> Iterator[Path]:
    """The state directory on a file system of its own without any room left, after one run."""
    state = architect.cwd / ".git" / "architect"
    state.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", state], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        assert sh(RUN, architect.cwd).code == 0
        with (state / "filling").open("wb", buffering=0) as filling, contextlib.suppress(OSError):
            while filling.write(bytes(4096)):
                pass
        yield state
    finally:
        subprocess.run(["umount", state], check=True)


def test_a_full_disk_is_exit_3_and_looking_still_works(architect: Architect, full_state: Path) -> None:
    answer = sh(RUN, architect.cwd)
    assert answer.code == 3
    said = answer.err.splitlines()
    assert said[0].startswith(f"architect: cannot use {full_state}")
    assert "Traceback" not in answer.err
    status = architect("status")
    assert (status.code, "success" in status.out) == (0, True), status.err
