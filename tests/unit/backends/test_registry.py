"""Backends by name, and the shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.backends.base import Request, Text, Tokens
from architect_parallel.backends.registry import BUILT_IN, load_backends, require_backend
from architect_parallel.backends.shell import LastLines, ShellBackend
from architect_parallel.domain import BackendSettings, Outcome, Settings
from architect_parallel.errors import UsageError


def request(tmp_path: Path, prompt: str) -> Request:
    return Request(prompt=prompt, prompt_file=tmp_path / "prompt", worktree=tmp_path, state_dir=tmp_path)


def test_described_backends_come_after_the_built_in_ones() -> None:
    settings = Settings(
        backends={"mytool": BackendSettings(command=("mytool",)), "claude": BackendSettings(env=("X",))}
    )
    backends = load_backends(settings, {})
    assert list(backends) == [*BUILT_IN, "mytool"]
    assert "X" in backends["claude"].environment
    assert all(name == backend.name for name, backend in backends.items())


def test_a_wrong_description_is_found_at_load() -> None:
    with pytest.raises(UsageError, match=r"backends\.mytool\.command"):
        load_backends(Settings(backends={"mytool": BackendSettings(command=("mytool", "{x}"))}), {})


def test_an_unknown_backend_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'claude'"):
        require_backend(load_backends(Settings(), {}), "cluade")


def test_the_shell_gets_the_command_as_it_is(tmp_path: Path) -> None:
    command = ShellBackend(environ={}).command(request(tmp_path, "echo 'a b' > x && false"))
    assert command.argv == ("/bin/sh", "-c", "echo 'a b' > x && false")


def test_a_shell_commands_cost_is_a_known_zero(tmp_path: Path) -> None:
    reader = ShellBackend(environ={}).reader(request(tmp_path, "true"))
    (told,) = [fact for fact in reader.poll() if isinstance(fact, Tokens)]
    assert told.usage.reported_cost == 0.0
    assert [fact for fact in reader.poll() if isinstance(fact, Tokens)] == []


def test_a_flood_of_lines_shows_one_line_a_poll(tmp_path: Path) -> None:
    reader = ShellBackend(environ={}).reader(request(tmp_path, "yes"))
    assert [fact for number in range(1_000) for fact in reader.line(b"line %d" % number)] == []
    assert Text(text="line 999") in list(reader.poll())
    assert list(reader.poll()) == []


@pytest.mark.parametrize(
    ("exit_code", "outcome"),
    [(0, Outcome.COMPLETED), (1, Outcome.ERROR), (-9, Outcome.ERROR), (None, Outcome.NO_FINAL_EVENT)],
)
def test_the_exit_code_is_the_shells_word(tmp_path: Path, exit_code: int | None, outcome: Outcome) -> None:
    reader = ShellBackend(environ={}).reader(request(tmp_path, "x"))
    assert reader.ending(exit_code, "").outcome is outcome


def test_last_lines_stay_within_their_bytes() -> None:
    lines = LastLines(100)
    for number in range(1_000):
        lines.add(b"line %d" % number)
    assert len(lines.raw) <= 100
    assert lines.raw.endswith("line 998\nline 999")
    lines.add(b"x" * 10_000)
    assert lines.raw == "x" * 100
    for letters, kept in (("設" * 100, "設" * 33), ("😀" * 100 + "a", "😀" * 24 + "a")):
        lines.add(letters.encode())
        assert lines.raw == kept, "not from the midst of a letter"
