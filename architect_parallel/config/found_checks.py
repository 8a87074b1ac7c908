"""The test commands that the files of a repository suggest, for `architect init`. Reads files and starts nothing."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

LARGEST_BYTES = 1024**2
_TARGET = re.compile(r"^(check|test)\s*:(?!=)", re.MULTILINE)
_NOT_WRITTEN = "no test specified"
"""Part of the script that `npm init` writes in place of tests."""
_LOCKS = {
    "pnpm-lock.yaml": "pnpm test",
    "yarn.lock": "yarn test",
    "bun.lockb": "bun run test",
    "bun.lock": "bun run test",
}


def find_checks(top: Path) -> tuple[str, ...]:
    """Commands that run the tests of the repository at `top`, the likeliest first. Empty if nothing suggests one."""
    commands = [
        _make(top),
        _python(top),
        _node(top),
        "cargo test" if (top / "Cargo.toml").is_file() else None,
        "go test ./..." if (top / "go.mod").is_file() else None,
        "./gradlew test" if (top / "gradlew").is_file() else None,
        "mvn -q test" if (top / "pom.xml").is_file() and not (top / "gradlew").is_file() else None,
        "bundle exec rspec" if (top / "Gemfile").is_file() and (top / "spec").is_dir() else None,
        "mix test" if (top / "mix.exs").is_file() else None,
    ]
    return tuple(dict.fromkeys(command for command in commands if command is not None))


def _make(top: Path) -> str | None:
    names = [
        match[1] for name in ("GNUmakefile", "makefile", "Makefile") for match in _TARGET.finditer(_text(top / name))
    ]
    return None if not names else "make test" if "test" in names else "make check"


def _python(top: Path) -> str | None:
    project = _toml(top / "pyproject.toml")
    configured = "pytest" in project.get("tool", {}) or any(
        section in _text(top / name)
        for name, section in (("pytest.ini", "[pytest]"), ("tox.ini", "[pytest]"), ("setup.cfg", "[tool:pytest]"))
    )
    is_python = bool(project) or (top / "setup.py").is_file() or (top / "setup.cfg").is_file()
    tests = [path for folder in ("tests", "test") for path in sorted((top / folder).glob("test_*.py"))]
    if not configured and not (is_python and tests):
        return None
    uses_pytest = (
        configured or "pytest" in _text(top / "pyproject.toml") or any("import pytest" in _text(p) for p in tests)
    )
    prefix = "uv run " if (top / "uv.lock").is_file() else "poetry run " if (top / "poetry.lock").is_file() else ""
    return (
        f"{prefix}pytest -q" if uses_pytest else f"{prefix}python -m unittest discover -s {tests[0].parent.name} -t ."
    )


def _node(top: Path) -> str | None:
    try:
        script = json.loads(_text(top / "package.json"))["scripts"]["test"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(script, str) or not script.strip() or _NOT_WRITTEN in script:
        return None
    return next((command for name, command in _LOCKS.items() if (top / name).is_file()), "npm test")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_BYTES).decode(errors="replace")
    except OSError:
        return ""
