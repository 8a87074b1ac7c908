"""What a command does not need is not loaded; words of the command line mean what they meant to typer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from console import Architect

CODE = """
import sys
from architect_parallel.cli.app import run
code = run(sys.argv[1:])
sys.stderr.write(f"{code} {sorted({'jinja2', 'pydantic', 'yaml', 'rich'} & set(sys.modules))}\\n")
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


def test_absent_repeated_and_converted_words(architect: Architect) -> None:
    plan = architect("parallel", "a", "--task", "b", "--task", "-c", "--backend", "shell", "--dry-run", "--json").json
    assert [each["prompt"] for each in plan["workers"]] == ["a", "b", "-c"]
    assert architect("diff", "latest", "x").err.startswith("architect: Invalid value for 'N': ")
    missing = architect("merge")
    assert (missing.code, "Missing argument 'RUN'" in missing.err) == (2, True)
    assert architect("status", "--help").code == architect("--version").code == 0
