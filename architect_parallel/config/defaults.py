"""Built-in agents, and the names of environment variables that are settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from architect_parallel.domain import SandboxMode

VARIABLE_PREFIX = "ARCHITECT_"


OTHER_VARIABLES = frozenset(
    {
        "ARCHITECT_API_BASE",
        "ARCHITECT_NAME",
        "ARCHITECT_PORT",
        "ARCHITECT_PROGRESS_FILE",
        "ARCHITECT_PURSE",
        "ARCHITECT_SANDBOX_WITHOUT",
        "ARCHITECT_SCRIPTED_MODELS",
        "ARCHITECT_SYSTEM_PROMPT",
        "ARCHITECT_WORKER_BUDGET",
        "ARCHITECT_WORKER_COOKIE",
        "ARCHITECT_WORKER_DEPTH",
        "ARCHITECT_WORKER_ID",
    }
)
"""Variables of this program that are not settings."""


BUILT_IN_AGENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "build": {},
        "plan": {
            "system_prompt": "Make a plan for the task. Read what you need, change no file, and answer with the plan.",
            "sandbox_mode": SandboxMode.READ_ONLY,
        },
        "review": {
            "system_prompt": "Review the code the task names. Change no file, and answer with what you found, the worst"
            " first, each with file and line.",
            "sandbox_mode": SandboxMode.READ_ONLY,
        },
    }
)
