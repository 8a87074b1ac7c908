"""The judge of a competition: an agent that chooses the better of two diffs, after the run has ended.

It works in a temporary empty directory, read-only if its program can be, under the limits of a worker. Every answer is
recorded as it comes (`Judged`), after the run's own end. A launcher killed in between leaves a finished run with fewer
answers. A pair with one of its two answers counts for nothing.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path

from architect_parallel.backends.base import Backend
from architect_parallel.containment.box import Box
from architect_parallel.domain import (
    ApprovalMode,
    Competition,
    Judgement,
    Limits,
    Outcome,
    Reason,
    RunPlan,
    RunResult,
    RunStatus,
    Status,
)
from architect_parallel.errors import ArchitectParallelError
from architect_parallel.evaluation import judge_prompt, ranking
from architect_parallel.events import AgentOutput, Event, Judged, Warned
from architect_parallel.journal import Journal
from architect_parallel.journal.requests import cancel_requested
from architect_parallel.runs.containment import contained_again
from architect_parallel.runs.judge_profile import judge_profile, require_judge
from architect_parallel.runs.recorder import Listener
from architect_parallel.runs.stop_control import LOOK_S
from architect_parallel.runs.workspace import Workspace
from architect_parallel.snapshots.diff import patch
from architect_parallel.supervision.stop import StopToken, stop_on_signals
from architect_parallel.system.clock import monotonic_s
from architect_parallel.system.own_files import make_own_dir
from architect_parallel.text.names import DEFAULT_MODEL
from architect_parallel.workers.agent_session import AgentRun, AgentSession
from architect_parallel.workers.request import profile_request
from architect_parallel.worktrees.places import DIRECTORY_PREFIX

ANSWER_TIMEOUT_S = 300.0
"""Seconds for one answer if workers have no time limit."""
MOST_STEPS = 10

_log = logging.getLogger(__name__)


def judge(
    plan: RunPlan, result: RunResult, journal: Journal, here: Workspace, listeners: Sequence[Listener] = ()
) -> RunResult:
    """Let a judge order the best successes of an ended competition that only a judge can order.

    Returns:
        The run's result with the judgements. After a signal its `exit_code` names it. The recorded exit code stays,
        because the run itself had ended before.
    """
    competition = plan.competition
    if competition is None or competition.judge is None or result.status is RunStatus.CANCELED:
        return result
    if result.exit_code is not None and result.exit_code >= 128:
        return result
    return _JudgeSession(plan, competition, result, journal, here, listeners).run()


class _JudgeSession:
    """One judging: the agent runs in a thread, so that this one takes signals and requests to cancel."""

    def __init__(
        self,
        plan: RunPlan,
        competition: Competition,
        result: RunResult,
        journal: Journal,
        here: Workspace,
        listeners: Sequence[Listener],
    ) -> None:
        self._plan = plan
        self._name = competition.judge or ""
        self._result = result
        self._journal = journal
        self._here = here
        self._listeners = list(listeners)
        self._stop_token = StopToken()
        costs = [worker.cost for worker in result.results] + [judgement.cost for judgement in result.judged]
        self._spent = sum(cost for cost in costs if cost is not None)
        self._began_s = monotonic_s()
        self._cut: set[int] = set()

    def run(self) -> RunResult:
        with stop_on_signals(self._stop_token), ThreadPoolExecutor(1, "judge") as pool:
            try:
                self._ask_all(pool)
            finally:
                self._stop_token.kill()
        after = self._journal.result(self._plan.run_id)
        signal = self._stop_token.signal
        return after if signal is None else replace(after, exit_code=128 + signal)

    def _ask_all(self, pool: ThreadPoolExecutor) -> None:
        """Ask until all questions are answered or an answer fails."""
        try:
            backend = require_judge(self._name, self._here)  # the configuration may have changed before a resume
            for judgement in self._judgements(backend, pool):
                self._record(Judged(judgement=judgement))
                if judgement.error is not None:
                    if self._stop_token.reason not in (Reason.INTERRUPTED, Reason.CANCELED):
                        self._warn(f"judge {self._name}: {judgement.error}; it is asked no more")
                    return
        except Exception as error:  # the run's results must not be lost with the judge
            _log.exception("the judge failed")
            self._warn(f"judge {self._name}: {error}; it is asked no more")

    def _record(self, event: Event) -> None:
        for recorded in self._journal.append([(self._plan.run_id, None, event)]):
            for listener in tuple(self._listeners):
                try:
                    listener(recorded)
                except Exception:  # a display must not end a run
                    self._listeners.remove(listener)
                    _log.warning("listener dropped", exc_info=True)

    def _warn(self, message: str) -> None:
        self._record(Warned(message=message))

    def _judgements(self, backend: Backend, pool: ThreadPoolExecutor) -> Iterator[Judgement]:
        diffs = self._diffs()
        results = self._result.results
        models = {worker.worker_id: worker.competitor for worker in results}
        pairs = judge_prompt.pairs_to_judge(ranking.tiers(results), models, diffs)
        judged = self._result.judged
        answered = {(answer.a, answer.b): answer.best for answer in judged if answer.error is None}
        if pairs:
            candidates = sorted({worker_id for pair in pairs for worker_id in pair})
            text = f"judge {self._name}: asked to choose between workers {', '.join(map(str, candidates))}"
            self._record(AgentOutput(text=text))
        for first, second in pairs:
            # An unreadable answer decides the pair, so the second question is not paid for.
            for a, b in ((first, second), (second, first)):
                if (a, b) not in answered:
                    judgement = self._ask(pool, backend, (a, b), diffs)
                    if judgement is None:
                        return
                    yield judgement
                    answered[a, b] = judgement.best
                if answered[a, b] is None:
                    break

    def _diffs(self) -> dict[int, str]:
        """Worker id → its diff as the judge sees it, of successes with changes."""
        names: set[str] = set()
        for worker in self._result.results:
            for model in {worker.model, worker.competitor} - {DEFAULT_MODEL}:
                names |= judge_prompt.names_of(model)
        for spec in self._plan.workers:
            names |= {spec.branch, spec.worktree_path}
            if (name := Path(spec.worktree_path).name).startswith(DIRECTORY_PREFIX):  # not an ordinary word
                names.add(name)
        shown = {}
        for worker in self._result.results:
            if worker.status is not Status.SUCCESS or worker.diff is None or not worker.diff.files:
                continue
            data = patch(self._here.repository.store, worker.diff.base, worker.diff.head)
            shown[worker.worker_id], is_cut = judge_prompt.shown_diff(data.decode(errors="replace"), names)
            if is_cut:
                self._cut.add(worker.worker_id)
        return shown

    def _ask(
        self, pool: ThreadPoolExecutor, backend: Backend, pair: tuple[int, int], diffs: Mapping[int, str]
    ) -> Judgement | None:
        """Ask one question. `None` means that nothing is left of the run's budget or time, or that a stop came."""
        limits = self._limits()
        if limits is None:
            return None
        a, b = pair
        for worker_id in pair:
            if worker_id in self._cut:
                self._cut.discard(worker_id)
                self._warn(
                    f"the judge saw the first {judge_prompt.SHOWN_CHARACTERS} characters of worker {worker_id}'s diff"
                )
        run_dir = self._journal.run_dir(self._plan.run_id)
        name = next(name for number in range(1, 10_000) if not (run_dir / (name := f"judge-{number}")).exists())
        task = judge_prompt.question(self._plan.workers[0].prompt, diffs[a], diffs[b], mark=secrets.token_hex(8))
        profile = judge_profile(self._here, backend)
        worker, options = self._plan.workers[0], self._here.settings.parallel
        sandbox = contained_again(replace(worker, backend=backend.name), worker.backend, options, self._here).sandbox
        with tempfile.TemporaryDirectory(prefix="architect-judge-", ignore_cleanup_errors=True) as directory:
            folder = make_own_dir(run_dir / name)
            request = profile_request(
                task,
                profile,
                model=profile.model,
                approval_mode=ApprovalMode.DEFAULT,
                limits=limits,
                directory=Path(directory),
                prompt_file=folder / "prompt.txt",
                state_dir=make_own_dir(run_dir / "state" / name),
                contained=sandbox.is_contained,
            )
            box = Box(
                sandbox=sandbox,
                repository=self._here.repository,
                run_dir=run_dir,
                environ=self._here.environ,
                directory=Path(directory),
                name=name,
                read=(folder / "prompt.txt",),
            )
            session = AgentSession(backend=backend, environ=self._here.environ, prices=self._here.settings.prices)
            run_agent = partial(session.run, request, limits=limits, log=folder / "log", stop_token=self._stop_token)
            asking = pool.submit(run_agent, emit=lambda event: None, contain=box.contain)
            while not wait([asking], LOOK_S).done:
                if cancel_requested(run_dir):
                    self._stop_token.stop(Reason.CANCELED, "canceled on request")
            try:
                run = asking.result()
            except ArchitectParallelError as error:
                return Judgement(a=a, b=b, best=None, backend=backend.name, cost=0.0, error=str(error))
            finally:
                for warning in box.close():
                    self._warn(warning)
        if run is None:
            return None
        self._spent += run.cost or 0.0
        return _judgement(run, a, b, backend.name, profile.model, self._stop_token)

    def _limits(self) -> Limits | None:
        own, plan = self._plan.workers[0].limits, self._plan
        timeout_s, budget_usd = own.timeout_s or ANSWER_TIMEOUT_S, own.budget_usd
        if plan.timeout_s is not None:
            timeout_s = min(
                timeout_s, plan.timeout_s - self._result.total_duration_seconds - (monotonic_s() - self._began_s)
            )
        left = None if plan.budget_usd is None else plan.budget_usd - self._spent
        if timeout_s <= 0 or (left is not None and left <= 0):
            what = "time" if timeout_s <= 0 else "budget"
            self._warn(f"judge {self._name}: nothing is left of the run's {what}; it is asked no more")
            return None
        if left is not None:
            budget_usd = left if budget_usd is None else min(left, budget_usd)
        steps = MOST_STEPS if own.max_steps is None else min(own.max_steps, MOST_STEPS)
        return replace(own, timeout_s=timeout_s, budget_usd=budget_usd, run_budget_usd=left, max_steps=steps)


def _judgement(run: AgentRun, a: int, b: int, backend: str, model: str | None, stop_token: StopToken) -> Judgement:
    ending = run.ending
    error = run.spawn_error
    completed = ending is not None and ending.outcome is Outcome.COMPLETED and run.exit_code == 0
    if error is None and not completed:  # an answer counts even if it spent the rest of the budget
        claimed = ending.error if ending is not None else None
        error = stop_token.description or claimed or f"exit code {run.exit_code}"
    answer = judge_prompt.read_answer(run.output) if error is None else None
    return Judgement(
        a=a,
        b=b,
        best={"A": a, "B": b}.get(answer or ""),
        backend=backend,
        model=run.model or model or "default",
        cost=run.cost if run.spawn_error is None else 0.0,
        duration=round(run.ended_s - run.started_s, 3),
        output=run.output,
        error=error,
    )
