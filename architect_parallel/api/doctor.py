"""`architect doctor`: what this machine can enforce, what is wrong, and how to fix it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from architect_parallel.containment.decision import LEVELS, NETWORKS, ORDER, REMEDY, gaps_of
from architect_parallel.containment.probe import prober
from architect_parallel.domain import Mechanism, Network, RunStatus, SandboxLevel
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.journal import Journal
from architect_parallel.runs.workspace import Workspace, load_workspace
from architect_parallel.scheduling.admission import FreeResources, Rules
from architect_parallel.supervision.process import PROVES_EMPTINESS
from architect_parallel.system import machine
from architect_parallel.system.git import MERGE_TREE_VERSION, MINIMUM_VERSION
from architect_parallel.system.git import version as git_version
from architect_parallel.worktrees.create import require_base
from architect_parallel.worktrees.places import require_root, shared_directory
from architect_parallel.worktrees.prepare import require_links
from architect_parallel.worktrees.visible_copies import tools_that_see


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding of the doctor."""

    check: str
    level: Literal["ok", "note", "problem"]
    """`problem` means that runs are impossible until it is fixed."""
    text: str
    remedy: str | None = None
    """A command to type. `None` means that there is nothing to do."""


def examine(workspace_root: Path, config_file: Path | None = None) -> list[Finding]:
    """Find out what this machine can enforce and what is wrong, as far as possible without starting an agent."""
    findings = [_examine_git(), *_examine_machine(workspace_root), examine_sandbox(os.environ)]
    try:
        here = load_workspace(workspace_root, config_file)
        with Journal.of(here.repository) as journal:
            findings += _examine_repository(here, journal)
    except ArchitectParallelError as error:
        return [*findings, Finding(check="repository", level="problem", text=error.message, remedy=error.hint)]
    backends = {name: backend.availability(here.environ) for name, backend in here.backends.items()}
    ready = sorted(name for name, availability in backends.items() if availability.ready)
    missing = sorted(set(backends) - set(ready))
    usable = [name for name in ready if not here.backends[name].capabilities.runs_its_prompt]
    findings.append(
        Finding(
            check="backends",
            level="ok" if usable else "note",
            text=f"ready: {', '.join(ready) or 'none'}; missing: {', '.join(missing) or 'none'}",
            remedy=None if usable else "architect backends",
        )
    )
    return findings


def _examine_git() -> Finding:
    try:
        version = git_version()
    except ArchitectParallelError as error:
        return Finding(check="git", level="problem", text=error.message, remedy=error.hint)
    text = ".".join(map(str, version))
    if version < MINIMUM_VERSION:
        return Finding(check="git", level="problem", text=f"{text} is too old", remedy="install git 2.38 or newer")
    if version < MERGE_TREE_VERSION:
        return Finding(check="git", level="note", text=f"{text}: runs work, merge does not", remedy="install git 2.38")
    return Finding(check="git", level="ok", text=text)


def _examine_machine(place: Path) -> Iterator[Finding]:
    if PROVES_EMPTINESS:
        how = "signals by pidfd" if machine.has_pidfd() else "signals by number"
        yield Finding(check="supervision", level="ok", text=f"the end of every process tree is proven ({how})")
    else:
        text = "process trees are ended by group, parentage and cookie; their end cannot be proven on this system"
        yield Finding(check="supervision", level="note", text=text)
    disk = machine.free_disk_bytes(place)
    free = f"{machine.free_memory_bytes() / 2**30:.1f} GiB memory and {disk / 2**30:.1f} GiB disk free"
    yield Finding(
        check="machine",
        level="ok" if disk > 2**30 else "note",
        text=f"{machine.processors()} processors, {free}",
    )


def _examine_places(here: Workspace) -> Finding:
    """The finding about the place of worktrees and the tools that would take them up there."""
    settings = here.settings.worktrees
    try:
        require_root(here.repository, settings)
        require_links(here.repository, settings)
    except ArchitectParallelError as error:
        return Finding(check="worktrees", level="problem", text=error.message, remedy=error.hint)
    if tools := tools_that_see(here.repository, settings):
        text = f"{', '.join(tools)} would take up the worktrees inside the checkout (docs/worktrees.md)"
        remedy = "set worktrees.root to ../{repo}.worktrees/{name}"
        return Finding(check="worktrees", level="note", text=text, remedy=remedy)
    return Finding(check="worktrees", level="ok", text=f"made in {shared_directory(here.repository, settings)}")


def examine_sandbox(environ: Mapping[str, str]) -> Finding:
    """The levels and networks that can be had here, by what, and what would bring more."""
    probe = prober(environ)
    problems = {mechanism: probe(mechanism) for mechanism in ORDER}
    mechanism = next((name for name, problem in problems.items() if problem is None), None)
    why = "; ".join(f"{name}: {problem}" for name, problem in problems.items() if problem is not None)
    if mechanism is None:
        return Finding(check="sandbox", level="note", text=f"agents cannot be contained: {why}", remedy=REMEDY)
    levels = ", ".join(level for level in SandboxLevel if level in LEVELS[mechanism] and level != "off")
    networks = ", ".join(network for network in Network if network in NETWORKS[mechanism])
    text = f"levels {levels} by {mechanism}; networks {networks}"
    if gaps := gaps_of(mechanism):
        remedy = REMEDY if mechanism is Mechanism.LANDLOCK else None
        return Finding(check="sandbox", level="note", text=f"{text}; gaps: {'; '.join(gaps)}; {why}", remedy=remedy)
    return Finding(check="sandbox", level="ok", text=text)


def _examine_repository(here: Workspace, journal: Journal) -> Iterator[Finding]:
    try:
        commit = require_base(here.repository, "HEAD")
        text = f"{here.repository.root}, HEAD is {commit[:12]}"
        yield Finding(check="repository", level="ok", text=text)
    except ArchitectParallelError as error:
        yield Finding(check="repository", level="problem", text=error.message, remedy=error.hint)
    yield _examine_places(here)
    parallel = here.settings.parallel
    rules = Rules(min_free_memory_bytes=parallel.min_free_memory, min_free_disk_bytes=parallel.min_free_disk)
    room = FreeResources(
        memory_bytes=machine.free_memory_bytes(), disk_bytes=machine.free_disk_bytes(here.repository.common_dir)
    )
    shortage = room.shortage(rules)
    needed = " and ".join(
        f"{least // 2**20} MiB of {what}"
        for what, least in (("memory", rules.min_free_memory_bytes), ("disk", rules.min_free_disk_bytes))
    )
    yield Finding(
        check="room",
        level="ok" if shortage is None else "note",
        text=f"workers start with at least {needed} free" if shortage is None else f"no worker starts: {shortage.text}",
        remedy=None if shortage is None else "free some, or set min_free_memory and min_free_disk",
    )
    for warning in here.settings.warnings:
        yield Finding(check="configuration", level="note", text=warning)
    for run in journal.summaries(journal.run_ids()):
        if run.status is RunStatus.INTERRUPTED:
            text = f"run {run.run_id} was interrupted: its launcher died"
            yield Finding(check="runs", level="note", text=text, remedy=f"architect resume {run.run_id}")
