"""A chain of prompts as the flow it stands for: each step is given the final text of the step before.

`{{ previous }}` is the text of the step before, `{{ NAME }}` that of an earlier step. Places in the file stay what they
were, so that faults of the flow name the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from architect_parallel.config.layers import place_of
from architect_parallel.config.task_common import Make, canonical_keys, checked, maker
from architect_parallel.config.yaml_source import Document, Fault, Faulty, KeyPath, Position, in_order
from architect_parallel.flows.schema import PREVIOUS, ChainSection, StepSection, keys_of, own_key
from architect_parallel.templates.scanner import fill, scan
from architect_parallel.text.quantities import quoted
from architect_parallel.text.suggest import did_you_mean


def is_chain(data: Any) -> bool:
    """Whether a document is a chain: it has `steps`, and they are a list."""
    return isinstance(data, dict) and isinstance(data.get("steps"), list)


def as_flow(document: Document) -> Document:
    """The chain in `document` as the document of a flow; raises `Faulty` with every fault of the chain."""
    document = _canonical(document)
    section, faults = checked(document, ChainSection, _meant)
    steps = [step for step in document.data["steps"] if isinstance(step, dict)]
    names = [step["name"] if isinstance(step.get("name"), str) else f"step-{n}" for n, step in enumerate(steps, 1)]
    faults += [*document.faults, *_step_faults(steps, names, maker(document))]
    if section is None or faults:
        raise Faulty(*in_order(faults))
    states: dict[str, Any] = {}
    places: dict[KeyPath, Position] = {}
    for index, (step, name) in enumerate(zip(steps, names, strict=True)):
        before = names[index - 1]
        arguments = {key: _renamed(value, before) for key, value in step.items() if key not in ("name", "backend")}
        state = {"tool": section.steps[index].backend, "arguments": arguments, "output": f"var({name})"}
        if index + 1 < len(steps):
            state["next"] = names[index + 1]
            state["on_error"] = {} if section.stop_on_failure else {"_": names[index + 1]}
        states[name] = state
        at: KeyPath = ("steps", index)
        moved = [(("arguments", key), key) for key in arguments] + [(("tool",), "backend")]
        places |= {("states", name, *new): place_of(document.places, (*at, key)) for new, key in moved}
        places |= dict.fromkeys([("states", name), ("states", name, "arguments")], place_of(document.places, at))
    return Document({"name": section.name, "states": states}, places)


def _canonical(document: Document) -> Document:
    """The document with its keys under their own names, without keys that hold nothing."""
    places, faults = dict(document.places), list(document.faults)

    def named(value: Any, path: KeyPath, known: Sequence[str]) -> Any:
        if not isinstance(value, dict):
            return value
        written = {key: each for key, each in value.items() if each is not None}
        return canonical_keys(written, path, known, places, faults, own_key)

    data = named(document.data, (), keys_of(ChainSection))
    keys = keys_of(StepSection)
    data["steps"] = [named(step, ("steps", index), keys) for index, step in enumerate(data["steps"])]
    return Document(data, places, tuple(faults))


def _meant(path: KeyPath) -> str:
    if len(path) == 1:
        return did_you_mean(str(path[0]), keys_of(ChainSection))
    if path[2] == "output":
        return "; `name` names what a step says"
    return did_you_mean(str(path[2]), keys_of(StepSection))


def _step_faults(steps: Sequence[Mapping[str, Any]], names: Sequence[str], fault: Make) -> Iterator[Fault]:
    """Names of two steps, and texts of steps that have not run yet."""
    for index, step in enumerate(steps):
        at: KeyPath = ("steps", index)
        if names[index] in names[:index]:
            yield fault((*at, "name"), f"{quoted(names[index])} is the name of another step")
        for key, text in step.items():
            for placeholder in scan(text) if isinstance(text, str) else ():
                if placeholder.text == PREVIOUS and index == 0:
                    yield fault((*at, key), "there is no step before it, {{ previous }} means nothing")
                elif placeholder.text in names[index:] and placeholder.text != PREVIOUS:
                    what = f"{{{{ {placeholder.text} }}}} has said nothing yet when this step begins"
                    yield fault((*at, key), what)


def _renamed(value: Any, before: str) -> Any:
    """`value` with the name of the step before in place of `{{ previous }}`."""
    if not isinstance(value, str):
        return value
    return fill(value, lambda each: f"{{{{ {before} }}}}" if each.text == PREVIOUS else each.written)
