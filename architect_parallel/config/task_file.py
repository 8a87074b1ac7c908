"""A task file, JSON or YAML: text into `domain.TaskFile`, or all of its faults at once.

Like the configuration it goes through the hardened reader and pydantic, whose models go no further than this room.
What only the surroundings can tell (backends and agents by name, directories) is looked at here too, so that the user
sees every fault in one report, each with file, line, column and field. Starts nothing and makes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from architect_parallel.config.layers import FaultList, place_of
from architect_parallel.config.task_common import (
    LARGEST_TASK_FILE_BYTES,
    Make,
    above_ceiling,
    canonical_keys,
    checked,
    defaults_of,
    document_of,
    is_path,
    maker,
    not_a_directory,
    read_text,
    require_tasks,
    section_faults,
    tasks_of,
    waited_for,
)
from architect_parallel.config.task_schema import DefaultsSection, TaskFileSection, TaskSection
from architect_parallel.config.validation import ValidationContext
from architect_parallel.config.yaml_source import Document, Fault, Faulty, KeyPath, Position, as_written, in_order
from architect_parallel.domain import Task, TaskFile, TaskText
from architect_parallel.errors import UsageError
from architect_parallel.scheduling.graph import cycles
from architect_parallel.text.quantities import quoted
from architect_parallel.text.sanitize import one_line
from architect_parallel.text.suggest import did_you_mean

SCHEMA_HINT = "architect config schema tasks"

STDIN = "stdin"
"""The name of a task file that was read from a pipe."""
_STDIN_HINT = f"{SCHEMA_HINT} (`architect parallel -` takes stdin as one task in words)"

_IS_FILE = re.compile(
    rb"\A[\s\xef\xbb\xbf]*(?:---\s+)?[\[{]|^(?:\xef\xbb\xbf)?[\"']?tasks[\"']?[^\S\n]*:(?=\s|$)", re.MULTILINE
)
_MAYBE_LIST = re.compile(rb"^[\s\xef\xbb\xbf]*(?:---\s)?[^\S\n]*(?:[\[{]|-\s)", re.MULTILINE)


def load_task_file(path: Path, around: ValidationContext) -> TaskFile:
    """The task file at `path`. A pipe will do: the user named it.

    Raises:
        UsageError: With every fault, or why it cannot be read.
    """
    return read_task_file(read_text(path, "the task file", SCHEMA_HINT), around)


def read_task_file(text: TaskText, around: ValidationContext) -> TaskFile:
    """The tasks in `text`: JSON when its name ends so or it begins like it, else YAML.

    Raises:
        UsageError: With every fault, each on a line of its own.
    """
    found = FaultList()
    try:
        document = _canonical(document_of(text))
        read, faults = checked(document, TaskFileSection, _meant)
        faults += [*document.faults, *_surrounding_faults(document, around)]
        if not faults:
            assert read is not None  # without a fault there is a model
            return _task_file(text.name, read, document.places)
        found.add(text.name, in_order(faults))
    except Faulty as error:
        found.add(text.name, error.faults)
    raise found.error("the task file", _STDIN_HINT if text.name == STDIN else SCHEMA_HINT)


def holds_tasks(data: bytes) -> bool:
    """Return whether text from a pipe is a task file.

    It is one when it begins with `{` or `[`, or when a line begins with `tasks:`, whatever else is wrong with it: an
    agent must not be given what was meant as a file. A list of mappings of tasks in YAML is one too.
    """
    if _IS_FILE.search(data[:LARGEST_TASK_FILE_BYTES]):
        return True
    if len(data) > LARGEST_TASK_FILE_BYTES or not _MAYBE_LIST.search(data):
        return False
    try:
        top = document_of(TaskText(name=STDIN, data=data)).data
    except Faulty:
        return False
    if isinstance(top, dict):
        return isinstance(top.get("tasks"), list)
    return (
        isinstance(top, list)
        and bool(top)
        and all(isinstance(each, dict) and not {"prompt", "task"}.isdisjoint(each) for each in top)
    )


def _canonical(document: Document) -> Document:
    """The document as a mapping, aliases under their own names."""
    places, faults, data = dict(document.places), list(document.faults), document.data
    if isinstance(data, list):
        places = {("tasks", *path): replace(place, path=("tasks", *place.path)) for path, place in places.items()}
        data = {"tasks": data}
    top = canonical_keys(require_tasks(data, places, faults), (), TaskFileSection.model_fields, places, faults)
    if isinstance(top.get("defaults"), dict):
        top["defaults"] = canonical_keys(top["defaults"], ("defaults",), DefaultsSection.model_fields, places, faults)
    if isinstance(top.get("tasks"), list):
        top["tasks"] = [
            canonical_keys(each, ("tasks", index), TaskSection.model_fields, places, faults)
            if isinstance(each, dict)
            else each
            for index, each in enumerate(top["tasks"])
        ]
    return Document(top, places, tuple(faults))


def _meant(path: KeyPath) -> str:
    key = str(path[-1])
    match path[:-1]:
        case ():
            return did_you_mean(key, TaskFileSection.model_fields) or did_you_mean(key, TaskSection.model_fields)
        case ("defaults",):
            return did_you_mean(key, DefaultsSection.model_fields)
        case _:
            return did_you_mean(key, TaskSection.model_fields)


def _surrounding_faults(document: Document, around: ValidationContext) -> Iterator[Fault]:
    """What is wrong beside the form, as far as the form lets it be seen: it is looked at whatever else is wrong."""
    data, fault = document.data, maker(document)
    yield from section_faults(data, around, fault)
    defaults, tasks = defaults_of(data), data.get("tasks")
    for index, each in enumerate(tasks if isinstance(tasks, list) else ()):
        if isinstance(each, dict) and {**defaults, **each}.get("backend") is None and not around.backend_given:
            path = ("tasks", index, "backend")
            yield Fault(place_of(document.places, path), f"{as_written(document.places, path)} is missing")
    yield from _name_faults(data, fault)
    if problem := above_ceiling(data.get("max_parallel"), around):
        yield fault(("max_parallel",), problem)
    output_dir = data.get("output_dir")
    if (
        isinstance(output_dir, str)
        and is_path(output_dir)
        and (blocked := not_a_directory(around.directory / output_dir)) is not None
    ):
        yield fault(("output_dir",), f"{quoted(output_dir)}: {quoted(os.path.basename(blocked))} is not a directory")


def _name_faults(data: Mapping[str, Any], fault: Make) -> Iterator[Fault]:
    """Names and ids are one space: `dependencies` may use either."""
    tasks = tasks_of(data)
    owners: dict[str, int] = {}
    for index, each in enumerate(tasks):
        for key in ("name", "id"):
            word = each.get(key)
            if not isinstance(word, str) or not word.strip():
                continue
            first = owners.setdefault(word, index)
            if first != index:
                yield fault(("tasks", index, key), f"{quoted(word)} stands for tasks[{first}] already")
    graph, unknown = waited_for(data, owners, fault)
    yield from unknown
    for index, wanted in graph.items():
        if index in wanted:
            own = tasks[index].get("dependencies")
            at = [n for n, word in enumerate(own) if isinstance(word, str) and owners.get(word) == index] if own else []
            yield fault(("tasks", index, "dependencies", *at[:1]), "a task cannot wait for itself")
            graph[index] = [each for each in wanted if each != index]
    for ring in cycles(graph):
        names = " → ".join(str(tasks[index].get("name") or tasks[index].get("id")) for index in ring)
        yield fault(
            ("tasks", ring[0], "dependencies"), f"dependency cycle: {one_line(names, 300)} (each waits for the next)"
        )


def _task_file(name: str, read: TaskFileSection, places: Mapping[KeyPath, Position]) -> TaskFile:
    defaults = {} if read.defaults is None else read.defaults.model_dump(exclude_unset=True)
    tasks = []
    for index, section in enumerate(read.tasks):
        where = f"{name}:{place_of(places, ('tasks', index))}: tasks[{index}]"
        tasks.append(_task(defaults | section.model_dump(exclude_unset=True), where))
    return TaskFile(
        name=name,
        tasks=tuple(tasks),
        max_parallel=read.max_parallel,
        fail_fast=read.fail_fast,
        output_dir=read.output_dir,
    )


def _task(values: dict[str, Any], place: str) -> Task:
    values = {key: value for key, value in values.items() if value is not None}
    renamed = {"timeout": "timeout_s", "budget": "budget_usd", "extra": "extra_argv"}
    return Task(**{renamed.get(key, key): value for key, value in values.items()}, place=place)


def require_no_fault(faults: Collection[str], name: str) -> None:
    """Raises one `UsageError` for faults of tasks that were found later (their places are in the lines)."""
    if faults:
        found = FaultList(lines=list(faults), in_text=True)
        raise found.error(f"the tasks of {name}", SCHEMA_HINT) if len(faults) > 1 else UsageError(next(iter(faults)))
