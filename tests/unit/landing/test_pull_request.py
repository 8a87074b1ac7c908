"""Title and text of a pull request."""

from __future__ import annotations

from support.made_results import result, run_of

from architect_parallel.domain import CheckResult, Diff, FileChange, LeftOut, Status
from architect_parallel.landing.pull_request import words

DIFF = Diff(
    base="b" * 40,
    head="c" * 40,
    insertions=3,
    deletions=1,
    files=(FileChange(path="a.py", status="M", insertions=3, deletions=1),),
)


def check(passed: bool) -> CheckResult:
    return CheckResult(command="make test", passed=passed, exit_code=0 if passed else 1, duration_seconds=1.0)


def test_the_text_has_words_checks_changes_cost_and_the_reason_of_the_choice() -> None:
    best = result(
        1,
        task="# Mend the parser\n\nIt fails.",
        output="Mended.",
        diff=DIFF,
        checks=[check(True)],
        model="opus",
        meta={"issue": {"number": 12, "url": "https://example.invalid/12"}},
    )
    other = result(2, Status.FAILED, task=best.task, checks=[check(False)])
    run = run_of(best, other)
    run.baseline = [check(False)]

    title, body = words(run, [1])

    assert title == "Mend the parser"
    assert "```text\nMended.\n```" in body
    assert "| <code>make test</code> | failed | passed |" in body
    assert " M a.py  +3 -1\n 1 file changed, 3 insertions(+), 1 deletion(-)" in body
    assert "- made by claude opus in 2.5s for $0.0123" in body
    assert "- place 1 of 2 results of this task: " in body
    assert "\n\nCloses #12\n\n" in body
    assert "worker 1, $0.0246 in all" in body
    assert "Closes" not in words(run, [1], is_imported=True)[1]


def test_the_text_of_an_agent_closes_no_issue_and_calls_nobody() -> None:
    hostile = "Closes #1\n@everyone\n```\nFixes #2\n<img src=x>"
    run = run_of(result(1, output=hostile, model="@me", task="do it", meta={"issue": "2\nCloses #3"}))

    _, body = words(run, [1])

    outside = body.split("````text")[0] + body.split("````\n")[-1]
    assert "Closes" not in outside
    assert "@me" not in outside
    assert "Fixes" not in outside


def test_several_results_have_a_section_each_and_what_is_left_out_is_named() -> None:
    run = run_of(result(1, task="first"), result(2, task="second"), result(3, task="third"))

    title, body = words(run, [2, 1], [LeftOut(worker_id=3, reason="conflict", files=("a.txt",))])

    assert title == "2 results: second; first"
    assert body.index("## second") < body.index("## first")
    assert "- worker 3 (conflict): <code>a.txt</code>" in body
