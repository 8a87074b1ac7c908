"""Faults of a flow beyond its form: targets, outputs and placeholders.

They are looked for in the plain data, so that they are found whatever else is wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect_parallel.config.task_common import Make
from architect_parallel.config.yaml_source import Fault, KeyPath
from architect_parallel.flows.model import COMMANDS, CONTROL, Destination, Kind
from architect_parallel.flows.schema import destination
from architect_parallel.templates.scanner import scan, unreachable
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import did_you_mean

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_TARGETS = ("goto", "then", "else")
"""Arguments that name a state, or map texts to states."""
_NOT_FILLED = frozenset({*_TARGETS, "workflow", "tasks"})
"""Arguments without placeholders of their own."""


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a tool, as it is written: a state, or a task inside `parallel`."""

    path: KeyPath
    data: Mapping[str, Any]
    inside: bool = False
    """True for a task inside `parallel`."""

    @property
    def tool(self) -> str:
        return str(self.data["tool"])

    @property
    def arguments(self) -> Mapping[str, Any]:
        return _mapping(self.data.get("arguments"))

    @property
    def output(self) -> Destination | None:
        """Its output. `None` means that none is written, or none that can be read."""
        try:
            return destination(self.data.get("output"))
        except ValueError:
            return None

    @property
    def tasks(self) -> list[Use]:
        """The tasks of `parallel`."""
        tasks = self.arguments.get("tasks") if self.tool == "parallel" else None
        listed = tasks if isinstance(tasks, list) else []
        path = (*self.path, "arguments", "tasks")
        return [Use((*path, index), task, inside=True) for index, task in enumerate(listed)]


def states_of(data: Mapping[str, Any]) -> list[Use]:
    """The states of a flow."""
    return [Use(("states", name), state) for name, state in _mapping(data.get("states")).items()]


def uses_of(data: Mapping[str, Any]) -> Iterator[Use]:
    """Every use of a tool in a flow."""
    for state in states_of(data):
        yield from (state, *state.tasks)


def graph_faults(data: Mapping[str, Any], fault: Make) -> Iterator[Fault]:
    """Names of states that do not exist."""
    targets: list[tuple[KeyPath, object]] = [(("start_at",), data["start_at"])] if "start_at" in data else []
    for state in states_of(data):
        written = [((*state.path, key), state.data[key]) for key in ("next", "on_error") if key in state.data]
        below = (*state.path, "arguments")
        written += [((*below, key), state.arguments[key]) for key in _TARGETS if key in state.arguments]
        for path, value in written:
            is_mapping = isinstance(value, dict)
            targets += [((*path, key), name) for key, name in value.items()] if is_mapping else [(path, value)]
    names = _mapping(data.get("states"))
    for path, name in targets:
        if isinstance(name, str) and name not in names:
            yield fault(path, f"unknown state {quoted(name)}{did_you_mean(name, names)}")


def output_faults(data: Mapping[str, Any], directory: Path, fault: Make) -> Iterator[Fault]:
    """Outputs of tools that have none, outputs that overwrite each other, and isolation of what runs nothing.

    Args:
        directory: The directory in which the flow runs, absolute.
    """
    for use in uses_of(data):
        path, output = (*use.path, "output"), use.output
        if use.tool in CONTROL - {"ask-user", "sub-flow"} and "output" in use.data:
            yield fault(path, f"{use.tool} has no output of its own")
        elif use.tool in CONTROL and not use.inside and output is not None and output.kind is Kind.FILE:
            yield fault(path, f"the answer of {use.tool} goes to a variable: var(NAME)")
        if use.tool in CONTROL and "isolation" in use.data:
            yield fault((*use.path, "isolation"), f"{use.tool} runs nothing that could be isolated")
        owners: dict[str, int] = {}
        for index, task in enumerate(use.tasks):
            if task.output is None:
                continue
            first = owners.setdefault(_place_of(task.output, directory), index)
            if first != index:
                what = f"tasks[{first}] already writes to {task.output.kind}({task.output.name})"
                yield fault((*task.path, "output"), what)


def _place_of(output: Destination, directory: Path) -> str:
    """The same text for two outputs that go to one place. Placeholders are compared as they are written."""
    if output.kind is Kind.VAR or "{{" in output.name:
        return f"{output.kind}({output.name})"
    return os.path.realpath(directory / output.name)


def placeholder_faults(data: Mapping[str, Any], given: Collection[str], fault: Make) -> Iterator[Fault]:
    """Placeholders that name no variable, or that a shell cannot expand.

    Args:
        given: The variables that the caller of a sub-flow passes.
    """
    known = {*given, *_mapping(data.get("variables")), *_set_by_tasks(data)}
    for use in uses_of(data):
        path = (*use.path, "arguments")
        texts = [
            ((*path, key), text)
            for key, value in use.arguments.items()
            if key not in _NOT_FILLED
            for text in _texts(value)
        ]
        output = use.output
        if output is not None and output.kind is Kind.FILE:
            texts.append(((*use.path, "output"), output.name))
        for place, text in texts:
            yield from (fault(place, what) for what in _placeholder_faults(text, known))
        command = COMMANDS.get(use.tool)
        if command is not None:
            for text in _texts(use.arguments.get(command)):
                yield from (fault((*path, command), what) for what in unreachable(text))


def _placeholder_faults(text: str, known: Collection[str]) -> Iterator[str]:
    for item in scan(text):
        if re.search("[(){}]", item.argument) if item.function else not _NAME.fullmatch(item.text):
            yield f"{quoted(item.written)} is neither a variable nor file(PATH) nor path(PATH)"
        elif item.function is None and item.text not in known:
            yield f"unknown variable {quoted(item.text)}{did_you_mean(item.text, known)}"
        elif item.function is not None and not item.argument:
            yield f"{item.function}() needs a path"


def _set_by_tasks(data: Mapping[str, Any]) -> Iterator[str]:
    """Names of variables that a task sets."""
    for use in uses_of(data):
        if use.output is not None and use.output.kind is Kind.VAR:
            yield use.output.name
        if isinstance(use.arguments.get("as"), str):
            yield use.arguments["as"]


def _texts(value: object) -> Iterator[str]:
    """The texts in an argument."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
