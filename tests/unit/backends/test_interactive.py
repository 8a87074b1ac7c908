"""Each agent opens its own session again by its own words, in the home that the worker had."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.backends.base import Request
from architect_parallel.backends.registry import BUILT_IN, load_backends
from architect_parallel.domain import Settings

WORDS = {
    "claude": ["--resume", "ses-1"],
    "codex": ["resume", "ses-1"],
    "gemini": ["--resume", "ses-1"],
    "opencode": ["-s", "ses-1"],
    "qwen": ["--resume", "ses-1"],
    "copilot": ["--resume=ses-1"],
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_session_is_opened_in_the_workers_own_home(name: str, tmp_path: Path, home: Path) -> None:
    backend = load_backends(Settings(), {"PATH": "", "HOME": str(home)})[name]
    (tmp_path / "state").mkdir()
    request = Request(
        prompt="x", prompt_file=tmp_path / "p", worktree=tmp_path, state_dir=tmp_path / "state", session_id="ses-1"
    )
    command = backend.interactive(request)
    if name not in WORDS:
        assert command is None
        return
    assert command is not None
    assert list(command.argv) == [name, *WORDS[name]]
    assert dict(command.env) == dict(backend.command(request).env)
    assert command.stdin_file is None
