"""`action.yml`: the composite action runs here, step by step, on a small repository with a shell as the agent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.console import SCRIPT
from support.repositories import git

FILE = Path(__file__).resolve().parents[2] / "action.yml"
ACTION: dict[str, Any] = yaml.safe_load(FILE.read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """What a runner gives. The program is installed already, so that step is left out."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "architect").symlink_to(SCRIPT)
    (programs / "python").symlink_to(sys.executable)
    (tmp_path / "temp").mkdir()
    return {
        "PATH": f"{programs}:/usr/bin:/bin",
        "CI": "true",
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }


def run_action(checkout: Path, machine: Mapping[str, str], **inputs: str) -> tuple[dict[str, int], dict[str, str]]:
    """Exit code of each step by its name, and the outputs of all steps."""
    values = {f"inputs.{name}": str(spec["default"]) for name, spec in ACTION["inputs"].items()}
    values |= {f"inputs.{name}": value for name, value in inputs.items()}
    values["steps.upload.outputs.artifact-url"] = "https://example.invalid/artifact"
    output = Path(machine["GITHUB_OUTPUT"])
    codes: dict[str, int] = {}
    for step in STEPS:
        if "run" not in step or step["name"] == "Install":
            continue
        condition = step.get("if", "")
        if any(codes.values()) and "!cancelled()" not in condition:
            continue
        if "inputs.merge" in condition and values["inputs.merge"] != "best" and values["inputs.pr"] != "true":
            continue
        env = {name: filled(text, values) for name, text in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=checkout,
            env={**os.environ, **machine, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        sys.stderr.write(f"{step['name']}: {done.stdout}{done.stderr}")
        codes[step["name"]] = done.returncode
        lines = output.read_text().splitlines() if output.exists() else []
        values |= {
            f"steps.{step.get('id')}.outputs.{key}": text for key, _, text in (line.partition("=") for line in lines)
        }
        output.unlink(missing_ok=True)
    return codes, values


def filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values.get(found[1], ""), text)


def test_the_best_result_lands_and_the_summary_links_the_patches(checkout: Path, machine: dict[str, str]) -> None:
    hostile = 'echo "$(id)" > /dev/null; echo \'it is "done"\' > work.txt'
    codes, values = run_action(
        checkout, machine, task=hostile, backend="shell", workers="2", checks="test -f work.txt\n\ntrue", merge="best"
    )
    assert codes == {"Run the agents": 0, "Merge": 0, "Summary": 0}
    assert git(checkout, "show", "main:work.txt") == 'it is "done"'
    assert values["steps.run.outputs.status"] == "success"
    summary = Path(machine["GITHUB_STEP_SUMMARY"]).read_text()
    assert "2 completed" in summary
    assert "(https://example.invalid/artifact)" in summary
    assert (Path(machine["RUNNER_TEMP"]) / "architect-results" / "worker-1.patch").is_file()


def test_a_failed_run_fails_the_step_and_is_in_the_summary(checkout: Path, machine: dict[str, str]) -> None:
    codes, values = run_action(checkout, machine, task="exit 3", backend="shell", merge="best", workers="1")
    assert codes == {"Run the agents": 1, "Summary": 0}
    assert values["steps.run.outputs.status"] == "failed"
    assert "FAILED" in Path(machine["GITHUB_STEP_SUMMARY"]).read_text()


def test_every_foreign_action_is_pinned_and_no_input_is_part_of_a_script() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", name) for name in used)
    assert not [step["name"] for step in STEPS if "${{" in step.get("run", "")]
    given = set(re.findall(r"inputs\.([a-z-]+)", FILE.read_text()))
    assert given == set(ACTION["inputs"])
