"""Values are written into a configuration file as a person would write them: nothing else in it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from architect_parallel.config.writing import changed_text, write_values
from architect_parallel.config.yaml_source import read_document
from architect_parallel.errors import EnvironmentProblem

BACKEND = {("parallel_runs", "backend"): "claude"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "parallel_runs:\n  backend: claude\n"),
        ("# mine", "# mine\nparallel_runs:\n  backend: claude\n"),
        ("parallel_runs:\n", "parallel_runs:\n  backend: claude\n"),
        ("parallel_runs: null  # none\nagents: {}\n", "parallel_runs:\n  backend: claude  # none\nagents: {}\n"),
        ("parallel_runs: {}\n", "parallel_runs: {backend: claude}\n"),
        ("parallel: {workers: 3}", "parallel: {backend: claude, workers: 3}\n"),
        ("parallel:\n    # few\n    workers: 3\n", "parallel:\n    # few\n    backend: claude\n    workers: 3\n"),
        (
            "parallel_runs:\n  backend: codex  # x\n  workers: 2\n",
            "parallel_runs:\n  backend: claude  # x\n  workers: 2\n",
        ),
        ("{prices: {}}", "{parallel_runs: {backend: claude}, prices: {}}\n"),
        ("agents: {}\n", "agents: {}\nparallel_runs:\n  backend: claude\n"),
    ],
)
def test_the_rest_stays_as_it_is(before: str, after: str) -> None:
    assert changed_text(before, BACKEND) == after


def test_a_list_takes_the_place_of_another() -> None:
    before = "parallel_runs:\n  checks:\n  - a\n  - b\n  workers: 2\nagents: {}\n"
    after = changed_text(before, {("parallel_runs", "checks"): ["make test", "npm test: all"]})
    assert after == 'parallel_runs:\n  checks: ["make test", "npm test: all"]\n  workers: 2\nagents: {}\n'


@pytest.mark.parametrize("value", ["yes", "null", "a: b", "#x", "{repo}", " x", "1", "../{repo}.worktrees/{name}", "ü"])
def test_any_text_is_read_as_the_same_text(value: str) -> None:
    text = changed_text("", {("worktrees", "root"): value})
    assert read_document(text.encode()).data == {"worktrees": {"root": value}}


@pytest.mark.parametrize("text", ["[1]", "a: &x 1", "a: [", "parallel_runs: [1]\n"])
def test_what_cannot_be_changed_safely_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(EnvironmentProblem, match="cannot be changed") as refused:
        write_values(path, BACKEND)
    assert refused.value.hint == "set parallel_runs.backend: claude there"
    assert path.read_text() == text


def test_a_link_and_the_mode_of_a_file_stay(tmp_path: Path) -> None:
    target, path = tmp_path / "dotfiles", tmp_path / "config.yaml"
    target.write_text("agents: {}\n")
    target.chmod(0o640)
    path.symlink_to(target)
    write_values(path, BACKEND)
    assert path.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert "backend: claude" in target.read_text()
    new = tmp_path / "new" / "config.yaml"
    write_values(new, BACKEND)
    assert new.stat().st_mode & 0o777 == 0o600
    assert os.stat(new.parent).st_mode & 0o777 == 0o700
