"""`config.example.yaml` is the whole configuration with its defaults, and its examples are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from architect_parallel.config.loader import Loaded, load
from architect_parallel.config.schema import (
    ALIASES,
    AgentSection,
    BackendSection,
    ConfigFile,
    ParallelSection,
    PriceSection,
    ProviderSection,
    RateLimitSection,
    WorktreeSection,
)

EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.yaml"


def load_file(path: Path | None, home: Path) -> Loaded:
    return load(None, path, {}, home)


def uncommented(text: str) -> str:
    """The text with every example line taken up, as its head tells the user to."""
    return re.sub(r"^( *)#(?=\S)", r"\1", text, flags=re.MULTILINE)


def test_example_equals_the_defaults(home: Path) -> None:
    loaded, defaults = load_file(EXAMPLE, home), load_file(None, home)
    assert loaded.document == defaults.document
    assert loaded.settings.parallel == defaults.settings.parallel


def test_example_writes_every_default_out(home: Path) -> None:
    origins = load_file(EXAMPLE, home).settings.origins
    silent = {key for key, origin in origins.items() if origin == "default"}
    # These are empty by default and hold only examples.
    assert silent <= {"backends", "prices", "providers"}


def test_changed_default_would_be_noticed(home: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(EXAMPLE.read_text().replace("max_steps: 50", "max_steps: 51"))
    assert load_file(changed, home).document != load_file(None, home).document


def test_examples_in_comments_are_valid(home: Path, tmp_path: Path) -> None:
    taken_up = tmp_path / "all.yaml"
    taken_up.write_text(uncommented(EXAMPLE.read_text()))
    settings = load_file(taken_up, home).settings
    assert set(settings.backends) == {"claude", "mytool"}
    assert set(settings.prices) == {"my-model"}
    assert "security" in settings.agents


@pytest.mark.parametrize(
    "section",
    [
        *(ConfigFile, ParallelSection, AgentSection, BackendSection, PriceSection, WorktreeSection),
        *(ProviderSection, RateLimitSection),
    ],
)
def test_example_shows_every_key(section: type[BaseModel]) -> None:
    shown = set(re.findall(r"^ *#?([a-z_]+):", EXAMPLE.read_text(), flags=re.MULTILINE))
    assert {spec.alias or name for name, spec in section.model_fields.items()} <= shown


@pytest.mark.parametrize("path", ALIASES)
def test_example_names_the_other_names(path: tuple[str, ...]) -> None:
    assert f"other name: {path[-1]}" in EXAMPLE.read_text()
