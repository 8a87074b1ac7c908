"""The bounds of runs within runs: how deep this process is, and the budget of the worker above it.

A launcher tells both to the agents that it starts. An agent may start another launcher, such as `architect mcp`, which
reads them before it starts a run.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path

from architect_parallel.domain import Limits
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.supervision.sweep import COOKIE
from architect_parallel.system.git import Git, lender_of

DEPTH = "ARCHITECT_WORKER_DEPTH"
BUDGET = "ARCHITECT_WORKER_BUDGET"


def nesting_variables(environ: Mapping[str, str], limits: Limits) -> dict[str, str]:
    """The variables for an agent with these limits, started by a launcher with this environment."""
    budgets = [limits.budget_usd, limits.run_budget_usd, inherited_budget_usd(environ)]
    known = [budget for budget in budgets if budget is not None]
    return {DEPTH: str(depth(environ) + 1), **({BUDGET: repr(min(known))} if known else {})}


def depth(environ: Mapping[str, str], directory: Path | None = None) -> int:
    """The number of workers above this process. 0 means that a person or another program started it.

    Args:
        directory: Some agents start programs with an empty environment. The worktree of a running agent then tells
            that there is a worker. `None` means that only the environment is asked.
    """
    with contextlib.suppress(ValueError):
        if (number := int(environ.get(DEPTH, "0"))) > 0:
            return number
    if COOKIE in environ:
        return 1
    if directory is not None:
        with contextlib.suppress(ArchitectParallelError):
            common_dir = Git(cwd=directory).run("rev-parse", "--path-format=absolute", "--git-common-dir", check=False)
            return int(common_dir.code == 0 and lender_of(Path(common_dir.text)) is not None)
    return 0


def inherited_budget_usd(environ: Mapping[str, str]) -> float | None:
    """The budget of the worker above. `None` means no limit, or that there is no worker."""
    with contextlib.suppress(ValueError):
        budget = float(environ.get(BUDGET, ""))
        return budget if math.isfinite(budget) and budget > 0 else 0.0
    return None
