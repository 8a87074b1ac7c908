"""The workers' patches, packed into the page; from them the page shows any worker against the base or another worker.

Patches against one base are enough for both: where two workers changed the same file, the lines around each change
are in its patch, and what one of them left alone is as it was. So no file is embedded whole and no pair is computed
before somebody looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from architect_parallel.domain import RunResult, WorkerResult
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.reports.html.figures import shown
from architect_parallel.reports.html.packing import pack
from architect_parallel.system.git import GitError, Repository
from architect_parallel.worktrees.differences import FilePatch, file_patches

FILE_BYTES = 1_000_000
"""A patch of one file beyond it is left out."""
READERS = 4
"""git processes at once."""
ALL_BYTES = 3_200_000
"""Of base64, over all workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerChanges:
    """What one worker changed, as the page's script takes it."""

    worker_id: int
    files: list[dict[str, Any]]
    """Per file `p` path, `o` old path, `s` git's letter, `i` and `d` line counts, `m` modes, `at` the patch's place,
    or `why` there is none."""
    packed: str = ""
    problem: str = ""
    """Why nothing can be shown."""

    @property
    def omitted_patches(self) -> int:
        """How many patches did not fit."""
        return sum("omitted" in file for file in self.files)


def changes_of(repository: Repository, result: RunResult) -> list[WorkerChanges]:
    """Every worker that changed something, in order of worker id."""
    changed = [each for each in result.results if each.diff is not None and each.diff.files]
    with ThreadPoolExecutor(max_workers=READERS) as readers:
        patches_of = readers.map(lambda worker: _read(repository, worker), changed)
        read = list(zip(changed, patches_of, strict=True))
    read.sort(key=lambda pair: _size(pair[1]))
    found, room = [], ALL_BYTES
    for position, (worker, patches) in enumerate(read):
        # The small ones first: what they do not need is left for the large ones.
        changes = _packed(worker, patches, room // (len(read) - position))
        room -= len(changes.packed)
        found.append(changes)
    return sorted(found, key=lambda changes: changes.worker_id)


def _read(repository: Repository, worker: WorkerResult) -> Sequence[FilePatch] | str:
    assert worker.diff is not None
    try:
        return file_patches(repository.store, worker.diff.base, worker.diff.head)
    except GitError:
        return "Its commits are not in this repository any more."
    except (ValueError, EnvironmentProblem) as error:
        return str(error)


def _size(patches: Sequence[FilePatch] | str) -> int:
    return 0 if isinstance(patches, str) else sum(len(each.patch) for each in patches)


def _packed(worker: WorkerResult, patches: Sequence[FilePatch] | str, room: int) -> WorkerChanges:
    if isinstance(patches, str):
        return WorkerChanges(worker_id=worker.worker_id, files=[], problem=patches)
    by_size = sorted(range(len(patches)), key=lambda index: len(patches[index].patch))
    fitting = [index for index in by_size if len(patches[index].patch) <= FILE_BYTES]
    packed = pack((patches[index].patch for index in fitting), room)
    places = dict(zip(fitting, packed.places, strict=False))
    files = [_file(each, places.get(index)) for index, each in enumerate(patches)]
    return WorkerChanges(worker_id=worker.worker_id, files=files, packed=packed.text)


def _file(each: FilePatch, place: tuple[int, int] | None) -> dict[str, Any]:
    change = each.change
    file: dict[str, Any] = {"path": shown(change.file.path.replace("\n", "␤")), "status": change.file.status}
    if change.file.old_path is not None:
        file["oldPath"] = shown(change.file.old_path.replace("\n", "␤"))
    if change.file.insertions is not None:
        file |= {"insertions": change.file.insertions, "deletions": change.file.deletions or 0}
    if change.old_mode != change.new_mode and change.file.status in "MRT":
        file["modes"] = f"{change.old_mode} → {change.new_mode}"
    if place is None:
        file["omitted"] = f"{len(each.patch) / 1000:,.0f} kB of changes are too much for this page"
    else:
        file["patch"] = place
    return file
