"""The cost of an agent's tokens, computed from totals that grow.

Some models cost more per token in a long request, so a price holds for one request and not for the sum of many. Each
growth of the totals is priced as the requests that it consists of, by the model that was used for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from architect_parallel.domain import Price, Usage
from architect_parallel.system.prices import cost_usd


class CostMeter:
    """The cost of one agent process."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self._counted = (0, 0, 0, 0)
        """Input, cached, cache write and output tokens that the cost includes."""
        self._steps = 0
        self._cost = 0.0

    def cost(self, usage: Usage, model: str | None, steps: int) -> float | None:
        """Return the USD of everything up to these totals. `None` means that new tokens or their price are unknown.

        Tokens that could not be priced are tried again with the next growth.

        Args:
            model: The model that used the new tokens.
            steps: Model replies so far. The new tokens are divided among the new replies.
        """
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        total = (usage.input_tokens, usage.cached_tokens or 0, usage.cache_write_tokens or 0, usage.output_tokens)
        grown = [max(0, now - before) for now, before in zip(total, self._counted, strict=True)]
        # An agent's last totals may correct the earlier ones.
        corrected = [max(0, before - now) for now, before in zip(total, self._counted, strict=True)]
        more = self._price(grown, max(1, steps - self._steps), model)
        less = self._price(corrected, 1, model) if any(corrected) else 0.0
        if more is None or less is None:
            return None
        self._counted, self._steps = total, max(steps, self._steps)
        self._cost = max(0.0, self._cost + more - less)
        return self._cost

    def _price(self, tokens: list[int], requests: int, model: str | None) -> float | None:
        share = [count // requests for count in tokens]
        last = [count - part * (requests - 1) for count, part in zip(tokens, share, strict=True)]
        price = self._price_one(last, model)
        if price is None or requests == 1:
            return price
        others = self._price_one(share, model)
        return None if others is None else price + others * (requests - 1)

    def _price_one(self, tokens: list[int], model: str | None) -> float | None:
        input_tokens, cached, written, output = tokens
        usage = Usage(input_tokens=input_tokens, cached_tokens=cached, cache_write_tokens=written, output_tokens=output)
        return cost_usd(usage, model, self._prices)
