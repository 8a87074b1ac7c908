"""The list of backends: versions, what each cannot do, what is missing."""

from __future__ import annotations

import json

from architect_parallel.backends.base import Availability, Capabilities
from architect_parallel.backends.registry import load_backends
from architect_parallel.domain import Settings
from architect_parallel.reports.backends import Row, as_data, as_text, lacking
from architect_parallel.text.display import Display


def rows() -> list[Row]:
    backends = load_backends(Settings(), {"PATH": ""})
    ready = Availability(program="/opt/claude")
    missing = Availability(program=None, missing="no gemini", remedy="npm install")
    return [
        Row(backend=backends["gemini"], availability=missing, version=None),
        Row(backend=backends["claude"], availability=ready, version="2.1.329"),
    ]


def test_what_is_ready_comes_first_with_its_version() -> None:
    lines = as_text(rows()).splitlines()
    assert lines[1].split()[:3] == ["claude", "yes", "2.1.329"]
    assert lines[2].split()[:3] == ["gemini", "no", "-"]
    assert "  gemini: sandbox mode workspace, a budget" in lines
    assert lines[-1] == "gemini: no gemini (try: npm install)"


def test_a_terminal_shows_what_a_first_look_needs_and_wide_shows_all() -> None:
    first = as_text(rows(), Display(width=80))
    assert "sandbox mode" not in first
    assert "gemini: no gemini (try: npm install)" in first
    assert "  gemini: sandbox mode workspace, a budget" in as_text(rows(), Display(wide=True))


def test_nothing_is_left_out_of_the_data() -> None:
    first = json.loads(json.dumps(as_data(rows())))["backends"][0]
    assert (first["name"], first["ready"], first["version"], first["remedy"]) == ("gemini", False, None, "npm install")
    assert first["capabilities"]["budget"] is False


def test_a_backend_that_can_all_lacks_nothing() -> None:
    everything = Capabilities(
        sandbox_modes=frozenset(load_backends(Settings(), {})["codex"].capabilities.sandbox_modes),
        max_steps=True,
        budget=True,
        sessions=True,
    )
    assert lacking(everything) == []
