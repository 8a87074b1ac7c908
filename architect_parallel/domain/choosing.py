"""What helps to choose between results: places, conflicts, and what of it can be combined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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
class ModelRate:
    """How often a model succeeded."""

    model: str
    runs: int
    pass_rate: float
    """0 to 1."""
    interval: tuple[float, float]
    """95 %, Wilson."""


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
