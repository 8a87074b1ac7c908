"""An agent's home lasts as long as its session can be asked for, and is found by the session's id alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from architect_parallel.api.session_homes import session_home
from architect_parallel.backends.registry import load_backends
from architect_parallel.domain import Settings
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.retention import LONGEST_UNUSED_S, MOST_KEPT

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


def test_an_agent_may_remove_its_own_home(tmp_path: Path) -> None:
    with session_home(tmp_path, BACKENDS["codex"], None) as home:
        home.path.rmdir()
        home.session_id = "s"
    assert list((tmp_path / "codex").iterdir()) == []


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


def last_used(base: Path, session_id: str, ago_s: float) -> None:
    file = base / "codex" / f"session-{session_id}"
    for path in (file, file.parent / file.read_text().strip()):
        os.utime(path, (path.stat().st_mtime - ago_s,) * 2)


def test_sessions_that_nobody_resumed_for_long_go_with_their_homes(tmp_path: Path) -> None:
    old, used = begun(tmp_path, "old"), begun(tmp_path, "used")
    with session_home(tmp_path, BACKENDS["codex"], "used") as home:
        home.session_id = "fork"  # a second name of the same home
    last_used(tmp_path, "used", LONGEST_UNUSED_S + 60)
    last_used(tmp_path, "old", LONGEST_UNUSED_S + 60)
    abandoned = tmp_path / "codex" / "home-0123456789abcdef"
    abandoned.mkdir()
    os.utime(abandoned, (0, 0))
    new = begun(tmp_path, "new")
    assert [path.is_dir() for path in (old, used, abandoned, new)] == [False, True, False, True]
    assert sorted(path.name for path in (tmp_path / "codex").glob("session-*")) == [
        "session-fork", "session-new", "session-used",
    ]  # fmt: skip


def test_the_least_recently_used_beyond_the_limit_go_and_never_one_in_use(tmp_path: Path) -> None:
    paths = [begun(tmp_path, f"s{number}") for number in range(MOST_KEPT)]
    for number in range(MOST_KEPT):
        last_used(tmp_path, f"s{number}", 1000.0 - number)
    with session_home(tmp_path, BACKENDS["codex"], "s0") as home:
        begun(tmp_path, "next")
        begun(tmp_path, "another")
        assert [path.is_dir() for path in paths[:4]] == [True, False, True, True]
        with pytest.raises(EnvironmentProblem, match="in use"), session_home(tmp_path, BACKENDS["codex"], "s0"):
            pass
        home.session_id = "s0"
    assert paths[0].is_dir()  # the newest now
    assert not paths[2].is_dir()
