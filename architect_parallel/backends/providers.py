"""Which model provider a model name means, and which key it needs: a table and the one rule that reads it.

Pure: shared by the embedded agent (which calls the provider) and its backend (which says beforehand what is missing).
It never sees a key's value, only the names of variables.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

SCRIPTED = "scripted"
"""Provider name of models whose replies are read from a file."""
COMPATIBLE = "openai-compatible"
"""Provider name of whatever answers at a given base URL in OpenAI's Chat Completions form."""
INSTALL_AGENT = "in a clone of architect-parallel: pipx install --force '.[agent]', or pip install '.[agent]'"
"""Hint for a program that was installed without the SDKs. It is in no registry: its name alone cannot be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A model provider."""

    name: str
    """As in `provider:model`."""
    keys: tuple[str, ...] = ()
    """Variables that may hold its key, any one of them; empty: none needed, or not known here."""
    base_url_variable: str | None = None
    """With this variable set the requests go elsewhere and a key is not asked for beforehand."""
    default_model: str | None = None
    models: str = r"(?!)"
    """Pattern of the model names that mean it without a prefix."""
    module: str | None = None
    """Python package of its SDK; `None`: the one of OpenAI's."""


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
"""In the order in which a provider with a key is taken when no model is named."""

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
    """A model name taken apart."""

    provider: Provider
    model: str
    """The provider's own name of it, without a prefix; what is priced."""
    api_base: str | None = None
    """`None`: the provider's own address."""


def choose_model(name: str, api_base: str | None = None) -> ModelChoice | None:
    """What a model name means; `None` when no provider is known for it.

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
    by_name = next((each for each in PROVIDERS if re.match(each.models, name)), None)
    if api_base:
        model = rest if prefix in ("openai", "deepseek") and colon else name
        deepseek = prefix == "deepseek" or (by_name is not None and by_name.name == "deepseek")
        keys = ("DEEPSEEK_API_KEY", "OPENAI_API_KEY") if deepseek else ("OPENAI_API_KEY",)
        return ModelChoice(provider=Provider(name=COMPATIBLE, keys=keys), model=model, api_base=api_base)
    if by_name is not None:
        return ModelChoice(provider=by_name, model=name)
    if colon and rest and re.fullmatch(r"[a-z][a-z-]*", prefix):
        known = next((each for each in PROVIDERS if each.name == prefix), None)
        return ModelChoice(provider=known or Provider(name=prefix), model=rest)
    return None


def default_model(variables: Collection[str]) -> str | None:
    """The default model of the first provider whose key is among the names of set variables; `None`: no key is set.

    >>> default_model({"OPENAI_API_KEY"})
    'gpt-4o'
    """
    return next((each.default_model for each in PROVIDERS if any(key in variables for key in each.keys)), None)


def missing_key(choice: ModelChoice, variables: Collection[str]) -> str | None:
    """Name of the variable to set before this model can be called; `None`: nothing is known to be missing.

    >>> missing_key(choose_model("gpt-4o"), set())
    'OPENAI_API_KEY'
    """
    provider = choice.provider
    if choice.api_base or not provider.keys or provider.base_url_variable in variables:
        return None
    return None if any(key in variables for key in provider.keys) else provider.keys[0]
