"""What an agent's tokens cost, from totals that grow.

Some models cost more per token where a request is long, so a price holds for one request and not for the sum of many:
each growth of the totals is priced as the requests that it is, by the model that was at work then.
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
        """Input, cached, cache write and output tokens that are in the cost."""
        self._steps = 0
        self._cost = 0.0

    def cost(self, usage: Usage, model: str | None, steps: int) -> float | None:
        """USD of everything up to these totals; `None`: the tokens or the price of what is new are not known. What
        could not be priced is tried again with the next growth.

        Args:
            model: Who used what is new.
            steps: Model replies so far: what came at once is shared out among the new ones.
        """
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        total = (usage.input_tokens, usage.cached_tokens or 0, usage.cache_write_tokens or 0, usage.output_tokens)
        grown = [max(0, now - before) for now, before in zip(total, self._counted, strict=True)]
        # An agent's last word may correct its earlier ones.
        taken_back = [max(0, before - now) for now, before in zip(total, self._counted, strict=True)]
        more = self._price(grown, max(1, steps - self._steps), model)
        less = self._price(taken_back, 1, model) if any(taken_back) else 0.0
        if more is None or less is None:
            return None
        self._counted, self._steps = total, max(steps, self._steps)
        self._cost = max(0.0, self._cost + more - less)
        return self._cost

    def _price(self, tokens: list[int], requests: int, model: str | None) -> float | None:
        each = [count // requests for count in tokens]
        last = [count - share * (requests - 1) for count, share in zip(tokens, each, strict=True)]
        price = self._price_one(last, model)
        if price is None or requests == 1:
            return price
        others = self._price_one(each, model)
        return None if others is None else price + others * (requests - 1)

    def _price_one(self, tokens: list[int], model: str | None) -> float | None:
        given, cached, written, out = tokens
        usage = Usage(input_tokens=given, cached_tokens=cached, cache_write_tokens=written, output_tokens=out)
        return cost_usd(usage, model, self._prices)
