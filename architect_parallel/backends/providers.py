"""Model providers: the provider that a model name means, and the key that it needs.

Pure. Shared by the embedded agent, which calls the provider, and its backend, which reports beforehand what is missing.
Keys' values are never read, only the names of variables.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

SCRIPTED = "scripted"
"""Provider name of models whose replies are read from a file."""
COMPATIBLE = "openai-compatible"
"""Provider name of any server at a given base URL that speaks OpenAI's Chat Completions."""
INSTALL_AGENT = "in a clone of architect-parallel: pipx install --force '.[agent]', or pip install '.[agent]'"
"""Hint for an installation without the SDKs. The package is in no registry, so its name alone cannot be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A model provider."""

    name: str
    """The name in `provider:model`."""
    keys: tuple[str, ...] = ()
    """Variables that may hold its key, any one of them. Empty means that none is needed, or that it is not known
    here.
    """
    base_url_variable: str | None = None
    """If this variable is set, requests go elsewhere and no key is required beforehand."""
    default_model: str | None = None
    models: str = r"(?!)"
    """Pattern of the model names that mean this provider without a prefix."""
    module: str | None = None
    """Python package of its SDK. `None` means OpenAI's."""


PROVIDERS = (
    Provider(
        name="anthropic",
        keys=("ANTHROPIC_API_KEY",),
        default_model="claude-sonnet-4-6",
        models=r"claude-",
        module="anthropic",
    ),
    Provider(
        name="openai",
        keys=("OPENAI_API_KEY",),
        base_url_variable="OPENAI_BASE_URL",
        default_model="gpt-4o",
        models=r"gpt-|chatgpt-|codex-|o\d",
    ),
    Provider(
        name="google",
        keys=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        default_model="gemini-2.5-pro",
        models=r"gemini-",
        module="google.genai",
    ),
    Provider(name="deepseek", keys=("DEEPSEEK_API_KEY",), default_model="deepseek-chat", models=r"deepseek-"),
)
"""In order of preference if no model is named."""

OTHER_KEYS = tuple(
    f"{name}_API_KEY"
    for name in (
        "CEREBRAS",
        "FIREWORKS",
        "GROQ",
        "MISTRAL",
        "MOONSHOTAI",
        "OLLAMA",
        "OPENROUTER",
        "TOGETHER",
        "XAI",
        "ZAI",
    )
)
"""Keys of further providers that can be named as `provider:model`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model name and its parts."""

    provider: Provider
    model: str
    """The provider's own name of the model, without a prefix. Prices are looked up by it."""
    api_base: str | None = None
    """`None` means the provider's own address."""


def choose_model(name: str, api_base: str | None = None) -> ModelChoice | None:
    """Split a model name. `None` means that no provider is known for it.

    >>> choose_model("claude-sonnet-4-6").provider.name
    'anthropic'
    >>> choose_model("groq:llama-3.3-70b").provider.name, choose_model("scripted:right").model
    ('groq', 'right')
    >>> choose_model("qwen3:4b", "http://localhost:11434/v1").model
    'qwen3:4b'
    >>> choose_model("llama") is None
    True
    """
    prefix, colon, rest = name.partition(":")
    if prefix == SCRIPTED and colon:
        return ModelChoice(provider=Provider(name=SCRIPTED), model=rest)
    by_name = next((provider for provider in PROVIDERS if re.match(provider.models, name)), None)
    if api_base:
        model = rest if prefix in ("openai", "deepseek") and colon else name
        deepseek = prefix == "deepseek" or (by_name is not None and by_name.name == "deepseek")
        keys = ("DEEPSEEK_API_KEY", "OPENAI_API_KEY") if deepseek else ("OPENAI_API_KEY",)
        return ModelChoice(provider=Provider(name=COMPATIBLE, keys=keys), model=model, api_base=api_base)
    if by_name is not None:
        return ModelChoice(provider=by_name, model=name)
    if colon and rest and re.fullmatch(r"[a-z][a-z-]*", prefix):
        known = next((candidate for candidate in PROVIDERS if candidate.name == prefix), None)
        return ModelChoice(provider=known or Provider(name=prefix), model=rest)
    return None


def default_model(variables: Collection[str]) -> str | None:
    """The default model of the first provider whose key is set. `None` means that no key is set.

    >>> default_model({"OPENAI_API_KEY"})
    'gpt-4o'
    """
    return next(
        (provider.default_model for provider in PROVIDERS if any(key in variables for key in provider.keys)), None
    )


def missing_key(choice: ModelChoice, variables: Collection[str]) -> str | None:
    """Name of the variable to set before this model can be called. `None` means that nothing is known to be missing.

    >>> missing_key(choose_model("gpt-4o"), set())
    'OPENAI_API_KEY'
    """
    provider = choice.provider
    if choice.api_base or not provider.keys or provider.base_url_variable in variables:
        return None
    return None if any(key in variables for key in provider.keys) else provider.keys[0]
