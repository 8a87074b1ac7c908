"""The manual page: every command and option, and nothing that roff takes for a command of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
from support.console import Architect

from architect_parallel.cli.app import build_app
from architect_parallel.cli.reference import as_man, leaves

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "man" / "architect.1"


def test_it_is_the_page_that_the_wheel_installs(architect: Architect) -> None:
    assert architect("help", "--man").out == PAGE.read_text()
    shared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "shared-data"
    ]
    assert shared["docs/man/architect.1"] == "share/man/man1/architect.1"
    assert [path for path in shared if not (ROOT / path).is_file()] == []


def test_every_option_of_every_command_is_there() -> None:
    root: Any = typer.main.get_command(build_app())
    page = as_man(root).replace("\\-", "-").replace("\\e", "\\")
    for path, command in leaves(root):
        section = re.split(r"^\.S[SH] ", page.partition(f".SS architect {path} ")[2], flags=re.MULTILINE)[0]
        names = [
            name for parameter in command.params if not parameter.hidden for name in parameter.opts if name[:1] == "-"
        ]
        assert [name for name in names if f"\\fB{name}\\fR" not in section and name not in ("--help", "-h")] == [], path
    macros = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert macros == {".TH", ".SH", ".SS", ".B", ".BR", ".I", ".br", ".PP", ".TP"}


def test_groff_has_nothing_to_warn_about() -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff here")
    words = ["groff", "-man", "-ww", "-Tutf8", str(PAGE)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "MANWIDTH": "80"})
    assert done.stderr == ""
    shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert "architect retry [RUN] N... [OPTIONS]" in shown
    assert "EXIT STATUS" in shown
