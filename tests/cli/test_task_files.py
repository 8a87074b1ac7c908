"""`architect parallel --file` and the other sources of tasks, through the console script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.console import Answer, Architect
from support.contract_names import CONTRACT_RESULT
from support.repositories import commit_all, git


def write(path: Path, content: object) -> str:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return str(path)


def made(checkout: Path) -> tuple[list[str], str]:
    """What a run would have made: worktrees and branches."""
    return sorted(path.name for path in checkout.glob(".architect*")), git(checkout, "branch", "--list")


def by_name(answer: Answer) -> dict[str, Any]:
    return {result["name"]: result for result in answer.json["results"]}


def test_tasks_differ_in_everything_and_carry_it_into_their_results(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    file = write(
        tmp_path / "tasks.yaml",
        {
            "defaults": {"backend": "shell", "tags": ["all"]},
            "tasks": [
                {"prompt": "echo hello > a.txt", "name": "first", "meta": {"k": [1, {"deep": None}]}},
                {"task": "exit 4", "name": "second", "tags": ["x", "y"]},
            ],
        },
    )

    answer = architect("parallel", "--file", file, "--json")

    assert answer.code == 1
    results = by_name(answer)
    assert list(results) == ["first", "second"]
    assert [name for name in results["first"] if name in CONTRACT_RESULT] == CONTRACT_RESULT
    assert (results["first"]["meta"], results["first"]["tags"]) == ({"k": [1, {"deep": None}]}, ["all"])
    assert (results["second"]["status"], results["second"]["tags"]) == ("failed", ["x", "y"])
    assert git(checkout, "show", "architect/parallel-1:a.txt") == "hello"
    text = architect("status", "latest").out
    assert "first: echo hello" in text
    assert "second: exit 4" in text


@pytest.mark.parametrize("form", [json.dumps, yaml.safe_dump])
def test_a_task_file_comes_by_pipe_too(architect: Architect, form: Any) -> None:
    data = form({"tasks": [{"backend": "shell", "prompt": "echo piped"}]}).encode()

    for words in ((), ("--file", "-")):
        answer = architect("parallel", *words, "--json", stdin=data)
        assert [result["output"] for result in answer.json["results"]] == ["piped"]


def test_other_text_on_a_pipe_is_one_task(architect: Architect) -> None:
    answer = architect("parallel", "--backend", "shell", "--json", "--workers", "1", stdin=b"echo tasks: none\n")

    assert [result["output"] for result in answer.json["results"]] == ["tasks: none"]


def test_flags_beat_the_file_and_the_file_beats_the_configuration(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    config = write(
        tmp_path / "config.yaml",
        {
            "parallel_runs": {
                "max_parallel": 5,
                "fail_fast": True,
                "timeout_per_worker": 10,
                "max_steps": 9,
                "workers": 4,
            }
        },
    )
    task = {"backend": "claude", "prompt": "true", "timeout": 20, "max_turns": 8, "budget": 2, "model": "m-file"}
    file = write(tmp_path / "t.yaml", {"tasks": [task, dict(task)], "max_parallel": 2, "fail_fast": False})

    def plan(*words: str) -> Any:
        return architect("parallel", "--backend", "shell", "-c", config, "--dry-run", "--json", *words).json

    below = plan("true")
    assert (below["max_parallel"], below["fail_fast"], len(below["workers"])) == (4, True, 4)
    by_file = plan("--file", file)
    first = by_file["workers"][0]
    assert (by_file["max_parallel"], by_file["fail_fast"], len(by_file["workers"])) == (2, False, 2)
    assert (first["limits"]["timeout_s"], first["limits"]["max_steps"], first["limits"]["budget_usd"]) == (20, 8, 2)
    # Flags: also `--backend`, without which claude would have to be here.
    assert (first["backend"], first["model"]) == ("shell", "m-file")
    flags = (
        "--max-parallel",
        "1",
        "--fail-fast",
        "--timeout-per-worker",
        "30",
        "--max-steps",
        "3",
        "--models",
        "m-flag",
    )
    by_flag = plan("--file", file, *flags)
    first, second = by_flag["workers"]
    assert (by_flag["max_parallel"], by_flag["fail_fast"]) == (1, True)
    assert (first["limits"]["timeout_s"], first["limits"]["max_steps"], first["limits"]["budget_usd"]) == (30, 3, 2)
    assert (first["model"], second["model"]) == ("m-flag", "m-file")
    assert made(checkout)[0] == []


def test_modes_and_further_arguments_reach_the_command_line(architect: Architect, tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    config = write(tmp_path / "config.yaml", {"backends": {"claude": {"command": [str(program)]}}})
    tasks = [
        {"prompt": "p", "approval_mode": "auto", "system_prompt": "be kind", "extra": ["--flag", "a b"], "model": "m"},
        {"prompt": "p", "approval_mode": "none", "sandbox_mode": "read-only", "max_turns": 3, "agent": "review"},
        {"prompt": "p", "max_tokens": 9, "output_format": "text"},
        {"prompt": "p", "isolation": "none"},
    ]
    file = write(tmp_path / "t.yaml", {"defaults": {"backend": "claude"}, "tasks": tasks})

    answer = architect("parallel", "--file", file, "-c", config, "--dry-run", "--json", env={"ANTHROPIC_API_KEY": "x"})

    one, two, three, in_place = (worker["argv"] for worker in answer.json["workers"])
    assert one[-2:] == ["--flag", "a b"]
    assert one[one.index("--append-system-prompt") + 1] == "be kind"
    assert one[one.index("--permission-mode") + 1] == "acceptEdits"
    assert one[one.index("--model") + 1] == "m"
    assert two[two.index("--tools") + 1] == "Read,Grep,Glob"
    assert two[two.index("--max-turns") + 1] == "3"
    assert "--dangerously-skip-permissions" in three, "as a task given in words: it has a worktree of its own"
    assert "--dangerously-skip-permissions" not in in_place
    assert in_place[in_place.index("--permission-mode") + 1] == "default"
    warnings = "\n".join(answer.json["warnings"])
    assert (
        "worker 4: in place, without an approval_mode: claude may be denied what it would have to ask for" in warnings
    )
    assert "worker 3: backend claude cannot limit output tokens: max_tokens is ignored" in warnings
    assert "worker 3: backend claude is read as stream-json: output_format text is ignored" in warnings


def test_every_fault_is_told_at_once_and_nothing_is_made(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    before = made(checkout)
    file = write(
        tmp_path / "t.yaml",
        """tasks:
  - {backend: cluade, prompt: x}
  - {backend: shell, prompt: ''}
  - {backend: shell, prompt: y, approval_mode: maybe, name: a}
  - {backend: shell, prompt: z, name: a}
""",
    )

    answer = architect("parallel", "--file", file)

    assert answer.code == 2
    assert answer.out == ""
    assert "4 faults in the task file" in answer.err
    for place, words in {
        "2:6": "tasks[0].backend: unknown backend 'cluade'; did you mean 'claude'?",
        "3:22": "tasks[1].prompt is '': must not be empty",
        "4:33": "tasks[2].approval_mode is 'maybe': must be one of default, auto, none, always",
        "5:33": "tasks[3].name: duplicate name 'a' (first used by tasks[2])",
    }.items():
        assert f"{file}:{place}: {words}" in answer.err
    assert "Traceback" not in answer.err
    assert made(checkout) == before


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (("--file", "missing.yaml"), None),
        (("--file", "."), None),
        (("x", "--file", "t.yaml"), None),
        (("--task", "x", "--lines"), b"echo\n"),
        (("--file", "t.yaml", "--lines"), b"echo\n"),
        (("--lines",), b" \n\n"),
        (("--file", "-"), b""),
        (("--foreach", "*"), b""),
        (("--foreach", "*", "no placeholder"), None),
        (("--foreach", "../*", "cat {path}"), None),
    ],
)
def test_sources_that_cannot_be(
    architect: Architect, checkout: Path, words: tuple[str, ...], stdin: bytes | None
) -> None:
    before = made(checkout)

    answer = architect("parallel", "--backend", "shell", *words, stdin=stdin)

    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    assert made(checkout) == before


def test_every_missing_backend_is_named_before_anything_is_made(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    before = made(checkout)
    names = ("shell", "claude", "codex", "claude")
    file = write(tmp_path / "t.yaml", {"tasks": [{"backend": name, "prompt": "x"} for name in names]})

    answer = architect("parallel", "--file", file, env={"PATH": "/usr/bin:/bin"})

    assert answer.code == 3
    assert answer.err.count("npm install -g @anthropic-ai/claude-code") == 1
    assert "npm install -g @openai/codex" in answer.err
    assert made(checkout) == before


def test_a_directory_outside_is_worked_in_and_one_inside_is_the_worktrees(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    task = {"backend": "shell", "prompt": "pwd; echo x > made.txt"}
    file = write(
        tmp_path / "t.yaml",
        {"tasks": [task | {"workdir": str(outside)}, task | {"workdir": "slugger"}, task | {"workdir": "."}]},
    )

    answer = architect("parallel", "--file", file, "--json")

    there, below, top = answer.json["results"]
    assert (there["branch"], there["worktree_path"], there["diff"]) == ("", str(outside), None)
    assert (there["status"], there["output"], there["files_modified"]) == ("success", str(outside), [])
    assert (outside / "made.txt").read_text() == "x\n"
    assert below["output"] == str(checkout / ".architect-parallel-2" / "slugger")
    assert below["files_modified"] == ["slugger/made.txt"]
    assert top["files_modified"] == ["made.txt"]
    assert not (checkout / "made.txt").exists()
    # Landing and cleanup leave what is not theirs alone.
    assert architect("merge", "latest", "1").code == 4
    assert architect("diff", "latest", "1").code == 0
    assert architect("parallel-cleanup", "--force").code == 0
    assert (outside / "made.txt").exists()
    assert made(checkout)[0] == []


def test_the_users_own_checkout_is_worked_in_only_when_that_is_written(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    task = {"backend": "shell", "prompt": "touch mine"}
    plain, written = ({"tasks": [task | more]} for more in ({"workdir": "."}, {"isolation": "none"}))

    assert architect("parallel", "--file", write(tmp_path / "a.yaml", plain)).code == 0
    assert not (checkout / "mine").exists()
    answer = architect("parallel", "--file", write(tmp_path / "b.yaml", written))
    assert answer.code == 0
    assert (checkout / "mine").exists()
    assert "own checkout" in answer.err


def test_a_directory_the_base_has_not_is_refused(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    (checkout / "new").mkdir()
    file = write(tmp_path / "t.yaml", {"tasks": [{"backend": "shell", "prompt": "true", "workdir": "new"}]})

    answer = architect("parallel", "--file", file)

    assert answer.code == 2
    assert "tasks[0].workdir" in answer.err
    assert made(checkout)[0] == []


def test_in_place_work_is_supervised_alike(architect: Architect, tmp_path: Path) -> None:
    task = {"backend": "shell", "prompt": "sleep 300", "workdir": str(tmp_path), "timeout": "1s"}

    answer = architect("parallel", "--file", write(tmp_path / "t.yaml", {"tasks": [task]}), "--json", "--grace", "1s")

    assert answer.code == 1
    (result,) = answer.json["results"]
    assert (result["status"], result["reason"], result["branch"]) == ("timeout", "worker_timeout", "")


def test_each_task_has_a_result_file_and_the_run_a_summary(architect: Architect, tmp_path: Path) -> None:
    tasks = [
        {"backend": "shell", "prompt": "echo one", "name": "a/../b"},
        {"backend": "shell", "prompt": "exit 1", "name": "summary"},
        {"backend": "shell", "prompt": "echo three"},
    ]
    out = tmp_path / "deep" / "results"
    file = write(tmp_path / "t.yaml", {"tasks": tasks, "output_dir": str(out)})

    answer = architect("parallel", "--file", file, "--json")

    files = {path.name: json.loads(path.read_text()) for path in out.iterdir()}
    assert sorted(files) == ["a-b.json", "summary-2.json", "summary.json", "task-2.json"]
    assert files.pop("summary.json") == answer.json
    assert [files[name] for name in ("a-b.json", "summary-2.json", "task-2.json")] == answer.json["results"]


def test_an_output_directory_that_cannot_be_is_found_before_the_run(
    architect: Architect, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    task = {"backend": "shell", "prompt": "true"}

    answer = architect(
        "parallel", "--file", write(tmp_path / "t.yaml", {"tasks": [task], "output_dir": str(tmp_path / "file")})
    )

    assert answer.code == 2
    assert "output_dir" in answer.err
    assert made(checkout)[0] == []


def test_what_is_not_critical_does_not_fail_the_run(architect: Architect, tmp_path: Path) -> None:
    tasks: list[dict[str, object]]
    tasks = [{"backend": "shell", "prompt": "exit 1", "critical": False}, {"backend": "shell", "prompt": "sleep 1"}]
    tasks[0]["name"] = "lint"
    file = write(tmp_path / "t.yaml", {"tasks": tasks, "fail_fast": True})

    answer = architect("parallel", "--file", file, "--json")

    assert (answer.code, answer.json["exit_code"], answer.json["status"]) == (0, 0, "partial")
    assert [result["status"] for result in answer.json["results"]] == ["failed", "success"]
    assert answer.json["warnings"] == ["'lint' failed (agent error), which is not critical"]
    assert "warning: 'lint' failed (agent error), which is not critical\n" in answer.err
    # The control: the same failure counts where it is critical.
    tasks[0]["critical"] = True
    assert architect("parallel", "--file", write(tmp_path / "u.yaml", {"tasks": tasks, "fail_fast": True})).code == 1


def test_a_line_is_a_task(architect: Architect) -> None:
    answer = architect("parallel", "--lines", "--backend", "shell", "--json", stdin=b"echo one\r\n\n  echo two\n")

    assert [result["output"] for result in answer.json["results"]] == ["one", "two"]
    one = architect("parallel", "--lines", "--backend", "shell", "--json", stdin=b"echo one\n")
    assert one.json["total_tasks"] == 1


def test_a_file_is_a_task(architect: Architect, checkout: Path) -> None:
    (checkout / "new.txt").write_text("n\n")
    (checkout / ".gitignore").write_text("*.ignored\n")
    (checkout / "x.ignored").touch()

    answer = architect("parallel", "echo {path}", "--foreach", "**/*.py", "--backend", "shell", "--json")
    expected = git(checkout, "ls-files", "*.py").splitlines()
    assert [result["output"] for result in answer.json["results"]] == expected
    untracked = architect("parallel", "echo {path}", "--foreach", "*.txt", "--backend", "shell", "--json")
    assert [result["output"] for result in untracked.json["results"]] == ["new.txt"]
    assert "--include-dirty" in untracked.err
    below = architect(
        "parallel", "echo {path}", "--foreach", "*.py", "--backend", "shell", "--json", cwd=checkout / "slugger"
    )
    assert below.json["results"][0]["output"].startswith("slugger/")
    assert architect("parallel", "cat {path}", "--foreach", "*.ignored", "--backend", "shell").code == 4


def test_a_path_is_one_word_of_a_shell_command(architect: Architect, checkout: Path) -> None:
    name = "a; touch $(echo pwned) 'b.txt"
    (checkout / name).write_text("content\n")
    commit_all(checkout, "a file with a name")

    for command in ("cat {path}", 'cat "{path}"', "cat '{path}'"):
        answer = architect("parallel", command, "--foreach", "*b.txt", "--backend", "shell", "--json")
        (result,) = answer.json["results"]
        assert (result["output"], result["files_modified"]) == ("content", [])
    assert architect("parallel", "sh -c 'cat {path}'", "--foreach", "*b.txt", "--backend", "shell").code == 2


def test_the_schema_of_task_files_is_printed(architect: Architect) -> None:
    assert architect("config", "schema", "tasks").json["title"] == "architect-parallel task file"
    assert architect("config", "schema").json["title"] == "architect-parallel configuration"
    assert architect("config", "schema", "taks").code == 2


@pytest.mark.parametrize(
    "text",
    [b'{"tasks": [{"prompt": "touch made"}', b'\xef\xbb\xbf [{"prompt": "x",,}]', b"tasks:\n  - {prompt: touch made"],
)
def test_a_broken_task_file_on_stdin_is_refused_and_never_a_prompt(architect: Architect, text: bytes) -> None:
    answer = architect("parallel", "--backend", "shell", "--json", stdin=text)
    assert (answer.code, answer.out) == (2, "")
    assert "stdin:" in answer.err
    assert "`architect parallel -` takes stdin as one task in words" in answer.err
    assert architect("status", "--json").json["runs"] == []
    words = architect("parallel", "-", "--backend", "shell", "--workers", "1", "--json", stdin=b"[ -d . ] && echo fine")
    assert (words.code, words.json["results"][0]["output"]) == (0, "fine")
