"""The nouns of the program as frozen data: what is planned, what limits it, how it ended.

No behaviour beyond cheap derived values, no imports from the rest of the package, no I/O. Units stand in the
names (`_s` seconds, `_usd` US dollars, `_bytes`); the public fields fixed by the contract (`cost`, `duration`)
are USD and seconds. `None` means *unknown* or *no limit* and is never written as 0. Times are UTC and aware.
"""

from architect_parallel.domain.choosing import (
    Comparison,
    Judgement,
    ModelRate,
    Pair,
    Place,
    Standing,
)
from architect_parallel.domain.plans import (
    AgentProfile,
    Competition,
    Limits,
    RunPlan,
    Task,
    TaskFile,
    TaskText,
    WorkerSpec,
)
from architect_parallel.domain.results import (
    Attempt,
    CheckResult,
    Diff,
    Escape,
    FileChange,
    RunResult,
    Usage,
    WorkerResult,
)
from architect_parallel.domain.settings import (
    BackendSettings,
    ParallelSettings,
    Price,
    ProviderSettings,
    RateLimit,
    Settings,
    WorktreeSettings,
)
from architect_parallel.domain.words import (
    ApprovalMode,
    CheckChange,
    Complexity,
    CostBasis,
    Isolation,
    Outcome,
    OutputFormat,
    Reason,
    RunStatus,
    SandboxMode,
    Score,
    Status,
    Tripwire,
)

__all__ = [
    "AgentProfile",
    "ApprovalMode",
    "Attempt",
    "BackendSettings",
    "CheckChange",
    "CheckResult",
    "Comparison",
    "Competition",
    "Complexity",
    "CostBasis",
    "Diff",
    "Escape",
    "FileChange",
    "Isolation",
    "Judgement",
    "Limits",
    "ModelRate",
    "Outcome",
    "OutputFormat",
    "Pair",
    "ParallelSettings",
    "Place",
    "Price",
    "ProviderSettings",
    "RateLimit",
    "Reason",
    "RunPlan",
    "RunResult",
    "RunStatus",
    "SandboxMode",
    "Score",
    "Settings",
    "Standing",
    "Status",
    "Task",
    "TaskFile",
    "TaskText",
    "Tripwire",
    "Usage",
    "WorkerResult",
    "WorkerSpec",
    "WorktreeSettings",
]
