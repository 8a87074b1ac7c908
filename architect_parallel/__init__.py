"""architect-parallel: coding agents in parallel git worktrees, supervised and collected from git.

The Python API is the names below. They are imported on first use, so that `architect --help` stays fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from architect_parallel.api.launch import ParallelRunner
    from architect_parallel.domain import RunResult, WorkerResult
    from architect_parallel.runs.history import runs
    from architect_parallel.runs.options import ParallelConfig
    from architect_parallel.runs.watch import watch
    from architect_parallel.system.gitpython import open_repository

__all__ = ["ParallelConfig", "ParallelRunner", "RunResult", "WorkerResult", "open_repository", "runs", "watch"]

try:
    # The build writes this module from the git tag. Reading the package's metadata would slow down every start.
    from architect_parallel._version import __version__ as __version__
except ImportError:  # a checkout that was never installed
    __version__ = "0.0.0"


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {
        "ParallelConfig": "runs.options",
        "ParallelRunner": "api.launch",
        "RunResult": "domain",
        "WorkerResult": "domain",
        "open_repository": "system.gitpython",
        "watch": "runs.watch",
    }
    if name == "runs":
        return import_module("architect_parallel.runs")  # the package can be called
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"architect_parallel.{homes[name]}"), name)
