"""A plan on paper, for `--dry-run`: every worker with its branch, base and exact argv, and the most it can cost."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from architect_parallel.domain import RunPlan
from architect_parallel.events import to_plain
from architect_parallel.planning.plain_text import one_line, plain_text


def cost_ceiling(plan: RunPlan) -> float | None:
    """The most the run may spend in USD before it is stopped; `None`: no limit was set for all of it."""
    per_worker = [spec.limits.budget_usd for spec in plan.workers]
    of_workers = None if None in per_worker else sum(budget for budget in per_worker if budget is not None)
    known = [each for each in (of_workers, plan.budget_usd) if each is not None]
    return min(known, default=None)


def as_data(plan: RunPlan, argv: Mapping[int, tuple[str, ...]]) -> dict[str, Any]:
    """The plan for `--json`."""
    workers = [{**to_plain(spec), "argv": list(argv[spec.worker_id])} for spec in plan.workers]
    return {**to_plain(plan), "dry_run": True, "cost_ceiling": cost_ceiling(plan), "workers": workers}


def as_text(plan: RunPlan, argv: Mapping[int, tuple[str, ...]]) -> str:
    """The plan for people."""
    ceiling = cost_ceiling(plan)
    most = "no limit" if ceiling is None else f"${ceiling:.2f} (plus at most one model reply per running worker)"
    lines = [
        f"Would run {len(plan.workers)} tasks (max {plan.max_parallel} parallel) from {plan.base_ref} "
        f"({plan.base_commit[:12]}); nothing was started.",
        f"Cost ceiling: {most}",
    ]
    for spec in plan.workers:
        lines += [
            "",
            f"[{spec.worker_id}] {one_line(spec.prompt, 80)}",
            f"    backend   {spec.backend}, model {spec.model or 'default'}, agent {spec.agent.name}",
            f"    branch    {spec.branch}",
            f"    worktree  {spec.worktree_path}",
            f"    command   {_command(argv[spec.worker_id])}",
        ]
    return "\n".join(lines)


def _command(argv: tuple[str, ...]) -> str:
    words = [word if len(word) <= 400 else f"{word[:200]}...({len(word)} characters)" for word in argv]
    return plain_text(shlex.join(words)).replace("\n", "\\n")
