"""Count what an agent uses while it runs: steps, tokens and money, priced and held to their limits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from architect_parallel.backends.base import AgentEvent, Session, Step, Text, Throttled, Tokens
from architect_parallel.domain import CostBasis, Limits, Price, Reason, Usage
from architect_parallel.events import AgentOutput, Event, RateLimited, SessionKnown, StepTaken, UsageReported, Warned
from architect_parallel.scheduling.limits import Observation, exceeded
from architect_parallel.workers.cost import CostMeter

SHOW_S = 0.1
"""At most one live line per worker in this many seconds. A flood of output must not become a flood of events."""
SLIGHT = 0.01
"""A cost that falls by a smaller share is a correction that needs no warning."""

Emit = Callable[[Event], None]


@dataclass(slots=True, kw_only=True)
class UsageMeter:
    """The steps, tokens and money that an agent used so far, and the limits on them."""

    limits: Limits
    requested_model: str | None
    prices: Mapping[str, Price]
    emit: Emit
    stop: Callable[[Reason, str], None]
    steps: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    session_id: str | None = None
    model: str | None = None
    token_model: str | None = None
    """The model of the tokens that were last reported with one."""
    _cost_meter: CostMeter = field(init=False)
    _shown: tuple[object, ...] = ()
    _line: str | None = None
    _line_shown_s: float = -math.inf
    _unpriced: bool = False
    _highest: float = 0.0
    """The highest cost so far in USD. It counts for the budget even if a later cost is unknown."""
    _fallen: bool = False

    def __post_init__(self) -> None:
        self._cost_meter = CostMeter(self.prices)

    def take(self, events: Iterable[AgentEvent]) -> None:
        """Count the agent's events. The next `show` emits what changed."""
        counted = False
        for event in events:
            counted = True
            match event:
                case Step():
                    self.steps = max(self.steps, event.count)
                case Tokens():
                    self.token_model = event.model or self.token_model
                    self._price(event)
                case Session():
                    self.session_id = event.session_id
                    self.model = event.model or self.model
                case Text():
                    self._line = event.text
                case Throttled():
                    self.emit(RateLimited(message=event.message, retry_after_s=event.retry_after_s))
        if counted:
            self.check()

    def check(self) -> None:
        """Stop the agent when it exceeds a limit on steps or money."""
        cost = self._highest or None if self.cost is None else self.cost
        observation = Observation(steps=self.steps, cost_usd=cost)
        excess = exceeded(self.limits, observation)
        if excess is not None:
            self.stop(excess.reason, excess.detail)

    def show(self, now_s: float) -> None:
        """Emit what changed since the last call. The latest line at most every `SHOW_S`."""
        steps, usage = self.steps, (self.usage, self.cost)
        session = (self.session_id, self.model or self.token_model)
        old_steps, old_usage, old_session = self._shown or (0, (Usage(), None), (None, None))
        if session != old_session and self.session_id is not None:
            self.emit(SessionKnown(session_id=self.session_id, model=session[1]))
        if steps != old_steps:
            self.emit(StepTaken(steps=steps))
        if usage != old_usage:
            self.emit(UsageReported(usage=self.usage, cost=self.cost))
        self._shown = (steps, usage, session)
        if self._line is not None and now_s - self._line_shown_s >= SHOW_S:
            self.emit(AgentOutput(text=self._line))
            self._line, self._line_shown_s = None, now_s

    def _price(self, tokens: Tokens) -> None:
        usage = tokens.usage
        cost = self._cost_meter.cost(usage, tokens.model or self.model or self.requested_model, self.steps)
        basis = CostBasis.TOKENS
        if cost is None and usage.cost_basis is CostBasis.REPORTED and usage.reported_cost is not None:
            cost, basis = usage.reported_cost, CostBasis.REPORTED
        self.cost = self._not_below(cost)
        self.usage = dataclasses.replace(usage, cost_basis=basis if cost is not None else CostBasis.UNKNOWN)
        if cost is None and not self._unpriced and (usage.input_tokens or usage.output_tokens):
            self._unpriced = True
            model = tokens.model or self.model or self.requested_model or "the model"
            self.emit(Warned(message=f"no price is known for {model}: {self._consequence}"))

    def _not_below(self, cost: float | None) -> float | None:
        """The cost to count. One below an earlier figure does not count: an agent could talk its budget up."""
        if cost is None:
            return None
        if cost < self._highest * (1 - SLIGHT) and not self._fallen:
            self._fallen = True
            words = f"the agent's cost fell from ${self._highest:.4f} to ${cost:.4f}: the higher figure counts"
            self.emit(Warned(message=words))
        self._highest = max(self._highest, cost)
        return self._highest

    @property
    def _consequence(self) -> str:
        if self.limits.budget_usd is None and self.limits.run_budget_usd is None:
            return "its cost is not known (add it to prices in the configuration)"
        return "the budget is held by time only"
