"""The agent's loop: ask the model, run the tools that it asks for, return the results, until the end or a limit.

A step is one model reply. Limits are checked after each reply and before its tools run. So the budget is exceeded by at
most one reply, and nothing is done whose result no model will see. However the loop ends, there is one `Report`.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from architect_parallel.agent.conversation import Conversation, Finish, ModelFailure, Reply, ToolCall, ToolResult
from architect_parallel.agent.progress import ProgressLog
from architect_parallel.agent.sessions import Sessions, StoredSession
from architect_parallel.agent.shared_budget import SharedBudget
from architect_parallel.agent.tools import Toolbox
from architect_parallel.domain import CostBasis, Limits, Reason, SandboxReport, Status, Usage
from architect_parallel.text.sanitize import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The output of `architect run --json`."""

    status: Status
    """`success`, `partial` or `failed`."""
    reason: Reason
    steps: int
    cost: float | None
    """USD. `None` means unknown, because the price of at least one reply is unknown."""
    usage: Usage
    output: str
    """The model's last text."""
    model: str
    session_id: str
    error: str | None = None
    retry_after_s: float | None = None
    warnings: tuple[str, ...] = ()
    sandbox: SandboxReport | None = None
    """The containment. `None` means that this process contained nothing. The one that started it may have."""

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "status": self.status.value,
            "reason": self.reason.value,
            "steps": self.steps,
            "cost": self.cost,
            "usage": {
                "input_tokens": self.usage.input_tokens,
                "cached_tokens": self.usage.cached_tokens,
                "output_tokens": self.usage.output_tokens,
            },
            "output": self.output,
            "model": self.model,
            "session_id": self.session_id,
            "error": self.error,
            "retry_after": self.retry_after_s,
            "warnings": list(self.warnings),
            "sandbox": None if self.sandbox is None else asdict(self.sandbox),
        }


@dataclass(slots=True, kw_only=True)
class Agent:
    """The work on one task. `run` is called once."""

    conversation: Conversation
    toolbox: Toolbox
    limits: Limits
    """`max_steps`, `budget_usd` and `timeout_s` are enforced here."""
    session_id: str
    progress: ProgressLog = field(default_factory=ProgressLog)
    purse: SharedBudget = field(default_factory=SharedBudget)
    sessions: Sessions = field(default_factory=lambda: Sessions(None))
    model_asked: str = ""
    """The model's name as stored for a later resume. Empty means the name in reports."""
    not_kept: str | None = None
    """The reason why the session could not be saved the last time. `None` means that it was saved."""
    steps: int = 0
    cost: float | None = 0.0
    usage: Usage = field(default_factory=lambda: Usage(cost_basis=CostBasis.TOKENS))
    output: str = ""

    async def run(self, task: str) -> Report:
        """Work on `task` to its end. A cancellation ends it with the reason `interrupted` and is not raised."""
        self._keep()
        self.progress.tell(session=self.session_id, model=self.conversation.model)
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return await self._work(task)
        except TimeoutError:
            return self._stopped(Reason.WORKER_TIMEOUT, f"stopped after {self.limits.timeout_s:g} s")
        except asyncio.CancelledError:
            return self._stopped(Reason.INTERRUPTED, "interrupted")
        except ModelFailure as failure:
            reason = Reason.RATE_LIMITED if failure.rate_limited else Reason.AGENT_ERROR
            report = self._report(Status.FAILED, reason, str(failure))
            return replace(report, retry_after_s=failure.retry_after_s)

    async def _work(self, task: str) -> Report:
        spent = self._run_budget_spent()
        if spent is not None:
            return self._stopped(*spent)
        reply = await self.conversation.start(task)
        while True:
            self._keep()
            self._count(reply)
            if not reply.calls:
                return self._last(reply)
            limit = self._limit_reached()
            if limit is not None:
                return self._stopped(*limit)
            results: list[ToolResult] = []
            for call in reply.calls:
                self.progress.tell(tool=call.tool, on=_object_of(call))
                results.append(await self.toolbox.call(call))
            reply = await self.conversation.proceed(tuple(results))

    def _count(self, reply: Reply) -> None:
        self.steps += 1
        self.usage = _sum(self.usage, reply.usage)
        self.purse.pay(reply.cost)
        self.cost = None if self.cost is None or reply.cost is None else self.cost + reply.cost
        if reply.text.strip():
            self.output = reply.text
        self.progress.tell(
            steps=self.steps,
            cost=self.cost,
            input_tokens=self.usage.input_tokens,
            cached_tokens=self.usage.cached_tokens,
            cache_write_tokens=self.usage.cache_write_tokens,
            output_tokens=self.usage.output_tokens,
            text=reply.text,
        )

    def _keep(self) -> None:
        try:
            kept = StoredSession(model=self.model_asked or self.conversation.model, messages=self.conversation.saved())
        except ValueError as error:
            self.not_kept = f"the session was not kept: {one_line(str(error), 200)}"
        else:
            self.not_kept = self.sessions.save(self.session_id, kept)

    def _last(self, reply: Reply) -> Report:
        if reply.finish is Finish.CUT:
            return self._report(Status.PARTIAL, Reason.AGENT_PARTIAL, "the model's last reply was cut at its limit")
        if reply.finish is Finish.REFUSED:
            return self._report(Status.FAILED, Reason.AGENT_ERROR, "the provider's content filter stopped the model")
        return self._report(Status.SUCCESS, Reason.COMPLETED)

    def _limit_reached(self) -> tuple[Reason, str] | None:
        budget, steps = self.limits.budget_usd, self.limits.max_steps
        if budget is not None and self.cost is not None and self.cost >= budget:
            return Reason.BUDGET, f"stopped at ${self.cost:.4f} of ${budget:.4f}"
        if steps is not None and self.steps >= steps:
            return Reason.MAX_STEPS, f"stopped after {self.steps} steps"
        return self._run_budget_spent()

    def _run_budget_spent(self) -> tuple[Reason, str] | None:
        spent = self.purse.spent_of()
        return None if spent is None else (Reason.RUN_BUDGET, "${:.4f} of the run's ${:.4f} spent".format(*spent))

    def _stopped(self, reason: Reason, error: str) -> Report:
        return self._report(Status.PARTIAL if self.steps else Status.FAILED, reason, error)

    def _report(self, status: Status, reason: Reason, error: str | None = None) -> Report:
        warnings = [] if self.not_kept is None else [self.not_kept]
        if self.limits.budget_usd is not None and self.cost is None:
            warnings.append(f"the price of {self.conversation.model} is unknown: the budget was not enforced")
        if self.toolbox.withheld:
            names = ", ".join(sorted(self.toolbox.withheld))
            warnings.append(f"not allowed by the profile or --confirm-mode, and asked for: {names}")
        return Report(
            status=status,
            reason=reason,
            steps=self.steps,
            cost=self.cost,
            usage=self.usage,
            output=self.output,
            model=self.conversation.model,
            session_id=self.session_id,
            error=error,
            warnings=tuple(warnings),
        )


def _object_of(call: ToolCall) -> str:
    given = call.arguments or {}
    return one_line(str(next((given[key] for key in ("command", "path", "pattern") if key in given), "")), 120)


def _sum(total: Usage, more: Usage) -> Usage:
    def add(one: int | None, other: int | None) -> int | None:
        return other if one is None else one + (other or 0)

    return replace(
        total,
        input_tokens=add(total.input_tokens, more.input_tokens),
        cached_tokens=add(total.cached_tokens, more.cached_tokens),
        cache_write_tokens=add(total.cache_write_tokens, more.cache_write_tokens),
        output_tokens=add(total.output_tokens, more.output_tokens),
    )
