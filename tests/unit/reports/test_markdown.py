"""The Markdown report: its parts, and that no agent's word has a meaning in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from support.made_results import result, run_of

from architect_parallel.domain import (
    CheckChange,
    CheckResult,
    Comparison,
    Diff,
    FileChange,
    Pair,
    Rank,
    Reason,
    RunResult,
    Status,
)
from architect_parallel.reports import markdown
from architect_parallel.reports.material import Material

OWN_HTML = re.compile(r"</?(?:code|details|summary)>")
HOSTILE = [
    "| a | b |\n|---|---|",
    "`code` ``` ~~~ \n```\nout of it\n```",
    "<script>alert(1)</script><img src=x onerror=alert(1)></details></code>",
    "![picture](https://evil.example/p.png) [link](javascript:alert(1)) <https://evil.example>",
    "https://evil.example www.evil.example mail@evil.example",
    "@octocat @org/team #1 GH-2 org/repo#3",
    "# heading\n- item\n1. one\n> quote\n***\n---",
    "[ref]: https://evil.example\n[ref]",
    "&lt;b&gt; \\` \\| $x^2$ **b** _i_ ~~s~~ {{ x }}",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07 \u202edesrever",
]
WORDS = st.one_of(st.sampled_from(HOSTILE), st.text(alphabet="|`<>![]()#*_~@\\&:/.wx1 \n-", max_size=60))


def material(run: RunResult, **more: object) -> Material:
    return Material(repository=None, result=run, recorded=(), **more)  # type: ignore[arg-type]  # no report opens it


def hostile_page(words: str) -> str:
    check = CheckResult(
        command=words, passed=False, exit_code=1, duration_seconds=1.0, output_tail=words,
        change=CheckChange.NEWLY_BROKEN,
    )  # fmt: skip
    diff = Diff(base="b" * 40, head="c" * 40, files=(FileChange(path=words or "x", status="A"),))
    worker = result(
        1, Status.FAILED, reason=Reason.CHECK_FAILED, task=words, output=words, error=words, name=words, model=words,
        session_id=words, warnings=[words], outside_scope=[words], checks=[check], diff=diff,
    )  # fmt: skip
    run = run_of(worker, result(2))
    run.warnings.append(words)
    comparison = Comparison(
        conflicts=(Pair(a=words, b=1, clean=False, files=(words,)),), shared_files={words: (1, 2)}, proposed=(2,),
        order=(2, 1),
    )  # fmt: skip
    place = Rank(place=1, worker_id=1, model=words, reason=words)
    return markdown.render(material(run, ranking=(place,), comparison=comparison))


def flat(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *(token.children or []))]


def meanings(page: str) -> list[str]:
    """What a Markdown renderer finds in the page beside this program's own structure."""
    parsed = flat(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page))
    kinds = {"link_open", "image", "s_open", "em_open", "blockquote_open", "ordered_list_open", "hr", "code_inline"}
    found = [token.type for token in parsed if token.type in kinds]
    for token in parsed:
        if token.type in ("html_block", "html_inline"):
            found += [each for each in re.findall(r"<[^>]*>?", token.content) if not OWN_HTML.fullmatch(each)]
    return found


def outside_blocks(page: str) -> str:
    """The page without its fenced blocks, in which GitHub looks for neither names nor addresses."""
    parsed = MarkdownIt("commonmark").enable("table").parse(page)
    return "\n".join(token.content for token in parsed if token.type in ("inline", "html_block"))


@settings(deadline=None, max_examples=40)
@given(WORDS)
def test_no_word_of_an_agent_has_a_meaning(words: str) -> None:
    page = hostile_page(words)

    assert meanings(page) == []
    assert not re.search(r"@\w|(?<![&\w])#\w|www\.|://", outside_blocks(page))


@settings(deadline=None, max_examples=40)
@given(WORDS)
def test_every_table_row_has_the_columns_of_its_heading(words: str) -> None:
    parsed = MarkdownIt("commonmark").enable("table").parse(hostile_page(words))

    kinds = [token.type for token in parsed if token.type in ("table_open", "th_open", "tr_open", "td_open")]
    assert kinds.count("table_open") == 2
    assert (kinds.count("th_open"), kinds.count("td_open")) == (11 + 3, 2 * 11 + 3)


@pytest.mark.parametrize("words", HOSTILE[:6])
def test_control_the_same_words_unescaped_do_mean_something(words: str) -> None:
    naive = f"| {words} |\n|---|\n\n{words}"

    assert meanings(naive) or re.search(r"@\w|#\w|www\.|://", naive) or naive.count("|---|") > 1


def test_a_page_holds_table_checks_ranking_conflicts_and_next_steps() -> None:
    check = CheckResult(
        command="pytest -q", passed=False, exit_code=1, duration_seconds=1.0, output_tail="1 failed",
        change=CheckChange.NEWLY_BROKEN,
    )  # fmt: skip
    run = run_of(result(1), result(2, Status.FAILED, reason=Reason.CHECK_FAILED, checks=[check], cost=None), planned=3)
    run.baseline.append(CheckResult(command="pytest -q", passed=True, exit_code=0, duration_seconds=1.0))
    comparison = Comparison(
        conflicts=(Pair(a="main", b=1, clean=True), Pair(a=1, b=2, clean=False, files=("a.py",))),
        shared_files={"a.py": (1, 2)}, proposed=(1,), order=(1, 2),
    )  # fmt: skip

    page = markdown.render(
        material(run, ranking=(Rank(place=1, worker_id=1, model="m", reason="broke no check"),), comparison=comparison)
    )

    assert "| 2 | ❌ FAILED (check failed) | claude | default | 4 | ? | 2.5s | 2 |" in page
    assert "| <code>pytest -q</code> | ✅ passed | ❌ exit 1, newly broken |" in page
    assert "- **1. worker 1** (m): broke no check" in page
    assert "- worker 1 and worker 2 conflict in <code>a.py</code>" in page
    assert "- 3: do it" in page
    assert "cost unknown" in page
    assert re.search(r"```sh\narchitect diff 20260102-030405-abcd 1  # what worker 1 changed\n", page)


def test_a_thousand_talkative_workers_stay_below_what_a_summary_may_hold() -> None:
    loud = "<|>" * 5_000 + "\n" * 50 + "é" * 50_000
    run = run_of(*(result(number, output=loud, task=loud, warnings=[loud] * 20) for number in range(1, 1001)))

    page = markdown.render(material(run))

    assert 100_000 < len(page.encode()) < 2**20
    assert "are left out" in page
    assert page.rstrip().endswith("```")
    assert meanings(page) == []
