"""`--artifacts DIR`: a run as a directory that outlives the machine it ran on.

It holds `result.json`, `report.html`, and per worker with changes `worker-<n>.patch` and `worker-<n>.bundle` (which
`architect import` reads). The directory appears whole: it is made next to its place and renamed. That is not possible
in a mount point (such as a volume of a CI job) or below a directory that may not be written. Then the files are moved
in one by one, `result.json` last. A directory without it is no artifact. Nothing in the directory is overwritten except
artifacts of the same run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from architect_parallel.domain import RunResult, WorkerResult
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, UsageError
from architect_parallel.journal import Journal
from architect_parallel.reports.json import dumps, envelope
from architect_parallel.reports.reading import LIMIT_BYTES, read_envelope
from architect_parallel.snapshots.bundles import BundleContent, is_published, write_bundles
from architect_parallel.snapshots.diff import patch
from architect_parallel.snapshots.keep_refs import KEEP
from architect_parallel.system.git import Repository
from architect_parallel.text.names import parse_branch_number
from architect_parallel.worktrees.create import owns_branch

RESULT = "result.json"
REPORT = "report.html"
BASE_REF = "refs/architect/base"
"""In a bundle: the commit that the run started from, if no other clone can have it (`--include-dirty`)."""
_OURS = re.compile(r"result\.json|report\.html|worker-[1-9][0-9]*\.(?:patch|bundle)")


def bundle_name(worker_id: int) -> str:
    """The file name of a worker's bundle."""
    return f"worker-{worker_id}.bundle"


def keep_ref(run_id: str, number: int) -> str:
    """The ref in a bundle that holds a worker's result if its branch does not."""
    return f"{KEEP}/{run_id}/{number}"


def require_place(directory: Path, run_id: str | None = None) -> Path:
    """Check that artifacts (of run `run_id`) can be written to `directory`. Makes nothing.

    Returns:
        The directory, absolute, links resolved.

    Raises:
        UsageError: Something else is there.
        EnvironmentProblem: It cannot be written.
    """
    try:
        place = directory.absolute().resolve()
        if place.exists() and not place.is_dir():
            raise UsageError(f"--artifacts {directory}: there is a file of that name", hint="--artifacts NEW-DIRECTORY")
        there = sorted(os.listdir(place)) if place.exists() else []
        same = run_id is not None and all(_OURS.fullmatch(name) for name in there) and _run_of(place) == run_id
        if there and not same:
            some = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
            problem = f"--artifacts {directory}: it is not empty and nothing in it is overwritten ({some})"
            raise UsageError(problem, hint="--artifacts NEW-DIRECTORY")
        nearest = next(candidate for candidate in (place, *place.parents) if candidate.exists())
        with tempfile.TemporaryDirectory(prefix=".architect-", dir=nearest):
            pass
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EnvironmentProblem(
            f"--artifacts {directory} cannot be written: {reason}", hint="--artifacts DIR"
        ) from error
    return place


def write_artifacts(repository: Repository, journal: Journal, run: str, directory: Path) -> list[str]:
    """Write the artifacts of a run, as far as it is, to `directory`.

    Returns:
        What could not be written, in words. The rest is there.

    Raises:
        NothingToDo: No such run.
        UsageError, EnvironmentProblem: As `require_place`, or the disk is full. Nothing of it is left then.
    """
    from architect_parallel.api.report import FORMATS, material  # all formats: not for every run that may want them

    run_id = journal.find(run)
    place = require_place(directory, run_id)
    warnings: list[str] = []
    try:
        with _staged(place) as folder:
            report = material(repository, journal, run_id)
            _write_branches(repository, report.result, folder, warnings)
            (folder / REPORT).write_bytes(FORMATS["html"](report).encode(errors="replace"))
            (folder / RESULT).write_bytes((dumps(envelope(report.result)) + "\n").encode())
            for file in folder.iterdir():
                file.chmod(0o644)
    except OSError as error:
        raise EnvironmentProblem(f"--artifacts {directory}: {error.strerror}", hint="df -h; make room") from error
    return warnings


def try_artifacts(repository: Repository, journal: Journal, run_id: str, directory: Path) -> list[str]:
    """Write artifacts at the end of a run. A failure is returned in words, so that the result is not lost with it."""
    try:
        return write_artifacts(repository, journal, run_id, directory)
    except (ArchitectParallelError, OSError) as error:
        reason = error.message if isinstance(error, ArchitectParallelError) else str(error)
        return [f"the artifacts were not written: {reason} (again: architect report {run_id} --artifacts DIR)"]


def _run_of(place: Path) -> str | None:
    """The run of these artifacts. `None` means that they are not artifacts."""
    try:
        file = place / RESULT
        small = file.is_file() and file.stat().st_size <= LIMIT_BYTES
        return read_envelope(file.read_bytes()).run_id if small else None
    except (OSError, ValueError):
        return None


def _write_branches(repository: Repository, result: RunResult, folder: Path, warnings: list[str]) -> None:
    base = result.base_commit
    without, extra = [base], {}
    if repository.store.resolve(f"{base}^{{commit}}") is not None and not is_published(repository, base):
        without = repository.store.text("rev-list", "--parents", "--max-count=1", base).split()[1:]
        extra = {BASE_REF: base}
    for worker in result.results:
        refs = _refs(repository, result, worker)
        if not refs or worker.diff is None:
            continue
        if any(
            repository.store.resolve(f"{commit}^{{commit}}") is None
            for commit in (base, worker.diff.base, *refs.values())
        ):
            warnings.append(f"worker {worker.worker_id} is not in the artifacts: its commits are gone")
            continue
        known = without
        if not repository.store.text("rev-list", "--max-count=1", worker.diff.head, *(f"^{item}" for item in without)):
            # It was moved back behind the base. A bundle without a commit cannot be: it holds this one.
            known = repository.store.text("rev-list", "--parents", "--max-count=1", worker.diff.head).split()[1:]
        parcel = BundleContent(file=folder / bundle_name(worker.worker_id), refs={**refs, **extra}, without=known)
        write_bundles(repository, [parcel])
        if changes := patch(repository.store, worker.diff.base, worker.diff.head, binary=True):
            (folder / f"worker-{worker.worker_id}.patch").write_bytes(changes)


def brings(worker: WorkerResult, base: str) -> bool:
    """Tell whether a worker of a run from `base` has a bundle.

    That includes a worker that changed nothing and started from the results of others.
    """
    return bool(worker.branch) and worker.diff is not None and worker.diff.head != base


def _refs(repository: Repository, run: RunResult, worker: WorkerResult) -> dict[str, str]:
    """The refs of a worker's bundle: its branch, and the collected commit if that is elsewhere. Empty means no work."""
    if worker.diff is None or not brings(worker, run.base_commit):
        return {}
    head = worker.diff.head
    ref = f"refs/heads/{worker.branch}"
    tip = repository.store.resolve(ref) if owns_branch(repository, worker.branch, run.run_id) else None
    if tip is None or tip == head:
        return {ref: head}
    return {ref: tip, keep_ref(run.run_id, kept_number(worker)): head}


def kept_number(worker: WorkerResult) -> int:
    """The number in the keep ref of a worker's bundle: that of its branch, or its id if the branch has no number."""
    return parse_branch_number(worker.branch) or worker.worker_id


@contextlib.contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """A folder whose files are moved to `place` at the end of the block, and removed if the block fails."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = not os.path.ismount(place) and os.access(place.parent, os.W_OK | os.X_OK)
    with tempfile.TemporaryDirectory(prefix=".architect-", dir=place.parent if beside else place) as name:
        folder = Path(name) / "artifacts"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        yield folder
        if not beside:
            for file in sorted(folder.iterdir(), key=lambda file: file.name == RESULT):
                file.replace(place / file.name)
            return
        old = Path(name) / "old"
        if place.exists():
            place.rename(old)
        try:
            folder.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
        shutil.rmtree(old, ignore_errors=True)
