"""The words of the sandbox on the command line, in tasks and in the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.console import Architect
from support.mechanisms import needs_namespaces

from architect_parallel.containment.probe import WITHOUT

NOTHING = {WITHOUT: "namespaces,bwrap,landlock"}
RUN = ("parallel", "true", "--backend", "shell", "--workers", "1")


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
    check = "! cat ~/.ssh/key && ! touch ~/planted && test $(ulimit -Hn) -le 65536"
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


@needs_namespaces
def test_run_holds_its_agent_when_that_is_asked_for(architect: Architect, checkout: Path, home: Path) -> None:
    """The embedded agent as well, with what it needs of the repository, and neither by default."""
    models = "runner: {steps: [{tool: shell, args: {command: '{prompt}'}}, {text: ran}]}\n"
    (home / "models.yaml").write_text(models)
    task = "touch ~/planted; echo x > new && git add new && git commit --allow-empty -qm agent"
    env = {"ARCHITECT_SCRIPTED_MODELS": str(home / "models.yaml")}
    for number, words in enumerate((("--backend", "shell"), ("--model", "scripted:runner", "--confirm-mode", "yolo"))):
        done = architect("run", f"{task}-{number}", *words, "--sandbox", "write", "--json", env=env)
        assert done.code == 0, done
        assert done.json["sandbox"]["level"] == "write"
        assert not (home / "planted").exists()
        assert f"agent-{number}" in (checkout / ".git/logs/HEAD").read_text()
    assert architect("run", task, "--backend", "shell", "--json").json["sandbox"]["level"] == "off"
    assert (home / "planted").exists()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--sandbox", "strong"), 2, "unknown --sandbox 'strong'"),
        (("--network", "none"), 2, "--network none needs a sandbox"),
        (("--allow-host", "a.example"), 2, "--allow-host needs a sandbox"),
        (("--sandbox", "write", "--network", "hosts", "--allow-host", "https://a.example/x"), 2, "without a scheme"),
        (("--sandbox", "write"), 3, "--sandbox write cannot be had here: namespaces: switched off"),
    ],
)
def test_words_that_run_cannot_keep(architect: Architect, words: tuple[str, ...], code: int, text: str) -> None:
    answer = architect("run", "true", *words, env=NOTHING)
    assert (answer.code, answer.out) == (code, "")
    assert text in answer.err


@needs_namespaces
def test_a_run_is_resumed_as_it_was_planned_or_as_the_words_say(architect: Architect, home: Path) -> None:
    assert architect("parallel", "touch ~/planted", *RUN[2:], "--sandbox", "write").code == 1
    assert architect("resume", "--sandbox", "strong", "--dry-run").code == 2
    refused = architect("resume", env=NOTHING)
    assert refused.code == 3
    assert "worker 1 was contained by namespaces" in refused.err
    again = architect("resume", "--network", "none", "--json").json["results"][0]
    assert (again["status"], again["sandbox"]["level"], again["sandbox"]["network"]) == ("failed", "write", "none")
    assert not (home / "planted").exists()
    off = architect("resume", "--sandbox", "off", "--json").json["results"][0]
    assert (off["status"], off["sandbox"]["level"]) == ("success", "off")
    assert (home / "planted").exists()


@needs_namespaces
def test_a_flow_is_resumed_with_other_words(architect: Architect, checkout: Path, home: Path) -> None:
    (checkout / "f.yaml").write_text("states:\n  go: {tool: bash, arguments: {command: 'touch ~/planted'}}\n")
    assert architect("flow", "run", "f.yaml", "--sandbox", "write").code == 1
    assert architect("resume", "--json").json["status"] == "failed"
    assert architect("resume", "--sandbox", "off", "--json").json["status"] == "success"
    assert (home / "planted").exists()
