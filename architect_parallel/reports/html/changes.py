"""The workers' patches, packed into the page. From them the page compares any worker with the base or another worker.

Patches against the base are enough for both. If two workers changed the same file, their patches contain the lines
around each change, and all other lines equal the base. So the page contains no whole file, and its script computes a
pair only when the user selects it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from architect_parallel.domain import RunResult, WorkerResult
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.reports.html.embedded_data import pack
from architect_parallel.reports.html.formatting import shown
from architect_parallel.snapshots.diff import FilePatch, file_patches
from architect_parallel.system.git import GitError, Repository

FILE_BYTES = 1_000_000
"""A larger patch of one file is omitted."""
READERS = 4
"""git processes at the same time."""
ALL_BYTES = 3_200_000
"""Size of all packed patches together, in base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerChanges:
    """The changes of one worker, in the form that the page's script reads."""

    worker_id: int
    files: list[dict[str, Any]]
    """Per file `path`, `status` (git's letter), and where they apply `oldPath`, `insertions`, `deletions` and `modes`.
    Also `patch`, its offset and length in the unpacked patches, or `omitted`, the reason why there is none."""
    packed: str = ""
    problem: str = ""
    """Why no changes can be shown. Empty if they can."""

    @property
    def omitted_patches(self) -> int:
        """The number of patches that do not fit into the page."""
        return sum("omitted" in file for file in self.files)


def changes_of(repository: Repository, result: RunResult) -> list[WorkerChanges]:
    """Return the changes of each worker that changed anything, in order of worker id."""
    workers = [worker for worker in result.results if worker.diff is not None and worker.diff.files]
    with ThreadPoolExecutor(max_workers=READERS) as readers:
        patches_by_worker = readers.map(lambda worker: _read_patches(repository, worker), workers)
        pairs = list(zip(workers, patches_by_worker, strict=True))
    pairs.sort(key=lambda pair: _size(pair[1]))
    changes, characters_left = [], ALL_BYTES
    for position, (worker, patches) in enumerate(pairs):
        # The smallest come first: what they do not use is left for the larger ones.
        packed = _pack_patches(worker, patches, characters_left // (len(pairs) - position))
        characters_left -= len(packed.packed)
        changes.append(packed)
    return sorted(changes, key=lambda worker: worker.worker_id)


def _read_patches(repository: Repository, worker: WorkerResult) -> Sequence[FilePatch] | str:
    """The patches of a worker, or why they cannot be read."""
    assert worker.diff is not None
    try:
        return file_patches(repository.store, worker.diff.base, worker.diff.head)
    except GitError:
        return "Its commits are no longer in this repository."
    except (ValueError, EnvironmentProblem) as error:
        return str(error)


def _size(patches: Sequence[FilePatch] | str) -> int:
    return 0 if isinstance(patches, str) else sum(len(patch.patch) for patch in patches)


def _pack_patches(worker: WorkerResult, patches: Sequence[FilePatch] | str, max_characters: int) -> WorkerChanges:
    if isinstance(patches, str):
        return WorkerChanges(worker_id=worker.worker_id, files=[], problem=patches)
    by_size = sorted(range(len(patches)), key=lambda index: len(patches[index].patch))
    indices = [index for index in by_size if len(patches[index].patch) <= FILE_BYTES]
    packed = pack((patches[index].patch for index in indices), max_characters)
    positions = dict(zip(indices, packed.positions, strict=False))
    files = [_file_data(patch, positions.get(index)) for index, patch in enumerate(patches)]
    return WorkerChanges(worker_id=worker.worker_id, files=files, packed=packed.text)


def _file_data(patch: FilePatch, position: tuple[int, int] | None) -> dict[str, Any]:
    change, file = patch.change, patch.change.file
    data: dict[str, Any] = {"path": _path(file.path), "status": file.status}
    if file.old_path is not None:
        data["oldPath"] = _path(file.old_path)
    if file.insertions is not None:
        data |= {"insertions": file.insertions, "deletions": file.deletions or 0}
    if change.old_mode != change.new_mode and file.status in "MRT":
        data["modes"] = f"{change.old_mode} → {change.new_mode}"
    if position is None:
        data["omitted"] = f"{len(patch.patch) / 1000:,.0f} kB of changes are too much for this page"
    else:
        data["patch"] = position
    return data


def _path(path: str) -> str:
    return shown(path.replace("\n", "␤"))
