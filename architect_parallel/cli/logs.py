"""`architect logs [RUN] [N]... [-f]`: what the agents printed."""

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


def logs(
    words: options.Workers = None,
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
    from architect_parallel.journal.selection import select
    from architect_parallel.runs.workspace import open_journal

    with open_journal(Path.cwd()) as (_, journal):
        selection = select(journal, words or ())
        run_id = selection.run_id
        chosen = list(selection.worker_ids) or [spec.worker_id for spec in journal.planned(run_id)]
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

    def _plain(self, path: Path, data: bytes) -> bytes:
        from architect_parallel.text.sanitize import plain_text

        decoder = self._decoders.setdefault(path, codecs.getincrementaldecoder("utf-8")("replace"))
        return plain_text(decoder.decode(data)).encode()


def _chunks(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset, os.SEEK_SET)
        while data := file.read(CHUNK_BYTES):
            yield data
