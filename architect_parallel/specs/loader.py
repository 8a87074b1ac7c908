"""A spec, YAML or JSON: text into `domain.SpecFile`, or all of its faults at once.

It is read as a task file is: hardened reader, keys under their own names, pydantic. The graph is checked whatever else
is wrong: unknown and duplicate names, cycles, references that lead nowhere.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from architect_parallel.config.canonical import canonical_sections, meant_in
from architect_parallel.config.layers import place_of
from architect_parallel.config.task_common import (
    Make,
    above_ceiling,
    defaults_of,
    dependency_graph,
    is_path,
    maker,
    named_tasks,
    not_a_directory,
    read_section,
    read_text,
    require_tasks,
    section_faults,
    tasks_of,
)
from architect_parallel.config.validation import ValidationContext
from architect_parallel.config.yaml_source import Document, Fault, KeyPath, Position
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
from architect_parallel.text.suggest import did_you_mean

SCHEMA_HINT = "architect config schema spec"
DEBUGGER = "debugger"
"""The name of the agent that explains failures."""

_STATE_FILE = re.compile(rb"\s*# [^\n]*\n\s*Run `[0-9]{8}-[0-9]{6}-[a-z0-9]{4}`: \*\*")
"""The beginning of a state file that a run writes (`reports.state_file`)."""


def load_spec(path: Path, context: ValidationContext | None) -> SpecFile:
    """The spec at `path`.

    Args:
        context: The surroundings to check it against. `None` means that only its own text is checked.

    Raises:
        UsageError: With every fault, or why it cannot be read.
    """
    return read_spec(read_text(path, "the spec", SCHEMA_HINT), context)


def read_spec(text: TaskText, context: ValidationContext | None) -> SpecFile:
    """The spec in `text`.

    Raises:
        UsageError: With every fault, each on a line of its own.
    """
    section, document = read_section(
        text,
        SpecSection,
        "the spec",
        SCHEMA_HINT,
        canonical=_canonical,
        meant=meant_in(SECTIONS),
        further=lambda document: itertools.chain(_graph_faults(document), _surrounding_faults(document, context)),
    )
    return _spec(text.name, section, document.places, context)


def _canonical(document: Document) -> Document:
    places, faults, data = dict(document.places), list(document.faults), document.data
    data = canonical_sections(require_tasks(data, places, faults), SECTIONS, places, faults, own_spec_name)
    return Document(data, places, tuple(faults))


def _graph_faults(document: Document) -> Iterator[Fault]:
    """Faults of names, dependencies and references, as far as they can be read."""
    fault, tasks = maker(document), tasks_of(document.data)
    owners, duplicates = named_tasks(document.data, fault)
    yield from duplicates
    for index, task in enumerate(tasks):
        words = {key: word for key in ("name", "id") if isinstance(word := task.get(key), str) and word.strip()}
        if not words and task and task.get("name") is None and task.get("id") is None:
            yield fault(("tasks", index), "has neither name nor id")
        for key, word in words.items():
            if word == references.RESULTS or word.startswith("file(") or "}}" in word:
                yield fault(("tasks", index, key), f"{quoted(word)} has another meaning between braces")
    needs, faults = dependency_graph(document.data, owners, fault)
    yield from faults
    yield from _reference_faults(tasks, owners, needs, fault)
    yield from _command_faults(document.data, fault)


def _reference_faults(
    tasks: list[dict[str, Any]], owners: Mapping[str, int], wanted: Mapping[int, list[int]], fault: Make
) -> Iterator[Fault]:
    for index, task in enumerate(tasks):
        text = task.get("prompt")
        if isinstance(text, str) and "{{" in text:
            before = graph.closure(wanted, wanted[index])
            known = {word: owner in before for word, owner in owners.items()}
            for what in references.faults(text, known, near=lambda word: did_you_mean(word, owners)):
                yield fault(("tasks", index, "prompt"), what)


def _command_faults(data: Mapping[str, Any], fault: Make) -> Iterator[Fault]:
    """References that a shell cannot expand."""
    common = defaults_of(data).get("backend")
    commands: list[tuple[KeyPath, object]] = [
        (("tasks", index, "prompt"), task.get("prompt"))
        for index, task in enumerate(tasks_of(data))
        if (task.get("backend") or common) == SHELL
    ]
    coordinator = data.get("coordinator")
    if isinstance(coordinator, dict) and common == SHELL:
        commands.append((("coordinator", "task"), coordinator.get("task")))
    for path, text in commands:
        if isinstance(text, str):
            yield from (fault(path, what) for what in scanner.unreachable(text))


def _surrounding_faults(document: Document, context: ValidationContext | None) -> Iterator[Fault]:
    data, fault = document.data, maker(document)
    coordinator = data.get("coordinator")
    text = coordinator.get("task") if isinstance(coordinator, dict) else None
    if isinstance(text, str):
        known = {
            word: True for item in tasks_of(data) for key in ("name", "id") if isinstance(word := item.get(key), str)
        }
        for what in references.faults(text, known, near=lambda word: did_you_mean(word, known)):
            yield fault(("coordinator", "task"), what)
    if context is None:
        return
    yield from section_faults(data, replace(context, agents=None), fault)
    execution = data.get("execution")
    most = execution.get("max_concurrent_agents") if isinstance(execution, dict) else None
    if problem := above_ceiling(most, context):
        yield fault(("execution", "max_concurrent_agents"), problem)
    state = data.get("state_file")
    if isinstance(state, str) and is_path(state) and (problem := _state_file_fault(context.directory, state)):
        yield fault(("state_file",), f"{quoted(state)} {problem}")
    merge = data.get("merge")
    into = merge.get("into") if isinstance(merge, dict) else None
    if isinstance(into, str) and into.strip() and (problem := _branch_fault(into, context)):
        yield fault(("merge", "into"), f"{quoted(into)} {problem}")
    defaults = defaults_of(data)
    for index, task in enumerate(tasks_of(data)):
        prompt = task.get("prompt")
        if not isinstance(prompt, str) or {**defaults, **task}.get("dependencies"):
            continue  # a task before it may still make the file
        for path in references.files(prompt):
            if problem := context.file_fault(path):
                yield fault(("tasks", index, "prompt"), f"{{{{ file({path}) }}}}: {problem}")


def _branch_fault(into: str, context: ValidationContext) -> str | None:
    """The reason why results cannot land on a branch of this name. `None` means that they can."""
    try:
        read_branch(into)
    except ValueError as error:
        return str(error)
    if into == "architect" or parse_branch_number("/".join(into.split("/")[:2])) is not None:
        return "is in the way of the workers' own branches; architect/merged is not"
    below = f"{into}/"
    for branch in context.branches():
        if branch.startswith(below) or into.startswith(f"{branch}/"):
            return f"conflicts with the branch {branch}"
    return None


def _state_file_fault(directory: Path, state: str) -> str | None:
    """The reason why a state file cannot be written there. It may replace nothing but an earlier state file."""
    path = directory / state
    if state.startswith("~"):
        return "begins with ~, which is not expanded here; write the whole path"
    try:
        if ".git" in (part.lower() for part in (*path.parts, *Path(os.path.realpath(path)).parts)):
            return "is inside git's own directory"
        if os.path.isdir(path):
            return "is a directory"
        if not_a_directory(path.parent) is not None:
            return "is below a path that is not a directory"
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
        return "exists and is not a state file; move it away, or write another name"
    return None


def _spec(
    file: str, read: SpecSection, places: Mapping[KeyPath, Position], context: ValidationContext | None
) -> SpecFile:
    defaults = {} if read.defaults is None else read.defaults.model_dump(exclude_unset=True)
    if read.on_partial is not None:
        defaults["on_partial"] = read.on_partial
    names = {word: task.name or task.id or "" for task in read.tasks for word in (task.name, task.id) if word}
    tasks = []
    for index, section in enumerate(read.tasks):
        where = f"{file}:{place_of(places, ('tasks', index))}: tasks[{index}]"
        tasks.append(_task(section, defaults, names, where))
    retry, recovery, coordinator = read.retry, read.recovery, read.coordinator
    agents = [item.agent for item in tasks] + ([coordinator.agent] if coordinator else [])
    agents += [recovery.debugger.agent] if recovery is not None and recovery.debugger is not None else []
    return SpecFile(
        name=read.name or PurePath(file).stem or "spec",
        file=file,
        tasks=tuple(tasks),
        max_parallel=read.execution.max_concurrent_agents if read.execution else None,
        rates=tuple(
            ProviderRate(provider=name, rate_limit=RateLimit(**provider.rate_limit.model_dump()))
            for name, provider in (read.providers or {}).items()
            if provider.rate_limit is not None
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
        warnings=tuple(_warnings(read, agents, context.agents if context else None)),
    )


def _task(section: SpecTaskSection, defaults: Mapping[str, Any], names: Mapping[str, str], place: str) -> Task:
    values = {**defaults, **section.model_dump(exclude_unset=True)}
    values = {key: value for key, value in values.items() if value is not None}
    values["name"] = section.name or section.id
    values["prompt"] = references.renamed(section.prompt or values["name"] or "", names)
    values["dependencies"] = tuple(dict.fromkeys(names[item] for item in values.get("dependencies", ())))
    values["on_partial"] = OnPartial(values.get("on_partial", OnPartial.SKIP))
    renamed = {"timeout": "timeout_s", "budget": "budget_usd", "extra": "extra_argv"}
    return Task(**{renamed.get(key, key): value for key, value in values.items()}, place=place)


def _warnings(read: SpecSection, agents: list[str | None], known: Collection[str] | None) -> Iterator[str]:
    if read.policy:
        yield f"policy: nothing acts on it yet ({', '.join(map(str, read.policy))})"
    missing = [quoted(name) for name in dict.fromkeys(agents) if name is not None and name not in (known or (name,))]
    if missing:
        roles = "that role" if len(missing) == 1 else "these roles"
        yield f"no agent profile has the name {', '.join(missing)}: the default one takes {roles}"
