"""Tools that take up worktrees inside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.repositories import make_repository

from architect_parallel.domain import WorktreeSettings
from architect_parallel.system.git import open_repository
from architect_parallel.worktrees.places import exclude_from_status
from architect_parallel.worktrees.visible_copies import tools_that_see

FILES = {
    "package.json": json.dumps({"devDependencies": {"jest": "1", "prettier": "3"}, "scripts": {"test": "node --test"}}),
    "pyproject.toml": '[build-system]\nbuild-backend = "hatchling.build"\n[tool.black]\n[tool.isort]\n',
    "setup.cfg": "[flake8]\nmax-line-length = 100\n",
}


def seen(directory: Path, files: dict[str, str], root: str = "{repo}") -> list[str]:
    return tools_that_see(open_repository(make_repository(directory / "repo", files)), WorktreeSettings(root=root))


def test_the_tools_of_the_repository_are_named(tmp_path: Path) -> None:
    named = ["black", "flake8", "hatchling", "isort", "jest", "node --test", "npm pack", "prettier"]
    assert seen(tmp_path, FILES) == named


def test_a_directory_of_its_own_hides_them_from_some_and_one_outside_from_all(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    assert seen(inside, FILES, "{repo}/.worktrees/{name}") == sorted(
        ["flake8", "hatchling", "isort", "jest", "node --test", "prettier"]
    )
    assert seen(outside, FILES, "../{repo}.worktrees/{name}") == []


@pytest.mark.parametrize(
    "files",
    [
        {"package.json": "{"},
        {"package.json": "[]", "pyproject.toml": "x ="},
        {"package.json": json.dumps({"private": True}), "pyproject.toml": "[tool.ruff]\n"},
        {"package.json": json.dumps({"files": ["dist"]})},
        {**FILES, ".prettierignore": ".architect-parallel-*/\n"},
    ],
)
def test_without_such_a_tool_or_with_its_own_settings_nothing_is_named(tmp_path: Path, files: dict[str, str]) -> None:
    assert seen(tmp_path, files) == []


def test_a_new_directory_inside_the_checkout_ignores_itself_and_an_old_one_is_left_alone(tmp_path: Path) -> None:
    repository = open_repository(make_repository(tmp_path / "repo"))
    (repository.root / "mine").mkdir()
    for name in ("trees", "mine"):
        exclude_from_status(repository, WorktreeSettings(root=f"{name}/{{name}}"))
    assert (repository.root / "trees" / ".gitignore").read_text().splitlines()[-1] == "*"
    assert list((repository.root / "mine").iterdir()) == []
