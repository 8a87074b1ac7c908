"""The state machine of a flow: the state it is in, what that state demands, and the state that follows.

Pure: the machine demands work (`Jobs`, `SubFlows`, `Question`, `Wait`) and takes its outcome. It starts nothing, reads
and writes files only through the callables it is given, and has no clock. `snapshot()` is plain data from which
`Machine.restore` goes on, so that a flow that was killed or paused continues where it stopped. Flows that run inside a
`parallel` state have machines of their own (`flows.instance`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from architect_parallel.flows.model import (
    COMMANDS,
    CONDITIONS,
    OTHERWISE,
    OUTPUT,
    Demand,
    Destination,
    Done,
    Ended,
    Flow,
    FlowFault,
    FlowState,
    FlowTask,
    Job,
    Jobs,
    Kind,
    Question,
    SubFlow,
    SubFlows,
    Wait,
)
from architect_parallel.templates import scanner
from architect_parallel.templates.scanner import Placeholder

Writer = Callable[[str, str], None]
"""Writes a text (second) to the file at a path (first). Raises `FlowFault`."""
Reader = Callable[[str, str], str]
"""Returns the value of `file` or `path` (first) for a path (second). Raises `FlowFault`."""


@dataclass(slots=True, kw_only=True)
class _Frame:
    """A flow that the machine is in: the outermost one, or a sub-flow. Its fields are stored data."""

    path: list[str]
    """The names of the sub-flows that lead to it, from the outermost flow."""
    state: str
    variables: dict[str, str]
    loops: dict[str, list[str]] = field(default_factory=dict)
    """The items that are left, by `for-each` state."""


class Machine:
    """A flow in progress."""

    def __init__(
        self, flow: Flow, read: Reader, variables: Mapping[str, str] | None = None, within: str | None = None
    ) -> None:
        """Args:
        variables: Values that replace those of the flow's own variables.
        within: The states around a flow that runs inside `parallel`. `None` means that it does not.
        """
        self._flow = flow
        self._read = read
        self._within = within
        self._transitions = 0
        self._frames: list[_Frame] = []
        self._enter(flow, (), variables or {})

    @classmethod
    def restore(cls, flow: Flow, read: Reader, snapshot: Mapping[str, Any], within: str | None = None) -> Machine:
        """The machine as it was when `snapshot` was taken."""
        machine = cls(flow, read, within=within)
        machine._transitions = int(snapshot["transitions"])
        machine._frames = [
            _Frame(
                path=list(frame["path"]),
                state=frame["state"],
                variables=dict(frame["variables"]),
                loops=dict(frame["loops"]),
            )
            for frame in snapshot["frames"]
        ]
        return machine

    def snapshot(self) -> dict[str, Any]:
        """The state of the machine as plain data for `json`."""
        return {"transitions": self._transitions, "frames": [asdict(frame) for frame in self._frames]}

    @property
    def transitions(self) -> int:
        """The number of states entered so far. It distinguishes two visits of one state."""
        return self._transitions

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables of the innermost flow."""
        return dict(self._frame.variables)

    def demand(self) -> Demand:
        """Go on as far as possible and return what must be done then. Without an outcome it returns the same again."""
        while True:
            state = self._state
            try:
                if self._transitions > self._flow.max_transitions:
                    text = f"more than {self._flow.max_transitions} transitions: the flow seems to go round in circles"
                    return Ended(exit_code=1, state=self.where, message=text)
                demand = self._step(state)
            except FlowFault as error:
                demand = self._exit(1, str(error))
            if demand is not None:
                return demand

    def finished(self, outcomes: Sequence[Done], write: Writer = lambda path, text: None) -> None:
        """Take the outcomes of the demanded work, in order. An output that cannot be written fails the state."""
        task = self._state.task
        tasks = task.tasks or (task,)
        message = ""
        for job, outcome in zip(tasks, outcomes, strict=True):
            if job.output is not None and job.output.kind is Kind.VAR:
                self._set(job.output.name, outcome.output)
            elif job.output is not None:
                try:
                    write(self._text(job.output.name), outcome.output.strip() + "\n")
                except FlowFault as error:
                    message = message or str(error)
        failed = next((outcome for outcome in outcomes if outcome.exit_code != 0), None)
        if failed is not None:
            self._pending = self._exit(failed.exit_code, message or failed.message)
        else:
            self._pending = self._exit(1 if message else 0, message)

    def refused(self, why: str) -> None:
        """Fail the state, because its jobs cannot be started."""
        self._pending = self._exit(1, why)

    def answered(self, text: str) -> None:
        """Take the answer to a question, or the end of a `Wait`."""
        output = self._state.task.output
        if output is not None:
            self._set(output.name, text)
        self._pending = self._exit(0)

    _pending: Ended | None = None
    """The end of the flow, where the last outcome led to it."""

    def _enter(self, flow: Flow, path: tuple[str, ...], variables: Mapping[str, str]) -> None:
        known = {**flow.variables, **variables}
        self._frames.append(_Frame(path=list(path), state=flow.start_at, variables=known))
        self._transitions += 1

    @property
    def _frame(self) -> _Frame:
        return self._frames[-1]

    @property
    def _current(self) -> Flow:
        flow = self._flow
        for name in self._frame.path:
            flow = flow.flows[name]
        return flow

    @property
    def _state(self) -> FlowState:
        return self._current.states[self._frame.state]

    @property
    def where(self) -> str:
        """The current state, with the states of the flows around it."""
        return self._place(*(frame.state for frame in self._frames))

    def _place(self, *states: str) -> str:
        return " > ".join([*([self._within] if self._within else []), *states])

    def _step(self, state: FlowState) -> Demand | None:
        """The demand of this state. `None` means that the machine went on to another state."""
        if self._pending is not None:
            return self._pending
        task, arguments = state.task, state.task.arguments
        match task.tool:
            case "parallel":
                limit = arguments.get("max_parallel")
                if any(item.tool == "sub-flow" for item in task.tasks):
                    flows = tuple(self._inner(call, number) for number, call in enumerate(task.tasks, 1))
                    return SubFlows(state=self.where, flows=flows, at_once=limit)
                jobs = tuple(self._job(entry, inside=True) for entry in task.tasks)
                return Jobs(state=self.where, jobs=jobs, at_once=limit)
            case "ask-user":
                choices = tuple(self._text(element) for element in arguments.get("choices", ()))
                default = arguments.get("default")
                return Question(
                    state=self.where,
                    text=self._text(arguments["question"]),
                    choices=choices,
                    default=None if default is None else self._text(default),
                )
            case "pause":
                return Wait(
                    state=self.where, seconds=arguments.get("seconds"), text=self._text(arguments.get("message", ""))
                )
            case "switch":
                return self._transition(self._chosen(arguments) or state.next)
            case "for-each":
                return self._transition(self._next_item(state) or state.next)
            case "sub-flow":
                name = arguments["workflow"]
                self._enter(self._current.flows[name], (*self._frame.path, name), self._given(task))
                return None
            case tool if tool in CONDITIONS:
                holds = CONDITIONS[tool](self._text(arguments["left"]), self._text(arguments.get("right", "")))
                return self._transition(arguments.get("then" if holds else "else") or state.next)
            case _:
                return Jobs(state=self.where, jobs=(self._job(task, inside=self._within is not None),))

    def _given(self, task: FlowTask) -> dict[str, str]:
        """The variables that a `sub-flow` task passes."""
        return {key: self._text(value) for key, value in task.arguments.get("variables", {}).items()}

    def _inner(self, task: FlowTask, number: int) -> SubFlow:
        """The flow of a task inside `parallel`: its sub-flow, or a flow of this one task."""
        name = f"{self._state.name}-{number}"
        around = [frame.state for frame in self._frames[:-1]]
        if task.tool == "sub-flow":
            flow = self._current.flows[task.arguments["workflow"]]
            return SubFlow(flow=flow, variables=self._given(task), within=self._place(*around, name))
        alone = FlowState(name=name, task=replace(task, output=Destination(Kind.VAR, OUTPUT)))
        return SubFlow(
            flow=Flow(name=name, start_at=name, states={name: alone}),
            variables=self.variables,
            within=self._place(*around),
        )

    def _chosen(self, arguments: Mapping[str, Any]) -> str | None:
        places: Mapping[str, str] = arguments["goto"]
        return places.get(self._text(arguments["value"]), places.get(OTHERWISE))

    def _next_item(self, state: FlowState) -> str | None:
        loops, arguments = self._frame.loops, state.task.arguments
        if state.name not in loops:
            items = arguments["items"]
            listed = (
                [self._text(entry) for entry in items] if not isinstance(items, str) else self._text(items).split("\n")
            )
            loops[state.name] = [item.strip() for item in listed if item.strip()]
        if not loops[state.name]:
            del loops[state.name]
            return None
        first, *rest = loops[state.name]
        loops[state.name] = rest
        self._frame.variables[arguments["as"]] = first
        return str(arguments["goto"])

    def _transition(self, state: str | None) -> Ended | None:
        if state is None:
            return self._exit_flow(0)
        self._frame.state = state
        self._transitions += 1
        return None

    def _exit(self, code: int, message: str = "") -> Ended | None:
        """Leave the current state with an exit code."""
        state = self._state
        if code == 0:
            return self._transition(state.next)
        target = state.on_error.get(str(code), state.on_error.get(OTHERWISE))
        return self._exit_flow(code, message) if target is None else self._transition(target)

    def _exit_flow(self, code: int, message: str = "") -> Ended | None:
        """End the innermost flow. The end of a sub-flow is the end of its state."""
        if len(self._frames) == 1:
            return Ended(exit_code=code, state=self.where, message=message)
        inner = self._frames.pop().variables
        output = self._state.task.output
        if output is not None:
            self._set(output.name, str(inner.get(OUTPUT, "")))
        return self._exit(code, message)

    def _job(self, task: FlowTask, *, inside: bool) -> Job:
        isolated = task.isolation == "worktree" or (task.isolation is None and inside and task.tool != "bash")
        values: dict[str, str] = {}
        command = COMMANDS.get(task.tool)
        arguments = self._fill_all(task.arguments, skip=command)
        if command is not None:
            arguments[command] = task.arguments[command]
            values = scanner.values(arguments[command], self._value)
        return Job(tool=task.tool, arguments=arguments, values=values, isolated=isolated)

    def _fill_all(self, arguments: Mapping[str, Any], skip: str | None = None) -> dict[str, Any]:
        return {key: self._fill(value) for key, value in arguments.items() if key != skip}

    def _fill(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._fill(item) for item in value]
        return self._text(value) if isinstance(value, str) else value

    def _set(self, name: str, text: str) -> None:
        self._frame.variables[name] = text.replace("\0", "").strip()

    def _text(self, text: str) -> str:
        return scanner.fill(text, self._value)

    def _value(self, placeholder: Placeholder) -> str:
        if placeholder.function is not None:
            return self._read(placeholder.function, placeholder.argument)
        value = self._frame.variables.get(placeholder.text)
        if value is None:
            raise FlowFault(f"{placeholder.text} has no value yet")
        return str(value)
