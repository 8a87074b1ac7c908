"""The backend that judges a competition, and the profile it works with."""

from __future__ import annotations

from dataclasses import replace

from architect_parallel.backends.base import Backend
from architect_parallel.domain import AgentProfile, SandboxMode
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.runs.workspace import Workspace
from architect_parallel.text.suggest import require_known


def require_judge(name: str, here: Workspace) -> Backend:
    """The backend called `name`, which is to judge.

    Raises:
        UsageError: It is unknown, or it cannot judge.
        EnvironmentProblem: It is not ready here.
    """
    if name not in here.backends:
        require_known("--judge", name, here.backends)
    backend = here.backends[name]
    if backend.capabilities.runs_its_prompt:
        hint = "name an agent: architect backends"
        raise UsageError(f"--judge {name}: this backend runs its prompt as a program and cannot judge", hint=hint)
    state = backend.availability(here.environ, model=judge_profile(here, backend).model)
    if state.missing is not None:
        raise EnvironmentProblem(f"judge {backend.name} cannot run: {state.missing}", hint=state.remedy)
    return backend


def judge_warnings(judge: Backend, here: Workspace, *, budget: bool) -> tuple[str, ...]:
    """Warnings about what the judge's backend cannot honour."""
    profile = judge_profile(here, judge)
    lacking = judge.capabilities.cannot_honour(profile, model=profile.model is not None, budget=budget)
    return tuple(f"judge {judge.name} {lack}" for lack in lacking)


def judge_profile(here: Workspace, judge: Backend) -> AgentProfile:
    """The `review` profile for the judge: read-only, without a system prompt.

    Keeps the profile's model only if it belongs to the judge's backend.
    """
    review = here.settings.agents["review"]
    model = review.model if review.backend in (None, judge.name) else None
    return replace(review, model=model, system_prompt=None, approval_mode=None, sandbox_mode=SandboxMode.READ_ONLY)
