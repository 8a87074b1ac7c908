"""`system.git`: what git processes of the launcher inherit, and how their output is read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from architect_parallel.errors import ExitCode
from architect_parallel.system.git import Git, GitError, GitOutput
from architect_parallel.system.git_environment import scrubbed_environment


@pytest.mark.parametrize(
    "name",
    [
        *("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"),
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CEILING_DIRECTORIES", "GIT_EXEC_PATH", "GIT_TEMPLATE_DIR"),
        *("GIT_EXTERNAL_DIFF", "GIT_TRACE", "GIT_CONFIG", "GIT_DEFAULT_HASH", "GIT_PREFIX", "GIT_REPLACE_REF_BASE"),
    ],
)
def test_inherited_git_variables_are_dropped(name: str) -> None:
    assert name not in scrubbed_environment({name: "x"})


def test_identity_configuration_access_and_everything_else_stay() -> None:
    given = {
        "GIT_AUTHOR_NAME": "A", "GIT_COMMITTER_EMAIL": "c@example.invalid", "PATH": "/bin", "SSH_AUTH_SOCK": "s",
        "GIT_CONFIG_GLOBAL": "/g", "GIT_CONFIG_SYSTEM": "/s", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*", "GIT_CONFIG_PARAMETERS": "'a.b'='c'",
        "GIT_SSH": "ssh", "GIT_SSH_COMMAND": "ssh -4", "GIT_ASKPASS": "ask", "GIT_SSL_CAINFO": "/ca",
    }  # fmt: skip
    assert given.items() <= scrubbed_environment(given).items()


def test_nothing_prompts_and_messages_are_in_one_language() -> None:
    environment = scrubbed_environment({"GIT_TERMINAL_PROMPT": "1", "GIT_EDITOR": "vi", "LC_ALL": "de_DE.UTF-8"})
    assert environment["GIT_TERMINAL_PROMPT"] == "0"
    assert environment["GIT_EDITOR"] == "true"
    assert environment["LC_ALL"] == "C.UTF-8"


def test_output_survives_any_bytes() -> None:
    output = GitOutput(0, b"caf\xe9\n\0two\n", "")
    assert output.fields == ["caf\udce9\n"]
    assert output.text == "caf\udce9\n\0two"


def test_an_error_is_one_line_and_names_the_command() -> None:
    error = GitError(("worktree", "add"), 128, "fatal: no\n  space\n")
    assert str(error) == "git worktree add failed: fatal: no space"
    assert error.exit_code == ExitCode.ENVIRONMENT
    assert str(GitError(("gc",), 3, "")) == "git gc failed: exit code 3"


@pytest.mark.parametrize("command", ["status", "for-each-ref", "rev-list", "add", "diff-tree", "bundle", "worktree"])
def test_git_talks_to_nobody_and_takes_no_object_for_another(tmp_path: Path, command: str) -> None:
    _, environment = Git(cwd=tmp_path).command(command)
    assert environment["GIT_ALLOW_PROTOCOL"] == "none"
    assert environment["GIT_NO_LAZY_FETCH"] == "1"
    assert environment["GIT_NO_REPLACE_OBJECTS"] == "1"


@pytest.mark.parametrize("command", ["push", "lfs", "reset", "read-tree", "merge-tree", "checkout"])
def test_pushes_and_checkouts_may_use_the_usual_transports(tmp_path: Path, command: str) -> None:
    _, environment = Git(cwd=tmp_path).command(command)
    assert environment["GIT_ALLOW_PROTOCOL"] == "https:ssh:http:git:file"
    assert "GIT_NO_LAZY_FETCH" not in environment
    assert environment["GIT_NO_REPLACE_OBJECTS"] == "1"


def test_git_is_named_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git in the directory that git runs in is not it, even with `.` on the PATH."""
    (tmp_path / "git").write_text("#!/bin/sh\necho evil\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")
    assert shutil.which("git") == "./git"
    argv, _ = Git(cwd=tmp_path).command("version")
    assert os.path.isabs(argv[0])
    assert Path(argv[0]).parent != tmp_path
    assert Git(cwd=tmp_path).text("version").startswith("git version")
