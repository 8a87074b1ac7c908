"""The test command of a repository is found from its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.config.found_checks import find_checks


@pytest.mark.parametrize(
    ("files", "checks"),
    [
        ({}, ()),
        ({"Makefile": "all:\n\ttrue\ntest: all\n\ttrue\ncheck:\n"}, ("make test",)),
        ({"Makefile": "check:\n\ttrue\n"}, ("make check",)),
        ({"Makefile": "test := no target\n.PHONY: test\n"}, ()),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, ("pytest -q",)),
        ({"pyproject.toml": "[project]\n", "tests/test_a.py": "import pytest\n", "uv.lock": ""}, ("uv run pytest -q",)),
        ({"setup.py": "", "tests/test_a.py": "import unittest\n"}, ("python -m unittest discover -s tests -t .",)),
        ({"pyproject.toml": "[project]\n"}, ()),
        ({"pyproject.toml": "not toml ["}, ()),
        ({"package.json": '{"scripts": {"test": "jest"}}'}, ("npm test",)),
        ({"package.json": '{"scripts": {"test": "jest"}}', "pnpm-lock.yaml": ""}, ("pnpm test",)),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, ()),
        ({"package.json": "[1]"}, ()),
        ({"Cargo.toml": "", "go.mod": ""}, ("cargo test", "go test ./...")),
        ({"gradlew": "", "pom.xml": ""}, ("./gradlew test",)),
    ],
)
def test_found_checks(tmp_path: Path, files: dict[str, str], checks: tuple[str, ...]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert find_checks(tmp_path) == checks
