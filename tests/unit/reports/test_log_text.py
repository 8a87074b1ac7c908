"""The log of every agent as readable lines, from recordings of real runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from architect_parallel.backends.log_entries import EntryKind, LogEntry, LogParser
from architect_parallel.reports.log_text import LogReader, LogText
from architect_parallel.text.display import PIPE, Display

RECORDINGS = Path(__file__).parents[2] / "recordings"
WORKTREE = "/repo/.architect-parallel-1"


def readable(case: str, display: Display = PIPE) -> list[str]:
    reader = LogReader(RECORDINGS / case / "stdout", case.partition("/")[0], WORKTREE)
    return LogText(display).lines(reader.read(is_over=True))


@pytest.mark.parametrize(
    ("case", "write", "run"),
    [
        ("claude/2.1.329/stream", "* Write hello.txt (+1)", "* Bash echo hi && ls"),
        ("claude/2.1.197/stream", "* Write hello.txt (+1)", "* Bash echo hi && ls"),
        ("codex/0.169.0/file-change", "* change hello.txt", "* shell echo hi && ls"),
        ("copilot/1.0.102/json", "* bash printf '%s\\n' 'hello from gpt-4o' > 'hello.txt'", "* bash echo hi && ls"),
        ("gemini/0.61.0/stream", "* write_file hello.txt (+1)", "* run_shell_command echo hi && ls"),
        ("opencode/1.18.33/json", "* write hello.txt (+1)", "* bash echo hi && ls"),
        ("qwen/0.24.4/stream", "* write_file hello.txt (+1)", "* run_shell_command echo hi && ls"),
    ],
)
def test_words_calls_and_folded_results_of_every_agent(case: str, write: str, run: str) -> None:
    lines = readable(case)

    paragraphs = "\n".join(lines).split("\n\n")
    assert [part for part in paragraphs if not part.startswith("*")] == [
        "Step 1: I will write hello.txt",
        "Step 2: I will run echo hi && ls",
        "Done after 2 tool call(s).",
    ]
    assert write in lines
    listing = lines[lines.index(run) + 1]
    assert listing.startswith("    hi (+")
    assert listing.endswith(" lines)")
    assert not any("{" in line for line in lines)


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ("claude/2.1.329/err401", "error: Failed to authenticate. API Error: 401 mock error 401"),
        ("codex/0.169.0/err429", "error: exceeded retry limit, last status: 429 Too Many Requests"),
        ("opencode/1.18.33/err401", "error: refused"),
        ("architect/broken", "error: HTTP 500: no"),
    ],
)
def test_an_error_is_the_last_line(case: str, error: str) -> None:
    assert readable(case)[-1] == error


def test_a_failed_result_shows_its_end_and_wide_shows_all() -> None:
    output = "\n".join(f"line {number}" for number in range(1, 9))
    entries = [
        LogEntry(kind=EntryKind.CALL, tool="Bash", text="pytest"),
        LogEntry(kind=EntryKind.RESULT, text=output, failed=True),
    ]

    folded = LogText().lines(entries)
    whole = LogText(Display(wide=True)).lines(entries)

    assert folded == ["* Bash pytest", "    ... 3 lines above", *(f"    line {number}" for number in range(4, 9))]
    assert whole == ["* Bash pytest", *(f"    line {number}" for number in range(1, 9))]


def test_lines_are_wrapped_between_words_and_control_sequences_are_removed() -> None:
    words = "a sentence that is rather longer than the thirty columns of this display"
    block = {"type": "text", "text": f"\x1b[2J{words}"}
    event = json.dumps({"type": "assistant", "message": {"content": [block]}})

    lines = LogText(Display(width=30)).lines(LogParser("claude").line(event.encode()))

    assert " ".join(lines) == words
    assert max(map(len, lines)) <= 30


def test_a_long_call_is_one_call() -> None:
    call = LogEntry(kind=EntryKind.CALL, tool="Bash", text="make test && echo all of it is fine")

    assert LogText(Display(width=24)).lines([call]) == ["* Bash make test &&", "  echo all of it is fine"]


def test_a_growing_log_shows_an_event_when_its_line_is_complete(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.log"
    first, second = (RECORDINGS / "claude/2.1.329/stream/stdout").read_bytes().split(b"\n")[1:3]
    log.write_bytes(first + b"\n" + second[:40])
    reader = LogReader(log, "claude", WORKTREE)

    assert [entry.text for entry in reader.read(is_over=False)] == ["Step 1: I will write hello.txt"]
    assert list(reader.read(is_over=False)) == []
    with log.open("ab") as file:
        file.write(second[40:] + b"\n")
    assert [(entry.tool, entry.text) for entry in reader.read(is_over=True)] == [("Write", "hello.txt (+1)")]
    assert list(reader.read(is_over=True)) == []


def test_the_log_of_a_text_backend_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.log"
    log.write_text('{"type": "result", "is_error": true}\n\tindented\n\nend')

    lines = LogText().lines(LogReader(log, "shell").read(is_over=True))

    assert lines == ['{"type": "result", "is_error": true}', "    indented", "", "end"]
