"""Checks: the user's commands on a finished tree, one after another, each supervised and held to limits of its own.

A check runs code that an agent wrote, so it is held like an agent. Its process tree ends with it, its memory and output
are bounded, and it gets no agent's key. Before and after each run the tree is the collected one (`restore`). A stop of
the worker ends the running check and starts no other one. A check that was cut short has no result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.backends.environment import CommandEnvironment
from architect_parallel.containment.box import Contain
from architect_parallel.domain import CheckResult, Limits, Reason
from architect_parallel.scheduling.check_policy import worth_repeating
from architect_parallel.supervision.consume import run_limited
from architect_parallel.supervision.messages import Launch, Stream
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.output import LogFile, Tail
from architect_parallel.supervision.stop import StopToken
from architect_parallel.text.sanitize import plain_text

TAIL_LINES = 40
TAIL_BYTES = 8 * 2**10
"""The part of a check's output that its result keeps. Its log has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOrder:
    """The checks to run, and how they are held."""

    commands: tuple[str, ...]
    limits: Limits
    """`timeout_s`, `memory_bytes`, `output_bytes` and `grace_s` of each run of a check."""
    environ: CommandEnvironment
    secrets: tuple[str, ...]
    """Values blanked out in the output: an agent may have written them into a file."""
    log: Path
    cookie: str
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further variables of each command."""
    repeat: bool = True
    """Run a check that failed again."""
    contain: Contain = lambda launch: launch
    """Puts a command into the box of the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHooks:
    """Functions called around each run of a check."""

    before_run: Callable[[], None] = lambda: None
    after_run: Callable[[], None] = lambda: None
    """Called when the processes of a check are gone, before the next one starts."""
    on_result: Callable[[CheckResult], None] = lambda result: None


def run_checks(
    order: CheckOrder, directory: Path, *, sampler: Sampler, stop_token: StopToken, hooks: CheckHooks
) -> list[CheckResult]:
    """Run all checks in their order in `directory`. After a stop, return the results of those that ended before it."""
    log = LogFile(order.log)
    try:
        return _CheckRuns(order, directory, log, sampler, stop_token, hooks).run()
    finally:
        log.close()


@dataclass(frozen=True, slots=True)
class _CheckRuns:
    order: CheckOrder
    directory: Path
    log: LogFile
    sampler: Sampler
    stop_token: StopToken
    hooks: CheckHooks

    def run(self) -> list[CheckResult]:
        results: list[CheckResult] = []
        for command in self.order.commands:
            if self.stop_token.is_cancelled():
                break
            result = self._run_repeated(command)
            if result is None:
                break
            results.append(result)
            self.hooks.on_result(result)
        return results

    def _run_repeated(self, command: str) -> CheckResult | None:
        """Run one check with its repetitions. `None` means that it was cut short before it had any result."""
        failed: CheckResult | None = None
        runs = 0
        while True:
            self.hooks.before_run()
            result = self._run_once(command)
            self.hooks.after_run()
            if result is None:
                return failed
            runs += 1
            if result.passed and failed is not None:
                return replace(result, flaky=True, output_tail=failed.output_tail)
            if not self.order.repeat or not worth_repeating(result, runs):
                return result
            failed = result

    def _run_once(self, command: str) -> CheckResult | None:
        """Run one check once. `None` means that a stop came before its end."""
        order, tail = self.order, Tail(TAIL_BYTES)

        def keep(stream: Stream, data: bytes) -> None:
            self.log.write(stream, data)
            tail.feed(data)

        self.log.write("stdout", f"$ {command}\n".encode(errors="replace"))
        limits_token = self.stop_token.child()  # a limit of the check stops only the check
        run = run_limited(
            order.contain(
                Launch(
                    argv=("/bin/sh", "-c", command),
                    cwd=self.directory,
                    env={**order.environ.of(command), **order.variables},
                    grace_s=order.limits.grace_s,
                    cookie=order.cookie,
                )
            ),
            keep,
            limits=replace(order.limits, idle_timeout_s=None),
            stop_token=limits_token,
            sampler=self.sampler,
            secrets=(*order.secrets, *order.environ.secrets(command)),
        )
        is_cancelled = self.stop_token.is_cancelled()
        if run is None or (is_cancelled and run.facts.exit_code != 0):
            return None
        if run.facts.spawn_error is not None:
            keep("stderr", run.facts.spawn_error.encode())
        lines = plain_text(tail.text).splitlines()[-TAIL_LINES:]
        limit = None if is_cancelled else limits_token.reason
        if limit is not None:
            lines.append(f"[stopped: {limits_token.detail}]")
            self.log.write("stdout", f"\n{lines[-1]}\n".encode())
        return CheckResult(
            command=command,
            passed=run.facts.exit_code == 0 and limit is None,
            exit_code=run.facts.exit_code,
            duration_seconds=round(run.ended_s - run.started_s, 3),
            output_tail="\n".join(lines),
            timed_out=limit is Reason.WORKER_TIMEOUT,
        )
