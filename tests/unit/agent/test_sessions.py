"""A session is one private file: it comes back whole, or is refused in one line, and its id is no path."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from architect_parallel.agent.sessions import Sessions, StoredSession
from architect_parallel.errors import UsageError
from architect_parallel.system.retention import LONGEST_UNUSED_S

KEPT = StoredSession(model="gpt-4o", messages={"messages": [{"é": "\ud800"}]})
FOREIGN = ["../s", "a/b", "/etc/passwd", "", "-s", "a b", "x" * 129, "a\0", "a\n", "é"]


def test_what_was_kept_comes_back_and_nobody_else_reads_it(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "sessions"
    assert Sessions(place).save("s-1._A", KEPT) is None
    assert Sessions(place).load("s-1._A") == KEPT
    (file,) = place.iterdir()
    assert [file.stat().st_mode & 0o777, place.stat().st_mode & 0o777] == [0o600, 0o700]


def test_the_last_one_kept_counts(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    for said in range(3):
        sessions.save("s", StoredSession(model="m", messages=said))
    assert sessions.load("s").messages == 2
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("session_id", FOREIGN)
def test_an_id_is_no_path(tmp_path: Path, session_id: str) -> None:
    place = tmp_path / "sessions"
    place.mkdir()
    Sessions(tmp_path).save("s", KEPT)
    # The control: joined to the directory as it is, the first of them names a session elsewhere.
    assert (place / f"{FOREIGN[0]}.json").exists()
    with pytest.raises(UsageError, match="must be a session id"):
        Sessions(place).load(session_id)
    with pytest.raises(UsageError, match="must be a session id"):
        Sessions(place).save(session_id, KEPT)


WHOLE = {"form": 1, "session_id": "s", "model": "m", "said": None}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"form": 1}'),
        *(json.dumps(WHOLE | change).encode() for change in ({"form": 2}, {"session_id": "other"}, {"model": 3})),
        json.dumps(WHOLE).encode()[:-4],
    ],
)
def test_a_damaged_one_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(UsageError, match="session s is damaged"):
        Sessions(tmp_path).load("s")


def test_an_unknown_one_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"no session s in {tmp_path}"):
        Sessions(tmp_path).load("s")
    (tmp_path / "d.json").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        Sessions(tmp_path).load("d")
    with pytest.raises(UsageError, match="no sessions are kept"):
        Sessions(None).load("s")


def test_what_cannot_be_kept_is_said_and_nothing_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be written" in (Sessions(tmp_path / "file").save("s", KEPT) or "")
    assert "was not kept" in (Sessions(tmp_path).save("s", StoredSession(model="m", messages=object())) or "")
    assert "was not kept" in (Sessions(tmp_path).save("s", StoredSession(model="m", messages=float("nan"))) or "")
    assert Sessions(None).save("s", KEPT) is None


def test_sessions_that_nobody_resumed_for_long_go(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    for name in ("old", "new"):
        sessions.save(name, StoredSession(model="m", messages=[]))
    now_s = (tmp_path / "new.json").stat().st_mtime
    os.utime(tmp_path / "old.json", (now_s - LONGEST_UNUSED_S - 60,) * 2)
    sessions.remove_outdated(now_s)
    assert [path.name for path in tmp_path.iterdir()] == ["new.json"]
    Sessions(None).remove_outdated(now_s)
    Sessions(tmp_path / "none").remove_outdated(now_s)
