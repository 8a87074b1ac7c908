"""The one loop that reads a supervised process to its end, and the two ways to run one: held to limits, or short.

`consume` hands the output on and collects the facts. `run_limited` is for code that an agent wrote or is (agents,
checks): a stop token, the limits of a worker, and no secret in the output. `run_command` is for a short command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.backends.redaction import Redactor
from architect_parallel.domain import Limits, Reason
from architect_parallel.supervision import cgroups
from architect_parallel.supervision.messages import (
    Exhausted,
    Exited,
    Gone,
    Launch,
    Output,
    SpawnFailed,
    Started,
    Stream,
)
from architect_parallel.supervision.monitor import Sampler, WatchedProcess
from architect_parallel.supervision.output import Tail
from architect_parallel.supervision.process import CHUNK_BYTES, SLICE_S, Supervised, start_supervised
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.clock import monotonic_s

OnOutput = Callable[[Stream, bytes], None]
OnStarted = Callable[[int, int], None]
"""Takes the pids of the supervisor and of the program."""


@dataclass(slots=True, kw_only=True)
class ProcessFacts:
    """The facts about a program, as far as it has come. Complete when `consume` returns."""

    exit_code: int | None = None
    """Negative means killed by that signal. `None` means that the program did not start or its end is unknown."""
    spawn_error: str | None = None
    """Why the program could not be started, in one line. `None` means that it was."""
    exhausted: bool = False
    """The kernel killed it for its use of memory."""
    leaked: int | None = None
    """See `Gone`, as for the next two."""
    survivors: int = 0
    proven: bool = True


def consume(
    program: Supervised,
    on_output: OnOutput,
    *,
    on_started: OnStarted = lambda supervisor_pid, pid: None,
    on_tick: Callable[[ProcessFacts], None] = lambda facts: None,
    tick_s: float | None = None,
) -> ProcessFacts:
    """Read a program's output until no process of it is left. Stopping it is up to the caller.

    Args:
        on_output: Takes each chunk of output.
        on_tick: Called after each batch of messages.
        tick_s: The longest wait for a batch, in seconds. `None` means no limit.
    """
    facts = ProcessFacts()
    while not program.finished:
        for message in program.wait(tick_s):
            match message:
                case Output(stream=stream, data=data):
                    on_output(stream, data)
                case Started(pid=pid):
                    on_started(program.supervisor_pid or 0, pid)
                case SpawnFailed(message=text):
                    facts.spawn_error = text
                case Exited(exit_code=code):
                    facts.exit_code = code
                case Exhausted():
                    facts.exhausted = True
                case Gone(leaked=leaked, survivors=survivors, proven=proven):
                    facts.leaked, facts.survivors, facts.proven = leaked, survivors, proven
        on_tick(facts)
    return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedRun:
    """A program that was held to limits, after its end."""

    facts: ProcessFacts
    started_s: float
    """Monotonic, as `ended_s`."""
    ended_s: float
    peak_memory_bytes: int | None
    """Of the whole process tree. `None` means that it ended before the first look."""


def run_limited(
    launch: Launch,
    on_output: OnOutput,
    *,
    limits: Limits,
    stop_token: StopToken,
    sampler: Sampler,
    secrets: tuple[str, ...] = (),
    on_started: OnStarted = lambda supervisor_pid, pid: None,
    on_tick: Callable[[ProcessFacts], None] = lambda facts: None,
    tick_s: float | None = None,
) -> LimitedRun | None:
    """Run a program to its proven end. Return `None` when a stop came first and nothing was started.

    Args:
        on_output: Takes each chunk of output, without secrets.
        limits: Exceeding time, memory or output stops `stop_token`. The caller counts steps and money.
        secrets: Values that are blanked out at the source, so that they reach neither log nor journal nor result.
        on_tick, tick_s: As for `consume`.
    """
    launch = cgroups.grouped(launch, limits)
    program = stop_token.start(lambda: start_supervised(launch))
    if program is None:
        cgroups.remove(launch.cgroup)
        return None
    started_s = monotonic_s()
    watched = WatchedProcess(
        limits=limits,
        root_pid=program.supervisor_pid or 0,
        stop=stop_token.stop,
        started_s=started_s,
        last_output_s=started_s,
        places=(launch.cwd, *([] if launch.scratch is None else [launch.scratch]), *launch.places),
    )
    redactors: dict[Stream, Redactor] = {"stdout": Redactor(secrets), "stderr": Redactor(secrets)}

    def take_output(stream: Stream, data: bytes) -> None:
        watched.take_output(len(data))
        on_output(stream, redactors[stream].feed(data))

    def take_started(supervisor_pid: int, pid: int) -> None:
        watched.root_pid = supervisor_pid
        on_started(supervisor_pid, pid)

    if program.supervisor_pid is not None:
        sampler.watch(watched)
    try:
        facts = consume(program, take_output, on_started=take_started, on_tick=on_tick, tick_s=tick_s)
    finally:
        program.close()
        sampler.forget(watched)
        stop_token.ended()
        cgroups.remove(launch.cgroup)
    if facts.exhausted and not watched.is_stopped:
        watched.end(Reason.MEMORY, f"more than {(limits.memory_bytes or 0) >> 20} MiB")
    for stream, redactor in redactors.items():
        on_output(stream, redactor.finish())
    return LimitedRun(
        facts=facts, started_s=started_s, ended_s=monotonic_s(), peak_memory_bytes=watched.peak_memory_bytes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """The end of a short command."""

    exit_code: int | None
    """Negative means killed by that signal. `None` means that it never started."""
    output: str
    """The last part of stdout and stderr together, or why it did not start."""
    timed_out: bool = False
    """True if it was stopped, by the time limit or because it was cancelled."""
    stdout: str = ""
    """The last part of stdout alone."""


def run_command(
    argv: tuple[str, ...],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float | None,
    is_cancelled: Callable[[], bool] = lambda: False,
    tail_bytes: int = CHUNK_BYTES,
) -> CommandOutcome:
    """Run a short command (a setup step, a version query) to its end under supervision.

    Args:
        timeout_s: `None` means no limit.
        is_cancelled: Called about four times a second. True stops the command.
        tail_bytes: The part of the output that is kept.
    """
    until = None if timeout_s is None else time.monotonic() + timeout_s
    tail, stdout, is_stopped, timed_out = Tail(tail_bytes), Tail(tail_bytes), False, False

    def take(stream: str, data: bytes) -> None:
        tail.feed(data)
        if stream == "stdout":
            stdout.feed(data)

    def check_time(facts: ProcessFacts) -> None:
        nonlocal is_stopped, timed_out
        if not is_stopped and (is_cancelled() or (until is not None and time.monotonic() >= until)):
            is_stopped, timed_out = True, facts.exit_code is None
            command.stop()

    with start_supervised(Launch(argv=argv, cwd=cwd, env=env)) as command:
        facts = consume(command, take, on_tick=check_time, tick_s=SLICE_S)
    return CommandOutcome(
        exit_code=facts.exit_code,
        output=tail.text if facts.spawn_error is None else facts.spawn_error,
        timed_out=timed_out,
        stdout=stdout.text,
    )
