"""The hosts that agents need: of their provider, of their login, and those that a variable names as theirs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from architect_parallel.backends.isolated_home import home_of

_ANTHROPIC = ("api.anthropic.com", "console.anthropic.com", "platform.claude.com", "claude.ai")
_OPENAI = ("api.openai.com", "auth.openai.com", "chatgpt.com")
_GOOGLE = (
    *("generativelanguage.googleapis.com", "cloudcode-pa.googleapis.com", "oauth2.googleapis.com"),
    *("aiplatform.googleapis.com", "accounts.google.com"),
)
_OTHERS = (
    *("openrouter.ai", "api.deepseek.com", "api.groq.com", "api.mistral.ai", "api.x.ai", "api.together.xyz"),
    *("api.cerebras.ai", "api.cohere.com"),
)
_QWEN = ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "chat.qwen.ai", "portal.qwen.ai")
_ALL = (*_ANTHROPIC, *_OPENAI, *_GOOGLE, *_OTHERS)

HOSTS: Mapping[str, tuple[str, ...]] = {
    "claude": _ANTHROPIC,
    "codex": _OPENAI,
    "gemini": _GOOGLE,
    "qwen": (*_QWEN, *_OPENAI, "openrouter.ai"),
    "copilot": ("api.github.com", "github.com", "*.githubcopilot.com"),
    "opencode": (*_ALL, "opencode.ai", "models.dev"),
    "acp": _ALL,
    "aider": _ALL,
    "architect": _ALL,
}
"""By the name of the backend."""

PACKAGES = (
    *("pypi.org", "files.pythonhosted.org", "registry.npmjs.org", "registry.yarnpkg.com"),
    *("crates.io", "index.crates.io", "static.crates.io", "proxy.golang.org", "sum.golang.org"),
)
"""The registries of pip, npm, cargo and go: what the word `packages` means."""
_PACKAGE_VARIABLES = ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "npm_config_registry", "GOPROXY")


_SETTINGS = {"codex": ".codex/config.toml", "qwen": ".qwen/settings.json", "opencode": ".config/opencode/opencode.json"}
"""File below the home directory in which the user may name another address of a provider, by backend."""
_ADDRESS = re.compile(r"""base_?url["']?\s*[=:]\s*["'](https?://[^"'\s]+)""", re.IGNORECASE)


def hosts_of(name: str, passed: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts of a backend, with those that the user's settings of it name as the address of a provider.

    Args:
        passed: The variables that its agents get. Those that end in `_BASE_URL` or `_API_BASE` name hosts.
    """
    named = (value for key, value in passed.items() if key.endswith(("_BASE_URL", "_API_BASE")))
    texts = [passed.get("OPENCODE_CONFIG_CONTENT", "")]
    if name in _SETTINGS:
        with contextlib.suppress(OSError):
            texts.append((home_of(passed) / Path(_SETTINGS[name])).read_text(encoding="utf-8", errors="replace"))
    addresses = (address for text in texts for address in _ADDRESS.findall(text))
    return (*HOSTS.get(name, ()), *_hosts_in(named), *_hosts_in(addresses))


def package_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts that the word `packages` means, with those of the user's own mirrors."""
    return (*PACKAGES, *_hosts_in(part for name in _PACKAGE_VARIABLES for part in environ.get(name, "").split(",")))


def _hosts_in(urls: Iterator[str]) -> Iterator[str]:
    for url in urls:
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        except ValueError:
            continue
        if parts.hostname and port:
            yield f"[{parts.hostname}]:{port}" if ":" in parts.hostname else f"{parts.hostname}:{port}"
