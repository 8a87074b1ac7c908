"""`--color` and `--wide`, before and after a command, and the readable log."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.console import Architect, wait_until, write_program
from support.terminals import Terminal

from architect_parallel.text.display import columns

EVENTS = (Path(__file__).parents[1] / "recordings/claude/2.1.329/stream/stdout").read_text()
CALL = "* \x1b[36mBash\x1b[0m echo hi && ls\n"


def test_logs_are_readable_and_raw_has_the_bytes(
    architect: Architect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, config = tmp_path / "agent", tmp_path / "config.yaml"
    write_program(agent, f"import sys\nsys.stdout.write('2.1.329' if '--version' in sys.argv else {EVENTS!r})\n")
    config.write_text(f"backends: {{claude: {{command: ['{agent}']}}}}\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key")
    run = architect("parallel", "say hi", "--backend", "claude", "--workers", "1", "-c", config)
    assert "Done after 2 tool call(s)." in run.out, run.err

    readable = architect("logs", "1").out
    assert "\n* Bash echo hi && ls\n    hi (+3 lines)\n\nDone after 2 tool call(s).\n" in readable
    assert architect("logs", "1", "--raw").out == EVENTS
    assert "    hi\n    README.md\n" in architect("--wide", "logs", "1").out
    for colored in (("--color", "always", "logs", "1"), ("logs", "1", "--color=always")):
        assert CALL in architect(*colored).out
    assert architect("logs", "--color", "never", "1").out == readable


def test_status_shows_the_newest_runs_and_counts_the_others(architect: Architect) -> None:
    for _ in range(2):
        assert architect("parallel", "true", "--backend", "shell", "--workers", "1").code == 0

    every = architect("status", "--all").out.splitlines()
    assert len(every) == 3
    assert architect("status", "--limit", "1").out.splitlines() == [*every[:2], "1 more run: architect status --all"]
    assert architect("status", "--since", "1h").out.splitlines() == every
    future = architect("status", "--since", "2999-01-01", "--json").json
    assert (future["runs"], future["total_runs"]) == ([], 2)
    wrong = architect("status", "--since", "yesterday")
    assert (wrong.code, "--since 'yesterday': must be a time: 90m" in wrong.err) == (2, True)


def test_uncommitted_files_and_attempts_are_mentioned_before_the_start(architect: Architect, checkout: Path) -> None:
    (checkout / "new.txt").write_text("new\n")
    run = ("parallel", "true", "--backend", "shell", "--workers", "2")

    answer = architect(*run)

    assert answer.out.startswith("Running 2 attempts at one task (max 2 parallel)...\n")
    assert answer.err == "1 uncommitted file is not included (--include-dirty)\n"
    assert architect(*run, "--include-dirty").err == ""
    assert "1 uncommitted file is not included" in architect(*run, "--dry-run").out


def test_a_terminal_has_fitting_tables_and_colours_as_configured(
    architect: Architect, checkout: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = "exit 3 # a task with so many words that no terminal of eighty columns can show all of them in a table"
    assert architect("parallel", task, "--backend", "shell", "--workers", "1").code == 1
    config = home / ".config" / "architect-parallel" / "config.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)

    def written(color: str, **environ: str) -> str:
        config.write_text(f"ui: {{color: {color}}}\n")
        for name in ("NO_COLOR", *environ):
            monkeypatch.setenv(name, environ[name]) if name in environ else monkeypatch.delenv(name, raising=False)
        terminal = Terminal(checkout, "status", "latest")
        try:
            assert terminal.ends() == 0
            terminal.shows("0 of 1 succeeded")
            return terminal.written.decode()
        finally:
            terminal.close()

    colored = written("auto")
    assert "\x1b[31mFAILED\x1b[0m" in colored
    heading = next(line for line in colored.splitlines() if "STATUS" in line)
    assert "TASK" in heading
    assert max(columns(line) for line in colored.splitlines()) <= 80
    assert "\x1b[31m" not in written("auto", NO_COLOR="1")
    assert "\x1b[31m" not in written("never")
    assert "\x1b[31m" in written("always", NO_COLOR="1")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (
            ("paralell",),
            "architect: No such command 'paralell'. Did you mean 'parallel',\n  'parallel-cleanup'?\n  try:",
        ),
        (("config", "show"), "parallel_runs.model                 null"),
    ],
)
def test_a_narrow_terminal_breaks_no_word(checkout: Path, words: tuple[str, ...], shown: str) -> None:
    terminal = Terminal(checkout, *words, columns=72, rows=80)
    try:
        terminal.ends()
        terminal.shows(shown)
        lines = [line for line in terminal.written.decode().splitlines() if not line.startswith(("  try:", "# "))]
        assert max(map(columns, lines)) <= 72
    finally:
        terminal.close()


def test_a_log_is_followed_to_the_end_of_the_run(architect: Architect, tmp_path: Path) -> None:
    mark = tmp_path / "go-on"
    task = f"echo one; until [ -e '{mark}' ]; do sleep 0.05; done; echo two"
    run = architect.begin("parallel", task, "--backend", "shell", "--workers", "1")
    wait_until(lambda: architect("logs", "1").out == "one\n", "the first line")
    follower = architect.begin("logs", "1", "--follow")
    mark.touch()

    assert architect.finish(follower).out == "one\ntwo\n"
    assert architect.finish(run).code == 0


def test_an_unknown_color_is_named(architect: Architect) -> None:
    answer = architect("status", "--color", "red")
    assert answer.code == 2
    assert "unknown --color 'red'; known: always, auto, never" in answer.err
