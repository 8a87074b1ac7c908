"""A flow file (YAML or JSON): text into `planning.flow.Flow`, or all of its faults at once.

Every fault names file, line, state and key. What can be known before the start is: that every state, variable,
sub-flow and tool which is named is there, that nothing interactive stands inside `parallel`, that no two tasks of
one `parallel` write to one place, and that no sub-flow comes back to itself. Starts nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from architect_parallel.config.layers import FaultList, place_of
from architect_parallel.config.task_schema import snake_name
from architect_parallel.config.yaml_source import (
    Document,
    Fault,
    Faulty,
    KeyPath,
    Position,
    dotted,
    in_order,
    read_bytes,
    read_data,
)
from architect_parallel.domain import ApprovalMode, Isolation, SandboxMode
from architect_parallel.flows.chain import as_flow, is_chain
from architect_parallel.flows.machine import (
    COMMANDS,
    CONDITIONS,
    CONTROL,
    INTERACTIVE,
    MAX_TRANSITIONS,
    OTHERWISE,
    Destination,
    Flow,
    FlowState,
    FlowTask,
    Kind,
)
from architect_parallel.templates.scanner import scan, unreachable
from architect_parallel.text.quantities import quoted, read_count, read_duration, read_usd
from architect_parallel.text.suggest import did_you_mean

HINT = "architect flow --help"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_OUTPUT = re.compile(r"(var|file)\(\s*(.+?)\s*\)")
_CODES = frozenset(map(str, range(1, 256)))
_TOP = ("name", "start_at", "variables", "states", "max_transitions")
_STATE = ("tool", "arguments", "output", "next", "on_error", "isolation")
_TASK = ("tool", "arguments", "output", "isolation")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("must be text")
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    if any("\ud800" <= each <= "\udfff" for each in value):
        raise ValueError("must not hold half of a character")
    return value


def _filled_text(value: Any) -> str:
    if not _text(value).strip():
        raise ValueError("must not be empty")
    return _text(value)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("must be a list of texts")
    return [_text(each) for each in value]


def _items(value: Any) -> str | list[str]:
    return _texts(value) if isinstance(value, list) else _text(value)


def _variable(value: Any) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError("must be a name of letters, digits, _ and -, not beginning with a digit")
    return value


def _written(value: Any) -> str | int | float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a number")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must hold a mapping of keys to values")
    return value


def _one_of(kind: Any) -> Callable[[Any], str]:
    words = [each.value for each in kind]

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return str(value)

    return read


_AGENT: dict[str, Callable[[Any], Any]] = {
    "prompt": _filled_text,
    "model": _filled_text,
    "agent": _filled_text,
    "system_prompt": _text,
    "approval_mode": _one_of(ApprovalMode),
    "sandbox_mode": _one_of(SandboxMode),
    "timeout": lambda value: read_duration(_written(value)),
    "budget": lambda value: read_usd(_written(value)),
    "max_turns": lambda value: read_count(_written(value)),
    "cwd": _filled_text,
    "extra": _texts,
}


_STATES = frozenset({"goto", "then", "else"})
"""Arguments that name a state, or a mapping of texts to states."""

ARGUMENTS: Mapping[str, tuple[Mapping[str, Callable[[Any], Any]], frozenset[str]]] = {
    "bash": (
        {"command": _filled_text, "timeout": _AGENT["timeout"], "cwd": _filled_text},
        frozenset({"command"}),
    ),
    "parallel": ({"tasks": list, "max_parallel": _AGENT["max_turns"]}, frozenset({"tasks"})),
    "switch": ({"value": _text, "goto": _mapping}, frozenset({"value", "goto"})),
    "for-each": ({"items": _items, "as": _variable, "goto": _filled_text}, frozenset({"items", "as", "goto"})),
    "sub-flow": ({"workflow": _filled_text, "variables": _mapping}, frozenset({"workflow"})),
    "ask-user": ({"question": _filled_text, "choices": _texts, "default": _text}, frozenset({"question"})),
    "pause": ({"seconds": _AGENT["timeout"], "message": _text}, frozenset()),
    **{
        name: (
            {"left": _text, "right": _text, "then": _filled_text, "else": _filled_text},
            frozenset({"left", "then"} if name == "if-empty" else {"left", "right", "then"}),
        )
        for name in CONDITIONS
    },
}
"""Tool → its arguments with their readers, and those that must be there. Every backend takes `_AGENT`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowContext:
    """What a flow's words are held against."""

    directory: Path
    """Where its paths begin: the one the flow is run in; absolute."""
    backends: Collection[str]


def load_flow(path: Path, around: FlowContext) -> Flow:
    """The flow at `path` with its sub-flows.

    Raises:
        UsageError: With every fault of all these files.
    """
    faults = FaultList()
    flow = _load(path, around, faults, {}, above=(), given=frozenset())
    if faults.lines or flow is None:
        raise faults.error("the flow", HINT)
    return flow


Loaded = dict[tuple[str, frozenset[str]], Flow | None]
"""Files that were read, with what their callers pass, so that each is read and told of once; `None`: with faults."""


def _load(
    path: Path, around: FlowContext, faults: FaultList, loaded: Loaded, *, above: tuple[str, ...], given: frozenset[str]
) -> Flow | None:
    key = (os.path.join(os.path.realpath(path.parent), path.name), given)
    if key not in loaded:
        loaded[key] = _read(path, around, faults, loaded, above=above, given=given)
    return loaded[key]


def _read(
    path: Path, around: FlowContext, faults: FaultList, loaded: Loaded, *, above: tuple[str, ...], given: frozenset[str]
) -> Flow | None:
    try:
        data = read_bytes(path)
        if data is None:
            raise Faulty(Fault(None, "there is no such file"))
        document = read_data(data, as_json=path.suffix == ".json")
        if not isinstance(document.data, dict) or not document.data:
            raise Faulty(*document.faults, Fault(Position(1, 1), "must hold a mapping of states"))
        if is_chain(document.data):
            document = as_flow(document)
            if document.faults:
                raise Faulty(*document.faults)
    except Faulty as error:
        faults.add(str(path), error.faults)
        return None
    reading = _Reading(path, document, around, faults, loaded, (*above, os.path.realpath(path)), given)
    flow = reading.flow()
    found = in_order([*document.faults, *reading.found])
    faults.add(str(path), found)
    return flow if not found else None


@dataclass(slots=True)
class _Reading:
    """One file on its way to a flow."""

    path: Path
    document: Document
    around: FlowContext
    faults: FaultList
    loaded: Loaded
    above: tuple[str, ...]
    """Real paths of the flows that lead here, this one last."""
    given: frozenset[str]
    """Variables its caller passes."""
    found: list[Fault] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    states: Mapping[str, Any] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)

    def flow(self) -> Flow:
        data = self.document.data
        full = "states" in data
        top = self._keys((), data, _TOP) if full else {"states": data}
        at: KeyPath = ("states",) if full else ()
        states = top.get("states")
        if not isinstance(states, dict) or not states:
            self._fault(at, "states must hold a mapping of at least one state")
            states = {}
        self.states = states
        variables = self._variables(top.get("variables"))
        self.names = {*variables, *self.given, *self._set_by_states()}
        read = {name: self._state(name, state, (*at, name)) for name, state in states.items()}
        start = top.get("start_at", next(iter(states), ""))
        if "start_at" in top:
            self._target(("start-at",), start)
        limit = self._read(("max-transitions",), top.get("max_transitions", MAX_TRANSITIONS), _AGENT["max_turns"])
        return Flow(
            name=self._read(("name",), top.get("name", self.path.stem), _filled_text) or "",
            start_at=str(start),
            states=read,
            variables=variables,
            max_transitions=limit or MAX_TRANSITIONS,
            flows=self.flows,
        )

    def _variables(self, written: Any) -> dict[str, str]:
        if written is None:
            return {}
        if not isinstance(written, dict):
            self._fault(("variables",), "must hold a mapping of names to texts")
            return {}
        for name in written:
            self._read(("variables", name), name, _variable)
        read = {name: self._read(("variables", name), value, _text) for name, value in written.items()}
        return {name: value or "" for name, value in read.items()}

    def _set_by_states(self) -> Iterator[str]:
        """Names that some state gives a value."""
        for state in self.states.values():
            if not isinstance(state, dict):
                continue
            arguments = state.get("arguments")
            arguments = arguments if isinstance(arguments, dict) else {}
            inside = arguments.get("tasks")
            for task in (state, *(inside if isinstance(inside, list) else ())):
                output = task.get("output") if isinstance(task, dict) else None
                found = _OUTPUT.fullmatch(output) if isinstance(output, str) else None
                if found and found[1] == "var":
                    yield found[2]
            if isinstance(arguments.get("as"), str):
                yield arguments["as"]

    def _state(self, name: str, written: Any, at: KeyPath) -> FlowState:
        if not name.strip() or not name.isprintable():
            self._fault(at, f"{quoted(name)} is no name of a state: it must be text that can be shown")
        if not isinstance(written, dict):
            self._fault(at, "a state must hold a mapping with its tool")
            written = {}
        keys = self._keys(at, written, _STATE)
        task = self._task(keys, at)
        if "next" in keys:
            self._target((*at, "next"), keys["next"])
        return FlowState(
            name=name,
            task=task,
            next=keys.get("next") if isinstance(keys.get("next"), str) else None,
            on_error=self._on_error(keys.get("on_error"), (*at, "on-error")),
        )

    def _on_error(self, written: Any, at: KeyPath) -> dict[str, str]:
        if written is None:
            return {}
        if not isinstance(written, dict):
            self._fault(at, "must hold a mapping of exit codes to states")
            return {}
        for code, state in written.items():
            if code != OTHERWISE and code not in _CODES:
                self._fault((*at, code), f"{quoted(code)} is neither an exit code from 1 to 255 nor _")
            self._target((*at, code), state)
        return {code: str(state) for code, state in written.items()}

    def _task(self, keys: Mapping[str, Any], at: KeyPath, *, inside: bool = False) -> FlowTask:
        tool = keys.get("tool")
        written = keys.get("arguments", {})
        tools = {"bash", *CONTROL, *self.around.backends}
        if not isinstance(tool, str) or tool not in tools:
            what = "tool is missing" if tool is None else f"unknown tool {quoted(tool)}{did_you_mean(str(tool), tools)}"
            self._fault((*at, "tool"), what)
            return FlowTask(tool="bash", arguments={})
        if inside and tool in CONTROL - {"sub-flow"}:
            why = "asks somebody" if tool in INTERACTIVE else "is no task"
            self._fault((*at, "tool"), f"{tool} {why} and cannot stand inside parallel")
            return FlowTask(tool="bash", arguments={})
        if not isinstance(written, dict):
            self._fault((*at, "arguments"), "must hold a mapping")
            written = {}
        arguments = self._arguments(tool, written, (*at, "arguments"))
        if inside and tool == "sub-flow" and arguments.get("workflow") in self.flows:
            asking = _asks(self.flows[arguments["workflow"]], set())
            if asking is not None:
                text = f"its state {quoted(asking.name)} is {asking.task.tool} and cannot stand inside parallel"
                self._fault((*at, "arguments", "workflow"), text)
        isolation = keys.get("isolation")
        if isolation is not None:
            self._read((*at, "isolation"), isolation, _one_of(Isolation))
            if tool in CONTROL:
                self._fault((*at, "isolation"), f"{tool} runs nothing that could be isolated")
        tasks: tuple[FlowTask, ...] = ()
        if tool == "parallel":
            tasks = self._tasks(arguments.pop("tasks", []), (*at, "arguments", "tasks"))
        output = self._output(keys.get("output"), tool, (*at, "output"), inside=inside)
        return FlowTask(tool=tool, arguments=arguments, output=output, isolation=isolation, tasks=tasks)

    def _tasks(self, written: Any, at: KeyPath) -> tuple[FlowTask, ...]:
        if not isinstance(written, list) or not written:
            self._fault(at, "must be a list of at least one task")
            return ()
        tasks: list[FlowTask] = []
        owners: dict[str, int] = {}
        for index, each in enumerate(written):
            place = (*at, index)
            if not isinstance(each, dict):
                self._fault(place, "a task must hold a mapping with its tool")
                continue
            task = self._task(self._keys(place, each, _TASK), place, inside=True)
            tasks.append(task)
            if task.output is not None and (first := owners.setdefault(self._place_of(task.output), index)) != index:
                where = f"{task.output.kind}({task.output.name})"
                self._fault((*place, "output"), f"{where} is where tasks[{first}] writes already")
        return tuple(tasks)

    def _place_of(self, output: Destination) -> str:
        """The same for two outputs that go to one place; what placeholders amount to is seen when it is written."""
        if output.kind is Kind.VAR or "{{" in output.name:
            return f"{output.kind}({output.name})"
        return os.path.realpath(self.around.directory / output.name)

    def _arguments(self, tool: str, written: Mapping[str, Any], at: KeyPath) -> dict[str, Any]:
        known, needed = ARGUMENTS.get(tool, (_AGENT, frozenset({"prompt"})))
        keys = self._keys(at, written, tuple(known))
        for name in sorted(needed - keys.keys()):
            self._fault((*at, name), f"{tool} needs {name}")
        read = {name: self._read((*at, name), value, known[name]) for name, value in keys.items() if name in known}
        for name in _STATES & keys.keys():
            targets = keys[name] if isinstance(keys[name], dict) else {None: keys[name]}
            for text, state in targets.items():
                self._target((*at, name, *([text] if text is not None else [])), state)
        for name in (set(read) - _STATES) - {"workflow"}:
            self._placeholders((*at, name), read[name])
        self._within_reach(tool, read, at)
        self._default(read, at)
        if isinstance(read.get("variables"), dict):
            read["variables"] = {
                self._read((*at, "variables", key), key, _variable): self._read((*at, "variables", key), value, _text)
                for key, value in read["variables"].items()
            }
        if tool == "sub-flow" and isinstance(read.get("workflow"), str):
            self._sub_flow(read["workflow"], read.get("variables") or {}, at)
        return {name: value for name, value in read.items() if value is not None}

    def _within_reach(self, tool: str, arguments: Mapping[str, Any], at: KeyPath) -> None:
        name = COMMANDS.get(tool, "")
        command = arguments.get(name)
        if isinstance(command, str):
            for fault in unreachable(command):
                self._fault((*at, name), fault)

    def _default(self, arguments: Mapping[str, Any], at: KeyPath) -> None:
        choices, default = arguments.get("choices"), arguments.get("default")
        if not choices or default is None or default in choices or any("{{" in each for each in [*choices, default]):
            return
        self._fault((*at, "default"), f"{quoted(default)} is none of the choices")

    def _sub_flow(self, name: str, variables: Mapping[str, Any], at: KeyPath) -> None:
        path = self._find(name)
        if path is None:
            self._fault((*at, "workflow"), f"there is no flow {quoted(name)}")
            return
        if os.path.realpath(path) in self.above:
            chain = [Path(each).name for each in (*self.above, os.path.realpath(path))]
            self._fault((*at, "workflow"), f"a flow cannot run itself: {' → '.join(chain)}")
            return
        # Once more for each call: the next one may pass other variables.
        flow = _load(path, self.around, self.faults, self.loaded, above=self.above, given=frozenset(variables))
        if flow is not None:
            self.flows[name] = flow

    def _find(self, name: str) -> Path | None:
        """A path from the directory the flow is run in, or the name of a file beside this one."""
        if "\0" in name:
            return None
        beside = [self.path.parent / f"{name}{suffix}" for suffix in (".yaml", ".yml", ".json")]
        return next((path for path in (self.around.directory / name, *beside) if path.is_file()), None)

    def _output(self, written: Any, tool: str, at: KeyPath, *, inside: bool) -> Destination | None:
        if written is None:
            return None
        if tool in CONTROL - {"ask-user", "sub-flow"}:
            self._fault(at, f"{tool} has no output of its own")
            return None
        found = _OUTPUT.fullmatch(written) if isinstance(written, str) else None
        if found is None:
            self._fault(at, f"{quoted(written)} is neither var(NAME) nor file(PATH)")
            return None
        kind = Kind(found[1])
        if kind is Kind.VAR:
            self._read(at, found[2], _variable)
        elif tool in CONTROL and not inside:
            self._fault(at, f"{tool} answers into a variable: var(NAME)")
        else:
            self._placeholders(at, found[2])
        return Destination(kind, found[2])

    def _placeholders(self, at: KeyPath, value: Any) -> None:
        if isinstance(value, list | dict):
            for each in value.values() if isinstance(value, dict) else value:
                self._placeholders(at, each)
            return
        for each in scan(value) if isinstance(value, str) else ():
            if re.search("[(){}]", each.argument) if each.function else not _NAME.fullmatch(each.text):
                self._fault(at, f"{quoted(each.written)} is neither a variable nor file(PATH) nor path(PATH)")
            elif each.function is None and each.text not in self.names:
                self._fault(at, f"no variable is called {quoted(each.text)}{did_you_mean(each.text, self.names)}")
            elif each.function is not None and not each.argument:
                self._fault(at, f"{each.function}() needs a path")

    def _target(self, at: KeyPath, state: Any) -> None:
        if not isinstance(state, str) or state not in self.states:
            self._fault(at, f"there is no state {quoted(state)}{did_you_mean(str(state), self.states)}")

    def _keys(self, at: KeyPath, written: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
        """`written` with its keys under their own names: `on-error`, `on_error` and `onError` are one."""
        read: dict[str, Any] = {}
        for key, value in written.items():
            if value is None:  # nothing is written behind it
                continue
            own = _own(key)
            if own not in known:
                self._fault((*at, key), f"unknown key {quoted(key)}{did_you_mean(key, known)}")
            elif own in read:
                self._fault((*at, key), f"{key} is another name of {own}, which is there too")
            else:
                read[own] = value
        return read

    def _read(self, at: KeyPath, value: Any, read: Callable[[Any], Any]) -> Any:
        try:
            return read(value)
        except (ValueError, TypeError) as error:
            what = "" if isinstance(value, dict | list) else f"{'null' if value is None else quoted(value)} "
            self._fault(at, f"{what}{error}")
            return None

    def _as_written(self, at: KeyPath) -> KeyPath:
        """The path with the names of keys that stand in the file: `onError` for `on-error`."""
        data, written = self.document.data, list[str | int]()
        for step in at:
            if isinstance(data, dict) and step not in data:
                step = next((key for key in data if _own(key) == _own(str(step))), step)
            written.append(step)
            there = isinstance(data, dict) or (isinstance(data, list) and isinstance(step, int) and step < len(data))
            data = (data.get(step) if isinstance(data, dict) else data[step]) if there else None
        return tuple(written)

    def _fault(self, at: KeyPath, message: str) -> None:
        at = self._as_written(at)
        states = self.document.data.get("states")
        full = isinstance(states, dict)
        inside = at[1:] if full and at[:1] == ("states",) else at
        where = f"state {dotted(inside[:1])}" if inside and inside[0] in self.states else ""
        rest = dotted(inside[1:] if where else inside)
        lead = ": ".join(part for part in (where, rest) if part)
        self.found.append(Fault(place_of(self.document.places, at), f"{lead}: {message}" if lead else message))


def _own(key: str) -> str:
    """The name of a key: `on-error`, `on_error` and `onError` are one."""
    return snake_name(key).replace("-", "_")


def _asks(flow: Flow, seen: set[int]) -> FlowState | None:
    """The first state of a flow or of its sub-flows that somebody has to answer or wait for."""
    if id(flow) in seen:
        return None
    seen.add(id(flow))
    asking = (state for state in flow.states.values() if state.task.tool in INTERACTIVE)
    inner = (_asks(each, seen) for each in flow.flows.values())
    return next(asking, None) or next(filter(None, inner), None)
