"""`docs/tutorial.md` from top to bottom, in one shell, as a reader types it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from support.console import SCRIPT, Architect

TUTORIAL = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text()
MARK = "@@ end of a block"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TUTORIAL, flags=re.MULTILINE | re.DOTALL)


def shows(output: str, line: str) -> bool:
    """The output has a line that begins as the tutorial's line does; what follows `…` is left open."""
    begin, cut, _ = line.partition("…")
    return any(got.startswith(begin) if cut else got == line for got in output.splitlines())


def test_tutorial_runs_from_top_to_bottom(tmp_path: Path) -> None:
    script = f"echo '{MARK}'\n".join(blocks("sh"))
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{SCRIPT.parent}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split(MARK)
    assert len(outputs) == len(blocks("sh"))
    promised = [line for block in blocks("text") for line in block.splitlines()]
    assert len(promised) >= 5
    # The tutorial has the table of a terminal, whose columns `--wide` shows on a pipe as well.
    table = Architect(tmp_path / "pricelist")("--wide", "status", "latest").out
    assert [line for line in promised if not shows(done.stdout + table, line)] == []
    _run, unchanged, look, report, merge, undo, cleanup, forced, _own, _agents = outputs
    assert "still fails" in unchanged
    assert "architect/parallel-3" in unchanged
    assert "architect merge" in look
    assert report == "\n"
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "landed on main" in merge
    assert "main returns from" in undo
    assert cleanup.splitlines()[-3:] == ["  architect/parallel-2", "  architect/parallel-3", "* main"]
    assert "removed branch architect/parallel-2" in forced


def test_every_command_of_the_tutorial_is_one_of_the_program() -> None:
    """What is not in a shell block is not run, so commands in the text must be in a block too."""
    typed = " ".join(blocks("sh"))
    text = re.sub(r"^```.*?^```", "", TUTORIAL, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`architect ([a-z-]+)", text))

    assert named
    assert [name for name in named if f"architect {name}" not in typed] == []
