"""What a line of agent output costs the launcher that nobody needs: text deltas, tool output, progress.

A process prints a million recorded-like lines as fast as a pipe takes them, and goes through the whole way: supervisor,
pipe, log, splitting, reader, counters. The CPU time of this process (its own threads, not the printing) is divided by
the number of lines; a run that prints nothing is taken off. Each of the repetitions is a run of its own; the median is
compared with the goal. The log ends at its own bound, as it does for a real flood.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from signal import Signals

from architect_parallel.backends.base import Reader
from architect_parallel.backends.claude_reader import ClaudeReader
from architect_parallel.backends.codex_reader import CodexReader
from architect_parallel.backends.command_reader import FIELDS, JsonReader
from architect_parallel.backends.shell import OutputReader
from architect_parallel.domain import Limits
from architect_parallel.supervision.messages import Launch
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.output import LogFile
from architect_parallel.supervision.stop import StopToken
from architect_parallel.workers.agent_session import AgentOutputReader
from architect_parallel.workers.usage import UsageMeter
from benchmarks.measure import Goal, folder

LINES = 1_000_000
REPEAT = 5
LIMIT_US = 0.3
CLAUDE = (
    b'{"type":"stream_event","event":{"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"one "}},"session_id":'
    b'"06109c79-8eba-45aa-aa44-170a1c3110bb","parent_tool_use_id":null,'
    b'"uuid":"b8b1746f-b8e6-4707-a2ae-e37dd594dc0d","api_message_id":"msg_mocke9064f6b19034318"}\n'
)
CODEX = (
    b'{"type":"item.updated","item":{"id":"item_3","type":"command_execution","command":"/bin/bash -lc make",'
    b'"aggregated_output":"compiling one\\ncompiling two\\n","exit_code":null,"status":"in_progress"}}\n'
)
PLAIN = b"PASSED tests/unit/scheduling/test_limits.py::test_money_is_spent_when_the_limit_is_reached [ 42%]\n"


def measure() -> list[Goal]:
    """Runs the benchmark."""
    with folder() as place:
        kinds: tuple[tuple[str, bytes], ...] = (("claude", CLAUDE), ("codex", CODEX), ("shell", PLAIN), ("json", PLAIN))
        return [_goal(place, name, line) for name, line in kinds]


def _goal(place: Path, name: str, line: bytes) -> Goal:
    block = place / name
    block.write_bytes(line * (LINES // 100))
    empty = place / "empty"
    empty.touch()
    found = []
    for _ in range(REPEAT):
        nothing, _ = _run(place, name, empty)
        cpu_s, wall_s = _run(place, name, block)
        found.append(((cpu_s - nothing) / LINES * 1e6, wall_s))
    costs, walls = zip(*found, strict=True)
    return Goal(
        name=f"reading an uninteresting line of {name}",
        measured=statistics.median(costs),
        limit=LIMIT_US,
        unit="us",
        note=f"{len(line)} bytes each, {LINES / statistics.median(walls):,.0f} lines/s",
    )


def _run(place: Path, name: str, block: Path) -> tuple[float, float]:
    """Process CPU and wall seconds of one agent that prints `block` a hundred times."""
    log = LogFile(place / "log")
    (place / "log").unlink()
    stop_token = StopToken()
    meter = UsageMeter(
        limits=Limits(output_bytes=2**40, max_steps=50),
        requested_model=None,
        prices={},
        emit=lambda event: None,
        stop=stop_token.stop,
    )
    launch = Launch(
        argv=("/bin/cat", *([str(block)] * 100)),
        cwd=place,
        env={"PATH": os.environ["PATH"]},
        stdin_file=None,
        polite_signal=Signals.SIGTERM,
        polite_wait_s=1.0,
        grace_s=1.0,
        cookie=f"reading-{os.getpid()}-{time.monotonic_ns()}",
    )
    cpu_s, wall_s = time.process_time(), time.monotonic()
    output = AgentOutputReader(_reader(name, place), log, meter, stop_token, lambda event: None)
    ran = output.read(launch, ("cat",), ("sk-a-secret-of-some-length",), Sampler())
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
    log.close()
    if ran is None or ran.exit_code != 0:
        raise RuntimeError(f"the printing process ended with {ran}")
    return cpu_s, wall_s


def _reader(name: str, place: Path) -> Reader:
    match name:
        case "claude":
            return ClaudeReader()
        case "codex":
            return CodexReader(home=place, resumed=None, model=None)
        case "json":
            return JsonReader(what="the tool", fields=FIELDS, lines=True)
        case _:
            return OutputReader(what="the command", free=False)
