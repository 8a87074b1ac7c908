"""One task from request to report: choose the model, build the agent, stop on signals.

SIGINT, SIGTERM and SIGHUP (unless ignored) cancel the work at its next await, which ends what a tool has started. The
report is still printed. SDKs are imported only here and below, and only that of the needed provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from architect_parallel.agent.conversation import Conversation
from architect_parallel.agent.loop import Agent, Report
from architect_parallel.agent.profiles import PROFILES, system_prompt
from architect_parallel.agent.progress import ProgressLog
from architect_parallel.agent.scripted import scripted_conversation
from architect_parallel.agent.sessions import Sessions, StoredSession, damaged
from architect_parallel.agent.shared_budget import SharedBudget
from architect_parallel.agent.tools import ConfirmMode, Toolbox, ToolSpec, tools_of
from architect_parallel.agent.workspace import WorkingDirectory
from architect_parallel.backends.providers import SCRIPTED, choose_model, default_model, missing_key
from architect_parallel.domain import AgentProfile, Limits, Price, Reason, SandboxMode, Status, Usage
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.clock import now
from architect_parallel.system.signals import stopping_signals


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequest:
    """The arguments of `architect run`."""

    task: str
    directory: Path
    agent: AgentProfile
    model: str | None = None
    """`None` means the profile's model, otherwise the default of the first provider whose key is set."""
    api_base: str | None = None
    limits: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=dict)
    confirm_mode: ConfirmMode = ConfirmMode.YOLO
    session_dir: Path | None = None
    """Directory of the sessions. `None` means that none are kept."""
    resume: str | None = None
    """Id of the session to continue. Its model is used unless another is named."""


def run_embedded_agent(
    request: AgentRequest, environ: Mapping[str, str], say: Callable[[str], None] | None = None
) -> tuple[Report, int | None]:
    """Run the task. Return its report and the number of the signal that stopped it. `None` means no signal.

    Args:
        say: Called with a line of progress. `None` means no progress lines.

    Raises:
        UsageError: An unknown model or profile, or an unknown or damaged session.
        EnvironmentProblem: A missing key, or the missing extra.
    """
    return asyncio.run(_run(request, environ, say))


async def _run(
    request: AgentRequest, environ: Mapping[str, str], say: Callable[[str], None] | None
) -> tuple[Report, int | None]:
    loop = asyncio.get_running_loop()
    caught: list[int] = []

    async def work() -> Report:
        agent = await _in_thread(lambda: _agent(request, environ, say))
        try:
            return await agent.run(request.task)
        finally:
            agent.progress.close()

    working = loop.create_task(work())

    def stop(number: int) -> None:
        caught.append(number)
        if len(caught) == 1:  # a second one must not break the clean-up of the first
            working.cancel()

    for number in stopping_signals():
        with contextlib.suppress(RuntimeError):  # not in the main thread: the caller keeps its own handling
            loop.add_signal_handler(number, stop, int(number))
    await asyncio.wait([working])
    report = _never_begun(request) if working.cancelled() else working.result()
    return report, caught[0] if caught else None


async def _in_thread(make: Callable[[], Agent]) -> Agent:
    """Run `make` beside the loop: importing an SDK takes seconds, and a signal must not wait for it.

    It is a daemon thread: a half-finished import is useless when the program ends.
    """
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Agent] = loop.create_future()

    def tell(result: Agent | None, error: Exception | None) -> None:
        if made.done():
            return
        if result is not None:
            made.set_result(result)
        else:
            made.set_exception(error or RuntimeError("no agent"))

    def run() -> None:
        result, error = None, None
        try:
            result = make()
        except Exception as problem:  # here the thread ends: whatever it is, the caller gets it
            error = problem
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await made


def _never_begun(request: AgentRequest) -> Report:
    return Report(
        status=Status.FAILED,
        reason=Reason.INTERRUPTED,
        steps=0,
        cost=0.0,
        usage=Usage(),
        output="",
        model=request.model or "default",
        session_id=request.resume or "",
        error="interrupted",
    )


def _agent(request: AgentRequest, environ: Mapping[str, str], say: Callable[[str], None] | None) -> Agent:
    # A profile from the configuration builds, unless its modes say otherwise.
    profile = PROFILES.get(request.agent.name, PROFILES["build"])
    read_only = profile.read_only or request.agent.sandbox_mode is SandboxMode.READ_ONLY
    specs = tools_of(read_only, request.confirm_mode)
    workspace = WorkingDirectory(request.directory)
    instructions = system_prompt(profile, str(workspace.root), request.agent.system_prompt)
    sessions = Sessions(request.session_dir)
    before = None if request.resume is None else sessions.load(request.resume)
    if not environ.get("ARCHITECT_SESSION_DIR"):  # a directory that somebody named is theirs to tidy up
        sessions.remove_outdated(now().timestamp(), besides=request.resume)
    name = request.model or (before.model if before is not None else _model_of(request, environ))
    conversation = _conversation(name, request, instructions, environ, specs)
    if before is not None:
        _take_up(conversation, request.resume or "", before)
    return Agent(
        conversation=conversation,
        toolbox=Toolbox(workspace, specs, environ),
        limits=request.limits,
        session_id=request.resume or str(uuid.uuid4()),
        sessions=sessions,
        model_asked=name,
        progress=ProgressLog.of(environ, say),
        purse=SharedBudget.of(environ),
    )


def _take_up(conversation: Conversation, session_id: str, before: StoredSession) -> None:
    try:
        conversation.take_up(before.messages)
    except (ValueError, RecursionError) as error:
        raise damaged(session_id) from error


def _model_of(request: AgentRequest, environ: Mapping[str, str]) -> str:
    name = request.model or request.agent.model or default_model({key for key, value in environ.items() if value})
    if name is None:
        raise EnvironmentProblem(
            "no model is named and no provider's key is set",
            hint="architect run … --model gpt-4o with OPENAI_API_KEY set (or ANTHROPIC_API_KEY, GOOGLE_API_KEY)",
        )
    return name


def _conversation(
    name: str, request: AgentRequest, instructions: str, environ: Mapping[str, str], specs: tuple[ToolSpec, ...]
) -> Conversation:
    choice = choose_model(name, request.api_base)
    if choice is None:
        raise UsageError(f"no provider is known for model {name!r}", hint="--model provider:model, or --api-base URL")
    if choice.provider.name == SCRIPTED:
        return scripted_conversation(choice.model, environ)
    key = missing_key(choice, {key for key, value in environ.items() if value})
    if key is not None:
        raise EnvironmentProblem(f"model {name} needs {key}", hint=f"export {key}=…")
    from architect_parallel.agent.provider import open_conversation

    return open_conversation(choice, instructions, specs, environ, request.prices)
