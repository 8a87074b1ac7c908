"""A flow file or a chain (YAML or JSON): text into `model.Flow`, or all of its faults at once.

It is read as task files and specs are: hardened reader, keys under their own names, pydantic. Then the faults beyond
the form are looked for, whatever else is wrong (`faults`), and the sub-flows are loaded. Starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from architect_parallel.config.canonical import canonical_keys, keys_of
from architect_parallel.config.fields import Section
from architect_parallel.config.layers import FaultList
from architect_parallel.config.task_common import Make, checked, maker
from architect_parallel.config.validation import ValidationContext
from architect_parallel.config.yaml_source import (
    Document,
    Fault,
    Faulty,
    KeyPath,
    Position,
    in_order,
    read_bytes,
    read_data,
)
from architect_parallel.flows.chain import as_flow, is_chain
from architect_parallel.flows.faults import graph_faults, output_faults, placeholder_faults, uses_of
from architect_parallel.flows.model import CONTROL, INTERACTIVE, Flow, FlowState, FlowTask
from architect_parallel.flows.schema import (
    ARGUMENTS,
    AgentArguments,
    FlowSection,
    FlowTaskSection,
    ParallelArguments,
    StateSection,
    own_key,
)
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import did_you_mean

HINT = "architect flow --help"

_REPLACEMENT: Mapping[str, Any] = {"tool": "bash", "arguments": {"command": "-"}}
"""Takes the place of a tool that cannot be used, so that its arguments are not checked."""


def load_flow(path: Path, context: ValidationContext) -> Flow:
    """The flow at `path` with its sub-flows.

    Raises:
        UsageError: With every fault of all these files.
    """
    loader = _Loader(context)
    flow = loader.load(path, above=(), given=frozenset())
    if loader.faults.lines or flow is None:
        raise loader.faults.error("the flow", HINT)
    return flow


@dataclass(slots=True)
class _Loader:
    """Loads flows with their sub-flows and collects the faults of all files."""

    context: ValidationContext
    faults: FaultList = field(default_factory=FaultList)
    loaded: dict[tuple[str, frozenset[str]], Flow | None] = field(default_factory=dict)
    """Flows by path and the variables that their caller passes: each is read once. `None` means faulty."""

    def load(self, path: Path, *, above: tuple[str, ...], given: frozenset[str]) -> Flow | None:
        """The flow at `path`. `None` means that it has faults.

        Args:
            above: Real paths of the flows that lead to it.
            given: The variables that its caller passes.
        """
        key = (os.path.join(os.path.realpath(path.parent), path.name), given)
        if key not in self.loaded:
            self.loaded[key] = self._read(path, (*above, os.path.realpath(path)), given)
        return self.loaded[key]

    def _read(self, path: Path, above: tuple[str, ...], given: frozenset[str]) -> Flow | None:
        try:
            document = _canonical(_document(path), {"bash", *CONTROL, *self.context.backends})
        except Faulty as error:
            self.faults.add(str(path), error.faults)
            return None
        data, fault = document.data, maker(document)
        section, faults = checked(document, FlowSection, lambda key: did_you_mean(str(key[-1]), _known(data, key[:-1])))
        faults += document.faults
        faults += graph_faults(data, fault)
        faults += output_faults(data, self.context.directory, fault)
        faults += placeholder_faults(data, given, fault)
        flows: dict[str, Flow] = {}
        faults += self._sub_flow_faults(data, path, above, flows, fault)
        self.faults.add(str(path), in_order(faults))
        return None if section is None or faults else _flow(section, path.stem, flows)

    def _sub_flow_faults(
        self, data: Mapping[str, Any], path: Path, above: tuple[str, ...], flows: dict[str, Flow], fault: Make
    ) -> Iterator[Fault]:
        """Load the sub-flows into `flows`, and yield the faults of their calls."""
        for use in uses_of(data):
            name = use.arguments.get("workflow") if use.tool == "sub-flow" else None
            if not isinstance(name, str) or not name.strip():
                continue
            place = (*use.path, "arguments", "workflow")
            file = self._find(name, beside=path)
            if file is None:
                yield fault(place, f"there is no flow {quoted(name)}")
                continue
            if os.path.realpath(file) in above:
                chain = " → ".join(Path(item).name for item in (*above, os.path.realpath(file)))
                yield fault(place, f"a flow cannot run itself: {chain}")
                continue
            # Each call loads it: the next one may pass other variables.
            variables = use.arguments.get("variables")
            flow = self.load(file, above=above, given=frozenset(variables if isinstance(variables, dict) else ()))
            if flow is None:
                continue
            flows[name] = flow
            state = _interactive_state(flow, set()) if use.inside else None
            if state is not None:
                what = f"its state {quoted(state.name)} is {state.task.tool}, which is not allowed inside parallel"
                yield fault(place, what)

    def _find(self, name: str, beside: Path) -> Path | None:
        """The file of a sub-flow: a path from the directory in which the flow runs, or a file next to this one."""
        if "\0" in name:
            return None
        others = [beside.parent / f"{name}{suffix}" for suffix in (".yaml", ".yml", ".json")]
        return next((path for path in (self.context.directory / name, *others) if path.is_file()), None)


def _document(path: Path) -> Document:
    """The file as the document of a flow. A chain becomes one. Raises `Faulty`."""
    data = read_bytes(path)
    if data is None:
        raise Faulty(Fault(None, "there is no such file"))
    document = read_data(data, as_json=path.suffix == ".json")
    if not isinstance(document.data, dict) or not document.data:
        raise Faulty(*document.faults, Fault(Position(1, 1), "must hold a mapping of states"))
    if is_chain(document.data):
        return as_flow(document)
    if "states" in document.data:
        return document
    places = {("states", *path): place for path, place in document.places.items()}
    return Document({"states": document.data}, places, document.faults)


def _canonical(document: Document, tools: Collection[str]) -> Document:
    """The document with its keys under their own names, without keys that hold nothing, and without tools that cannot
    be used."""
    places, faults = dict(document.places), list(document.faults)
    fault = maker(Document(document.data, places))

    def named(value: Mapping[str, Any], path: KeyPath, model: type[Section]) -> dict[str, Any]:
        written = {key: entry for key, entry in value.items() if entry is not None}
        return canonical_keys(written, path, keys_of(model), places, faults, own_key)

    def use(value: Any, path: KeyPath, *, inside: bool = False) -> dict[str, Any]:
        if not isinstance(value, dict):
            faults.append(fault(path, f"a {'task' if inside else 'state'} must hold a mapping with its tool"))
            return dict(_REPLACEMENT)
        keys = named(value, path, FlowTaskSection if inside else StateSection)
        problem = _tool_problem(keys.get("tool"), tools, inside=inside)
        if problem is not None:
            faults.append(fault((*path, "tool"), problem))
            return {**keys, **_REPLACEMENT}
        arguments, below = keys.get("arguments", {}), (*path, "arguments")
        if isinstance(arguments, dict):
            arguments = named(arguments, below, ARGUMENTS.get(keys["tool"], AgentArguments))
            tasks = arguments.get("tasks")
            if keys["tool"] == "parallel" and isinstance(tasks, list):
                numbered = enumerate(tasks)
                arguments["tasks"] = [use(task, (*below, "tasks", index), inside=True) for index, task in numbered]
        return {**keys, "arguments": arguments}

    data = named(document.data, (), FlowSection)
    if isinstance(data.get("states"), dict):
        data["states"] = {name: use(state, ("states", name)) for name, state in data["states"].items()}
    return Document(data, places, tuple(faults))


def _tool_problem(tool: object, tools: Collection[str], *, inside: bool) -> str | None:
    if tool is None:
        return "is missing"
    if not isinstance(tool, str) or tool not in tools:
        return f"unknown tool {quoted(tool)}{did_you_mean(str(tool), tools)}"
    if inside and tool in CONTROL - {"sub-flow"}:
        what = "asks a person" if tool in INTERACTIVE else "is not a task"
        return f"{tool} {what} and is not allowed inside parallel"
    return None


def _known(data: Mapping[str, Any], path: KeyPath) -> list[str]:
    """The keys that the mapping at `path` may have."""
    owner: Any = data
    for step in path[:-1]:
        owner = owner[step]
    match path[2:]:
        case () | ("arguments", "tasks", _):
            return keys_of(FlowSection if not path else FlowTaskSection if path[2:] else StateSection)
        case _:
            return keys_of(ARGUMENTS.get(owner["tool"], AgentArguments))


def _flow(section: FlowSection, stem: str, flows: Mapping[str, Flow]) -> Flow:
    return Flow(
        name=section.name or stem,
        start_at=section.start_at or next(iter(section.states)),
        states={
            name: FlowState(name=name, task=_task(state), next=state.next, on_error=state.on_error)
            for name, state in section.states.items()
        },
        variables=section.variables,
        max_transitions=section.max_transitions,
        flows=flows,
    )


def _task(section: FlowTaskSection[Any]) -> FlowTask:
    arguments = section.arguments
    tasks = arguments.tasks if isinstance(arguments, ParallelArguments) else ()
    return FlowTask(
        tool=section.tool,
        arguments=arguments.model_dump(by_alias=True, exclude_unset=True, exclude_none=True, exclude={"tasks"}),
        output=section.output,
        isolation=section.isolation,
        tasks=tuple(map(_task, tasks)),
    )


def _interactive_state(flow: Flow, seen: set[int]) -> FlowState | None:
    """The first state of a flow or of its sub-flows that waits for a person."""
    if id(flow) in seen:
        return None
    seen.add(id(flow))
    asking = (state for state in flow.states.values() if state.task.tool in INTERACTIVE)
    inner = (_interactive_state(item, seen) for item in flow.flows.values())
    return next(asking, None) or next(filter(None, inner), None)
