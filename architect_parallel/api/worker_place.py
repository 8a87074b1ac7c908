"""The place of one worker for a person: its directory, its environment, and its agent's own interactive session."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.backends import environment
from architect_parallel.backends.registry import require_backend
from architect_parallel.domain import Isolation, WorkerSpec
from architect_parallel.errors import EnvironmentProblem, NothingToDo
from architect_parallel.journal.selection import select_worker
from architect_parallel.landing.inventory import still_running
from architect_parallel.runs.workspace import Workspace, open_journal, require_worker
from architect_parallel.text.names import read_session
from architect_parallel.workers.request import request_for, variables_of


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlace:
    """The directory of a worker, which exists."""

    run_id: str
    spec: WorkerSpec
    directory: Path
    """Where its agent starts."""

    @property
    def words(self) -> str:
        """The run and the worker, as a user can type them."""
        return f"{self.run_id} {self.spec.worker_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to start at the user's terminal."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]


def find_place(workspace_root: Path, words: Sequence[str]) -> WorkerPlace:
    """The place of the worker that the words `[RUN] N` select.

    Raises:
        NothingToDo: No such run.
        UsageError: No such worker, or not one.
        EnvironmentProblem: Its directory is not there.
    """
    with open_journal(workspace_root) as (_, journal):
        selection = select_worker(journal, words)
        (worker_id,) = selection.worker_ids
        spec = next(spec for spec in journal.planned(selection.run_id) if spec.worker_id == worker_id)
    directory = Path(spec.worktree_path) / spec.subdirectory
    if not directory.is_dir():
        hint = "architect undo (after a cleanup)" if spec.isolation is Isolation.WORKTREE else None
        raise EnvironmentProblem(f"worker {worker_id} has no directory {directory}", hint=hint)
    return WorkerPlace(run_id=selection.run_id, spec=spec, directory=directory)


def editor(here: Workspace, place: WorkerPlace) -> Program:
    """The user's editor on a worker's directory: `ui.editor`, else $VISUAL, $EDITOR or `code`.

    Raises:
        EnvironmentProblem: There is none.
    """
    import shlex
    import shutil

    names = [here.settings.ui.editor, here.environ.get("VISUAL"), here.environ.get("EDITOR")]
    command = next((name for name in names if name and name.strip()), "code")
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise EnvironmentProblem(f"the editor {command!r} is no command: {error}", hint="export VISUAL=vi") from None
    if shutil.which(argv[0], path=here.environ.get("PATH")) is None:
        hint = "export VISUAL=your-editor, or set ui.editor in the configuration"
        raise EnvironmentProblem(f"there is no editor {argv[0]!r}", hint=hint)
    return Program(argv=(*argv, os.fspath(place.directory)), cwd=place.directory, env=here.environ)


def shell(here: Workspace, place: WorkerPlace) -> Program:
    """The user's shell in a worker's directory, with the environment of its agent."""
    program = here.environ.get("SHELL") or "/bin/sh"
    return Program(argv=(program,), cwd=place.directory, env=_environment(here, place.spec))


def session(here: Workspace, place: WorkerPlace) -> Program:
    """The agent's own interactive session of a worker that has ended.

    Raises:
        EnvironmentProblem: The worker has not ended, or its program is missing.
        NothingToDo: There is no session to open.
    """
    spec, hint = place.spec, f"architect shell {place.words}"
    with open_journal(here.start) as (_, journal):
        result = require_worker(journal.result(place.run_id), spec.worker_id)
        if spec.worker_id in still_running(journal.recorded(place.run_id, files=False)):
            raise EnvironmentProblem(f"the agent of worker {spec.worker_id} is still being stopped", hint="try again")
        run_dir = journal.run_dir(place.run_id)
    backend = require_backend(here.backends, spec.backend)
    state_dir = run_dir / "state" / f"worker-{spec.worker_id}"
    if result.session_id is None or not backend.capabilities.sessions:
        raise NothingToDo(f"worker {spec.worker_id} ({spec.backend}) has no session to open", hint=hint)
    try:
        session_id = read_session(result.session_id)
    except ValueError as error:
        raise NothingToDo(f"the session of worker {spec.worker_id} {error}", hint=hint) from None
    if backend.capabilities.sessions_in_state and not (state_dir.is_dir() and any(state_dir.iterdir())):
        raise NothingToDo(f"the session of worker {spec.worker_id} is not kept any more", hint=hint)
    state = backend.availability(here.environ)
    if state.missing is not None:
        raise EnvironmentProblem(f"backend {backend.name} cannot run: {state.missing}", hint=state.remedy)
    prompt_file = run_dir / "prompts" / f"worker-{spec.worker_id}.txt"
    request = request_for(replace(spec, session_id=session_id), prompt_file=prompt_file, state_dir=state_dir)
    command = backend.interactive(request)
    if command is None:
        raise NothingToDo(f"backend {backend.name} cannot open a session again", hint=hint)
    return Program(argv=command.argv, cwd=place.directory, env={**_environment(here, spec), **command.env})


def _environment(here: Workspace, spec: WorkerSpec) -> dict[str, str]:
    """The environment of the worker's agent. A backend that is not configured any more has none of its own."""
    backend = here.backends.get(spec.backend)
    passed = environment.filtered_environment(backend, here.environ) if backend is not None else None
    if passed is None:
        passed = environment.CommandEnvironment(environ=here.environ).of("")
    return {**passed, **variables_of(spec)}
