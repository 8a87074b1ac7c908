"""The agents' logs as readable lines: the beginning and the end of each attempt, packed."""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.backends.log_entries import LogParser
from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal.logs import log_files
from architect_parallel.reports.html.embedded_data import pack
from architect_parallel.reports.html.formatting import shown
from architect_parallel.reports.log_text import LogText

HEAD_CHARACTERS = 16_000
"""Characters to show from the beginning of an attempt's log."""
TAIL_CHARACTERS = 112_000
"""Characters to show from its end."""
HEAD_BYTES = 256 * 1024
"""Bytes to read from the beginning of an attempt's log. Most of an event is left out of its readable line."""
TAIL_BYTES = 2 * 2**20
"""Bytes to read from its end."""
ATTEMPTS = 4
"""Attempts to show: the first one and the newest ones."""
LINE_CHARACTERS = 4_000


def transcript(run_dir: Path, spec: WorkerSpec, max_characters: int) -> tuple[str, int]:
    """Pack the output of a worker's agents into at most `max_characters` characters.

    Returns:
        The packed output and its unpacked size in characters; `("", 0)` without output or without log files.
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
    omitted = "\n\n[… {:,} {} omitted …]\n\n"
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            parts = [file.read(HEAD_BYTES + TAIL_BYTES if size <= HEAD_BYTES + TAIL_BYTES else HEAD_BYTES)]
            if size > HEAD_BYTES + TAIL_BYTES:
                file.seek(size - TAIL_BYTES)
                parts.append(file.read(TAIL_BYTES))
    except OSError as error:
        return f"[the log cannot be read: {error.strerror}]"
    between = omitted.format(size - HEAD_BYTES - TAIL_BYTES, "bytes")
    text = between.join(_readable(part, spec) for part in parts)
    if len(text) > HEAD_CHARACTERS + TAIL_CHARACTERS:
        left = len(text) - HEAD_CHARACTERS - TAIL_CHARACTERS
        text = text[:HEAD_CHARACTERS] + omitted.format(left, "characters") + text[-TAIL_CHARACTERS:]
    return text


def _readable(data: bytes, spec: WorkerSpec) -> str:
    parser, log = LogParser(spec.backend, spec.worktree_path), LogText()
    entries = [entry for line in data.split(b"\n") for entry in parser.line(line)]
    text = "\n".join(log.lines([*entries, *parser.finish()]))
    return "\n".join(_cut(line) for line in shown(text).strip("\n").split("\n"))


def _cut(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return f"{line[:LINE_CHARACTERS]} [… {len(line) - LINE_CHARACTERS:,} more characters]"
