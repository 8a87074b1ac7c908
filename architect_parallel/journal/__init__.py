"""The run database: what happened, in order, durably. And what a run amounts to, by replay of its events.

`database` keeps events and operations in SQLite and tells live runs from dead ones. `replay` is pure and the only
builder of a `RunResult`. Nothing here touches git, a worktree or an agent.
"""

from architect_parallel.journal.database import Journal
from architect_parallel.journal.operations import Operation

__all__ = ["Journal", "Operation"]
