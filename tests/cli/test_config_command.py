"""`architect config show|schema|trust` as a user types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Architect = Callable[..., subprocess.CompletedProcess[str]]

REPOSITORY_CONFIG = """\
parallel: {workers: 4}
worktrees: {setup: [make deps]}
"""


@pytest.fixture
def architect(checkout: Path) -> Architect:
    """Runs `architect config …` in a fresh checkout; variables by keyword."""

    def run(*args: str, cwd: Path = checkout, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "architect_parallel", "config", *args],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_show_names_the_origin_of_every_value(architect: Architect, checkout: Path, home: Path) -> None:
    user = home / ".config" / "architect-parallel" / "config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("parallel: {max_steps: 9}\n")
    (checkout / ".architect-parallel.yaml").write_text("parallel: {workers: 4}\n")
    below = checkout / "below"
    below.mkdir()
    done = architect("show", cwd=below, ARCHITECT_BACKEND="codex")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["parallel_runs.workers"] == ["4", f"{checkout}/.architect-parallel.yaml:1"]
    assert rows["parallel_runs.max_steps"] == ["9", f"{user}:1"]
    assert rows["parallel_runs.backend"] == ['"codex"', "environment", "ARCHITECT_BACKEND"]
    assert rows["parallel_runs.commit"] == ["true", "default"]


def test_show_json_is_one_object(architect: Architect, checkout: Path) -> None:
    (checkout / ".architect-parallel.yaml").write_text(REPOSITORY_CONFIG)
    done = architect("show", "--json")
    shown = json.loads(done.stdout)
    assert shown["settings"]["parallel_runs"]["workers"] == 4
    assert shown["settings"]["worktrees"]["setup"] == []
    assert shown["origins"]["parallel_runs.workers"] == f"{checkout}/.architect-parallel.yaml:1"
    assert [(each["kind"], each["exists"], each["trusted"]) for each in shown["files"]] == [
        ("user", False, True),
        ("repository", True, False),
    ]
    assert shown["warnings"] == [done.stderr.removeprefix("warning: ").rstrip("\n")]


def test_trust_lets_the_file_set_what_it_says_until_it_changes(architect: Architect, checkout: Path) -> None:
    file = checkout / ".architect-parallel.yaml"
    file.write_text(REPOSITORY_CONFIG)
    before = architect("show")
    assert "worktrees.setup (architect config trust)" in before.stderr
    trusted = architect("trust")
    assert trusted.returncode == 0
    assert 'worktrees.setup = ["make deps"]' in trusted.stdout
    after = architect("show")
    assert after.stderr == ""
    assert '["make deps"]' in after.stdout
    file.write_text(REPOSITORY_CONFIG.replace("make deps", "curl evil"))
    assert "ignored until you trust this file" in architect("show").stderr


def test_trust_json_and_revoke(architect: Architect, checkout: Path) -> None:
    (checkout / ".architect-parallel.yaml").write_text(REPOSITORY_CONFIG)
    trusted = json.loads(architect("trust", "--json").stdout)
    assert trusted["trusted"] is True
    assert trusted["keys"] == {"worktrees.setup": ["make deps"]}
    assert json.loads(architect("trust", "--revoke", "--json").stdout)["trusted"] is False
    again = architect("trust", "--revoke")
    assert (again.returncode, again.stdout) == (4, "")


def test_nothing_to_trust_is_exit_4(architect: Architect) -> None:
    done = architect("trust")
    assert done.returncode == 4
    assert "there is no such file" in done.stderr


def test_outside_a_repository_show_works_and_trust_is_exit_3(architect: Architect, tmp_path: Path) -> None:
    assert architect("show", cwd=tmp_path).returncode == 0
    assert architect("trust", cwd=tmp_path).returncode == 3


def test_every_fault_is_a_line_of_its_own(architect: Architect, checkout: Path) -> None:
    (checkout / ".architect-parallel.yaml").write_text("parallel:\n  workers: 0\n  worker: 1\nx: &a 1\n")
    done = architect("show")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "architect: 4 faults in the configuration:"
    assert [line.split(": ")[0].rpartition(".yaml:")[2] for line in lines[1:5]] == ["2:3", "3:3", "4:1", "4:4"]
    assert lines[5:] == ["  try: architect config schema"]


def test_named_file_that_is_missing_is_one_line(architect: Architect) -> None:
    done = architect("show", "-c", "none.yaml")
    assert (done.returncode, done.stderr) == (2, "architect: none.yaml: there is no such file\n")


def test_file_may_come_from_a_pipe(checkout: Path) -> None:
    command = f'"{sys.executable}" -m architect_parallel config show -c <(echo "parallel: {{workers: 7}}")'
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", command], cwd=checkout, env=environ, capture_output=True, text=True, check=True
    )
    assert re.search(r"^parallel_runs\.workers +7 ", done.stdout, re.MULTILINE)


def test_fifo_in_a_repository_does_not_hold_the_program_up(architect: Architect, checkout: Path) -> None:
    os.mkfifo(checkout / ".architect-parallel.yaml")
    done = architect("show")
    assert done.returncode == 2
    assert "is not a file" in done.stderr


def test_schema_is_json(architect: Architect) -> None:
    schema = json.loads(architect("schema").stdout)
    sections = {"parallel_runs", "parallel", "agents", "backends", "prices", "providers", "worktrees", "sandbox", "ui"}
    assert set(schema["properties"]) == sections | {"on_finish"}


def test_help_of_all_commands_loads_no_schema() -> None:
    code = (
        "import sys; from architect_parallel.cli.app import build_app; build_app();"
        "print({'pydantic', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
