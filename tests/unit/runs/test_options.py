"""Each option is declared once. A flag beats the task, and the task beats the configuration."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from architect_parallel.cli.eval import evaluate
from architect_parallel.cli.parallel import parallel
from architect_parallel.domain import Task, TaskFile
from architect_parallel.errors import UsageError
from architect_parallel.options import FLAGS, KEYS, RunOptions
from architect_parallel.runs.options import ParallelConfig, resolve, worker_limits


def test_python_api_and_command_line_have_every_declared_flag() -> None:
    request = {spec.name for spec in dataclasses.fields(ParallelConfig)}
    assert set(FLAGS) <= request
    assert [name for name in inspect.signature(parallel).parameters if name in FLAGS] == list(FLAGS)
    assert set(inspect.signature(evaluate).parameters) & set(FLAGS) < set(FLAGS)
    assert set(KEYS) - set(FLAGS) == {
        "workers_ceiling",
        "output_per_worker",
        "rate_limit_wait",
        "min_free_memory",
        "min_free_disk",
        "checks_env",
    }


def test_a_request_without_flags_leaves_the_configuration_as_it_is() -> None:
    settings = RunOptions(max_steps=7, fail_fast=True, grace=1.0)
    assert resolve(ParallelConfig(), settings) == settings
    assert resolve(ParallelConfig(checks=[], models=[]), settings) == settings


def test_flags_beat_the_task_file_which_beats_the_configuration() -> None:
    file = TaskFile(name="t.yaml", tasks=(), max_parallel=4, fail_fast=True)
    settings = RunOptions(max_parallel=2, timeout=9.0)

    options = resolve(ParallelConfig(timeout="5m", fail_fast=False, memory_per_worker="1GiB"), settings, file)

    assert (options.max_parallel, options.fail_fast, options.timeout) == (4, False, 300.0)
    assert options.given == {"timeout", "fail_fast", "memory_per_worker"}
    assert options.memory_per_worker == 1024**3


def test_a_flag_beats_the_task_which_beats_the_configuration() -> None:
    task = Task(prompt="x", timeout_s=1.0, max_turns=2, retries=3)
    options = resolve(ParallelConfig(timeout_per_worker=60), RunOptions(budget_per_worker=4.0))

    limits = worker_limits(options, task)

    assert (limits.timeout_s, limits.max_steps, limits.budget_usd) == (60.0, 2, 4.0)
    assert (options.over("retries", task.retries), options.over("retries", None)) == (3, 0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ParallelConfig(workers=11), "--workers 11: must be a whole number from 1 to 10"),
        (ParallelConfig(retries=-1), "--retries -1: must be"),
        (ParallelConfig(checks=["  "]), "--check '  ': "),
        (ParallelConfig(assign="x"), "unknown --assign 'x'"),
        (ParallelConfig(grace="x"), "--grace 'x': must be a duration"),
    ],
)
def test_a_wrong_value_is_reported_with_its_flag(config: ParallelConfig, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(config, RunOptions())
    assert caught.value.message.startswith(message)
