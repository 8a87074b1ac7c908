"""The hosts that agents need."""

from __future__ import annotations

from pathlib import Path

from architect_parallel.backends.hosts import PACKAGES, hosts_of, package_hosts


def test_a_variable_that_names_an_address_adds_its_host() -> None:
    found = hosts_of("claude", {"ANTHROPIC_BASE_URL": "http://127.0.0.1:8080/v1", "OTHER": "https://x.example"})
    assert "api.anthropic.com" in found
    assert "127.0.0.1:8080" in found
    assert not any("x.example" in host for host in found)


def test_settings_that_name_an_address_add_its_host(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").write_text('[model_providers.own]\nbase_url = "https://llm.example/v1"\n')
    content = '{"provider": {"own": {"options": {"baseURL": "http://localhost:9000/v1"}}}}'
    found = hosts_of("codex", {"HOME": str(tmp_path), "OPENCODE_CONFIG_CONTENT": content})
    assert {"llm.example:443", "localhost:9000"} <= {*found}
    assert "llm.example:443" not in hosts_of("claude", {"HOME": str(tmp_path)})


def test_packages_are_the_registries_and_the_users_mirrors() -> None:
    found = package_hosts({"PIP_INDEX_URL": "https://mirror.example/simple", "GOPROXY": "https://go.example,direct"})
    assert {*PACKAGES, "mirror.example:443", "go.example:443"} == {*found}
