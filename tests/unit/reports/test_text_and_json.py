"""What people and programs read of a run: the table, the envelope, the plan; hostile text does nothing."""

from __future__ import annotations

import json

import pytest
from support.made_results import result, run_of, spec

from architect_parallel.domain import Diff, Escape, FileChange, Limits, RunPlan, Status
from architect_parallel.reports import plan as plan_report
from architect_parallel.reports import run_text, text
from architect_parallel.reports.json import dumps, envelope, summary

HOSTILE = "\x1b]0;title\x07\x1b[2Jred\u202e\nsecond\tline"


def test_the_table_is_the_one_of_the_contract() -> None:
    run = run_of(result(1), result(2, Status.FAILED, cost=None, duration=3.2, files_modified=[], error="no"))

    assert run_text.results(run) == (
        "\nResults\n" + "=" * 60 + "\n"
        "#  BACKEND  MODEL    STATUS  STEPS  COST     DURATION  FILES  SESSION   BRANCH                TASK\n"
        "1  claude   default  OK      4      $0.0123  2.50s     2      17067f7d  architect/parallel-1  "
        "review the auth module\n"
        "2  claude   default  FAILED  4      ?        3.20s     0      17067f7d  architect/parallel-2  "
        "review the auth module\n"
        "Total: 2 tasks, 1 completed, 1 failed (3.20s)"
    )


def test_the_failed_count_is_always_there_and_the_others_where_there_are_any() -> None:
    assert text.total_line(run_of(result(1))).startswith("Total: 1 task, 1 completed, 0 failed (")
    some = run_of(result(1), result(2, Status.CANCELED), result(3, Status.SKIPPED), result(4, Status.TIMEOUT))
    assert text.total_line(some).startswith("Total: 4 tasks, 1 completed, 1 failed, 1 canceled, 1 skipped (")


def test_an_unknown_cost_is_null_and_makes_the_total_unknown() -> None:
    data = envelope(run_of(result(1), result(2, cost=None)))

    assert data["total_cost"] is None
    assert data["results"][1]["cost"] is None
    assert envelope(run_of(result(1), result(2)))["total_cost"] == pytest.approx(0.0246)


def test_a_worker_that_never_ran_does_not_make_the_total_unknown() -> None:
    never = result(2, Status.CANCELED, cost=0.0, started_at=None)

    assert envelope(run_of(result(1), never))["total_cost"] == pytest.approx(0.0123)


def test_partial_and_timeout_count_as_failed_and_all_add_up() -> None:
    statuses = (Status.SUCCESS, Status.PARTIAL, Status.FAILED, Status.TIMEOUT, Status.CANCELED, Status.SKIPPED)

    data = envelope(run_of(*(result(number, status) for number, status in enumerate(statuses, 1))))

    assert (data["completed"], data["failed"], data["canceled"], data["skipped"]) == (1, 3, 1, 1)
    assert sum(data[word] for word in ("completed", "failed", "canceled", "skipped")) == data["total_tasks"]


def test_the_envelope_is_strict_json_for_any_file_name() -> None:
    odd = "caf\udce9\n.txt"
    diff = Diff(base="b" * 40, head="c" * 40, files=(FileChange(path=odd, status="A"),))

    loaded = json.loads(dumps(envelope(run_of(result(1, files_modified=[odd], diff=diff)))))

    assert loaded["results"][0]["files_modified"] == [odd]
    assert loaded["results"][0]["diff"]["files"][0]["path"] == odd
    with pytest.raises(ValueError, match="JSON"):
        dumps({"cost": float("nan")})


def test_a_summary_is_an_envelope_without_its_results() -> None:
    run = run_of(result(1))
    row = summary(run.summary())
    assert row.items() <= envelope(run).items()
    assert {"run_id", "status", "completed", "total_cost", "started_at"} <= row.keys()
    assert "results" not in row


@pytest.mark.parametrize("field", ["output", "error", "task", "session_id"])
def test_hostile_text_stays_on_its_line_and_moves_no_cursor(field: str) -> None:
    run = run_of(result(1, Status.FAILED, **{field: HOSTILE}, warnings=[HOSTILE]))

    shown = run_text.results(run) + run_text.run_details(run) + run_text.next_steps(run)
    shown += text.finished_line(run.results[0])

    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert len(text.results_table(run.results)) == 2


def test_workers_of_a_live_run_that_have_not_ended_are_listed() -> None:
    shown = run_text.run_details(run_of(result(1), planned=3))

    assert "Not ended yet:" in shown
    assert "architect/parallel-3" in shown
    assert "2 running" in text.total_line(run_of(result(1), planned=3))


def test_the_ceiling_is_the_smaller_of_run_and_workers() -> None:
    def plan(per_worker: float | None, whole: float | None) -> RunPlan:
        workers = tuple(spec(number, limits=Limits(budget_usd=per_worker)) for number in (1, 2))
        return RunPlan(
            run_id="r", repository="/repo", base_commit="b" * 40, base_ref="HEAD", workers=workers, max_parallel=2,
            budget_usd=whole,
        )  # fmt: skip

    assert plan_report.cost_ceiling(plan(None, None)) is None
    assert plan_report.cost_ceiling(plan(2.0, None)) == 4.0
    assert plan_report.cost_ceiling(plan(None, 3.0)) == 3.0
    assert plan_report.cost_ceiling(plan(2.0, 3.0)) == 3.0


def test_a_long_prompt_in_an_argv_is_shortened_on_paper() -> None:
    plan = RunPlan(
        run_id="r", repository="/repo", base_commit="b" * 40, base_ref="HEAD", workers=(spec(1),), max_parallel=1
    )

    shown = plan_report.as_text(plan, {1: ("claude", "-p", "x" * 5000, HOSTILE)})

    assert "(5000 characters)" in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) < 700


def test_diff_stat_counts_and_names_renames_and_binaries() -> None:
    diff = Diff(
        base="b", head="c", insertions=3, deletions=1,
        files=(
            FileChange(path="new", old_path="old", status="R", insertions=3, deletions=1),
            FileChange(path="picture", status="M"),
        ),
    )  # fmt: skip

    assert text.diff_stat(diff).splitlines() == [
        " R old => new  +3 -1",
        " M picture  binary",
        " 2 files changed, 3 insertions(+), 1 deletion(-)",
    ]


def test_an_escape_is_shown_with_its_patch_and_hostile_names_do_nothing() -> None:
    run = run_of(result(1))
    run.escaped = Escape(paths=("README", HOSTILE), patch="/repo/.git/a b/main-checkout.patch", suspects=(1, 2))
    for shown in (run_text.results(run), run_text.run_details(run)):
        assert "changed while workers 1, 2 ran" in shown
        assert "git apply -R '/repo/.git/a b/main-checkout.patch'" in shown
        assert not any(mark in shown for mark in ("\x1b", "\x07", "\u202e", "Red\n"))
    run.escaped = Escape(paths=("HEAD",), patch=None, suspects=(1,))
    assert "git apply" not in run_text.results(run)
