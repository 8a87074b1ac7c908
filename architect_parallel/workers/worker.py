"""One worker, start to finish: worktree, preparation, agent, collection, checks, verdict.

The order is what keeps work safe. The private git directory is made before the agent starts, because afterwards
nothing in the tree can be believed; the agent's tree is proven gone before the collection, because a living process
could still write; the collection always happens once an agent ran, whatever ended it. Every way through ends in
exactly one `WorkerFinished`.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from architect_parallel.backends import environment
from architect_parallel.backends.base import Backend, CommandLine, Request
from architect_parallel.checks.checker import Checker
from architect_parallel.domain import (
    SHELL,
    Isolation,
    Price,
    Status,
    WorkerSpec,
    WorktreeSettings,
)
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
from architect_parallel.repository import filters
from architect_parallel.scheduling import scopes
from architect_parallel.snapshots.collect import collect
from architect_parallel.snapshots.keep_attempt import keep_attempt
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.supervision import process
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.output import LogFile
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.clock import now
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.git import Repository
from architect_parallel.text.sanitize import one_line
from architect_parallel.tripwire.monitor import Tripwire
from architect_parallel.workers.agent_run import AgentRun, Emit, UsageMeter, run_agent
from architect_parallel.workers.request import as_started, request_for, shown_argv
from architect_parallel.workers.result import WorkerState, result_of, verdict_of
from architect_parallel.worktrees import worker_repository
from architect_parallel.worktrees.checkout_cache import UnpackedBase
from architect_parallel.worktrees.create import Cancelled, Worktree, add_worktree, reopen_worktree, take_up_worktree
from architect_parallel.worktrees.prepare import prepare
from architect_parallel.worktrees.worker_repository import WorkerRepository

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """What all workers of a run on this machine share."""

    repository: Repository
    run_dir: Path
    """The run's directory below the git common directory: prompts, logs, private git directories, agents' homes."""
    backends: Mapping[str, Backend]
    environ: Mapping[str, str]
    """The launcher's environment; each backend gets what its allow-list names."""
    worktrees: WorktreeSettings = field(default_factory=WorktreeSettings)
    checks_env: tuple[str, ...] = ()
    """Names of further variables that checks get."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    unpacked: UnpackedBase | None = None
    """The base commit's objects, quick to check out; `None`: it is not worth it."""
    resolve_inputs: Callable[[WorkerSpec], WorkerSpec] = lambda spec: spec
    """Makes a worker's spec whole with the results of those it depends on, which have ended by now."""
    tripwire: Tripwire | None = None
    """Watches the main checkout while agents run; `None`: nobody does."""

    def setup_environment(self, backend: Backend) -> environment.CommandEnvironment:
        """What setup commands of a worker with this backend get."""
        return replace(self.task_environment(backend), names=self.worktrees.setup_env)

    def task_environment(self, backend: Backend) -> environment.CommandEnvironment:
        """What a task gets that is itself a command."""
        return environment.CommandEnvironment(
            environ=self.environ,
            base=(*environment.COMMON, *backend.environment),
            keys=environment.key_names(self.backends.values()),
        )


def run_worker(
    spec: WorkerSpec, place: WorkerContext, sampler: Sampler, stop_token: StopToken, emit: Callable[[Event], None]
) -> None:
    """Runs one worker in the calling thread; its last event is `WorkerFinished`. Raises only what no worker could go
    on from (its backend is gone, say): whoever called it tells of the end then."""
    course = WorkerState(warnings=list(spec.warnings))
    handed_on = False

    def hear(event: Event) -> None:
        if isinstance(event, Warned):
            if event.message in course.warnings:
                return
            course.warnings.append(event.message)
        emit(event)

    journey = _WorkerRun(spec, place, sampler, stop_token, hear, course)
    try:
        spec, handed_on = place.resolve_inputs(spec), True
        journey = _WorkerRun(spec, place, sampler, stop_token, hear, course)
        journey.execute()
    except ArchitectParallelError as error:
        # A step that a stop cut short is not what ended the worker.
        if stop_token.reason is None:
            course.error = str(error)
            course.spawn_failed = course.agent is None
    except Exception as error:  # here a worker ends: our bug in one must not take the others along
        _log.exception("worker %d failed", spec.worker_id)
        course.error = f"internal error: {type(error).__name__}: {error}"
        course.spawn_failed = course.agent is None
        course.collect_failed = course.agent is not None and course.diff is None
    journey.check_tripwire()
    ending = course.agent.ending if course.agent is not None else None
    emit(
        WorkerFinished(
            result=result_of(spec, course, stop_token),
            retry_after_s=ending.retry_after_s if ending is not None else None,
            retryable=ending.retryable if ending is not None else handed_on,
        )
    )


class _WorkerRun:
    """The steps of one worker, in order."""

    def __init__(
        self,
        spec: WorkerSpec,
        place: WorkerContext,
        sampler: Sampler,
        stop_token: StopToken,
        emit: Emit,
        course: WorkerState,
    ) -> None:
        self._spec = spec
        self._place = place
        self._sampler = sampler
        self._stop_token = stop_token
        self._emit = emit
        self._course = course
        self._backend = place.backends[spec.backend]

    @cached_property
    def _ran(self) -> WorkerSpec:
        """The spec as its backend is given it."""
        return as_started(self._spec)

    def execute(self) -> None:
        if self._stopped_before_start():
            return
        self._emit(WorkerStarting(attempt=self._spec.attempt))
        if self._spec.isolation is Isolation.NONE:
            self._work_in_place()
            return
        try:
            worktree = self._take_worktree()
        except Cancelled:
            self._stopped_before_start()
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
            self._prepare(worktree)
        private = self._private_git(worktree)
        directory = worktree.path / self._spec.subdirectory
        if not directory.is_dir():
            raise EnvironmentProblem(f"the worktree has no directory {self._spec.subdirectory}")
        lent = worker_repository.of_worker(self._place.repository, self._place.run_dir, self._spec)
        lent.lend()
        try:
            agent = self._watch_agent(directory)
        finally:
            taken = self._take_back(lent)
        if agent is not None and agent.spawn_error is None and taken:
            self._collect(private)
            self._check(private)

    def _take_back(self, lent: WorkerRepository) -> bool:
        """Take the agent's commits over and give the worktree its registration back; return whether that worked."""
        try:
            for warning in lent.take_back(self._spec.run_id, self._spec.number).warnings:
                self._warn(warning)
        except ArchitectParallelError as error:
            self._course.collect_failed = True
            self._course.error = f"{error}; the work is untouched in {lent.worktree}, its commits in {lent.directory}"
            return False
        return True

    def _work_in_place(self) -> None:
        """Supervised and limited like any other, but what the agent does stays where it does it."""
        directory = Path(self._spec.worktree_path)
        if not directory.is_dir():
            raise EnvironmentProblem(f"there is no directory {directory}")
        if self._spec.attempt > 1:
            self._warn(f"the earlier attempt's work in {directory} is still there: it ran in place")
        self._watch_agent(directory)
        self._check(None)

    def _watch_agent(self, directory: Path) -> AgentRun | None:
        """Runs the agent in `directory` to its proven end; `None`: a stop came first."""
        if self._stopped_before_start():
            return None
        tripwire = self._place.tripwire
        if tripwire is not None:
            tripwire.begin(self._spec)
        try:
            self._course.started_at = now()
            self._course.agent = self._run_agent(directory)
            self._course.finished_at = now()
        finally:
            if tripwire is not None:
                tripwire.end(self._spec)
        agent = self._course.agent
        if agent is not None and agent.exit_code and self._spec.backend == SHELL:
            output = agent.ending.text if agent.ending is not None else ""
            task = self._place.task_environment(self._backend)
            if (held_back := task.held_back(self._ran.prompt, output, "backends.shell.env")) is not None:
                self._warn(held_back)
        if self._course.agent is None:
            self._course.started_at = None
            self._stopped_before_start()
        return self._course.agent

    def check_tripwire(self) -> None:
        """Whether the main checkout changed while the agent ran, and whose doing that was.

        After the collection, so that workers that ended together share one look.
        """
        tripwire, agent, log = self._place.tripwire, self._course.agent, self._course.log_path
        if tripwire is None:
            return
        output = agent.ending.text if agent is not None and agent.ending is not None else ""
        judgement = tripwire.judge(self._spec, output, Path(log) if log is not None else None)
        if judgement.escaped:
            self._course.escaped, self._course.error = True, judgement.escaped
        if judgement.warning:
            self._warn(judgement.warning)

    def _stopped_before_start(self) -> bool:
        reason = self._stop_token.reason
        if reason is None:
            return False
        self._emit(LimitReached(reason=reason, detail=self._stop_token.detail))
        return True

    def _private_dir(self, attempt: int) -> Path:
        return self._place.run_dir / "git" / f"worker-{self._spec.worker_id}-{attempt}"

    def _earlier_private_dir(self) -> Path | None:
        """Of the newest attempt before this one that has one; `None`: no agent has started here."""
        every = (self._private_dir(attempt) for attempt in range(self._spec.attempt - 1, 0, -1))
        return next((each for each in every if each.is_dir()), None)

    def _private_git(self, worktree: Worktree) -> PrivateGit:
        directory, earlier = self._private_dir(self._spec.attempt), self._earlier_private_dir()
        if self._spec.continues and earlier is not None:
            with suppress(EnvironmentProblem):  # an older version made it
                before = PrivateGit.open(earlier)
                if before.admin_dir == worktree.admin_dir:  # not after an undo that registered the worktree anew
                    return PrivateGit.renew(self._place.repository, directory, before)
        recorded = filters.record(self._place.repository, self._place.run_dir)
        return PrivateGit.create(self._place.repository, directory, worktree.path, filters=recorded)

    def _take_worktree(self) -> Worktree:
        spec, repository = self._spec, self._place.repository
        path = Path(spec.worktree_path)
        if spec.attempt == 1:
            return add_worktree(
                repository,
                path=path,
                branch=spec.branch,
                base_commit=spec.base_commit,
                run_id=spec.run_id,
                is_cancelled=self._stop_token.is_cancelled,
                unpacked=self._place.unpacked,
            )
        for warning in worker_repository.settle(repository, self._place.run_dir, spec):
            self._warn(warning)
        # An attempt that never came to its agent left what the one before had left.
        kept = keep_attempt(repository, spec, self._earlier_private_dir() or self._private_dir(spec.attempt - 1))
        if kept is not None:
            self._warn(f"the earlier attempt's work is kept as {kept}")
        if spec.continues:
            return take_up_worktree(
                repository, path=path, branch=spec.branch, base_commit=spec.base_commit, run_id=spec.run_id
            )
        return reopen_worktree(
            repository,
            path=path,
            branch=spec.branch,
            base_commit=spec.base_commit,
            run_id=spec.run_id,
            is_cancelled=self._stop_token.is_cancelled,
            unpacked=self._place.unpacked,
        )

    def _prepare(self, worktree: Worktree) -> None:
        environ = self._place.setup_environment(self._backend)

        def run(command: str) -> process.CommandOutcome:
            return process.run_command(
                ("/bin/sh", "-c", command),
                cwd=worktree.path,
                env=environ.of(command),
                timeout_s=self._spec.limits.timeout_s,
                is_cancelled=self._stop_token.is_cancelled,
            )

        for warning in prepare(self._place.repository, worktree, self._place.worktrees, run=run, environment=environ):
            self._warn(warning)

    def _warn(self, message: str) -> None:
        self._emit(Warned(message=message))

    def _run_agent(self, directory: Path) -> AgentRun | None:
        spec = self._spec
        request = self._request()
        command = self._backend.command(request)
        for warning in command.warnings:
            self._warn(warning)
        log_dir = make_private_dir(self._place.run_dir / "logs")
        suffix = "" if spec.attempt == 1 else f"-{spec.attempt}"
        log = LogFile(log_dir / f"worker-{spec.worker_id}{suffix}.log")
        self._course.log_path = str(log.path)
        tally = UsageMeter(
            limits=spec.limits,
            requested_model=spec.model,
            prices=self._place.prices,
            emit=self._emit,
            stop=self._stop_token.stop,
        )
        try:
            return run_agent(
                self._launch(command, directory),
                self._backend.reader(request),
                shown_argv=shown_argv(command.argv, request.prompt),
                secrets=self._secrets(),
                log=log,
                tally=tally,
                sampler=self._sampler,
                stop_token=self._stop_token,
                emit=self._emit,
            )
        finally:
            log.close()

    def _request(self) -> Request:
        spec, run_dir = self._spec, self._place.run_dir
        prompt_file = make_private_dir(run_dir / "prompts") / f"worker-{spec.worker_id}.txt"
        descriptor = os.open(prompt_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write((self._ran.prompt + spec.lesson).encode(errors="surrogateescape"))
        state_dir = make_private_dir(run_dir / "state" / f"worker-{spec.worker_id}")
        request = request_for(self._ran, prompt_file=prompt_file, state_dir=state_dir)
        kept_there = self._backend.capabilities.sessions_in_state
        if request.session_id is not None and kept_there and not any(state_dir.iterdir()):  # a cleanup took it
            self._warn(f"session {one_line(request.session_id, 40)} is not kept any more: the agent begins anew")
            request = replace(request, session_id=None)
        return request

    def _secrets(self) -> tuple[str, ...]:
        found = environment.secret_values(self._backend, self._place.environ)
        if self._spec.backend == SHELL:
            found += self._place.task_environment(self._backend).secrets(self._ran.prompt)
        return found

    def _ceiling(self) -> dict[str, str]:
        spec = self._spec
        return worker_repository.ceiling(Path(spec.worktree_path)) if spec.isolation is Isolation.WORKTREE else {}

    def _launch(self, command: CommandLine, directory: Path) -> process.Launch:
        passed = environment.filtered_environment(self._backend, self._place.environ)
        if self._spec.backend == SHELL:
            passed = self._place.task_environment(self._backend).of(self._ran.prompt)
        return process.Launch(
            argv=command.argv,
            cwd=directory,
            env={**passed, **self._ceiling(), **command.env, **self._ran.variables},
            stdin_file=command.stdin_file,
            polite_signal=command.polite_signal,
            polite_wait_s=command.polite_wait_s,
            grace_s=self._spec.limits.grace_s,
            cookie=f"{self._spec.run_id}.{self._spec.worker_id}.{secrets.token_hex(8)}",
        )

    def _collect(self, private: PrivateGit) -> None:
        try:
            collection = collect(self._place.repository, private, self._spec)
        except ArchitectParallelError as error:
            self._course.collect_failed = True
            self._course.error = f"{error}; the work is untouched in {self._spec.worktree_path}"
            return
        for warning in collection.warnings:
            self._warn(warning)
        self._course.diff = collection.diff
        self._course.hides_files = collection.hides
        self._emit(Collected(diff=collection.diff))
        changed = [path for each in collection.diff.files for path in (each.path, each.old_path) if path is not None]
        self._course.outside_scope = scopes.outside(changed, self._spec.files)
        if self._course.outside_scope:
            self._warn(scopes.outside_words(self._course.outside_scope, self._spec.files))

    def _check(self, private: PrivateGit | None) -> None:
        """The checks, where there is a result to check: what was stopped, crashed or failed stays that."""
        spec, course = self._spec, self._course
        if not spec.checks or verdict_of(spec, course, self._stop_token)[0] not in (Status.SUCCESS, Status.PARTIAL):
            return
        checker = Checker(
            repository=self._place.repository,
            run_dir=self._place.run_dir,
            environ=self._place.environ,
            checks_env=self._place.checks_env,
            keys=environment.key_names(self._place.backends.values()),
            sampler=self._sampler,
            stop_token=self._stop_token,
        )
        course.checked = False
        tripwire = self._place.tripwire
        with nullcontext() if tripwire is None else tripwire.checking(spec):
            course.checks = checker.check_worker(
                spec,
                private,
                course.diff.head if course.diff is not None else None,
                secret_values=self._secrets(),
                emit=self._emit,
                warn=self._warn,
            )
        course.checked = True
