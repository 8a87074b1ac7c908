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
