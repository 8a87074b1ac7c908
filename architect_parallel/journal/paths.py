"""Paths in the journal, relative to the repository, so that a moved or copied repository finds its own worktrees.

A path below the repository's root or git directory is stored relative to the git directory (`../.architect-parallel-1`)
and read as an absolute one. Every other path stays absolute. Journals of earlier versions have absolute paths only: one
below the root that the run recorded is read as the same path below the root of now.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect_parallel.domain import RunPlan, WorkerSpec
from architect_parallel.events import Escaped, Event, RunExtended, RunResumed, RunStarted, WorkerFinished, WorktreeReady

Change = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The place of the repository now. Both paths are absolute."""

    common_dir: Path
    root: Path

    @classmethod
    def of(cls, state_dir: Path, root: Path | None = None) -> Anchor:
        """The anchor of the repository with this state directory.

        Args:
            root: `None` means the usual place: beside `.git`, or the git directory itself.
        """
        common_dir = state_dir.absolute().parent
        return cls(common_dir=common_dir, root=root or (common_dir.parent if common_dir.name == ".git" else common_dir))

    def stored(self, path: str) -> str:
        """The path as the journal stores it."""
        if os.path.isabs(path) and (_is_below(path, self.root) or _is_below(path, self.common_dir)):
            return os.path.relpath(path, self.common_dir)
        return path

    def read(self, path: str, recorded_root: str | None) -> str:
        """The absolute path of a stored one.

        Args:
            recorded_root: The root as the run's plan has it, absolute in journals of earlier versions.
        """
        if not path:
            return path
        if not os.path.isabs(path):
            return os.path.normpath(self.common_dir / path)
        if recorded_root and os.path.isabs(recorded_root) and _is_below(path, Path(recorded_root)):
            return os.path.normpath(self.root / os.path.relpath(path, recorded_root))
        return path


def change_event(event: Event, change: Change) -> Event:
    """The event with `change` applied to each of its paths."""
    match event:
        case RunStarted(plan=plan):
            return dataclasses.replace(event, plan=_changed_plan(plan, change))
        case RunResumed(workers=workers) | RunExtended(workers=workers):
            return dataclasses.replace(event, workers=_changed_specs(workers, change))
        case WorktreeReady():
            path, admin_dir = change(event.worktree_path), change(event.admin_dir)
            return dataclasses.replace(event, worktree_path=path, admin_dir=admin_dir)
        case WorkerFinished(result=result):
            log_path = result.log_path and change(result.log_path)
            path = change(result.worktree_path)
            return dataclasses.replace(event, result=dataclasses.replace(result, worktree_path=path, log_path=log_path))
        case Escaped(escape=escape) if escape.patch is not None:
            return dataclasses.replace(event, escape=dataclasses.replace(escape, patch=change(escape.patch)))
        case _:
            return event


def change_payload(payload: Mapping[str, Any], change: Callable[[str, str | None], str]) -> dict[str, Any]:
    """The payload of an operation with `change` applied to each of its paths.

    Args:
        change: Called with the path and the id of its run. `None` means the operation's own run.
    """
    plain = dict(payload)
    if plain.get("place"):
        plain["place"] = change(str(plain["place"]), None)
    if "removals" in plain:
        plain["removals"] = [
            dict(removal, worktree_path=change(removal["worktree_path"], removal.get("run_id")))
            if removal.get("worktree_path")
            else removal
            for removal in plain["removals"]
        ]
    return plain


def _changed_plan(plan: RunPlan, change: Change) -> RunPlan:
    workflow, flow = plan.workflow, plan.flow
    if workflow is not None:
        debugger = workflow.debugger and _changed_specs((workflow.debugger,), change)[0]
        state_file = workflow.state_file and change(workflow.state_file)
        workflow = dataclasses.replace(workflow, debugger=debugger, state_file=state_file)
    if flow is not None:
        flow = dataclasses.replace(flow, file=change(flow.file), directory=change(flow.directory))
    return dataclasses.replace(
        plan,
        repository=change(plan.repository),
        workers=_changed_specs(plan.workers, change),
        output_dir=plan.output_dir and change(plan.output_dir),
        workflow=workflow,
        flow=flow,
    )


def _changed_specs(specs: tuple[WorkerSpec, ...], change: Change) -> tuple[WorkerSpec, ...]:
    return tuple(dataclasses.replace(spec, worktree_path=change(spec.worktree_path)) for spec in specs)


def _is_below(path: str, directory: Path) -> bool:
    return Path(path).is_relative_to(directory)
