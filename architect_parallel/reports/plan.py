"""The plan of a run for `--dry-run`: every worker with branch, base and exact argv, and the most the run can cost."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from architect_parallel.domain import (
    SHELL,
    Competition,
    Complexity,
    Isolation,
    Network,
    RunPlan,
    WorkerSpec,
    Workflow,
    total_usd,
)
from architect_parallel.event_json import to_plain
from architect_parallel.reports.text import task_words
from architect_parallel.scheduling.check_policy import of_base
from architect_parallel.text.quantities import show_count
from architect_parallel.text.sanitize import one_line, plain_text


def cost_ceiling(plan: RunPlan) -> float | None:
    """The most USD that the run may spend before it is stopped. `None` means that no limit covers the whole run."""
    of_workers = total_usd(spec.limits.budget_usd for spec in plan.workers)
    known = [limit for limit in (of_workers, plan.budget_usd) if limit is not None]
    return min(known, default=None)


def opening(plan: RunPlan) -> str:
    """The first line of a run."""
    if not plan.workers:
        return f"Ending run {plan.run_id}: every worker had ended when its launcher died..."
    count = len(plan.workers)
    attempts = count > 1 and not plan.is_graph and len({spec.prompt for spec in plan.workers}) == 1
    what = f"{count} attempts at one task" if attempts else show_count(count, "task")
    return f"Running {what} (max {min(plan.max_parallel, count)} parallel)..."


def starting_notes(plan: RunPlan) -> list[str]:
    """Facts to know before the agents start: files that they do not get, further paid attempts."""
    notes = []
    if plan.uncommitted:
        verb = "is" if plan.uncommitted == 1 else "are"
        files = show_count(plan.uncommitted, "uncommitted file")
        notes.append(f"{files} {verb} not included (--include-dirty)")
    paid = [spec for spec in plan.workers if spec.backend != SHELL]
    most = sum(1 + max(spec.retries, spec.retry.max_attempts - 1 if spec.retry else 0) for spec in paid)
    if most > len(paid):
        notes.append(f"at most {most} paid attempts, retries included")
    return notes


def as_data(plan: RunPlan, argv: Mapping[int, tuple[str, ...]]) -> dict[str, Any]:
    """The plan for `--json`."""
    workers = [{**to_plain(spec), "argv": list(argv[spec.worker_id])} for spec in plan.workers]
    return {**to_plain(plan), "dry_run": True, "cost_ceiling": cost_ceiling(plan), "workers": workers}


def as_text(plan: RunPlan, argv: Mapping[int, tuple[str, ...]]) -> str:
    """The plan for people."""
    ceiling = cost_ceiling(plan)
    most = "no limit" if ceiling is None else f"${ceiling:.2f} (plus at most one model reply per running worker)"
    tasks = show_count(len(plan.workers), "task")
    lines = [
        f"Would run {tasks} (max {plan.max_parallel} parallel) from {plan.base_ref} "
        f"({plan.base_commit[:12]}); nothing was started.",
        f"Cost ceiling: {most}",
        *starting_notes(plan),
    ]
    base = of_base(plan.workers) if plan.baseline else ()
    if base:
        lines.append(f"On the base commit first: {one_line('; '.join(base), 400)}")
    if plan.competition is not None:
        lines.append(_competition(plan.competition, plan))
    if plan.output_dir is not None:
        lines.append(f"Results go to {one_line(plan.output_dir, 400)}")
    if plan.workflow is not None:
        lines += _workflow(plan.workflow)
    for spec in plan.workers:
        lines += [
            "",
            f"[{spec.worker_id}] {task_words(spec.worker_id, spec.name, spec.prompt, 80)}",
            f"    backend   {spec.backend}, model {spec.model or 'default'}, agent {spec.agent.name}",
            *_after(spec, plan),
            *_where(spec),
            *_options(spec),
            *_sandbox(spec),
            *([f"    scope     {one_line(', '.join(spec.files), 400)}"] if spec.files else []),
            *(f"    check     {one_line(check, 400)} (at most {spec.check_timeout_s:g} s)" for check in spec.checks),
            f"    command   {_command(argv[spec.worker_id])}",
        ]
    return "\n".join(lines)


def _after(spec: WorkerSpec, plan: RunPlan) -> list[str]:
    names = {spec.worker_id: f"[{spec.worker_id}] {one_line(spec.name, 60)}" for spec in plan.workers}
    return (
        [f"    after     {', '.join(names[worker_id] for worker_id in spec.dependencies)}"] if spec.dependencies else []
    )


def _workflow(workflow: Workflow) -> list[str]:
    lines, merge = [], workflow.merge
    if merge is not None:
        check = f", if this passes after each step: {one_line(merge.check, 400)}" if merge.check else ""
        lines.append(f"Lands on {one_line(merge.into, 400)}{check}")
    if workflow.state_file is not None:
        lines.append(f"State file: {one_line(workflow.state_file, 400)}")
    return lines


def _competition(competition: Competition, plan: RunPlan) -> str:
    models = len({spec.model for spec in plan.workers})
    times = "once" if competition.runs_per_model == 1 else f"{competition.runs_per_model} times"
    judge = f", judged by {competition.judge}" if competition.judge is not None else ""
    compared = "1 model" if models == 1 else f"each of {models} models"
    return f"Competition: {compared} {times}, ranked by {competition.score} score{judge}"


def _where(spec: WorkerSpec) -> list[str]:
    if spec.isolation is Isolation.NONE:
        return [f"    in place  {one_line(spec.worktree_path, 400)} (no branch, no commit, no diff)"]
    below = [f"    starts in {one_line(spec.subdirectory, 400)}"] if spec.subdirectory else []
    return [f"    branch    {spec.branch}", f"    worktree  {spec.worktree_path}", *below]


def _sandbox(spec: WorkerSpec) -> list[str]:
    """The containment: level, mechanism, network, and the places that the configuration adds."""
    sandbox = spec.sandbox
    if not sandbox.is_contained:
        return ["    sandbox   off: it can do what you can"]
    own = "nothing of its worktree" if sandbox.read_only else "its worktree"
    words = [f"{sandbox.level} by {sandbox.mechanism}", f"network {sandbox.network}"]
    words.append(f"writes {', '.join([own, 'its home and temporary files', *sandbox.write])}")
    words += [f"hosts {', '.join(sandbox.hosts) or 'none'}"] if sandbox.network is Network.HOSTS else []
    words += [f"also hidden: {', '.join(sandbox.hide)}"] if sandbox.hide else []
    words += [f"not hidden: {', '.join(sandbox.show)}"] if sandbox.show else []
    words += [f"gap: {gap}" for gap in sandbox.gaps]
    return [f"    sandbox   {one_line('; '.join(words), 800)}"]


def _options(spec: WorkerSpec) -> list[str]:
    limits = spec.limits
    options = [f"approval {spec.approval_mode}", f"sandbox mode {spec.sandbox_mode}"]
    options += [f"at most {show_count(limits.max_steps, 'step')}"] if limits.max_steps is not None else []
    options += [f"timeout {limits.timeout_s:g} s"] if limits.timeout_s is not None else []
    options += [f"budget ${limits.budget_usd:.2f}"] if limits.budget_usd is not None else []
    options += [f"{spec.retries} {'retry' if spec.retries == 1 else 'retries'}"] if spec.retries else []
    options += [f"{spec.retry.max_attempts} attempts"] if spec.retry is not None and spec.retry.max_attempts > 1 else []
    if spec.recovery is not None and spec.recovery.retries:
        further = "1 further attempt" if spec.recovery.retries == 1 else f"{spec.recovery.retries} further attempts"
        options.append(f"recovery with {further}")
    options += [f"complexity {spec.complexity}"] if spec.complexity is not Complexity.LOW else []
    options += [f"needs {', '.join(f'{name}={amount}' for name, amount in spec.needs.items())}"] if spec.needs else []
    options += [] if spec.critical else ["not critical"]
    options += [f"tags {one_line(', '.join(spec.tags), 100)}"] if spec.tags else []
    return [f"    options   {', '.join(options)}"]


def _command(argv: tuple[str, ...]) -> str:
    words = [word if len(word) <= 400 else f"{word[:200]}...({len(word)} characters)" for word in argv]
    return plain_text(shlex.join(words)).replace("\n", "\\n")
