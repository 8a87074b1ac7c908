"""`architect run --backend NAME`: one task with one backend in the current directory, under the same supervision.

There is no worktree, no journal and no collection: the agent edits the directory in place, as the user task. The
agent's process tree is proven gone before this returns, and its claim is judged like a worker's. A contained agent
writes the directory and the repository that it belongs to.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from architect_parallel.agent.loop import Report
from architect_parallel.api.session_homes import SessionHome, session_home
from architect_parallel.backends.base import Request
from architect_parallel.backends.registry import load_backends, require_backend
from architect_parallel.config.paths import home_dir, user_state_dir
from architect_parallel.containment.box import Box
from architect_parallel.domain import (
    AgentProfile,
    ApprovalMode,
    Limits,
    Sandbox,
    SandboxLevel,
    Settings,
    Task,
    Usage,
    report_of,
)
from architect_parallel.errors import ArchitectParallelError, UsageError
from architect_parallel.events import AgentOutput, Event, Warned
from architect_parallel.runs.containment import containment_of
from architect_parallel.runs.options import ParallelConfig, resolve, worker_limits
from architect_parallel.runs.ready_backends import require_ready
from architect_parallel.scheduling import verdict
from architect_parallel.supervision.stop import StopToken, stop_on_signals
from architect_parallel.system.files import make_private_dir
from architect_parallel.system.git import Repository, open_repository
from architect_parallel.workers.agent_session import AgentRun, AgentSession
from architect_parallel.workers.request import profile_request


@dataclass(frozen=True, slots=True, kw_only=True)
class InPlace:
    """One task for one backend in one directory."""

    task: str
    backend: str
    directory: Path
    agent: AgentProfile
    model: str | None = None
    approval_mode: ApprovalMode
    limits: Limits
    resume: str | None = None
    """The id of the session to continue, as `read_session` takes it."""
    words: ParallelConfig = field(default_factory=lambda: ParallelConfig(sandbox=SandboxLevel.OFF))
    """Its `sandbox`, `network` and `allow_hosts` contain the agent."""


def run_in_place(
    task: InPlace, settings: Settings, environ: Mapping[str, str], say: Callable[[str], None] | None = None
) -> tuple[Report, int | None]:
    """Run the task. Return its report and the number of the signal that stopped it. `None` means no signal.

    Args:
        say: Takes a line of progress. `None` means that no progress is shown.

    Raises:
        UsageError: The backend or the session is unknown, or the backend cannot continue a session.
        EnvironmentProblem: The backend cannot be used here.
    """
    backends = load_backends(settings, environ)
    options = resolve(task.words, settings.parallel)
    backend = require_backend(backends, task.backend)
    if task.resume is not None and not backend.capabilities.sessions:
        hint = "`architect backends` shows which can"
        raise UsageError(f"--resume: backend {backend.name} cannot go on with a session", hint=hint)
    decision = containment_of(Task(prompt=""), task.agent, backend, options, settings, environ)
    sandbox = decision.sandbox_of(worker_limits(options))
    require_ready(backends, backend, {task.model}, environ)
    warnings = [] if decision.warning is None else [decision.warning]

    def emit(event: Event) -> None:
        match event:
            case AgentOutput(text=text) if say is not None:
                say(text)
            case Warned(message=message):
                warnings.append(message)
            case _:
                pass

    stop_token = StopToken()
    with contextlib.ExitStack() as stack:
        repository = None
        with contextlib.suppress(ArchitectParallelError):  # no repository, or a read-only one
            repository = open_repository(task.directory)
            stack.enter_context(repository.programs.agents_running())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="architect-run-")))
        if backend.capabilities.sessions:
            base = user_state_dir(environ, home_dir()) / "agents"
            home = stack.enter_context(session_home(base, backend, task.resume))
        else:
            home = SessionHome(path=make_private_dir(folder / "state"))
        request = _request(task, folder, home.path, contained=sandbox.is_contained)
        box = _box(task, sandbox, home.path, folder, repository, environ)
        session = AgentSession(backend=backend, environ=environ, prices=settings.prices)
        log = folder / "log"
        # In a thread: the main thread must be free to take signals.
        with stop_on_signals(stop_token), ThreadPoolExecutor(1) as pool:
            begin = partial(session.run, request, limits=task.limits, log=log, stop_token=stop_token)
            run = pool.submit(begin, emit=emit, contain=box.contain).result()
        home.session_id = run.session_id if run is not None else None
        warnings += box.close()
    report = _report(task, run, stop_token, warnings)
    return replace(report, sandbox=report_of(sandbox, box.denied_hosts())), stop_token.signal


def _request(task: InPlace, folder: Path, home: Path, *, contained: bool) -> Request:
    return profile_request(
        task.task,
        task.agent,
        model=task.model,
        approval_mode=task.approval_mode,
        limits=task.limits,
        directory=task.directory,
        prompt_file=folder / "prompt.txt",
        state_dir=home,
        session_id=task.resume,
        contained=contained,
    )


def _box(
    task: InPlace,
    sandbox: Sandbox,
    home: Path,
    folder: Path,
    repository: Repository | None,
    environ: Mapping[str, str],
) -> Box:
    return Box(
        sandbox=sandbox,
        repository=repository,
        run_dir=folder,
        environ=environ,
        directory=task.directory,
        name="run",
        home=home,
        write=(folder, *(() if repository is None else (repository.common_dir,))),
    )


def _report(task: InPlace, run: AgentRun | None, stop_token: StopToken, warnings: list[str]) -> Report:
    ending = run.ending if run is not None else None
    status, reason = verdict.decide(
        outcome=ending.outcome if ending is not None else None,
        exit_code=run.exit_code if run is not None else None,
        stopped_by=stop_token.reason,
        spawn_failed=run is not None and run.spawn_error is not None,
        files_changed=1 if run is not None and run.steps else None,
    )
    error = stop_token.description
    if error is None and run is not None and status != "success":
        error = run.spawn_error or (ending.error if ending is not None else None)
    return Report(
        status=status,
        reason=reason,
        steps=run.steps if run is not None else 0,
        cost=run.cost if run is not None else 0.0,
        usage=run.usage if run is not None else Usage(),
        output=run.output if run is not None else "",
        model=(run.model if run is not None else None) or task.model or "default",
        session_id=(run.session_id if run is not None else None) or "",
        error=error,
        retry_after_s=ending.retry_after_s if ending is not None else None,
        warnings=(*warnings, *(ending.warnings if ending is not None else ())),
    )
