"""`--tripwire` as a user meets it: what it takes, what it says, and what `auto` is."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from support.console import SCRIPT, Architect
from support.repositories import git

ESCAPES = ("parallel", "cd ..; echo theirs >> README.md", "--backend", "shell", "--workers", "1")


@pytest.mark.parametrize("word", ["on", "", "FAIL", "warn "])
def test_a_wrong_word_is_one_line_and_nothing_starts(architect: Architect, word: str) -> None:
    answer = architect(*ESCAPES, "--tripwire", word)
    assert answer.code == 2
    assert "--tripwire" in answer.err
    assert "Traceback" not in answer.err
    assert not (architect.cwd / ".git" / "architect").exists()


def test_piped_auto_fails_who_did_it_and_shows_how_to_look(architect: Architect) -> None:
    answer = architect(*ESCAPES, "--json")

    assert answer.code == 1
    (result,) = answer.json["results"]
    assert (result["status"], result["reason"]) == ("failed", "escaped")
    escaped = answer.json["escaped"]
    assert (escaped["paths"], escaped["suspects"]) == (["README.md"], [1])
    told = architect("status", answer.json["run_id"])
    assert told.code == 0
    assert "README.md" in told.out
    assert f"git apply -R {escaped['patch']}" in told.out
    git(architect.cwd, "apply", "-R", escaped["patch"])
    assert git(architect.cwd, "status", "--porcelain") == ""


def test_the_text_answer_names_it(architect: Architect) -> None:
    answer = architect(*ESCAPES)
    assert "FAILED (escaped)" in answer.out
    assert "The main checkout changed while worker 1 ran (nothing was reverted): README.md" in answer.out
    assert "main-checkout.patch" in answer.out


def test_on_a_terminal_auto_warns(architect: Architect) -> None:
    controller, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            [SCRIPT, *ESCAPES, "--json"],
            cwd=architect.cwd, env=os.environ | {"TERM": "dumb"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=terminal,
        )  # fmt: skip
        out, _ = process.communicate(timeout=60)
        said = os.read(controller, 65536).decode()
    finally:
        os.close(terminal)
        os.close(controller)
    answer = json.loads(out)
    assert (process.returncode, answer["results"][0]["status"]) == (0, "success")
    assert answer["escaped"]["paths"] == ["README.md"]
    assert "README.md" in said


def test_what_the_user_lets_us_write_into_the_checkout_is_no_escape(architect: Architect) -> None:
    tasks = architect.cwd / "tasks.yaml"
    # The second still runs while the first one's result is written.
    tasks.write_text(
        "output_dir: results\ntasks: [{backend: shell, prompt: echo 1}, {backend: shell, prompt: sleep 2}]\n"
    )
    line = f"'{SCRIPT}' parallel --file tasks.yaml --tripwire fail 2>errors.txt | tee said.txt > copy.txt"
    subprocess.run(["sh", "-c", line], cwd=architect.cwd, check=True, timeout=60)
    assert "2 completed" in (architect.cwd / "said.txt").read_text()
    assert (architect.cwd / "results" / "summary.json").exists()
    assert architect("status", "latest", "--json").json["escaped"] is None


def test_flag_beats_variable_beats_file(architect: Architect) -> None:
    (architect.cwd / ".architect-parallel.yaml").write_text("parallel_runs: {tripwire: fail}\n")

    def planned(*more: str, env: dict[str, str] | None = None) -> str:
        return str(architect(*ESCAPES, "--dry-run", "--json", *more, env=env).json["tripwire"])

    assert planned() == "fail"
    assert planned(env={"ARCHITECT_TRIPWIRE": "warn"}) == "warn"
    assert planned("--tripwire", "off", env={"ARCHITECT_TRIPWIRE": "warn"}) == "off"
    assert architect(*ESCAPES, "--dry-run", env={"ARCHITECT_TRIPWIRE": "maybe"}).code == 2


def test_a_resumed_run_keeps_what_was_seen_before(architect: Architect, tmp_path: Path) -> None:
    count = tmp_path / "count"
    task = f"cd ..; echo x >> {count}; wc -l < {count} | tee -a README.md > file-$(wc -l < {count}).txt"
    run = architect("parallel", task, "--backend", "shell", "--workers", "1", "--json").json["run_id"]

    architect("resume", run, "--json")
    third = architect("resume", run, "--json")

    escaped = third.json["escaped"]
    assert escaped["paths"] == ["README.md", "file-1.txt", "file-2.txt", "file-3.txt"]
    git(architect.cwd, "apply", "-R", escaped["patch"])
    assert git(architect.cwd, "status", "--porcelain") == ""
