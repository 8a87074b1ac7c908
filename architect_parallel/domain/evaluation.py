"""What helps to choose between results: places, conflicts, and what of it can be combined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """A worker's place in a ranking."""

    place: int
    """From 1; no two workers share one."""
    worker_id: int
    model: str
    reason: str
    """Why it stands here and not one place further up, in words."""
    score: float | None = None
    """Points of 100; `None` in a lexicographic ranking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One answer of a judge that was shown two diffs; each pair is asked about twice, in both orders."""

    a: int
    """Id of the worker whose diff was shown as A."""
    b: int
    best: int | None
    """Id of the worker it chose; `None`: it chose neither, or its answer could not be read."""
    backend: str
    model: str = "default"
    cost: float | None = None
    """USD; `None`: unknown."""
    duration: float = 0.0
    """Seconds."""
    output: str = ""
    """Its final text, control sequences removed."""
    error: str | None = None
    """Why there is no answer; `None`: there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRate:
    """How often a model succeeded."""

    model: str
    runs: int
    pass_rate: float
    """0 to 1."""
    interval: tuple[float, float]
    """95 %, Wilson."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """A model over all competitions of a repository."""

    model: str
    """`default` where the backend chose."""
    backend: str
    runs: int
    """That count: its agent ran, and nobody stopped it from outside."""
    pass_rate: float
    """0 to 1."""
    interval: tuple[float, float]
    """95 %, Wilson."""
    median_cost: float | None
    """USD, of the runs whose cost is known; `None`: of none."""
    median_seconds: float | None
    """`None`: no run counts."""
    rating: float | None
    """Bradley-Terry on Elo's scale, 1500 in the middle; `None`: it never met another model."""
    rating_interval: tuple[float, float] | None
    """95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Whether two results can be merged with each other."""

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
    """Paths that several workers changed."""
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
    """More in words: the check that broke, how the worker ended; `None`: the reason says it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """The last merge of a run that stands, as its envelope shows it."""

    merged: tuple[int, ...]
    """Worker ids in the order they landed."""
    left_out: tuple[LeftOut, ...]
    target: str
    """Short name of the branch."""
    commit: str
    """Where the target went; for a pull request, where `branch` is."""
    method: str
    branch: str | None = None
    """The integration branch that was made; `None`: none was needed."""
    pull_request: bool = False
    """Whether it went out as a pull request, the target staying where it was."""
    time: datetime | None = None
