"""The short way to the settings says what the long one says, and is taken only where nothing is set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from architect_parallel.config import settings as short
from architect_parallel.config.defaults import OTHER_VARIABLES
from architect_parallel.config.loader import load
from architect_parallel.config.settings import default_settings, load_settings
from architect_parallel.errors import UsageError


def test_the_defaults_are_what_loading_nothing_gives(tmp_path: Path) -> None:
    assert default_settings() == load(None, None, {}, tmp_path).settings
    assert default_settings() == load(tmp_path, None, dict.fromkeys(OTHER_VARIABLES, "x"), tmp_path).settings


def test_without_any_setting_nothing_is_parsed(tmp_path: Path) -> None:
    words = "import sys; from pathlib import Path; from architect_parallel.config.settings import load_settings;"
    words += "home = Path(sys.argv[1]); settings = load_settings(home, None, {'PATH': '/bin'}, home);"
    words += "sys.exit('pydantic' in sys.modules or 'yaml' in sys.modules or settings.parallel.max_steps != 50)"
    subprocess.run([sys.executable, "-c", words, tmp_path], check=True)


def test_every_place_that_may_set_something_is_heard(tmp_path: Path) -> None:
    user = tmp_path / ".config" / "architect-parallel" / "config.yaml"
    repository, named = tmp_path / ".architect-parallel.yaml", tmp_path / "named.yaml"
    user.parent.mkdir(parents=True)
    named.write_text("parallel: {max_steps: 9}")

    def steps(config_file: Path | None = None, environ: dict[str, str] | None = None) -> int:
        return load_settings(tmp_path, config_file, environ or {}, tmp_path).parallel.max_steps

    assert (steps(), steps(named), steps(environ={"ARCHITECT_MAX_STEPS": "8"})) == (50, 9, 8)
    repository.write_text("parallel: {max_steps: 7}")
    assert steps() == 7
    repository.unlink()
    user.write_text("parallel: {max_steps: 6}")
    assert steps() == 6


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)])
def test_what_is_there_and_no_file_is_told(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / ".architect-parallel.yaml")
    with pytest.raises(UsageError, match="is not a file"):
        load_settings(tmp_path, None, {}, tmp_path)


def test_an_unknown_variable_of_ours_is_warned_of(tmp_path: Path) -> None:
    found = load_settings(None, None, {"ARCHITECT_MAX_STEP": "3"}, tmp_path)
    assert "ARCHITECT_MAX_STEPS" in found.warnings[0]
    assert short.default_settings().warnings == ()
