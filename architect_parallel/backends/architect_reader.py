"""Read the progress file and the final JSON object of the embedded agent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from signal import Signals

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.base import (
    AgentEvent,
    AgentReport,
    Request,
    Session,
    Step,
    Text,
    Tokens,
)
from architect_parallel.backends.provider_errors import may_pass, status_of
from architect_parallel.backends.reader_tools import Json
from architect_parallel.domain import (
    CostBasis,
    Outcome,
    Usage,
)
from architect_parallel.text.sanitize import one_line, plain_text

_STDOUT_BYTES = 16 * 1024 * 1024


_POLL_BYTES = 4 * 1024 * 1024


_COMPLETED = frozenset({"success", "succeeded", "completed", "complete", "done", "ok"})


_PARTIAL = frozenset({"partial", "incomplete", "stopped", "interrupted", "canceled", "cancelled"})


_FAILED = frozenset({"failed", "failure", "error"})


_LIMITS = {
    "budget": Outcome.BUDGET,
    "run_budget": Outcome.RUN_BUDGET,
    "max_steps": Outcome.MAX_STEPS,
    "rate_limited": Outcome.RATE_LIMITED,
    "blocked": Outcome.BLOCKED,
}
"""Words in `status` or `reason` that say more than the status."""


def _progress_file(request: Request) -> Path:
    return request.state_dir / "progress.jsonl"


class ArchitectReader:
    """Reads the progress file while the agent runs, and the one object on its stdout."""

    def __init__(self, progress_file: Path, *, is_own: bool = True) -> None:
        """Args:
        is_own: The program is this project's own, so its behaviour is known.
        """
        self._progress_file = progress_file
        self._is_own = is_own
        self._offset = 0
        self._session: str | None = None
        self._stdout: list[bytes] = []
        self._room = _STDOUT_BYTES
        self._final: Json | None = None
        self._looked_at = 0

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        if self._room > 0:
            self._stdout.append(line[: self._room])
            self._room -= len(line) + 1
        answer = read.parse_object(line) if line.lstrip().startswith(b"{") else None
        return self._take(answer) if answer is not None and "status" in answer else ()

    def poll(self) -> Iterable[AgentEvent]:
        facts = list(self._progress())
        if self._final is None and len(self._stdout) != self._looked_at:
            self._looked_at = len(self._stdout)
            answer = _spread_object(self._stdout)
            facts += self._take(answer) if answer is not None else ()
        return facts

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        final = self._final
        if final is None:
            return self._without_object(exit_code, stderr_tail)
        text = plain_text(read.text(final, "output") or read.text(final, "result"))
        reason = one_line(read.text(final, "error")) or None
        warnings = final.get("warnings")
        notes = (
            tuple(one_line(warning) for warning in warnings if isinstance(warning, str))
            if isinstance(warnings, list)
            else ()
        )
        if final.get("cost") is not None and read.money(final["cost"]) is None:
            notes += (f"the agent's cost is no amount of money: {one_line(repr(final['cost']), 60)}",)
        status = read.text(final, "status").strip().lower()
        outcome = _outcome(status, read.text(final, "reason").strip().lower())
        if outcome is None:
            error = f"unknown status {one_line(repr(final.get('status')), 80)}"
            return AgentReport(outcome=Outcome.UNREADABLE, text=text, error=error, warnings=notes)
        if outcome is not Outcome.COMPLETED and reason is None:
            reason = f"the agent ended with status {status}"
        return AgentReport(
            outcome=outcome,
            text=text,
            error=reason if outcome is not Outcome.COMPLETED else None,
            retry_after_s=read.money(final.get("retry_after")),
            retryable=may_pass(status_of(reason or "")),
            warnings=notes,
        )

    def _without_object(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        printed = plain_text(b"\n".join(self._stdout).decode(errors="replace")).strip()[:65536]
        # Our own errors are one line `architect: …` and a hint below.
        own = [line.removeprefix("architect: ") for line in stderr_tail.splitlines() if line.startswith("architect: ")]
        if own and not printed and exit_code is not None and exit_code > 0:
            # 2 and 3 are bad input and a missing key or extra: the same again would end the same.
            return AgentReport(outcome=Outcome.ERROR, error=one_line(own[-1]), retryable=exit_code not in (2, 3))
        if printed:
            outcome = Outcome.UNREADABLE if exit_code == 0 else Outcome.NO_FINAL_EVENT
            return AgentReport(
                outcome=outcome, text=printed, error="the agent did not print a JSON object with a status"
            )
        reason = one_line(stderr_tail[-2000:])
        error = "the agent ended without its JSON object" + (f": {reason}" if reason else "")
        never_began = self._never_began(exit_code, stderr_tail)
        return AgentReport(outcome=Outcome.NO_FINAL_EVENT, error=error, no_model_call=never_began)

    def _never_began(self, exit_code: int | None, stderr_tail: str) -> bool:
        """Tell whether the polite signal arrived before the program listened: it creates the file later and asks after
        that.
        """
        # While Python itself begins the signal is an error like any other.
        interrupted = exit_code == -Signals.SIGINT or (
            exit_code == 1 and stderr_tail.rstrip().endswith("KeyboardInterrupt")
        )
        return self._is_own and interrupted and not self._progress_file.exists()

    def _progress(self) -> Iterable[AgentEvent]:
        try:
            with self._progress_file.open("rb") as file:
                file.seek(self._offset)
                data = file.read(_POLL_BYTES)
        except OSError:
            return
        whole = data.rfind(b"\n") + 1
        if whole == 0 and len(data) == _POLL_BYTES:  # no such line is ours
            whole = len(data)
        self._offset += whole
        for line in data[:whole].splitlines():
            fact = read.parse_object(line)
            if fact is not None:
                yield from self._known_session(read.text(fact, "session"), read.text(fact, "model"))
                yield from _counts(fact, fact, fact.get("cost"))
                call = f"{read.text(fact, 'tool')} {read.text(fact, 'on')}"
                if text := one_line(read.text(fact, "text") or call, 200):
                    yield Text(text=text)

    def _known_session(self, session: str, model: str) -> Iterable[AgentEvent]:
        session = one_line(session, 200)
        if session and session != self._session:
            self._session = session
            yield Session(session_id=session, model=one_line(model, 200) or None)

    def _take(self, answer: Json) -> list[AgentEvent]:
        self._final = answer
        cost = read.money(answer.get("cost"))
        cost = read.money(read.dotted(answer, "costs.total_cost_usd")) if cost is None else cost
        facts = list(self._known_session(read.text(answer, "session_id"), read.text(answer, "model")))
        return facts + list(_counts(answer, read.child(answer, "usage"), cost))


def _counts(report: Json, tokens: Json, cost: object) -> Iterable[AgentEvent]:
    steps, paid = read.count(report.get("steps")), read.money(cost)
    if steps is not None:
        yield Step(count=steps)
    known = [read.count(tokens.get(name)) for name in ("input_tokens", "cached_tokens", "output_tokens")]
    if paid is None and all(item is None for item in known):
        return
    yield Tokens(
        usage=Usage(
            input_tokens=known[0],
            cached_tokens=known[1],
            cache_write_tokens=read.count(tokens.get("cache_write_tokens")),
            output_tokens=known[2],
            reported_cost=paid,
            cost_basis=CostBasis.UNKNOWN if paid is None else CostBasis.REPORTED,
        ),
        model=one_line(read.text(report, "model"), 200) or None,
    )


def _outcome(status: str, reason: str) -> Outcome | None:
    if status in _COMPLETED:
        return Outcome.COMPLETED
    if status in _LIMITS:
        return _LIMITS[status]
    if status in ("timeout", "timed_out") or (reason == "worker_timeout" and status in _PARTIAL | _FAILED):
        return Outcome.TIMEOUT
    if status in _PARTIAL | _FAILED:
        return _LIMITS.get(reason, Outcome.PARTIAL if status in _PARTIAL else Outcome.ERROR)
    return None


def _spread_object(lines: list[bytes]) -> Json | None:
    """An object over several lines: from the last line that is `{` to the end, or everything."""
    if not lines or not any(line.rstrip().endswith(b"}") for line in lines[-3:]):
        return None
    starts = [place for place, line in enumerate(lines) if line.startswith(b"{")]
    for start in starts[-1:] + starts[:1]:
        data = read.parse_object(b"\n".join(lines[start:]))
        if data is not None:
            return data
    return None
