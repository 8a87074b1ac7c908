"""What checks, setup commands and shell tasks get of the user's environment, and what is said when one fails for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.console import Answer, Architect

URL = "postgres://db.example/test"
SHELL = ("--backend", "shell", "--workers", "1", "--json")


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    """A configuration file to be given with `-c`."""
    return tmp_path / "config.yaml"


def warnings(answer: Answer) -> list[str]:
    return [line for line in answer.json["results"][0]["warnings"] if "of your shell" in line]


def test_a_check_gets_the_variable_it_names(architect: Architect) -> None:
    answer = architect("parallel", "true", *SHELL, "--check", 'test -n "$DATABASE_URL"', env={"DATABASE_URL": URL})
    assert answer.code == 0, answer.err


def test_a_check_that_reads_one_by_other_means_says_what_it_did_not_get(architect: Architect, trusted: Path) -> None:
    check = ("--check", "printenv DATABASE_URL")
    answer = architect("parallel", "true", *SHELL, "--workers", "2", *check, env={"DATABASE_URL": URL})
    assert answer.code == 1
    (said,) = warnings(answer)
    assert answer.err.count("did not reach") == 1  # both results have the warning, which is shown once
    assert said in answer.json["results"][1]["warnings"]
    assert "did not reach 'printenv DATABASE_URL' (DATABASE_URL" in said
    assert said.endswith("to pass one: checks_env: [DATABASE_URL]")
    assert URL not in answer.out + answer.err

    trusted.write_text("parallel_runs: {checks_env: [DATABASE_*]}\n")
    assert architect("parallel", "true", *SHELL, *check, "-c", trusted, env={"DATABASE_URL": URL}).code == 0
    by_variable = {"DATABASE_URL": URL, "ARCHITECT_CHECKS_ENV": "PGHOST, DATABASE_URL"}
    assert architect("parallel", "true", *SHELL, *check, env=by_variable).code == 0


def test_setup_gets_what_it_names_and_says_what_it_did_not_get(architect: Architect, trusted: Path) -> None:
    trusted.write_text("worktrees: {setup: ['test -n \"$NPM_TOKEN\"', printenv NPM_TOKEN]}\n")
    answer = architect("parallel", "true", *SHELL, "-c", trusted, env={"NPM_TOKEN": "t0ken-t0ken"})
    assert answer.code == 1
    error = answer.json["results"][0]["error"]
    assert "'printenv NPM_TOKEN' ended with 1" in error
    assert "to pass one: worktrees.setup_env: [NPM_TOKEN]" in error
    assert "t0ken-t0ken" not in answer.out + answer.err

    trusted.write_text("worktrees: {setup: [printenv NPM_TOKEN], setup_env: [NPM_TOKEN]}\n")
    assert architect("parallel", "true", *SHELL, "-c", trusted, env={"NPM_TOKEN": "t0ken-t0ken"}).code == 0


def test_a_shell_task_gets_what_it_names_and_says_what_it_did_not_get(architect: Architect) -> None:
    answer = architect("parallel", 'test "$ZONE" = eu', *SHELL, env={"ZONE": "eu"})
    assert answer.code == 0, answer.err
    answer = architect("parallel", "printenv ZONE", *SHELL, env={"ZONE": "eu"})
    assert answer.code == 1
    assert warnings(answer)[0].endswith("to pass one: backends.shell.env: [ZONE]")


def test_naming_an_agents_key_hands_it_to_no_check(architect: Architect) -> None:
    environ = {"ANTHROPIC_API_KEY": "s3cr3t-s3cr3t"}
    answer = architect("parallel", "true", *SHELL, "--check", 'test -z "$ANTHROPIC_API_KEY"', env=environ)
    assert answer.code == 0


def test_a_merge_gives_its_checks_the_same(architect: Architect, trusted: Path) -> None:
    trusted.write_text("parallel_runs: {checks_env: [ZONE]}\n")
    words = ("--task", "echo a > a", "--task", "echo b > b", "--backend", "shell", "--check", "printenv ZONE")
    environ = {"ZONE": "eu"}
    assert architect("parallel", *words, "-c", trusted, env=environ).code == 0
    merged = architect("merge", "latest", "--all", "--json", env=environ | {"ARCHITECT_CHECKS_ENV": "ZONE"})
    assert merged.code == 0, merged.err
    assert merged.json["merged"] == [1, 2]


def test_a_repository_that_is_not_trusted_passes_nothing(architect: Architect) -> None:
    text = "parallel_runs: {checks_env: [ZONE]}\nworktrees: {setup_env: [ZONE]}\n"
    (architect.cwd / ".architect-parallel.yaml").write_text(text)
    answer = architect("parallel", "true", *SHELL, "--check", "printenv ZONE", env=dict(os.environ) | {"ZONE": "eu"})
    assert answer.code == 1
    assert "ignored until you trust this file: worktrees.setup_env, parallel_runs.checks_env" in answer.err
