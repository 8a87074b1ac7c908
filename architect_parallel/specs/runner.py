"""Runs of specs: started and resumed like all others, with the merge that the spec asks for at their end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from architect_parallel.api.launch import ParallelRunner
from architect_parallel.api.merge import MergeRequest, merge
from architect_parallel.api.resume import resume
from architect_parallel.domain import RunPlan, RunResult, RunStatus, WorkerSpec
from architect_parallel.errors import ArchitectParallelError, ExitCode, NothingToDo, UsageError
from architect_parallel.journal import Journal
from architect_parallel.landing.merge import Pick
from architect_parallel.runs.recorder import Listener
from architect_parallel.runs.workspace import Workspace, load_workspace
from architect_parallel.scheduling import graph
from architect_parallel.specs.plan import SpecConfig, coordinator_name, draft_spec_plan, task_graph, validated
from architect_parallel.text.suggest import require_known
from architect_parallel.worktrees.create import owns_branch, restore_branch
from architect_parallel.worktrees.remove import delete_branch


class SpecRunner(ParallelRunner):
    """Run a spec; everything else is as in `ParallelRunner`.

    Args:
        say: Takes lines of progress of what lands at the end.
    """

    def __init__(
        self,
        config: SpecConfig,
        workspace_root: str | os.PathLike[str] = ".",
        *,
        listeners: Sequence[Listener] = (),
        environ: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        super().__init__(config.flags, workspace_root, listeners=listeners, environ=environ)
        self.spec_config = config
        self._say = say

    def execute(self, started: Callable[[RunPlan], None] = lambda plan: None) -> RunResult:
        """See `ParallelRunner.execute`; then merge as the spec says."""
        return land(super().execute(started), self.here, self._say)

    def _draft(self) -> RunPlan:
        return draft_spec_plan(self.spec_config, self.here)


def resume_spec(
    config: SpecConfig,
    run: str,
    workspace_root: Path,
    *,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
    say: Callable[[str], None] = lambda line: None,
) -> RunResult:
    """Go on with a run of this spec: run the tasks that did not succeed, as they were planned then.

    Raises:
        UsageError: The run is none of this spec's, or there is no task called so.
        NothingToDo: No such run, or nothing of it is left to do.
    """
    config_file = Path(config.flags.config_file) if config.flags.config_file is not None else None
    spec = validated(config.file, workspace_root, config_file)
    needs = task_graph(spec)

    def choose(plan: RunPlan, todo: Sequence[WorkerSpec]) -> Sequence[WorkerSpec]:
        ids = {worker.name: worker.worker_id for worker in plan.workers}
        if plan.workflow is None or plan.workflow.name != spec.name or not {*ids} <= {*needs, coordinator_name(needs)}:
            raise UsageError(f"run {plan.run_id} is not one of {config.file}", hint=f"architect resume {plan.run_id}")
        if not config.only:
            return todo
        for name in config.only:
            require_known("task", name, ids)
        wanted = graph.closure(
            {entry.worker_id: entry.dependencies for entry in plan.workers}, [ids[n] for n in config.only]
        )
        left = [item for item in todo if item.worker_id in wanted]
        if not left:
            text = f"nothing is left to do for {', '.join(config.only)} in run {plan.run_id}"
            raise NothingToDo(text, hint="leave out --only")
        return left

    return resume_and_land(
        workspace_root, run, config_file=config_file, listeners=listeners, started=started, choose=choose, say=say
    )


def resume_and_land(
    workspace_root: Path,
    run: str,
    *,
    config_file: Path | None = None,
    listeners: Sequence[Listener] = (),
    started: Callable[[RunPlan], None] = lambda plan: None,
    choose: Callable[[RunPlan, Sequence[WorkerSpec]], Sequence[WorkerSpec]] = lambda plan, todo: todo,
    say: Callable[[str], None] = lambda line: None,
    hosts: str | None = None,
) -> RunResult:
    """Go on with any run but a flow, and merge it as its spec says, even where nothing else is left to do.

    Raises as `resume`.
    """
    here = load_workspace(workspace_root, config_file)
    try:
        result = resume(
            workspace_root,
            run,
            config_file=config_file,
            listeners=listeners,
            started=started,
            choose=choose,
            hosts=hosts,
        )
    except NothingToDo:
        with Journal.of(here.repository) as journal:
            result = journal.result(journal.find(run))
            plan = journal.plan(result.run_id)
            done = [
                operation
                for operation in journal.operations(result.run_id)
                if operation.kind == "merge" and operation.finished
            ]
        wanted = plan.workflow is not None and plan.workflow.merge is not None and result.status is RunStatus.SUCCESS
        if not wanted or done:  # also one that was undone, since the user did not want it
            raise
    return land(result, here, say)


def land(result: RunResult, here: Workspace, say: Callable[[str], None] = lambda line: None) -> RunResult:
    """Merge the results of a run whose spec asks for it. What is left out is named in the result's `merge`.

    Returns:
        The run after the merge. Its `exit_code` is that of a conflict where a result was left out and nothing failed
        before. A problem that prevented the whole merge is a warning: the run itself had ended before.
    """
    with Journal.of(here.repository) as journal:
        plan = journal.plan(result.run_id)
        order = plan.workflow.merge if plan.workflow is not None else None
        if order is None:
            return result
        if result.status in (RunStatus.CANCELED, RunStatus.ESCALATED):
            result.warnings.append(f"merge: nothing lands on {order.into}, because the run was {result.status}")
            return result
        tip = here.repository.store.resolve(f"refs/heads/{order.into}")
        # One of ours at the base was made by a launcher that was killed before anything landed.
        made = tip is None or (tip == plan.base_commit and owns_branch(here.repository, order.into, plan.run_id))
        asked = MergeRequest(run=plan.run_id, pick=Pick.ALL, into=order.into, makes_target=made)
        problem: ArchitectParallelError | None = None
        told: list[str] = []
        kept_out = False  # what failed is the run's own exit code, and where it is not critical no fault at all
        try:
            if tip is None:
                base, run_id = plan.base_commit, plan.run_id
                restore_branch(here.repository, branch=order.into, commit=base, run_id=run_id, is_users=True)
            planned, done = merge(here.start, asked, environ=here.environ, say=lambda line: say(f"merge: {line}"))
            told += [*planned.warnings, *(done.warnings if done is not None else ())]
            kept_out = done is not None and any(element.reason != "not_successful" for element in done.left_out)
            if done is not None and done.commit is None:  # the envelope shows landings only
                told += [
                    f"worker {entry.worker_id} is left out: {entry.detail or entry.reason}" for entry in done.left_out
                ]
        except ArchitectParallelError as error:
            problem = error
        finally:
            if made:
                delete_branch(here.repository, order.into, plan.base_commit)  # where nothing has landed
        after = journal.result(plan.run_id)
    after.warnings.extend(f"merge: {item}" for item in told)
    code = after.exit_code or 0
    if problem is not None:
        after.warnings.append(f"merge: {problem.message}")
        code = code or (0 if isinstance(problem, NothingToDo) else int(problem.exit_code))
    elif kept_out:
        code = code or int(ExitCode.CONFLICT)
    return replace(after, exit_code=code)
