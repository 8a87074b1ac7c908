"""The keys that can stay in the launcher, by agent and by what the user's settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.backends.key_routes import key_routing

KEY = "sk-0123456789"


def routed(name: str, home: Path, **variables: str) -> dict[str, str]:
    """Upstream by variable of the key."""
    routing = key_routing(name, {"HOME": str(home), **variables}, home / "worktree")
    return {route.key: route.upstream for route in routing.routes}


@pytest.mark.parametrize(
    ("name", "variables", "expected"),
    [
        ("claude", {"ANTHROPIC_API_KEY": KEY}, {"ANTHROPIC_API_KEY": "https://api.anthropic.com"}),
        (
            "claude",
            {"ANTHROPIC_AUTH_TOKEN": KEY, "ANTHROPIC_BASE_URL": "https://gateway.example/x"},
            {"ANTHROPIC_AUTH_TOKEN": "https://gateway.example/x"},
        ),
        ("claude", {"ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_USE_BEDROCK": "1"}, {}),
        ("claude", {}, {}),
        ("codex", {"OPENAI_API_KEY": KEY}, {"OPENAI_API_KEY": "https://api.openai.com/v1"}),
        ("gemini", {"GEMINI_API_KEY": KEY, "GOOGLE_GENAI_USE_VERTEXAI": "true"}, {}),
        ("opencode", {"ANTHROPIC_API_KEY": KEY}, {"ANTHROPIC_API_KEY": "https://api.anthropic.com/v1"}),
        ("qwen", {"OPENAI_API_KEY": KEY}, {}),
        ("qwen", {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://api.deepseek.com"}, {}),
        (
            "qwen",
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://a.example/v1"},
            {"OPENAI_API_KEY": "https://a.example/v1"},
        ),
        (
            "architect",
            {"DEEPSEEK_API_KEY": KEY, "ARCHITECT_API_BASE": "https://a.example"},
            {"DEEPSEEK_API_KEY": "https://a.example"},
        ),
        ("architect", {"DEEPSEEK_API_KEY": KEY}, {}),
        ("mytool", {"OPENAI_API_KEY": KEY}, {}),
    ],
)
def test_a_key_goes_where_it_went_before(
    tmp_path: Path, name: str, variables: dict[str, str], expected: dict[str, str]
) -> None:
    assert routed(name, tmp_path, **variables) == expected


@pytest.mark.parametrize(
    ("name", "key", "file", "text"),
    [
        ("claude", "ANTHROPIC_API_KEY", ".claude/settings.json", '{"env": {"ANTHROPIC_BASE_URL": "https://x"}}'),
        ("claude", "ANTHROPIC_API_KEY", "worktree/.claude/settings.json", '{"apiKeyHelper": "./key"}'),
        ("codex", "OPENAI_API_KEY", ".codex/config.toml", 'model_provider = "ollama"'),
        ("opencode", "OPENAI_API_KEY", ".config/opencode/opencode.json", '{"provider": {"openai": {"baseURL": ""}}}'),
        ("qwen", "ANTHROPIC_API_KEY", ".qwen/settings.json", '{"modelProviders": {}}'),
    ],
)
def test_settings_with_another_address_leave_the_agent_its_key_aloud(
    tmp_path: Path, name: str, key: str, file: str, text: str
) -> None:
    assert key in routed(name, tmp_path, **{key: KEY}), "the control"
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    routing = key_routing(name, {"HOME": str(tmp_path), key: KEY}, tmp_path / "worktree")
    assert routing.routes == ()
    assert routing.problem is not None
    assert str(tmp_path / file) in routing.problem


def test_a_provider_of_codex_configuration_is_followed(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").write_text(
        'model_provider = "a"\n[model_providers.a]\nbase_url = "https://a.example/v1"\nenv_key = "OPENAI_API_KEY"\n'
    )
    assert routed("codex", tmp_path, OPENAI_API_KEY=KEY) == {"OPENAI_API_KEY": "https://a.example/v1"}


def test_a_provider_that_no_option_of_codex_can_name_keeps_its_key(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    entry = 'base_url = "https://a.example/v1"\nenv_key = "OPENAI_API_KEY"\n'
    (tmp_path / ".codex" / "config.toml").write_text(f'model_provider = "a.b"\n[model_providers."a.b"]\n{entry}')
    assert routed("codex", tmp_path, OPENAI_API_KEY=KEY) == {}


def test_a_login_that_is_used_needs_no_key(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "auth.json").write_text("{}")
    routing = key_routing("codex", {"HOME": str(tmp_path), "OPENAI_API_KEY": KEY}, tmp_path)
    assert (routing.routes, routing.problem) == ((), None)
