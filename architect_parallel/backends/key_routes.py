"""The provider keys of an agent that the launcher's key proxy can hold instead: their variables and their addresses.

A key can be held back where the agent takes its address from a variable or an option of ours. Where the user's own
settings name another address, or say that a login is used, the agent gets its key as before.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from architect_parallel.backends.isolated_home import holds, home_of

ANTHROPIC, OPENAI, GOOGLE = (
    "https://api.anthropic.com",
    "https://api.openai.com/v1",
    "https://generativelanguage.googleapis.com",
)
_OPTION_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Names of providers that an option `-c` of codex can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRoute:
    """A provider key and the address that it belongs to."""

    key: str
    """The variable that holds it."""
    upstream: str
    """The base URL of the provider."""
    address: str | None = None
    """The variable that names the base URL to the agent. `None` means an option: see `Request.addresses`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRouting:
    """The keys of one agent that can be held back."""

    routes: tuple[KeyRoute, ...] = ()
    problem: str | None = None
    """The reason why keys that could be held back are not, to be read after the agent's name. `None` means none."""


def key_routing(name: str, passed: Mapping[str, str], worktree: Path) -> KeyRouting:
    """The routes of the keys that an agent of the backend `name` would get.

    Args:
        passed: The variables that it would get.
        worktree: The directory that it works in, whose settings count for it as well.
    """
    find = _ROUTINGS.get(name)
    if find is None:
        return KeyRouting()
    routing = find(passed, worktree)
    routes = tuple(route for route in routing.routes if _is_key(passed.get(route.key, "")))
    problem = next((text for route in routes if (text := _bad_address(route)) is not None), routing.problem)
    return KeyRouting(problem=problem if routes else None) if problem else KeyRouting(routes=routes)


def codex_provider(home: Path) -> tuple[str, Mapping[str, Any]] | None:
    """Name and entry of the provider that the user's configuration of codex chooses. `None` means its own."""
    config = _codex_config(home)
    name, providers = config.get("model_provider"), config.get("model_providers")
    entry = providers.get(name) if isinstance(providers, dict) else None
    return (name, entry) if isinstance(name, str) and isinstance(entry, dict) else None


def _codex_config(home: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads((home / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _is_key(value: str) -> bool:
    return len(value) >= 8 and value.isascii() and value.isprintable()


def _bad_address(route: KeyRoute) -> str | None:
    try:
        parts = urlsplit(route.upstream)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    return None if is_good else f"{route.address or 'its base URL'} is no address"


def _route(passed: Mapping[str, str], key: str, address: str, upstream: str) -> KeyRoute:
    return KeyRoute(key=key, address=address, upstream=passed.get(address) or upstream)


def _named_in(files: list[Path], *words: bytes) -> str | None:
    named = next((path for path in files for word in words if holds(path, word)), None)
    return None if named is None else f"{named} names its key or address"


def _claude(passed: Mapping[str, str], worktree: Path) -> KeyRouting:
    if any(passed.get(f"CLAUDE_CODE_USE_{cloud}") for cloud in ("BEDROCK", "VERTEX", "FOUNDRY")):
        return KeyRouting()
    user = Path(passed.get("CLAUDE_CONFIG_DIR") or home_of(passed) / ".claude")
    files = [user / "settings.json", *(worktree / ".claude" / f"settings{kind}.json" for kind in ("", ".local"))]
    files.append(Path("/etc/claude-code/managed-settings.json"))
    keys = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
    return KeyRouting(
        routes=tuple(_route(passed, key, "ANTHROPIC_BASE_URL", ANTHROPIC) for key in keys),
        problem=_named_in(files, b"ANTHROPIC_", b"apiKeyHelper", b"CLAUDE_CODE_USE_"),
    )


def _codex(passed: Mapping[str, str], worktree: Path) -> KeyRouting:
    home = Path(passed.get("CODEX_HOME") or home_of(passed) / ".codex")
    provider = codex_provider(home)
    if provider is not None:
        key, address = provider[1].get("env_key"), provider[1].get("base_url")
        if not isinstance(key, str) or not isinstance(address, str) or not _OPTION_NAME.fullmatch(provider[0]):
            return KeyRouting()
        return KeyRouting(routes=(KeyRoute(key=key, upstream=address),))
    key = "CODEX_API_KEY" if passed.get("CODEX_API_KEY") else "OPENAI_API_KEY"
    if key == "OPENAI_API_KEY" and (
        (home / "auth.json").is_file() or holds(home / "config.toml", b"cli_auth_credentials_store")
    ):
        return KeyRouting()  # its login is used
    config = _codex_config(home)
    # codex itself does not read OPENAI_BASE_URL (0.169.0): it is set for the commands that the agent runs.
    route = KeyRoute(key=key, address="OPENAI_BASE_URL", upstream=str(config.get("openai_base_url") or OPENAI))
    chosen = config.get("model_provider")
    problem = f"{home / 'config.toml'} names the provider {chosen}" if chosen else None
    return KeyRouting(routes=(route,), problem=problem)


def _gemini(passed: Mapping[str, str], worktree: Path) -> KeyRouting:
    settings = Path(passed.get("GEMINI_CLI_HOME") or home_of(passed)) / ".gemini" / "settings.json"
    is_chosen = holds(settings, b'"selectedType"')
    if is_chosen and not holds(settings, b'"gemini-api-key"'):
        return KeyRouting()
    if not is_chosen and any(passed.get(name) for name in ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA")):
        return KeyRouting()
    return KeyRouting(routes=(_route(passed, "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", GOOGLE),))


OPENCODE_PROVIDERS = {
    "ANTHROPIC_API_KEY": "anthropic",
    "OPENAI_API_KEY": "openai",
    "GEMINI_API_KEY": "google",
    "GOOGLE_GENERATIVE_AI_API_KEY": "google",
}
"""Providers of opencode by the variable of their key."""


def _opencode(passed: Mapping[str, str], worktree: Path) -> KeyRouting:
    config = Path(passed.get("XDG_CONFIG_HOME") or home_of(passed) / ".config") / "opencode"
    data = Path(passed.get("XDG_DATA_HOME") or home_of(passed) / ".local" / "share") / "opencode"
    places = [config, *map(Path, filter(None, (passed.get("OPENCODE_CONFIG_DIR"),))), worktree, worktree / ".opencode"]
    files = [
        place / f"{name}.{kind}" for place in places for name in ("opencode", "config") for kind in ("json", "jsonc")
    ]
    files += map(Path, filter(None, (passed.get("OPENCODE_CONFIG"),)))
    problem = _named_in(files, b"baseURL", b"apiKey")
    if any(word in passed.get("OPENCODE_CONFIG_CONTENT", "") for word in ("baseURL", "apiKey")):
        problem = "OPENCODE_CONFIG_CONTENT names its key or address"
    upstreams = {
        "anthropic": passed.get("ANTHROPIC_BASE_URL") or f"{ANTHROPIC}/v1",
        "openai": passed.get("OPENAI_BASE_URL") or OPENAI,
        "google": f"{GOOGLE}/v1beta",
    }
    routes = tuple(
        KeyRoute(key=key, upstream=upstreams[provider], address="OPENAI_BASE_URL" if provider == "openai" else None)
        for key, provider in OPENCODE_PROVIDERS.items()
        if not holds(data / "auth.json", f'"{provider}"'.encode())  # its login there goes first
    )
    return KeyRouting(routes=routes, problem=problem)


_ADAPTED = ("dashscope", "deepseek", "openrouter", "modelscope", "minimax", "mistral", "aliyun")
"""Words in the addresses for which qwen changes what it sends. It must see them."""


def _qwen(passed: Mapping[str, str], worktree: Path) -> KeyRouting:
    home = Path(passed.get("QWEN_HOME") or home_of(passed) / ".qwen")
    problem = _named_in(
        [home / "settings.json", worktree / ".qwen" / "settings.json"], b"baseUrl", b"apiKey", b"modelProviders"
    )
    if any(passed.get(name) for proxy in ("HTTP_PROXY", "HTTPS_PROXY") for name in (proxy, proxy.lower())):
        problem = "it would send to HTTPS_PROXY what is for this machine"
    address = passed.get("OPENAI_BASE_URL", "")
    if passed.get("OPENAI_API_KEY") and (not address or any(word in address for word in _ADAPTED)):
        problem = f"OPENAI_BASE_URL is {address or 'not set'}, and it adapts to its provider"
    return KeyRouting(
        routes=(
            _route(passed, "OPENAI_API_KEY", "OPENAI_BASE_URL", OPENAI),
            _route(passed, "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ANTHROPIC),
            _route(passed, "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", GOOGLE),
        ),
        problem=problem,
    )


def _architect(passed: Mapping[str, str], worktree: Path) -> KeyRouting:
    keys = {
        "ANTHROPIC_API_KEY": ("ANTHROPIC_BASE_URL", ANTHROPIC),
        "OPENAI_API_KEY": ("OPENAI_BASE_URL", OPENAI),
        "GOOGLE_API_KEY": ("GOOGLE_GEMINI_BASE_URL", GOOGLE),
        "GEMINI_API_KEY": ("GOOGLE_GEMINI_BASE_URL", GOOGLE),
    }
    if base := passed.get("ARCHITECT_API_BASE"):
        keys |= dict.fromkeys(("OPENAI_API_KEY", "DEEPSEEK_API_KEY"), ("ARCHITECT_API_BASE", base))
    return KeyRouting(routes=tuple(_route(passed, key, *rest) for key, rest in keys.items()))


_ROUTINGS = {
    "claude": _claude,
    "codex": _codex,
    "gemini": _gemini,
    "opencode": _opencode,
    "qwen": _qwen,
    "architect": _architect,
}


def without_proxies(passed: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep what is for this machine from a proxy that `passed` names. Empty means no proxy."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    if not any(passed.get(name) or passed.get(name.lower()) for name in names):
        return {}
    others = passed.get("NO_PROXY") or passed.get("no_proxy") or ""
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(filter(None, (others, "127.0.0.1"))))
