"""The keys of a configuration file that count only if the user trusts the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from architect_parallel.config.yaml_source import KeyPath
from architect_parallel.domain import AUTO, ApprovalMode, Network, SandboxLevel, SandboxMode, runs_named_program
from architect_parallel.text.place_names import DEFAULT_ROOT

_LIMITS = frozenset(
    {
        *("workers", "workers_ceiling", "max_parallel", "max_steps", "retries"),
        *("budget", "budget_per_worker", "memory_per_worker", "output_per_worker", "processes_per_worker"),
        *("timeout", "timeout_per_worker", "idle_timeout", "check_timeout", "rate_limit_wait", "grace"),
    }
)
"""Keys of `parallel_runs` of which a higher value, or none, lets agents do or cost more."""
_RESERVES = frozenset({"min_free_memory", "min_free_disk"})
"""Keys of `parallel_runs` of which a lower value lets agents use more."""


_CLUSTER = ("hosts", "tls_dir", "insecure")


def only_own(data: dict[str, Any]) -> Iterator[KeyPath]:
    """Keys of a checked layer that only the user's own file may set, whether or not another file is trusted.

    They run a command at the end of each run, or send the code to other machines.
    """
    if data.get("on_finish") is not None:
        yield ("on_finish",)
    yield from (("parallel_runs", name) for name in _CLUSTER if data.get("parallel_runs", {}).get(name))


def dangerous(data: dict[str, Any]) -> Iterator[KeyPath]:
    """Keys of a checked layer that only a trusted file may set.

    They run a program of the repository's choice, hand on variables of the environment, reach outside the
    repository, make money look like less, or let an agent do more than it otherwise may. The tightest modes are always
    allowed.
    """
    yield from (("backends", name) for name in data.get("backends", {}))
    yield from (("prices", name) for name in data.get("prices", {}))
    worktrees = data.get("worktrees", {})
    if worktrees.get("setup"):
        yield ("worktrees", "setup")
    if worktrees.get("setup_env"):
        yield ("worktrees", "setup_env")
    if worktrees.get("root", DEFAULT_ROOT) != DEFAULT_ROOT:  # a link in the repository can lead anywhere
        yield ("worktrees", "root")
    if worktrees.get("link"):
        yield ("worktrees", "link")
    if any(_leads_outside(pattern) for pattern in worktrees.get("copy", ())):
        yield ("worktrees", "copy")
    tightest = {"approval_mode": ApprovalMode.ALWAYS, "sandbox_mode": SandboxMode.READ_ONLY}
    for name, agent in data.get("agents", {}).items():
        yield from (("agents", name, key) for key, mode in tightest.items() if agent.get(key, mode) != mode)
        if runs_named_program(agent.get("backend")):
            yield ("agents", name, "backend")
    if data.get("parallel_runs", {}).get("checks"):
        yield ("parallel_runs", "checks")
    if data.get("parallel_runs", {}).get("checks_env"):
        yield ("parallel_runs", "checks_env")
    if data.get("ui", {}).get("editor"):
        yield ("ui", "editor")
    if runs_named_program(data.get("parallel_runs", {}).get("backend")):
        yield ("parallel_runs", "backend")
    # A file may tighten the containment and hide more. Here each layer is alone: what it tightens is not known, so
    # only the tightest words count.
    tight = {"level": SandboxLevel.CLOSED, "network": Network.NONE, "hide": None, "key_proxy": AUTO}
    yield from (
        ("sandbox", key)
        for key, value in data.get("sandbox", {}).items()
        if key not in tight or tight[key] not in (None, value)
    )
    if data.get("parallel_runs", {}).get("tripwire", "fail") != "fail":
        yield ("parallel_runs", "tripwire")


def loosened(data: dict[str, Any], user: dict[str, Any]) -> Iterator[KeyPath]:
    """Keys of a checked layer that loosen a limit which the user has set."""
    limits, own = user.get("parallel_runs", {}), data.get("parallel_runs", {})
    for name in own.keys() & limits.keys() & _LIMITS:
        if limits[name] is not None and (own[name] is None or own[name] > limits[name]):
            yield ("parallel_runs", name)
    for name in own.keys() & limits.keys() & _RESERVES:
        if own[name] < limits[name]:
            yield ("parallel_runs", name)
    for name in data.get("providers", {}).keys() & user.get("providers", {}).keys():
        yield ("providers", name)


def _leads_outside(pattern: str) -> bool:
    return pattern.startswith(("/", "~")) or ".." in pattern.split("/")
