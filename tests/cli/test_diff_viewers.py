"""`architect diff` on a terminal: git's colours, the user's pager and tools, and none of the repository's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.console import Architect
from support.repositories import git
from support.terminals import Terminal


@pytest.fixture
def changed(architect: Architect, checkout: Path) -> Path:
    """A checkout with a run whose worker wrote a file."""
    task = "echo hello > made.txt"
    assert architect("parallel", task, "--backend", "shell", "--workers", "1").code == 0
    return checkout


def own_configuration(monkeypatch: pytest.MonkeyPatch, path: Path, **settings: str) -> None:
    """Make these the user's own settings of git, beside those that the tests have."""
    before = os.environ.get("GIT_CONFIG_GLOBAL")
    path.write_text(f"[include]\n\tpath = {before}\n" if before else "")
    for name, value in settings.items():
        subprocess.run(["git", "config", "--file", path, name.replace("_", "."), value], check=True)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    for name in ("GIT_PAGER", "PAGER", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def on_screen(cwd: Path, *words: str) -> str:
    terminal = Terminal(cwd, *words)
    try:
        assert terminal.ends() == 0, terminal.text
        return terminal.text + terminal.written.decode()
    finally:
        terminal.close()


def test_a_patch_has_colours_and_goes_through_the_users_own_pager(
    changed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(changed, "config", "core.pager", f"touch {tmp_path}/planted; cat")
    git(changed, "config", "pager.diff", f"touch {tmp_path}/planted; cat")
    own_configuration(monkeypatch, tmp_path / "own", core_pager=f"pwd > {tmp_path}/where; sed 's/^/paged /'")

    shown = on_screen(changed, "diff", "1")

    assert "paged \x1b[32m+\x1b[m\x1b[32mhello" in shown
    assert not (tmp_path / "planted").exists()
    # A pager that reads git's configuration where it starts finds that of no repository.
    assert (tmp_path / "where").read_text() == "/\n"


def test_the_control_git_itself_runs_the_pager_of_the_repository(
    changed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(changed, "config", "core.pager", f"touch {tmp_path}/planted; cat")
    own_configuration(monkeypatch, tmp_path / "own")
    subprocess.run(["git", "-p", "log"], cwd=changed, check=True, capture_output=True)
    read, write = os.openpty()
    subprocess.run(["git", "log"], cwd=changed, check=True, stdout=write, env={**os.environ, "TERM": "xterm"})
    os.close(read)
    os.close(write)

    assert (tmp_path / "planted").exists()


def test_stat_and_names(changed: Path, architect: Architect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_configuration(monkeypatch, tmp_path / "own", pager_diff="false")

    assert "made.txt | 1 \x1b[32m+" in on_screen(changed, "diff", "1", "--stat")
    assert architect("diff", "1", "--name-only").out == "made.txt\n"
    assert (
        architect("diff", "1", "--stat").out == " A made.txt  +1 -0\n 1 file changed, 1 insertion(+), 0 deletions(-)\n"
    )
    both = architect("diff", "1", "--stat", "--name-only")
    assert (both.code, "--stat and --name-only exclude each other" in both.err) == (2, True)


def test_a_tool_is_the_users_own_and_none_of_the_repository(
    changed: Path, architect: Architect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(changed, "config", "difftool.planted.cmd", f"touch {tmp_path}/planted")
    (changed / ".git" / "info" / "attributes").write_text("* diff=planted\n")
    git(changed, "config", "diff.planted.textconv", f"touch {tmp_path}/planted; cat")
    own_configuration(monkeypatch, tmp_path / "own", diff_tool="mine")
    own = Path(os.environ["GIT_CONFIG_GLOBAL"])
    own.write_text(own.read_text() + f'[difftool "mine"]\n\tcmd = cat \\"$REMOTE\\" > {tmp_path}/seen\n')

    assert architect("diff", "1", "--tool", "default").code == 0
    assert (tmp_path / "seen").read_text() == "hello\n"
    assert architect("diff", "1", "--tool", "planted").code == 3
    assert not (tmp_path / "planted").exists()
    # The control: git runs the repository's tool.
    git(changed, "difftool", "--no-prompt", "--tool=planted", "HEAD", "architect/parallel-1")
    assert (tmp_path / "planted").exists()
