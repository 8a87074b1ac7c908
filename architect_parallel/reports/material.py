"""What every report of a run is made of: facts from the journal and git, and what was computed from them once."""

from __future__ import annotations

from dataclasses import dataclass

from architect_parallel.domain import Comparison, ModelRate, Rank, RunResult
from architect_parallel.events import Recorded
from architect_parallel.system.git import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One run, ready to be shown. Reports read it and compute nothing of their own that another might differ in."""

    repository: Repository
    result: RunResult
    recorded: tuple[Recorded, ...]
    """All events of the run so far, in order."""
    ranking: tuple[Rank, ...] = ()
    """Of the workers that ended, task by task; empty where each task had one worker."""
    rates: tuple[ModelRate, ...] = ()
    """Of a competition with several runs of each model."""
    comparison: Comparison | None = None
    """`None`: there is nothing to compare, or git is too old to."""
