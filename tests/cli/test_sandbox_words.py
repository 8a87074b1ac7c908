"""The words of the sandbox on the command line, in tasks and in the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.console import Architect

from architect_parallel.containment.probe import WITHOUT, problem_with
from architect_parallel.domain import Mechanism

NOTHING = {WITHOUT: "namespaces,bwrap,landlock"}
RUN = ("parallel", "true", "--backend", "shell", "--workers", "1")
needs_namespaces = pytest.mark.skipif(
    problem_with(Mechanism.NAMESPACES) is not None, reason=f"no namespaces: {problem_with(Mechanism.NAMESPACES)}"
)


def test_an_unknown_word_names_the_words(architect: Architect) -> None:
    answer = architect(*RUN, "--sandbox", "strong")
    assert answer.code == 2
    assert "unknown --sandbox 'strong'; known: auto, closed, off, write" in answer.err
    answer = architect(*RUN, "--network", "some")
    assert answer.code == 2
    assert "known: hosts, none, open" in answer.err


def test_a_level_that_cannot_be_had_ends_before_anything_starts(architect: Architect, checkout: Path) -> None:
    answer = architect(*RUN, "--sandbox", "write", env=NOTHING)
    assert answer.code == 3
    assert "--sandbox write cannot be had here: namespaces: switched off by ARCHITECT_SANDBOX_WITHOUT" in answer.err
    assert not (checkout / ".architect-parallel-1").exists()


@needs_namespaces
def test_a_dry_run_shows_the_containment(architect: Architect) -> None:
    answer = architect(*RUN, "--sandbox", "write", "--network", "none", "--dry-run")
    assert (
        "sandbox   write by namespaces; network none; writes its worktree, its home and temporary files" in answer.out
    )
    plan = architect(*RUN, "--sandbox", "write", "--dry-run", "--json").json
    assert plan["workers"][0]["sandbox"]["level"] == "write"


@needs_namespaces
def test_the_words_of_a_task_and_its_sandbox_mode(architect: Architect, checkout: Path) -> None:
    tasks = [
        {"prompt": "true", "name": "contained", "sandbox": "write"},
        {"prompt": "true", "name": "free", "sandbox": "off"},
        {"prompt": "true", "name": "workspace", "sandbox_mode": "workspace"},
        {"prompt": "touch x && echo written", "name": "reader", "sandbox": "write", "sandbox_mode": "read-only"},
    ]
    (checkout.parent / "tasks.json").write_text(json.dumps({"tasks": tasks, "defaults": {"backend": "shell"}}))
    results = architect("parallel", "--file", "../tasks.json", "--json").json["results"]
    assert [result["sandbox"]["level"] for result in results] == ["write", "off", "write", "write"]
    assert results[3]["status"] == "failed"
    assert "Read-only file system" in Path(results[3]["log_path"]).read_text()


@needs_namespaces
def test_a_repository_may_only_tighten(architect: Architect, checkout: Path, home: Path) -> None:
    """What loosens is named and does not count until the file is trusted."""
    file = checkout / ".architect-parallel.yaml"
    file.write_text("sandbox: {level: off, network: open, show: [~/.ssh], write: [~/x], hosts: [evil.example]}\n")
    (home / ".config" / "architect-parallel").mkdir(parents=True)
    (home / ".config" / "architect-parallel" / "config.yaml").write_text("sandbox: {level: write, network: none}\n")
    env = {"ARCHITECT_SANDBOX": ""}
    plan = architect(*RUN, "--dry-run", "--json", env=env).json
    assert plan["workers"][0]["sandbox"] | {"gaps": []} == {
        "level": "write", "mechanism": "namespaces", "network": "none", "hosts": [], "write": [], "read": [],
        "show": [], "hide": [],
        "read_only": False, "processes": 1000, "gaps": [],
    }  # fmt: skip
    assert any("sandbox.level" in warning and "config trust" in warning for warning in plan["warnings"])
    file.write_text("sandbox: {level: closed, network: none, hide: [~/secret]}\n")
    (home / ".config" / "architect-parallel" / "config.yaml").write_text("sandbox: {level: off, hide: [/mine]}\n")
    plan = architect(*RUN, "--dry-run", "--json", env=env).json
    sandbox = plan["workers"][0]["sandbox"]
    assert (sandbox["level"], sandbox["hide"]) == ("closed", ["/mine", "~/secret"])
    assert plan["warnings"] == []


@needs_namespaces
def test_checks_are_in_the_box_of_their_worker(architect: Architect, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "key").write_text("hunter2")
    check = "! cat ~/.ssh/key && ! touch ~/planted"
    words = ("--sandbox", "write", "--check", check, "--json")
    assert architect(*RUN[:1], "touch x", *RUN[2:], *words).json["results"][0]["checks"][0]["passed"]
    control = architect(*RUN[:1], "touch y", *RUN[2:], "--sandbox", "off", *words[2:])
    assert not control.json["results"][0]["checks"][0]["passed"]


@needs_namespaces
def test_a_flow_is_held_when_that_is_asked_for_and_in_place_not_by_default(
    architect: Architect, checkout: Path, home: Path
) -> None:
    flow = "states:\n  go: {tool: bash, arguments: {command: 'touch ~/planted'}}\n"
    (checkout / "f.yaml").write_text(flow)
    assert architect("flow", "run", "f.yaml", "--sandbox", "write", "--json").json["status"] == "failed"
    assert not (home / "planted").exists()
    assert architect("flow", "run", "f.yaml", "--json", env={"ARCHITECT_SANDBOX": "auto"}).json["status"] == "success"
    assert (home / "planted").exists()
    assert architect("flow", "run", "f.yaml", "--sandbox", "strong").code == 2
