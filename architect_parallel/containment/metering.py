"""Count what the answers of model providers say that they cost: tokens, their price, and the budget on it.

The figures come from the provider's own answer as the key proxy passes it on, so an agent cannot change them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Any

from architect_parallel.domain import CostBasis, Limits, Price, Reason, Usage
from architect_parallel.system.prices import cost_usd

MOST_BYTES = 64 * 1024 * 1024
"""A longer answer that is no stream is passed on, but not counted."""


class Protocol(StrEnum):
    """The form of a request and of its answer."""

    MESSAGES = "messages"
    CHAT = "chat"
    RESPONSES = "responses"
    GEMINI = "gemini"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The tokens and money that an agent used so far."""

    usage: Usage
    cost: float | None
    """USD. `None` means that the tokens of an answer, or their price, are unknown."""
    model: str | None


class RunBudget:
    """The budget of a run, shared by the accounts of its agents."""

    def __init__(self, usd: float | None = None) -> None:
        """Args:
        usd: The budget. `None` means no limit.
        """
        self._usd = usd
        self._spent = 0.0
        self._lock = threading.Lock()

    def add(self, cost: float) -> None:
        """Note the cost of an answer, in USD."""
        with self._lock:
            self._spent += cost

    @property
    def exhausted(self) -> str | None:
        """A sentence when the budget is spent. `None` means that it is not, or that there is none."""
        if self._usd is None or self._spent < self._usd:
            return None
        return f"${self._spent:.4f} of the run's ${self._usd:.4f} spent"


class Account:
    """The bill of one agent."""

    def __init__(
        self, limits: Limits, prices: Mapping[str, Price], run: RunBudget, stop: Callable[[Reason, str], None]
    ) -> None:
        """Args:
        stop: Ends the agent. Called before a request is refused, so that the agent's end cannot come first.
        """
        self._budget_usd = limits.budget_usd
        self._prices = prices
        self._run = run
        self._stop = stop
        self._lock = threading.Lock()
        self._totals = [0, 0, 0, 0]
        self._cost = 0.0
        self._numbers = count()
        self._counted: dict[int, tuple[list[int], float | None]] = {}
        """Tokens and cost of each answer, by its number."""
        self._unknown: set[int] = set()
        """Answers whose tokens or price are unknown."""
        self._model: str | None = None

    def refusal(self) -> str | None:
        """Stop the agent and return a sentence if no money is left. `None` means that a request may pass."""
        if self._budget_usd is not None and self._cost >= self._budget_usd:
            reason, detail = Reason.BUDGET, f"${self._cost:.4f}, limit ${self._budget_usd:.4f}"
        elif (exhausted := self._run.exhausted) is not None:
            reason, detail = Reason.RUN_BUDGET, exhausted
        else:
            return None
        self._stop(reason, detail)
        return f"the budget is spent: {detail}"

    def begin(self) -> int:
        """The number of a new answer."""
        return next(self._numbers)

    def count(self, number: int, usage: Usage | None, models: tuple[str, ...]) -> None:
        """Count an answer as far as it is known. A later call for the same answer takes the place of the earlier one.

        Args:
            usage: `None` means that the answer did not name its tokens.
            models: Names of the model, the provider's own first. The first one with a price counts.
        """
        prices = (cost_usd(usage, model, self._prices) for model in models) if usage is not None else iter(())
        cost = next((price for price in prices if price is not None), None)
        counts = [0, 0, 0, 0]
        if usage is not None:
            names = (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens)
            counts = [tokens or 0 for tokens in names]
        with self._lock:
            before, paid = self._counted.get(number, ([0, 0, 0, 0], 0.0))
            self._counted[number] = counts, cost
            self._totals = [total + new - old for total, new, old in zip(self._totals, counts, before, strict=True)]
            more = (cost or 0.0) - (paid or 0.0)
            self._cost += more
            (self._unknown.add if cost is None else self._unknown.discard)(number)
            self._model = next(iter(models), self._model)
        self._run.add(more)

    @property
    def bill(self) -> Bill | None:
        """The bill so far. `None` means that no answer came through the proxy."""
        with self._lock:
            if not self._counted:
                return None
            cost = None if self._unknown else self._cost
            given, cached, written, output = self._totals
            usage = Usage(
                input_tokens=given,
                cached_tokens=cached,
                cache_write_tokens=written,
                output_tokens=output,
                cost_basis=CostBasis.UNKNOWN if cost is None else CostBasis.PROXY,
            )
            return Bill(usage=usage, cost=cost, model=self._model)


class AnswerReader:
    """Reads tokens and model from an answer while it is passed on."""

    def __init__(self, protocol: Protocol, *, is_stream: bool, drops_usage: bool = False) -> None:
        """Args:
        is_stream: The answer consists of server-sent events.
        drops_usage: Leave out the event that holds only the usage, because the agent did not ask for it.
        """
        self._protocol = protocol
        self._is_stream = is_stream
        self._drops_usage = drops_usage
        self._rest = b""
        self._counts: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self.model: str | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes. Return those to pass on."""
        if not self._is_stream:
            if len(self._rest) <= MOST_BYTES:
                self._rest += data
            return data
        *lines, self._rest = (self._rest + data).split(b"\n")
        kept = [line for line in lines if self._keeps(line)]
        if self._drops_usage:
            return b"".join(line + b"\n" for line in kept)
        return data

    def end(self) -> bytes:
        """Take the end. Return the last bytes to pass on."""
        rest = self._rest
        if not self._is_stream:
            self._take(rest)
            return b""
        return rest if self._keeps(rest) and self._drops_usage else b""

    def is_new(self) -> bool:
        """The counts grew since the last call."""
        grew, self._seen = self._counts != self._seen, dict(self._counts)
        return grew

    def models(self, asked: str | None) -> tuple[str, ...]:
        """Names of the model: the provider's own, then that of the request."""
        return tuple(name for name in (self.model, asked) if name)

    @property
    def usage(self) -> Usage | None:
        """The tokens. `None` means that the answer did not name them."""
        counts = self._counts
        if "input" not in counts and "output" not in counts:
            return None
        return Usage(
            input_tokens=counts.get("input", 0),
            cached_tokens=counts.get("cached", 0),
            cache_write_tokens=counts.get("written", 0),
            output_tokens=counts.get("output", 0),
        )

    def _keeps(self, line: bytes) -> bool:
        if not line.startswith(b"data:") or b'"usage' not in line:
            return True
        only_usage = self._take(line[5:])
        return not only_usage

    def _take(self, text: bytes) -> bool:
        """Read a document. Returns true if it is the event of a chat that holds only the usage."""
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return False
        documents = parsed if isinstance(parsed, list) else [parsed]
        for document in documents:
            if isinstance(document, dict):
                self._read(document)
        return isinstance(parsed, dict) and parsed.get("choices") == [] and isinstance(parsed.get("usage"), dict)

    def _read(self, document: dict[str, Any]) -> None:
        inner = next(
            (document[key] for key in ("message", "response") if isinstance(document.get(key), dict)), document
        )
        model = inner.get("model") or inner.get("modelVersion")
        self.model = model if isinstance(model, str) and model else self.model
        usage = inner.get("usageMetadata" if self._protocol is Protocol.GEMINI else "usage")
        if isinstance(usage, dict):
            for name, count in _counts(self._protocol, usage):
                self._counts[name] = max(count, self._counts.get(name, 0))  # totals of a stream only grow


def _counts(protocol: Protocol, usage: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The counts in a usage object. A count that the object does not name is left out."""

    def named(*path: str) -> int:
        value: Any = usage
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    match protocol:
        case Protocol.MESSAGES:
            cached, written = named("cache_read_input_tokens"), named("cache_creation_input_tokens")
            if "input_tokens" in usage:
                yield "input", named("input_tokens") + cached + written
            yield from (("cached", cached), ("written", written), ("output", named("output_tokens")))
        case Protocol.CHAT:
            yield "input", named("prompt_tokens")
            yield "cached", named("prompt_tokens_details", "cached_tokens") or named("prompt_cache_hit_tokens")
            yield "output", named("completion_tokens")
        case Protocol.RESPONSES:
            yield "input", named("input_tokens")
            yield "cached", named("input_tokens_details", "cached_tokens")
            yield "output", named("output_tokens")
        case Protocol.GEMINI:
            yield "input", named("promptTokenCount") + named("toolUsePromptTokenCount")
            yield "cached", named("cachedContentTokenCount")
            yield "output", named("candidatesTokenCount") + named("thoughtsTokenCount")
