"""One worker, start to finish: worktree, preparation, agent, collection, checks, verdict.

The order is what keeps work safe. The private git directory is made before the agent starts, because afterwards
nothing in the tree can be trusted. The agent's process tree is proven gone before the collection, because a living
process could still write. The collection always happens once an agent ran, whatever ended it. Every way through ends
in exactly one `WorkerFinished`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from architect_parallel.backends.base import Request
from architect_parallel.backends.redaction import holds_secret, redact_text
from architect_parallel.containment.box import worker_box
from architect_parallel.domain import SHELL, Isolation, Reason, Status, WorkerSpec
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem
from architect_parallel.events import (
    Collected,
    Event,
    LimitReached,
    Warned,
    WorkerFinished,
    WorkerStarting,
    WorktreeReady,
)
from architect_parallel.scheduling import scopes
from architect_parallel.snapshots.collect import collect
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.clock import now
from architect_parallel.system.own_files import make_own_dir
from architect_parallel.text.sanitize import one_line
from architect_parallel.workers.agent_session import AgentRun
from architect_parallel.workers.context import WorkerContext
from architect_parallel.workers.nesting import nesting_variables
from architect_parallel.workers.request import as_started, request_for, variables_of
from architect_parallel.workers.result import WorkerState, result_of, verdict_of
from architect_parallel.workers.usage import Emit
from architect_parallel.workers.worktree import WorkerWorktree
from architect_parallel.worktrees import worker_repository
from architect_parallel.worktrees.create import Cancelled
from architect_parallel.worktrees.worker_repository import WorkerRepository

SHORTEST_SEARCHED = 8
"""A shorter secret is not searched for in results: it may be an ordinary word."""

_log = logging.getLogger(__name__)


def run_worker(spec: WorkerSpec, context: WorkerContext, sampler: Sampler, stop_token: StopToken, emit: Emit) -> None:
    """Run one worker in the calling thread. Its last event is `WorkerFinished`.

    Raises:
        KeyError: The worker's backend is gone. No event was emitted then. The caller reports the end.
    """
    run = WorkerRun(spec, context, sampler, stop_token, emit)
    try:
        run.resolve_inputs()
        with context.services(f"worker-{spec.worker_id}") as variables:
            run.execute(variables)
    except ArchitectParallelError as error:
        run.fail(error)
    except Exception as error:  # a bug in one worker must not end the others
        run.fail_unexpectedly(error)
    run.check_tripwire()
    emit(run.finished())


class WorkerRun:
    """The steps of one worker, in order, and what is known of it so far."""

    def __init__(
        self, spec: WorkerSpec, context: WorkerContext, sampler: Sampler, stop_token: StopToken, emit: Emit
    ) -> None:
        self._spec = spec
        self._context = context
        self._sampler = sampler
        self._stop_token = stop_token
        self._on_event = emit
        self._backend = context.backends[spec.backend]
        self._state = WorkerState(warnings=list(spec.warnings))
        self._has_inputs = False
        self._services: Mapping[str, str] = {}

    def resolve_inputs(self) -> None:
        """Complete the spec with the results of the worker's dependencies."""
        self._spec = self._context.resolve_inputs(self._spec)
        self._has_inputs = True

    def execute(self, services: Mapping[str, str]) -> None:
        """Run the agent in its worktree (or in place), then collect and check its work.

        Args:
            services: Variables for the agent, setup and checks.
        """
        self._services = services
        if self._is_stopped_before_start():
            return
        self._emit(WorkerStarting(attempt=self._spec.attempt))
        if self._spec.isolation is Isolation.NONE:
            self._work_in_place()
            return
        tree = WorkerWorktree(self._spec, self._context, self._stop_token, self._warn, services)
        try:
            worktree = tree.take()
        except Cancelled:
            self._is_stopped_before_start()
            return
        self._emit(
            WorktreeReady(
                worktree_path=str(worktree.path),
                branch=worktree.branch,
                base_commit=worktree.base_commit,
                admin_dir=str(worktree.admin_dir),
            )
        )
        if not self._spec.continues:
            tree.prepare(worktree)
        private = tree.private_git(worktree)
        if not (worktree.path / self._spec.subdirectory).is_dir():
            raise EnvironmentProblem(f"the worktree has no directory {self._spec.subdirectory}")
        lent = worker_repository.of_worker(self._context.repository, self._context.run_dir, self._spec)
        lent.lend()
        try:
            agent = self._watch_agent()
        finally:
            is_taken_back = self._take_back(lent)
        if agent is not None and agent.spawn_error is None and is_taken_back:
            self._collect(private)
            self._check(private)

    def fail(self, error: ArchitectParallelError) -> None:
        """Record the error that ended the worker. After a stop it is not recorded: the stop ended the worker."""
        if self._stop_token.reason is None:
            self._state.error = str(error)
            self._state.spawn_failed = self._state.agent is None

    def fail_unexpectedly(self, error: Exception) -> None:
        """Record a bug of this program that ended the worker."""
        _log.exception("worker %d failed", self._spec.worker_id)
        state = self._state
        state.error = f"internal error: {type(error).__name__}: {error}"
        state.spawn_failed = state.agent is None
        state.collect_failed = state.agent is not None and state.diff is None

    def check_tripwire(self) -> None:
        """Ask the tripwire whether this worker changed the main checkout.

        Done after the collection, so that workers that ended together share one look.
        """
        tripwire, state = self._context.tripwire, self._state
        if tripwire is None:
            return
        output = state.agent.output if state.agent is not None else ""
        log_path = Path(state.log_path) if state.log_path is not None else None
        judgement = tripwire.judge(self._spec, output, log_path)
        if judgement.escaped:
            state.escaped, state.error = True, judgement.escaped
        if judgement.warning:
            self._warn(judgement.warning)

    def finished(self) -> WorkerFinished:
        """The worker's end, however far it came."""
        ending = self._state.agent.ending if self._state.agent is not None else None
        result = result_of(self._spec, self._state, self._stop_token)
        error = None if result.error is None else redact_text(result.error, self._secrets)
        return WorkerFinished(
            result=replace(result, error=error, warnings=[self._clean(text) for text in result.warnings]),
            retry_after_s=ending.retry_after_s if ending is not None else None,
            retryable=ending.retryable if ending is not None else self._has_inputs,
        )

    def _emit(self, event: Event) -> None:
        if isinstance(event, Warned):
            event = replace(event, message=self._clean(event.message))
            if event.message in self._state.warnings:
                return
            self._state.warnings.append(event.message)
        self._on_event(event)

    def _warn(self, message: str) -> None:
        self._emit(Warned(message=message))

    def _is_stopped_before_start(self) -> bool:
        reason = self._stop_token.reason
        if reason is None:
            return False
        self._emit(LimitReached(reason=reason, detail=self._stop_token.detail))
        return True

    def _take_back(self, lent: WorkerRepository) -> bool:
        """Take over the agent's commits and give the worktree its registration back. Return true on success."""
        try:
            for warning in lent.take_back(self._spec.run_id, self._spec.number).warnings:
                self._warn(warning)
        except ArchitectParallelError as error:
            self._state.collect_failed = True
            self._state.error = f"{error}; the work is untouched in {lent.worktree}, its commits in {lent.directory}"
            return False
        return True

    # The agent

    @cached_property
    def _started_spec(self) -> WorkerSpec:
        """The spec as its backend gets it."""
        return as_started(self._spec)

    def _work_in_place(self) -> None:
        """Run without a worktree: the agent edits the directory in place and nothing is collected."""
        directory = Path(self._spec.worktree_path)
        if not directory.is_dir():
            raise EnvironmentProblem(f"there is no directory {directory}")
        if self._spec.attempt > 1:
            self._warn(f"the earlier attempt's work in {directory} is still there: it ran in place")
        self._watch_agent()
        self._check(None)

    def _watch_agent(self) -> AgentRun | None:
        """Run the agent to its proven end, watched by the tripwire. `None` means that a stop came first."""
        if self._is_stopped_before_start():
            return None
        tripwire, state = self._context.tripwire, self._state
        if tripwire is not None:
            tripwire.begin(self._spec)
        try:
            state.started_at = now()
            state.agent = self._run_agent()
            if self._stop_token.reason is Reason.DISK:
                self._context.make_room()
            state.finished_at = now()
        finally:
            if tripwire is not None:
                tripwire.end(self._spec)
        if state.agent is None:
            state.started_at = None
            self._is_stopped_before_start()
        elif state.agent.exit_code and self._spec.backend == SHELL:
            commands = self._context.task_environment(self._backend)
            held_back = commands.held_back(self._started_spec.prompt, state.agent.output, "backends.shell.env")
            if held_back is not None:
                self._warn(held_back)
        return state.agent

    def _run_agent(self) -> AgentRun | None:
        spec, context = self._spec, self._context
        attempt = "" if spec.attempt == 1 else f"-{spec.attempt}"
        log = make_own_dir(context.run_dir / "logs") / f"worker-{spec.worker_id}{attempt}.log"
        box = worker_box(spec, context.repository, context.run_dir, context.environ)
        session = context.session(self._backend, self._sampler)
        try:
            return session.run(
                self._request(),
                limits=spec.limits,
                log=log,
                stop_token=self._stop_token,
                emit=self._emit,
                variables=self._variables(),
                secrets=self._secrets,
                contain=box.contain,
            )
        finally:
            for warning in box.close(log):
                self._warn(warning)
            self._state.denied_hosts = box.denied_hosts()
            if log.exists():
                self._state.log_path = str(log)

    def _request(self) -> Request:
        spec, run_dir = self._spec, self._context.run_dir
        prompt_file = make_own_dir(run_dir / "prompts") / f"worker-{spec.worker_id}.txt"
        state_dir = make_own_dir(run_dir / "state" / f"worker-{spec.worker_id}")
        request = request_for(self._started_spec, prompt_file=prompt_file, state_dir=state_dir)
        kept_there = self._backend.capabilities.sessions_in_state or (spec.sandbox.is_contained and spec.attempt > 1)
        if request.session_id is not None and kept_there and not any(state_dir.iterdir()):  # a cleanup removed it
            self._warn(f"session {one_line(request.session_id, 40)} is not kept any more: the agent begins anew")
            request = replace(request, session_id=None)
        return request

    def _variables(self) -> dict[str, str]:
        """Variables on top of the agent's environment. For a shell task also those that its text names."""
        spec = self._started_spec
        named = self._context.task_environment(self._backend).of(spec.prompt) if spec.backend == SHELL else {}
        nesting = nesting_variables(self._context.environ, spec.limits)
        return {**named, **nesting, **self._services, **variables_of(spec)}

    @cached_property
    def _secrets(self) -> tuple[str, ...]:
        """The values of secrets that the agent or its setup commands get."""
        return self._context.secrets(self._backend, Path(self._spec.worktree_path), self._started_spec.prompt)

    def _clean(self, text: str) -> str:
        return redact_text(text, self._secrets)

    def _holds_secret(self, data: bytes) -> bool:
        return holds_secret(data, [value for value in self._secrets if len(value) >= SHORTEST_SEARCHED])

    # Its work

    def _collect(self, private: PrivateGit) -> None:
        state = self._state
        try:
            holds_secret = None if self._context.allow_secrets or not self._secrets else self._holds_secret
            collection = collect(self._context.repository, private, self._spec, holds_secret=holds_secret)
        except ArchitectParallelError as error:
            state.collect_failed = True
            state.error = f"{error}; the work is untouched in {self._spec.worktree_path}"
            return
        for warning in collection.warnings:
            self._warn(warning)
        if collection.has_secret:
            state.has_secret = True
            state.error = (
                f"the result holds a key that the agent was given: it is kept as {collection.kept}, not on the branch"
                " (--allow-secrets accepts such results)"
            )
            return
        state.diff = collection.diff
        state.hides_files = collection.hides
        self._emit(Collected(diff=collection.diff))
        changes = collection.diff.files
        paths = [path for change in changes for path in (change.path, change.old_path) if path is not None]
        state.outside_scope = scopes.outside(paths, self._spec.files)
        if state.outside_scope:
            self._warn(scopes.outside_words(state.outside_scope, self._spec.files))

    def _check(self, private: PrivateGit | None) -> None:
        """Run the checks, unless the worker was stopped, crashed or failed."""
        spec, state = self._spec, self._state
        if not spec.checks or verdict_of(spec, state, self._stop_token)[0] not in (Status.SUCCESS, Status.PARTIAL):
            return
        state.checked = False
        tripwire = self._context.tripwire
        with nullcontext() if tripwire is None else tripwire.checking(spec):
            state.checks = self._context.checker(self._sampler, self._stop_token, self._services).check_worker(
                spec,
                private,
                state.diff.head if state.diff is not None else None,
                secret_values=self._secrets,
                emit=self._emit,
                warn=self._warn,
            )
        state.checked = True
