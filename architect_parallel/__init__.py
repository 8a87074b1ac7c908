"""architect-parallel: coding agents in parallel git worktrees, supervised and collected from git.

The Python API is the three names below; they are imported when first asked for, so that `architect --help` stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from architect_parallel.api import ParallelConfig, ParallelRunner
    from architect_parallel.domain import WorkerResult

__all__ = ["ParallelConfig", "ParallelRunner", "WorkerResult"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("ParallelConfig", "ParallelRunner"):
        from architect_parallel import api

        return getattr(api, name)
    if name == "WorkerResult":
        from architect_parallel.domain import WorkerResult

        return WorkerResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
