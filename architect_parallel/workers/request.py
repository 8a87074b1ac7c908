"""What a worker asks of its backend, and how its command line is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from architect_parallel.backends.base import Request
from architect_parallel.domain import WorkerSpec
from architect_parallel.templates.shell import as_script


def as_started(spec: WorkerSpec) -> WorkerSpec:
    """`spec` as its backend is given it: variables of the shell where its command names values."""
    if not spec.values:
        return spec
    script, variables = as_script(spec.prompt, spec.values)
    return replace(spec, prompt=script, variables={**spec.variables, **variables})


def request_for(spec: WorkerSpec, *, prompt_file: Path, state_dir: Path) -> Request:
    """What `spec` asks of its backend. Neither path needs to exist to build a command line from it."""
    return Request(
        prompt=spec.prompt + spec.lesson,
        prompt_file=prompt_file,
        worktree=Path(spec.worktree_path) / spec.subdirectory,
        state_dir=state_dir,
        model=spec.model,
        agent=spec.agent.name,
        system_prompt=spec.agent.system_prompt,
        approval_mode=spec.approval_mode,
        sandbox_mode=spec.sandbox_mode,
        max_steps=spec.limits.max_steps,
        budget_usd=spec.limits.budget_usd,
        timeout_s=spec.limits.timeout_s,
        session_id=spec.session_id,
        branch=spec.branch,
        worker_id=spec.worker_id,
        run_id=spec.run_id,
        extra_argv=spec.extra_argv,
    )


def shown_argv(argv: tuple[str, ...], prompt: str) -> tuple[str, ...]:
    """The argv as the journal keeps it: a long prompt in it is cut."""
    return tuple(
        f"{word[:80]}… ({len(word)} characters)" if len(word) > 200 and word in prompt else word for word in argv
    )
