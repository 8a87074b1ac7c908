"""`architect path|open|shell|attach [RUN] N`: the place of a worker, for a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from architect_parallel.cli import options
from architect_parallel.cli.console import answer, answer_json, note

if TYPE_CHECKING:
    from architect_parallel.api.worker_place import WorkerPlace
    from architect_parallel.runs.workspace import Workspace


def path(words: options.OneWorker = None, json: options.Json = False) -> None:
    """Print the directory of a worker.

    For example: cd "$(architect path 1)"
    """
    from architect_parallel.api.worker_place import find_place

    place = find_place(Path.cwd(), words or ())
    if json:
        answer_json({"run_id": place.run_id, "worker_id": place.spec.worker_id, "path": str(place.directory)})
    else:
        answer(str(place.directory))


def open_(words: options.OneWorker = None, config: options.Config = None) -> None:
    """Open the directory of a worker in your editor.

    The editor is `ui.editor` of the configuration, else $VISUAL, $EDITOR or `code`.
    """
    from architect_parallel.api.worker_place import editor
    from architect_parallel.system.terminal import become

    program = editor(*_place(words, config))
    become(program.argv, cwd=program.cwd, env=program.env)


def shell(words: options.OneWorker = None, config: options.Config = None) -> None:
    """Start your shell in the directory of a worker.

    The shell has the environment of the worker's agent.
    """
    from architect_parallel.api.worker_place import shell as program_of
    from architect_parallel.system.terminal import become

    here, place = _place(words, config)
    program = program_of(here, place)
    note(f"worker {place.spec.worker_id} of run {place.run_id}: {place.directory} (exit or Ctrl-D leaves)")
    become(program.argv, cwd=program.cwd, env=program.env)


def attach(words: options.OneWorker = None, config: options.Config = None) -> None:
    """Open the interactive session of a worker's agent.

    The agent's own program opens in the worker's directory and continues the conversation.

    The worker must have ended. What you commit there lands with `architect merge`.
    """
    from architect_parallel.api.worker_place import session
    from architect_parallel.system.terminal import become

    program = session(*_place(words, config))
    become(program.argv, cwd=program.cwd, env=program.env)


def _place(words: Sequence[str] | None, config: Path | None) -> tuple[Workspace, WorkerPlace]:
    from architect_parallel.api.worker_place import find_place
    from architect_parallel.runs.workspace import load_workspace

    return load_workspace(Path.cwd(), config), find_place(Path.cwd(), words or ())
