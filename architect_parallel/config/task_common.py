"""What files with a list of tasks (task files, specs) have in common, on the way from text to data that can be checked.

Text becomes data, keys get their own names, and words are held against what is here. Nothing ends at the first fault.
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
from architect_parallel.config.task_schema import own_name
from architect_parallel.config.validation import ValidationContext
from architect_parallel.config.yaml_source import (
    Document,
    Fault,
    Faulty,
    KeyPath,
    Position,
    as_written,
    read_bytes,
    read_data,
)
from architect_parallel.config.yaml_source import require_size as require_bytes
from architect_parallel.domain import Isolation, TaskText
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import did_you_mean

LARGEST_TASK_FILE_BYTES = 16 * 1024**2
MOST_TEXT_FAULTS = 1000
MOST_TASKS = 10_000
"""Each is a branch, a worktree and money: more than that is data in the wrong place."""

Make = Callable[[KeyPath, str], Fault]
"""A fault at a path of the document."""
Model = TypeVar("Model", bound=Section)

_JSON_BEGINS = re.compile(r"\s*[\[{]")


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


def require_tasks(data: Any, places: Mapping[KeyPath, Position], faults: Collection[Fault]) -> dict[str, Any]:
    """`data`, when it is a mapping, and its list of tasks is none too long.

    Raises:
        Faulty: It is not; the `faults` that were found before come first.
    """
    if data is None:
        raise Faulty(*faults, Fault(None, "is empty: there is no task"))
    if not isinstance(data, dict):
        raise Faulty(*faults, Fault(Position(1, 1), "must hold a mapping with a list `tasks`"))
    if isinstance(data.get("tasks"), list) and len(data["tasks"]) > MOST_TASKS:
        what = f"tasks: holds {len(data['tasks'])} tasks, at most {MOST_TASKS} are allowed"
        raise Faulty(*faults, Fault(place_of(places, ("tasks",)), what))
    return data


def canonical_keys(
    data: Mapping[str, Any],
    path: KeyPath,
    known: Collection[str],
    places: dict[KeyPath, Position],
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
                    f"{as_written(places, (*path, key))} is another name of {own}, which is there too",
                )
            )
            continue
        if own in renamed:
            faults.append(
                Fault(
                    place_of(places, (*path, key)),
                    f"{as_written(places, (*path, key))} is another name of {own}, which is there under yet another",
                )
            )
            continue
        if own != key:
            places[(*path, own)] = place_of(places, (*path, key))
            _put_places((*path, key), (*path, own), value, places)
        renamed[own] = value
    return renamed


def _put_places(old: KeyPath, new: KeyPath, value: Any, places: dict[KeyPath, Position]) -> None:
    """What stands below a key stands where it did when the key goes by another name."""
    inner = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in inner:
        if (*old, step) in places:
            places[(*new, step)] = places[(*old, step)]
        _put_places((*old, step), (*new, step), value[step], places)


def checked(
    document: Document, model: type[Model], meant: Callable[[KeyPath], str]
) -> tuple[Model | None, list[Fault]]:
    """The document as its model, or what is wrong with its form.

    Args:
        meant: Offers a known key for the unknown one at a path, as the end of a message.
    """
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        return None, [fault_of(dict(each), document.data, document.places, meant) for each in found]


def maker(document: Document) -> Make:
    """Makes faults that name their place in `document`, and the path."""
    return lambda path, message: Fault(
        place_of(document.places, path), f"{as_written(document.places, path)}: {message}"
    )


def tasks_of(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its tasks; what is none stands there as one that says nothing."""
    tasks = data.get("tasks")
    return [each if isinstance(each, dict) else {} for each in tasks] if isinstance(tasks, list) else []


def defaults_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for tasks that do not say otherwise."""
    defaults = data.get("defaults")
    return defaults if isinstance(defaults, dict) else {}


def above_ceiling(most: object, around: ValidationContext) -> str | None:
    """What is wrong with `most` tasks at the same time; `None`: nothing, or the form tells of it."""
    if isinstance(most, int) and not isinstance(most, bool) and most > around.ceiling:
        return f"{quoted(most)} is more than workers_ceiling {around.ceiling} allows"
    return None


def section_faults(data: Mapping[str, Any], around: ValidationContext, fault: Make) -> Iterator[Fault]:
    """Names of backends and agents, and directories, that are not there: in the defaults and in each task."""
    defaults = defaults_of(data)
    yield from _section_faults(("defaults",), defaults, defaults, around, fault)
    for index, each in enumerate(tasks_of(data)):
        yield from _section_faults(("tasks", index), each, defaults, around, fault)


def _section_faults(
    path: KeyPath, section: Mapping[str, Any], defaults: Mapping[str, Any], around: ValidationContext, fault: Make
) -> Iterator[Fault]:
    for key, known in (("backend", around.backends), ("agent", around.agents)):
        name = section.get(key)
        if known is not None and isinstance(name, str) and name not in known:
            near = did_you_mean(name, known) or f"; known: {', '.join(sorted(known))}"
            yield fault((*path, key), f"unknown {key} {quoted(name)}{near}")
    workdir = section.get("workdir")
    if not isinstance(workdir, str) or not is_path(workdir):
        return
    directory = around.directory / workdir
    if not os.path.isdir(directory):
        what = "is not a directory" if os.path.lexists(directory) else "there is no such directory"
        yield fault((*path, "workdir"), f"{quoted(workdir)}: {what}")
    elif {**defaults, **section}.get("isolation") == Isolation.WORKTREE and not is_inside(directory, around.checkout):
        yield fault(
            (*path, "workdir"),
            f"{quoted(workdir)} is outside the repository, where there is no worktree; isolation: none runs in it",
        )


def waited_for(
    data: Mapping[str, Any], owners: Mapping[str, int], fault: Make
) -> tuple[dict[int, list[int]], list[Fault]]:
    """Which tasks each task waits for, by its own words or else those of the defaults, and the names nobody has.

    Args:
        owners: Name or id → index of the task.
    """

    def named(section: Mapping[str, Any], path: KeyPath) -> list[int] | None:
        words = section.get("dependencies")
        found: list[int] = []
        for position, word in enumerate(words if isinstance(words, list) else ()):
            if isinstance(word, str) and word in owners:
                found.append(owners[word])
            elif isinstance(word, str):
                what = f"no task is called {quoted(word)}{did_you_mean(word, owners)}"
                faults.append(fault((*path, "dependencies", position), what))
        return None if words is None else found

    faults: list[Fault] = []
    common = named(defaults_of(data), ("defaults",)) or []
    own = [named(each, ("tasks", index)) for index, each in enumerate(tasks_of(data))]
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
