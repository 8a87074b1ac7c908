"""What one types first: a task alone, help, short flags, several agents, several attempts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.console import SCRIPT, Architect, write_program
from support.typing_user import TypingUser

DRY = ("--dry-run", "--json")
READY = """
import sys
if "--version" in sys.argv:
    print("1.0")
"""

EDITOR = """
import sys
text = open(sys.argv[-1]).read()
open(sys.argv[-1], "w").write("# Fix\\n" + text)
"""


def workers(architect: Architect, *words: str, **more: object) -> list[tuple[str, str, str | None, str]]:
    """Name, backend, model and prompt of each planned worker."""
    answer = architect(*words, *DRY, **more)  # type: ignore[arg-type]  # as given
    assert answer.code == 0, answer.err
    planned = answer.json["workers"]
    return [(spec["name"], spec["backend"], spec["model"], spec["prompt"]) for spec in planned]


@pytest.fixture
def agents(tmp_path: Path) -> dict[str, str]:
    """Variables with which `claude` and `codex` are ready."""
    for name in ("claude", "codex"):
        write_program(tmp_path / name, READY)
    return {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "CLAUDE_CODE_OAUTH_TOKEN": "k-123",
        "CODEX_API_KEY": "k-123",
    }


def test_a_task_with_white_space_needs_no_command(architect: Architect) -> None:
    assert workers(architect, "echo hi", "-b", "shell", "-n", "1") == [("worker-1", "shell", None, "echo hi")]
    for word in ("echo", "paralel"):
        mistyped = architect(word, "-b", "shell")
        assert (mistyped.code, mistyped.out) == (2, "")
        assert f"No such command '{word}'" in mistyped.err
    assert architect(" ").code == 2


def test_help(architect: Architect) -> None:
    bare = architect()
    assert (bare.code, bare.err) == (0, "")
    assert bare.out == architect("--help").out == architect("help").out
    assert architect("help", "merge").out == architect("merge", "--help").out
    assert architect("help", "config", "show").out == architect("config", "show", "--help").out
    assert architect("config").out == architect("config", "--help").out
    unknown = architect("help", "merg")
    assert (unknown.code, "unknown command 'merg'; did you mean 'merge'?" in unknown.err) == (2, True)
    assert architect("-V").out == architect("--version").out


def test_the_headings_come_in_the_order_of_use(architect: Architect) -> None:
    headings = [line.rstrip(":") for line in architect().out.splitlines() if line.endswith(":")]
    assert headings[:3] == ["Options", "Run tasks", "Look at runs"]


def test_several_agents_do_every_task(architect: Architect, agents: dict[str, str]) -> None:
    two = workers(
        architect, "parallel", "--task", "a b", "--task", "c d", "--agents", "claude, codex:gpt-5:x", env=agents
    )
    assert [spec[1:] for spec in two] == [
        ("claude", None, "a b"), ("codex", "gpt-5:x", "a b"), ("claude", None, "c d"), ("codex", "gpt-5:x", "c d"),
    ]  # fmt: skip
    thrice = workers(architect, "a b", "--agents", "claude,shell", "--attempts", "2", "--name", "fix", env=agents)
    assert [spec[:2] for spec in thrice] == [
        ("fix", "claude"),
        ("fix-2", "shell"),
        ("fix-3", "claude"),
        ("fix-4", "shell"),
    ]


def test_a_configured_model_is_not_for_another_agent(architect: Architect, agents: dict[str, str]) -> None:
    env = agents | {"ARCHITECT_MODEL": "gpt-4o", "ARCHITECT_BACKEND": "codex"}
    planned = workers(architect, "a b", "--agents", "claude", env=env)
    assert [spec[1:3] for spec in planned] == [("claude", None)]


def test_attempts_are_for_each_task_and_model(architect: Architect, agents: dict[str, str]) -> None:
    assert len(workers(architect, "a b", "-b", "shell", "--attempts", "5")) == 5
    models = workers(architect, "a b", "-b", "claude", "--models", "m,n", "--attempts", "2", env=agents)
    assert [spec[2] for spec in models] == ["m", "n", "m", "n"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--agents", "claude", "--backend", "shell"], "--agents and --backend exclude each other"),
        (["--agents", "claude", "-m", "x"], "--agents and --model exclude each other"),
        (["--agents", "claude,"], "--agents 'claude,': entry 2 is empty"),
        (["--agents", "nobody"], "unknown backend 'nobody'"),
        (["--agents", "claude:-x"], "--agents 'claude:-x': must be a model name"),
        (["--attempts", "2", "--workers", "3"], "--attempts and --workers exclude each other"),
        (["--attempts", "0", "-b", "shell"], "--attempts '0': must be a whole number from 1 to 10"),
        (["--name", "a\tb", "-b", "shell"], "--name 'a\\tb' must be one line"),
    ],
)
def test_what_does_not_go_together(architect: Architect, words: list[str], message: str) -> None:
    refused = architect("a b", *words)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err


def test_a_task_from_a_file_and_from_an_editor(architect: Architect, tmp_path: Path) -> None:
    (tmp_path / "task.md").write_text("# Fix\n\nall of it\n")
    more = ("-b", "shell", "-n", "1")
    assert (
        workers(architect, "parallel", "--prompt-file", str(tmp_path / "task.md"), *more)[0][3] == "# Fix\n\nall of it"
    )
    write_program(
        tmp_path / "editor",
        "import sys\ntext = open(sys.argv[-1]).read()\nopen(sys.argv[-1], 'w').write('# Fix\\n' + text)\n",
    )
    env = {"VISUAL": f"'{tmp_path}/editor' --wait"}
    assert workers(architect, "parallel", "begin so", "--edit", *more, env=env)[0][3] == "# Fix\nbegin so"
    for environ, message in (({"VISUAL": "true"}, "no task given"), ({"EDITOR": "false"}, "ended with exit code 1")):
        refused = architect("parallel", "--edit", *more, env=environ)
        assert (refused.code, message in refused.err) == (2, True), refused.err
    missing = architect("parallel", "--prompt-file", "nope.md", *more)
    assert (missing.code, "nope.md cannot be read" in missing.err) == (2, True)


def test_the_only_agent_that_is_ready_is_the_default(
    architect: Architect, agents: dict[str, str], tmp_path: Path
) -> None:
    one = agents | {"CODEX_API_KEY": ""}
    assert {spec[1] for spec in workers(architect, "a b", env=one)} == {"claude"}
    none = architect("a b", *DRY, env={"PATH": "/usr/bin:/bin"})
    assert (none.code, none.err) == (3, "architect: no agent is ready here\n  try: architect backends\n")
    several = architect("a b", *DRY, env=agents)
    assert (several.code, several.out) == (3, "")
    assert several.err.startswith("architect: several agents are ready here, and none is chosen: claude, codex\n")
    (tmp_path / "t.json").write_text('{"tasks": [{"prompt": "x"}, {"prompt": "y", "backend": "shell"}]}')
    file = workers(architect, "parallel", "-f", str(tmp_path / "t.json"), env=one)
    assert [spec[1] for spec in file] == ["claude", "shell"]
    assert {spec[1] for spec in workers(architect, "a b", env=agents | {"ARCHITECT_BACKEND": "codex"})} == {"codex"}


def test_on_a_terminal_the_choice_is_asked_once_and_remembered(
    architect: Architect, agents: dict[str, str], checkout: Path, home: Path
) -> None:
    user = TypingUser([SCRIPT, "a b", "--dry-run"], checkout, agents)
    try:
        user.wait_for(r"Which one is the default\?\s+1  claude\s+2  codex\s+\[1\] ")
        user.type("2\n")
        assert user.exit_code() == 0
    finally:
        user.end()
    assert (home / ".config" / "architect-parallel" / "config.yaml").read_text() == "parallel_runs:\n  backend: codex\n"
    assert {spec[1] for spec in workers(architect, "a b", env=agents)} == {"codex"}
