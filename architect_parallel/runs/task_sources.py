"""Where tasks come from: words on the command line, a task file, one task per file of the repository.

Reads, and asks git which files there are; makes nothing. What comes out is `domain.Task`, wherever it was written.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from architect_parallel.config.paths import is_inside
from architect_parallel.domain import Isolation, Task, TaskFile, TaskText
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
    """The file they stand in; `None`: they were given as words."""
    listed: bool = False
    """They are a list to be worked through: each is done once unless more workers are asked for."""
    warnings: tuple[str, ...] = ()


def require_task_texts(tasks: Sequence[str]) -> list[str]:
    """The tasks, each checked.

    Raises:
        UsageError: None at all, an empty one, one with a NUL byte (no program can be given that), or one that is not
            UTF-8 (no model can).
    """
    if not tasks:
        raise UsageError("there is no task", hint='architect parallel "what to do"')
    for position, task in enumerate(tasks, 1):
        if not task.strip():
            raise UsageError(f"task {position} is empty", hint='architect parallel "what to do"')
        if "\0" in task:
            raise UsageError(f"task {position} holds a NUL byte", hint="give the task as text")
        require_utf8(task, f"task {position}")
    return list(tasks)


def tasks_of_file(source: str | os.PathLike[str] | TaskText, here: Workspace, *, backend_given: bool) -> TaskList:
    """The tasks of a task file, its words held against what is here.

    Raises:
        UsageError: With every fault.
    """
    # Here, because a run without a file needs neither parser nor schema.
    from architect_parallel.config.task_file import load_task_file, read_task_file

    context = replace(validation_context(here), backend_given=backend_given)
    if isinstance(source, TaskText):
        file = read_task_file(source, context)
    else:
        # A relative path begins where the tool stands, as its messages show it.
        path = Path(source)
        file = load_task_file(path if path.is_absolute() or here.start == Path.cwd() else here.start / path, context)
    return TaskList(tasks=file.tasks, file=file, listed=True)


def tasks_for_each(
    words: Sequence[str], pattern: str, here: Workspace, *, quoted: bool, carries_dirty: bool
) -> TaskList:
    """Every task once for every file that matches `pattern`, `{path}` replaced by its path from the top.

    Tracked files and untracked ones that are not ignored; `*` stops at a slash, `**` does not.

    Args:
        quoted: The task is a shell command: a path goes in as one word of it.
        carries_dirty: Untracked files come along into the worktrees.

    Raises:
        UsageError: No task has a `{path}`, the pattern is none, or a path cannot be quoted where it stands.
        NothingToDo: No file matches.
    """
    texts = require_task_texts(words)
    for position, text in enumerate(texts, 1):
        if PATH_WORD not in text:
            raise UsageError(f"task {position} holds no {PATH_WORD}", hint=f'--foreach "*.py" "explain {PATH_WORD}"')
    tracked = _listed(here, pattern, "--cached")
    untracked = _listed(here, pattern, "--others", "--exclude-standard") - tracked
    if not tracked | untracked:
        raise NothingToDo(f"no file matches --foreach {pattern}", hint="`**` matches across directories")
    paths = sorted(tracked | untracked)
    warnings: tuple[str, ...] = ()
    if untracked and not carries_dirty:
        some = ", ".join(sorted(untracked)[:3]) + (" and more" if len(untracked) > 3 else "")
        warnings = (f"not in the commit the worktrees start from: {some} (--include-dirty carries them over)",)
    tasks = tuple(Task(prompt=_filled(text, path, quoted)) for path in paths for text in texts)
    return TaskList(tasks=tasks, listed=True, warnings=warnings)


def _listed(here: Workspace, pattern: str, *which: str) -> set[str]:
    top = here.repository.checkout
    if top is None:
        raise UsageError("--foreach needs a checkout", hint="cd to one")
    git = replace(here.repository.git, cwd=here.start)
    as_glob = {"GIT_LITERAL_PATHSPECS": "0", "GIT_GLOB_PATHSPECS": "1"}
    try:
        found = git.run("ls-files", "-z", "--full-name", *which, "--", pattern, env=as_glob).fields
    except GitError as error:
        raise UsageError(f"--foreach {pattern!r} is no pattern inside the repository") from error
    return {path for path in found if os.path.isfile(top / path)}


def _filled(text: str, path: str, quoted: bool) -> str:
    if not quoted:
        return text.replace(PATH_WORD, path)
    word = shlex.quote(path)
    if word != path:
        # Around the placeholder quotes are ours to give; inside others the name could become a command.
        for mark in "\"'":
            text = text.replace(f"{mark}{PATH_WORD}{mark}", PATH_WORD)
        if any(mark in text for mark in "\"'`\\"):
            raise UsageError(f"the path {path!r} cannot be put safely into this command", hint="leave out the quotes")
        if word.startswith("-"):
            word = f"./{word}"
    return text.replace(PATH_WORD, word)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlace:
    """Where the agent of a task starts."""

    isolation: Isolation = Isolation.WORKTREE
    directory: str = ""
    """Below the top of the worktree; without isolation absolute."""


def task_places(given: TaskList, here: Workspace, base_commit: str) -> list[TaskPlace]:
    """Where each task of `given` works, in order.

    A directory inside the repository means the same one in the worktree. In place a task runs where its `workdir` is
    outside, or where `isolation: none` is written.

    Raises:
        UsageError: With every directory that the base commit has not.
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


def place_warnings(places: Sequence[tuple[int, TaskPlace]], repository: Repository) -> list[str]:
    """What a user should know of the workers (by id) that run in place."""
    found, owners = [], dict[str, int]()
    top = _real(repository.checkout)
    for worker_id, place in places:
        if place.isolation is not Isolation.NONE:
            continue
        if place.directory in owners:
            both = f"workers {owners[place.directory]} and {worker_id}"
            found.append(f"{both} work in the same directory, {place.directory}")
        owners.setdefault(place.directory, worker_id)
        if _overlaps(place.directory, top):
            found.append(f"worker {worker_id} works in place in your own checkout: nothing it does there can be undone")
    return found


def tripwire_warnings(places: Sequence[tuple[int, TaskPlace]], repository: Repository) -> tuple[str, ...]:
    """Why the main checkout cannot be watched: a worker (by id) works there in place; empty: it can."""
    top = _real(repository.main_checkout)
    found = (who for who, each in places if each.isolation is Isolation.NONE and _overlaps(each.directory, top))
    return tuple(f"the tripwire is off: worker {who} works in place in the main checkout" for who in found)[:1]


def _overlaps(directory: str, top: Path | None) -> bool:
    return top is not None and (top.is_relative_to(directory) or Path(directory).is_relative_to(top))


def _real(path: Path | None) -> Path | None:
    return None if path is None else Path(os.path.realpath(path))
