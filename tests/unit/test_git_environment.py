"""`system.git`: what git processes of the launcher inherit, and how their output is read."""

from __future__ import annotations

import pytest

from architect_parallel.errors import ExitCode
from architect_parallel.system.git import GitError, Output, scrubbed_environment


@pytest.mark.parametrize(
    "name", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_CONFIG_PARAMETERS", "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_TRACE"]
)
def test_inherited_git_variables_are_dropped(name: str) -> None:
    assert name not in scrubbed_environment({name: "x"})


def test_identity_and_everything_else_stay() -> None:
    given = {"GIT_AUTHOR_NAME": "A", "GIT_COMMITTER_EMAIL": "c@example.invalid", "PATH": "/bin", "SSH_AUTH_SOCK": "s"}
    assert given.items() <= scrubbed_environment(given).items()


def test_nothing_prompts_and_messages_are_in_one_language() -> None:
    environment = scrubbed_environment({"GIT_TERMINAL_PROMPT": "1", "GIT_EDITOR": "vi", "LC_ALL": "de_DE.UTF-8"})
    assert environment["GIT_TERMINAL_PROMPT"] == "0"
    assert environment["GIT_EDITOR"] == "true"
    assert environment["LC_ALL"] == "C.UTF-8"


def test_output_survives_any_bytes() -> None:
    output = Output(0, b"caf\xe9\n\0two\n", "")
    assert output.fields == ["caf\udce9\n"]
    assert output.text == "caf\udce9\n\0two"


def test_an_error_is_one_line_and_names_the_command() -> None:
    error = GitError(("worktree", "add"), 128, "fatal: no\n  space\n")
    assert str(error) == "git worktree add failed: fatal: no space"
    assert error.exit_code == ExitCode.ENVIRONMENT
    assert str(GitError(("gc",), 3, "")) == "git gc failed: exit code 3"
