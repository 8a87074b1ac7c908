"""The real agent CLIs do their whole work inside: they edit, run a command, commit, and go on with a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_agents.test_real_agents import MODELS, only
from support.console import Architect
from support.model_server import ModelServer
from support.repositories import git

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(600)]

TASK = "PEACOCK MOCK:write first.txt MOCK:run git add -A && git commit -qm mine"


@pytest.mark.parametrize("network", ["open", "hosts"])
def test_the_whole_work_is_done_inside(
    architect: Architect, agent: str, network: str, model: ModelServer, checkout: Path, home: Path
) -> None:
    (home / ".cache" / "copilot").unlink(missing_ok=True)  # the link leads out of the caches, which are read-only there
    git(checkout, "config", "user.name", "Test User")  # the shell of gemini reads no git settings of the user
    git(checkout, "config", "user.email", "test@example.invalid")
    words = ("--backend", agent, "--model", MODELS[agent][0], "--workers", "1", "--tripwire", "fail", "--json")
    first = architect("parallel", TASK, *words, "--sandbox", "write", "--network", network, timeout_s=250)
    assert first.code == 0, first
    result = only(first)
    assert (result["status"], result["files_modified"]) == ("success", ["first.txt"])
    assert [result["sandbox"][key] for key in ("level", "network", "denied")] == ["write", network, []]
    assert "mine" in git(checkout, "log", "--format=%s", result["branch"]).split("\n")

    asked_before = len(model.requests)
    again = architect(
        "parallel", "--continue", first.json["run_id"], "1", "MOCK:write second.txt", "--json", timeout_s=250
    )
    assert again.code == 0, again
    result = only(again)
    assert (result["status"], result["files_modified"]) == ("success", ["first.txt", "second.txt"])
    assert [result["sandbox"][key] for key in ("level", "network", "denied")] == ["write", network, []]
    assert not any("begins anew" in warning for warning in result["warnings"])
    assert any("PEACOCK" in text for asked in model.requests[asked_before:] for text in asked.texts)


@pytest.mark.parametrize("agent", ["claude", "codex"], indirect=True)
def test_the_work_is_done_under_landlock_and_its_gaps_are_named(
    architect: Architect, agent: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHITECT_SANDBOX_WITHOUT", "namespaces,bwrap")
    words = ("--backend", agent, "--model", MODELS[agent][0], "--workers", "1", "--sandbox", "write", "--json")
    answer = architect("parallel", TASK, *words, timeout_s=250)
    assert answer.code == 0, answer
    result = only(answer)
    assert result["sandbox"]["mechanism"] == "landlock"
    assert any("sockets" in gap for gap in result["sandbox"]["gaps"])
    assert "mine" in git(checkout, "log", "--format=%s", result["branch"]).split("\n")
