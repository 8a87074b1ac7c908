"""Results of hosts become branches and keep refs of the launcher's repository, many at a time.

A bundle is read as `architect import` reads one: in a quarantine, with the refs that were expected and no others. The
branch was reserved at its base before the order, and moves only from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import ArchitectParallelError, UsageError
from architect_parallel.repository.ownership import owner_ref, owns_branch, reset_message
from architect_parallel.repository.registry import registration_lock
from architect_parallel.snapshots.bundles import Header, adopt, quarantine, read_header
from architect_parallel.snapshots.keep_refs import KEEP, keep
from architect_parallel.system.git import GitError, Repository

LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A bundle that a host gave for an attempt."""

    spec: WorkerSpec
    file: Path
    head: str | None
    """The collected commit, as the host says. `None` means that the attempt was not collected."""
    is_late: bool = False
    """The attempt has been given up: its branch does not move."""


def reserve(repository: Repository, spec: WorkerSpec) -> None:
    """Create the branch of a worker at its base. One that an earlier attempt left is kept and set back.

    Raises:
        EnvironmentProblem: The branch is not the run's.
        GitError: It cannot be written.
    """
    with registration_lock(repository) as lock:
        tip = repository.store.resolve(f"refs/heads/{spec.branch}")
        if tip is None:
            adopt(repository, spec.run_id, {spec.branch: spec.base_commit}, {}, lock)
            return
        if not owns_branch(repository, spec.branch, spec.run_id, spec.base_commit):
            raise UsageError(f"branch {spec.branch} is not the one run {spec.run_id} made", hint="start a new run")
        if tip != spec.base_commit:
            keep(repository, tip, spec.run_id, spec.number)
            command = (
                "update-ref",
                "-m",
                reset_message(spec.run_id),
                f"refs/heads/{spec.branch}",
                spec.base_commit,
                tip,
            )
            repository.store.run(*command, holding=(lock,))


def take_over(repository: Repository, brought: Sequence[Brought]) -> dict[int, str]:
    """Take over bundles: all objects in one quarantine, then the refs of each.

    Returns:
        Worker id → the reason why its bundle was refused. Its file is left alone.
    """
    problems: dict[int, str] = {}
    headers: dict[int, Header] = {}
    with quarantine(repository) as held:
        for item in brought:
            try:
                header = read_header(item.file)
                _require_expected(item, header)
                held.take_in(item.file, header)
                headers[item.spec.worker_id] = header
            except ArchitectParallelError as error:
                problems[item.spec.worker_id] = error.message
        held.publish()
        for item in brought:
            if item.spec.worker_id in headers:
                try:
                    _move(repository, item, headers[item.spec.worker_id])
                except ArchitectParallelError as error:
                    problems[item.spec.worker_id] = error.message
    return problems


def keep_file(file: Path, folder: Path) -> Path:
    """Move a refused bundle to where a person can look at it, and return its place."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / file.name
    with suppress(OSError):
        shutil.move(file, place)
    return place


def _require_expected(item: Brought, header: Header) -> None:
    spec = item.spec
    stem = f"{KEEP}/{spec.run_id}/{spec.number}"
    for ref in header.refs:
        if ref not in (f"refs/heads/{spec.branch}", stem) and not ref.startswith(f"{stem}-"):
            raise UsageError(f"the bundle holds {ref}, which is none of worker {spec.worker_id}'s")
    if any(commit != spec.base_commit for commit in header.prerequisites):
        raise UsageError("the bundle builds on another commit than the worker's base")
    if item.head not in (None, spec.base_commit, *header.refs.values()):
        raise UsageError("the bundle does not hold the commit that the host collected")


def _move(repository: Repository, item: Brought, header: Header) -> None:
    spec, branch = item.spec, f"refs/heads/{item.spec.branch}"
    stem = f"{KEEP}/{spec.run_id}/{spec.number}"
    for ref, commit in header.refs.items():
        if item.is_late:
            keep(repository, commit, spec.run_id, spec.number, LATE)
        elif ref != branch:
            keep(repository, commit, spec.run_id, spec.number, ref.removeprefix(stem).removeprefix("-"))
    tip = header.refs.get(branch)
    if tip is None or item.is_late or repository.store.resolve(branch) == tip:
        return
    lines = f"update {branch} {tip} {spec.base_commit}\nupdate {owner_ref(spec.run_id, spec.branch)} {tip}\n"
    message = f"architect: collect {spec.run_id} worker {spec.worker_id}"
    try:
        repository.store.run("update-ref", "--no-deref", "-m", message, "--stdin", input=lines.encode())
    except GitError as error:
        kept = keep(repository, tip, spec.run_id, spec.number)
        raise UsageError(f"{spec.branch} could not be moved ({error}); the result is {kept}") from error
