"""The common part of task files, specs and flows: text into checked data.

Text becomes data, keys get their own names, and names are checked against the workspace. All faults are collected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from architect_parallel.config.fields import Section
from architect_parallel.config.layers import FaultList, fault_of, place_of
from architect_parallel.config.paths import is_inside
from architect_parallel.config.validation import ValidationContext
from architect_parallel.config.yaml_source import (
    Document,
    Fault,
    Faulty,
    KeyPath,
    Position,
    as_written,
    in_order,
    read_bytes,
    read_data,
)
from architect_parallel.config.yaml_source import require_size as require_bytes
from architect_parallel.domain import Isolation, TaskText
from architect_parallel.scheduling.graph import cycles
from architect_parallel.text.quantities import quoted
from architect_parallel.text.sanitize import one_line
from architect_parallel.text.suggest import did_you_mean

LARGEST_TASK_FILE_BYTES = 16 * 1024**2
MOST_TEXT_FAULTS = 1000
MOST_TASKS = 10_000
"""Each task is a branch, a worktree and money: a file with more holds other data."""

Make = Callable[[KeyPath, str], Fault]
"""Makes a fault for a path of the document."""
Model = TypeVar("Model", bound=Section)

_JSON_BEGINS = re.compile(r"\s*[\[{]")


def read_text(path: Path, what: str, hint: str) -> TaskText:
    """Read the file at `path`. `what` it should be, and a `hint`, are for the error.

    Raises:
        UsageError: It is not there, cannot be read or is too large.
    """
    faults = FaultList()
    try:
        data = read_bytes(path, pipe_allowed=True, largest=LARGEST_TASK_FILE_BYTES)
        if data is None:
            raise Faulty(Fault(None, "there is no such file"))
    except Faulty as error:
        faults.add(str(path), error.faults)
        raise faults.error(what, hint) from None
    return TaskText(name=str(path), data=data)


def document_of(text: TaskText) -> Document:
    """Parse `text`: as JSON when its name ends so or it begins like it, else as YAML.

    Raises:
        Faulty: It is neither, or too large.
    """
    require_bytes(text.data, LARGEST_TASK_FILE_BYTES)
    begins_as_json = _JSON_BEGINS.match(text.data[:1024].decode("utf-8-sig", "replace")) is not None
    as_json = text.name.endswith(".json") or (begins_as_json and not text.name.endswith((".yaml", ".yml")))
    try:
        return read_data(text.data, as_json=as_json, most_faults=MOST_TEXT_FAULTS)
    except Faulty as error:
        if not as_json or text.name.endswith(".json"):
            raise
        # YAML may begin like JSON: `{tasks: [...]}`. When it is neither, it was meant as JSON.
        try:
            return read_data(text.data, most_faults=MOST_TEXT_FAULTS)
        except Faulty:
            raise error from None


def require_tasks(data: Any, places: Mapping[KeyPath, Position], faults: Collection[Fault]) -> dict[str, Any]:
    """Return `data` when it is a mapping with a list of tasks that is not too long.

    Raises:
        Faulty: It is not. The `faults` found before come first.
    """
    if data is None:
        raise Faulty(*faults, Fault(None, "is empty: there is no task"))
    if not isinstance(data, dict):
        raise Faulty(*faults, Fault(Position(1, 1), "must hold a mapping with a list `tasks`"))
    if isinstance(data.get("tasks"), list) and len(data["tasks"]) > MOST_TASKS:
        what = f"tasks: holds {len(data['tasks'])} tasks, at most {MOST_TASKS} are allowed"
        raise Faulty(*faults, Fault(place_of(places, ("tasks",)), what))
    return data


def checked(
    document: Document, model: type[Model], meant: Callable[[KeyPath], str]
) -> tuple[Model | None, list[Fault]]:
    """Validate the document. Return its model, or `None` and the faults of its form.

    Args:
        meant: Offers a known key for the unknown one at a path, as the end of a message.
    """
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [fault_of(dict(detail), document.data, document.places, meant) for detail in details]


def read_section(
    text: TaskText,
    model: type[Model],
    what: str,
    hint: str,
    *,
    canonical: Callable[[Document], Document],
    meant: Callable[[KeyPath], str],
    further: Callable[[Document], Iterator[Fault]],
) -> tuple[Model, Document]:
    """Read `text` as a model. `what` it should be, and a `hint`, are for the error.

    Args:
        canonical: Puts the keys of the document under their own names.
        meant: As for `checked`.
        further: Yields the faults beyond the form, whatever else is wrong.

    Raises:
        UsageError: With every fault, each on a line of its own.
    """
    fault_list = FaultList()
    try:
        document = canonical(document_of(text))
        section, faults = checked(document, model, meant)
        faults += [*document.faults, *further(document)]
        if section is not None and not faults:
            return section, document
        fault_list.add(text.name, in_order(faults))
    except Faulty as error:
        fault_list.add(text.name, error.faults)
    raise fault_list.error(what, hint)


def maker(document: Document) -> Make:
    """Return a maker of faults that name their place in `document`, and the path."""
    return lambda path, message: Fault(
        place_of(document.places, path), f"{as_written(document.places, path)}: {message}"
    )


def tasks_of(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tasks of a document. Anything else in the list is an empty task."""
    tasks = data.get("tasks")
    return [task if isinstance(task, dict) else {} for task in tasks] if isinstance(tasks, list) else []


def defaults_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a document."""
    defaults = data.get("defaults")
    return defaults if isinstance(defaults, dict) else {}


def above_ceiling(most: object, context: ValidationContext) -> str | None:
    """The fault of `most` tasks at the same time. `None` means no fault, or one that the form reports."""
    if isinstance(most, int) and not isinstance(most, bool) and most > context.ceiling:
        return f"{quoted(most)} is more than workers_ceiling {context.ceiling} allows"
    return None


def section_faults(data: Mapping[str, Any], context: ValidationContext, fault: Make) -> Iterator[Fault]:
    """Yield faults of backends, agents and directories that do not exist, in the defaults and in each task."""
    defaults = defaults_of(data)
    yield from _section_faults(("defaults",), defaults, defaults, context, fault)
    for index, task in enumerate(tasks_of(data)):
        yield from _section_faults(("tasks", index), task, defaults, context, fault)


def _section_faults(
    path: KeyPath, section: Mapping[str, Any], defaults: Mapping[str, Any], context: ValidationContext, fault: Make
) -> Iterator[Fault]:
    for key, known in (("backend", context.backends), ("agent", context.agents)):
        name = section.get(key)
        if known is not None and isinstance(name, str) and name not in known:
            near = did_you_mean(name, known) or f"; known: {', '.join(sorted(known))}"
            yield fault((*path, key), f"unknown {key} {quoted(name)}{near}")
    workdir = section.get("workdir")
    if not isinstance(workdir, str) or not is_path(workdir):
        return
    directory = context.directory / workdir
    if not os.path.isdir(directory):
        what = "is not a directory" if os.path.lexists(directory) else "there is no such directory"
        yield fault((*path, "workdir"), f"{quoted(workdir)}: {what}")
    elif {**defaults, **section}.get("isolation") == Isolation.WORKTREE and not is_inside(directory, context.checkout):
        yield fault(
            (*path, "workdir"),
            f"{quoted(workdir)} is outside the repository, where there is no worktree; isolation: none runs in it",
        )


def named_tasks(data: Mapping[str, Any], fault: Make) -> tuple[dict[str, int], list[Fault]]:
    """Map every name and id of a task to its index, and return the faults of duplicates."""
    owners: dict[str, int] = {}
    faults = []
    for index, task in enumerate(tasks_of(data)):
        for key in ("name", "id"):
            word = task.get(key)
            if isinstance(word, str) and word.strip():
                first = owners.setdefault(word, index)
                if first != index:
                    what = f"duplicate name {quoted(word)} (first used by tasks[{first}])"
                    faults.append(fault(("tasks", index, key), what))
    return owners, faults


def dependency_graph(
    data: Mapping[str, Any], owners: Mapping[str, int], fault: Make
) -> tuple[dict[int, list[int]], list[Fault]]:
    """Return the tasks that each task waits for, and faults of unknown names and cycles. The defaults hold for tasks
    without dependencies of their own.

    Args:
        owners: Name or id → index of the task.
    """

    def named(section: Mapping[str, Any], path: KeyPath) -> list[int] | None:
        words = section.get("dependencies")
        known: list[int] = []
        for position, word in enumerate(words if isinstance(words, list) else ()):
            if isinstance(word, str) and word in owners:
                known.append(owners[word])
            elif isinstance(word, str):
                what = f"unknown task {quoted(word)}{did_you_mean(word, owners)}"
                faults.append(fault((*path, "dependencies", position), what))
        return None if words is None else known

    faults: list[Fault] = []
    tasks = tasks_of(data)
    common = named(defaults_of(data), ("defaults",)) or []
    own = [named(task, ("tasks", index)) for index, task in enumerate(tasks)]
    needs = {index: list(common) if dependencies is None else dependencies for index, dependencies in enumerate(own)}
    for index, wanted in needs.items():
        if index in wanted:
            words = tasks[index].get("dependencies") or ()
            at = [
                position for position, word in enumerate(words) if isinstance(word, str) and owners.get(word) == index
            ]
            faults.append(fault(("tasks", index, "dependencies", *at[:1]), "a task cannot wait for itself"))
            needs[index] = [name for name in wanted if name != index]
    for ring in cycles(needs):
        names = " → ".join(str(tasks[index].get("name") or tasks[index].get("id")) for index in ring)
        what = f"dependency cycle: {one_line(names, 300)} (each waits for the next)"
        faults.append(fault(("tasks", ring[0], "dependencies"), what))
    return needs, faults


def is_path(text: str) -> bool:
    """Return whether `text` can be a path at all."""
    return bool(text.strip()) and "\0" not in text


def not_a_directory(path: Path) -> str | None:
    """The path that is in the way of a directory. `None` means that nothing is."""
    for item in (path, *path.parents):
        if os.path.isdir(item):
            return None
        if os.path.lexists(item):
            return str(item)
    return None
