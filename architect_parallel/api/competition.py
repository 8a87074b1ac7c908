"""`architect eval`: one task for several models under the same checks, ranked. And all competitions together."""

from __future__ import annotations

from dataclasses import replace

from architect_parallel.domain import Competition, LeaderboardRow, ModelRate, RunResult, Score
from architect_parallel.errors import UsageError
from architect_parallel.evaluation.leaderboard import standings
from architect_parallel.evaluation.pass_rates import pass_rates
from architect_parallel.events import RunStarted
from architect_parallel.journal import Journal
from architect_parallel.runs.options import ParallelConfig
from architect_parallel.text.quantities import parse_count
from architect_parallel.text.suggest import require_known

MOST_RUNS_PER_MODEL = 100


def as_competition(
    config: ParallelConfig, *, runs_per_model: int | str = 1, score: str = Score.LEXICOGRAPHIC, judge: str | None = None
) -> ParallelConfig:
    """Make `config` a competition: its one task for each of its models, `runs_per_model` times.

    Every model runs once before any runs again, so that a run that is cut short stays fair.

    Args:
        score: A word of `Score`.
        judge: Backend that chooses between diffs. `None` means no judge.

    Raises:
        UsageError: Not exactly one task, no model, a model named twice, or an invalid score or number.
    """
    if len(config.tasks) != 1:
        raise UsageError("a competition needs exactly one task", hint='architect eval "what to do" --models a,b')
    if not config.models:
        raise UsageError("no models given", hint="--models a,b")
    twice = next((model for model in config.models if list(config.models).count(model) > 1), None)
    if twice is not None:
        raise UsageError(f"--models names {twice} twice", hint="--runs-per-model 2 runs each of them twice")
    runs = parse_count(runs_per_model, "--runs-per-model", high=MOST_RUNS_PER_MODEL)
    chosen = Score(require_known("--score", score, [word.value for word in Score]))
    if chosen is Score.WEIGHTED and judge is not None:
        hint = "leave out one of the two"
        raise UsageError("--score weighted leaves a judge nothing to decide: points for steps and cost do", hint=hint)
    return replace(
        config,
        models=tuple(config.models) * runs,
        listed=True,  # the configuration does not change the number of workers
        assign="cross",
        fail_fast=False,
        refine=False,
        competition=Competition(score=chosen, runs_per_model=runs, judge=judge),
    )


def rates_of(result: RunResult) -> tuple[ModelRate, ...]:
    """The pass rate of each model. Empty unless a competition has several runs of each model."""
    if result.competition is None or result.competition.runs_per_model < 2:
        return ()
    return pass_rates(result.results)


def leaderboard(journal: Journal) -> tuple[LeaderboardRow, ...]:
    """The models of all competitions held in this repository, best first.

    Imported runs do not count: their checks did not run here, and anyone could write one that makes a model win.
    """
    return standings([journal.result(run_id) for run_id in journal.run_ids() if _is_competition(journal, run_id)])


def _is_competition(journal: Journal, run_id: str) -> bool:
    first = journal.first(run_id)
    return first is not None and isinstance(first.event, RunStarted) and first.event.plan.competition is not None
