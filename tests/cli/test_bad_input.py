"""Every bad input ends in one clear line that names the thing and what to type next; nothing is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.console import Answer, Architect
from support.repositories import git, make_repository

SHELL = ("parallel", "true", "--backend", "shell")


def made(checkout: Path) -> tuple[str, list[str]]:
    """Refs and files of a repository: what a refused command must not have changed."""
    return git(checkout, "for-each-ref"), sorted(
        str(path) for path in checkout.rglob("*") if "objects" not in path.parts
    )


def assert_refused(answer: Answer, code: int, *words: str) -> None:
    assert answer.code == code, answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    said, *rest = answer.err.strip().splitlines()
    assert len(rest) <= 1, answer.err
    assert said.startswith("architect: ")
    for word in words:
        assert word in answer.err, answer.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--workers", "0"), "--workers"),
        (("--workers", "-1"), "--workers"),
        (("--workers", "1.5"), "--workers"),
        (("--workers", "nan"), "--workers"),
        (("--workers", "11"), "workers_ceiling"),
        (("--workers", "9" * 5000), "--workers"),
        (("--max-parallel", "0"), "--max-parallel"),
        (("--max-parallel", "11"), "workers_ceiling"),
        (("--budget", "nan"), "--budget"),
        (("--budget", "inf"), "--budget"),
        (("--budget", "-1"), "--budget"),
        (("--budget", "0"), "--budget"),
        (("--budget-per-worker", "1e999"), "--budget-per-worker"),
        (("--timeout", "0"), "--timeout"),
        (("--timeout", "8d"), "--timeout"),
        (("--timeout-per-worker", "0s"), "--timeout-per-worker"),
        (("--timeout-per-worker", "169h"), "--timeout-per-worker"),
        (("--idle-timeout", "soon"), "--idle-timeout"),
        (("--memory-per-worker", "1MiB"), "--memory-per-worker"),
        (("--grace", "nan"), "--grace"),
        (("--max-steps", "0"), "--max-steps"),
        (("--models", "a,,b"), "--models"),
        (("--models", "x; rm -rf /"), "rm -rf"),
        (("--models", "$(id)"), "$(id)"),
        (("--models", "-m"), "-m"),
        (("--models", "m" * 129), "128"),
        (("--agent", "biuld"), "build"),
        (("--assign", "crss"), "cross"),
        (("--base", "no-such-ref"), "no-such-ref"),
        (("--base", "--all"), "--all"),
        (("--task", ""), "--task ''"),
        (("--task", "  \n "), "--task '"),
        (("--assign", ""), "--assign '': must not be empty"),
        (("--agent", ""), "--agent ''"),
        (("--backend", ""), "--backend ''"),
        (("--backend", " "), "--backend ' '"),
        (("--models", ""), "--models ''"),
        (("--base", ""), "--base ''"),
        (("--check", ""), "--check ''"),
        (("--artifacts", ""), "--artifacts ''"),
        (("--config", ""), "--config ''"),
        (("-c", ""), "--config ''"),
        (("--tripwire", ""), "--tripwire ''"),
        (("-c", "missing.yaml"), "missing.yaml"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
def test_a_wrong_flag_is_named_and_nothing_is_made(
    architect: Architect, checkout: Path, words: tuple[str, ...], named: str
) -> None:
    before = made(checkout)

    assert_refused(architect(*SHELL, *words), 2, named)

    assert made(checkout) == before


@pytest.mark.parametrize(
    "words",
    [
        ("merge", "latest", "1", "--into", ""),
        ("merge", "latest", "1", "--resolve", ""),
        ("merge", ""),
        ("parallel-cleanup", "--run", ""),
        ("status", ""),
        ("resume", ""),
        ("diff", ""),
        ("logs", ""),
        ("cancel", ""),
        ("report", "latest", "--output", ""),
        ("report", "latest", "--format", ""),
        ("run", "x", "--model", ""),
        ("run", "x", "--task-file", ""),
        ("run", ""),
        ("eval", "x", "--models", "a", "--check", "true", "--judge", ""),
        ("spec", "run", ""),
        ("spec", "run", "x.yaml", "--only", ""),
        ("spec", "run", "x.yaml", "--resume", ""),
        ("flow", "run", "x.yaml", "--var", ""),
        ("flow", "run", "--resume", ""),
        ("flow", "validate", ""),
        ("config", "show", "--config", ""),
        ("config", "schema", ""),
        ("import", ""),
    ],
)
def test_an_empty_word_is_no_name_and_no_default(architect: Architect, words: tuple[str, ...]) -> None:
    assert_refused(architect(*words), 2, " '': must not be empty")


def test_unknown_backend_offers_the_nearest(architect: Architect) -> None:
    assert_refused(architect("parallel", "x", "--backend", "cluade"), 2, "cluade", "claude")


def test_no_task_at_all(architect: Architect) -> None:
    assert_refused(architect("parallel", "--backend", "shell"), 2, "task")
    assert_refused(architect("parallel", "", "--backend", "shell"), 2, "TASK '': must not be empty")
    assert_refused(architect("parallel", "--backend", "shell", stdin=b""), 2, "task")


def test_a_task_that_is_no_text(architect: Architect) -> None:
    assert_refused(architect("parallel", "-", "--backend", "shell", stdin=b"\xff\xfe"), 2, "UTF-8")
    assert_refused(architect("parallel", "-", "--backend", "shell", stdin=b"a\0b"), 2, "NUL")
    for words in (("parallel", b"echo \xff"), ("parallel", "true", "--task", b"\xe9t\xe9"), ("parallel", "--lines")):
        answer = architect(*words, "--backend", "shell", stdin=b"true\necho \xff\n")
        assert_refused(answer, 2, "is not UTF-8")
    assert_refused(architect("run", b"echo \xff", "--backend", "shell"), 2, "the task is not UTF-8 (character 5)")
    assert_refused(architect("eval", b"\xff", "--models", "a", "--check", "true"), 2, "task 1 is not UTF-8")
    assert architect("status", "--json").json["runs"] == []


def test_a_file_of_tasks_that_is_no_text(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    for name, text, words in (
        ("t.json", b'{"tasks": [{"prompt": "\xff"}]}', ("parallel", "--file")),
        ("t.yaml", b"tasks: [{prompt: '\xff'}]", ("parallel", "--file")),
        ("s.yaml", b"name: a\ntasks: [{name: b, task: '\xff'}]", ("spec", "run")),
        ("f.yaml", b"a: {tool: shell, arguments: {prompt: '\xff'}}", ("flow", "run")),
        ("c.yaml", b"steps: [{backend: shell, prompt: '\xff'}]", ("chain",)),
        ("run.txt", b"\xff", ("run", "--backend", "shell", "--task-file")),
        ("c2.yaml", b"parallel: {agent: '\xff'}", ("parallel", "true", "--config")),
    ):
        (tmp_path / name).write_bytes(text)
        assert_refused(architect(*words, tmp_path / name), 2, name, "is not UTF-8")
    (tmp_path / "f.yaml").write_text("variables: {x: a}\nstates: {a: {tool: shell, arguments: {prompt: '{{ x }}'}}}")
    assert_refused(architect("flow", "run", tmp_path / "f.yaml", "--var", b"x=\xff"), 2, "--var x is not UTF-8")


def test_what_would_never_end_is_refused_at_once_where_a_file_is_wanted(architect: Architect, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for words in (
        ("parallel", "--backend", "shell", "--file"),
        ("parallel", "true", "--backend", "shell", "--config"),
        ("config", "show", "--config"),
        ("spec", "run"),
        ("spec", "validate"),
        ("flow", "run"),
        ("chain",),
        ("run", "--backend", "shell", "--task-file"),
    ):
        assert_refused(architect(*words, tmp_path / "pipe", timeout_s=60), 2, "pipe", "is not a file")
    (tmp_path / "f.yaml").write_text(
        f"a: {{tool: bash, arguments: {{command: 'echo {{{{ file({tmp_path}/pipe) }}}}'}}}}"
    )
    answer = architect("flow", "run", tmp_path / "f.yaml", "--json", timeout_s=60)
    assert (answer.code, "pipe is not a file" in answer.json["warnings"][0]) == (1, True)


BOMB = "\n".join(["tasks:", "- &a0 [x, x]", *(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])


def test_a_bomb_is_one_line(architect: Architect, tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMB)
    (tmp_path / "deep.json").write_text('{"tasks": ' + "[" * 100_000)
    for words in (
        ("parallel", "--backend", "shell", "--file"),
        ("parallel", "true", "--backend", "shell", "--config"),
        ("spec", "run"),
        ("flow", "run"),
        ("chain",),
    ):
        for name, said in (("bomb.yaml", "alias *a0 is not allowed"), ("deep.json", "nested deeper than 20 levels")):
            assert_refused(architect(*words, tmp_path / name), 2, name, said)
    assert_refused(architect("parallel", "--backend", "shell", stdin=BOMB.encode()), 2, "stdin", "alias *a0")


def test_a_missing_program_is_named_with_its_remedy_and_what_is_ready(architect: Architect, checkout: Path) -> None:
    before = made(checkout)
    narrow = {"PATH": "/usr/bin:/bin"}

    assert_refused(architect("parallel", "x", "--backend", "claude", env=narrow), 3, "claude", "--backend shell")
    assert_refused(architect("parallel", "x", "--backend", "architect", env=narrow), 3, "API_KEY", "--backend shell")

    assert made(checkout) == before


def test_a_program_that_is_not_executable_is_named(architect: Architect, tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\n")
    config = tmp_path / "config.yaml"
    config.write_text(f"backends: {{claude: {{command: ['{program}']}}}}\n")

    assert_refused(architect("parallel", "x", "--backend", "claude", "-c", str(config)), 3, str(program))


def test_outside_a_repository(architect: Architect, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()

    for words in (SHELL, ("status",), ("parallel-cleanup",), ("undo",), ("merge", "latest", "1"), ("logs", "latest")):
        assert_refused(architect(*words, cwd=tmp_path / "plain"), 3, "not in a git repository", "git init")


def test_a_repository_without_a_commit(architect: Architect, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")

    assert_refused(architect(*SHELL, cwd=empty), 3, "commit")
    assert [path.name for path in empty.iterdir()] == [".git"]


def test_a_branch_in_the_way_of_ours_is_named(architect: Architect, checkout: Path) -> None:
    git(checkout, "branch", "architect")

    assert_refused(architect(*SHELL), 3, "architect")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("parallel_runs: {wrokers: 3}\n", "workers"),
        ("parallel_runs: {workers: three}\n", "workers"),
        ("parallel_runs: {workers: 3, workers: 4}\n", "duplicate key parallel_runs.workers"),
        ("a: &x {b: 1}\nc: *x\n", "alias"),
        ("parallel_runs: {budget: .nan}\n", "budget"),
        ("parallel_runs: [\n", "2"),
        ("- a\n", "mapping"),
        ("worktrees: {copy: ['../outside']}\n", "../outside"),
        ("backends: {mytool: {command: ['x', '{prmpt}']}}\n", "prmpt"),
    ],
)
def test_a_wrong_config_is_named_with_file_and_key(
    architect: Architect, checkout: Path, tmp_path: Path, text: str, named: str
) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(text)
    before = made(checkout)

    answer = architect(*SHELL, "-c", str(config))

    assert answer.code == 2
    assert "own.yaml" in answer.err or "worktrees.copy" in answer.err
    assert named in answer.err
    assert "Traceback" not in answer.err
    assert made(checkout) == before


@pytest.mark.parametrize("command", ["status", "logs", "diff", "resume", "cancel"])
def test_an_unknown_run_is_exit_4(architect: Architect, command: str) -> None:
    assert_refused(architect(command, "20200101-000000-abcd"), 4, "20200101-000000-abcd")


def test_an_unknown_worker_is_exit_2(architect: Architect) -> None:
    architect(*SHELL, "--workers", "1")

    for words in (("logs", "latest", "2"), ("diff", "latest", "2"), ("merge", "latest", "2"), ("diff", "latest", "x")):
        assert_refused(architect(*words), 2)


def test_resume_of_a_finished_run_is_exit_4(architect: Architect) -> None:
    architect(*SHELL, "--workers", "1")

    assert_refused(architect("resume", "latest"), 4, "succeeded")
    assert_refused(architect("cancel", "latest"), 4, "not live")


def test_a_bug_of_ours_is_exit_70_with_the_path_of_a_log(architect: Architect, tmp_path: Path) -> None:
    # The one way in for a bug: a module of ours that breaks.
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import architect_parallel.system.git as g\n"
        "def boom(path): raise ZeroDivisionError('boom')\n"
        "g.open_repository = boom\n"
    )

    answer = architect("status", env={"PYTHONPATH": str(tmp_path)})

    assert answer.code == 70
    assert "ZeroDivisionError" in answer.err
    log = Path(answer.err.rsplit(" ", 1)[1].strip())
    assert "boom" in log.read_text()
    log.unlink()


def test_a_nested_repository_is_its_own(architect: Architect, checkout: Path) -> None:
    inner = make_repository(checkout / "vendor" / "inner")

    envelope = architect(*SHELL, "--workers", "1", "--json", cwd=inner).json

    assert envelope["results"][0]["worktree_path"] == str(inner / ".architect-parallel-1")
