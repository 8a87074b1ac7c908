"""`architect run --backend NAME`: one task with one backend in the current directory, under the same supervision.

No worktree, no journal, no collection: what the agent changes stays where it is, as the user asked. The agent's process
tree is proven gone before this returns, and the claim is weighed as a worker's is.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.agent.loop import Report
from architect_parallel.api.orders import require_ready
from architect_parallel.api.session_homes import SessionHome, session_home
from architect_parallel.backends import environment
from architect_parallel.backends.base import Backend, Request
from architect_parallel.backends.registry import load_backends, require_backend
from architect_parallel.config.places import user_state_dir
from architect_parallel.domain import AgentProfile, ApprovalMode, Limits, Reason, SandboxMode, Settings, Usage
from architect_parallel.errors import InternalError, UsageError
from architect_parallel.events import AgentOutput, Event, Warned
from architect_parallel.planning import verdict
from architect_parallel.system import process, signals
from architect_parallel.system.files import make_private_dir, replace_file
from architect_parallel.workers.agent_run import AgentRun, Tally, run_agent
from architect_parallel.workers.limits import Sampler
from architect_parallel.workers.output import LogFile
from architect_parallel.workers.switch import StopSwitch


@dataclass(frozen=True, slots=True, kw_only=True)
class InPlace:
    """One task for one backend, here."""

    task: str
    backend: str
    directory: Path
    agent: AgentProfile
    model: str | None = None
    approval_mode: ApprovalMode
    limits: Limits
    resume: str | None = None
    """The id of the session to go on with, as `read_session` takes it."""


def run_in_place(
    asked: InPlace, settings: Settings, environ: Mapping[str, str], say: Callable[[str], None] | None = None
) -> tuple[Report, int | None]:
    """Runs the task; returns its report and the number of the signal that stopped it (`None`: none did).

    Args:
        say: Takes a line of progress or a warning for a person; `None`: nobody listens.

    Raises:
        UsageError: For an unknown backend, one that cannot go on with a session, and an unknown session.
        EnvironmentProblem: When the backend cannot be used here.
    """
    backends = load_backends(settings, environ)
    backend = require_backend(backends, asked.backend)
    if asked.resume is not None and not backend.capabilities.sessions:
        hint = "`architect backends` shows which can"
        raise UsageError(f"--resume: backend {backend.name} cannot go on with a session", hint=hint)
    require_ready(backends, backend, {asked.model}, environ)
    warnings: list[str] = []

    def emit(event: Event) -> None:
        match event:
            case AgentOutput(text=text) if say is not None:
                say(text)
            case Warned(message=message):
                warnings.append(message)
            case _:
                pass

    switch, caught = StopSwitch(), list[int]()

    def receive(number: signal.Signals) -> None:
        caught.append(int(number))
        # Not from here: a handler must not wait for a lock that the thread it interrupts may hold.
        threading.Thread(target=switch.kill if len(caught) > 1 else stop, daemon=True).start()

    def stop() -> None:
        switch.stop(Reason.INTERRUPTED, "interrupted")

    ended: list[AgentRun | None] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="architect-run-")))
        if backend.capabilities.sessions:
            base = user_state_dir(environ, Path.home()) / "agents"
            home = stack.enter_context(session_home(base, backend, asked.resume))
        else:
            home = SessionHome(path=make_private_dir(folder / "state"))
        lane = _Lane(asked, backend, folder, home.path, settings, environ)
        worker = threading.Thread(target=lambda: ended.append(lane.run(switch, emit)))
        with signals.forwarded(receive):
            worker.start()
            while worker.is_alive():
                worker.join(0.2)
        home.session_id = ended[0].session_id if ended and ended[0] is not None else None
    if not ended:
        raise InternalError("the agent's thread ended without a result")
    warnings += lane.warnings
    return _report(asked, ended[0], switch, warnings), caught[0] if caught else None


class _Lane:
    """The way of one agent process through a temporary folder."""

    def __init__(
        self,
        asked: InPlace,
        backend: Backend,
        folder: Path,
        state_dir: Path,
        settings: Settings,
        environ: Mapping[str, str],
    ) -> None:
        self._asked = asked
        self._backend = backend
        self._folder = folder
        self._state_dir = state_dir
        self._prices = settings.prices
        self._environ = environ
        self.warnings: tuple[str, ...] = ()

    def run(self, switch: StopSwitch, emit: Callable[[Event], None]) -> AgentRun | None:
        asked, request = self._asked, self._request()
        command = self._backend.command(request)
        self.warnings = command.warnings
        log = LogFile(self._folder / "log")
        tally = Tally(
            limits=asked.limits, requested_model=asked.model, prices=self._prices, emit=emit, stop=switch.stop
        )
        launch = process.Launch(
            argv=command.argv,
            cwd=asked.directory,
            env={**environment.filtered_environment(self._backend, self._environ), **command.env},
            stdin_file=command.stdin_file,
            polite_signal=command.polite_signal,
            polite_wait_s=command.polite_wait_s,
            grace_s=asked.limits.grace_s,
            cookie=secrets.token_hex(16),
        )
        try:
            return run_agent(
                launch,
                self._backend.reader(request),
                shown_argv=command.argv[:1],
                secrets=environment.secret_values(self._backend, self._environ),
                log=log,
                tally=tally,
                sampler=Sampler(),
                switch=switch,
                emit=emit,
            )
        finally:
            log.close()

    def _request(self) -> Request:
        asked = self._asked
        prompt_file = self._folder / "prompt.txt"
        replace_file(prompt_file, asked.task.encode(errors="surrogateescape"), mode=0o600)
        return Request(
            prompt=asked.task,
            prompt_file=prompt_file,
            worktree=asked.directory,
            state_dir=self._state_dir,
            model=asked.model,
            agent=asked.agent.name,
            system_prompt=asked.agent.system_prompt,
            approval_mode=asked.approval_mode,
            sandbox_mode=asked.agent.sandbox_mode or SandboxMode.DEFAULT,
            max_steps=asked.limits.max_steps,
            budget_usd=asked.limits.budget_usd,
            timeout_s=asked.limits.timeout_s,
            session_id=asked.resume,
        )


def _report(asked: InPlace, run: AgentRun | None, switch: StopSwitch, warnings: list[str]) -> Report:
    ending = run.ending if run is not None else None
    status, reason = verdict.decide(
        outcome=ending.outcome if ending is not None else None,
        exit_code=run.exit_code if run is not None else None,
        stopped_by=switch.reason,
        spawn_failed=run is not None and run.spawn_error is not None,
        files_changed=1 if run is not None and run.steps else None,
    )
    error = switch.detail or str(switch.reason) if switch.reason is not None else None
    if error is None and run is not None and status != "success":
        error = run.spawn_error or (ending.error if ending is not None else None)
    return Report(
        status=status,
        reason=reason,
        steps=run.steps if run is not None else 0,
        cost=run.cost if run is not None else 0.0,
        usage=run.usage if run is not None else Usage(),
        output=ending.text if ending is not None else "",
        model=(run.model if run is not None else None) or asked.model or "default",
        session_id=(run.session_id if run is not None else None) or "",
        error=error,
        retry_after_s=ending.retry_after_s if ending is not None else None,
        warnings=(*warnings, *(ending.warnings if ending is not None else ())),
    )
