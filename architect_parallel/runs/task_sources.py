"""The tasks of a run: from the command line, from a task file, or one for each file of the repository.

This module reads files and asks git. It writes nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.config.paths import is_inside
from architect_parallel.domain import Isolation, Task, TaskFile, TaskText, WorkerSpec
from architect_parallel.errors import NothingToDo, UsageError
from architect_parallel.runs.workspace import Workspace, validation_context
from architect_parallel.system.git import GitError, Repository
from architect_parallel.text.sanitize import require_utf8

PATH_WORD = "{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """The tasks of a run."""

    tasks: tuple[Task, ...]
    file: TaskFile | None = None
    """Their task file. `None` means that they were given as text."""
    listed: bool = False
    """A list to work through: each task is done once unless more workers are requested."""
    warnings: tuple[str, ...] = ()


def require_tasks(tasks: Sequence[str | Task]) -> list[Task]:
    """The tasks, the text of each checked.

    Raises:
        UsageError: No task, an empty one, one with a NUL byte (no argv can contain it), or one that is not UTF-8.
    """
    if not tasks:
        raise UsageError("no task given", hint='architect parallel "what to do"')
    checked = [task if isinstance(task, Task) else Task(prompt=task) for task in tasks]
    for position, task in enumerate(checked, 1):
        if not task.prompt.strip():
            raise UsageError(f"task {position} is empty", hint='architect parallel "what to do"')
        if "\0" in task.prompt:
            raise UsageError(f"task {position} contains a NUL byte", hint="give the task as text")
        require_utf8(task.prompt, f"task {position}")
    return checked


def tasks_of_file(source: str | os.PathLike[str] | TaskText, here: Workspace) -> TaskList:
    """The tasks of a task file, checked against the backends, agents and limits here.

    Raises:
        UsageError: Every fault of the file.
    """
    # Here, because a run without a file needs neither parser nor schema.
    from architect_parallel.config.task_file import load_task_file, read_task_file

    context = validation_context(here)
    if isinstance(source, TaskText):
        file = read_task_file(source, context)
    else:
        # A relative path starts at the working directory, as messages show it.
        path = Path(source)
        file = load_task_file(path if path.is_absolute() or here.start == Path.cwd() else here.start / path, context)
    return TaskList(tasks=file.tasks, file=file, listed=True)


def tasks_for_each(
    given: Sequence[str | Task], pattern: str, here: Workspace, *, quoted: bool, carries_dirty: bool
) -> TaskList:
    """Every task once for every file that matches `pattern`, with its path from the top in place of `{path}`.

    Tracked files and untracked ones that are not ignored. `*` stops at a slash, `**` does not.

    Args:
        quoted: The task is a shell command, and a path becomes one word of it.
        carries_dirty: Untracked files are carried over into the worktrees.

    Raises:
        UsageError: No task contains `{path}`, the pattern is invalid, or a path cannot be quoted safely.
        NothingToDo: No file matches.
    """
    templates = require_tasks(given)
    for position, task in enumerate(templates, 1):
        if PATH_WORD not in task.prompt:
            raise UsageError(f"task {position} contains no {PATH_WORD}", hint=f'--foreach "*.py" "explain {PATH_WORD}"')
    tracked = _listed(here, pattern, "--cached")
    untracked = _listed(here, pattern, "--others", "--exclude-standard") - tracked
    if not tracked | untracked:
        raise NothingToDo(f"no file matches --foreach {pattern}", hint="`**` matches across directories")
    paths = sorted(tracked | untracked)
    warnings: tuple[str, ...] = ()
    if untracked and not carries_dirty:
        some = ", ".join(sorted(untracked)[:3]) + (" and more" if len(untracked) > 3 else "")
        warnings = (f"not in the commit the worktrees start from: {some} (--include-dirty carries them over)",)
    tasks = tuple(replace(task, prompt=_filled(task.prompt, path, quoted)) for path in paths for task in templates)
    return TaskList(tasks=tasks, listed=True, warnings=warnings)


def _listed(here: Workspace, pattern: str, *which: str) -> set[str]:
    top = here.repository.checkout
    if top is None:
        raise UsageError("--foreach needs a checkout", hint="cd to one")
    git = replace(here.repository.git, cwd=here.start)
    as_glob = {"GIT_LITERAL_PATHSPECS": "0", "GIT_GLOB_PATHSPECS": "1"}
    try:
        paths = git.run("ls-files", "-z", "--full-name", *which, "--", pattern, env=as_glob).fields
    except GitError as error:
        raise UsageError(f"--foreach {pattern!r} is not a pattern inside the repository") from error
    return {path for path in paths if os.path.isfile(top / path)}


def _filled(text: str, path: str, quoted: bool) -> str:
    if not quoted:
        return text.replace(PATH_WORD, path)
    word = shlex.quote(path)
    if word != path:
        # Only quotes around the placeholder itself are replaced. Inside other quotes the name could become a command.
        for mark in "\"'":
            text = text.replace(f"{mark}{PATH_WORD}{mark}", PATH_WORD)
        if any(mark in text for mark in "\"'`\\"):
            raise UsageError(f"the path {path!r} cannot be put safely into this command", hint="leave out the quotes")
        if word.startswith("-"):
            word = f"./{word}"
    return text.replace(PATH_WORD, word)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlace:
    """The place where the agent of a task starts."""

    isolation: Isolation = Isolation.WORKTREE
    directory: str = ""
    """Relative to the top of the worktree. Absolute without isolation."""


def task_places(given: TaskList, here: Workspace, base_commit: str) -> list[TaskPlace]:
    """The directory of each task of `given`, in order.

    A directory inside the repository means the same one in the worktree. In place a task runs where its `workdir` is
    outside, or where `isolation: none` is written.

    Raises:
        UsageError: Every directory that the base commit does not contain.
    """
    places = [_place(task, here) for task in given.tasks]
    faults = []
    for task, place in zip(given.tasks, places, strict=True):
        if place.isolation is Isolation.WORKTREE and place.directory:
            kind = here.repository.store.run("cat-file", "-t", f"{base_commit}:{place.directory}", check=False).text
            if kind != "tree":
                what = f"{task.place}.workdir: the commit the worktrees start from has no directory {place.directory!r}"
                faults.append(f"{what}; commit it, or write isolation: none")
    if faults:
        from architect_parallel.config.task_file import require_no_fault

        require_no_fault(faults, given.file.name if given.file else "the command line")
    return places


def _place(task: Task, here: Workspace) -> TaskPlace:
    checkout = _real(here.repository.checkout)
    if task.workdir is None:
        if task.isolation is Isolation.NONE:
            return TaskPlace(isolation=Isolation.NONE, directory=str(checkout or here.start))
        return TaskPlace()
    directory = Path(os.path.realpath(here.start / task.workdir))
    inside = is_inside(directory, checkout)
    if task.isolation is Isolation.NONE or not inside:
        return TaskPlace(isolation=Isolation.NONE, directory=str(directory))
    assert checkout is not None  # something is inside it
    below = directory.relative_to(checkout).as_posix()
    return TaskPlace(directory="" if below == "." else below)


def place_warnings(workers: Sequence[WorkerSpec], repository: Repository) -> list[str]:
    """Warnings about the workers that run in place."""
    warnings, owners = [], dict[str, int]()
    top = _real(repository.checkout)
    for worker in _in_place(workers):
        directory = worker.worktree_path
        if directory in owners:
            both = f"workers {owners[directory]} and {worker.worker_id}"
            warnings.append(f"{both} work in the same directory, {directory}")
        owners.setdefault(directory, worker.worker_id)
        if _overlaps(directory, top):
            who = f"worker {worker.worker_id}"
            warnings.append(f"{who} works in place in your own checkout: nothing it does there can be undone")
    return warnings


def tripwire_warnings(workers: Sequence[WorkerSpec], repository: Repository) -> tuple[str, ...]:
    """The reasons why the main checkout cannot be watched. An empty tuple means that it can."""
    top = _real(repository.main_checkout)
    inside = (worker.worker_id for worker in _in_place(workers) if _overlaps(worker.worktree_path, top))
    return tuple(f"the tripwire is off: worker {who} works in place in the main checkout" for who in inside)[:1]


def _in_place(workers: Sequence[WorkerSpec]) -> list[WorkerSpec]:
    return [worker for worker in workers if worker.isolation is Isolation.NONE]


def _overlaps(directory: str, top: Path | None) -> bool:
    return top is not None and (top.is_relative_to(directory) or Path(directory).is_relative_to(top))


def _real(path: Path | None) -> Path | None:
    return None if path is None else Path(os.path.realpath(path))
