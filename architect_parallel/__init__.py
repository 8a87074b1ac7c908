"""architect-parallel: coding agents in parallel git worktrees, supervised and collected from git.

The Python API is the names below; they are imported when first asked for, so that `architect --help` stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.domain import WorkerResult
    from architect_parallel.runs.options import ParallelConfig
    from architect_parallel.runs.watch import watch

__all__ = ["ParallelConfig", "ParallelRunner", "WorkerResult", "watch"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {
        "ParallelConfig": "runs.options",
        "ParallelRunner": "api.launch",
        "WorkerResult": "domain",
        "watch": "runs.watch",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"architect_parallel.{homes[name]}"), name)
