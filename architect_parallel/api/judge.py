"""The judge of a competition: an agent that is asked which of two diffs is better, after the run is over.

It works in an empty directory of its own that goes when it ends, read-only as far as its program can be told so, under
the limits of a worker. Every answer is recorded as it comes (`Judged`), after the run's own end: a launcher killed in
between leaves a finished run with fewer answers, and a pair with one of its two answers counts for nothing.
"""

from __future__ import annotations

import logging
import queue
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from architect_parallel.backends.base import Backend
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
from architect_parallel.events import AgentOutput, Event, Judged, Recorded, Warned
from architect_parallel.journal import Journal
from architect_parallel.journal.requests import cancel_requested
from architect_parallel.runs.judge_profile import judge_profile, require_judge
from architect_parallel.runs.runner import LOOK_S, Listener
from architect_parallel.runs.workspace import Workspace
from architect_parallel.snapshots.diff import patch
from architect_parallel.supervision.stop import StopToken, stop_on_signals
from architect_parallel.system.clock import monotonic_s
from architect_parallel.system.files import make_private_dir
from architect_parallel.workers.agent_run import AgentRun
from architect_parallel.workers.alone import Alone, run_alone

ANSWER_TIMEOUT_S = 300.0
"""For one answer, where workers have no time limit."""
MOST_STEPS = 10

_log = logging.getLogger(__name__)


def judge(
    plan: RunPlan, result: RunResult, journal: Journal, here: Workspace, listeners: Sequence[Listener] = ()
) -> RunResult:
    """Has the best successes of an ended competition judged, where only a judge could order them.

    Returns:
        The run's result as the journal tells it then. Where a signal ended the judging its `exit_code` says so, here
        alone: the run itself had ended before.
    """
    competition = plan.competition
    if competition is None or competition.judge is None or result.status is RunStatus.CANCELED:
        return result
    if result.exit_code is not None and result.exit_code >= 128:
        return result
    return _JudgeSession(plan, competition, result, journal, here, listeners).sit()


class _JudgeSession:
    """One sitting: questions in one thread, answers and signals in the caller's."""

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
        self._messages: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._stop_token = StopToken()
        costs = [each.cost for each in result.results] + [each.cost for each in result.judged]
        self._spent = sum(cost for cost in costs if cost is not None)
        self._began_s = monotonic_s()
        self._cut: set[int] = set()

    def sit(self) -> RunResult:
        asking = threading.Thread(target=self._ask_all, name="judge")
        with stop_on_signals(self._stop_token):
            asking.start()
            try:
                self._listen()
            finally:
                self._stop_token.kill()
                asking.join()
        after = self._journal.result(self._plan.run_id)
        signal = self._stop_token.signal
        return after if signal is None else replace(after, exit_code=128 + signal)

    def _listen(self) -> None:
        run_dir = self._journal.run_dir(self._plan.run_id)
        while True:
            try:
                message = self._messages.get(timeout=LOOK_S)
            except queue.Empty:
                if cancel_requested(run_dir):
                    self._stop_token.stop(Reason.CANCELED, "canceled on request")
                continue
            if message is None:
                return
            for recorded in self._journal.append([(self._plan.run_id, None, message)]):
                self._tell(recorded)

    def _tell(self, recorded: Recorded) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(recorded)
            except Exception:  # a display must not end a run
                self._listeners.remove(listener)
                _log.warning("listener dropped", exc_info=True)

    def _ask_all(self) -> None:
        """Asks until all is answered or an answer fails; in its own thread."""
        try:
            backend = require_judge(self._name, self._here)  # a resumed run may stand in another configuration
            for each in self._judgements(backend):
                self._messages.put(Judged(judgement=each))
                if each.error is not None:
                    if self._stop_token.reason not in (Reason.INTERRUPTED, Reason.CANCELED):
                        self._warn(f"judge {self._name}: {each.error}; it is asked no more")
                    return
        except Exception as error:  # here the judge ends: the run's results must not be lost with it
            _log.exception("the judge failed")
            self._warn(f"judge {self._name}: {error}; it is asked no more")
        finally:
            self._messages.put(None)

    def _warn(self, message: str) -> None:
        self._messages.put(Warned(message=message))

    def _judgements(self, backend: Backend) -> Iterator[Judgement]:
        diffs = self._diffs()
        results = self._result.results
        models = {each.worker_id: each.model for each in results}
        pairs = judge_prompt.pairs_to_judge(ranking.tiers(results), models, diffs)
        answered = {(each.a, each.b): each.best for each in self._result.judged if each.error is None}
        if pairs:
            candidates = sorted({worker_id for pair in pairs for worker_id in pair})
            text = f"judge {self._name}: asked to choose between workers {', '.join(map(str, candidates))}"
            self._messages.put(AgentOutput(text=text))
        for first, second in pairs:
            # An answer that cannot be read decides the pair: the other one is not paid for.
            for a, b in ((first, second), (second, first)):
                if (a, b) not in answered:
                    judgement = self._ask(backend, a, b, diffs[a], diffs[b])
                    if judgement is None:
                        return
                    yield judgement
                    answered[a, b] = judgement.best
                if answered[a, b] is None:
                    break

    def _diffs(self) -> dict[int, str]:
        """Worker id → its diff as the judge sees it; of successes that changed something."""
        names: set[str] = set()
        for each in self._result.results:
            names |= judge_prompt.names_of(each.model) if each.model != "default" else set()
        for spec in self._plan.workers:
            names |= {spec.branch, Path(spec.worktree_path).name}
        shown = {}
        for each in self._result.results:
            if each.status is not Status.SUCCESS or each.diff is None or not each.diff.files:
                continue
            data = patch(self._here.repository.store, each.diff.base, each.diff.head)
            shown[each.worker_id], cut = judge_prompt.shown_diff(data.decode(errors="replace"), names)
            if cut:
                self._cut.add(each.worker_id)
        return shown

    def _ask(self, backend: Backend, a: int, b: int, diff_a: str, diff_b: str) -> Judgement | None:
        """One answer; `None`: nothing is left of the run's budget or time."""
        limits = self._limits()
        if limits is None:
            return None
        for worker_id in (a, b):
            if worker_id in self._cut:
                self._cut.discard(worker_id)
                self._warn(
                    f"the judge saw the first {judge_prompt.SHOWN_CHARACTERS} characters of worker {worker_id}'s diff"
                )
        run_dir = self._journal.run_dir(self._plan.run_id)
        name = next(name for number in range(1, 10_000) if not (run_dir / (name := f"judge-{number}")).exists())
        task = judge_prompt.question(self._plan.workers[0].prompt, diff_a, diff_b, mark=secrets.token_hex(8))
        profile = judge_profile(self._here, backend)
        with tempfile.TemporaryDirectory(prefix="architect-judge-", ignore_cleanup_errors=True) as directory:
            alone = Alone(
                task=task,
                backend=backend,
                directory=Path(directory),
                folder=make_private_dir(run_dir / name),
                state_dir=make_private_dir(run_dir / "state" / name),
                agent=profile,
                model=profile.model,
                approval_mode=ApprovalMode.DEFAULT,
                limits=limits,
                environ=self._here.environ,
                prices=self._here.settings.prices,
            )
            try:
                run = run_alone(alone, self._stop_token, lambda event: None)
            except ArchitectParallelError as error:
                return Judgement(a=a, b=b, best=None, backend=backend.name, cost=0.0, error=str(error))
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
    text = ending.text if ending is not None else ""
    error = run.spawn_error
    completed = ending is not None and ending.outcome is Outcome.COMPLETED and run.exit_code == 0
    if error is None and not completed:  # an answer that is there counts, also where it was the budget's last
        said = ending.error if ending is not None else None
        error = (
            stop_token.detail or str(stop_token.reason) if stop_token.reason else said or f"exit code {run.exit_code}"
        )
    answer = judge_prompt.read_answer(text) if error is None else None
    started_s, ended_s = run.started_s, run.ended_s
    return Judgement(
        a=a,
        b=b,
        best={"A": a, "B": b}.get(answer or ""),
        backend=backend,
        model=run.model or model or "default",
        cost=run.cost if run.spawn_error is None else 0.0,
        duration=0.0 if started_s is None or ended_s is None else round(ended_s - started_s, 3),
        output=text,
        error=error,
    )
