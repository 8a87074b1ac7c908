"""Where a backend's program is, and values read out of JSON."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from architect_parallel.backends import reader_tools as read
from architect_parallel.backends.program import (
    fits_argument,
    locate,
    plain_amount,
    program_availability,
    program_prefix,
)
from architect_parallel.domain import BackendSettings
from architect_parallel.errors import UsageError


def program(directory: Path, name: str, mode: int = 0o755) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_a_program_on_path_becomes_absolute(tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "tool")
    assert locate(("tool", "--flag"), {"PATH": f"/nonexistent:{tmp_path}/bin"}) == (str(path), "--flag")


def test_relative_entries_of_path_are_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "tool")
    monkeypatch.chdir(tmp_path)
    assert locate(("tool",), {"PATH": "bin:."}) == ("tool",)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("gone", "is not on PATH"), ("{dir}/gone", "there is no program"), ("{dir}/plain", "is not executable")],
)
def test_a_program_that_cannot_start_is_named(tmp_path: Path, name: str, missing: str) -> None:
    program(tmp_path, "plain", 0o644)
    found = program_availability((name.format(dir=tmp_path),), {"PATH": str(tmp_path)}, install="install it")
    assert missing in (found.missing or "")
    assert found.remedy


def test_a_built_in_backend_takes_no_template() -> None:
    assert program_prefix("claude", "claude", BackendSettings(command=("nice", "claude"))) == ("nice", "claude")
    with pytest.raises(UsageError, match=r"backends\.claude\.command"):
        program_prefix("claude", "claude", BackendSettings(command=("claude", ("--model", "{model}"))))


@pytest.mark.parametrize(
    ("prompt", "fits"),
    [("do it", True), ("-x", False), ("", True), ("é" * 32_768, True), ("é" * 32_769, False)],
)
def test_long_prompts_and_those_like_options_do_not_fit_argv(prompt: str, fits: bool) -> None:
    assert fits_argument(prompt) is fits


@pytest.mark.parametrize(("amount", "text"), [(2.0, "2"), (0.02, "0.02"), (1e-7, "0.0000001"), (1250.5, "1250.5")])
def test_amounts_have_no_exponent(amount: float, text: str) -> None:
    assert plain_amount(amount) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.01, True, "1", None, 10**400])
def test_no_money(value: object) -> None:
    assert read.money(value) is None


@pytest.mark.parametrize("value", [-1, 1.5, True, "3", None, math.inf, math.nan, 2**60])
def test_no_count(value: object) -> None:
    assert read.count(value) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"nope", b"{", b'{"a": ' + b"[" * 100_000, b"\xff\xfe{}", b"9" * 5000])
def test_what_is_no_object_is_nothing(data: bytes) -> None:
    assert read.parse_object(data) is None


def test_dotted_keys_reach_down() -> None:
    assert read.dotted({"costs": {"total": 2}}, "costs.total") == 2
    assert read.dotted({"costs": [1]}, "costs.total") is None
