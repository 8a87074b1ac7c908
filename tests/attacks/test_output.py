"""Attacks on who reads the output: a terminal, a CI service, a forge that shows Markdown."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.console import SCRIPT, Architect

from architect_parallel.cli import console
from architect_parallel.reports.markdown import code, fenced, inline
from architect_parallel.text.sanitize import plain_text, without_ci_commands

COMMANDS = {
    "environment": "::set-env name=PATH::/evil",
    "path": "::add-path::/evil",
    "indented": "  \t::add-mask::x",
    "after-a-newline": "fine\n::error::x",
    "after-a-carriage-return": "fine\r::error::x",
    "after-a-line-separator": "fine\u2028::error::x",
    "stop-commands": "::stop-commands::token",
    "old-github": "fine ##[set-output name=x]y",
    "old-github-command": "##[command]rm",
    "azure": "fine ##vso[task.setvariable variable=PATH]/evil",
    "azure-upper-case": "##VSO[task.prependpath]/evil",
    "azure-many": "###vso[task.complete result=Succeeded]",
}
ESCAPES = {
    "title": "\x1b]0;evil\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "link": "\x1b]8;;http://evil\x07click\x1b]8;;\x07",
    "clear": "\x1b[2J\x1b[H",
    "hidden": "\x1b[8mhidden\x1b[0m",
    "cursor-up": "\x1b[1A\x1b[2K",
    "c1": "\x9b31m",
    "device": "\x1bP$q\x1b\\",
    "overwrite": "evil\rfine",
    "backspace": "evil\x08\x08\x08\x08fine",
    "turned-round": "\u202elive\u202c",
    "isolated": "\u2066evil\u2069",
}
MARKDOWN = {
    "mention": "@everyone",
    "reference": "closes #1",
    "reference-by-name": "GH-1",
    "link": "[x](javascript:alert)",
    "image": "![x](http://evil/pixel)",
    "address": "http://evil",
    "markup": "<img src=x onerror=alert(1)>",
    "table": "a | b",
    "code": "` `evil` `",
    "heading": "# evil",
    "list": "- [x] done",
    "entity": "&lt;b&gt;",
}


def obeyed(text: str) -> bool:
    """What the runners of GitHub and Azure look for."""
    lines = text.replace("\r", "\n").replace("\u2028", "\n").split("\n")
    return any(line.strip().startswith("::") or "##[" in line or "##vso[" in line.lower() for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_ci_service_obeys_a_line_of_an_agent(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    for ci in (True, False):
        monkeypatch.setenv("CI", "true") if ci else monkeypatch.delenv("CI", raising=False)
        console.answer(COMMANDS[name])
        console.note(COMMANDS[name])
        console.answer_json({"output": COMMANDS[name]})
        out, err = capsysbinary.readouterr()
        line, _, value = out.decode().partition("{")
        assert json.loads("{" + value) == {"output": COMMANDS[name]}
        assert obeyed(line) == (not ci)
        assert obeyed(err.decode()) == (not ci), "the control: outside of CI nothing is changed"
        assert not (ci and obeyed("{" + value))


@pytest.mark.parametrize("text", ["a::b", "std::string x;", "# heading", "## heading", "issue #1", "x # [y]"])
def test_control_other_lines_stay(text: str) -> None:
    assert without_ci_commands(text) == text


@pytest.mark.parametrize("name", ESCAPES)
def test_a_terminal_obeys_a_sequence(name: str) -> None:
    text = plain_text(ESCAPES[name])
    assert not set(text) & {"\x1b", "\r", "\x08", "\x07", "\x9b", "\u202e", "\u2066"}


@pytest.mark.parametrize("name", MARKDOWN)
def test_a_forge_obeys_words_of_an_agent(name: str) -> None:
    for shown in (inline(MARKDOWN[name]), code(MARKDOWN[name])):
        body = shown.removeprefix("<code>").removesuffix("</code>")
        assert MARKDOWN[name] not in body
        assert not set("<>[]|`") & set(body)
    assert fenced(f"```\n{MARKDOWN[name]}").startswith("````")


@pytest.fixture
def run(architect: Architect) -> str:
    """A run whose agent writes sequences into a file, and prints commands of every kind."""
    printed = "\n".join(COMMANDS.values()).replace("\n", "\\n").replace("\r", "\\r")
    task = f"printf 'a\\033]0;evil\\007b\\n' > a.txt; printf '{printed}\\n'"
    answer = architect("parallel", task, "--backend", "shell", "--workers", "1", "--json")
    return str(answer.json["run_id"])


def test_diff_and_logs_hand_them_on(architect: Architect, run: str) -> None:
    ends, end = pty.openpty()
    env = {**os.environ, "GIT_PAGER": "cat"}
    with subprocess.Popen([SCRIPT, "diff", run], cwd=architect.cwd, env=env, stdout=end, stdin=end) as process:
        os.close(end)
        shown = b""
        try:
            while data := os.read(ends, 4096):
                shown += data
        except OSError:  # the other end is closed
            pass
        process.wait()
    os.close(ends)
    assert b"+ab" in shown
    assert b"\x1b" not in shown
    assert b"\x1b]0;evil" in architect("diff", run).out.encode(), "the control: a pipe gets the patch as it is"
    for command in (("logs", run), ("status", run), ("report", run)):
        answer = architect(*command, env={"CI": "true"})
        assert not obeyed(answer.out + answer.err), command
    assert obeyed(architect("logs", run, env={"CI": ""}).out), "the control"


def test_a_log_is_cut_in_the_middle_of_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    from architect_parallel.cli import logs
    from architect_parallel.reports import log_text

    monkeypatch.setenv("CI", "true")
    spec = SimpleNamespace(worker_id=1, backend="shell", worktree_path=None)
    path = tmp_path / "worker-1.log"
    for cut in range(1, 12):
        monkeypatch.setattr(log_text, "CHUNK_BYTES", cut)
        path.write_text("".join(f"{command}\n" for command in COMMANDS.values()))
        printer = logs._Printer(None, "run", [], raw=False)  # type: ignore[arg-type]  # no journal is needed
        printer._print_entries(path, None, spec, is_over=True)  # type: ignore[arg-type]  # a part of it is read
        out = capsysbinary.readouterr()[0].decode()
        assert "add-path" in out
        assert not obeyed(out)
