"""Checks and scopes through the console script: what the JSON says, what people read, and every bad input."""

from __future__ import annotations

import json
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.console import Architect, running_with, wait_until, working_in
from support.repositories import git

from architect_parallel import ParallelConfig, ParallelRunner
from architect_parallel.errors import UsageError


@pytest.fixture
def token() -> str:
    return f"3600.{secrets.randbelow(10**9):09d}"


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def nothing_left(checkout: Path) -> bool:
    return (
        git(checkout, "worktree", "list", "--porcelain").count("worktree ") == 1
        and git(checkout, "branch", "--list", "architect/*") == ""
        and list(checkout.glob(".architect-parallel-*")) == []
        and git(checkout, "status", "--porcelain") == ""
    )


def changes(result: Any) -> list[tuple[bool, str | None]]:
    return [(check["passed"], check["change"]) for check in result["checks"]]


def test_a_result_says_what_it_broke_and_mended(architect: Architect, checkout: Path) -> None:
    words = ("--check", "test ! -e bad", "--check", "test -e good", "--check", "echo one; echo two; exit 3")

    answer = architect(
        "parallel", "touch bad", "--task", "touch good", "--backend", "shell", "--json", *words, "--check", "true"
    )  # fmt: skip

    assert answer.code == 1
    envelope = answer.json
    assert [(each["command"], each["passed"]) for each in envelope["baseline"]] == [
        ("test ! -e bad", True), ("test -e good", False), ("echo one; echo two; exit 3", False), ("true", True),
    ]  # fmt: skip
    first, second = envelope["results"]
    assert changes(first) == [
        (False, "newly_broken"), (False, "broken_before"), (False, "broken_before"), (True, "unchanged"),
    ]  # fmt: skip
    assert changes(second)[1] == (True, "mended")
    assert (first["status"], first["reason"]) == ("failed", "check_failed")
    assert set(first["checks"][2]) == {
        "command", "passed", "exit_code", "duration_seconds", "output_tail", "change", "flaky", "timed_out",
    }  # fmt: skip
    assert (first["checks"][2]["exit_code"], first["checks"][2]["output_tail"]) == (3, "one\ntwo")
    assert first["error"] == "test ! -e bad (exit code 1); 2 more failed"
    assert first["working_seconds"] == first["duration"]
    assert "check already fails on the base commit: test -e good (exit code 1)" in envelope["warnings"]
    assert git(checkout, "show", "architect/parallel-1:bad") == "", "the work is kept"
    shown = architect("status", "latest").out
    assert "echo one; echo two; exit 3 (exit code 3, broken before)" in shown
    assert "    | two" in shown


def test_people_read_the_end_of_what_a_failed_check_printed(architect: Architect) -> None:
    answer = architect("parallel", "true", "--workers", "1", "--backend", "shell", "--check", "echo sad; exit 1")

    assert answer.out.splitlines()[-3:-1] == [
        "[1] check failed: echo sad; exit 1 (exit code 1, broken before)",
        "    | sad",
    ]
    assert answer.out.splitlines()[-1].startswith("Total: 1 task, 0 completed, 1 failed")


def test_without_a_baseline_nothing_is_compared(architect: Architect, tmp_path: Path) -> None:
    count = tmp_path / "count"

    answer = architect(
        "parallel", "true", "--workers", "1", "--backend", "shell", "--json", "--no-baseline",
        "--check", f"echo x >> {count}",
    )  # fmt: skip

    assert answer.code == 0
    assert (answer.json["baseline"], changes(answer.json["results"][0])) == ([], [(True, None)])
    assert count.read_text() == "x\n"


def test_each_distinct_check_runs_once_on_the_base_and_a_resume_remembers(architect: Architect, tmp_path: Path) -> None:
    count, go = tmp_path / "count", tmp_path / "go"
    check = f"pwd >> {count}; test -e {go}"
    architect("parallel", "true", "--workers", "2", "--backend", "shell", "--check", check, "--check", check)
    assert len(count.read_text().splitlines()) == 1 + 2 * 3, "once on the base, thrice by each worker"
    assert count.read_text().count(".architect-parallel-base-") == 1

    go.touch()
    answer = architect("resume", "latest", "--json")

    assert answer.code == 0
    assert [changes(each) for each in answer.json["results"]] == [[(True, "mended")]] * 2
    assert count.read_text().count(".architect-parallel-base-") == 1


@pytest.mark.parametrize(
    ("check", "said"), [("no-such-program --x", "not found"), ("exit 126", "exit code 126")], ids=["127", "126"]
)
def test_a_check_that_cannot_start_on_the_base_ends_it_before_anything(
    architect: Architect, checkout: Path, check: str, said: str
) -> None:
    before = architect("parallel", "true", "--backend", "shell", "--workers", "1", "--json").json["run_id"]
    assert architect("parallel-cleanup", "--force").code == 0
    answer = architect("parallel", "touch x", "--backend", "shell", "--check", "true", "--check", check, "--json")

    assert (answer.code, answer.out) == (2, "")
    error, hint = [line for line in answer.err.splitlines() if not line.startswith("Running")]
    assert f"check '{check}' cannot be started on the base commit" in error
    assert said in error
    assert "--no-baseline" in hint
    assert nothing_left(checkout)
    runs = [each["run_id"] for each in architect("status", "--json").json["runs"]]
    assert runs == [before], "nothing was run, so nothing failed, and `latest` is the run before"
    assert [each.name for each in (checkout / ".git" / "architect" / "runs").iterdir()] == [before]


def test_a_base_that_cannot_be_set_up_is_the_machines_fault(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    config = write(tmp_path / "c.yaml", {"worktrees": {"setup": ["echo broken; exit 7"]}})

    answer = architect("parallel", "touch x", "--backend", "shell", "--check", "true", "-c", config, "--quiet")

    assert (answer.code, answer.out) == (3, "")
    assert "the checks cannot be run on the base commit: worktrees.setup: 'echo broken; exit 7' ended" in answer.err
    assert nothing_left(checkout)
    assert architect("status", "latest").code == 4


def test_one_text_is_not_a_list_of_checks(checkout: Path) -> None:
    with pytest.raises(UsageError, match="list of commands"):
        ParallelRunner(ParallelConfig(tasks=["true"], backend="shell", checks="make test"), checkout).plan()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--check", ""), "--check '': must not be empty"),
        (("--check", "true", "--check", "  "), "must not be empty"),
        (("--check", "true", "--check-timeout", "0"), "--check-timeout"),
        (("--check", "true", "--check-timeout", "soon"), "--check-timeout"),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_made(
    architect: Architect, checkout: Path, words: tuple[str, ...], said: str
) -> None:
    answer = architect("parallel", "true", "--backend", "shell", *words)

    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert [line[:2] for line in answer.err.splitlines()[1:]] in ([], ["  "]), "one line, and perhaps a hint"
    assert nothing_left(checkout)
    assert architect("status", "--json").json["runs"] == []


def test_flags_beat_the_file_and_the_file_beats_the_configuration(architect: Architect, tmp_path: Path) -> None:
    config = write(tmp_path / "c.yaml", {"parallel_runs": {"checks": ["echo config"], "check_timeout": "7s"}})
    tasks = [
        {"prompt": "true"},
        {"prompt": "true", "checks": ["echo own"]},
        {"prompt": "true", "checks": []},
    ]
    plain = write(tmp_path / "t.json", {"tasks": tasks, "defaults": {"backend": "shell"}})
    filed = write(
        tmp_path / "d.json", {"tasks": tasks, "defaults": {"backend": "shell", "checks": ["echo file", "echo file"]}}
    )

    def planned(file: Path, *words: str) -> list[list[str]]:
        answer = architect("parallel", "--file", file, "-c", config, "--dry-run", "--json", *words)
        assert [each["check_timeout_s"] for each in answer.json["workers"]] == [7.0] * 3
        return [each["checks"] for each in answer.json["workers"]]

    assert planned(plain) == [["echo config"], ["echo own"], []]
    assert planned(filed) == [["echo file"], ["echo own"], []]
    assert planned(filed, "--check", "echo flag") == [["echo flag"]] * 3


def test_a_dry_run_lists_the_checks(architect: Architect, checkout: Path) -> None:
    words = ("--backend", "shell", "--workers", "1", "--check", "make test", "--check-timeout", "5m", "--dry-run")

    shown = architect("parallel", "true", *words).out
    without = architect("parallel", "true", *words, "--no-baseline")

    assert "On the base commit first: make test" in shown
    assert "    check     make test (at most 300 s)" in shown
    assert "base commit first" not in without.out
    assert nothing_left(checkout)


AGENT = """
import json, pathlib, sys
told = pathlib.Path(sys.argv[1]).read_text()
pathlib.Path("told.txt").write_text(told)
print(json.dumps({"result": "done"}))
"""


def test_a_further_attempt_is_told_what_the_check_printed(architect: Architect, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(AGENT)
    backend = {"command": [sys.executable, "-S", "-E", str(script), "{prompt_file}"], "output": "json",
               "fields": {"output": "result"}}  # fmt: skip
    config = write(tmp_path / "c.yaml", {"backends": {"mine": backend}})
    check = "cat told.txt | grep -q 'want [a]pples' || { echo 'we want apples'; exit 1; }"

    answer = architect(
        "parallel", "do", "--workers", "1", "--backend", "mine", "-c", config, "--check", check, "--no-baseline",
        "--retries", "1", "--refine", "--json",
    )  # fmt: skip

    assert answer.code == 0, answer.out
    (result,) = answer.json["results"]
    assert [each["reason"] for each in result["attempt_history"]] == ["check_failed", "completed"]
    assert [each["passed"] for each in result["checks"]] == [True]


def test_a_flaky_check_passes_with_a_warning(architect: Architect, tmp_path: Path) -> None:
    check = f"echo x >> '{tmp_path}/runs'; test $(wc -l < '{tmp_path}/runs') -gt 1"

    answer = architect(
        "parallel", "touch x", "--workers", "1", "--backend", "shell", "--check", check, "--no-baseline", "--json"
    )  # fmt: skip

    (result,) = answer.json["results"]
    assert (answer.code, result["status"], result["checks"][0]["flaky"]) == (0, "success", True)
    assert any(warning.startswith("flaky: ") for warning in result["warnings"])


def test_a_failed_agent_is_not_checked(architect: Architect, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    answer = architect(
        "parallel", "exit 1", "--task", "sleep 60", "--backend", "shell", "--timeout-per-worker", "0.5",
        "--check", f"touch {ran}", "--no-baseline", "--json",
    )  # fmt: skip

    assert [(each["reason"], each["checks"]) for each in answer.json["results"]] == [
        ("agent_error", []), ("worker_timeout", []),
    ]  # fmt: skip
    assert not ran.exists()


def test_who_keeps_its_checks_from_running_has_not_passed_them(architect: Architect) -> None:
    task = 'touch made; for run in ../.git/architect/runs/*/; do mkdir -p "$run"logs/worker-1.checks.log; done'

    answer = architect("parallel", task, "--workers", "1", "--backend", "shell", "--check", "true", "--json",
                       "--no-baseline")  # fmt: skip

    (result,) = answer.json["results"]
    assert (result["reason"], result["checks"], result["files_modified"]) == ("check_failed", [], ["made"])
    assert "its checks could not be run" in result["error"]


def test_a_worker_in_place_is_checked_where_it_works(architect: Architect, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    task = {"backend": "shell", "prompt": "touch made", "workdir": str(place), "checks": ["test -e made; pwd"],
            "files": ["made"]}  # fmt: skip
    file = write(tmp_path / "t.json", {"tasks": [task]})

    answer = architect("parallel", "--file", file, "--json")

    (result,) = answer.json["results"]
    assert (answer.code, changes(result), answer.json["baseline"]) == (0, [(True, None)], [])
    assert result["checks"][0]["output_tail"] == str(place)
    assert any("files" in warning for warning in result["warnings"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_signal_during_the_base_leaves_nothing(
    architect: Architect, checkout: Path, token: str, number: signal.Signals
) -> None:
    process = architect.begin(
        "parallel", "touch x", "--backend", "shell", "--json", "--check", f"sleep {token}", "--grace", "1"
    )  # fmt: skip
    wait_until(lambda: running_with(token) != [], "the check")

    process.send_signal(number)
    answer = architect.finish(process)

    assert answer.code == 128 + number
    assert [each["reason"] for each in answer.json["results"]] == ["interrupted"] * 3
    assert running_with(token) == []
    assert nothing_left(checkout)


def test_a_launcher_killed_during_the_base_leaves_what_a_cleanup_finds(
    architect: Architect, checkout: Path, token: str
) -> None:
    process = architect.begin("parallel", "touch x", "--backend", "shell", "--check", f"sleep {token}", "--grace", "1")
    wait_until(lambda: running_with(token) != [], "the check")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: running_with(token) == [], "the end of a dead launcher's check")
    wait_until(lambda: working_in(checkout) == [], "the end of the dead launcher's git")
    assert not nothing_left(checkout), "the control: there is something to clean up"

    planned = architect("parallel-cleanup", "--dry-run", "--json").json["removed"]
    answer = architect("parallel-cleanup", "--json")

    assert answer.code == 0, answer.err
    assert planned == answer.json["removed"]
    assert [(each["worker_id"], each["branch"]) for each in planned] == [(None, None)]
    assert nothing_left(checkout)


def test_a_run_killed_during_the_base_can_be_resumed(
    architect: Architect, checkout: Path, tmp_path: Path, token: str
) -> None:
    go = tmp_path / "go"
    words = ("--workers", "1", "--backend", "shell", "--check", f"test -e {go} || sleep {token}")
    process = architect.begin("parallel", "touch x", *words, "--grace", "1")
    wait_until(lambda: running_with(token) != [], "the check")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: running_with(token) == [], "the end of a dead launcher's check")

    go.touch()
    answer = architect("resume", "latest", "--json")

    assert answer.code == 0, answer.err
    assert changes(answer.json["results"][0]) == [(True, "unchanged")]
    assert [path.name for path in checkout.glob(".architect-parallel-*")] == [".architect-parallel-1"]


def test_a_run_timeout_ends_checks_and_says_so(architect: Architect, token: str) -> None:
    answer = architect(
        "parallel", "echo kept > kept", "--workers", "1", "--backend", "shell", "--json", "--no-baseline",
        "--check", f"sleep {token}", "--timeout", "2", "--grace", "1",
    )  # fmt: skip

    (result,) = answer.json["results"]
    assert (result["status"], result["reason"], result["files_modified"]) == ("timeout", "run_timeout", ["kept"])
    assert running_with(token) == []


def test_a_cancel_ends_a_workers_check(architect: Architect, token: str) -> None:
    process = architect.begin(
        "parallel", "echo kept > kept", "--workers", "1", "--backend", "shell", "--json", "--no-baseline",
        "--check", f"sleep {token}", "--grace", "1",
    )  # fmt: skip
    wait_until(lambda: running_with(token) != [], "the check")

    assert architect("cancel", "latest").code == 0
    answer = architect.finish(process)

    (result,) = answer.json["results"]
    assert (result["reason"], result["files_modified"]) == ("canceled", ["kept"])
    assert running_with(token) == []


def scoped(tmp_path: Path, *files: list[str]) -> Path:
    tasks = [
        {"backend": "shell", "prompt": "mkdir -p src; touch src/in out", "files": each, "name": f"task{number}"}
        for number, each in enumerate(files)
    ]
    return write(tmp_path / "t.json", {"tasks": tasks})


def test_changes_outside_a_scope_are_named(architect: Architect, tmp_path: Path) -> None:
    answer = architect("parallel", "--file", scoped(tmp_path, ["src/**"]), "--json")

    (result,) = answer.json["results"]
    assert (answer.code, result["outside_scope"]) == (0, ["out"])
    assert "changed outside its scope (src/**): out" in result["warnings"]
    again = architect("status", "latest", "--json").json["results"][0]
    assert again["outside_scope"] == ["out"]


def test_overlapping_scopes_are_a_warning_or_with_strict_an_error(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    file = scoped(tmp_path, ["src/auth/**", "README.md"], ["docs", "**/login.py"], ["lib/*.c"])
    said = "the scopes of 'task0' and 'task1' overlap: src/auth/** and **/login.py"

    planned = architect("parallel", "--file", file, "--dry-run", "--json")
    refused = architect("parallel", "--file", file, "--strict")
    apart = architect("parallel", "--file", scoped(tmp_path, ["src/**"], ["docs/*"]), "--strict", "--dry-run")

    assert (planned.code, planned.json["warnings"]) == (0, [said])
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert apart.code == 0
    assert nothing_left(checkout)
    assert architect("status", "--json").json["runs"] == []


def test_two_workers_of_one_task_share_its_scope(architect: Architect, tmp_path: Path) -> None:
    file = scoped(tmp_path, ["src/**"])

    answer = architect("parallel", "--file", file, "--workers", "2", "--strict", "--dry-run", "--json")

    assert (answer.code, len(answer.json["workers"]), answer.json["warnings"]) == (0, 2, [])


def test_bad_patterns_are_told_with_their_places(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        "defaults: {backend: shell, files: ['']}\n"
        "tasks:\n"
        "  - prompt: true\n"
        "    files: [src/**, /etc/passwd]\n"
        "  - prompt: 'true'\n"
        "    files:\n"
        "      - a/../b\n"
        "  - prompt: 'true'\n"
        "    files: src\n"
    )

    answer = architect("parallel", "--file", file)

    assert (answer.code, answer.out) == (2, "")
    for line in (
        f"{file}:1:36: defaults.files[0] is '': must not be empty",
        f"{file}:4:21: tasks[0].files[1] is '/etc/passwd': must be relative to the repository's root",
        f"{file}:7:9: tasks[1].files[0] is 'a/../b': must not lead out of the repository with ..",
        f"{file}:9:5: tasks[2].files is 'src': must be a list of texts",
    ):
        assert line in answer.err
    assert nothing_left(checkout)
