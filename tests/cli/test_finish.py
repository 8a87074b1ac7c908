"""The end of a run, told to the user's own command and terminal."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from support.console import Architect
from support.terminals import Terminal

CONFIG = "config.yaml"


def test_the_users_command_gets_the_result_and_its_failure_is_a_warning(
    architect: Architect, checkout: Path, home: Path, tmp_path: Path
) -> None:
    own = home / ".config" / "architect-parallel" / CONFIG
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"on_finish": f"cat > {shlex.quote(str(tmp_path / 'result'))}; echo no >&2; exit 3"}))
    (checkout / ".architect-parallel.yaml").write_text(json.dumps({"on_finish": "touch planted"}))

    answer = architect("parallel", "true", "--backend", "shell", "--workers", "1", "--json")

    assert answer.code == 0
    assert json.loads((tmp_path / "result").read_text()) == answer.json
    assert "warning: on_finish: ended with exit code 3: no" in answer.err
    assert ".architect-parallel.yaml: ignored: on_finish (only your own configuration may set it)" in answer.err
    assert not (checkout / "planted").exists()


def test_a_terminal_hears_of_it_where_the_user_wants_it(architect: Architect, home: Path) -> None:
    own = home / ".config" / "architect-parallel" / CONFIG
    own.parent.mkdir(parents=True)
    seen = {}
    for notify in ("always", "auto"):
        own.write_text(json.dumps({"ui": {"notify": notify}}))
        terminal = Terminal(architect.cwd, "parallel", "true", "--backend", "shell", "--workers", "1")
        try:
            assert terminal.ends() == 0
            assert terminal.text
            seen[notify] = terminal.written
        finally:
            terminal.close()
    assert b"\x07\x1b]9;architect success: 1 OK\x1b\\\x1b]2;architect success: 1 OK\x1b\\" in seen["always"]
    assert b"\x07" not in seen["auto"], "a short run ends quietly"
