"""architect-parallel: coding agents in parallel git worktrees, supervised and collected from git.

The Python API is the names below; they are imported when first asked for, so that `architect --help` stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from architect_parallel.api.planning import ParallelConfig
    from architect_parallel.api.running import ParallelRunner
    from architect_parallel.api.watching import watch
    from architect_parallel.domain import WorkerResult
    from architect_parallel.system.gitpython import open_repository

__all__ = ["ParallelConfig", "ParallelRunner", "WorkerResult", "open_repository", "watch"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {
        "ParallelConfig": "api.planning",
        "ParallelRunner": "api.running",
        "WorkerResult": "domain",
        "open_repository": "system.gitpython",
        "watch": "api.watching",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"architect_parallel.{homes[name]}"), name)
