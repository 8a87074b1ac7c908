"""`architect logs RUN [N] [-f]`: what the agents printed."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from architect_parallel.cli import options
from architect_parallel.cli.console import answer_json, answer_while_read, note

if TYPE_CHECKING:
    from architect_parallel.journal import Journal

LOOK_S = 0.2
CHUNK_BYTES = 65536
LINE_CHARACTERS = 8 * 65536
"""A longer line is shown in parts."""


def logs(
    run: options.RunOrWorker,
    workers: Annotated[list[int] | None, typer.Argument(metavar="N", help="Workers; without it, all.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log as it grows, until the run ends.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the bytes as they are, with control sequences.")] = False,
    json: options.Json = False,
) -> None:
    """Show what the agents printed.

    Both streams are shown, without control sequences and secrets.
    """
    from architect_parallel.journal.logs import log_files
    from architect_parallel.runs.workspace import open_journal, require_planned

    run, worker_ids = options.run_and_workers(run, workers or [])
    with open_journal(Path.cwd()) as (_, journal):
        run_id = journal.find(run)
        planned = journal.result(run_id).planned
        named = [require_planned(run_id, planned, worker_id) for worker_id in dict.fromkeys(worker_ids)]
        chosen = named or [spec.worker_id for spec in planned]
        if json:
            files = {
                str(worker_id): [str(path) for path in log_files(journal.run_dir(run_id), worker_id)]
                for worker_id in chosen
            }
            answer_json({"run_id": run_id, "logs": files})
            return
        _Printer(journal, run_id, chosen, raw=raw).print(follow=follow)


class _Printer:
    """Print logs up to their end, and further while they grow."""

    def __init__(self, journal: Journal, run_id: str, workers: list[int], *, raw: bool) -> None:
        self._journal = journal
        self._run_id = run_id
        self._workers = workers
        self._raw = raw
        self._printed: dict[Path, int] = {}
        self._decoders: dict[Path, codecs.IncrementalDecoder] = {}
        self._last: Path | None = None
        self._held = ""

    def print(self, *, follow: bool) -> None:
        from architect_parallel.journal.logs import log_files
        from architect_parallel.system.clock import pause

        while True:
            live = follow and self._journal.is_live(self._run_id)
            for worker_id in self._workers:
                for path in log_files(self._journal.run_dir(self._run_id), worker_id):
                    self._print_rest(path)
            if not live:
                break
            pause(LOOK_S)
        if not self._printed:
            note("nothing was printed")

    def _print_rest(self, path: Path) -> None:
        for data in _chunks(path, self._printed.get(path, 0)):
            if len(self._workers) > 1 and self._last != path:
                answer_while_read(f"==> {path.stem} <==\n".encode())
            self._last = path
            self._printed[path] = self._printed.get(path, 0) + len(data)
            answer_while_read(data if self._raw else self._plain(path, data))
        if self._held:
            held, self._held = self._held, ""
            answer_while_read(_shown(held))

    def _plain(self, path: Path, data: bytes) -> bytes:
        """The complete lines. A line that is cut by a chunk's end waits, so that what it begins with is known."""
        decoder = self._decoders.setdefault(path, codecs.getincrementaldecoder("utf-8")("replace"))
        text = self._held + decoder.decode(data)
        end = text.rfind("\n") + 1 if len(text) < LINE_CHARACTERS else len(text)
        self._held = text[end:]
        return _shown(text[:end])


def _shown(text: str) -> bytes:
    from architect_parallel.text.sanitize import plain_text, without_ci_commands

    text = plain_text(text)
    return (without_ci_commands(text) if os.environ.get("CI") else text).encode()


def _chunks(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset, os.SEEK_SET)
        while data := file.read(CHUNK_BYTES):
            yield data
