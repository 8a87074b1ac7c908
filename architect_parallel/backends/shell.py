"""Backend `shell`: the task is a shell command (a CI chore, a codemod, a linter), run by /bin/sh in the worktree.

It is the one backend whose prompt is meant for a shell. Its exit code decides: 0 is success. A shell command costs no
model money, so its cost is a known 0, not an unknown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from signal import Signals

from architect_parallel.backends.base import (
    AgentEvent,
    AgentReport,
    Availability,
    Capabilities,
    CommandLine,
    Request,
    Text,
    Tokens,
)
from architect_parallel.backends.program import BuiltIn, fits_argument, locate, program_availability
from architect_parallel.domain import (
    ApprovalMode,
    CostBasis,
    Outcome,
    OutputFormat,
    SandboxMode,
    Usage,
)
from architect_parallel.text.sanitize import one_line, plain_text

TAIL_BYTES = 16 * 1024
"""Bytes at the end of stdout that become the final text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellBackend(BuiltIn):
    """`/bin/sh`, or another shell with `-c` named in the configuration."""

    name = "shell"
    program = "/bin/sh"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            model=False,
            system_prompt=False,
            approval_modes=frozenset({ApprovalMode.DEFAULT, ApprovalMode.NONE}),
            sandbox_modes=frozenset({SandboxMode.DEFAULT, SandboxMode.FULL}),
            cost=True,
            runs_its_prompt=True,
            output_format=OutputFormat.TEXT,
        )

    def availability(self, environ: Mapping[str, str], *, model: str | None = None) -> Availability:
        return program_availability(self.prefix, environ, install="name a shell in backends.shell.command")

    def command(self, request: Request) -> CommandLine:
        prefix = locate(self.prefix, self.environ)
        script = ("-c", request.prompt) if fits_argument(request.prompt) else (str(request.prompt_file),)
        return CommandLine(argv=(*prefix, *request.extra_argv, *script), polite_signal=Signals.SIGTERM)

    def reader(self, request: Request) -> OutputReader:
        return OutputReader(what="the command", free=True)


class LastLines:
    """The last lines of a stream, about `limit` bytes of them."""

    def __init__(self, limit: int = TAIL_BYTES) -> None:
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._size = 0

    def add(self, line: bytes) -> None:
        """Add the next line without its newline. Of a very long line only the end is kept."""
        if len(line) > self._limit:
            line = line[-self._limit :]
            # Not from within a letter of UTF-8, which has three bytes at most behind its first.
            whole = next((at for at, byte in enumerate(line[:4]) if byte & 0xC0 != 0x80), 0)
            line = line[whole:]
        self._lines.append(line)
        self._size += len(line) + 1
        while self._size > self._limit and len(self._lines) > 1:
            self._size -= len(self._lines.popleft()) + 1

    def extend(self, block: bytes) -> None:
        """Add many lines at once, the last with its newline. They stay together."""
        block = block.removesuffix(b"\n")
        if len(block) > self._limit:
            block = block[block.find(b"\n", len(block) - self._limit) + 1 :]
        self.add(block)

    @property
    def raw(self) -> str:
        """The kept text, undecodable bytes as replacement characters."""
        return b"\n".join(self._lines).decode(errors="replace")

    @property
    def last(self) -> str:
        """The last line that is not blank, without control sequences. Empty when there is none."""
        for block in reversed(self._lines):
            words = block.rstrip()
            if words:
                return one_line(words[words.rfind(b"\n") + 1 :].decode(errors="replace"), 200)
        return ""


class OutputReader:
    """Reads a program without an output format: the end of stdout is the text, the exit code decides."""

    def __init__(self, *, what: str, free: bool) -> None:
        self._what = what
        self._free = free
        self._tail = LastLines()
        self._unseen = False

    def line(self, line: bytes) -> Iterable[AgentEvent]:
        self._tail.add(line)
        self._unseen = True
        return ()

    def filter_block(self, block: bytes) -> list[bytes]:
        self._tail.extend(block)
        self._unseen = True
        return []

    def poll(self) -> Iterable[AgentEvent]:
        # The display looks about once a second: a line per poll is enough, and a flood of lines stays cheap.
        facts: list[AgentEvent] = []
        if self._unseen and self._tail.last:
            facts.append(Text(text=self._tail.last))
        self._unseen = False
        if self._free:
            self._free = False
            usage = Usage(input_tokens=0, output_tokens=0, reported_cost=0.0, cost_basis=CostBasis.REPORTED)
            facts.append(Tokens(usage=usage))
        return facts

    def ending(self, exit_code: int | None, stderr_tail: str) -> AgentReport:
        return by_exit_code(self._what, exit_code, stderr_tail, plain_text(self._tail.raw).strip())


def by_exit_code(what: str, exit_code: int | None, stderr_tail: str, text: str) -> AgentReport:
    """Report a program of which only the exit code is known."""
    if exit_code is None:
        return AgentReport(outcome=Outcome.NO_FINAL_EVENT, text=text, error=f"nobody saw {what} end")
    if exit_code == 0:
        return AgentReport(outcome=Outcome.COMPLETED, text=text)
    how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    lines = [line for line in stderr_tail.splitlines() if line.strip()]
    last_line = one_line(lines[-1], 300) if lines else ""
    return AgentReport(
        outcome=Outcome.ERROR, text=text, error=f"{what} {how}" + (f": {last_line}" if last_line else "")
    )
