"""Every command and every Python example of README and `docs/` runs as it stands there, with stand-ins for the agents.

The tutorial has a test of its own (`test_tutorial.py`): it needs no stand-ins and promises what is printed. So has
`hosts.md` (`test_host_documents.py`), whose commands need other machines.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jsonschema
import pytest
import support.acp_agent
import yaml
from support.console import Architect, write_program
from support.repositories import commit_all

from architect_parallel.config.schema import config_schema

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name not in ("cli.md", "tutorial.md", "hosts.md")),
]
OTHER_PROGRAMS = {"pipx", "uv", "pip", "make", "cp", "claude", "codex", "git", "man"}
"""What a document may name in a shell block without having it run here: installing, and commands of others."""
ABOUT_A_RUN = {
    *(
        "status",
        "logs",
        "diff",
        "compare",
        "merge",
        "path",
        "open",
        "shell",
        "attach",
        "send",
        "retry",
        "report",
        "watch",
    ),
    *("clean", "import"),
}
"""Commands that need a run. A section that begins with one of them gets one."""
STAND_IN = """\
import json, runpy, sys
if sys.argv[0].endswith(("npx", "goose")) or "--acp" in sys.argv:
    runpy.run_path({acp!r}, run_name="__main__")
    sys.exit()
open("work.txt", "a").write("done\\n")
for event in {events}:
    print(json.dumps(event))
"""
CLAUDE = [
    {"type": "system", "subtype": "init", "session_id": "17067f7d", "model": "claude-opus-5-5"},
    {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": "fine",
        "num_turns": 1,
        "session_id": "17067f7d",
    },
]
CODEX = [
    {"type": "thread.started", "thread_id": "01a1fa92"},
    {"type": "turn.started"},
    {"type": "item.completed", "item": {"id": "item_0", "type": "agent_message", "text": "fine"}},
    {"type": "turn.completed", "usage": {"input_tokens": 10, "cached_input_tokens": 0, "output_tokens": 1}},
]
GEMINI = [
    {"type": "init", "session_id": "5d1d", "model": "gemini-3-pro"},
    {"type": "message", "role": "assistant", "content": "fine"},
    {"type": "result", "status": "success", "stats": {"total_tokens": 11, "input_tokens": 10, "output_tokens": 1}},
]
OTHER = [{"status": "success", "steps": 1, "cost": 0.01, "output": "fine"}]
ISSUES = "print(json.dumps(issue if 'view' in sys.argv else [issue]))\n"


class Command(NamedTuple):
    """One command of the program in a document."""

    words: tuple[str, ...]
    block: int
    stdin_file: str | None = None


def sections(path: Path) -> dict[str, str]:
    """The sections of a document that have shell blocks, by their title."""
    parts = path.read_text().split("\n## ")
    return {part.partition("\n")[0].lstrip("# "): part for part in parts if "```sh\n" in part}


def shell_lines(text: str) -> list[tuple[int, str]]:
    """The lines of the shell blocks of a text, without continuation, each with the number of its block."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [(number, block.replace("\\\n", "").splitlines()) for number, block in enumerate(blocks)]
    return [(number, line) for number, block in lines for line in block if line.strip()]


def commands(text: str) -> list[Command]:
    """The commands of the program in the shell blocks of a text. What a shell does around them is left out."""
    taken = []
    for block, line in shell_lines(text):
        if inner := re.search(r"\$\((architect [^)]*)\)", line):
            taken.append(Command(tuple(shlex.split(inner[1])[1:]), block))
            continue
        words = shlex.split(line, comments=True)
        if not words:
            continue
        first, pipe, second = (words, "", []) if "|" not in words else split_at(words, "|")
        if pipe and first[0] == "cat":
            taken.append(Command(tuple(second[1:]), block, first[1]))
        elif first[0] != "architect":
            assert first[0] in OTHER_PROGRAMS, line
        elif "<" in first:
            taken.append(Command(tuple(first[1 : first.index("<")]), block, first[-1]))
        else:
            taken.append(Command(tuple(first[1:]), block))
    return taken


def split_at(words: list[str], mark: str) -> tuple[list[str], str, list[str]]:
    place = words.index(mark)
    return words[:place], mark, words[place + 1 :]


def example(document: str, name: str) -> str:
    """The YAML block of a document whose first line names its file."""
    block = re.search(
        rf"^# {re.escape(name)}\n(.*?)^```", (ROOT / "docs" / document).read_text(), re.MULTILINE | re.DOTALL
    )
    assert block is not None
    return block[1]


SHOWN = [
    pytest.param(text, id=f"{path.relative_to(ROOT)}: {title}")
    for path in DOCUMENTS
    for title, text in sections(path).items()
    if commands(text)
]


@pytest.fixture
def stand_ins(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agents and `gh` on PATH, logged in, and another program behind the backend `architect`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    agents = {"claude": CLAUDE, "codex": CODEX, "gemini": GEMINI, "other": OTHER, "mytool": OTHER}
    agents |= {"npx": [], "goose": []}
    for name, events in agents.items():
        write_program(programs / name, STAND_IN.format(events=repr(events), acp=support.acp_agent.__file__))
    issue = {"number": 12, "title": "Slugs lose umlauts", "body": "In slug()", "url": "https://forge.example/12"}
    write_program(programs / "gh", f"import json, sys\nissue = {issue}\n" + ISSUES)
    write_program(
        programs / "editor", "import os, sys\nif os.path.isfile(sys.argv[1]): open(sys.argv[1], 'w').write('a task')\n"
    )
    config = home / ".config" / "architect-parallel" / "config.yaml"
    config.parent.mkdir(parents=True)
    backends = yaml.safe_load(example("backends.md", "~/.config/architect-parallel/config.yaml"))["backends"]
    backends["architect"] = {"command": [str(programs / "other")]}
    config.write_text(json.dumps({"parallel_runs": {"backend": "architect"}, "backends": backends}))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin:{Path(sys.executable).parent}")
    monkeypatch.setenv("VISUAL", str(programs / "editor"))
    monkeypatch.setenv("SHELL", "/bin/true")
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "sk-not-a-key")


@pytest.fixture
def examples(checkout: Path) -> None:
    """The files that the documents speak of."""
    files = {
        "auth.yaml": example("specs.md", "auth.yaml"),
        "tasks.yaml": example("tasks.md", "tasks.yaml"),
        "ideas.txt": "one idea\nanother\n",
        "src/a.py": "A = 1\n",
        ".gitignore": "results/\narchitect-results/\n",
        "Makefile": "test integration-test:\n\ttrue\n",
        "task.md": "Do this.\n",
        "release.flow.yaml": (ROOT / "docs" / "examples" / "release.flow.yaml").read_text(),
        "steps.yaml": "steps: [{backend: claude, prompt: one}, {backend: codex, prompt: 'two: {{previous}}'}]\n",
    }
    for name, content in files.items():
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text(content)
    commit_all(checkout, "what the documents speak of")


def test_documents_show_enough_commands() -> None:
    assert len(commands((ROOT / "README.md").read_text())) >= 10
    assert len(SHOWN) >= 20


@pytest.mark.usefixtures("stand_ins", "examples")
@pytest.mark.parametrize("text", SHOWN)
def test_commands_run_from_top_to_bottom(architect: Architect, checkout: Path, text: str) -> None:
    shown = commands(text)
    if "config trust" in text:
        (checkout / ".architect-parallel.yaml").write_text("parallel_runs: {checks: [make test]}\n")
    if shown[0].words[0] in ABOUT_A_RUN:
        began = ("parallel", "-n2", "what came before", "--backend", "claude")
        assert architect(*began, *(("--artifacts", "architect-results") if "import" in text else ())).code == 0
        if shown[0].words[0] == "import":
            (checkout / "architect-results").rename(checkout.parent / "architect-results")
            subprocess.run(["git", "clone", "-q", ".", checkout.parent / "clone"], cwd=checkout, check=True)
            architect.cwd = checkout.parent / "clone"
            (checkout.parent / "architect-results").rename(architect.cwd / "architect-results")
    for command in cheaper(shown):
        source = command.stdin_file
        answer = architect(*command.words, stdin=(checkout / source).read_bytes() if source else None)

        if answer.code not in allowed(command):  # an assertion would cut the reason off
            pytest.fail(
                f"{command}: exit {answer.code}\n{answer.out}\n{answer.err}\n{architect('status', 'latest').out}"
            )


def cheaper(shown: list[Command]) -> Iterator[Command]:
    """The commands. Of each block only the first run of agents is made, the others are planned: each takes seconds."""
    ran: set[int] = set()
    for command in shown:
        first = command.words[0]
        if first == "init":  # asks on a terminal
            yield command._replace(words=(*command.words, "--yes"))
        elif first == "parallel" or " " in first:
            yield command._replace(words=(*command.words, "--dry-run")) if command.block in ran else command
            ran |= {command.block} if "--dry-run" not in command.words else set()
        elif first != "demo":  # `make demo` and the tutorial run it
            yield command


def allowed(command: Command) -> set[int]:
    """The runs of stand-ins succeed, so nothing is left to resume. A machine may have no sandbox."""
    if command.words[0] == "resume":
        return {4}
    return {0, 3} if {"--sandbox", "--network"} & set(command.words) else {0}


def test_settings_in_the_documents_are_settings() -> None:
    blocks = [
        (path.name, yaml.safe_load(block))
        for path in DOCUMENTS
        for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    ]
    known = config_schema()["properties"].keys()
    settings = [(name, data) for name, data in blocks if isinstance(data, dict) and data.keys() <= known]
    assert len(settings) >= 8
    validator = jsonschema.Draft202012Validator(config_schema())
    assert [(name, error.message) for name, data in settings for error in validator.iter_errors(data)] == []


@pytest.mark.usefixtures("stand_ins")
def test_python_examples_run(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    assert len(examples) == sum(path.read_text().count("```python\n") for path in DOCUMENTS) == 2
    monkeypatch.chdir(checkout)
    printed = []
    for example in examples:
        exec(compile(example, "python.md", "exec"), {})
        printed.append(capsys.readouterr().out.splitlines())

    changes = ["architect: fix the failing test", "A work.txt"]
    assert printed[0] == [
        "1 success 0.01 ['work.txt']",
        *changes,
        "2 success 0.01 ['work.txt']",
        *changes,
        "['architect/parallel-1', 'architect/parallel-2', 'main'] False",
    ]
    *events, cost, newest, older = printed[1]
    assert (events[0], events[-1]) == ("run_started None running", "run_finished None success")
    assert "worker_finished 1 success" in events
    assert cost == "0.02"
    assert newest.endswith("success ['architect/parallel-3', 'architect/parallel-4']")
    assert older.endswith("success ['architect/parallel-1', 'architect/parallel-2']")


def test_readme_make_targets_exist() -> None:
    lines = [line for _block, line in shell_lines((ROOT / "README.md").read_text())]
    targets = {line.split()[1] for line in lines if line.startswith("make ")}

    assert targets == {"demo", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)
