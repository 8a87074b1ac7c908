"""A task file, JSON or YAML: text into `domain.TaskFile`, or all of its faults at once.

Like the configuration it goes through the hardened reader and pydantic, whose models go no further than this room.
What only the surroundings can tell (backends and agents by name, directories) is looked at here too, so that the user
sees every fault in one report, each with file, line, column and field. Starts nothing and makes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from architect_parallel.config.layers import FaultList, fault_of, place_of
from architect_parallel.config.places import is_inside
from architect_parallel.config.source import Document, Fault, Faulty, KeyPath, Place, dotted, read_bytes, read_data
from architect_parallel.config.source import require_size as require_bytes
from architect_parallel.config.task_schema import DefaultsSection, TaskFileSection, TaskSection, own_name
from architect_parallel.domain import Isolation, Task, TaskFile, TaskText
from architect_parallel.errors import UsageError
from architect_parallel.planning.graph import cycles
from architect_parallel.planning.plain_text import one_line
from architect_parallel.planning.quantities import shown
from architect_parallel.planning.suggest import did_you_mean

LARGEST_TASK_FILE_BYTES = 16 * 1024**2
MOST_TEXT_FAULTS = 1000
MOST_TASKS = 10_000
"""Each is a branch, a worktree and money: more than that is data in the wrong place."""
SCHEMA_HINT = "architect config schema tasks"

Make = Callable[[KeyPath, str], Fault]
"""A fault at a path of the document."""

_JSON_BEGINS = re.compile(r"\s*[\[{]")
_JSON_TASKS = re.compile(rb'[\s\xef\xbb\xbf]*(\[\s*)?\{\s*"(tasks|prompt|task|backend|defaults|name)"\s*:')
_MAYBE_TASKS = re.compile(rb"^[\s\xef\xbb\xbf]*(?:---\s)?[^\S\n]*(?:[\[{]|-\s)|^[\"']?tasks[\"']?\s*:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a task file's words are held against."""

    directory: Path
    """Where its relative paths begin; absolute."""
    checkout: Path | None
    """Top of the checkout, resolved; `None`: there is none."""
    backends: Collection[str]
    agents: Collection[str] | None
    """`None`: any name will do."""
    ceiling: int
    """The most `max_parallel` may say."""
    backend_given: bool = False
    """A flag names the backend, so that a task need not."""
    branches: Callable[[], Collection[str]] = tuple
    """Short names of the local branches; asked for only where it matters."""
    file_fault: Callable[[str], str | None] = lambda path: None
    """What is wrong with a `file(…)` by its path as written; `None`: nothing, or it is not known."""


def load_task_file(path: Path, around: Surroundings) -> TaskFile:
    """The task file at `path`. A pipe will do: the user named it.

    Raises:
        UsageError: With every fault, or why it cannot be read.
    """
    return read_task_file(read_text(path, "the task file", SCHEMA_HINT), around)


def read_text(path: Path, what: str, hint: str) -> TaskText:
    """The text of the file at `path`; `what` it is to be, and a `hint`, are for the error.

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


def read_task_file(text: TaskText, around: Surroundings) -> TaskFile:
    """The tasks in `text`: JSON when its name ends so or it begins like it, else YAML.

    Raises:
        UsageError: With every fault, each on a line of its own.
    """
    found = FaultList()
    try:
        document = _canonical(document_of(text))
        checked, faults = _checked(document)
        faults += [*document.faults, *_surrounding_faults(document, around)]
        if not faults:
            assert checked is not None  # without a fault there is a model
            return _task_file(text.name, checked, document.places)
        found.add(text.name, sorted(dict.fromkeys(faults), key=lambda fault: fault.place or Place(0, 0)))
    except Faulty as error:
        found.add(text.name, error.faults)
    raise found.error("the task file", SCHEMA_HINT)


def holds_tasks(data: bytes) -> bool:
    """Whether text from a pipe is a task file: a mapping with a list `tasks`, or a list of mappings of tasks.

    Text that begins as JSON and names tasks or prompts counts too when it is broken: an agent must not be given what
    was meant as a file.
    """
    if not _MAYBE_TASKS.search(data[:LARGEST_TASK_FILE_BYTES]):
        return False
    if len(data) > LARGEST_TASK_FILE_BYTES:
        return _names_tasks(data)
    try:
        top = document_of(TaskText(name="stdin", data=data)).data
    except Faulty:
        return _names_tasks(data)
    if isinstance(top, dict):
        return isinstance(top.get("tasks"), list)
    return (
        isinstance(top, list)
        and bool(top)
        and all(isinstance(each, dict) and not {"prompt", "task"}.isdisjoint(each) for each in top)
    )


def _names_tasks(data: bytes) -> bool:
    """Whether text that cannot be read was meant as JSON with tasks in it."""
    return _JSON_TASKS.match(data) is not None


def document_of(text: TaskText) -> Document:
    """`text` as data: JSON when its name ends so or it begins like it, else YAML.

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


def _canonical(document: Document) -> Document:
    """The document as a mapping, aliases under their own names."""
    places, faults, data = dict(document.places), list(document.faults), document.data
    if isinstance(data, list):
        places = {("tasks", *path): place for path, place in places.items()}
        data = {"tasks": data}
    if data is None:
        raise Faulty(*faults, Fault(None, "is empty: there is no task"))
    if not isinstance(data, dict):
        raise Faulty(*faults, Fault(Place(1, 1), "must hold a mapping with a list `tasks`"))
    if isinstance(data.get("tasks"), list) and len(data["tasks"]) > MOST_TASKS:
        place = place_of(places, ("tasks",))
        raise Faulty(
            *faults, Fault(place, f"tasks: holds {len(data['tasks'])} tasks, at most {MOST_TASKS} are allowed")
        )
    top = canonical_keys(data, (), TaskFileSection.model_fields, places, faults)
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


def canonical_keys(
    data: Mapping[str, Any],
    path: KeyPath,
    known: Collection[str],
    places: dict[KeyPath, Place],
    faults: list[Fault],
    name_of: Callable[[str, Collection[str]], str] = own_name,
) -> dict[str, Any]:
    """`data` under its own names; `places` and `faults` are added to."""
    renamed: dict[str, Any] = {}
    for key, value in data.items():
        own = name_of(key, known)
        if own != key and own in data:
            faults.append(
                Fault(
                    place_of(places, (*path, key)),
                    f"{dotted((*path, key))} is another name of {own}, which is there too",
                )
            )
            continue
        if own in renamed:
            faults.append(
                Fault(
                    place_of(places, (*path, key)),
                    f"{dotted((*path, key))} is another name of {own}, which stands there under yet another",
                )
            )
            continue
        if own != key:
            places[(*path, own)] = place_of(places, (*path, key))
            _put_places((*path, key), (*path, own), value, places)
        renamed[own] = value
    return renamed


def _put_places(old: KeyPath, new: KeyPath, value: Any, places: dict[KeyPath, Place]) -> None:
    """What stands below a key stands where it did when the key goes by another name."""
    inner = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in inner:
        if (*old, step) in places:
            places[(*new, step)] = places[(*old, step)]
        _put_places((*old, step), (*new, step), value[step], places)


def _checked(document: Document) -> tuple[TaskFileSection | None, list[Fault]]:
    try:
        return TaskFileSection.model_validate(document.data), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        return None, [fault_of(dict(each), document.data, document.places, _meant) for each in found]


def _meant(path: KeyPath) -> str:
    key = str(path[-1])
    match path[:-1]:
        case ():
            return did_you_mean(key, TaskFileSection.model_fields) or did_you_mean(key, TaskSection.model_fields)
        case ("defaults",):
            return did_you_mean(key, DefaultsSection.model_fields)
        case _:
            return did_you_mean(key, TaskSection.model_fields)


def _surrounding_faults(document: Document, around: Surroundings) -> Iterator[Fault]:
    """What is wrong beside the form, as far as the form lets it be seen: it is looked at whatever else is wrong."""
    data, places = document.data, document.places

    def fault(path: KeyPath, message: str) -> Fault:
        return Fault(place_of(places, path), f"{dotted(path)}: {message}")

    tasks = data.get("tasks")
    listed = [each if isinstance(each, dict) else {} for each in tasks] if isinstance(tasks, list) else []
    written = data.get("defaults")
    defaults: dict[str, Any] = written if isinstance(written, dict) else {}
    sections: list[tuple[KeyPath, dict[str, Any]]] = [(("defaults",), defaults)]
    sections += [(("tasks", index), each) for index, each in enumerate(listed)]
    for path, section in sections:
        yield from section_faults(path, section, defaults, around, fault)
    for index, each in enumerate(tasks if isinstance(tasks, list) else ()):
        if isinstance(each, dict) and {**defaults, **each}.get("backend") is None and not around.backend_given:
            path = ("tasks", index, "backend")
            yield Fault(place_of(places, path), f"{dotted(path)} is missing")
    yield from _name_faults(listed, defaults, fault)
    maximum = data.get("max_parallel")
    if isinstance(maximum, int) and not isinstance(maximum, bool) and maximum > around.ceiling:
        yield fault(("max_parallel",), f"{shown(maximum)} is more than workers_ceiling {around.ceiling} allows")
    output_dir = data.get("output_dir")
    if (
        isinstance(output_dir, str)
        and is_path(output_dir)
        and (blocked := not_a_directory(around.directory / output_dir)) is not None
    ):
        yield fault(("output_dir",), f"{shown(output_dir)}: {shown(os.path.basename(blocked))} is not a directory")


def section_faults(
    path: KeyPath, section: Mapping[str, Any], defaults: Mapping[str, Any], around: Surroundings, fault: Make
) -> Iterator[Fault]:
    """Names of backends and agents, and directories, that are not there."""
    for key, known in (("backend", around.backends), ("agent", around.agents)):
        name = section.get(key)
        if known is not None and isinstance(name, str) and name not in known:
            near = did_you_mean(name, known) or f"; known: {', '.join(sorted(known))}"
            yield fault((*path, key), f"unknown {key} {shown(name)}{near}")
    workdir = section.get("workdir")
    if not isinstance(workdir, str) or not is_path(workdir):
        return
    directory = around.directory / workdir
    if not os.path.isdir(directory):
        what = "is not a directory" if os.path.lexists(directory) else "there is no such directory"
        yield fault((*path, "workdir"), f"{shown(workdir)}: {what}")
    elif {**defaults, **section}.get("isolation") == Isolation.WORKTREE and not is_inside(directory, around.checkout):
        yield fault(
            (*path, "workdir"),
            f"{shown(workdir)} is outside the repository, where there is no worktree; isolation: none runs in it",
        )


def _name_faults(tasks: list[dict[str, Any]], defaults: Mapping[str, Any], fault: Make) -> Iterator[Fault]:
    """Names and ids are one space: `dependencies` may use either."""
    owners: dict[str, int] = {}
    for index, each in enumerate(tasks):
        for key in ("name", "id"):
            word = each.get(key)
            if not isinstance(word, str) or not word.strip():
                continue
            first = owners.setdefault(word, index)
            if first != index:
                yield fault(("tasks", index, key), f"{shown(word)} stands for tasks[{first}] already")
    graph, unknown = waited_for(tasks, defaults, owners, fault)
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


def waited_for(
    tasks: Sequence[Mapping[str, Any]], defaults: object, owners: Mapping[str, int], fault: Make
) -> tuple[dict[int, list[int]], list[Fault]]:
    """Which tasks each task waits for, by its own words or else those of `defaults`, and the names nobody has.

    Args:
        owners: Name or id → index of the task.
    """

    def named(section: object, path: KeyPath) -> list[int] | None:
        words = section.get("dependencies") if isinstance(section, dict) else None
        found: list[int] = []
        for position, word in enumerate(words if isinstance(words, list) else ()):
            if isinstance(word, str) and word in owners:
                found.append(owners[word])
            elif isinstance(word, str):
                what = f"no task is called {shown(word)}{did_you_mean(word, owners)}"
                faults.append(fault((*path, "dependencies", position), what))
        return None if words is None else found

    faults: list[Fault] = []
    common = named(defaults, ("defaults",)) or []
    own = [named(each, ("tasks", index)) for index, each in enumerate(tasks)]
    return {index: list(common) if each is None else each for index, each in enumerate(own)}, faults


def is_path(text: str) -> bool:
    """Whether `text` can be a path at all."""
    return bool(text.strip()) and "\0" not in text


def not_a_directory(path: Path) -> str | None:
    """What stands where a directory is or would be made; `None`: nothing does."""
    for each in (path, *path.parents):
        if os.path.isdir(each):
            return None
        if os.path.lexists(each):
            return str(each)
    return None


def _task_file(name: str, checked: TaskFileSection, places: Mapping[KeyPath, Place]) -> TaskFile:
    defaults = {} if checked.defaults is None else checked.defaults.model_dump(exclude_unset=True)
    tasks = []
    for index, section in enumerate(checked.tasks):
        where = f"{name}:{place_of(places, ('tasks', index))}: tasks[{index}]"
        tasks.append(_task(defaults | section.model_dump(exclude_unset=True), where))
    return TaskFile(
        name=name,
        tasks=tuple(tasks),
        max_parallel=checked.max_parallel,
        fail_fast=checked.fail_fast,
        output_dir=checked.output_dir,
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
