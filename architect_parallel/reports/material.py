"""The input of every report of a run: facts from the journal and git, and results computed from them once."""

from __future__ import annotations

from dataclasses import dataclass

from architect_parallel.domain import Comparison, ModelRate, Rank, RunResult
from architect_parallel.events import Recorded
from architect_parallel.system.git import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One run, ready for reports. Reports compute nothing themselves in which two of them could differ."""

    repository: Repository
    result: RunResult
    recorded: tuple[Recorded, ...]
    """All events of the run so far, in order."""
    ranking: tuple[Rank, ...] = ()
    """The ranks of the workers that ended, task by task. It is empty where each task had one worker."""
    rates: tuple[ModelRate, ...] = ()
    """The pass rates in a competition with several runs of each model."""
    comparison: Comparison | None = None
    """`None` means that there is nothing to compare, or that git is too old to compare."""
