"""The transcripts: the words and tool calls of agents from the run's log files, beginning and end of each, packed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.backends.log_entries import EntryKind, LogEntry, LogParser
from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal.logs import log_files
from architect_parallel.reports.html.embedded_data import pack
from architect_parallel.reports.html.formatting import shown
from architect_parallel.reports.log_text import LogText

HEAD_BYTES = 64_000
"""Bytes to read from the beginning of an attempt's output."""
TAIL_BYTES = 448_000
"""Bytes to read from its end."""
ATTEMPTS = 4
"""Attempts to show: the first one and the newest ones."""
LINE_CHARACTERS = 4_000


def transcript(run_dir: Path, spec: WorkerSpec, max_characters: int) -> tuple[str, int]:
    """Pack the output of a worker's agents into at most `max_characters` characters.

    Returns:
        The packed output and its unpacked size in characters. `("", 0)` without output or without log files.
    """
    try:
        logs = log_files(run_dir, spec.worker_id)
    except EnvironmentProblem as problem:  # the folder belongs to another user
        return pack([f"[{problem.message}]".encode()], max_characters).text, len(problem.message) + 2
    chosen = logs if len(logs) <= ATTEMPTS else [logs[0], *logs[1 - ATTEMPTS :]]
    texts = [(logs.index(path) + 1, _read(path, spec)) for path in chosen]
    heading = "── attempt {} of {} ──\n" if len(logs) > 1 else ""
    text = "\n".join(heading.format(attempt, len(logs)) + text for attempt, text in texts if text)
    if not text:
        return "", 0
    packed = pack([text.encode()], max_characters)
    if not packed.positions:
        note = f"(too large for this page: {len(text):,} characters; architect logs shows them)"
        packed = pack([note.encode()], max_characters)
    return packed.text, len(text)


def _read(path: Path, spec: WorkerSpec) -> str:
    try:
        lines = LogText().lines(_entries(path, LogParser(spec.backend, spec.worktree_path)))
    except OSError as error:
        return f"[the log cannot be read: {error.strerror}]"
    return "\n".join(_cut(line) for line in shown("\n".join(lines)).strip("\n").split("\n"))


def _entries(path: Path, parser: LogParser) -> Iterator[LogEntry]:
    """The entries of a log, without the middle of a long one. What is left out ends between two lines."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEAD_BYTES + TAIL_BYTES if size <= HEAD_BYTES + TAIL_BYTES else HEAD_BYTES)
        rest = b""
        if len(head) < size:
            file.seek(size - TAIL_BYTES)
            rest = file.read(TAIL_BYTES)
            head, rest = head[: head.rfind(b"\n") + 1], rest[rest.find(b"\n") + 1 :]
    for line in head.removesuffix(b"\n").split(b"\n") if head else ():
        yield from parser.line(line)
    if rest:
        yield LogEntry(kind=EntryKind.OUTPUT, text=f"[… {size - len(head) - len(rest):,} bytes omitted …]")
        for line in rest.removesuffix(b"\n").split(b"\n"):
            yield from parser.line(line)
    yield from parser.finish()


def _cut(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return f"{line[:LINE_CHARACTERS]} [… {len(line) - LINE_CHARACTERS:,} more characters]"
