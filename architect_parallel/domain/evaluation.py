"""Data for the choice between results: ranks, conflicts, and sets that merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """A worker's rank among the results of its task."""

    place: int
    """From 1. No two workers share one."""
    worker_id: int
    model: str
    reason: str
    """The reason why the rank is not one better."""
    score: float | None = None
    """Points of 100. `None` in a lexicographic ranking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One answer of a judge that was shown two diffs. Each pair is asked twice, in both orders."""

    a: int
    """Id of the worker whose diff was shown as A."""
    b: int
    best: int | None
    """Id of the chosen worker. `None` means that the judge chose neither, or that its answer could not be read."""
    backend: str
    model: str = "default"
    cost: float | None = None
    """USD. `None` means unknown."""
    duration: float = 0.0
    """Seconds."""
    output: str = ""
    """The judge's final text, control sequences removed."""
    error: str | None = None
    """The reason for a missing answer. `None` means that there is an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRate:
    """The share of a model's results that succeeded."""

    model: str
    runs: int
    pass_rate: float
    """0 to 1."""
    interval: tuple[float, float]
    """95 %, Wilson."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """One model over all competitions of a repository."""

    model: str
    """`default` if the backend chose."""
    backend: str
    runs: int
    """Runs that count: the agent ran, and it was not stopped from outside."""
    pass_rate: float
    """0 to 1."""
    interval: tuple[float, float]
    """95 %, Wilson."""
    median_cost: float | None
    """USD, over the runs whose cost is known. `None` means that no cost is known."""
    median_seconds: float | None
    """`None` means that no run counts."""
    rating: float | None
    """Bradley-Terry on Elo's scale, 1500 in the middle. `None` means that it never met another model."""
    rating_interval: tuple[float, float] | None
    """95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two results, and whether they merge cleanly."""

    a: int | str
    """Worker id, or the current branch's name."""
    b: int
    clean: bool
    files: tuple[str, ...] = ()
    """Conflicting paths, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The results of a run side by side."""

    conflicts: tuple[Pair, ...]
    """Every pair of workers with changes, and each with the current branch."""
    shared_files: Mapping[str, tuple[int, ...]]
    """Paths that several workers changed, with the ids of these workers."""
    proposed: tuple[int, ...]
    """The largest set that merges cleanly with the current branch and with each other, in the order to merge."""
    order: tuple[int, ...]
    """All workers with changes: the proposed ones, then the rest in the order to try them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A worker whose result does not land."""

    worker_id: int
    reason: str
    """`conflict`, `check` or `not_successful`."""
    files: tuple[str, ...] = ()
    """Conflicting paths, sorted."""
    detail: str | None = None
    """The failed check, or how the worker ended. `None` means that the reason is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """The last merge of a run that was not undone, as in the envelope."""

    merged: tuple[int, ...]
    """Worker ids in the order they landed."""
    left_out: tuple[LeftOut, ...]
    target: str
    """Short name of the branch."""
    commit: str
    """The new commit of the target. For a pull request, the commit of `branch`."""
    method: str
    branch: str | None = None
    """The integration branch that was made. `None` means that none was needed."""
    pull_request: bool = False
    """It was published as a pull request, and the target stayed."""
    time: datetime | None = None
