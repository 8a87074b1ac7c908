"""The real agent CLIs under `sandbox_mode: read-only`, where everything else would let them write.

The user's settings and the repository's allow every tool and name an MCP server each that writes files. The model asks
for the agent's own tools for files and commands and for those of the servers, whether it was offered them or not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from real_agents.test_real_agents import MODELS
from support.console import Answer, Architect, working_in
from support.model_server import ModelServer
from support.repositories import git

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]

READING = {
    "claude": {"Read", "Grep", "Glob", "DeferredToolPlaceholder"},
    "gemini": {"read_file", "list_directory", "glob", "grep_search"},
    "opencode": {"read", "glob", "grep"},
    "qwen": {"read_file", "list_directory", "glob", "grep_search"},
    "copilot": {"view", "glob", "rg"},
}
"""All that one which may only read is offered; claude's last is a stub that takes the place of others. codex keeps its
tools: its sandbox holds them."""
SERVER = str(Path(__file__).parents[1] / "support" / "mcp_server.py")


def allow_everything(agent: str, home: Path, checkout: Path) -> None:
    """The settings of a user and of a repository by which `agent` need not ask for anything."""
    stdio = {"command": sys.executable, "args": [SERVER]}
    allow: dict[str, Any]
    server: Any
    match agent:
        case "claude":
            allow = {"permissions": {"allow": ["Bash", "Bash(touch:*)", "Edit", "Write", *_of_servers("mcp__{}__put")]}}
            for place in (home, checkout):
                _settings(place / ".claude" / "settings.json", allow | {"enableAllProjectMcpServers": True})
            _settings(home / ".claude.json", {"mcpServers": {"notes": stdio}})
            _settings(checkout / ".mcp.json", {"mcpServers": {"theirs": stdio}})
        case "codex":
            server = f"command = {json.dumps(sys.executable)}\nargs = [{json.dumps(SERVER)}]\n"
            server += 'default_tools_approval_mode = "approve"\n'
            config = home / ".codex" / "config.toml"
            config.write_text(
                'sandbox_mode = "danger-full-access"\n'
                'approval_policy = "on-request"\napprovals_reviewer = "auto_review"\n'
                f"{config.read_text()}\n[mcp_servers.notes]\n{server}"
                f'[projects.{json.dumps(str(checkout))}]\ntrust_level = "trusted"\n'
            )
            (checkout / ".codex").mkdir()
            (checkout / ".codex" / "config.toml").write_text(f"[mcp_servers.theirs]\n{server}")
            for place in (home, checkout):
                rules = place / ".codex" / "rules"
                rules.mkdir()
                (rules / "default.rules").write_text('prefix_rule(pattern=["touch"], decision="allow")\n')
        case "gemini":
            tools = {"allowed": ["run_shell_command", "write_file", "replace", *_of_servers("mcp_{}_put")]}
            for place, name in ((home, "notes"), (checkout, "theirs")):
                servers = {name: stdio | {"trust": True}}
                _settings(place / ".gemini" / "settings.json", {"tools": tools, "mcpServers": servers})
            policy = home / ".gemini" / "policies" / "all.toml"
            policy.parent.mkdir()
            policy.write_text('[[rule]]\ntoolName = "*"\ndecision = "allow"\npriority = 999\n')
        case "qwen":
            allow = {
                "allow": ["Bash", "Edit", "Write", "write_file", "run_shell_command", *_of_servers("mcp__{}__put")]
            }
            for place, name in ((home, "notes"), (checkout, "theirs")):
                servers = {name: stdio | {"trust": True}}
                _settings(
                    place / ".qwen" / "settings.json", {"$version": 4, "permissions": allow, "mcpServers": servers}
                )
        case "copilot":
            server = {"type": "local", "tools": ["*"], **stdio}
            _settings(home / ".copilot" / "mcp-config.json", {"mcpServers": {"notes": server}})
            _settings(home / ".copilot" / "settings.json", {"trustedFolders": ["/"]})
            _settings(checkout / ".mcp.json", {"mcpServers": {"theirs": server}})
        case _:
            permission = {"*": "allow", "bash": {"*": "allow"}, "edit": "allow", **_of_servers("{}_put", "allow")}
            agents = {name: {"permission": permission} for name in ("build", "plan", "general", "architect-reader")}
            server = {"type": "local", "command": [sys.executable, SERVER], "enabled": True}
            for path, name in ((home / ".config" / "opencode", "notes"), (checkout, "theirs")):
                settings: dict[str, Any] = {"permission": permission, "agent": agents, "mcp": {name: server}}
                settings |= {"$schema": "https://opencode.ai/config.json"}  # else it writes that into them
                _settings(path / "opencode.json", settings)


def _of_servers(name: str, value: str = "") -> dict[str, str]:
    return {name.format(server): value for server in ("notes", "theirs")}


def _settings(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def attempts(agent: str, place: Path) -> str:
    """Directives: one call that reads `place`/known.txt, then one for each way `agent` has to write a file there."""
    known = f"{place}/known.txt"
    command = f"touch {place}/by-command"
    shell = {"command": command, "description": "makes a file"}
    write, content = f"{place}/by-file", {"content": "x"}
    calls: list[tuple[str, dict[str, Any]]]
    match agent:
        case "claude":
            calls = [("Read", {"file_path": known}), ("Write", {"file_path": write} | content), ("Bash", shell)]
            server = "mcp__{}__put"
        case "codex":
            # What its rules allow runs outside of its sandbox; so would what it may escalate.
            escalated = {"sandbox_permissions": "require_escalated", "justification": "please"}
            calls = [
                ("exec_command", {"cmd": f"cat {known}"}),
                ("exec_command", {"cmd": command}),
                ("exec_command", {"cmd": f"true > {place}/by-shell"}),
                ("exec_command", {"cmd": f"true > {place}/by-escalation"} | escalated),
            ]
            server = "mcp__{}/put"
        case "gemini":
            calls = [("read_file", {"file_path": known}), ("write_file", {"file_path": write} | content)]
            calls += [("write_file", {"file_path": "by-plan.md"} | content), ("run_shell_command", shell)]
            server = "mcp_{}_put"
        case "qwen":
            calls = [("read_file", {"file_path": known}), ("write_file", {"file_path": write} | content)]
            calls += [("run_shell_command", shell | {"is_background": False})]
            server = "mcp__{}__put"
        case "copilot":
            calls = [("view", {"path": known}), ("create", {"path": write, "file_text": "x"}), ("bash", shell)]
            server = "{}-put"
        case _:
            calls = [("read", {"filePath": known}), ("write", {"filePath": write} | content), ("bash", shell)]
            server = "{}_put"
    calls += [(server.format(name), {"path": f"{place}/by-{name}"}) for name in ("notes", "theirs")]
    return "MOCK:write by-write " + "".join(f"MOCK:call {name} {json.dumps(asked)} " for name, asked in calls)


def run(architect: Architect, agent: str, profile: str, home: Path, checkout: Path) -> Answer:
    """The attempts of `agent` in the checkout, with everything allowed but what `profile` forbids."""
    allow_everything(agent, home, checkout)
    (checkout / "known.txt").write_text("a kingfisher\n")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "-m", "settings")
    words = ("--backend", agent, "--model", MODELS[agent][0], "--agent", profile, "--confirm-mode", "yolo", "--json")
    answer = architect("run", attempts(agent, checkout) + "MOCK:text This is my answer.", *words, timeout_s=200)
    assert (answer.code, answer.json["output"].strip()) == (0, "This is my answer."), answer.err
    return answer


def made(directory: Path) -> set[str]:
    """Names of what was written: each attempt has its own."""
    return {path.name for path in directory.rglob("by-*")}


def test_who_may_write_writes(agent: str, architect: Architect, home: Path, checkout: Path, tmp_path: Path) -> None:
    """The control: all that is tried would come to something."""
    run(architect, agent, "build", home, checkout)
    wanted = {"by-write", "by-command", "by-notes"}
    wanted |= {"codex": {"by-shell"}, "gemini": {"by-plan.md"}}.get(agent, set())
    wanted |= {"by-theirs"} if agent != "copilot" else set()  # which wants to be told to trust a directory
    assert made(tmp_path) >= wanted


def test_who_may_only_read_reads_and_changes_nothing(
    agent: str, architect: Architect, model: ModelServer, home: Path, checkout: Path, tmp_path: Path
) -> None:
    run(architect, agent, "plan", home, checkout)
    assert made(tmp_path) == set()
    assert git(checkout, "status", "--porcelain", "--ignored") == ""
    asked = [each for each in model.requests if each.tools]
    assert any("a kingfisher" in text for text in asked[-1].texts)
    if agent != "codex":
        assert {tool for each in asked for tool in each.tools} <= READING[agent]
    assert working_in(tmp_path) == []
