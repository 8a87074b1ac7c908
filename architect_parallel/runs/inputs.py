"""Results for dependent workers: the work as their base, the final texts in their prompts.

Results are collected as they are recorded, in the dispatcher's thread, before a dependent worker may start. Specs are
completed in the thread of the worker that starts, because that runs git.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from architect_parallel.domain import SHELL, Isolation, RunPlan, Status, WorkerResult, WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.events import Recorded, WorkerFinished
from architect_parallel.landing.dependency_base import merged_base
from architect_parallel.scheduling import graph
from architect_parallel.system.git import Repository
from architect_parallel.templates import references
from architect_parallel.templates.scanner import Placeholder

MISSING = "ARCHITECT_MISSING"
"""Variable with the names of failed dependencies, one a line, for a command that goes on in spite of them."""
LESSON = "ARCHITECT_LESSON"
"""Variable with the failure of the attempt before, for a command."""


class HandingOn:
    """Keeps the results of a run's workers, and completes the specs of the workers that depend on them."""

    def __init__(self, plan: RunPlan, repository: Repository, earlier: Mapping[int, WorkerResult]) -> None:
        """Args:
        earlier: Results of earlier launches of the run, by worker id.
        """
        self._repository = repository
        self._graph = {spec.worker_id: spec.dependencies for spec in plan.workers}
        self._ids = {spec.name: spec.worker_id for spec in plan.workers}
        self._results = dict(earlier)
        self._bases: dict[int, str] = {}
        self._lock = threading.Lock()

    def take(self, recorded: Recorded) -> None:
        """Take the next event of the run."""
        if isinstance(recorded.event, WorkerFinished) and recorded.worker_id is not None:
            self._results[recorded.worker_id] = recorded.event.result

    def make_whole(self, spec: WorkerSpec) -> WorkerSpec:
        """Return `spec` with its base and with the results that its prompt or command refers to.

        Raises:
            EnvironmentProblem: The work it builds on conflicts, or a file it refers to is not there.
        """
        before = [self._results[dependency] for dependency in spec.dependencies]
        if before and spec.inherits and spec.isolation is Isolation.WORKTREE:
            spec = replace(spec, base_commit=self._base(spec, before))
        if spec.fills:
            spec = self._filled(spec)
        if spec.fills and spec.lesson and spec.backend == SHELL:
            spec = replace(
                spec, lesson="", variables={**spec.variables, LESSON: references.cut_variable(spec.lesson.strip())}
            )
        lacking = [item for item in before if item.status is not Status.SUCCESS]
        if not lacking:
            return spec
        if spec.backend == SHELL:
            names = references.cut_variable("\n".join(entry.name for entry in lacking))
            return replace(spec, variables={**spec.variables, MISSING: names})
        return replace(spec, prompt=spec.prompt + references.missing(lacking))

    def _base(self, spec: WorkerSpec, before: list[WorkerResult]) -> str:
        with self._lock:
            known = self._bases.get(spec.worker_id)
        if known is None:
            usable = [item for item in before if item.status in (Status.SUCCESS, Status.PARTIAL)]
            known = merged_base(self._repository, spec.base_commit, usable)
            with self._lock:
                self._bases[spec.worker_id] = known
        return known

    def _filled(self, spec: WorkerSpec) -> WorkerSpec:
        def value_of(reference: Placeholder) -> str:
            return self._value(reference, spec)

        if spec.backend == SHELL:
            return replace(spec, values=references.values(spec.prompt, value_of))
        return replace(spec, prompt=references.filled(spec.prompt, value_of))

    def _value(self, reference: Placeholder, spec: WorkerSpec) -> str:
        if reference.file is not None:
            return file_text(self._repository, spec.base_commit, reference)
        if reference.text == references.RESULTS:
            known = graph.closure(self._graph, spec.dependencies)
            return references.account([self._results[name] for name in sorted(known)])
        if reference.text not in self._ids:  # instructions of a `--continue` are not checked: they stay as they are
            return f"{{{{ {reference.text} }}}}"
        result = self._results[self._ids[reference.text]]
        if result.output or result.status is Status.SUCCESS:
            return result.output
        return f"[there is no result of {result.name}: it ended as {result.status}]"


def file_text(repository: Repository, commit: str, reference: Placeholder) -> str:
    """Return the text of a `file(…)` in a commit. A symbolic link is followed.

    Raises:
        EnvironmentProblem: It holds no such file.
    """
    assert reference.file is not None
    data, problem = _blob(repository, commit, reference.file)
    if problem is not None:
        raise EnvironmentProblem(f"{{{{ {reference.text} }}}}: {problem}", hint="commit it first")
    return data.decode(errors="replace").replace("\0", "")


def file_fault(repository: Repository, commit: str, path: str) -> str | None:
    """The fault of the path of a `file(…)` in a commit. `None` means that there is such a file."""
    return _blob(repository, commit, path)[1]


def _blob(repository: Repository, commit: str, path: str) -> tuple[bytes, str | None]:
    inner = references.inner_path(path)
    asked = f"{commit}:{inner}\n".encode(errors="surrogateescape")
    head, rest = b" missing", b""
    if "\n" not in inner:
        output = repository.store.run("cat-file", "--batch", "--follow-symlinks", input=asked)
        head, _, rest = output.stdout.partition(b"\n")
    match [] if head.endswith(b" missing") else head.split(b" "):
        case [_, b"blob", size]:
            return rest[: int(size)], None
        case [_, b"tree", _]:
            return b"", "is a directory"
        case [b"symlink", _]:
            return b"", "is a symbolic link that leads out of the repository"
        case _:
            return b"", f"there is no such file in {commit[:12]}"
