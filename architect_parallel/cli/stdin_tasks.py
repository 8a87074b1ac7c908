"""Take the tasks of `architect parallel` from arguments, stdin or a file. Only this module reads stdin."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from architect_parallel.errors import UsageError

if TYPE_CHECKING:
    from architect_parallel.domain import TaskText

LARGEST_STDIN_TASK = 64 * 2**20
"""Bytes; a task is text for a model, not a disk image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The tasks in their order, or a task file."""

    tasks: tuple[str, ...] = ()
    file: Path | TaskText | None = None


def read_sources(first: str | None, others: list[str], *, file: str | None = None, lines: bool = False) -> Sources:
    """The tasks of the command line, of stdin or of a file.

    `-` is one task on stdin. With no task, no file and stdin no terminal, stdin is a task file if it looks like one
    (`holds_tasks`), else one task.

    Raises:
        UsageError: There is no task, stdin is not text, or tasks come from two places.
    """
    given = ([] if first is None else [first]) + others
    if sum((bool(given), file is not None, lines)) > 1:
        raise UsageError("tasks come from one place: TASK and --task, --file, or --lines", hint="leave the others out")
    if file is not None and file != "-":
        return Sources(file=Path(file))
    if file is not None:
        return Sources(file=_stdin_file(_stdin()))
    if lines:
        every = tuple(line.strip() for line in stdin_text().splitlines() if line.strip())
        return Sources(tasks=every)
    if not given and sys.stdin is not None and not sys.stdin.isatty():
        from architect_parallel.config.task_file import holds_tasks

        data = _stdin()
        return Sources(file=_stdin_file(data)) if holds_tasks(data) else Sources(tasks=(_text(data),))
    if given.count("-") > 1:
        raise UsageError("stdin can be only one task", hint='architect parallel - --task "another"')
    return Sources(tasks=tuple(stdin_text() if text == "-" else text for text in given))


def _stdin() -> bytes:
    data = sys.stdin.buffer.read(LARGEST_STDIN_TASK + 1) if sys.stdin is not None else b""
    if len(data) > LARGEST_STDIN_TASK:
        raise UsageError("the task on stdin is larger than 64 MiB", hint="name a file in the task instead")
    return data


def _stdin_file(data: bytes) -> TaskText:
    from architect_parallel.config.task_file import STDIN
    from architect_parallel.domain import TaskText

    return TaskText(name=STDIN, data=data)


def stdin_text() -> str:
    """The task on stdin. Raises `UsageError` if it is empty or not UTF-8."""
    return _text(_stdin())


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the task on stdin is not UTF-8 (byte {error.start})", hint="convert it to UTF-8") from error
    if not text.strip():
        raise UsageError("no task given", hint='architect parallel "what to do"')
    return text.removesuffix("\n")
