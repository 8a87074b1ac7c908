"""`docs/ci/`: the workflow and the job run here, step by step, on a small repository with a stand-in for the agent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.console import SCRIPT, Architect, write_program
from support.repositories import commit_all, git

PROGRAM = "https://files.example.com/architect_parallel-0.1.0-py3-none-any.whl"
CI = Path(__file__).resolve().parents[2] / "docs" / "ci"
STAND_IN = """\
import json, os, pathlib
pathlib.Path("work.txt").write_text("done\\n")
assert os.environ["ANTHROPIC_API_KEY"]
print(json.dumps({"status": "success", "steps": 1, "cost": 0.01, "output": "fine"}))
"""


def workflow(change: str = "", to: str = "") -> dict[Any, Any]:
    text = (CI / "github-actions.yml").read_text()
    assert change in text
    return yaml.safe_load(text.replace(change, to) if change else text)  # type: ignore[no-any-return]  # a mapping


def gitlab_job(change: str = "", to: str = "") -> dict[str, Any]:
    text = (CI / "gitlab-ci.yml").read_text()
    assert change in text
    return yaml.safe_load(text.replace(change, to) if change else text)["agents"]  # type: ignore[no-any-return]  # same


@pytest.fixture
def machine(checkout: Path, home: Path, tmp_path: Path) -> dict[str, str]:
    """What a CI machine gives: a fresh clone, `pip`, a place for files; and an agent that costs nothing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "pip": f"#!/bin/sh\n[ \"$*\" = \"install architect-parallel[agent] @ {PROGRAM}\" ]\n",
        "architect": f'#!/bin/sh\nexec "{SCRIPT}" "$@"\n',
    }.items():  # fmt: skip
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    write_program(programs / "agent", STAND_IN)
    config = home / ".config" / "architect-parallel" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"backends": {"architect": {"command": [str(programs / "agent")]}}}))
    (checkout / "agents.yaml").write_text((CI / "agents.yaml").read_text())
    commit_all(checkout, "a task file")
    git(checkout, "checkout", "--quiet", "--detach")
    (tmp_path / "temp").mkdir()
    return {"PATH": f"{programs}:/usr/bin:/bin", "CI": "true", "RUNNER_TEMP": str(tmp_path / "temp"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "ARCHITECT_PARALLEL": PROGRAM}  # fmt: skip


def shell(script: str, cwd: Path, env: Mapping[str, str]) -> int:
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    sys.stderr.write(f"$ {script}\n{done.stdout}{done.stderr}")
    return done.returncode


def run_workflow(flow: Mapping[Any, Any], cwd: Path, machine: Mapping[str, str]) -> dict[str, int]:
    """Step name → exit code, as GitHub runs them: after a failure only those that say so."""
    inputs = flow[True]["workflow_dispatch"]["inputs"]  # YAML 1.1 reads `on` as true
    values = {
        "inputs.budget": inputs["budget"]["default"],
        "secrets.ANTHROPIC_API_KEY": "sk-not-a-key",
        "vars.ARCHITECT_PARALLEL": machine["ARCHITECT_PARALLEL"],
    }

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], text)

    codes: dict[str, int] = {}
    for step in flow["jobs"]["agents"]["steps"]:
        if "run" in step and (not any(codes.values()) or step.get("if") == "${{ !cancelled() }}"):
            env = {**machine, **{name: filled(value) for name, value in step.get("env", {}).items()}}
            codes[step["name"]] = shell(filled(step["run"]), cwd, env)
    return codes


def run_gitlab(job: Mapping[str, Any], cwd: Path, machine: Mapping[str, str]) -> tuple[int, int]:
    """Exit codes of the job and of what comes after it, which runs in any case."""
    env = {**machine, **job["variables"], "ANTHROPIC_API_KEY": "sk-not-a-key"}
    code = shell("\n".join([*job["before_script"], *job["script"]]), cwd, env)
    return code, shell("\n".join(job["after_script"]), cwd, env)


def test_the_workflow_runs_and_its_results_come_home(
    checkout: Path, machine: dict[str, str], tmp_path: Path
) -> None:  # fmt: skip
    codes = run_workflow(workflow(), checkout, machine)

    assert codes == {"Install": 0, "Run the agents": 0, "Summary": 0, "JUnit": 0}
    summary = Path(machine["GITHUB_STEP_SUMMARY"]).read_text()
    assert summary.startswith("# ✅ architect: success — 2 tasks, 2 completed, 0 failed")
    temp = Path(machine["RUNNER_TEMP"])
    assert (temp / "architect-results.xml").read_text().count("<testcase") == 2
    git(tmp_path, "clone", "--quiet", checkout, tmp_path / "home-clone")
    clone = Architect(tmp_path / "home-clone")
    assert clone("import", temp / "architect-results").code == 0
    assert clone("merge", "latest", "1").code == 0
    assert (clone.cwd / "work.txt").read_text() == "done\n"


def test_the_gitlab_job_runs_and_leaves_what_it_names(checkout: Path, machine: dict[str, str]) -> None:
    job = gitlab_job()

    assert run_gitlab(job, checkout, machine) == (0, 0)
    kept = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    assert all((checkout / name).exists() for name in kept)
    assert (checkout / "architect-results" / "worker-2.bundle").is_file()


def test_a_failed_agent_fails_the_job_and_is_told_all_the_same(checkout: Path, machine: dict[str, str]) -> None:
    agents = (checkout / "agents.yaml").read_text().replace("backend: architect", "backend: shell")
    (checkout / "agents.yaml").write_text(agents)

    codes = run_workflow(workflow(), checkout, machine)

    assert codes == {"Install": 0, "Run the agents": 1, "Summary": 0, "JUnit": 0}
    assert "❌ FAILED (agent error)" in Path(machine["GITHUB_STEP_SUMMARY"]).read_text()


@pytest.mark.parametrize(
    ("change", "to"), [("--budget", "--bugdet"), ("--format junit", "--format unit"), ("[agent] @ ", "[agent] ")]
)
def test_control_a_broken_step_is_found(checkout: Path, machine: dict[str, str], change: str, to: str) -> None:
    assert any(run_workflow(workflow(change, to), checkout, machine).values())
    assert any(run_gitlab(gitlab_job(change, to), checkout, machine))


@pytest.mark.parametrize("place", ["", PROGRAM + "x"])
def test_a_program_from_nowhere_or_elsewhere_ends_the_job(checkout: Path, machine: dict[str, str], place: str) -> None:
    machine["ARCHITECT_PARALLEL"] = place

    assert run_workflow(workflow(), checkout, machine)["Install"] != 0
    assert run_gitlab(gitlab_job(), checkout, machine)[0] != 0


def test_the_workflow_asks_for_little_and_pins_what_it_uses() -> None:
    flow = workflow()

    assert flow["permissions"] == {"contents": "read"}
    steps = flow["jobs"]["agents"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(used) == 3
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", each) for each in used)
    assert next(step for step in steps if "checkout" in step.get("uses", ""))["with"]["persist-credentials"] is False
    with_secrets = [step["name"] for step in steps if "secrets." in json.dumps(step)]
    assert with_secrets == ["Run the agents"]
    assert all("${{" not in step.get("run", "") for step in steps), "an expression in a script is an injection"
