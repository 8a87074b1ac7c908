"""Checks: the user's commands on a finished tree, one after another, each under supervision and limits of its own.

A check runs code an agent wrote, so it is held like an agent: its process tree ends with it, its memory and output are
bounded, and it gets no agent's key. Before and after each run the tree is the collected one (`lent`). A stop of the
worker ends the check that runs and starts no other one; what was cut short has no result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.backends.environment import CommandEnvironment, Redactor
from architect_parallel.domain import CheckResult, Limits, Reason
from architect_parallel.scheduling.check_policy import worth_repeating
from architect_parallel.scheduling.limits import Observation, exceeded
from architect_parallel.supervision import process
from architect_parallel.supervision.monitor import Sampler, WatchedProcess
from architect_parallel.supervision.output import LogFile, Tail
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.clock import monotonic_s
from architect_parallel.text.sanitize import plain_text

TAIL_LINES = 40
TAIL_BYTES = 8 * 2**10
"""How much of a check's output stands in its result; its log has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOrder:
    """What to run and how it is held."""

    commands: tuple[str, ...]
    limits: Limits
    """`timeout_s`, `memory_bytes`, `output_bytes` and `grace_s` of each run of a check."""
    environ: CommandEnvironment
    secrets: tuple[str, ...]
    """Blanked out in what they print: an agent may have written them into a file."""
    log: Path
    cookie: str
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further variables of each command."""
    repeat: bool = True
    """Whether one that failed is run again."""


def run_checks(
    order: CheckOrder,
    directory: Path,
    *,
    sampler: Sampler,
    stop_token: StopToken,
    before_each: Callable[[], None],
    after_each: Callable[[], None],
    heard: Callable[[CheckResult], None],
) -> list[CheckResult]:
    """Runs all checks in their order in `directory`; of a stopped run those that came to their end.

    Args:
        before_each: Called before a check starts.
        after_each: Called when the processes of a check are gone, before the next one starts.
        heard: Called with each result.
    """
    results = []
    log = LogFile(order.log)
    try:
        for command in order.commands:
            result = _settle(order, command, directory, log, sampler, stop_token, before_each, after_each)
            if result is None:
                break
            results.append(result)
            heard(result)
    finally:
        log.close()
    return results


def _settle(
    order: CheckOrder,
    command: str,
    directory: Path,
    log: LogFile,
    sampler: Sampler,
    stop_token: StopToken,
    before_each: Callable[[], None],
    after_each: Callable[[], None],
) -> CheckResult | None:
    """One check with its repetitions; `None`: it was cut short before it had any result."""
    failed: CheckResult | None = None
    runs = 0
    while True:
        before_each()
        result = _Run(order, command, log).until_gone(directory, sampler, stop_token)
        after_each()
        if result is None:
            return failed
        runs += 1
        if result.passed and failed is not None:
            return replace(result, flaky=True, output_tail=failed.output_tail)
        if not order.repeat or not worth_repeating(result, runs):
            return result
        failed = result


class _Run:
    """One run of one check."""

    def __init__(self, order: CheckOrder, command: str, log: LogFile) -> None:
        self._order = order
        self._command = command
        self._log = log
        self._tail = Tail(TAIL_BYTES)
        secrets = (*order.secrets, *order.environ.secrets(command))
        self._redactors = {stream: Redactor(secrets) for stream in ("stdout", "stderr")}
        self._bytes = 0
        self._exit_code: int | None = None
        self._excess: tuple[Reason, str] | None = None
        self._supervised: process.Supervised | None = None

    def until_gone(self, directory: Path, sampler: Sampler, stop_token: StopToken) -> CheckResult | None:
        """Its result; `None`: a stop came before its end."""
        launch = process.Launch(
            argv=("/bin/sh", "-c", self._command),
            cwd=directory,
            env={**self._order.environ.of(self._command), **self._order.variables},
            grace_s=self._order.limits.grace_s,
            cookie=self._order.cookie,
        )
        supervised = stop_token.start(lambda: process.start_supervised(launch), after_agent=True)
        if supervised is None:
            return None
        self._supervised = supervised
        self._log.write("stdout", f"$ {self._command}\n".encode(errors="replace"))
        started_s = monotonic_s()
        watched = WatchedProcess(
            limits=replace(self._order.limits, idle_timeout_s=None),
            root_pid=supervised.supervisor_pid or 0,
            stop=self._stop,
            started_s=started_s,
            last_output_s=started_s,
        )
        if supervised.supervisor_pid is not None:
            sampler.watch(watched)
        try:
            while not supervised.finished:
                for message in supervised.wait():
                    self._take(message, supervised, watched)
        finally:
            supervised.close()
            sampler.forget(watched)
            stop_token.ended()
        for stream, redactor in self._redactors.items():
            self._pass_on(stream, redactor.finish())
        if stop_token.is_cancelled() and self._exit_code != 0:
            return None
        return self._result(round(monotonic_s() - started_s, 3))

    def _stop(self, reason: Reason, detail: str) -> None:
        """A limit of the check's own: the worker goes on."""
        if self._excess is None and self._supervised is not None:
            self._excess = (reason, detail)
            self._supervised.stop()

    def _take(self, message: process.Message, supervised: process.Supervised, watched: WatchedProcess) -> None:
        match message:
            case process.Output(stream=stream, data=data):
                self._bytes += len(data)
                excess = exceeded(self._order.limits, Observation(output_bytes=self._bytes))
                if excess is not None:
                    self._stop(excess.reason, excess.detail)
                self._pass_on(stream, self._redactors[stream].feed(data))
            case process.Started():
                watched.root_pid = supervised.supervisor_pid or 0
            case process.SpawnFailed(message=text):
                self._pass_on("stderr", text.encode())
            case process.Exited(exit_code=code):
                self._exit_code = code
            case _:
                pass

    def _pass_on(self, stream: str, data: bytes) -> None:
        self._log.write(stream, data)
        self._tail.feed(data)

    def _result(self, duration_s: float) -> CheckResult:
        lines = plain_text(self._tail.text).splitlines()[-TAIL_LINES:]
        if self._excess is not None:
            lines.append(f"[stopped: {self._excess[1]}]")
            self._log.write("stdout", f"\n{lines[-1]}\n".encode())
        timed_out = self._excess is not None and self._excess[0] is Reason.WORKER_TIMEOUT
        return CheckResult(
            command=self._command,
            passed=self._exit_code == 0 and self._excess is None,
            exit_code=self._exit_code,
            duration_seconds=duration_s,
            output_tail="\n".join(lines),
            timed_out=timed_out,
        )
