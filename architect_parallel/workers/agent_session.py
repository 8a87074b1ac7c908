"""The one way to run an agent: from its command line to the proof that its process tree is gone.

Workers, the judge, the resolver of conflicts and `architect run --backend` use it. The agent's claims end up in the
`AgentReport`. The facts (exit code, leftovers, memory) stand beside it in the `AgentRun`. Nothing here weighs one
against the other: `scheduling.verdict` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from architect_parallel.backends import environment
from architect_parallel.backends.base import AgentReport, Backend, BlockFilter, Reader, Request
from architect_parallel.containment.box import Contain
from architect_parallel.domain import Limits, Price, Usage
from architect_parallel.events import AgentExited, AgentStarted, LimitReached, Warned
from architect_parallel.supervision.consume import LimitedRun, ProcessFacts, run_limited
from architect_parallel.supervision.messages import Launch, Stream
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.output import LineSplitter, LogFile, Tail
from architect_parallel.supervision.process import PROVES_EMPTINESS
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.clock import monotonic_s
from architect_parallel.system.own_files import write_own
from architect_parallel.workers.request import shown_argv
from architect_parallel.workers.usage import Emit, UsageMeter

POLL_S = 0.5
"""Seconds between two looks at the files that the agent writes and at the stop token."""
BUDGET_POLL_S = 0.1
"""The same under a budget: two replies of a model must not come between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """The facts about one agent process, and its claim."""

    ending: AgentReport | None
    """The agent's claim. `None` means that it never ran."""
    exit_code: int | None
    spawn_error: str | None
    started_s: float
    """Monotonic, as `ended_s`."""
    ended_s: float
    leaked: int | None
    peak_memory_bytes: int | None
    steps: int
    usage: Usage
    cost: float | None
    """USD. `None` means unknown."""
    session_id: str | None
    model: str | None
    """As the agent reported it. `None` means that it did not."""

    @property
    def output(self) -> str:
        """The agent's final text. Empty when there is none."""
        return self.ending.text if self.ending is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSession:
    """Everything that runs of one agent have in common."""

    backend: Backend
    environ: Mapping[str, str]
    """The launcher's environment. The agent gets what its backend's allow-list names."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    sampler: Sampler = field(default_factory=Sampler)

    def run(
        self,
        request: Request,
        *,
        limits: Limits,
        log: Path,
        stop_token: StopToken,
        emit: Emit,
        variables: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
        contain: Contain = lambda launch: launch,
    ) -> AgentRun | None:
        """Run the agent in `request.worktree` to its proven end, in the calling thread.

        Writes the prompt to `request.prompt_file` (0600) and the output to `log`. Options that the backend cannot
        honour are emitted as `Warned`.

        Args:
            variables: Set on top of the agent's environment.
            secrets: Values to blank out in its output, besides those of the backend.
            contain: Puts it into its box.

        Returns:
            `None` when a stop came first and nothing was started.

        Raises:
            UsageError: The request cannot be expressed for this agent.
        """
        write_own(request.prompt_file, request.prompt.encode(errors="surrogateescape"))
        command = self.backend.command(request)
        for warning in command.warnings:
            emit(Warned(message=warning))
        launch = Launch(
            argv=command.argv,
            cwd=request.worktree,
            env={
                **environment.filtered_environment(self.backend, self.environ),
                **command.env,
                **(variables or {}),
            },
            stdin_file=command.stdin_file,
            polite_signal=command.polite_signal,
            polite_wait_s=command.polite_wait_s,
            grace_s=limits.grace_s,
            cookie=f"{request.run_id}.{request.worker_id}.{token_hex(8)}",
        )
        meter = UsageMeter(
            limits=limits, requested_model=request.model, prices=self.prices, emit=emit, stop=stop_token.stop
        )
        secrets = (*environment.secret_values(self.backend, self.environ), *secrets)
        log_file = LogFile(log)
        try:
            output = AgentOutputReader(self.backend.reader(request), log_file, meter, stop_token, emit)
            return output.read(contain(launch), shown_argv(command.argv, request.prompt), secrets, self.sampler)
        finally:
            log_file.close()
            if log_file.problem is not None:
                emit(Warned(message=f"the log ends early: {log_file.problem}"))


class AgentOutputReader:
    """Passes an agent's output on to its log, its reader and its usage meter."""

    def __init__(self, reader: Reader, log: LogFile, meter: UsageMeter, stop_token: StopToken, emit: Emit) -> None:
        self._reader = reader
        self._filter = reader.filter_block if isinstance(reader, BlockFilter) else None
        self._log = log
        self._meter = meter
        self._stop_token = stop_token
        self._emit = emit
        self._lines = LineSplitter()
        self._stderr = Tail()
        self._next_poll_s = -math.inf
        self._stop_shown = False

    def read(
        self, launch: Launch, shown_argv: tuple[str, ...], secrets: tuple[str, ...], sampler: Sampler
    ) -> AgentRun | None:
        """Start the agent and read it to its proven end. `None` means that a stop came first."""
        limits = self._meter.limits
        has_budget = limits.budget_usd is not None or limits.run_budget_usd is not None
        poll_s = BUDGET_POLL_S if has_budget else POLL_S

        def on_started(supervisor_pid: int, pid: int) -> None:
            self._emit(AgentStarted(supervisor_pid=supervisor_pid, agent_pid=pid, argv=shown_argv))

        self._next_poll_s = monotonic_s() + poll_s
        run = run_limited(
            launch,
            self._take,
            limits=limits,
            stop_token=self._stop_token,
            sampler=sampler,
            secrets=secrets,
            on_started=on_started,
            on_tick=lambda facts: self._tick(facts, poll_s),
            tick_s=poll_s,
        )
        return None if run is None else self._ended(run)

    def _take(self, stream: Stream, data: bytes) -> None:
        self._log.write(stream, data)
        if stream == "stderr":
            self._stderr.feed(data)
            return
        for line in self._lines.feed(data) if self._filter is None else self._filtered(data, self._filter):
            self._meter.take(self._reader.line(line))

    def _filtered(self, data: bytes, filter_block: Callable[[bytes], list[bytes]]) -> list[bytes]:
        block = self._lines.feed_block(data)
        return filter_block(block) if block else []

    def _tick(self, facts: ProcessFacts, poll_s: float) -> None:
        now = monotonic_s()
        if facts.exit_code is not None:
            self._stop_token.agent_ended()
        if now >= self._next_poll_s:
            self._meter.take(self._reader.poll())
            self._next_poll_s = now + poll_s
        self._meter.show(now)
        reason = self._stop_token.reason
        if reason is not None and not self._stop_shown:
            self._stop_shown = True
            self._emit(LimitReached(reason=reason, detail=self._stop_token.detail))

    def _ended(self, run: LimitedRun) -> AgentRun:
        facts, meter = run.facts, self._meter
        self._stop_token.agent_ended()
        self._warn_of_leftovers(facts)
        for line in self._lines.rest():
            meter.take(self._reader.line(line))
        meter.take(self._reader.poll())
        ending = self._reader.ending(facts.exit_code, self._stderr.text) if facts.spawn_error is None else None
        meter.show(math.inf)
        self._emit(AgentExited(exit_code=facts.exit_code, leaked=facts.leaked, peak_memory_bytes=run.peak_memory_bytes))
        return AgentRun(
            ending=ending,
            exit_code=facts.exit_code,
            spawn_error=facts.spawn_error,
            started_s=run.started_s,
            ended_s=run.ended_s,
            leaked=facts.leaked,
            peak_memory_bytes=run.peak_memory_bytes,
            steps=meter.steps,
            usage=meter.usage,
            cost=0.0 if meter.cost is None and ending is not None and ending.no_model_call else meter.cost,
            session_id=meter.session_id,
            model=meter.model or meter.token_model,
        )

    def _warn_of_leftovers(self, facts: ProcessFacts) -> None:
        if facts.survivors:
            message = f"{facts.survivors} processes could not be ended: another user's, or stuck"
            self._emit(Warned(message=message))
        elif not facts.proven and PROVES_EMPTINESS:
            self._emit(Warned(message="the agent killed its supervisor; its processes were searched and ended"))
