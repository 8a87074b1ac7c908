"""opencode: its command line, its configuration, a database per worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from architect_parallel.backends.base import Request
from architect_parallel.backends.opencode import OpencodeBackend
from architect_parallel.domain import ApprovalMode, SandboxMode
from architect_parallel.errors import UsageError


def request(tmp_path: Path, prompt: str = "fix it", **more: Any) -> Request:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return Request(prompt=prompt, prompt_file=state / "prompt", worktree=tmp_path, state_dir=state, **more)


def config(line_env: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line_env["OPENCODE_CONFIG_CONTENT"])
    return found


def test_options_of_the_request_stand_in_argv(tmp_path: Path) -> None:
    asked = request(tmp_path, model="openai/gpt-4o", session_id="ses_1", extra_argv=("--print-logs",))
    line = OpencodeBackend(environ={"PATH": ""}).command(asked)
    words = " ".join(line.argv)
    assert words.startswith("opencode run --format json --title worker 1 --auto")
    assert "-m openai/gpt-4o -s ses_1 --print-logs" in words


def test_the_prompt_goes_by_stdin_because_argv_would_come_out_quoted(tmp_path: Path) -> None:
    asked = request(tmp_path, 'say "hi" there')
    line = OpencodeBackend(environ={"PATH": ""}).command(asked)
    assert line.stdin_file == asked.prompt_file
    assert not any("hi" in word for word in line.argv)


def test_a_model_needs_its_provider(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="provider/model, not 'gpt-4o'"):
        OpencodeBackend(environ={"PATH": ""}).command(request(tmp_path, model="gpt-4o"))


@pytest.mark.parametrize(
    ("approval", "sandbox", "auto", "permission"),
    [
        (ApprovalMode.NONE, SandboxMode.DEFAULT, True, {}),
        (ApprovalMode.NONE, SandboxMode.READ_ONLY, False,
         {"edit": "deny", "bash": "deny", "external_directory": "deny"}),
        (ApprovalMode.NONE, SandboxMode.WORKSPACE, False,
         {"edit": "allow", "bash": "deny", "external_directory": "deny"}),
        (ApprovalMode.AUTO, SandboxMode.DEFAULT, False, {"edit": "allow"}),
        (ApprovalMode.DEFAULT, SandboxMode.DEFAULT, False, {}),
        (ApprovalMode.ALWAYS, SandboxMode.DEFAULT, False,
         {"edit": "deny", "bash": "deny", "external_directory": "deny"}),
    ],
)  # fmt: skip
def test_modes_are_rules_of_its_configuration(
    tmp_path: Path, approval: ApprovalMode, sandbox: SandboxMode, auto: bool, permission: dict[str, str]
) -> None:
    asked = request(tmp_path, approval_mode=approval, sandbox_mode=sandbox)
    line = OpencodeBackend(environ={"PATH": ""}).command(asked)
    assert ("--auto" in line.argv) == auto
    assert config(line.env).get("permission", {}) == permission


def test_one_that_may_only_read_is_an_agent_of_ours_whose_name_nobody_knows(tmp_path: Path) -> None:
    own = {"agent": {"mine": {"mode": "primary"}}}
    environ = {"PATH": "", "OPENCODE_CONFIG_CONTENT": json.dumps(own)}
    lines = [
        OpencodeBackend(environ=environ).command(request(tmp_path, sandbox_mode=SandboxMode.READ_ONLY)) for _ in "ab"
    ]
    names = [line.argv[line.argv.index("--agent") + 1] for line in lines]
    assert names[0] != names[1]
    agents = config(lines[0].env)["agent"]
    assert set(agents) == {"mine", names[0]}
    rules = agents[names[0]]["permission"]
    assert next(iter(rules.items())) == ("*", "deny")  # the last rule that fits counts
    assert set(rules) == {"*", "read", "glob", "grep", "list"}
    assert "--agent" not in OpencodeBackend(environ=environ).command(request(tmp_path)).argv


def test_settings_of_the_repository_that_opencode_will_rewrite_are_told(tmp_path: Path) -> None:
    asked = request(tmp_path, sandbox_mode=SandboxMode.READ_ONLY)
    (tmp_path / "opencode.json").write_text("{}")
    (warning,) = OpencodeBackend(environ={"PATH": ""}).command(asked).warnings
    assert "opencode.json" in warning
    (tmp_path / "opencode.json").write_text('{"$schema": "https://opencode.ai/config.json"}')
    assert OpencodeBackend(environ={"PATH": ""}).command(asked).warnings == ()


def test_the_users_configuration_is_kept_below_ours(tmp_path: Path) -> None:
    own = {"share": "auto", "provider": {"x": {}}, "permission": {"webfetch": "deny"}, "instructions": ["A.md"]}
    environ = {"PATH": "", "OPENCODE_CONFIG_CONTENT": json.dumps(own)}
    asked = request(tmp_path, system_prompt="Be brief.", sandbox_mode=SandboxMode.READ_ONLY)
    told = config(OpencodeBackend(environ=environ).command(asked).env)
    assert told["provider"] == {"x": {}}
    assert told["share"] == "disabled"
    assert told["permission"]["webfetch"] == told["permission"]["edit"] == "deny"
    assert told["instructions"][0] == "A.md"
    assert Path(told["instructions"][1]).read_text() == "Be brief."


def test_each_worker_has_a_database_and_tools_keep_the_users_directories(tmp_path: Path) -> None:
    env = OpencodeBackend(environ={"PATH": ""}).command(request(tmp_path)).env
    assert Path(env["OPENCODE_DB"]).parent == tmp_path / "state"
    assert not any(name.startswith("XDG_") or name == "HOME" for name in env)
    assert env["OPENCODE_DISABLE_AUTOUPDATE"] == "1"


def test_a_user_may_want_the_models_fetched(tmp_path: Path) -> None:
    environ = {"PATH": "", "OPENCODE_DISABLE_MODELS_FETCH": "0"}
    assert OpencodeBackend(environ=environ).command(request(tmp_path)).env["OPENCODE_DISABLE_MODELS_FETCH"] == "0"
