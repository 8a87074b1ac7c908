"""`architect parallel` as a user types it: results, names, streams, and what happens to the user's own checkout."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from support.console import Architect
from support.contract_names import CONTRACT_ENVELOPE, CONTRACT_FIRST_NINE, CONTRACT_RESULT
from support.repositories import git

from architect_parallel import WorkerResult


def test_each_task_has_a_branch_a_commit_and_a_result(architect: Architect, checkout: Path) -> None:
    answer = architect("parallel", "echo one > new.txt; echo done", "--task", "false", "--backend", "shell", "--json")

    assert answer.code == 1
    envelope = answer.json
    assert set(CONTRACT_ENVELOPE) <= set(envelope)
    assert (envelope["status"], envelope["total_tasks"]) == ("partial", 2)
    assert [envelope[word] for word in ("completed", "failed", "canceled", "skipped")] == [1, 1, 0, 0]
    first, second = envelope["results"]
    assert list(first) == CONTRACT_RESULT
    assert (first["status"], first["reason"], first["files_modified"]) == ("success", "completed", ["new.txt"])
    assert (first["output"], first["exit_code"], first["leaked"]) == ("done", 0, 0)
    assert (second["status"], second["reason"], second["exit_code"]) == ("failed", "agent_error", 1)
    assert git(checkout, "show", "architect/parallel-1:new.txt") == "one"
    assert git(checkout, "rev-parse", "architect/parallel-1") == first["diff"]["head"]
    assert git(checkout, "rev-parse", "architect/parallel-2") == envelope["base_commit"]


def test_worker_result_has_the_nine_public_fields_first() -> None:
    assert [field.name for field in dataclasses.fields(WorkerResult)][:9] == CONTRACT_FIRST_NINE


def test_the_users_checkout_is_left_as_it_was(architect: Architect, checkout: Path) -> None:
    (checkout / "mine.txt").write_text("untracked\n")
    before = (
        git(checkout, "status", "--porcelain"),
        git(checkout, "rev-parse", "HEAD"),
        git(checkout, "branch", "--show-current"),
    )

    assert architect("parallel", "echo x > y", "--backend", "shell").code == 0

    after = (
        git(checkout, "status", "--porcelain"),
        git(checkout, "rev-parse", "HEAD"),
        git(checkout, "branch", "--show-current"),
    )
    assert after == before


def test_text_answer_has_progress_table_and_total(architect: Architect) -> None:
    answer = architect("parallel", "echo hello", "--backend", "shell", "--workers", "1")

    lines = answer.out.splitlines()
    assert lines[0] == "Running 1 task (max 1 parallel)..."
    assert lines[1] == "[1] hello"
    assert lines[2:5] == ["", "Results", "=" * 60]
    assert lines[5].split() == [
        "#",
        "BACKEND",
        "MODEL",
        "STATUS",
        "STEPS",
        "COST",
        "DURATION",
        "FILES",
        "SESSION",
        "BRANCH",
        "TASK",
    ]
    assert lines[6].split()[:5] == ["1", "shell", "default", "OK", "0"]
    assert lines[7].startswith("Total: 1 task, 1 completed, 0 failed (")
    assert answer.err == ""


def test_quiet_prints_only_the_result(architect: Architect) -> None:
    answer = architect("parallel", "echo hello", "--backend", "shell", "--quiet", "--workers", "1")

    assert answer.out.splitlines()[1] == "Results"
    assert "Running" not in answer.out + answer.err


def test_json_is_the_only_thing_on_stdout(architect: Architect) -> None:
    answer = architect("parallel", "echo hello", "--backend", "shell", "--json")

    assert json.loads(answer.out)["status"] == "success"
    assert "[1] hello" in answer.err


def test_from_a_sub_directory_worktrees_stand_at_the_root(architect: Architect, checkout: Path) -> None:
    below = checkout / "deep" / "down"
    below.mkdir(parents=True)

    result = architect("parallel", "pwd", "--backend", "shell", "--workers", "1", "--json", cwd=below).json["results"][
        0
    ]

    assert result["worktree_path"] == str(checkout / ".architect-parallel-1")
    assert result["output"] == result["worktree_path"]


def test_second_run_takes_the_numbers_above(architect: Architect, checkout: Path) -> None:
    first = architect("parallel", "true", "--backend", "shell", "--workers", "2", "--json").json
    tip = git(checkout, "rev-parse", "architect/parallel-1")

    second = architect("parallel", "echo x > y", "--backend", "shell", "--workers", "2", "--json").json

    assert [each["branch"] for each in first["results"]] == ["architect/parallel-1", "architect/parallel-2"]
    assert [each["branch"] for each in second["results"]] == ["architect/parallel-3", "architect/parallel-4"]
    assert [each["worker_id"] for each in second["results"]] == [1, 2]
    assert git(checkout, "rev-parse", "architect/parallel-1") == tip


def test_default_is_three_workers_on_one_task(architect: Architect) -> None:
    assert architect("parallel", "true", "--backend", "shell", "--json").json["total_tasks"] == 3


def test_more_tasks_than_the_ceiling_are_all_run(architect: Architect) -> None:
    tasks = [word for number in range(12) for word in ("--task", f"echo {number}")]

    envelope = architect("parallel", *tasks, "--backend", "shell", "--max-parallel", "10", "--json").json

    assert [each["output"] for each in envelope["results"]] == [str(number) for number in range(12)]


def test_max_parallel_bounds_how_many_run_at_once(architect: Architect, tmp_path: Path) -> None:
    log = tmp_path / "log"
    two = f"until [ $(grep -c + '{log}') -ge 2 ]; do sleep 0.05; done"  # however slow the start of the second is
    task = f"echo + >> '{log}'; {two}; sleep 0.3; echo - >> '{log}'"

    architect("parallel", task, "--backend", "shell", "--workers", "6", "--max-parallel", "2")

    depth, deepest = 0, 0
    for line in log.read_text().split():
        depth += 1 if line == "+" else -1
        deepest = max(deepest, depth)
    assert (depth, deepest) == (0, 2)


def test_fail_fast_cancels_the_rest(architect: Architect) -> None:
    answer = architect(
        "parallel", "false", "--task", "sleep 60", "--task", "true", "--backend", "shell", "--max-parallel", "2",
        "--fail-fast", "--json",
    )  # fmt: skip

    assert answer.code == 1
    assert [(each["status"], each["reason"]) for each in answer.json["results"]] == [
        ("failed", "agent_error"), ("canceled", "fail_fast"), ("canceled", "fail_fast"),
    ]  # fmt: skip


def test_allow_partial_is_content_with_one_success(architect: Architect) -> None:
    assert architect("parallel", "false", "--task", "true", "--backend", "shell", "--allow-partial").code == 0
    assert architect("parallel", "false", "--task", "false", "--backend", "shell", "--allow-partial").code == 1


def test_no_commit_leaves_the_branch_and_keeps_the_state(architect: Architect, checkout: Path) -> None:
    envelope = architect("parallel", "echo x > y", "--backend", "shell", "--workers", "1", "--no-commit", "--json").json

    result = envelope["results"][0]
    assert result["files_modified"] == ["y"]
    assert git(checkout, "rev-parse", "architect/parallel-1") == envelope["base_commit"]
    assert git(Path(result["worktree_path"]), "status", "--porcelain") == "?? y"
    assert git(checkout, "show", f"{result['diff']['head']}:y") == "x"


def test_base_is_where_the_worktrees_start(architect: Architect, checkout: Path) -> None:
    base = git(checkout, "rev-parse", "HEAD~1")

    envelope = architect("parallel", "git rev-parse HEAD", "--backend", "shell", "--base", "HEAD~1", "--json").json

    assert envelope["base_commit"] == base
    assert {each["output"] for each in envelope["results"]} == {base}


def test_include_dirty_carries_the_uncommitted_state_over(architect: Architect, checkout: Path) -> None:
    (checkout / "draft.txt").write_text("draft\n")
    before = git(checkout, "status", "--porcelain")

    task = ("parallel", "cat draft.txt; echo more > added", "--backend", "shell", "--workers", "1", "--json")
    without, carried = architect(*task), architect(*task, "--include-dirty")

    assert "draft" not in without.json["results"][0]["output"]
    result = carried.json["results"][0]
    assert (result["output"], result["files_modified"]) == ("draft", ["added"])
    assert git(checkout, "status", "--porcelain") == before


def test_a_large_task_comes_by_stdin(architect: Architect) -> None:
    task = b": " + b"x" * (10 * 2**20) + b"\necho still here\n"

    answer = architect("parallel", "-", "--backend", "shell", "--workers", "1", "--json", stdin=task)

    assert answer.code == 0, answer.err
    assert answer.json["results"][0]["output"] == "still here"


def test_a_task_may_begin_with_a_dash(architect: Architect) -> None:
    for words in (("--task", "-v 2>/dev/null; echo dash"), ("--", "-v 2>/dev/null; echo dash")):
        answer = architect("parallel", "--backend", "shell", "--workers", "1", "--json", *words)

        assert answer.json["results"][0]["output"] == "dash", answer.err


def test_dry_run_shows_the_argv_and_makes_nothing(architect: Architect, checkout: Path) -> None:
    before = git(checkout, "for-each-ref"), sorted(path.name for path in checkout.iterdir())

    answer = architect("parallel", "echo 'a b'", "--backend", "shell", "--dry-run", "--budget", "3", "--json")

    assert answer.code == 0
    assert answer.json["cost_ceiling"] == 3.0
    assert answer.json["workers"][0]["argv"][-1] == "echo 'a b'"
    assert "nothing was started" in architect("parallel", "true", "--backend", "shell", "--dry-run").out
    assert (git(checkout, "for-each-ref"), sorted(path.name for path in checkout.iterdir())) == before


def test_python_api_returns_results_sorted(architect: Architect, checkout: Path) -> None:
    from architect_parallel import ParallelConfig, ParallelRunner

    config = ParallelConfig(tasks=["sleep 0.3; echo a", "echo b"], backend="shell", workers=2)

    results = ParallelRunner(config, workspace_root=checkout).run()

    assert [(each.worker_id, each.output) for each in results] == [(1, "a"), (2, "b")]


def test_python_api_takes_tasks_with_settings_of_their_own(checkout: Path) -> None:
    from architect_parallel import ParallelConfig, ParallelRunner
    from architect_parallel.domain import Task

    first = Task(prompt="echo a", name="first", retries=2)
    config = ParallelConfig(tasks=[first, "echo b"], backend="shell", listed=True)

    plan = ParallelRunner(config, workspace_root=checkout).plan()

    shown = [(worker.name, worker.prompt, worker.retries) for worker in plan.workers]
    assert shown == [("first", "echo a", 2), ("worker-2", "echo b", 0)]
