"""A spec, YAML or JSON: text into `domain.SpecFile`, or all of its faults at once.

It goes the way of a task file (hardened reader, aliases under their own names, pydantic), and what is wrong with the
graph is looked at whatever else is wrong: unknown and duplicate names, cycles, references to what is not there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from architect_parallel.config.fields import Section
from architect_parallel.config.layers import FaultList, place_of
from architect_parallel.config.task_common import (
    Make,
    above_ceiling,
    canonical_keys,
    checked,
    defaults_of,
    document_of,
    is_path,
    maker,
    not_a_directory,
    read_text,
    require_tasks,
    section_faults,
    tasks_of,
    waited_for,
)
from architect_parallel.config.validation import ValidationContext
from architect_parallel.config.yaml_source import Document, Fault, Faulty, KeyPath, Position, in_order
from architect_parallel.domain import (
    SHELL,
    MergeOrder,
    OnPartial,
    ProviderRate,
    RateLimit,
    Recovery,
    Retry,
    SpecFile,
    Task,
    TaskText,
)
from architect_parallel.scheduling import graph
from architect_parallel.specs.schema import SECTIONS, SpecSection, SpecTaskSection, own_spec_name
from architect_parallel.templates import references, scanner
from architect_parallel.text.names import parse_branch_number, read_branch
from architect_parallel.text.quantities import quoted
from architect_parallel.text.sanitize import one_line
from architect_parallel.text.suggest import did_you_mean

SCHEMA_HINT = "architect config schema spec"
DEBUGGER = "debugger"
"""What the one who is asked about failures is called."""

_STATE_FILE = re.compile(rb"\s*# [^\n]*\n\s*Run `[0-9]{8}-[0-9]{6}-[a-z0-9]{4}`: \*\*")
"""How the account begins that a run writes (`reports.state_file`)."""


def load_spec(path: Path, around: ValidationContext | None) -> SpecFile:
    """The spec at `path`.

    Args:
        around: What its words are held against; `None`: only its own text is looked at.

    Raises:
        UsageError: With every fault, or why it cannot be read.
    """
    return read_spec(read_text(path, "the spec", SCHEMA_HINT), around)


def read_spec(text: TaskText, around: ValidationContext | None) -> SpecFile:
    """The spec in `text`.

    Raises:
        UsageError: With every fault, each on a line of its own.
    """
    found = FaultList()
    try:
        document = _canonical(document_of(text))
        read, faults = checked(document, SpecSection, _meant)
        faults += [*document.faults, *_graph_faults(document), *_surrounding_faults(document, around)]
        if not faults:
            assert read is not None  # without a fault there is a model
            return _spec(text.name, read, document.places, around)
        found.add(text.name, in_order(faults))
    except Faulty as error:
        found.add(text.name, error.faults)
    raise found.error("the spec", SCHEMA_HINT)


def _canonical(document: Document) -> Document:
    places, faults, data = dict(document.places), list(document.faults), document.data
    data = require_tasks(data, places, faults)

    def renamed(value: Any, pattern: tuple[str, ...], path: KeyPath, rest: tuple[str, ...]) -> Any:
        if not rest:
            known = SECTIONS[pattern].model_fields
            return (
                canonical_keys(value, path, known, places, faults, own_spec_name) if isinstance(value, dict) else value
            )
        if rest[0] == "*" and isinstance(value, list):
            return [renamed(each, pattern, (*path, index), rest[1:]) for index, each in enumerate(value)]
        if isinstance(value, dict):
            keys = list(value) if rest[0] == "*" else [rest[0]] if rest[0] in value else []
            return value | {key: renamed(value[key], pattern, (*path, key), rest[1:]) for key in keys}
        return value

    for pattern in SECTIONS:
        data = renamed(data, pattern, (), pattern)
    return Document(data, places, tuple(faults))


def _names(kind: type[Section]) -> list[str]:
    """The keys of a section as people write them."""
    return [each.alias or name for name, each in kind.model_fields.items()]


def _meant(path: KeyPath) -> str:
    parents = tuple("*" if isinstance(step, int) else step for step in path[:-1])
    if parents[:1] == ("providers",) and len(parents) > 1:
        parents = ("providers", "*", *parents[2:])
    kind = SECTIONS.get(parents)
    return did_you_mean(str(path[-1]), _names(kind)) if kind else ""


def _graph_faults(document: Document) -> Iterator[Fault]:
    """What is wrong with names, dependencies and references, as far as they can be made out."""
    fault, listed = maker(document), tasks_of(document.data)
    owners: dict[str, int] = {}
    for index, each in enumerate(listed):
        words = [word for key in ("name", "id") if isinstance(word := each.get(key), str) and word.strip()]
        if not words and each and each.get("name") is None and each.get("id") is None:
            yield fault(("tasks", index), "has neither name nor id")
        for key in ("name", "id"):
            word = each.get(key)
            if not isinstance(word, str) or not word.strip():
                continue
            if word == references.RESULTS or word.startswith("file(") or "}}" in word:
                yield fault(("tasks", index, key), f"{quoted(word)} means something else between braces")
            first = owners.setdefault(word, index)
            if first != index:
                yield fault(
                    ("tasks", index, key), f"duplicate name {quoted(word)}: tasks[{first}] is called so already"
                )
    wanted, unknown = waited_for(document.data, owners, fault)
    yield from unknown
    for ring in graph.cycles(wanted):
        names = " → ".join(_name(listed[index], index) for index in ring)
        yield fault(
            ("tasks", ring[0], "dependencies"), f"dependency cycle: {one_line(names, 300)} (each waits for the next)"
        )
    yield from _reference_faults(listed, owners, wanted, fault)
    yield from _command_faults(document.data, fault)


def _reference_faults(
    tasks: list[dict[str, Any]], owners: Mapping[str, int], wanted: Mapping[int, list[int]], fault: Make
) -> Iterator[Fault]:
    for index, each in enumerate(tasks):
        text = each.get("prompt")
        if isinstance(text, str) and "{{" in text:
            before = graph.closure(wanted, wanted[index])
            known = {word: owner in before for word, owner in owners.items()}
            for what in references.faults(text, known, near=lambda word: did_you_mean(word, owners)):
                yield fault(("tasks", index, "prompt"), what)


def _command_faults(data: Mapping[str, Any], fault: Make) -> Iterator[Fault]:
    """What a shell would not fill in."""
    common = defaults_of(data).get("backend")
    commands: list[tuple[KeyPath, object]] = [
        (("tasks", index, "prompt"), each.get("prompt"))
        for index, each in enumerate(tasks_of(data))
        if (each.get("backend") or common) == SHELL
    ]
    coordinator = data.get("coordinator")
    if isinstance(coordinator, dict) and common == SHELL:
        commands.append((("coordinator", "task"), coordinator.get("task")))
    for path, text in commands:
        if isinstance(text, str):
            yield from (fault(path, what) for what in scanner.unreachable(text))


def _name(task: Mapping[str, Any], index: int) -> str:
    found = task.get("name") or task.get("id")
    return found if isinstance(found, str) else f"tasks[{index}]"


def _surrounding_faults(document: Document, around: ValidationContext | None) -> Iterator[Fault]:
    data, fault = document.data, maker(document)
    coordinator = data.get("coordinator")
    text = coordinator.get("task") if isinstance(coordinator, dict) else None
    if isinstance(text, str):
        known = {
            word: True for each in tasks_of(data) for key in ("name", "id") if isinstance(word := each.get(key), str)
        }
        for what in references.faults(text, known, near=lambda word: did_you_mean(word, known)):
            yield fault(("coordinator", "task"), what)
    if around is None:
        return
    yield from section_faults(data, replace(around, agents=None), fault)
    execution = data.get("execution")
    most = execution.get("max_concurrent_agents") if isinstance(execution, dict) else None
    if problem := above_ceiling(most, around):
        yield fault(("execution", "max_concurrent_agents"), problem)
    state = data.get("state_file")
    if isinstance(state, str) and is_path(state) and (problem := _state_file_fault(around.directory, state)):
        yield fault(("state_file",), f"{quoted(state)} {problem}")
    merge = data.get("merge")
    into = merge.get("into") if isinstance(merge, dict) else None
    if isinstance(into, str) and into.strip() and (problem := _branch_fault(into, around)):
        yield fault(("merge", "into"), f"{quoted(into)} {problem}")
    defaults = defaults_of(data)
    for index, each in enumerate(tasks_of(data)):
        prompt = each.get("prompt")
        if not isinstance(prompt, str) or {**defaults, **each}.get("dependencies"):
            continue  # a task before it may still make the file
        for path in references.files(prompt):
            if problem := around.file_fault(path):
                yield fault(("tasks", index, "prompt"), f"{{{{ file({path}) }}}}: {problem}")


def _branch_fault(into: str, around: ValidationContext) -> str | None:
    """Why results cannot land on a branch of this name; `None`: they can."""
    try:
        read_branch(into)
    except ValueError as error:
        return str(error)
    if into == "architect" or parse_branch_number("/".join(into.split("/")[:2])) is not None:
        return "is in the way of the workers' own branches; architect/merged is not"
    below = f"{into}/"
    for each in around.branches():
        if each.startswith(below) or into.startswith(f"{each}/"):
            return f"cannot stand beside the branch {each}"
    return None


def _state_file_fault(directory: Path, state: str) -> str | None:
    """Why a state file cannot be written there: it takes the place of what is there, which must be one already."""
    path = directory / state
    if state.startswith("~"):
        return "begins with ~, which means nothing here; write the whole path"
    try:
        if ".git" in (part.lower() for part in (*path.parts, *Path(os.path.realpath(path)).parts)):
            return "lies in git's own directory"
        if os.path.isdir(path):
            return "is a directory"
        if not_a_directory(path.parent) is not None:
            return ": what is above it is not a directory"
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return "is not a file"
        with path.open("rb") as file:
            begin = file.read(4096)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    if begin.strip() and not _STATE_FILE.match(begin):
        return "is there already and is no state file; move it away, or write another name"
    return None


def _spec(
    file: str, read: SpecSection, places: Mapping[KeyPath, Position], around: ValidationContext | None
) -> SpecFile:
    defaults = {} if read.defaults is None else read.defaults.model_dump(exclude_unset=True)
    if read.on_partial is not None:
        defaults["on_partial"] = read.on_partial
    names = {word: each.name or each.id or "" for each in read.tasks for word in (each.name, each.id) if word}
    tasks = []
    for index, section in enumerate(read.tasks):
        where = f"{file}:{place_of(places, ('tasks', index))}: tasks[{index}]"
        tasks.append(_task(section, defaults, names, where))
    retry, recovery, coordinator = read.retry, read.recovery, read.coordinator
    agents = [each.agent for each in tasks] + ([coordinator.agent] if coordinator else [])
    agents += [recovery.debugger.agent] if recovery is not None and recovery.debugger is not None else []
    return SpecFile(
        name=read.name or PurePath(file).stem or "spec",
        file=file,
        tasks=tuple(tasks),
        max_parallel=read.execution.max_concurrent_agents if read.execution else None,
        rates=tuple(
            ProviderRate(provider=name, rate_limit=RateLimit(**each.rate_limit.model_dump()))
            for name, each in (read.providers or {}).items()
            if each.rate_limit is not None
        ),
        retry=None
        if retry is None
        else Retry(
            max_attempts=retry.max_attempts,
            initial_delay_s=retry.initial_delay / 1000,
            backoff_factor=retry.backoff_factor,
            max_delay_s=retry.max_delay / 1000,
        ),
        recovery=None
        if recovery is None
        else Recovery(retries=recovery.retries, refine=recovery.refine, escalate=recovery.on_all_failed == "escalate"),
        debugger=None
        if recovery is None or recovery.debugger is None
        else Task(
            prompt=DEBUGGER,
            name=DEBUGGER,
            agent=recovery.debugger.agent,
            backend=defaults.get("backend"),
            model=defaults.get("model"),
        ),
        merge=None if read.merge is None else MergeOrder(into=read.merge.into, check=read.merge.check),
        state_file=read.state_file,
        coordinator=None
        if coordinator is None
        else _task(SpecTaskSection(prompt=coordinator.task, agent=coordinator.agent), defaults, names, file),
        warnings=tuple(_warnings(read, agents, around.agents if around else None)),
    )


def _task(section: SpecTaskSection, defaults: Mapping[str, Any], names: Mapping[str, str], place: str) -> Task:
    values = {**defaults, **section.model_dump(exclude_unset=True)}
    values = {key: value for key, value in values.items() if value is not None}
    values["name"] = section.name or section.id
    values["prompt"] = references.renamed(section.prompt or values["name"] or "", names)
    values["dependencies"] = tuple(dict.fromkeys(names[each] for each in values.get("dependencies", ())))
    values["on_partial"] = OnPartial(values.get("on_partial", OnPartial.SKIP))
    renamed = {"timeout": "timeout_s", "budget": "budget_usd", "extra": "extra_argv"}
    return Task(**{renamed.get(key, key): value for key, value in values.items()}, place=place)


def _warnings(read: SpecSection, agents: list[str | None], known: Collection[str] | None) -> Iterator[str]:
    if read.policy:
        yield f"policy: nothing acts on it yet ({', '.join(map(str, read.policy))})"
    missing = [quoted(name) for name in dict.fromkeys(agents) if name is not None and name not in (known or (name,))]
    if missing:
        roles = "that role" if len(missing) == 1 else "these roles"
        yield f"no agent profile is called {', '.join(missing)}: the default one plays {roles}"
