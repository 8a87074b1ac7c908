"""A task file, JSON or YAML: text into `domain.TaskFile`, or all of its faults at once.

Like the configuration it goes through the hardened reader and pydantic. Names of backends and agents, and directories,
are checked here too, so that the user sees every fault in one report, each with file, line, column and field. Starts
nothing and makes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from architect_parallel.config.canonical import Sections, canonical_sections, keys_of, meant_in
from architect_parallel.config.layers import FaultList, place_of
from architect_parallel.config.task_common import (
    LARGEST_TASK_FILE_BYTES,
    above_ceiling,
    dependency_graph,
    document_of,
    is_path,
    maker,
    named_tasks,
    not_a_directory,
    read_section,
    read_text,
    require_tasks,
    section_faults,
)
from architect_parallel.config.task_schema import DefaultsSection, TaskFileSection, TaskSection
from architect_parallel.config.validation import ValidationContext
from architect_parallel.config.yaml_source import Document, Fault, Faulty, KeyPath, Position
from architect_parallel.domain import Task, TaskFile, TaskText
from architect_parallel.errors import UsageError
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import did_you_mean

SCHEMA_HINT = "architect config schema tasks"

STDIN = "stdin"
"""The name of a task file that was read from a pipe."""
_STDIN_HINT = f"{SCHEMA_HINT} (`architect parallel -` takes stdin as one task in words)"

SECTIONS: Sections = {(): TaskFileSection, ("defaults",): DefaultsSection, ("tasks", "*"): TaskSection}

_IS_FILE = re.compile(
    rb"\A[\s\xef\xbb\xbf]*(?:---\s+)?[\[{]|^(?:\xef\xbb\xbf)?[\"']?tasks[\"']?[^\S\n]*:(?=\s|$)", re.MULTILINE
)
_MAYBE_LIST = re.compile(rb"^[\s\xef\xbb\xbf]*(?:---\s)?[^\S\n]*(?:[\[{]|-\s)", re.MULTILINE)


def load_task_file(path: Path, context: ValidationContext) -> TaskFile:
    """Load the task file at `path`, which may be a pipe.

    Raises:
        UsageError: With every fault, or why it cannot be read.
    """
    return read_task_file(read_text(path, "the task file", SCHEMA_HINT), context)


def read_task_file(text: TaskText, context: ValidationContext) -> TaskFile:
    """Read the tasks in `text`: as JSON when its name ends so or it begins like it, else as YAML.

    Raises:
        UsageError: With every fault, each on a line of its own.
    """
    section, document = read_section(
        text,
        TaskFileSection,
        "the task file",
        _STDIN_HINT if text.name == STDIN else SCHEMA_HINT,
        canonical=_canonical,
        meant=_meant,
        further=lambda document: _surrounding_faults(document, context),
    )
    return _task_file(text.name, section, document.places)


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
        and all(isinstance(item, dict) and not {"prompt", "task"}.isdisjoint(item) for item in top)
    )


def _canonical(document: Document) -> Document:
    """The document as a mapping, aliases under their own names."""
    places, faults, data = dict(document.places), list(document.faults), document.data
    if isinstance(data, list):
        places = {("tasks", *path): replace(place, path=("tasks", *place.path)) for path, place in places.items()}
        data = {"tasks": data}
    top = canonical_sections(require_tasks(data, places, faults), SECTIONS, places, faults)
    return Document(top, places, tuple(faults))


def _meant(path: KeyPath) -> str:
    inside_task = did_you_mean(str(path[-1]), keys_of(TaskSection)) if len(path) == 1 else ""
    return meant_in(SECTIONS)(path) or inside_task


def _surrounding_faults(document: Document, context: ValidationContext) -> Iterator[Fault]:
    """Yield the faults beyond the form, whatever else is wrong."""
    data, fault = document.data, maker(document)
    yield from section_faults(data, context, fault)
    owners, duplicates = named_tasks(data, fault)
    yield from duplicates
    yield from dependency_graph(data, owners, fault)[1]
    if problem := above_ceiling(data.get("max_parallel"), context):
        yield fault(("max_parallel",), problem)
    output_dir = data.get("output_dir")
    if (
        isinstance(output_dir, str)
        and is_path(output_dir)
        and (blocked := not_a_directory(context.directory / output_dir)) is not None
    ):
        yield fault(("output_dir",), f"{quoted(output_dir)}: {quoted(os.path.basename(blocked))} is not a directory")


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
    """Raise one `UsageError` for faults of tasks that were found later (their places are in the lines)."""
    if faults:
        fault_list = FaultList(lines=list(faults), in_text=True)
        raise (
            fault_list.error(f"the tasks of {name}", SCHEMA_HINT) if len(faults) > 1 else UsageError(next(iter(faults)))
        )
