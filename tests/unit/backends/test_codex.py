"""Codex: its command line, a home per worker, live tokens from its rollout file."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from architect_parallel.backends.base import AgentEvent, Request, Session, Step, Tokens
from architect_parallel.backends.codex import CodexBackend
from architect_parallel.backends.codex_reader import CodexReader
from architect_parallel.domain import ApprovalMode, Outcome, SandboxMode

THREAD = "01a1fd14-14b5-72d2-956e-80cecc065ba6"


@pytest.fixture
def user_home(tmp_path: Path) -> Path:
    home = tmp_path / "home" / ".codex"
    home.mkdir(parents=True)
    return home


@pytest.fixture
def backend(user_home: Path) -> CodexBackend:
    return CodexBackend(environ={"HOME": str(user_home.parent), "PATH": ""})


def request(tmp_path: Path, prompt: str = "fix it", state: str = "state", **more: Any) -> Request:
    place = tmp_path / state
    place.mkdir(exist_ok=True)
    return Request(prompt=prompt, prompt_file=place / "prompt", worktree=tmp_path, state_dir=place, **more)


def line(**event: Any) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def rollout_line(kind: str, tokens: int) -> bytes:
    usage = {"input_tokens": tokens, "cached_input_tokens": 0, "output_tokens": tokens // 10}
    payload = {"thread_token_usage": usage} if kind == "token_usage_record" else {
        "type": "token_count", "info": {"total_token_usage": usage}}  # fmt: skip
    return line(type="event_msg" if kind == "token_count" else kind, payload=payload) + b"\n"


@pytest.fixture
def rollout(tmp_path: Path) -> Path:
    path = tmp_path / "codex" / "sessions" / "2026" / "11" / "21" / f"rollout-2026-11-21T07-48-34-{THREAD}.jsonl"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def reader(tmp_path: Path) -> CodexReader:
    reader = CodexReader(home=tmp_path / "codex", resumed=None, model=None)
    list(reader.line(line(type="thread.started", thread_id=THREAD)))
    return reader


def tokens(facts: list[AgentEvent]) -> list[int | None]:
    return [fact.usage.input_tokens for fact in facts if isinstance(fact, Tokens)]


def test_options_of_the_request_stand_in_argv(backend: CodexBackend, tmp_path: Path) -> None:
    asked = request(tmp_path, model="gpt-5.5", session_id=THREAD, extra_argv=("-c", "x=1"))
    argv = backend.command(asked).argv
    assert argv[:3] == ("codex", "exec", "--json")
    assert argv[-5:] == ("-c", "x=1", "resume", THREAD, "fix it")
    assert "-m gpt-5.5" in " ".join(argv)


def test_a_system_prompt_is_one_toml_string(backend: CodexBackend, tmp_path: Path) -> None:
    said = 'Be "brief";\n\\ tabs\there, \x01, DEL\x7f and 😀'
    words = backend.command(request(tmp_path, system_prompt=said)).argv
    (word,) = [word for word in words if word.startswith("developer_instructions=")]
    assert tomllib.loads(word)["developer_instructions"] == said.replace("\x7f", "")


def test_its_own_sandbox_is_off_where_it_could_not_start(backend: CodexBackend, tmp_path: Path) -> None:
    """It still has no rules and no servers."""
    asked = request(tmp_path, sandbox_mode=SandboxMode.READ_ONLY, contained=True, nests=False)
    words = backend.command(asked).argv
    assert words[words.index("-s") + 1] == "danger-full-access"
    assert "--ignore-rules" in words


@pytest.mark.parametrize(
    ("approval", "sandbox", "flags"),
    [
        (ApprovalMode.NONE, SandboxMode.DEFAULT, "--dangerously-bypass-approvals-and-sandbox"),
        (ApprovalMode.NONE, SandboxMode.READ_ONLY, "-s read-only"),
        (ApprovalMode.NONE, SandboxMode.WORKSPACE, "-s workspace-write"),
        (ApprovalMode.DEFAULT, SandboxMode.FULL, "-s danger-full-access"),
        (ApprovalMode.AUTO, SandboxMode.DEFAULT, "-s workspace-write"),
        (ApprovalMode.ALWAYS, SandboxMode.DEFAULT, "-s read-only"),
    ],
)
def test_a_sandbox_mode_beats_an_approval_mode(
    backend: CodexBackend, tmp_path: Path, approval: ApprovalMode, sandbox: SandboxMode, flags: str
) -> None:
    words = " ".join(backend.command(request(tmp_path, approval_mode=approval, sandbox_mode=sandbox)).argv)
    assert flags in words
    assert ("dangerously" in words) == ("dangerously" in flags)


@pytest.mark.parametrize(
    ("mode", "reads"),
    [
        ({"sandbox_mode": SandboxMode.READ_ONLY}, True),
        ({"approval_mode": ApprovalMode.ALWAYS}, True),
        ({"sandbox_mode": SandboxMode.WORKSPACE}, False),
    ],
)
def test_one_that_may_only_read_has_no_rules_and_no_servers(
    backend: CodexBackend, user_home: Path, tmp_path: Path, mode: dict[str, Any], reads: bool
) -> None:
    (user_home / "config.toml").write_text('[mcp_servers."with \\"dot\\".s"]\nurl = "http://x"\nenabled = true\n')
    for place, name in ((tmp_path, "theirs"), (tmp_path / "real", "inner")):
        (place / ".codex").mkdir(parents=True)
        (place / ".codex" / "config.toml").write_text(f'[mcp_servers.{name}]\ncommand = "{name}"\nargs = ["x"]\n')
    (tmp_path / "link").symlink_to(tmp_path / "real")
    argv = backend.command(replace(request(tmp_path, **mode), worktree=tmp_path / "link")).argv
    assert ("--ignore-rules" in argv) == ("features.apps=false" in argv) == reads
    off = [tomllib.loads(word)["mcp_servers"] for word in argv if word.startswith("mcp_servers")]
    servers = {'with "dot".s': {"url": "http://x"}, "theirs": {"command": "theirs"}, "inner": {"command": "inner"}}
    assert off == ([{name: {**server, "enabled": False} for name, server in servers.items()}] if reads else [])


@pytest.mark.parametrize("text", [None, "", "mcp_servers = 3", "not toml ["])
def test_a_configuration_without_servers_is_no_hindrance(
    backend: CodexBackend, user_home: Path, tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (user_home / "config.toml").write_text(text)
    argv = backend.command(request(tmp_path, sandbox_mode=SandboxMode.READ_ONLY)).argv
    assert "--ignore-rules" in argv
    assert not [word for word in argv if word.startswith("mcp_servers")]


def test_each_worker_has_a_home_of_its_own_with_the_users_login_linked(
    backend: CodexBackend, user_home: Path, tmp_path: Path
) -> None:
    (user_home / "auth.json").write_text("secret")
    (user_home / "sessions").mkdir()
    (user_home / "skills" / "mine").mkdir(parents=True)
    homes = [Path(backend.command(request(tmp_path, state=f"worker-{n}")).env["CODEX_HOME"]) for n in (1, 2)]
    assert homes[0] != homes[1]
    for home in homes:
        assert home.stat().st_mode & 0o777 == 0o700
        assert os.readlink(home / "auth.json") == str(user_home / "auth.json")
        assert (home / "skills" / "mine").is_symlink()
        assert not (home / "sessions").exists()
    (homes[0] / "auth.json").write_text("refreshed")  # codex writes a refreshed login in place
    assert (user_home / "auth.json").read_text() == "refreshed"


def test_a_second_attempt_finds_its_home_again(backend: CodexBackend, user_home: Path, tmp_path: Path) -> None:
    (user_home / "config.toml").write_text("")
    asked = request(tmp_path)
    first = backend.command(asked).env
    assert backend.command(asked).env == first


def test_a_login_in_the_keyring_needs_the_users_own_home(
    backend: CodexBackend, user_home: Path, tmp_path: Path
) -> None:
    (user_home / "config.toml").write_text('cli_auth_credentials_store = "keyring"\n')
    assert backend.command(request(tmp_path)).env["CODEX_HOME"] == str(user_home)


def test_openais_key_serves_where_there_is_no_login(user_home: Path, tmp_path: Path) -> None:
    environ = {"HOME": str(user_home.parent), "OPENAI_API_KEY": "sk-1"}
    assert CodexBackend(environ=environ).command(request(tmp_path)).env["CODEX_API_KEY"] == "sk-1"
    (user_home / "auth.json").write_text("{}")
    assert "CODEX_API_KEY" not in CodexBackend(environ=environ).command(request(tmp_path)).env


def test_tokens_and_steps_are_known_while_a_turn_goes_on(reader: CodexReader, rollout: Path) -> None:
    rollout.write_bytes(rollout_line("token_usage_record", 100) + rollout_line("token_count", 100))
    facts = list(reader.poll())
    assert tokens(facts) == [100]
    assert Step(count=1) in facts
    with rollout.open("ab") as file:
        file.write(rollout_line("token_usage_record", 250)[:-10])
    assert list(reader.poll()) == []  # half a line
    with rollout.open("ab") as file:
        file.write(rollout_line("token_usage_record", 250)[-10:])
    facts = list(reader.poll())
    assert tokens(facts) == [250]
    assert Step(count=2) in facts


def test_older_versions_tell_tokens_too(reader: CodexReader, rollout: Path) -> None:
    rollout.write_bytes(rollout_line("token_count", 100))
    assert tokens(list(reader.poll())) == [100]


def test_the_model_is_named_in_the_rollout(reader: CodexReader, rollout: Path) -> None:
    rollout.write_bytes(
        line(type="turn_context", payload={"model": "gpt-5.5"}) + b"\n" + rollout_line("token_count", 100)
    )
    (told,) = [fact for fact in reader.poll() if isinstance(fact, Tokens)]
    assert told.model == "gpt-5.5"


def test_the_model_is_known_when_a_short_turn_ends(reader: CodexReader, rollout: Path) -> None:
    """Over before anybody looked at the rollout; its tokens without a model would have no price."""
    rollout.write_bytes(line(type="turn_context", payload={"model": "gpt-5.5"}) + b"\n")
    facts = list(reader.line(line(type="turn.completed", usage={"input_tokens": 100, "output_tokens": 10})))
    assert [fact.model for fact in facts if isinstance(fact, Tokens)] == ["gpt-5.5"]


def test_a_late_rollout_does_not_take_tokens_back(reader: CodexReader, rollout: Path) -> None:
    list(reader.line(line(type="turn.completed", usage={"input_tokens": 900, "output_tokens": 90})))
    rollout.write_bytes(rollout_line("token_count", 100))
    assert tokens(list(reader.poll())) == []


def test_a_resumed_thread_counts_from_where_it_was(tmp_path: Path, rollout: Path) -> None:
    rollout.write_bytes(rollout_line("token_count", 1000))
    reader = CodexReader(home=tmp_path / "codex", resumed=THREAD, model=None)
    list(reader.line(line(type="thread.started", thread_id=THREAD)))
    assert tokens(list(reader.poll())) == []
    with rollout.open("ab") as file:
        file.write(rollout_line("token_count", 1300))
    assert tokens(list(reader.poll())) == [300]
    facts = list(reader.line(line(type="turn.completed", usage={"input_tokens": 1400, "output_tokens": 140})))
    assert tokens(facts) == [400]


@pytest.mark.timeout(60)
def test_a_rollout_that_is_no_file_does_not_block(reader: CodexReader, rollout: Path, tmp_path: Path) -> None:
    os.mkfifo(rollout)
    assert list(reader.poll()) == []
    rollout.unlink()
    rollout.symlink_to(tmp_path / "elsewhere")
    assert list(reader.poll()) == []


@pytest.mark.parametrize("thread", ["*", "../../etc", "a/b/c/d/e/f", "x" * 300, "[abc]"])
def test_a_thread_id_is_no_pattern(tmp_path: Path, rollout: Path, thread: str) -> None:
    rollout.write_bytes(rollout_line("token_count", 100))
    reader = CodexReader(home=tmp_path / "codex", resumed=None, model=None)
    (told,) = reader.line(line(type="thread.started", thread_id=thread))
    assert isinstance(told, Session)
    assert list(reader.poll()) == []


def test_reconnecting_is_not_the_end(reader: CodexReader) -> None:
    list(reader.line(line(type="error", message="Reconnecting... 1/5")))
    list(reader.line(line(type="turn.completed", usage={"input_tokens": 1, "output_tokens": 1})))
    assert reader.ending(0, "").outcome is Outcome.COMPLETED


def test_an_items_error_is_a_warning(reader: CodexReader) -> None:
    for _ in range(2):
        list(reader.line(line(type="item.completed", item={"type": "error", "message": "no metadata"})))
    list(reader.line(line(type="turn.completed", usage={})))
    ending = reader.ending(0, "")
    assert (ending.outcome, ending.warnings) == (Outcome.COMPLETED, ("no metadata",))


def test_exit_0_without_an_end_of_the_turn_is_no_success(reader: CodexReader) -> None:
    list(reader.line(line(type="turn.started")))
    assert reader.ending(0, "").outcome is Outcome.NO_FINAL_EVENT


def test_a_second_turn_must_complete_too(reader: CodexReader) -> None:
    list(reader.line(line(type="turn.completed", usage={})))
    list(reader.line(line(type="turn.started")))
    assert reader.ending(0, "").outcome is Outcome.NO_FINAL_EVENT


def test_the_address_of_the_key_proxy_names_the_provider_without_quotes(
    tmp_path: Path, user_home: Path, backend: CodexBackend
) -> None:
    """codex takes a quote in the key of `-c` for a part of the provider's name."""
    addresses = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    assert 'openai_base_url="http://127.0.0.1:1/v1"' in backend.command(request(tmp_path, addresses=addresses)).argv
    (user_home / "config.toml").write_text('model_provider = "own"\n[model_providers.own]\nname = "own"\n')
    argv = backend.command(request(tmp_path, state="other", addresses=addresses)).argv
    assert 'model_providers.own.base_url="http://127.0.0.1:1/v1"' in argv
