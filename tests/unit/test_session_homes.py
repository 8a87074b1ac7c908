"""An agent's home lasts as long as its session can be asked for, and is found by the session's id alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.api.session_homes import session_home
from architect_parallel.backends.registry import load_backends
from architect_parallel.domain import Settings
from architect_parallel.errors import UsageError

BACKENDS = load_backends(Settings(), {"PATH": "/usr/bin:/bin"})


def begun(base: Path, session_id: str | None, *, leaves: bool = True) -> Path:
    with session_home(base, BACKENDS["codex"], None) as home:
        if leaves:
            (home.path / "rollout").touch()
        home.session_id = session_id
    return home.path


def test_a_session_comes_back_to_its_home(tmp_path: Path) -> None:
    first, other = begun(tmp_path, "s"), begun(tmp_path, "t")
    with session_home(tmp_path, BACKENDS["codex"], "s") as home:
        assert (home.path, (home.path / "rollout").exists()) == (first, True)
        home.session_id = "forked"
    with session_home(tmp_path, BACKENDS["codex"], "forked") as home:
        assert home.path == first
    assert other.is_dir(), "one that failed keeps its home too"
    assert first.is_dir()
    assert first.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("session_id", "leaves"), [(None, True), ("s", False), ("../s", True), ("-x", True)])
def test_a_home_without_a_session_goes(tmp_path: Path, session_id: str | None, leaves: bool) -> None:
    assert not begun(tmp_path, session_id, leaves=leaves).exists()
    # The control: with one it stays.
    assert begun(tmp_path, "s").exists()


def test_an_unknown_session_is_refused_where_it_would_be_here(tmp_path: Path) -> None:
    begun(tmp_path, "s")
    with pytest.raises(UsageError, match="codex has no session t"), session_home(tmp_path, BACKENDS["codex"], "t"):
        pass
    # claude keeps them with the user's own: it may know one that we do not.
    with session_home(tmp_path, BACKENDS["claude"], "t") as home:
        assert home.path.is_dir()


@pytest.mark.parametrize("text", ["../../elsewhere", "/", "home-gone", ""])
def test_what_names_no_home_of_ours_is_not_followed(tmp_path: Path, text: str) -> None:
    begun(tmp_path, "s")
    (tmp_path / "codex" / "session-s").write_text(text)
    with pytest.raises(UsageError, match="no session s"), session_home(tmp_path, BACKENDS["codex"], "s"):
        pass


def test_where_nothing_can_be_kept_the_agent_still_works(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = begun(tmp_path / "file", "s")
    assert not path.exists()
