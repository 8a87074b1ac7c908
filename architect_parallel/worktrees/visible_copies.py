"""Tools of a checkout that do not know git's `info/exclude`, and so take up the worktrees inside the checkout.

Every line of the two tables was tried with the real tool (`docs/worktrees.md`). A tool that is not set up in the
repository is not named, and neither is one whose own settings mention the worktrees.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from architect_parallel.domain import WorktreeSettings
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.places import DIRECTORY_PREFIX, shared_directory

_KNOW_NESTED_RULES = frozenset({"npm pack", "black"})
"""Tools that read the `.gitignore` in a directory of this program (`places.exclude_from_status`)."""
_JS_TOOLS = ("jest", "vitest", "eslint", "prettier")
_OWN_FILES = (
    *("package.json", "pyproject.toml", ".flake8", "setup.cfg", "tox.ini", ".isort.cfg", ".npmignore"),
    *(".prettierignore", ".eslintignore", ".gitignore"),
    *(f"{tool}.config.{end}" for tool in ("jest", "vitest", "vite", "eslint") for end in ("js", "cjs", "mjs", "ts")),
)


def tools_that_see(repository: Repository, settings: WorktreeSettings) -> list[str]:
    """The tools that this repository uses and that take up its worktrees, sorted."""
    checkout = repository.main_checkout
    place = shared_directory(repository, settings)
    if checkout is None or not place.is_relative_to(checkout):
        return []
    name = DIRECTORY_PREFIX if place == checkout else place.relative_to(checkout).parts[0]
    if any(name.rstrip("-") in _read(checkout / file) for file in _OWN_FILES):
        return []
    tools = {*_in_javascript(checkout), *_in_python(checkout)}
    return sorted(tools if place == checkout else tools - _KNOW_NESTED_RULES)


def _in_javascript(checkout: Path) -> Iterator[str]:
    package = _parsed(checkout / "package.json")
    if not package:
        return
    if not package.get("private") and not package.get("files"):
        yield "npm pack"
    needed = {**_table(package, "dependencies"), **_table(package, "devDependencies")}
    yield from (tool for tool in _JS_TOOLS if tool in needed)
    if any("node --test" in str(script) for script in _table(package, "scripts").values()):
        yield "node --test"


def _in_python(checkout: Path) -> Iterator[str]:
    project = _parsed(checkout / "pyproject.toml")
    tools = _table(project, "tool")
    if str(_table(project, "build-system").get("build-backend", "")).startswith("hatchling"):
        target = _table(_table(_table(_table(tools, "hatch"), "build"), "targets"), "sdist")
        if not target.get("include") and not target.get("only-include"):
            yield "hatchling"
    yield from (tool for tool in ("black", "isort") if tool in tools)
    if (checkout / ".isort.cfg").is_file():
        yield "isort"
    if (checkout / ".flake8").is_file() or any(
        "[flake8]" in _read(checkout / name) for name in ("setup.cfg", "tox.ini")
    ):
        yield "flake8"


def _parsed(file: Path) -> dict[str, Any]:
    try:
        text = _read(file)
        data = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _table(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        return ""
