"""The surroundings that task files, specs and flows are checked against."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationContext:
    """The directories and names that exist where a file is used."""

    directory: Path
    """The directory at which its relative paths begin. Absolute."""
    checkout: Path | None
    """Top of the checkout, resolved. `None` means that there is none."""
    backends: Collection[str]
    agents: Collection[str] | None
    """Names of agent profiles. `None` means that any name is accepted."""
    ceiling: int
    """The highest value of `max_parallel`."""
    branches: Callable[[], Collection[str]] = tuple
    """Returns the short names of the local branches. Called only where they matter."""
    file_fault: Callable[[str], str | None] = lambda path: None
    """Returns the fault of a `file(…)` by its path as written. `None` means no fault, or that it cannot be known."""
