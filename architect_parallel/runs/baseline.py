"""The checks on the base commit, which run before the first worker of a launch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from architect_parallel.checks.checker import BaselineOrder
from architect_parallel.domain import CheckResult, Isolation, RunPlan, WorkerSpec
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.events import BaselineFinished
from architect_parallel.scheduling import check_policy


def baseline_order(plan: RunPlan, specs: Iterable[WorkerSpec], known: Sequence[CheckResult]) -> BaselineOrder | None:
    """The checks to run on the base commit. `None` means that there are none, or that the results are known.

    Args:
        specs: The workers of this launch.
        known: The results that an earlier launch recorded.
    """
    isolated = [spec for spec in specs if spec.isolation is not Isolation.NONE]
    commands = check_policy.of_base(isolated) if plan.baseline else ()
    if {check.command for check in known}.issuperset(commands):
        return None
    return BaselineOrder(
        run_id=plan.run_id,
        base_commit=plan.base_commit,
        commands=commands,
        limits=isolated[0].limits,
        check_timeout_s=max(spec.check_timeout_s for spec in isolated),
        backend=isolated[0].backend,
        sandbox=isolated[0].sandbox,
    )


def baseline_problem(ended: BaselineFinished) -> ArchitectParallelError | None:
    """The reason why the run cannot begin. `None` means that it can."""
    if ended.error is not None:
        return EnvironmentProblem(f"the checks cannot be run on the base commit: {ended.error}")
    return check_policy.refusal(ended.checks)
