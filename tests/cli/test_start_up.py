"""What a command does not need is not loaded; words of the command line mean what they meant to typer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.console import Architect

CODE = """
import sys
from architect_parallel.cli.app import run
code = run(sys.argv[1:])
sys.stderr.write(f"{code} {sorted({'git', 'jinja2', 'pydantic', 'rich', 'textual', 'yaml'} & set(sys.modules))}\\n")
"""


@pytest.mark.parametrize(
    "words",
    [
        ("parallel", "true", "--task", "false", "--backend", "shell", "--quiet"),
        ("parallel", "true", "--backend", "shell", "--dry-run"),
        ("status",),
        ("parallel-cleanup", "--dry-run"),
    ],
)
def test_a_plain_command_loads_no_schema_and_no_parser(checkout: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *words], cwd=checkout, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] in ("0 []", "1 []"), done.stderr


def test_only_an_html_report_loads_the_template_engine(architect: Architect, checkout: Path) -> None:
    assert architect("parallel", "true", "--backend", "shell", "--workers", "1").code == 0
    for output_format, loaded in (("text", "[]"), ("html", "['jinja2']")):
        words = ("report", "latest", "--format", output_format)
        done = subprocess.run([sys.executable, "-c", CODE, *words], cwd=checkout, capture_output=True, text=True)
        assert done.stderr.splitlines()[-1] == f"0 {loaded}"


def test_a_configuration_does_load_them(checkout: Path) -> None:
    """The control."""
    (checkout / "c.yaml").write_text("parallel_runs: {max_steps: 3}\n")
    words = ("parallel", "true", "--backend", "shell", "--dry-run", "-c", "c.yaml")
    done = subprocess.run([sys.executable, "-c", CODE, *words], cwd=checkout, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "0 ['pydantic', 'yaml']"


@pytest.mark.parametrize("words", [("--help",), ("parallel", "--help"), ("diff", "latest", "1"), ("compare", "latest")])
def test_no_command_loads_gitpython(checkout: Path, architect: Architect, words: tuple[str, ...]) -> None:
    architect("parallel", "echo new > new.txt", "--backend", "shell", "--quiet")
    done = subprocess.run([sys.executable, "-c", CODE, *words], cwd=checkout, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("0 ["), done.stderr
    assert "'git'" not in done.stderr.splitlines()[-1]


def test_a_script_that_asks_for_a_repository_does_load_it(checkout: Path) -> None:
    """The control."""
    code = "import sys, architect_parallel; architect_parallel.open_repository('.'); sys.exit('git' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=checkout).returncode == 0


def test_absent_repeated_and_converted_words(architect: Architect) -> None:
    plan = architect("parallel", "a", "--task", "b", "--task", "-c", "--backend", "shell", "--dry-run", "--json").json
    assert [each["prompt"] for each in plan["workers"]] == ["a", "b", "-c"]
    missing = architect("import")
    assert (missing.code, "Missing argument 'DIR'" in missing.err) == (2, True)
    assert architect("status", "--help").code == architect("--version").code == 0
