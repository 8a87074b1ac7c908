"""Real agents through the Agent Client Protocol: `--backend acp:COMMAND`, with the loopback model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from real_agents.conftest import Proxy, agent_variables, require_agent
from support.console import Architect
from support.model_server import ModelServer
from support.repositories import git

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("program", "words", "relative", "goes_on"),
    [
        ("claude-agent-acp", "", "claude", True),
        ("codex-acp", "", "codex", True),
        ("gemini", " --acp", "gemini", False),
    ],
)
def test_an_acp_agent_works_in_its_worktree_and_goes_on(
    program: str,
    words: str,
    relative: str,
    goes_on: bool,
    home: Path,
    checkout: Path,
    codex_home: Path,
    model: ModelServer,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = agent_variables(relative, model, home) | proxy.variables
    for name, value in (variables | {"PATH": f"{require_agent(program)}{os.pathsep}{os.environ['PATH']}"}).items():
        monkeypatch.setenv(name, value)
    architect = Architect(checkout)
    task = "MOCK:write file1.txt MOCK:run git status --short"
    run = ("parallel", "--task", task, "--workers", "1", "--backend", f"acp:{program}{words}", "--json")
    answer = architect(*run, timeout_s=200)
    assert answer.code == 0, answer.out + answer.err
    (result,) = answer.json["results"]
    assert (result["status"], result["reason"], result["files_modified"]) == ("success", "completed", ["file1.txt"])
    assert (result["steps"], result["output"], result["leaked"]) == (3, "Done after 2 tool call(s).", 0)
    assert result["session_id"]
    assert (result["cost"] is None) == (program == "codex-acp")
    assert "hello from" in git(checkout, "show", f"{result['branch']}:file1.txt")
    assert git(checkout, "status", "--porcelain").strip() == ""
    if goes_on:
        again = architect("send", "1", "MOCK:write file2.txt", "--json", timeout_s=200)
        assert again.code == 0, again.out + again.err
        assert again.json["results"][0]["files_modified"] == ["file1.txt", "file2.txt"]
    # claude-agent-acp 0.23.1 asks for the change log of Claude Code, whatever it is told.
    heard = [line for line in proxy.heard if not line.startswith(b"CONNECT raw.githubusercontent.com")]
    assert heard == [], "an agent reached beyond loopback"
