"""A chain of prompts as a flow: each step is given the final text of the step before.

`{{ previous }}` is the text of the step before, `{{ NAME }}` that of an earlier step. Places in the file stay what they
were, so that faults of the flow name the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from architect_parallel.config.canonical import Sections, canonical_sections, meant_in
from architect_parallel.config.layers import place_of
from architect_parallel.config.task_common import Make, checked, maker
from architect_parallel.config.yaml_source import Document, Fault, Faulty, KeyPath, Position, in_order
from architect_parallel.flows.schema import PREVIOUS, ChainSection, StepSection, own_key
from architect_parallel.templates.scanner import fill, scan
from architect_parallel.text.quantities import quoted

_SECTIONS: Sections = {(): ChainSection, ("steps", "*"): StepSection}


def is_chain(data: Any) -> bool:
    """Return whether a document is a chain: it has a list of `steps`."""
    return isinstance(data, dict) and isinstance(data.get("steps"), list)


def as_flow(document: Document) -> Document:
    """The chain in `document` as the document of a flow. Raises `Faulty` with every fault of the chain."""
    places, faults = dict(document.places), list(document.faults)
    data = canonical_sections(document.data, _SECTIONS, places, faults, own_key)
    document = Document(data, places, tuple(faults))
    section, faults = checked(document, ChainSection, _meant)
    steps = [step for step in document.data["steps"] if isinstance(step, dict)]
    names = [step["name"] if isinstance(step.get("name"), str) else f"step-{n}" for n, step in enumerate(steps, 1)]
    faults += [*document.faults, *_step_faults(steps, names, maker(document))]
    if section is None or faults:
        raise Faulty(*in_order(faults))
    states: dict[str, Any] = {}
    moved_places: dict[KeyPath, Position] = {}
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
        moved_places |= {("states", name, *new): place_of(document.places, (*at, key)) for new, key in moved}
        moved_places |= dict.fromkeys([("states", name), ("states", name, "arguments")], place_of(document.places, at))
    return Document({"name": section.name, "states": states}, moved_places)


def _meant(path: KeyPath) -> str:
    if path[2:] == ("output",):
        return "; the output of a step has its `name`"
    return meant_in(_SECTIONS)(path)


def _step_faults(steps: Sequence[Mapping[str, Any]], names: Sequence[str], fault: Make) -> Iterator[Fault]:
    """Names of two steps, and texts of steps that have not run yet."""
    for index, step in enumerate(steps):
        at: KeyPath = ("steps", index)
        first = names.index(names[index])
        if first != index:
            yield fault((*at, "name"), f"duplicate name {quoted(names[index])} (first used by steps[{first}])")
        for key, text in step.items():
            for placeholder in scan(text) if isinstance(text, str) else ():
                if placeholder.text == PREVIOUS and index == 0:
                    yield fault((*at, key), "there is no step before it for {{ previous }}")
                elif placeholder.text in names[index:] and placeholder.text != PREVIOUS:
                    what = f"{{{{ {placeholder.text} }}}} has no value yet when this step begins"
                    yield fault((*at, key), what)


def _renamed(value: Any, before: str) -> Any:
    """`value` with the name of the step before in place of `{{ previous }}`."""
    if not isinstance(value, str):
        return value
    return fill(
        value, lambda placeholder: f"{{{{ {before} }}}}" if placeholder.text == PREVIOUS else placeholder.written
    )
