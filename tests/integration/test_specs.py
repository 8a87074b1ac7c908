"""Specs on real git with shell commands for agents: what a task starts from, what it is told, who is skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.repositories import git

from architect_parallel.api.merge import MergeRequest, merge
from architect_parallel.api.resume import resume
from architect_parallel.domain import Reason, Role, RunResult, RunStatus, Status
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.events import Recorded, WorktreeReady
from architect_parallel.journal import Journal
from architect_parallel.landing import undo
from architect_parallel.landing.selection import Pick
from architect_parallel.runs.options import ParallelConfig
from architect_parallel.runs.workspace import load_workspace
from architect_parallel.specs.plan import SpecConfig, draft_spec_plan
from architect_parallel.specs.runner import SpecRunner, land, resume_and_land, resume_spec
from architect_parallel.system.git import Repository
from architect_parallel.worktrees.create import restore_branch


def write_spec(place: Path, *tasks: dict[str, Any], **more: Any) -> Path:
    file = place / "spec.json"
    file.write_text(json.dumps({"defaults": {"backend": "shell"}, "tasks": tasks, **more}))
    return file


def run(
    checkout: Path, place: Path, *tasks: dict[str, Any], only: tuple[str, ...] = (), **more: Any
) -> tuple[RunResult, dict[str, str]]:
    """The result, and the base each worktree was made at by the task's name."""
    heard: list[Recorded] = []
    config = SpecConfig(file=write_spec(place, *tasks, **more), only=only, flags=ParallelConfig())
    result = SpecRunner(config, checkout, listeners=[heard.append]).execute()
    names = {spec.worker_id: spec.name for spec in result.planned}
    bases = {
        names[each.worker_id]: each.event.base_commit
        for each in heard
        if isinstance(each.event, WorktreeReady) and each.worker_id is not None
    }
    return result, bases


def statuses(result: RunResult) -> dict[str, Status]:
    return {each.name: each.status for each in result.results}


def test_a_task_starts_from_the_merged_work_of_its_dependencies_and_owns_only_its_own(
    checkout: Path, tmp_path: Path
) -> None:
    result, bases = run(
        checkout,
        tmp_path,
        {"name": "design", "task": "echo design > design.txt; echo 'say $(reboot)'"},
        {"name": "api", "task": "cat design.txt > api.txt", "dependencies": ["design"]},
        {"name": "ui", "task": "printf '<%s>' {{ design }} > ui.txt", "dependencies": ["design"]},
        {"name": "both", "task": "cat design.txt api.txt ui.txt > all.txt", "dependencies": ["api", "ui"]},
    )

    assert (result.status, result.exit_code) == (RunStatus.SUCCESS, 0)
    assert [each.files_modified for each in result.results] == [["design.txt"], ["api.txt"], ["ui.txt"], ["all.txt"]]
    design, api, ui, both = (each.diff.head for each in result.results if each.diff is not None)
    assert bases["design"] == result.base_commit
    assert bases["api"] == bases["ui"] == design
    assert git(checkout, "rev-parse", f"{bases['both']}^1", f"{bases['both']}^2").split() == [api, ui]
    assert git(checkout, "show", f"{both}:all.txt") == "design\ndesign\n<say $(reboot)>"
    assert result.results[2].task == "printf '<%s>' {{ design }} > ui.txt"  # as it was written
    assert git(checkout, "log", "-1", "--format=%s", ui) == "architect: printf '<%s>' {{ design }} > ui.txt"
    assert git(checkout, "status", "--porcelain") == ""


def test_the_same_work_gives_the_same_base_to_a_further_launch(checkout: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    result, bases = run(
        checkout,
        tmp_path,
        {"name": "a", "task": "echo a > a.txt"},
        {"name": "b", "task": "echo b > b.txt"},
        {"name": "c", "task": f"echo c > c.txt; test -e {go}", "dependencies": ["a", "b"]},
    )
    assert statuses(result) == {"a": Status.SUCCESS, "b": Status.SUCCESS, "c": Status.FAILED}
    go.touch()
    heard: list[Recorded] = []

    again = resume(checkout, result.run_id, listeners=[heard.append])

    assert [each.attempts for each in again.results] == [1, 1, 2]
    assert again.status is RunStatus.SUCCESS
    assert [each.event.base_commit for each in heard if isinstance(each.event, WorktreeReady)] == [bases["c"]]
    assert again.results[2].files_modified == ["c.txt"]


def test_a_conflict_between_dependencies_fails_the_task_and_names_the_files(checkout: Path, tmp_path: Path) -> None:
    result, _ = run(
        checkout,
        tmp_path,
        {"name": "one", "task": "echo one > same.txt"},
        {"name": "two", "task": "echo two > same.txt"},
        {"name": "both", "task": "true", "dependencies": ["one", "two"]},
        {"name": "after", "task": "true", "dependencies": ["both"]},
        {"name": "three", "task": "mkdir same.txt; echo three > same.txt/x"},
        {"name": "file or directory", "task": "true", "dependencies": ["one", "three"]},
        retry={"maxAttempts": 3, "initialDelay": 1},
    )
    both, after, _, last = result.results[2:]
    assert (both.status, both.reason, both.attempts) == (Status.FAILED, Reason.SPAWN_FAILED, 1)
    assert "the work of one conflicts with that of two in same.txt" in str(both.error)
    assert (after.status, after.reason) == (Status.SKIPPED, Reason.DEPENDENCY_FAILED)
    assert "both" in str(after.error)
    assert str(last.error).startswith("the work of one conflicts with that of three in same.txt ("), last.error


def test_a_failure_skips_its_dependents_and_nothing_else_and_one_may_go_on_without(
    checkout: Path, tmp_path: Path
) -> None:
    result, _ = run(
        checkout,
        tmp_path,
        {"name": "good", "task": "echo good > good.txt"},
        {"name": "bad", "task": "exit 3", "critical": False},
        {"name": "skipped", "task": "true", "dependencies": ["bad"], "critical": False},
        {
            "name": "partial",
            "task": 'cat good.txt; echo "without $ARCHITECT_MISSING"',
            "dependencies": ["good", "bad"],
            "on_partial": "continue",
        },
        {"name": "other", "task": "true"},
        coordinator={"task": 'echo "in all:" {{ results }}'},
    )
    assert statuses(result) == {
        "good": Status.SUCCESS, "bad": Status.FAILED, "skipped": Status.SKIPPED, "partial": Status.SUCCESS,
        "other": Status.SUCCESS, "coordinator": Status.SUCCESS,
    }  # fmt: skip
    assert (result.status, result.exit_code) == (RunStatus.PARTIAL, 0)
    assert result.results[3].output.split() == ["good", "without", "bad"]
    assert result.synthesis is not None
    assert "## skipped: skipped (dependency failed)" in result.synthesis


def test_only_a_task_and_what_it_needs(checkout: Path, tmp_path: Path) -> None:
    tasks: list[dict[str, Any]] = [
        {"name": "a"},
        {"name": "b", "dependencies": ["a"]},
        {"name": "c", "dependencies": ["b"]},
        {"name": "d"},
    ]
    result, _ = run(checkout, tmp_path, *({**each, "task": "true"} for each in tasks), only=("b",))
    assert [each.name for each in result.results] == ["a", "b"]
    with pytest.raises(UsageError, match="unknown task 'zz'"):
        run(checkout, tmp_path, *tasks, only=("zz",))


def test_a_file_that_is_not_there_is_found_before_anything_starts(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        run(checkout, tmp_path, {"name": "a", "task": "echo {{ file(./nowhere.md) }}"})
    assert git(checkout, "branch", "--list", "architect/*") == ""


def test_a_file_behind_a_symbolic_link_is_read_and_none_outside(checkout: Path, tmp_path: Path) -> None:
    (checkout / "real file.md").write_text("the text\n")
    (checkout / "link.md").symlink_to("real file.md")
    (checkout / "out.md").symlink_to("/etc/hostname")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "links")

    result, _ = run(checkout, tmp_path, {"name": "a", "task": "echo {{ file(link.md) }} {{ file('real file.md') }}"})
    assert result.results[0].output == "the text\n the text"
    for path, words in (("out.md", "leads out of the repository"), (".", "must be a path"), ("x blob", "no such file")):
        with pytest.raises(UsageError, match=words):
            run(checkout, tmp_path, {"name": "a", "task": f"echo {{{{ file({path}) }}}}"})


def test_a_long_text_in_long_letters_fits_into_a_command(checkout: Path, tmp_path: Path) -> None:
    (checkout / "long.txt").write_text("設" * 50_000)
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "long")
    result, _ = run(checkout, tmp_path, {"name": "a", "task": "printf %s {{ file(long.txt) }} | wc -c"})
    assert (result.results[0].error, result.results[0].output.strip()) == (None, "150000")


def test_a_group_that_fails_alike_escalates_with_a_briefing(checkout: Path, tmp_path: Path) -> None:
    result, _ = run(
        checkout,
        tmp_path,
        {"name": "a", "task": "echo no login >&2; exit 1"},
        {"name": "b", "task": "echo no login >&2; exit 1"},
        recovery={"retries": 1},
        merge={"into": "side"},
    )
    assert result.warnings[-1] == "merge: nothing lands on side, because the run was escalated"
    assert (result.status, result.exit_code) == (RunStatus.ESCALATED, 1)
    assert [each.attempts for each in result.results] == [1, 1]
    assert "no login" in str(result.briefing)
    assert f"architect resume {result.run_id}" in str(result.briefing)


def test_recovery_tells_a_command_what_went_wrong_without_changing_it(checkout: Path, tmp_path: Path) -> None:
    result, _ = run(
        checkout,
        tmp_path,
        {
            "name": "a",
            "task": 'echo "told: $ARCHITECT_LESSON"; test -n "$ARCHITECT_LESSON" || { echo why >&2; exit 1; }',
        },
        recovery={"retries": 1},
    )
    (only,) = result.results
    assert (only.status, only.attempts) == (Status.SUCCESS, 2)
    assert "why" in only.output


def test_the_state_file_tells_the_whole_story(checkout: Path, tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state.md"
    run(
        checkout,
        tmp_path,
        {"name": "a", "agent": "writer", "task": "echo hello; echo x > x.txt"},
        {"name": "b", "task": "exit 1", "dependencies": ["a"]},
        state_file=str(state),
    )
    text = state.read_text()
    for words in ("# spec", "**partial**", "## Step 1: done", "- writer (a) → ✅ hello", "- build (b) → ❌ the command",
                  "## Step 2: ended with failures", "- <code>x.txt</code> (a)", "s saved"):  # fmt: skip
        assert words in text, text


def test_a_debugger_looks_at_several_failures_and_leaves_no_result_of_its_own(checkout: Path, tmp_path: Path) -> None:
    program = tmp_path / "ask.sh"
    program.write_text('#!/bin/sh\ncat "$1" | grep -c Error:\npwd\necho RELATED: yes\n')
    program.chmod(0o755)
    config_file = tmp_path / "config.yaml"
    config_file.write_text(
        f"backends: {{asker: {{command: ['{program}', '{{prompt_file}}']}}}}\nagents: {{sleuth: {{backend: asker}}}}\n"
    )
    file = write_spec(
        tmp_path,
        {"name": "a", "task": "echo no login >&2; exit 1"},
        {"name": "b", "task": "echo no disk >&2; exit 1"},
        recovery={"retries": 1, "debugger": {"agent": "sleuth"}},
    )
    result = SpecRunner(SpecConfig(file=file, flags=ParallelConfig(config_file=config_file)), checkout).execute()

    assert result.status is RunStatus.ESCALATED
    assert [each.name for each in result.results] == ["a", "b"]
    (said,) = [each for each in result.warnings if each.startswith("the debugger says: 2 ")]
    assert "/debugger" in said
    assert said.endswith("(cost unknown)")
    assert result.total_cost is None  # its program does not tell what it costs
    assert "What the debugger said" in str(result.briefing)


def test_a_coordinator_is_a_worker_and_a_debugger_is_a_helper(checkout: Path, tmp_path: Path) -> None:
    config_file = tmp_path / "config.yaml"
    config_file.write_text("backends: {asker: {command: [cat, '{prompt_file}']}}\nparallel_runs: {backend: asker}\n")
    file = write_spec(
        tmp_path,
        {"name": "a", "task": "true"},
        defaults={"backend": "asker"},
        coordinator={"task": "In all:"},
        recovery={"debugger": {"agent": "sleuth"}},
    )
    workspace = load_workspace(checkout, config_file)
    plan = draft_spec_plan(SpecConfig(file=file, flags=ParallelConfig()), workspace)
    assert [each.name for each in plan.workers] == ["a", "coordinator"]
    assert [each.role for each in plan.workers] == [Role.WORKER, Role.COORDINATOR]
    assert plan.workflow is not None
    assert plan.workflow.debugger is not None
    assert (plan.workflow.coordinator, plan.workflow.debugger.role) == (2, Role.DEBUGGER)
    assert (plan.workflow.debugger.worker_id, plan.workflow.debugger.base_commit) == (3, plan.base_commit)


def test_an_agent_reads_the_words_of_others_and_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    config_file = tmp_path / "config.yaml"
    config_file.write_text("backends: {echo: {command: [cat, '{prompt_file}']}}\nparallel_runs: {backend: echo}\n")
    file = write_spec(
        tmp_path,
        {"name": "design", "task": "echo 'use {{ nothing }} and $HOME'", "id": "d"},
        {"name": "bad", "task": "echo why >&2; exit 1", "critical": False},
        {"name": "note", "task": "echo kept > note.md", "dependencies": ["d"]},
        {
            "name": "reader",
            "backend": "echo",
            "task": "A: {{ d }}. B: {{ bad }}. C: {{ file(./note.md) }}",
            "dependencies": ["note", "bad"],
            "on_partial": "continue",
        },
    )
    spec = json.loads(file.read_text()) | {"coordinator": {"task": "In all:"}}
    spec["defaults"] = {}
    for each in spec["tasks"]:
        each.setdefault("backend", "shell")
    spec["tasks"][0]["task"] = "printf 'use %s and $HOME' '{''{ nothing }}'"  # braces in a result are only text
    file.write_text(json.dumps(spec))
    result = SpecRunner(SpecConfig(file=file, flags=ParallelConfig(config_file=config_file)), checkout).execute()

    assert result.exit_code == 0
    read = result.results[3].output
    assert "A: use {{ nothing }} and $HOME. B: [there is no result of bad: it ended as failed]. C: kept" in read
    assert "- bad ended as failed (agent error): the command ended with exit code 1: why" in read
    assert result.results[3].task == read
    assert "In all:\n\n## design: success" in str(result.synthesis)


def test_a_task_whose_number_was_taken_meanwhile_gets_another_one(checkout: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    tasks: list[dict[str, Any]] = [
        {"name": "a", "task": f"test -e {go} && echo a > a.txt"},
        {"name": "b", "task": "cat a.txt > b.txt", "dependencies": ["a"]},
    ]
    first, _ = run(checkout, tmp_path, *tasks)
    assert statuses(first) == {"a": Status.FAILED, "b": Status.SKIPPED}
    other, _ = run(checkout, tmp_path, {"name": "other", "task": "echo other > other.txt"})
    assert other.results[0].branch == first.results[1].branch == "architect/parallel-2"
    go.touch()

    again = resume(checkout, first.run_id)

    assert [(each.status, each.branch, each.files_modified) for each in again.results] == [
        (Status.SUCCESS, "architect/parallel-1", ["a.txt"]),
        (Status.SUCCESS, "architect/parallel-3", ["b.txt"]),
    ]
    assert git(checkout, "show", "architect/parallel-2:other.txt") == "other"


def test_results_land_on_a_branch_and_what_does_not_is_named(checkout: Path, tmp_path: Path) -> None:
    result, _ = run(
        checkout,
        tmp_path,
        {"name": "base", "task": "echo base > base.txt"},
        {"name": "one", "task": "echo one > one.txt", "dependencies": ["base"]},
        {"name": "two", "task": "echo two > two.txt", "dependencies": ["base"]},
        {"name": "broken", "task": "echo broken > broken.txt"},
        merge={"strategy": "sequential", "into": "architect/merged", "check": "test ! -e broken.txt"},
    )
    assert (result.status, result.exit_code) == (RunStatus.SUCCESS, 5), result.warnings
    assert result.merge is not None
    assert [(each.worker_id, each.reason) for each in result.merge.left_out] == [(4, "check")]
    _, later = merge(checkout, MergeRequest(run="latest", pick=Pick.ALL))
    assert later is not None
    assert [(each.worker_id, each.reason) for each in later.left_out] == [(4, "check")], "nor does it land by hand"
    files = git(checkout, "ls-tree", "--name-only", "architect/merged").splitlines()
    assert {"base.txt", "one.txt", "two.txt"} <= set(files)
    assert "broken.txt" not in files
    assert git(checkout, "status", "--porcelain") == ""


def test_a_failure_that_is_not_critical_is_no_conflict(checkout: Path, tmp_path: Path) -> None:
    result, _ = run(
        checkout,
        tmp_path,
        {"name": "a", "task": "echo a > a.txt"},
        {"name": "b", "task": "exit 1", "critical": False},
        merge={"into": "side"},
    )
    assert result.merge is not None
    assert [(each.worker_id, each.reason) for each in result.merge.left_out] == [(2, "not_successful")]
    assert (result.status, result.exit_code) == (RunStatus.PARTIAL, 0)


def test_a_check_of_the_merge_that_cannot_be_started_lets_nothing_in(checkout: Path, tmp_path: Path) -> None:
    order = {"into": "side", "check": "no-such-program-anywhere"}
    result, _ = run(checkout, tmp_path, {"name": "a", "task": "echo a > a.txt"}, merge=order)
    assert (result.exit_code, result.merge) == (5, None)
    assert any("cannot be started (exit code 127)" in each for each in result.warnings), result.warnings
    assert git(checkout, "branch", "--list", "side") == ""


def test_a_coordinator_among_tasks_of_its_name_is_called_otherwise(checkout: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    tasks = ({"name": "coordinator", "task": f"test -e {go}"}, {"name": "coordinator-of-all", "task": "true"})
    last = {"task": "echo all"}
    result, _ = run(checkout, tmp_path, *tasks, coordinator=last)
    assert [each.name for each in result.results] == ["coordinator", "coordinator-of-all", "coordinator-2"]
    go.touch()
    config = SpecConfig(file=write_spec(tmp_path, *tasks, coordinator=last))
    assert resume_spec(config, result.run_id, checkout).status is RunStatus.SUCCESS


def test_a_rate_limit_that_nobody_is_under_is_warned_of(checkout: Path, tmp_path: Path) -> None:
    result, _ = run(
        checkout,
        tmp_path,
        {"name": "a", "task": "true"},
        providers={"shell": {"rateLimit": {}}, "shel": {"rateLimit": {}}},
    )
    assert [each for each in result.warnings if "provider" in each] == [
        "providers: no task goes to 'shel', they go to shell"
    ]


def test_nothing_to_land_leaves_no_branch_behind(checkout: Path, tmp_path: Path) -> None:
    result, _ = run(checkout, tmp_path, {"name": "a", "task": "exit 1"}, merge={"into": "side/branch"})
    assert (result.status, result.exit_code) == (RunStatus.FAILED, 1)
    assert git(checkout, "branch", "--list", "side/*") == ""


def test_a_branch_that_cannot_be_made_in_the_end_costs_no_result(checkout: Path, tmp_path: Path) -> None:
    file = write_spec(
        tmp_path, {"name": "a", "task": f"echo a > a; git -C {checkout} branch side"}, merge={"into": "side/x"}
    )
    result = SpecRunner(SpecConfig(file=file, flags=ParallelConfig(tripwire="off")), checkout).execute()
    assert (result.status, result.exit_code, result.merge) == (RunStatus.SUCCESS, 3, None)
    assert any(each.startswith("merge: ") and "side" in each for each in result.warnings)


def test_undo_takes_away_the_branch_that_the_merge_made(checkout: Path, tmp_path: Path, repository: Repository) -> None:
    tasks = {"name": "a", "task": "echo a > a.txt"}, {"name": "b", "task": "echo b > b.txt"}
    for order in ({"into": "side/merged"}, {"into": "side/merged", "check": "true"}):
        result, _ = run(checkout, tmp_path, *tasks, merge=order)
        assert result.merge is not None, result.warnings
        landed = git(checkout, "rev-parse", "side/merged")
        git(checkout, "switch", "-q", "side/merged")
        with Journal.open(repository.state_dir) as journal:
            with pytest.raises(EnvironmentProblem, match="checked out"):
                undo.plan_undo(repository, journal)
            git(checkout, "switch", "-q", "-")
            plan = undo.plan_undo(repository, journal)
            assert any("side/merged is removed" in line for line in plan.lines)
            undo.execute(repository, journal, plan)
        assert git(checkout, "branch", "--list", "side/*", "architect/merged*") == ""
        assert git(checkout, "for-each-ref", f"--points-at={landed}", "refs/architect/keep"), "and nothing is lost"
    git(checkout, "branch", "side/merged")
    run(checkout, tmp_path, *tasks, merge={"into": "side/merged"})
    with Journal.open(repository.state_dir) as journal:
        undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert git(checkout, "rev-parse", "side/merged") == git(checkout, "rev-parse", "HEAD"), "one that was there stays"


def test_a_branch_made_before_a_kill_is_still_the_merges_own(
    checkout: Path, tmp_path: Path, repository: Repository
) -> None:
    order = {"into": "side/merged"}
    result, _ = run(checkout, tmp_path, {"name": "a", "task": "test -e ../ready && echo a > a.txt"}, merge=order)
    assert result.status is RunStatus.FAILED
    base = git(checkout, "rev-parse", "HEAD")
    restore_branch(repository, branch="side/merged", commit=base, run_id=result.run_id)
    land(result, load_workspace(checkout))
    assert git(checkout, "branch", "--list", "side/*") == "", "nothing landed: it goes"
    restore_branch(repository, branch="side/merged", commit=base, run_id=result.run_id)
    (checkout / "ready").touch()
    resume_and_land(checkout, "latest")
    assert git(checkout, "ls-tree", "--name-only", "side/merged", "a.txt") == "a.txt"
    with Journal.open(repository.state_dir) as journal:
        undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert git(checkout, "branch", "--list", "side/*") == ""


def test_when_everything_is_left_out_it_is_said_why(checkout: Path, tmp_path: Path) -> None:
    order = {"into": "architect/merged", "check": "test ! -e a.txt"}
    result, _ = run(checkout, tmp_path, {"name": "a", "task": "echo a > a.txt"}, merge=order)
    assert (result.status, result.exit_code, result.merge) == (RunStatus.SUCCESS, 5, None)
    assert any("worker 1 is left out" in each and "test ! -e a.txt" in each for each in result.warnings)
    assert git(checkout, "branch", "--list", "architect/merged") == ""
