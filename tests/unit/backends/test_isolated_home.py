"""A worker's own home: the user's login linked, settings with ours on top, nothing else shared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.backends.isolated_home import own_home, worker_settings


def test_what_is_named_is_linked_and_the_rest_stays_away(tmp_path: Path) -> None:
    user = tmp_path / "user"
    user.mkdir()
    (user / "login.json").write_text("secret")
    (user / "sessions").mkdir()
    home = own_home(tmp_path / "state" / "home", user, ("login.json", "missing.json"))
    assert home.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in home.iterdir()] == ["login.json"]
    (home / "login.json").write_text("refreshed")  # a login is refreshed through the link
    assert (user / "login.json").read_text() == "refreshed"


def test_a_second_attempt_keeps_what_the_agent_made_of_it(tmp_path: Path) -> None:
    (tmp_path / "login.json").write_text("old")
    home = own_home(tmp_path / "home", tmp_path, ("login.json",))
    (home / "login.json").unlink()
    (home / "login.json").write_text("the agent's own")
    assert (own_home(home, tmp_path, ("login.json",)) / "login.json").read_text() == "the agent's own"


def test_what_an_earlier_attempts_agent_left_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "settings.json").write_text("mine")
    state = tmp_path / "state"
    home = own_home(state / "gemini", tmp_path, ())
    (home / "settings.json").symlink_to(precious / "settings.json")
    worker_settings(home / "settings.json", tmp_path / "none", under={}, over={"a": 1})
    home.rename(state / "away")
    home.symlink_to(precious)
    home = own_home(home, tmp_path, ())
    assert not (home / "settings.json").exists()  # followed, it would be the user's
    worker_settings(home / "settings.json", tmp_path / "none", under={}, over={"a": 1})
    assert (precious / "settings.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("user", "merged"),
    [
        ("{}", {"a": {"quiet": True}, "b": 1}),
        ('{"a": {"quiet": false, "x": "//no"}, "b": 2}', {"a": {"quiet": True, "x": "//no"}, "b": 2}),
        ('// mine\n{"b": 3, /* last */ "c": ["/*", "*/",],}', {"a": {"quiet": True}, "b": 3, "c": ["/*", "*/"]}),
        ('{"a": "odd"}', {"a": {"quiet": True}, "b": 1}),
    ],
)
def test_the_users_settings_stand_between_ours(tmp_path: Path, user: str, merged: object) -> None:
    (tmp_path / "user.json").write_text(user)
    path = worker_settings(tmp_path / "s.json", tmp_path / "user.json", under={"b": 1}, over={"a": {"quiet": True}})
    assert json.loads(path.read_text()) == merged
    assert path.stat().st_mode & 0o777 == 0o600


def test_settings_that_cannot_be_read_are_the_agents_to_judge(tmp_path: Path) -> None:
    (tmp_path / "user.json").write_text("{broken")
    for _ in range(2):
        path = worker_settings(tmp_path / "s.json", tmp_path / "user.json", under={}, over={"a": 1})
        assert path.is_symlink()
    assert (tmp_path / "user.json").read_text() == "{broken"
    (tmp_path / "user.json").write_text("{}")
    mended = worker_settings(path, tmp_path / "user.json", under={}, over={"a": 1})
    assert json.loads(mended.read_text()) == {"a": 1}
    assert (tmp_path / "user.json").read_text() == "{}"  # the control: writing through the link would change it


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_plain_json_passes_unchanged(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    place = tmp_path_factory.mktemp("settings")
    (place / "user.json").write_text(json.dumps({"value": value}))
    path = worker_settings(place / "s.json", place / "user.json", under={}, over={})
    assert json.loads(path.read_text()) == {"value": value}
