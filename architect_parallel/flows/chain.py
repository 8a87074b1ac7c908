"""A chain of prompts as the flow it stands for: `steps` one after another, each given what the one before said.

`{{ previous }}` is the final text of the step before, `{{ NAME }}` that of an earlier step. What else is wrong in a
step is found where flows are read; places in the file stay what they were.
"""

from __future__ import annotations

import re
from typing import Any

from architect_parallel.config.layers import place_of
from architect_parallel.config.yaml_source import Document, Fault, KeyPath, Position
from architect_parallel.templates.scanner import scan
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import did_you_mean

PREVIOUS = "previous"
"""What a step calls the one before it."""
_PREVIOUS = re.compile(r"\{\{\s*previous\s*\}\}")
_TOP = ("name", "steps", "stop_on_failure")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)


def is_chain(data: Any) -> bool:
    """Whether a document is a chain: it has `steps`, and they are a list."""
    return isinstance(data, dict) and isinstance(data.get("steps"), list)


def as_flow(document: Document) -> Document:
    """The chain in `document` as the document of a flow."""
    data, places = document.data, dict(document.places)
    faults = list(document.faults)

    def fault(path: KeyPath, message: str) -> None:
        faults.append(Fault(place_of(places, path), message))

    for key in data:
        if key not in _TOP:
            fault((key,), f"unknown key {quoted(key)}{did_you_mean(key, _TOP)}")
    stop = data.get("stop_on_failure", True)
    if not isinstance(stop, bool):
        fault(("stop_on_failure",), f"stop_on_failure: {quoted(stop)} must be true or false")
    steps = [each for each in data["steps"] if isinstance(each, dict)]
    if len(steps) < len(data["steps"]) or not steps:
        fault(("steps",), "steps: must be a list of at least one mapping with backend and prompt")
    names = [_name(each, index) for index, each in enumerate(steps)]
    states: dict[str, Any] = {}
    moved: dict[KeyPath, Position] = {("states",): place_of(places, ("steps",))}
    for index, (name, step) in enumerate(zip(names, steps, strict=True)):
        at: KeyPath = ("steps", index)
        if name in states or name == PREVIOUS or not _WORD.fullmatch(name):
            why = "must be letters, digits, _ and -, not beginning with a digit"
            if name in states:
                why = "is the name of another step"
            elif name == PREVIOUS:
                why = "is what the step before is called"
            fault((*at, "name"), f"steps[{index}].name: {quoted(name)} {why}")
            continue
        if step.get("output") is not None:
            fault(
                (*at, "output"),
                f"steps[{index}].output: unknown key 'output': what a step says goes to {{{{ {name} }}}}",
            )
        arguments = {key: value for key, value in step.items() if key not in ("name", "backend", "output")}
        for key, value in arguments.items():
            if not isinstance(value, str):
                continue
            if index == 0 and _PREVIOUS.search(value):
                fault((*at, key), f"steps[0].{key}: there is no step before it, {{{{ previous }}}} means nothing")
            arguments[key] = _PREVIOUS.sub(f"{{{{ {names[index - 1]} }}}}", value) if index else value
            for later in scan(arguments[key]):
                if later.text in names[index:]:
                    what = f"{{{{ {later.text} }}}} has said nothing yet when this step begins"
                    fault((*at, key), f"steps[{index}].{key}: {what}")
        state: dict[str, Any] = {"tool": step.get("backend"), "arguments": arguments, "output": f"var({name})"}
        if index + 1 < len(steps):
            state["next"] = names[index + 1]
            if stop is False:
                state["on_error"] = {"_": names[index + 1]}
        states[name] = state
        moved[("states", name)] = place_of(places, at)
        moved[("states", name, "tool")] = place_of(places, (*at, "backend"))
        moved |= {("states", name, "arguments", key): place_of(places, (*at, key)) for key in arguments}
    flow = {"states": states} | ({"name": data["name"]} if "name" in data else {})
    return Document(flow, moved, tuple(faults))


def _name(step: dict[str, Any], index: int) -> str:
    name = step.get("name")
    return f"step-{index + 1}" if name is None else name if isinstance(name, str) else repr(name)
