"""What the agents printed, from the run's log files: the beginning and the end of each attempt, packed."""

from __future__ import annotations

import os
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal.logs import log_files
from architect_parallel.reports.html.figures import shown
from architect_parallel.reports.html.packing import pack

HEAD_BYTES = 16_000
TAIL_BYTES = 112_000
ATTEMPTS = 4
"""The first one and the newest ones."""
LINE_CHARACTERS = 4_000


def transcript(run_dir: Path, worker_id: int, room: int) -> tuple[str, int]:
    """What one worker's agents printed, packed into at most `room` characters, and how many characters that is
    unpacked; `("", 0)`: nothing was printed, or the logs are gone."""
    parts = []
    try:
        files = log_files(run_dir, worker_id)
    except EnvironmentProblem as problem:  # another user's
        files, parts = [], [f"[{problem.message}]"]
    chosen = files if len(files) <= ATTEMPTS else [files[0], *files[1 - ATTEMPTS :]]
    for path in chosen:
        text = _read(path)
        if text and len(files) > 1:
            parts.append(f"── attempt {files.index(path) + 1} of {len(files)} ──\n{text}")
        elif text:
            parts.append(text)
    if not parts:
        return "", 0
    text = "\n".join(parts)
    packed = pack([text.encode()], room)
    if not packed.places:
        packed = pack([f"(left out: {len(text):,} characters; architect logs shows them)".encode()], room)
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
                data = head + f"\n\n[… {size - HEAD_BYTES - TAIL_BYTES:,} bytes left out …]\n\n".encode()
                data += file.read(TAIL_BYTES)
    except OSError as error:
        return f"[the log cannot be read: {error.strerror}]"
    lines = shown(data.decode(errors="replace")).strip("\n").split("\n")
    return "\n".join(_cut(line) for line in lines)


def _cut(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return f"{line[:LINE_CHARACTERS]} [… {len(line) - LINE_CHARACTERS:,} more characters]"
