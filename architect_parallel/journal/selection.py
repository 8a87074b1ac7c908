"""The run and the workers that the words of a command line select: the one reading of `[RUN] [N]...`.

No word means the newest run. A lone number is a worker of the newest run. Any other first word is a run, or the name or
branch of a worker. Each further word is a worker's number, name or branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from architect_parallel.domain import WorkerSpec
from architect_parallel.errors import NothingToDo, UsageError
from architect_parallel.text.names import is_worker_number
from architect_parallel.text.quantities import summarize
from architect_parallel.text.sanitize import one_line
from architect_parallel.text.suggest import did_you_mean

if TYPE_CHECKING:
    from architect_parallel.journal.database import Journal

NEWEST = "latest"
"""The word for the newest run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A run, and the workers of it that were named."""

    run_id: str
    worker_ids: tuple[int, ...] = ()
    """Without repetitions, in the order of the words. Empty means that no worker was named."""

    @property
    def words(self) -> str:
        """The run and its workers, as a user can type them."""
        return " ".join([self.run_id, *map(str, self.worker_ids)])


def select(journal: Journal, words: Sequence[str] = ()) -> Selection:
    """Read the words `[RUN] [N]...`.

    Raises:
        NothingToDo: There is no such run.
        UsageError: There is no such worker, or a word fits several runs or a run and a worker.
    """
    run, rest = (words[0], words[1:]) if words else (NEWEST, ())
    if is_worker_number(run):
        run, rest = NEWEST, words
    elif run != NEWEST and (run_id := _run_of_worker(journal, run)) is not None:
        run, rest = run_id, words
    run_id = journal.find(run)
    ids = find_workers(run_id, journal.planned(run_id), rest) if rest else ()
    return Selection(run_id=run_id, worker_ids=ids)


def select_worker(journal: Journal, words: Sequence[str]) -> Selection:
    """Read the words `[RUN] N`. The only worker of a run needs no N. Raises as `select`.

    Raises:
        UsageError: No worker is named in a run of several, or more than one is.
    """
    selection = select(journal, words)
    if len(selection.worker_ids) == 1:
        return selection
    if selection.worker_ids:
        raise UsageError(f"{len(selection.worker_ids)} workers given, but only one is possible here")
    planned = journal.planned(selection.run_id)
    if len(planned) == 1:
        return Selection(run_id=selection.run_id, worker_ids=(planned[0].worker_id,))
    raise no_worker_given(selection.run_id, planned)


def no_worker_given(run_id: str, planned: Sequence[WorkerSpec], hint: str | None = None) -> UsageError:
    """The error that no worker is named. It lists them."""
    return UsageError(
        f"no worker given; run {run_id} has {_listed(planned)}", hint=hint or f"architect status {run_id}"
    )


def find_workers(run_id: str, planned: Sequence[WorkerSpec], words: Sequence[str | int]) -> tuple[int, ...]:
    """The ids of the workers that `words` name: numbers, names or branches.

    Raises:
        UsageError: The run has no such worker, or several with that name. The message lists the candidates.
    """
    ids: dict[int, None] = {}
    for word in map(str, words):
        fits = _fits(planned, word)
        if len(fits) > 1:
            raise UsageError(f"{word!r} fits several workers of run {run_id}: {_listed(fits)}", hint="give the number")
        if not fits:
            shown = word if word.isdecimal() else repr(word)
            near = did_you_mean(word, [spec.name for spec in planned])
            problem = f"run {run_id} has no worker {shown}, it has {_listed(planned)}{near}"
            raise UsageError(problem, hint=f"architect status {run_id}")
        ids[fits[0].worker_id] = None
    return tuple(ids)


def _fits(planned: Sequence[WorkerSpec], word: str) -> list[WorkerSpec]:
    if word.isascii() and word.isdigit():
        by_number = [spec for spec in planned if spec.worker_id == int(word)]
        if by_number:
            return by_number
    return [spec for spec in planned if word in (spec.name, spec.branch)]


def _run_of_worker(journal: Journal, word: str) -> str | None:
    """The run that has a worker of this name or branch. `None` means that `word` has to be a run.

    A name is looked for in the newest run, a branch in all of them.

    Raises:
        NothingToDo: There is neither such a run nor such a worker.
        UsageError: There are both.
    """
    run_ids = journal.run_ids()
    if word in run_ids or not run_ids:
        return None
    runs = journal.fitting(word)
    # No id of a run has a slash, so that other runs are searched only for a branch.
    for run_id in run_ids if "/" in word else run_ids[:1]:
        if workers := _fits(journal.planned(run_id), word):
            if runs:
                fits = f"run {runs[0]} and worker {_listed(workers)} of run {run_id}"
                raise UsageError(f"{word!r} fits {fits}", hint="give the worker's number, or more of the run's name")
            return run_id
    if not runs:
        near = did_you_mean(word, [spec.name for spec in journal.planned(run_ids[0])])
        raise NothingToDo(f"there is no run {word!r}, and no worker of that name{near}", hint="architect status")
    return None


def _listed(workers: Sequence[WorkerSpec]) -> str:
    """Numbers, and names where a task has one: `1 to 3`, `1 (review), 2 (docs)`."""
    ids = [spec.worker_id for spec in workers]
    if len(ids) > 1 and all(spec.name == f"worker-{spec.worker_id}" for spec in workers):
        return f"{ids[0]} to {ids[-1]}"
    named = [f"{spec.worker_id} ({one_line(spec.name, 40)})" for spec in workers]
    return summarize(named, most=10) or "none yet"
