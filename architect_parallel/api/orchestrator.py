"""The operations that another program may ask for: start and follow runs, look at them, merge them within bounds.

All methods block and are safe to call from several threads. A worker's agent is such a program too. It may start runs
only if that was allowed for its depth, and only within its own budget. It may merge nothing, and cancel only its own
runs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from architect_parallel.api.cancel import cancel
from architect_parallel.api.launch import ParallelRunner
from architect_parallel.api.merge import MergeRequest, merge
from architect_parallel.domain import RunPlan, RunResult
from architect_parallel.errors import ArchitectParallelError, EnvironmentProblem, InternalError
from architect_parallel.event_json import to_plain
from architect_parallel.events import AgentOutput, Recorded, WorkerFinished
from architect_parallel.journal.requests import request_cancel
from architect_parallel.landing.compare import compare
from architect_parallel.landing.merge import Pick
from architect_parallel.reports.json import envelope, left_out, summary
from architect_parallel.reports.text import finished_line
from architect_parallel.runs.options import ParallelConfig, resolve
from architect_parallel.runs.workspace import open_journal, require_worker
from architect_parallel.snapshots.diff import patch
from architect_parallel.text.sanitize import one_line
from architect_parallel.workers.nesting import DEPTH, depth, inherited_budget_usd

LONGEST_PATCH_BYTES = 200_000
"""A longer patch is cut: it would fill the context of the agent that asked."""


class BackgroundRun:
    """One run in a thread of this process."""

    def __init__(self) -> None:
        self.plan: RunPlan | None = None
        self.ended = 0
        """Workers that ended."""
        self.latest = "the run begins"
        """The latest event in words."""
        self.result: RunResult | None = None
        self.error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(name="run")

    def begin(self, runner: ParallelRunner) -> None:
        """Start the run of `runner`, which has `take` as its listener."""
        self._thread = threading.Thread(target=self._work, args=(runner,), name="run")
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def take(self, recorded: Recorded) -> None:
        """Note an event of the run."""
        match recorded.event:
            case WorkerFinished(result=result):
                self.ended += 1
                self.latest = finished_line(result)
            case AgentOutput(text=text):
                self.latest = f"[{recorded.worker_id}] {one_line(text, 200)}"
            case _:
                pass

    def wait_started(self) -> str:
        """Wait until the run is recorded, and return its id. Raises what prevented it."""
        with self._changed:
            self._changed.wait_for(lambda: self.plan is not None or self.error is not None)
        if self.plan is None:
            assert self.error is not None
            raise self.error
        return self.plan.run_id

    def join(self) -> RunResult:
        """Wait for the end. Raises what ended the run before its end."""
        self._thread.join()
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise InternalError("the run has no result")
        return self.result

    def _work(self, runner: ParallelRunner) -> None:
        try:
            self.result = runner.execute(self._started)
        except Exception as error:  # the thread that asks gets it
            self.error = error
        finally:
            with self._changed:
                self._changed.notify_all()

    def _started(self, plan: RunPlan) -> None:
        with self._changed:
            self.plan = plan
            self._changed.notify_all()


class Orchestrator:
    """The operations on one repository."""

    def __init__(
        self,
        root: Path,
        *,
        config_file: Path | None = None,
        allow_merge: bool = False,
        nested: int = 0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Args:
        allow_merge: Merges move branches. Otherwise each merge is a dry run.
        nested: The greatest depth of a worker whose agent may start runs. 0 means that no worker may.
        """
        self._root = root
        self._config_file = config_file
        self._environ = dict(os.environ if environ is None else environ)
        self._depth = depth(self._environ, root)
        if self._depth > 0:
            self._environ[DEPTH] = str(self._depth)
        self._nested = nested
        self._allow_merge = allow_merge and self._depth == 0
        self._budget_usd = inherited_budget_usd(self._environ)
        self._granted: dict[int, float] = {}
        """Index of a run → USD granted to it, then its cost."""
        self._runs: list[BackgroundRun] = []
        self._lock = threading.Lock()

    def start(self, config: ParallelConfig) -> BackgroundRun:
        """Start a run.

        Raises:
            UsageError, EnvironmentProblem: As for `ParallelRunner`, or a worker may not start runs.
        """
        if self._depth > self._nested:
            hint = f"start the server with --nested {self._depth}, or leave the work to this agent alone"
            raise EnvironmentProblem("a worker's agent may not start runs here", hint=hint)
        config = replace(config, config_file=self._config_file)
        run = BackgroundRun()
        runner = ParallelRunner(config, self._root, listeners=[run.take], environ=self._environ)
        with self._lock:
            if self._budget_usd is not None:
                asked_usd = resolve(config, runner.here.settings.parallel).budget
                granted_usd = self._granted_usd(asked_usd, self._budget_usd)
                self._granted[len(self._runs)] = granted_usd
                runner.config = replace(config, budget=granted_usd)
            self._runs.append(run)
        run.begin(runner)
        return run

    def _granted_usd(self, asked_usd: float | None, inherited_usd: float) -> float:
        """The budget of a run of a worker's agent: what was asked for, at most what its own budget leaves."""
        for number, run in enumerate(self._runs):
            if run.error is not None:  # it had not begun
                self._granted[number] = 0.0
            elif run.result is not None:
                if run.result.total_cost is None:
                    raise EnvironmentProblem(
                        f"the cost of run {run.result.run_id} is unknown, so nothing is sure to be left of the budget"
                    )
                self._granted[number] = run.result.total_cost
        left = inherited_usd - sum(self._granted.values())
        if left <= 0:
            raise EnvironmentProblem(f"nothing is left of the worker's budget of ${inherited_usd:.2f}")
        return left if asked_usd is None else min(left, asked_usd)

    def stop(self, run: BackgroundRun) -> None:
        """Request the end of a run. Nothing happens if it has ended."""
        if run.plan is not None and not run.is_over:
            with open_journal(self._root) as (_, journal):
                request_cancel(journal.run_dir(run.plan.run_id))

    def status(self) -> dict[str, Any]:
        """All runs of the repository, newest first."""
        with open_journal(self._root) as (_, journal):
            return {"runs": list(map(summary, journal.summaries(journal.run_ids())))}

    def result(self, run: str) -> dict[str, Any]:
        """The envelope of a run."""
        with open_journal(self._root) as (_, journal):
            return envelope(journal.result(journal.find(run)))

    def diff(self, run: str, worker: int) -> dict[str, Any]:
        """The changed files and the patch of one worker."""
        with open_journal(self._root) as (repository, journal):
            result = require_worker(journal.result(journal.find(run)), worker)
            if result.diff is None:
                return {"worker_id": worker, "diff": None, "patch": "", "is_cut": False}
            data = patch(repository.store, result.diff.base, result.diff.head)
            return {
                "worker_id": worker,
                "diff": to_plain(result.diff),
                "patch": data[:LONGEST_PATCH_BYTES].decode(errors="replace"),
                "is_cut": len(data) > LONGEST_PATCH_BYTES,
            }

    def compare(self, run: str) -> dict[str, Any]:
        """The conflicts between the results of a run, and the set that merges cleanly."""
        with open_journal(self._root) as (repository, journal):
            result = journal.result(journal.find(run))
            comparison: dict[str, Any] = to_plain(compare(repository, result))
            return {"run_id": result.run_id} | comparison

    def merge(self, run: str, workers: list[int], pick: str, into: str | None, *, dry_run: bool) -> dict[str, Any]:
        """Merge results, or show what a merge would do. It is a dry run unless merges are allowed."""
        is_dry = dry_run or not self._allow_merge
        request = MergeRequest(run=run, workers=workers, pick=Pick(pick), into=into, dry_run=is_dry)
        warnings: list[str] = []
        plan, outcome = merge(
            self._root, request, config_file=self._config_file, environ=self._environ, warned=warnings.append
        )
        done = outcome or plan
        if is_dry and not dry_run:
            warnings.append("merges are not allowed here, so this was a dry run (architect mcp --allow-merge)")
        return {
            "run_id": plan.run_id,
            "dry_run": outcome is None,
            "merged": list(done.merged),
            "left_out": left_out(done.left_out),
            "target": plan.target.branch,
            "commit": done.commit,
            "files": list(done.files),
            "because": plan.because,
            "warnings": list(dict.fromkeys([*plan.warnings, *(outcome.warnings if outcome else ()), *warnings])),
        }

    def cancel(self, run: str, worker: int | None = None) -> dict[str, Any]:
        """Stop a live run, or one worker of it."""
        if self._depth > 0:
            with open_journal(self._root) as (_, journal):
                run_id = journal.find(run)
            if run_id not in {own.plan.run_id for own in self._runs if own.plan is not None}:
                raise EnvironmentProblem(f"a worker's agent may cancel only runs that it started, not {run_id}")
        return cancel(self._root, run, worker)

    def close(self) -> None:
        """Stop the runs that are not over, and wait for their end."""
        for run in self._runs:
            self.stop(run)
        for run in self._runs:
            try:
                run.join()
            except ArchitectParallelError:
                continue
