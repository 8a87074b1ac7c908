"""Completion in real shells: bash and zsh at a terminal, fish by its own engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.console import SCRIPT, Architect
from support.typing_user import TypingUser

START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(architect completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -u -D; eval "$(architect completion zsh)"'),
}


@pytest.fixture
def run_id(architect: Architect) -> str:
    """A run of two workers with names; the one task has a quote and a colon in it."""
    tasks = ("--task", "echo 'a: b' > f", "--task", "true", "--name", "fix it")
    return str(architect("parallel", *tasks, "-b", "shell", "--json").json["run_id"])


def require_shell(name: str) -> None:
    if shutil.which(name) is None and not os.environ.get("CI"):
        pytest.skip(f"no {name} here")


@contextmanager
def terminal(shell: str, cwd: Path) -> Iterator[TypingUser]:
    """A shell at a terminal, with completion."""
    require_shell(shell)
    argv, begin = START[shell]
    path = f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"
    user = TypingUser(argv, cwd, {"PATH": path, "PS1": "> ", "COLUMNS": "200"})
    try:
        user.type(f"{begin}; echo rea''dy\n")
        user.wait_for("ready\r?\n")
        yield user
    finally:
        user.end()


@pytest.mark.parametrize("shell", START)
def test_a_shell_completes(shell: str, run_id: str, checkout: Path) -> None:
    with terminal(shell, checkout) as screen:
        screen.type("architect leade\t\n")
        screen.wait_for("leaderboard")
        screen.type(f"architect status {run_id[:-2]}\t")
        screen.wait_for(re.escape(run_id))
        screen.type("\x15architect path fix\\ it-\t\n")  # Ctrl-U, then the name of the second worker
        screen.wait_for(r"\.architect-parallel-2")
        screen.type("architect parallel --agents codex,claude:claude-opus-4-\t\t")
        screen.wait_for("claude-opus-4-1")
        screen.type("\x15architect report --format=ju\t\n")
        screen.wait_for("<testsuite")


def test_fish_completes(run_id: str, checkout: Path, architect: Architect) -> None:
    require_shell("fish")

    def candidates(line: str) -> list[str]:
        code = 'architect completion fish | source; complete --do-complete "$argv"'
        path = f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code, line],
            cwd=checkout,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert candidates("architect leade") == ["leaderboard\tShow how models did over all competitions here."]
    assert candidates(f"architect status {run_id[:-1]}") == [f"{run_id}\techo 'a: b' > f"]
    assert candidates("architect logs fi") == ["fix it\techo 'a: b' > f", "fix it-2\ttrue"]
    assert candidates("architect parallel --assign r") == ["round-robin"]
    assert "README.md" in candidates("architect parallel --file READ")


def offered(architect: Architect, line: str, **more: str) -> list[str]:
    answer = architect("completion", "bash", "--line", line, env=more)
    assert (answer.code, answer.err) == (0, "")
    return answer.out.splitlines()


def test_what_is_offered(architect: Architect, run_id: str) -> None:
    assert offered(architect, "architect mer") == ["merge\tLand one result on a branch, or several combined."]
    workers = ["1\techo 'a: b' > f", "fix it\techo 'a: b' > f", "2\ttrue", "fix it-2\ttrue"]
    assert offered(architect, "architect diff ") == [*workers, "latest\tthe newest run", f"{run_id}\techo 'a: b' > f"]
    assert offered(architect, "architect diff 1 ") == workers[2:]
    assert offered(architect, "architect path 1 ") == []
    assert offered(architect, "architect help config tr") == ["trust\t"]
    assert offered(architect, "architect parallel x --backend cla") == ["claude\tnot ready here"]
    assert offered(architect, "architect parallel --agent pl")[0].startswith("plan\tMake a plan")
    assert offered(architect, "architect merge 1 --into ma") == ["main\t"]
    assert offered(architect, "architect parallel -f t") == [":files\t"]
    assert offered(architect, "architect import ") == [":directories\t"]
    assert offered(architect, "architect completion z") == ["zsh\t"]
    assert offered(architect, "architect parallel 'a b' --check x --dry")[0].startswith("--dry-run\t")
    models = offered(architect, "architect parallel --models my,gpt-4o-min")
    assert models[0].startswith("my,gpt-4o-mini\t")
    assert len({line.split("\t")[0] for line in models}) == len(models)


def test_where_nothing_is_known_nothing_is_offered(architect: Architect, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for line in ("architect diff ", "architect merge --into ", "architect diff nope ", "architect parallel --assign x"):
        answer = architect("completion", "bash", "--line", line, cwd=tmp_path / "bare")
        assert (answer.code, answer.out, answer.err) == (0, "", ""), line


def test_scripts(architect: Architect) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert architect("completion", shell).out.startswith(("# ", "#compdef "))
    assert "eval" in architect("completion").out
    unknown = architect("completion", "tcsh")
    assert (unknown.code, "unknown shell 'tcsh'; known: bash, fish, zsh" in unknown.err) == (2, True)
