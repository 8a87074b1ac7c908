"""One agent process from its start to the proof that its tree is gone, with everything counted on the way.

What comes in is turned into events; an exceeded limit stops the worker's `StopToken`. The agent's claims end up in the
`AgentReport`; the facts (exit code, leftovers, memory, why it was stopped) stand beside it, and nobody here weighs one
against the other: that is `planning.verdict`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from architect_parallel.backends.base import (
    AgentEvent,
    AgentReport,
    BlockFilter,
    Reader,
    Session,
    Step,
    Text,
    Throttled,
    Tokens,
)
from architect_parallel.backends.environment import Redactor
from architect_parallel.domain import CostBasis, Limits, Price, Reason, Usage
from architect_parallel.events import (
    AgentExited,
    AgentOutput,
    AgentStarted,
    Event,
    LimitReached,
    RateLimited,
    SessionKnown,
    StepTaken,
    UsageReported,
    Warned,
)
from architect_parallel.scheduling.limits import Observation, exceeded
from architect_parallel.supervision import process
from architect_parallel.supervision.monitor import Sampler, WatchedProcess
from architect_parallel.supervision.output import LineSplitter, LogFile, Tail
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.clock import monotonic_s
from architect_parallel.workers.cost import CostMeter

POLL_S = 0.5
"""How often the reader looks at files the agent writes, and the longest time without a look at the stop token."""
BUDGET_POLL_S = 0.1
"""The same while a budget is to be held: a model must not come to two replies between two looks."""
SHOW_S = 0.1
"""At most one live line per worker in this time; a flood of output must not become a flood of events."""

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """What was seen of one agent process."""

    ending: AgentReport | None
    """The agent's claim; `None` when it never ran."""
    exit_code: int | None
    spawn_error: str | None
    started_s: float | None
    """Monotonic; `None` when it never ran."""
    ended_s: float | None
    leaked: int | None
    peak_memory_bytes: int | None
    steps: int
    usage: Usage
    cost: float | None
    session_id: str | None
    model: str | None
    """As the agent reported it; `None` means that it did not."""


@dataclass(slots=True, kw_only=True)
class UsageMeter:
    """What an agent used so far, and the limits on it."""

    limits: Limits
    requested_model: str | None
    prices: Mapping[str, Price]
    emit: Emit
    stop: Callable[[Reason, str], None]
    steps: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    output_bytes: int = 0
    session_id: str | None = None
    model: str | None = None
    token_model: str | None = None
    """Of the tokens that were last reported with a model."""
    _account: CostMeter = field(init=False)
    _shown: tuple[object, ...] = ()
    _line: str | None = None
    _line_shown_s: float = -math.inf
    _unpriced: bool = False

    def __post_init__(self) -> None:
        self._account = CostMeter(self.prices)

    def take(self, facts: Iterable[AgentEvent]) -> None:
        """Counts facts in; events go out with the next `show`."""
        counted = False
        for fact in facts:
            counted = True
            match fact:
                case Step():
                    self.steps = max(self.steps, fact.count)
                case Tokens():
                    self.token_model = fact.model or self.token_model
                    self._price(fact)
                case Session():
                    self.session_id = fact.session_id
                    self.model = fact.model or self.model
                case Text():
                    self._line = fact.text
                case Throttled():
                    self.emit(RateLimited(message=fact.message, retry_after_s=fact.retry_after_s))
        if counted:
            self.check()

    def check(self) -> None:
        """Stops the agent when a limit on steps, money or output is exceeded."""
        seen = Observation(steps=self.steps, cost_usd=self.cost, output_bytes=self.output_bytes)
        excess = exceeded(self.limits, seen)
        if excess is not None:
            self.stop(excess.reason, excess.detail)

    def show(self, now_s: float) -> None:
        """Emits what changed since the last time; the latest line at most every `SHOW_S`."""
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

    def _price(self, fact: Tokens) -> None:
        usage = fact.usage
        cost = self._account.cost(usage, fact.model or self.model or self.requested_model, self.steps)
        basis = CostBasis.TOKENS
        if cost is None and usage.cost_basis is CostBasis.REPORTED and usage.reported_cost is not None:
            cost, basis = usage.reported_cost, CostBasis.REPORTED
        self.cost = cost
        self.usage = dataclasses.replace(usage, cost_basis=basis if cost is not None else CostBasis.UNKNOWN)
        if cost is None and not self._unpriced and (usage.input_tokens or usage.output_tokens):
            self._unpriced = True
            model = fact.model or self.model or self.requested_model or "the model"
            self.emit(Warned(message=f"no price is known for {model}: {self._consequence}"))

    @property
    def _consequence(self) -> str:
        if self.limits.budget_usd is None and self.limits.run_budget_usd is None:
            return "its cost is not known (add it to prices in the configuration)"
        return "the budget is held by time only"


def run_agent(
    launch: process.Launch,
    reader: Reader,
    *,
    shown_argv: tuple[str, ...],
    secrets: tuple[str, ...],
    log: LogFile,
    tally: UsageMeter,
    sampler: Sampler,
    stop_token: StopToken,
    emit: Emit,
) -> AgentRun | None:
    """Starts the agent and stays with it to its proven end. `None` means that a stop came first and nothing was
    started."""
    supervised = stop_token.start(lambda: process.start_supervised(launch))
    if supervised is None:
        return None
    started_s = monotonic_s()
    watched = WatchedProcess(
        limits=tally.limits,
        root_pid=supervised.supervisor_pid or 0,
        stop=stop_token.stop,
        started_s=started_s,
        last_output_s=started_s,
    )
    if supervised.supervisor_pid is not None:
        sampler.watch(watched)
    try:
        seen = _Pump(reader, shown_argv, secrets, log, tally, stop_token, emit, watched).until_gone(supervised)
    finally:
        sampler.forget(watched)
        stop_token.ended()
    ended_s = monotonic_s()
    tally.take(reader.poll())
    ending = reader.ending(seen.exit_code, seen.stderr.text) if seen.spawn_error is None else None
    tally.show(math.inf)
    emit(AgentExited(exit_code=seen.exit_code, leaked=seen.leaked, peak_memory_bytes=watched.peak_memory_bytes))
    return AgentRun(
        ending=ending,
        exit_code=seen.exit_code,
        spawn_error=seen.spawn_error,
        started_s=started_s,
        ended_s=ended_s,
        leaked=seen.leaked,
        peak_memory_bytes=watched.peak_memory_bytes,
        steps=tally.steps,
        usage=tally.usage,
        cost=0.0 if tally.cost is None and ending is not None and ending.no_model_call else tally.cost,
        session_id=tally.session_id,
        model=tally.model or tally.token_model,
    )


class _Pump:
    """Moves what a supervised process says to the reader, the log and the counters."""

    def __init__(
        self,
        reader: Reader,
        shown_argv: tuple[str, ...],
        secrets: tuple[str, ...],
        log: LogFile,
        tally: UsageMeter,
        stop_token: StopToken,
        emit: Emit,
        watched: WatchedProcess,
    ) -> None:
        self._reader = reader
        self._skim = reader.filter_block if isinstance(reader, BlockFilter) else None
        self._shown_argv = shown_argv
        self._log = log
        self._tally = tally
        self._stop_token = stop_token
        self._emit = emit
        self._watched = watched
        self._lines = LineSplitter()
        # Blanked out at the source: what an agent repeats of its keys reaches neither log nor journal nor result.
        self._redactors = {stream: Redactor(secrets) for stream in ("stdout", "stderr")}
        self._stop_shown = False
        self.stderr = Tail()
        self.exit_code: int | None = None
        self.spawn_error: str | None = None
        self.leaked: int | None = None

    def until_gone(self, supervised: process.Supervised) -> _Pump:
        limits = self._watched.limits
        budgeted = limits.budget_usd is not None or limits.run_budget_usd is not None
        poll_s = BUDGET_POLL_S if budgeted else POLL_S
        next_poll = monotonic_s() + poll_s
        gone = False
        while not gone:
            for message in supervised.wait(poll_s):
                gone = self._take(message, supervised) or gone
            now = monotonic_s()
            if now >= next_poll:
                self._tally.take(self._reader.poll())
                next_poll = now + poll_s
            self._tally.show(now)
            self._show_stop()
        for stream, redactor in self._redactors.items():
            self._pass_on(stream, redactor.finish())
        for line in self._lines.rest():
            self._tally.take(self._reader.line(line))
        return self

    def _take(self, message: process.Message, supervised: process.Supervised) -> bool:
        match message:
            case process.Output(stream=stream, data=data):
                self._take_output(stream, data)
            case process.Started(pid=pid):
                started = AgentStarted(
                    supervisor_pid=supervised.supervisor_pid or 0, agent_pid=pid, argv=self._shown_argv
                )
                self._emit(started)
            case process.SpawnFailed(message=text):
                self.spawn_error = text
            case process.Exited(exit_code=code):
                self.exit_code = code
            case process.Gone(leaked=leaked, survivors=survivors, proven=proven):
                self.leaked = leaked
                if survivors:
                    self._emit(Warned(message=f"{survivors} processes could not be ended: another user's, or stuck"))
                elif not proven and process.PROVES_EMPTINESS:
                    self._emit(Warned(message="the agent killed its supervisor; its processes were searched and ended"))
                return True
        return False

    def _take_output(self, stream: str, data: bytes) -> None:
        self._watched.last_output_s = monotonic_s()
        self._tally.output_bytes += len(data)
        self._tally.check()
        self._pass_on(stream, self._redactors[stream].feed(data))

    def _pass_on(self, stream: str, data: bytes) -> None:
        self._log.write(stream, data)
        if stream == "stderr":
            self.stderr.feed(data)
            return
        for line in self._lines.feed(data) if self._skim is None else self._skimmed(data, self._skim):
            self._tally.take(self._reader.line(line))

    def _skimmed(self, data: bytes, filter_block: Callable[[bytes], list[bytes]]) -> list[bytes]:
        block = self._lines.feed_block(data)
        return filter_block(block) if block else []

    def _show_stop(self) -> None:
        reason = self._stop_token.reason
        if reason is not None and not self._stop_shown:
            self._stop_shown = True
            self._emit(LimitReached(reason=reason, detail=self._stop_token.detail))
