"""The real claude fans out work through `architect mcp`, with the loopback model deciding what it calls."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from real_agents.conftest import Proxy, agent_variables, require_agent
from support.console import SCRIPT, Architect
from support.model_server import ModelServer

pytestmark = pytest.mark.real_agents


@pytest.mark.timeout(300)
def test_claude_runs_workers_and_sees_their_results(
    checkout: Path, model: ModelServer, proxy: Proxy, home: Path, tmp_path: Path
) -> None:
    programs = require_agent("claude")
    servers = tmp_path / "mcp.json"
    servers.write_text(json.dumps({"mcpServers": {"architect": {"command": str(SCRIPT), "args": ["mcp"]}}}))
    words = {"tasks": ["echo a > a", "echo b > b"], "backend": "shell"}
    run_parallel = f"MOCK:call mcp__architect__run_parallel {json.dumps(words)}"
    prompt = f"{run_parallel}\nMOCK:call mcp__architect__compare {{}}\nMOCK:text over"
    done = subprocess.run(
        [programs / "claude", "-p", prompt, "--mcp-config", servers, "--allowedTools", "mcp__architect"],
        cwd=checkout,
        env={**os.environ, **agent_variables("claude", model, home), **proxy.variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = Architect(checkout)("status", "--json").json["runs"]
    assert (run["status"], run["total_tasks"]) == ("success", 2)
    seen = " ".join(text for request in model.requests for text in request.texts)
    assert "architect/parallel-2" in seen, "the results reached the model"
    assert '"proposed"' in seen.replace("\\", "")


@pytest.mark.timeout(300)
def test_the_agent_of_a_worker_starts_no_runs(
    checkout: Path, model: ModelServer, proxy: Proxy, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = tmp_path / "mcp.json"
    servers.write_text(json.dumps({"mcpServers": {"architect": {"command": str(SCRIPT), "args": ["mcp"]}}}))
    path = f"{require_agent('claude')}{os.pathsep}{os.environ['PATH']}"
    for name, value in {"PATH": path, **agent_variables("claude", model, home), **proxy.variables}.items():
        monkeypatch.setenv(name, value)
    words = {"tasks": ["echo a > a"], "backend": "shell"}
    prompt = f"MOCK:call mcp__architect__run_parallel {json.dumps(words)}\nMOCK:text over"
    task = {"backend": "claude", "prompt": prompt, "extra": ["--mcp-config", str(servers)]}
    tasks = json.dumps({"tasks": [task]}).encode()
    architect = Architect(checkout)
    answer = architect("parallel", "--file", "-", "--json", stdin=tasks, timeout_s=240)
    assert answer.json["results"][0]["output"] == "over", answer.err
    seen = " ".join(text for request in model.requests for text in request.texts)
    assert "a worker's agent may not start runs here" in seen
    assert len(architect("status", "--json").json["runs"]) == 1
