"""The output of the agents from the run's log files: the beginning and the end of each attempt, packed."""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal.logs import log_files
from architect_parallel.reports.html.embedded_data import pack
from architect_parallel.reports.html.formatting import shown

HEAD_BYTES = 16_000
"""Bytes to show from the beginning of an attempt's output."""
TAIL_BYTES = 112_000
"""Bytes to show from its end."""
ATTEMPTS = 4
"""Attempts to show: the first one and the newest ones."""
LINE_CHARACTERS = 4_000


def transcript(run_dir: Path, worker_id: int, max_characters: int) -> tuple[str, int]:
    """Pack the output of a worker's agents into at most `max_characters` characters.

    Returns:
        The packed output and its unpacked size in characters; `("", 0)` without output or without log files.
    """
    try:
        logs = log_files(run_dir, worker_id)
    except EnvironmentProblem as problem:  # the folder belongs to another user
        return pack([f"[{problem.message}]".encode()], max_characters).text, len(problem.message) + 2
    chosen = logs if len(logs) <= ATTEMPTS else [logs[0], *logs[1 - ATTEMPTS :]]
    texts = [(logs.index(path) + 1, _read(path)) for path in chosen]
    heading = "── attempt {} of {} ──\n" if len(logs) > 1 else ""
    text = "\n".join(heading.format(attempt, len(logs)) + text for attempt, text in texts if text)
    if not text:
        return "", 0
    packed = pack([text.encode()], max_characters)
    if not packed.positions:
        note = f"(too large for this page: {len(text):,} characters; architect logs shows them)"
        packed = pack([note.encode()], max_characters)
    return packed.text, len(text)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= HEAD_BYTES + TAIL_BYTES:
                data = file.read(HEAD_BYTES + TAIL_BYTES)
            else:
                head = file.read(HEAD_BYTES)
                file.seek(size - TAIL_BYTES)
                data = head + f"\n\n[… {size - HEAD_BYTES - TAIL_BYTES:,} bytes omitted …]\n\n".encode()
                data += file.read(TAIL_BYTES)
    except OSError as error:
        return f"[the log cannot be read: {error.strerror}]"
    lines = shown(data.decode(errors="replace")).strip("\n").split("\n")
    return "\n".join(_cut(line) for line in lines)


def _cut(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return f"{line[:LINE_CHARACTERS]} [… {len(line) - LINE_CHARACTERS:,} more characters]"
