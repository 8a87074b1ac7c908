"""Every command of README and guide runs as it stands there, top to bottom, with stand-ins for the agents."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import support.acp_agent
from support.console import Architect, write_program
from support.repositories import commit_all, git

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
STAND_IN = """\
import json, pathlib, runpy, sys
if sys.argv[0].endswith(("npx", "goose")) or "--acp" in sys.argv:
    runpy.run_path({acp!r}, run_name="__main__")
    sys.exit()
pathlib.Path("work.txt").write_text("done\\n")
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


SECTIONS = {section.partition("\n")[0]: section for text in (README, GUIDE) for section in text.split("\n## ")}


def shell_commands(text: str) -> list[list[str]]:
    """The commands in the shell blocks of a text, comments dropped."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture
def stand_ins(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`claude` and `codex` on PATH, logged in, and another program behind the backend `architect`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, events in (
        ("claude", CLAUDE),
        ("codex", CODEX),
        ("gemini", GEMINI),
        ("npx", []),
        ("goose", []),
        ("other", OTHER),
    ):
        program = programs / name
        write_program(program, STAND_IN.format(events=repr(events), acp=support.acp_agent.__file__))
    config = home / ".config" / "architect-parallel" / "config.yaml"
    config.parent.mkdir(parents=True)
    defaults = {"parallel_runs": {"backend": "architect"}}
    config.write_text(json.dumps(defaults | {"backends": {"architect": {"command": [str(programs / "other")]}}}))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin:{Path(sys.executable).parent}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-not-a-key")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-key")


def commands_of_the_program(text: str) -> list[list[str]]:
    return [words for words in shell_commands(text) if "architect" in words]


def test_readme_shows_enough_commands() -> None:
    assert len(commands_of_the_program(README)) >= 12
    assert len(commands_of_the_program(GUIDE)) >= 15


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("title", [title for title, text in SECTIONS.items() if commands_of_the_program(text)])
def test_readme_commands_run_from_top_to_bottom(architect: Architect, checkout: Path, title: str) -> None:
    task_file = re.search(r"^# tasks\.yaml\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
    spec = re.search(r"^# auth\.yaml\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
    assert task_file is not None
    assert spec is not None
    files = {
        "auth.yaml": spec[1],
        "tasks.yaml": task_file[1],
        "ideas.txt": "one idea\nanother\n",
        "src/a.py": "A = 1\n",
        ".gitignore": "results/\n",
        "Makefile": "test:\n\ttrue\n",
        "release.flow.yaml": (ROOT / "docs" / "examples" / "release.flow.yaml").read_text(),
        "steps.yaml": "steps: [{backend: claude, prompt: one}, {backend: codex, prompt: 'two: {{previous}}'}]\n",
    }
    for name, content in files.items():
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text(content)
    commit_all(checkout, "what the README speaks of")
    commands = commands_of_the_program(SECTIONS[title])
    if "latest" in commands[0]:
        assert architect("parallel", "what came before", "--backend", "claude").code == 0
    for whole in commands:
        # `cat FILE | architect …` and `architect … < FILE`
        begin = whole.index("architect") + 1
        words = whole[begin:-2] if "<" in whole else whole[begin:]
        source = whole[1] if begin > 1 else whole[-1] if "<" in whole else None
        answer = architect(*words, stdin=(checkout / source).read_bytes() if source else None)

        # The runs of stand-ins succeed, so there is nothing left to resume; all else is exit 0.
        expected = 4 if words[0] == "resume" else 0
        if answer.code != expected:  # an assertion would cut the reason off
            pytest.fail(f"{words}: exit {answer.code}\n{answer.out}\n{answer.err}\n{architect('status', 'latest').out}")
    left = "?? work.txt" if title == "Flows" else ""  # a chain works in place
    assert git(checkout, "status", "--porcelain") == left


@pytest.mark.usefixtures("stand_ins")
def test_readme_python_runs(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = re.search(r"^```python\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    monkeypatch.chdir(checkout)

    exec(compile(block[1], "guide.md", "exec"), {})

    changes = ["architect: fix the failing test", "A work.txt"]
    assert capsys.readouterr().out.splitlines() == [
        "1 success 0.01 ['work.txt']",
        *changes,
        "2 success 0.01 ['work.txt']",
        *changes,
        "['architect/parallel-1', 'architect/parallel-2', 'main'] False",
    ]


def test_readme_make_targets_exist() -> None:
    targets = {words[1] for words in shell_commands(README) if words[0] == "make"}

    assert targets == {"demo", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)
