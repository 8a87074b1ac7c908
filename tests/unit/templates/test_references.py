"""What stands for results in prompts: exact names, one pass, and never through a shell."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.templates import references
from architect_parallel.templates.shell import as_script


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_what_is_put_in_is_not_looked_at_again(value: str) -> None:
    assert references.filled("a {{ x }} b {{x}}", lambda reference: value) == f"a {value} b {value}"


COMMANDS = (
    "printf %s {{ x }}", "printf %s '{{ x }}'", 'printf %s "{{ x }}"', 'printf %s "a {{ x }} b"',
    "cat <<EOF\n{{ x }}\nEOF", "true # it's\nprintf %s '{{ x }}'", 'printf "%s" $(printf %s "{{ x }}")',
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("value", ["$(echo BAD)", "`echo BAD`", "'; echo BAD; '", '"; echo BAD; "', "x\necho BAD"])
def test_no_result_becomes_a_command_wherever_its_reference_stands(command: str, value: str) -> None:
    def output(made: str, variables: dict[str, str]) -> list[str]:
        done = subprocess.run(["/bin/sh", "-c", made], env=variables, capture_output=True, text=True, check=False)
        return done.stdout.splitlines()

    made, variables = as_script(command, references.values(command, lambda reference: value))
    assert "BAD" not in output(made, variables)  # as a line of its own only a command has printed it


def test_the_naive_way_runs_what_a_result_says() -> None:
    naive = references.filled("printf %s {{ x }}", lambda reference: "; echo BAD")
    done = subprocess.run(["/bin/sh", "-c", naive], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["BAD"]


def test_a_quoted_reference_keeps_its_value_whole() -> None:
    command = 'printf "<%s>" {{ x }} "{{ x }}" \'{{ x }}\''
    made, variables = as_script(command, references.values(command, lambda reference: "a  *"))
    done = subprocess.run(["/bin/sh", "-c", made], env=variables, capture_output=True, text=True, check=False)
    assert done.stdout == "<a  *>" * 3


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "~/.ssh/id", "a/../../x", ""])
def test_a_file_outside_the_repository_is_a_fault(path: str) -> None:
    assert references.faults(f"{{{{ file({path}) }}}}", {}, near=lambda word: "")
