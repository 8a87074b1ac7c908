"""Logins go into an agent's home as copies and come back refreshed, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from architect_parallel.containment.logins import lend, take_back

LOGIN = {"tokens": {"access": "a", "refresh": "r", "account_id": "me"}, "last": "x"}


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "user" / "auth.json"
    file.parent.mkdir()
    file.write_text(json.dumps(LOGIN))
    file.chmod(0o600)
    os.utime(file, (1, 1))
    return file


@pytest.fixture
def copy(tmp_path: Path, users: Path) -> Path:
    home = tmp_path / "state" / "codex"
    home.mkdir(parents=True)
    (home / "auth.json").symlink_to(users)
    (home / "AGENTS.md").symlink_to(users)
    return home / "auth.json"


def test_a_refreshed_login_replaces_the_users_and_the_link_is_back(copy: Path, users: Path) -> None:
    (login,) = lend(copy.parent.parent)
    assert not copy.is_symlink()
    assert copy.stat().st_mode & 0o777 == 0o600
    fresh = {**LOGIN, "tokens": {**LOGIN["tokens"], "access": "b"}}  # type: ignore[dict-item]  # it is a mapping
    copy.write_text(json.dumps(fresh))
    assert take_back(login) is None
    assert json.loads(users.read_text()) == fresh
    assert users.stat().st_mode & 0o777 == 0o600
    assert copy.is_symlink()


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b"not json",
        b'{"last": "y"}',
        json.dumps({**LOGIN, "tokens": {"access": "b", "refresh": "s", "account_id": "another"}}).encode(),
        b"x" * (2 << 20),
    ],
)
def test_a_login_that_is_broken_or_anothers_does_not(left: bytes, copy: Path, users: Path) -> None:
    (login,) = lend(copy.parent.parent)
    copy.write_bytes(left)
    take_back(login)
    assert json.loads(users.read_text()) == LOGIN
    assert copy.is_symlink()


def test_a_link_that_the_agent_put_there_is_not_followed(copy: Path, users: Path, tmp_path: Path) -> None:
    (login,) = lend(copy.parent.parent)
    other = tmp_path / "other"
    other.write_text(json.dumps({**LOGIN, "last": "planted"}))
    copy.unlink()
    copy.symlink_to(other)
    assert take_back(login) is None
    assert json.loads(users.read_text()) == LOGIN
    assert os.readlink(copy) == str(users)


def test_a_login_that_is_newer_at_the_users_stays(copy: Path, users: Path) -> None:
    (login,) = lend(copy.parent.parent)
    copy.write_text(json.dumps({**LOGIN, "last": "old"}))
    os.utime(copy, (5, 5))
    os.utime(users, (9, 9))
    assert take_back(login) is None
    assert json.loads(users.read_text()) == LOGIN
