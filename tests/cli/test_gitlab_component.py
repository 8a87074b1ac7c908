"""`templates/agents.yml`: the job of the GitLab component runs here, with a shell as the agent."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.console import SCRIPT

FILE = Path(__file__).resolve().parents[2] / "templates" / "agents.yml"


def component(**inputs: str) -> dict[str, Any]:
    """The job as GitLab makes it from the inputs."""
    head, body = yaml.safe_load_all(FILE.read_text())
    values = {name: spec.get("default") for name, spec in head["spec"]["inputs"].items()} | inputs

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {filled(key): filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        if isinstance(value, str):
            return re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda found: values[found[1]], value)
        return value

    job: dict[str, Any] = filled(body)[values["job"]]
    return job


@pytest.mark.parametrize(("task", "code"), [("echo 'a \"$PWD\" `b`' > work.txt", 0), ("exit 3", 1)])
def test_the_job_runs_and_leaves_what_it_names(checkout: Path, tmp_path: Path, task: str, code: int) -> None:
    job = component(program="unused", task=task, backend="shell", workers="1", checks="test -f work.txt\n\ntrue")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "architect").symlink_to(SCRIPT)
    variables = {name: spec["value"] if isinstance(spec, dict) else spec for name, spec in job["variables"].items()}
    assert all(spec["expand"] is False for spec in job["variables"].values() if isinstance(spec, dict))

    def shell(lines: list[str]) -> int:
        environ = {**os.environ, **variables, "PATH": f"{programs}:/usr/bin:/bin", "CI": "true"}
        return subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=checkout, env=environ, check=False).returncode

    assert (shell(job["script"]), shell(job["after_script"])) == (code, 0)
    kept = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    assert all((checkout / name).exists() for name in kept)
    if code == 0:
        assert 'a "$PWD" `b`' in (checkout / "architect-results" / "worker-1.patch").read_text()
