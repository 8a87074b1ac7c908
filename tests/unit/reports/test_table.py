"""Tables on a pipe and on terminals of several widths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.made_results import result, run_of

from architect_parallel.domain import CheckChange, CheckResult, Diff, FileChange, Reason, Status
from architect_parallel.reports import run_text, text
from architect_parallel.reports.table import Cell, TableColumn, render
from architect_parallel.text.display import Display, Style, columns

WATCHING = (Path(__file__).parents[3] / "docs" / "watching.md").read_text()
LONG = "Make the parser of amounts accept thousands separators and mend what depends on it, then run all tests"
DIFF = Diff(
    base="b" * 40,
    head="c" * 40,
    insertions=120,
    deletions=4,
    files=(FileChange(path="a.py", status="M", insertions=120, deletions=4),),
)


def workers(count: int = 3, **more: object) -> list:  # type: ignore[type-arg]
    check = CheckResult(command="make test", passed=True, exit_code=0, duration_seconds=1.0)
    return [
        result(
            number,
            Status.SUCCESS if number != 2 else Status.FAILED,
            task=f"{number}. {LONG}",
            model=f"claude-sonnet-4-{number}",
            files_modified=["a.py"],
            diff=DIFF,
            checks=[check],
            **more,
        )
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_table_is_never_wider_than_the_terminal_and_cuts_between_words(width: int) -> None:
    lines = text.results_table(workers(), Display(width=width))

    assert max(map(columns, lines)) <= width
    assert lines[0].split()[:4] == ["#", "STATUS", "TASK", "MODEL"]
    shown = lines[1].partition("1. ")[2].partition("  ")[0]
    assert shown.endswith("…") is (width < 200)
    assert LONG.startswith(shown.rstrip("…"))
    assert shown == LONG or LONG[len(shown) - 1] == " "


def test_columns_are_left_out_by_their_importance_and_wide_shows_all() -> None:
    def shown(display: Display) -> str:
        return " ".join(text.results_table(workers(), display)[0].split())

    main = "# STATUS TASK MODEL CHANGES CHECKS"
    assert shown(Display(width=80)) == f"{main} COST"
    assert shown(Display(width=60)) == "# STATUS TASK MODEL CHANGES"
    assert shown(Display(width=120)) == f"{main} COST DURATION"
    assert shown(Display(width=210)) == f"{main} COST DURATION BACKEND STEPS BRANCH"
    assert shown(Display(wide=True)) == f"{main} COST DURATION BACKEND STEPS BRANCH SESSION"
    assert LONG in text.results_table(workers(), Display(wide=True))[1]


def test_a_task_that_all_share_stands_above_the_table_and_leaves_room() -> None:
    same = [result(number, task=LONG, model=f"m-{number}") for number in (1, 2)]

    lines = text.results_table(same, Display(width=80))

    assert " ".join(lines[: lines.index("")]) == f"Task: {LONG}"
    heading = lines[lines.index("") + 1]
    assert " ".join(heading.split()) == "# STATUS MODEL CHANGES COST DURATION BACKEND STEPS"


def test_states_are_coloured_and_colours_take_no_width() -> None:
    cols = [TableColumn(title="A"), TableColumn(title="B")]
    rows: list[list[Cell]] = [["x", ("bad", Style.BAD)], ["y", "z"]]
    plain, colored = render(cols, rows), render(cols, rows, Display(width=80, color=True))

    assert plain == ["A  B", "x  bad", "y  z"]
    assert colored[1] == "x  \x1b[31mbad\x1b[0m"
    assert [columns(line) for line in colored] == [4, 6, 4]


def test_the_end_of_a_run_tells_the_whole_cost_why_and_where() -> None:
    failed = result(
        2, Status.FAILED, cost=None, error="the provider refused the key", files_modified=["a.py"], worktree_path="/w/2"
    )
    never = result(3, Status.SKIPPED, cost=0.0, started_at=None, files_modified=[])

    lines = run_text.results(run_of(result(1), failed, never), Display(width=80)).splitlines()

    assert any(line.startswith("1 of 3 succeeded, 1 failed, 1 skipped in ") for line in lines)
    assert any(line.endswith("for $0.0123 + unknown for 1 worker") for line in lines)
    block = lines[lines.index("[2] FAILED  agent error") :]
    assert block[1:3] == ["    the provider refused the key", "    1 changed file on architect/parallel-2, in /w/2"]
    assert "    it did not start" in block
    # The failures come first: the table is on the screen when the command ends.
    assert [line[:1] for line in block[-6:]] == ["#", "1", "2", "3", "", "1"]


def test_next_steps_are_only_those_that_have_something_to_do() -> None:
    nothing = run_text.next_steps(run_of(result(1, files_modified=[])))
    everything = run_text.next_steps(run_of(result(1), result(2), result(3, Status.FAILED)))

    assert "architect merge" not in nothing
    assert "resume" not in nothing
    assert "architect diff" not in nothing
    assert "--best" in everything
    assert "resume" in everything
    assert "logs 20260102-030405-abcd 3" in everything


def test_the_newest_runs_are_listed_and_the_others_counted() -> None:
    lines = text.runs_table([run_of(result(1)).summary()], Display(width=80), hidden=3).splitlines()

    assert " ".join(lines[0].split()) == "RUN STATUS TASK DONE COST DURATION STARTED (UTC)"
    assert lines[-1] == "3 more runs: architect status --all"


def test_the_sample_in_the_documents_is_what_the_program_prints() -> None:
    passed = CheckResult(command="make test", passed=True, exit_code=0, duration_seconds=4.0)
    broken = CheckResult(
        command="make test",
        passed=False,
        exit_code=2,
        duration_seconds=4.0,
        change=CheckChange.NEWLY_BROKEN,
        output_tail="FAILED tests/test_api.py::test_logging - KeyError: 'request_id'\n1 failed, 41 passed in 3.10s",
    )
    first = result(
        1,
        task="review the auth module",
        model="claude-opus-5-5",
        diff=DIFF,
        checks=[passed],
        duration=72.0,
        cost=0.2145,
    )
    second = result(
        2,
        Status.FAILED,
        task="add logging to the API",
        model="gpt-5-codex",
        backend="codex",
        reason=Reason.CHECK_FAILED,
        files_modified=["api.py"],
        diff=replace(DIFF, insertions=31, deletions=2),
        checks=[broken],
        cost=None,
        duration=95.0,
        worktree_path=".architect-parallel-2",
    )
    run = replace(run_of(first, second), total_duration_seconds=96.0)

    shown = run_text.results(run, Display(width=100))

    assert shown.strip() in WATCHING
