"""Results side by side: which of them conflict, and the largest set that merges cleanly.

Read-only. All pairs go through one `git merge-tree` process, in a temporary repository. Pairs that merge cleanly do not
prove that all of them do together, so the proposed set is merged there for real, in its order. A set that fails is not
proposed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from architect_parallel.domain import Comparison, Pair, RunResult, Status
from architect_parallel.errors import EnvironmentProblem, NothingToDo, UsageError
from architect_parallel.evaluation.merge_sets import propose
from architect_parallel.landing.sources import Source, require_source
from architect_parallel.repository.temporary_repository import NOBODY, temporary_repository
from architect_parallel.system.git import Git, Repository, version

BATCH_VERSION = (2, 39)
"""First git with `merge-tree --stdin`."""
_MOST_ATTEMPTS = 30
"""Sets of results whose pairs merge cleanly, tried at most until one merges cleanly as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onto:
    """The commit that results are compared with: a branch or a detached HEAD."""

    name: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merged:
    tree: str
    files: tuple[str, ...]
    """Conflicting paths, sorted. Empty means a clean merge."""
    clean: bool


def require_batches() -> None:
    """Raise EnvironmentProblem if git is too old to merge many pairs in one process."""
    if version() < BATCH_VERSION:
        present, needed = ".".join(map(str, version())), ".".join(map(str, BATCH_VERSION))
        raise EnvironmentProblem(f"git {present} is too old to compare results", hint=f"install git {needed} or newer")


def compare(repository: Repository, result: RunResult, *, into: str | None = None) -> Comparison:
    """Compare the results of workers that ended with changes, with each other and with a branch.

    Args:
        into: Short name of a local branch. `None` means the current one.

    Raises:
        UsageError: The branch does not exist.
        EnvironmentProblem: git is too old.
    """
    require_batches()
    sources = []
    for worker in result.results:
        try:
            sources.append(require_source(repository, result, worker))
        except NothingToDo:
            continue
    return compare_sources(repository, sources, _onto(repository, into))


def compare_sources(repository: Repository, sources: Sequence[Source], onto: Onto | None) -> Comparison:
    """Compare chosen results. Results that succeeded are preferred, then lower ids.

    Args:
        onto: `None` means that there is no branch to compare with (an unborn HEAD).
    """
    wanted = sorted(sources, key=lambda source: (source.worker.status is not Status.SUCCESS, source.worker_id))
    commits = {name.worker_id: name.commit for name in wanted}
    names: list[tuple[int | str, int]] = [(onto.name, worker) for worker in sorted(commits)] if onto else []
    names += combinations(sorted(commits), 2)
    with temporary_repository(repository, as_merged=True) as git:
        pairs = [(commits[a] if isinstance(a, int) else onto.commit if onto else "", commits[b]) for a, b in names]
        merged = dict(zip(names, _merge_all(git, pairs), strict=True))
        against: dict[int, set[int]] = {worker: set() for worker in commits}
        for (a, b), outcome in merged.items():
            if isinstance(a, int) and not outcome.clean:
                against[a].add(b)
                against[b].add(a)
        excluded = {b for (a, b), outcome in merged.items() if not isinstance(a, int) and not outcome.clean}
        proposed, order = _propose_verified(git, tuple(commits), against, excluded, commits, onto)
    return Comparison(
        conflicts=tuple(Pair(a=a, b=b, clean=merge.clean, files=merge.files) for (a, b), merge in merged.items()),
        shared_files=_shared_files(wanted),
        proposed=proposed,
        order=order,
    )


def _propose_verified(
    git: Git,
    workers: tuple[int, ...],
    against: dict[int, set[int]],
    excluded: set[int],
    commits: dict[int, str],
    onto: Onto | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Propose sets until one really merges cleanly in its order."""
    known: dict[tuple[int, ...], str] = {}
    apart: set[frozenset[int]] = set()
    for _ in range(_MOST_ATTEMPTS):
        proposed, order = propose(workers, against, excluded=excluded, apart=apart)
        clean = _clean_together(git, proposed, commits, onto, known)
        if len(clean) == len(proposed):
            return proposed, order
        apart.add(frozenset(proposed[: len(clean) + 1]))
    return clean, (*clean, *(worker for worker in order if worker not in clean))


def _clean_together(
    git: Git, chosen: tuple[int, ...], commits: dict[int, str], onto: Onto | None, known: dict[tuple[int, ...], str]
) -> tuple[int, ...]:
    """Count how many of `chosen` merge cleanly one after another. `known` caches the commit of each prefix."""
    done: tuple[int, ...] = ()
    tip = onto.commit if onto else None
    for worker in chosen:
        now = (*done, worker)
        if now not in known:
            if tip is None:
                known[now] = commits[worker]
            else:
                merged = _merge_all(git, [(tip, commits[worker])])[0]
                if not merged.clean:
                    return done
                words = ("commit-tree", merged.tree, "-p", tip, "-p", commits[worker], "-m", "together")
                known[now] = git.run(*words, env=NOBODY).text
        done, tip = now, known[now]
    return done


def _merge_all(git: Git, pairs: Sequence[tuple[str, str]]) -> list[_Merged]:
    """Merge every pair in one process."""
    if not pairs:
        return []
    lines = "".join(f"{ours} {theirs}\n" for ours, theirs in pairs).encode()
    words = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "--allow-unrelated-histories")
    fields = iter(git.run(*words, "--stdin", input=lines).fields)
    merged = []
    for state in fields:  # `1` is clean; then the tree, conflicting paths, an empty field
        tree = next(fields)
        paths = iter(lambda: next(fields), "")
        merged.append(_Merged(tree=tree, files=tuple(sorted(set(paths))), clean=state == "1"))
    return merged


def _shared_files(sources: Sequence[Source]) -> dict[str, tuple[int, ...]]:
    """Paths that several results changed, sorted. The old names of renamed files count."""
    touched: dict[str, set[int]] = {}
    for source in sources:
        for change in source.worker.diff.files if source.worker.diff else ():
            for path in (change.path, change.old_path):
                if path is not None:
                    touched.setdefault(path, set()).add(source.worker_id)
    return {path: tuple(sorted(workers)) for path, workers in sorted(touched.items()) if len(workers) > 1}


def _onto(repository: Repository, into: str | None) -> Onto | None:
    if into is not None:
        commit = repository.store.resolve(f"refs/heads/{into}") if "\0" not in into else None
        if commit is None:
            raise UsageError(f"there is no local branch {into!r}", hint="git branch --list")
        return Onto(name=into, commit=commit)
    commit = repository.git.resolve("HEAD^{commit}")
    if commit is None:
        return None
    branch = repository.git.run("symbolic-ref", "--quiet", "--short", "HEAD", check=False).text
    return Onto(name=branch or "HEAD", commit=commit)
