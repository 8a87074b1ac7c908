"""A key that is passed to an agent stays between the two: no log, journal, result or command line holds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.console import Architect, write_program

SECRET = "sk-loopback-secret-0123456789"
TELLTALE = """\
import json, os, sys, time
key = os.environ["MY_API_KEY"]
print("loud", key, file=sys.stderr)
half = len(key) // 2
sys.stdout.write("chatter " + key[:half]); sys.stdout.flush(); time.sleep(0.2)
print(key[half:], "end")
print(json.dumps({"result": "my key is " + key, "error": key, "is_error": True}))
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    program = tmp_path / "telltale"
    write_program(program, TELLTALE)
    path = tmp_path / "own.yaml"
    path.write_text(
        json.dumps({"backends": {"telltale": {"command": [str(program)], "env": ["MY_API_KEY"], "output": "json"}}})
    )
    return str(path)


def files_with(secret: str, directory: Path) -> list[str]:
    return [str(path) for path in directory.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_key_an_agent_repeats_is_blanked_everywhere(
    architect: Architect, checkout: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", SECRET)

    answer = architect("parallel", "x", "--backend", "telltale", "--workers", "1", "--json", "-c", config)

    result = answer.json["results"][0]
    assert result["output"] == "my key is [redacted]"
    assert "[redacted]" in architect("logs", "latest").out
    assert SECRET not in answer.out + answer.err
    assert files_with(SECRET, checkout) == []


def test_the_control_a_variable_that_is_not_secret_is_written_down(
    architect: Architect, checkout: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(config).write_text(Path(config).read_text().replace("MY_API_KEY", "MY_HARMLESS"))
    program = Path(json.loads(Path(config).read_text())["backends"]["telltale"]["command"][0])
    program.write_text(program.read_text().replace("MY_API_KEY", "MY_HARMLESS"))
    monkeypatch.setenv("MY_HARMLESS", SECRET)

    answer = architect("parallel", "x", "--backend", "telltale", "--workers", "1", "--json", "-c", config)

    assert SECRET in answer.out
    assert files_with(SECRET, checkout) != []
