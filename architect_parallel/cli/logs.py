"""`architect logs [RUN] [N]... [-f]`: what the agents printed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer_json, answer_line_while_read, answer_while_read, display, note

if TYPE_CHECKING:
    from architect_parallel.domain import WorkerSpec
    from architect_parallel.journal import Journal
    from architect_parallel.reports.log_text import LogReader, LogText

LOOK_S = 0.2
CHUNK_BYTES = 65536


def logs(
    words: options.Workers = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log as it grows, until the run ends.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the bytes as they are, with control sequences.")] = False,
    json: options.Json = False,
) -> None:
    """Show what the agents said and did.

    You see what each agent wrote, which tools it called, and the first line of each result.

    `--wide` shows whole results. Other output is shown as it is, without control sequences.
    """
    from architect_parallel.journal.logs import log_files
    from architect_parallel.journal.selection import select
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        selection = select(journal, words or ())
        run_id, named = selection.run_id, selection.worker_ids
        chosen = [spec for spec in journal.planned(run_id) if spec.worker_id in named or not named]
        if json:
            run_dir = journal.run_dir(run_id)
            files = {str(spec.worker_id): [str(path) for path in log_files(run_dir, spec.worker_id)] for spec in chosen}
            answer_json({"run_id": run_id, "logs": files})
            return
        _Printer(journal, run_id, chosen, raw=raw).print(follow=follow)


class _Printer:
    """Print logs up to their end, and further while they grow."""

    def __init__(self, journal: Journal, run_id: str, workers: list[WorkerSpec], *, raw: bool) -> None:
        self._journal = journal
        self._run_id = run_id
        self._workers = workers
        self._raw = raw
        self._printed: dict[Path, int] = {}
        self._readers: dict[Path, tuple[LogReader, LogText]] = {}
        self._last: Path | None = None

    def print(self, *, follow: bool) -> None:
        from architect_parallel.journal.logs import log_files
        from architect_parallel.system.clock import pause

        while True:
            live = self._journal.is_live(self._run_id)
            for spec in self._workers:
                files = log_files(self._journal.run_dir(self._run_id), spec.worker_id)
                for path in files:
                    heading = _heading(path, spec) if len(self._workers) > 1 or len(files) > 1 else None
                    if self._raw:
                        self._print_bytes(path, heading)
                    else:
                        self._print_entries(path, heading, spec, is_over=not live or path != files[-1])
            if not (live and follow):
                break
            pause(LOOK_S)
        if self._last is None:
            note("nothing was printed")

    def _print_bytes(self, path: Path, heading: str | None) -> None:
        for data in _chunks(path, self._printed.get(path, 0)):
            self._head(path, heading)
            self._printed[path] = self._printed.get(path, 0) + len(data)
            answer_while_read(data)

    def _print_entries(self, path: Path, heading: str | None, spec: WorkerSpec, *, is_over: bool) -> None:
        from architect_parallel.reports.log_text import LogReader, LogText

        if path not in self._readers:
            self._readers[path] = LogReader(path, spec.backend, spec.worktree_path), LogText(display())
        reader, text = self._readers[path]
        for entry in reader.read(is_over=is_over):
            for line in text.lines([entry]):
                self._head(path, heading)
                answer_line_while_read(line)

    def _head(self, path: Path, heading: str | None) -> None:
        """Name the log before its first line and after another one."""
        if heading is not None and self._last != path:
            answer_line_while_read(f"==> {heading} <==")
        self._last = path


def _heading(path: Path, spec: WorkerSpec) -> str:
    """The worker and the attempt, with the name of the worker's task if it has one."""
    from architect_parallel.text.sanitize import one_line

    has_name = spec.name not in ("", f"worker-{spec.worker_id}")
    return f"{path.stem} ({one_line(spec.name, 60)})" if has_name else path.stem


def _chunks(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset, os.SEEK_SET)
        while data := file.read(CHUNK_BYTES):
            yield data
