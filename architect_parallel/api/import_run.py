"""`architect import DIR`: make results of another machine into branches and a run of this clone.

Everything in the directory is untrusted, and nothing in it decides on names here. Branches get numbers of this clone,
worktree paths follow from the numbers (nothing is there), changes are read from the commits themselves, and tasks are
shown but never run again (`RunPlan.imported`). Everything is inspected before anything is made: the text
(`reports.reading`), then every bundle in a quarantine (`snapshots.bundles`). Then follow, under the registration lock,
the objects, the refs in one transaction, and the journal in one. If the journal fails, the refs are removed again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from architect_parallel.api.artifacts import BASE_REF, RESULT, brings, bundle_name, keep_ref, kept_number
from architect_parallel.domain import (
    AgentProfile,
    RunPlan,
    RunResult,
    RunStatus,
    WorkerResult,
    WorkerSpec,
    WorktreeSettings,
)
from architect_parallel.domain.enums import Isolation
from architect_parallel.errors import EnvironmentProblem, NothingToDo, UsageError
from architect_parallel.events import BaselineFinished, Collected, Recorded, RunFinished, RunStarted, WorkerFinished
from architect_parallel.journal import Journal
from architect_parallel.reports.reading import LIMIT_BYTES, read_envelope
from architect_parallel.repository.registry import registration_lock
from architect_parallel.snapshots.bundles import Header, Quarantine, adopt, give_back, quarantine, read_header
from architect_parallel.snapshots.diff import diff
from architect_parallel.snapshots.keep_refs import KEEP
from architect_parallel.system.git import Git, Repository
from architect_parallel.system.machine import free_disk_bytes
from architect_parallel.text.names import parse_branch_number
from architect_parallel.text.place_names import DEFAULT_DIRECTORY, fill
from architect_parallel.text.sanitize import one_line
from architect_parallel.worktrees.create import owns_branch
from architect_parallel.worktrees.places import MERGED_PREFIX, Places, exclude_from_status

_HIGHEST_FOREIGN_NUMBER = 999_999
"""A higher number from another clone is not kept: it would push ours out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The imported results, or with `dry_run` those to import."""

    run_id: str
    branches: Mapping[int, str]
    """Worker id → its branch here, for workers that have one."""
    renamed: bool
    """The branches have other numbers than in their own clone."""
    commits: Mapping[int, str]
    """Worker id → the commit of its result."""


def import_run(
    repository: Repository,
    journal: Journal,
    directory: Path,
    *,
    dry_run: bool = False,
    settings: WorktreeSettings | None = None,
    show: Callable[[str], None] = lambda line: None,
) -> Imported:
    """Import the run in `directory` into this clone. With `dry_run` everything is checked and nothing is made.

    Args:
        settings: They name branches whose own names are in use here. `None` means the defaults.
        show: Takes a line of progress before each step.

    Raises:
        NothingToDo: The run is here already.
        UsageError: The directory is no artifact, or something in it is truncated, damaged or invalid.
        EnvironmentProblem: This clone lacks commits that it builds on, or it cannot be written.
    """
    settings = settings or WorktreeSettings()
    result = _read_result(directory)
    if result.run_id in journal.run_ids():
        raise NothingToDo(
            f"run {result.run_id} is in this repository already", hint=f"architect status {result.run_id}"
        )
    headers = _headers(directory, result)
    _require_room(repository, directory, headers)
    with quarantine(repository) as held:
        _take_in(held, directory, headers, show)
        if held.git.resolve(f"{result.base_commit}^{{commit}}") is None:
            raise EnvironmentProblem(
                f"the run started from commit {result.base_commit[:12]}, which is not in this repository",
                hint="git fetch, or import into a clone that has it",
            )
        # Whoever was skipped, or ended before anything was collected, has a name and no branch, as where it comes from.
        worked = [item for item in result.results if item.branch and item.diff is not None]
        tips = {entry.worker_id: _tip(entry, headers, result.base_commit) for entry in worked}
        show(f"comparing {len(result.results)} results with their commits")
        true = [_from_git(held.git, element, result) for element in result.results]
        if dry_run:
            return _imported(result, true, _placed(repository, settings, journal, result, tips), tips)
        exclude_from_status(repository)
        with registration_lock(repository) as lock:
            specs = _placed(repository, settings, journal, result, tips)
            held.publish()
            branches, kept = _new_refs(repository, replace(result, results=true), specs, tips, headers)
            adopt(repository, result.run_id, branches, kept, lock)
            try:
                journal.adopt(_events(repository, replace(result, results=true), specs))
            except BaseException:
                give_back(repository, result.run_id, branches, kept, lock)
                raise
    return _imported(result, true, specs, tips)


def _new_refs(
    repository: Repository,
    result: RunResult,
    specs: Mapping[int, WorkerSpec],
    tips: Mapping[int, str],
    headers: Mapping[int, Header],
) -> tuple[dict[str, str], dict[str, str]]:
    """The branches and the kept refs that this clone lacks, with their commits."""
    branches = {specs[worker_id].branch: tip for worker_id, tip in tips.items()}
    branches = {name: tip for name, tip in branches.items() if not _is_there(repository, result, name, tip)}
    kept = {
        keep_ref(result.run_id, specs[worker.worker_id].number): worker.diff.head
        for worker in result.results
        if worker.diff is not None and worker.branch and worker.diff.head != tips[worker.worker_id]
    }
    if any(BASE_REF in header.refs for header in headers.values()):
        kept[f"{KEEP}/{result.run_id}/base"] = result.base_commit
    return branches, {ref: commit for ref, commit in kept.items() if repository.store.resolve(ref) != commit}


def _take_in(held: Quarantine, directory: Path, headers: Mapping[int, Header], show: Callable[[str], None]) -> None:
    for number, (worker_id, header) in enumerate(headers.items(), start=1):
        show(f"reading bundle {number} of {len(headers)}: {bundle_name(worker_id)}")
        held.take_in((directory / bundle_name(worker_id)).absolute(), header)


def _read_result(directory: Path) -> RunResult:
    file = directory / RESULT
    try:
        if not directory.is_dir():
            raise UsageError(f"{directory} is not a directory", hint="architect import DIR")
        if file.is_symlink() or not file.is_file():
            raise UsageError(f"{directory} holds no artifacts: there is no {RESULT}", hint="--artifacts DIR makes them")
        size = file.stat().st_size
        if size > LIMIT_BYTES:
            raise UsageError(f"{file} has {size} bytes: too many to be a result (at most {LIMIT_BYTES})")
        return read_envelope(file.read_bytes())
    except OSError as error:
        raise EnvironmentProblem(f"{file} cannot be read: {error.strerror}", hint=f"ls -l {directory}") from error
    except ValueError as error:
        raise UsageError(f"{file}: {error}", hint="download the artifact again") from error


def _headers(directory: Path, result: RunResult) -> dict[int, Header]:
    """The headers of the bundles of all workers with commits. Only the expected refs are allowed."""
    expected = {bundle_name(item.worker_id): item for item in result.results if brings(item, result.base_commit)}
    there = {name for name in os.listdir(directory) if name.startswith("worker-") and name.endswith(".bundle")}
    if missing := sorted(expected.keys() - there):
        raise UsageError(f"{directory} is not complete: {missing[0]} is missing", hint="download the artifact again")
    if surplus := sorted(there - expected.keys()):
        raise UsageError(f"{directory / surplus[0]} belongs to no worker with changes in {RESULT}")
    headers = {}
    for name, worker in expected.items():
        header = read_header(directory / name)
        own = {f"refs/heads/{worker.branch}", keep_ref(result.run_id, kept_number(worker))}
        if foreign := sorted(header.refs.keys() - own - {BASE_REF}):
            raise UsageError(f"{directory / name} holds {foreign[0]}, which is none of worker {worker.worker_id}'s")
        if worker.diff is None or worker.diff.head not in [header.refs.get(ref) for ref in own]:
            raise UsageError(f"{directory / name} does not hold the commit that {RESULT} names")
        if header.refs.get(BASE_REF, result.base_commit) != result.base_commit:
            raise UsageError(f"{directory / name} holds another base commit than {RESULT} names")
        headers[worker.worker_id] = header
    return headers


def _require_room(repository: Repository, directory: Path, headers: Mapping[int, Header]) -> None:
    # Once as it is, once unpacked in the quarantine, once in the object store.
    needed = 3 * sum((directory / bundle_name(worker_id)).stat().st_size for worker_id in headers)
    free = free_disk_bytes(repository.common_dir)
    if needed > free:
        problem = f"importing {directory} needs {needed // 2**20} MiB, {free // 2**20} MiB are free"
        raise EnvironmentProblem(problem, hint="df -h; make room")


def _tip(worker: WorkerResult, headers: Mapping[int, Header], base: str) -> str:
    header = headers.get(worker.worker_id)
    return base if header is None else header.refs.get(f"refs/heads/{worker.branch}", base)


def _from_git(git: Git, worker: WorkerResult, run: RunResult) -> WorkerResult:
    """The result with the changes that git reports, instead of those that the directory claims."""
    if worker.diff is None or not worker.branch:
        return replace(worker, diff=None, files_modified=[])
    changes = diff(git, _base(git, worker, run), worker.diff.head)
    return replace(worker, diff=changes, files_modified=sorted(change.path for change in changes.files))


def _base(git: Git, worker: WorkerResult, run: RunResult) -> str:
    """The commit that a worker started from: the run's base, or results of other workers, which are not its own."""
    assert worker.diff is not None
    begun = worker.diff.base
    if begun == run.base_commit or not git.ok("merge-base", "--is-ancestor", begun, worker.diff.head):
        return run.base_commit
    others = [result.diff.head for result in run.results if result.diff and result.branch and result is not worker]
    known = [f"^{commit}" for commit in (run.base_commit, *others) if git.resolve(f"{commit}^{{commit}}")]
    # Merges of their work are made for it; any other commit there would be its own, and hidden.
    foreign = git.text("rev-list", "--no-merges", "--max-count=1", begun, *known)
    return run.base_commit if foreign else begun


def _placed(
    repository: Repository, settings: WorktreeSettings, journal: Journal, result: RunResult, tips: Mapping[int, str]
) -> dict[int, WorkerSpec]:
    """Worker id → its worker here. All have the names that they had if those are free, and otherwise names of ours."""
    live = journal.live_workers()
    numbers, branches = {spec.number for spec in live}, {spec.branch for spec in live}

    def is_free(worker: WorkerResult) -> bool:
        number, name = parse_branch_number(worker.branch), worker.branch
        if number is None:  # a name from a template: it must look like one of ours
            if name in branches or not name.startswith("architect/") or name.startswith(MERGED_PREFIX):
                return False
        elif number in numbers or number > _HIGHEST_FOREIGN_NUMBER or os.path.lexists(directory(number)):
            return False
        under = repository.store.text("for-each-ref", "--format=%(refname)", f"refs/heads/{name}")
        return not under or _is_there(repository, result, name, tips.get(worker.worker_id))

    def directory(number: int) -> Path:
        return repository.root / fill(DEFAULT_DIRECTORY, {"n": str(number)})

    keep_names = all(is_free(worker) for worker in result.results if worker.branch)
    places = Places(repository, WorktreeSettings() if keep_names else settings, live)
    specs = {}
    for index, worker in enumerate(result.results):
        spec = _draft(result, worker, index)
        if spec.isolation is not Isolation.NONE:
            number = parse_branch_number(worker.branch) if keep_names else None
            if number is not None:
                spec = replace(spec, number=number, branch=worker.branch, worktree_path=str(directory(number)))
            else:
                spec = places.give(spec)
                spec = replace(spec, branch=worker.branch) if keep_names else spec
        specs[worker.worker_id] = spec
    return specs


def _is_there(repository: Repository, result: RunResult, name: str, tip: str | None) -> bool:
    """Tell whether an import of this run made the branch already and was killed before it was recorded."""
    there = tip is not None and repository.store.resolve(f"refs/heads/{name}") == tip
    return there and owns_branch(repository, name, result.run_id)


def _imported(
    result: RunResult, true: list[WorkerResult], specs: Mapping[int, WorkerSpec], tips: Mapping[int, str]
) -> Imported:
    return Imported(
        run_id=result.run_id,
        branches={worker_id: specs[worker_id].branch for worker_id in sorted(tips)},
        renamed=any(entry.branch and entry.branch != specs[entry.worker_id].branch for entry in result.results),
        commits={item.worker_id: item.diff.head for item in true if item.diff is not None},
    )


def _events(repository: Repository, result: RunResult, specs: Mapping[int, WorkerSpec]) -> list[Recorded]:
    """The events of the run, as far as they follow from its result."""
    ended = result.started_at + timedelta(seconds=min(result.total_duration_seconds, 10 * 365 * 86_400))
    workers = [_renamed(item, specs[item.worker_id]) for item in result.results]
    plan = RunPlan(
        run_id=result.run_id,
        repository=str(repository.root),
        base_commit=result.base_commit,
        base_ref=result.base_ref,
        workers=tuple(specs[worker.worker_id] for worker in workers),
        max_parallel=result.max_parallel,
        warnings=(*result.warnings, "imported: its results were written on another machine"),
        imported=True,
    )

    def at(
        worker_id: int | None,
        event: Collected | RunStarted | RunFinished | WorkerFinished | BaselineFinished,
        *,
        start: bool = False,
    ) -> Recorded:
        time = result.started_at if start else ended
        return Recorded(run_id=result.run_id, seq=0, time=time, worker_id=worker_id, event=event)

    events = [at(None, RunStarted(plan=plan, launcher_pid=0), start=True)]
    if result.baseline:
        events.append(at(None, BaselineFinished(checks=tuple(result.baseline)), start=True))
    for worker in workers:
        if worker.diff is not None:
            events.append(at(worker.worker_id, Collected(diff=worker.diff)))
        events.append(at(worker.worker_id, WorkerFinished(result=worker)))
    # Of a run that was still going on nobody here will see the end: it is interrupted.
    if result.status is not RunStatus.RUNNING and result.exit_code is not None:
        events.append(at(None, RunFinished(status=result.status, exit_code=result.exit_code)))
    return events


def _renamed(worker: WorkerResult, spec: WorkerSpec) -> WorkerResult:
    """The result under its names here. Paths of the other machine mean nothing, and names become one plain line."""
    return replace(
        worker,
        branch=spec.branch,
        worktree_path=spec.worktree_path,
        log_path=None,
        name=one_line(worker.name, 128),
        backend=one_line(worker.backend, 128),
        agent=one_line(worker.agent, 128),
        model=one_line(worker.model, 128),
        model_requested=None if worker.model_requested is None else one_line(worker.model_requested, 128),
    )


def _draft(result: RunResult, worker: WorkerResult, index: int) -> WorkerSpec:
    """The worker without names. One that ended before it had a branch gets none here."""
    return WorkerSpec(
        run_id=result.run_id,
        worker_id=worker.worker_id,
        index=index,
        number=0,
        name=worker.name or f"worker-{worker.worker_id}",
        prompt=worker.task,
        backend=worker.backend,
        model=worker.model_requested,
        agent=AgentProfile(name=worker.agent or "build"),
        branch="",
        worktree_path="",
        base_commit=worker.diff.base if worker.diff is not None else result.base_commit,
        isolation=Isolation.WORKTREE if worker.branch else Isolation.NONE,
        attempt=max(1, worker.attempts),
        tags=tuple(worker.tags),
    )
