"""stdout carries the answer, stderr everything else; this is the only place that writes to either for a command."""

from __future__ import annotations

import sys
from typing import Any


def answer(text: str) -> None:
    """A line (or more) of the answer, to stdout. Undecodable bytes of file names pass as they are."""
    sys.stdout.buffer.write((text + "\n").encode(errors="surrogateescape"))
    sys.stdout.flush()


def answer_bytes(data: bytes) -> None:
    """Raw bytes of the answer (a patch), to stdout."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def answer_json(value: Any) -> None:
    """The answer as one JSON object."""
    from architect_parallel.reports.json import dumps

    answer(dumps(value))


def note(text: str) -> None:
    """A line of progress or a warning, to stderr."""
    sys.stderr.write(text.encode("utf-8", "replace").decode() + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """A warning, to stderr."""
    note(f"warning: {text}")
