"""Prices of tokens in US dollars.

They come from the user's `prices` table first, then from the data bundled with genai-prices, without network. The model
is looked up without a provider: a deepseek model behind an OpenAI-compatible endpoint has deepseek's price. Importing
genai-prices takes 16 MiB and 0.1 s, so it is imported for the first price.
"""

from __future__ import annotations

from collections.abc import Mapping

from architect_parallel.domain import Price, Usage


def cost_usd(usage: Usage, model: str | None, overrides: Mapping[str, Price]) -> float | None:
    """The price of these tokens in USD. `None` means that the tokens, the model or its price are unknown."""
    if model is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = usage.cached_tokens or 0
    override = overrides.get(model) or overrides.get(_plain_name(model))
    if override is not None:
        cached_price = override.cached_input_per_mtok
        cached_price = override.input_per_mtok if cached_price is None else cached_price
        fresh = max(0, usage.input_tokens - cached)
        dollars = (
            fresh * override.input_per_mtok + cached * cached_price + usage.output_tokens * override.output_per_mtok
        )
        return dollars / 1_000_000
    import genai_prices

    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=cached,
        cache_write_tokens=usage.cache_write_tokens or 0,
        output_tokens=usage.output_tokens,
    )
    try:
        return float(genai_prices.calc_price(tokens, model_ref=_plain_name(model)).total_price)
    except (LookupError, ValueError):
        return None


def _plain_name(model: str) -> str:
    """The name of a model without the decorations of agents.

    claude names a long-context variant `claude-opus-4-8[1m]`. opencode and aider prefix the provider: `openai/gpt-4o`.
    """
    return model.split("[", 1)[0].rpartition("/")[2]


def known_models() -> list[tuple[str, str]]:
    """The models that the bundled data has a price for, each with the name of its provider, sorted."""
    from genai_prices.data import providers

    models = {(model.id, provider.name) for provider in providers for model in provider.models}
    return sorted(dict(sorted(models, reverse=True)).items())
