"""Take the tasks of `architect parallel` from arguments, stdin, a file or an editor. Only this module reads stdin."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from architect_parallel.errors import UsageError

if TYPE_CHECKING:
    from architect_parallel.domain import TaskText

LARGEST_STDIN_TASK = 64 * 2**20
"""Bytes. A task is text for a model, not a disk image."""
END_OF_TASK = "# ------ Write the task above this line. An empty text starts nothing. ------"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The tasks in their order, or a task file."""

    tasks: tuple[str, ...] = ()
    file: Path | TaskText | None = None


def read_sources(
    first: str | None,
    others: list[str],
    *,
    file: str | None = None,
    lines: bool = False,
    prompt_file: Path | None = None,
    edit: bool = False,
    no_stdin: bool = False,
) -> Sources:
    """The tasks of the command line, of stdin, of a file or of the user's editor.

    `-` is one task on stdin. With no task, no file and stdin no terminal, stdin is a task file if it looks like one
    (`holds_tasks`), else one task.

    Args:
        prompt_file: A file whose text is the task.
        edit: The task is written in an editor, which begins with what is given.
        no_stdin: There are tasks elsewhere, so that stdin is not read without being asked for.

    Raises:
        UsageError: There is no task, a text is not UTF-8, or tasks come from two places.
        EnvironmentProblem: The editor cannot be started.
    """
    given = ([] if first is None else [first]) + others
    if sum((bool(given), file is not None, lines, prompt_file is not None)) > 1:
        places = "TASK and --task, --file, --prompt-file, or --lines"
        raise UsageError(f"tasks come from one place: {places}", hint="leave the others out")
    if prompt_file is not None:
        given = [_text(_read(prompt_file), f"in {prompt_file}")]
    if edit:
        if file is not None or lines or len(given) > 1 or given == ["-"]:
            raise UsageError("--edit writes one task", hint='architect parallel --edit "how it begins"')
        return Sources(tasks=(_edited("".join(given)),))
    if file is not None and file != "-":
        return Sources(file=Path(file))
    if file is not None:
        return Sources(file=_stdin_file(_stdin()))
    if lines:
        every = tuple(line.strip() for line in stdin_text().splitlines() if line.strip())
        return Sources(tasks=every)
    if not given and not no_stdin and sys.stdin is not None and not sys.stdin.isatty():
        from architect_parallel.config.task_file import holds_tasks

        data = _stdin()
        return Sources(file=_stdin_file(data)) if holds_tasks(data) else Sources(tasks=(_text(data, "on stdin"),))
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


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_STDIN_TASK + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="--prompt-file FILE") from error
    if len(data) > LARGEST_STDIN_TASK:
        raise UsageError(f"the task in {path} is larger than 64 MiB", hint="name a file in the task instead")
    return data


def _edited(text: str) -> str:
    """The task as the user writes it in an editor."""
    import os
    import shlex
    import tempfile

    from architect_parallel.system.terminal import run_in_front

    editor = next((os.environ[name] for name in ("VISUAL", "EDITOR") if os.environ.get(name)), "vi")
    with tempfile.TemporaryDirectory(prefix="architect-task-") as folder:
        path = Path(folder) / "TASK.md"
        path.write_text(f"{text}\n\n{END_OF_TASK}\n")
        code = run_in_front((*shlex.split(editor), str(path)))
        if code != 0:
            raise UsageError(f"the editor ended with exit code {code}: nothing was started", hint="export VISUAL=vi")
        written = _text(path.read_bytes(), "from your editor").partition(END_OF_TASK)[0]
    return _text(written.strip().encode(), "from your editor")


def stdin_text() -> str:
    """The task on stdin. Raises `UsageError` if it is empty or not UTF-8."""
    return _text(_stdin(), "on stdin")


def _text(data: bytes, place: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the task {place} is not UTF-8 (byte {error.start})", hint="convert it to UTF-8") from error
    if not text.strip():
        raise UsageError("no task given", hint='architect parallel "what to do"')
    return text.removesuffix("\n")
