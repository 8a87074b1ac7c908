"""`path`, `open`, `shell`, `attach`: a person goes to where a worker worked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.console import Architect, wait_until, write_program

CLAUDE = """
import json, os, sys
if "-p" in sys.argv:
    open("made", "w").close()
    print(json.dumps({"type": "system", "subtype": "init", "session_id": "ses-1", "model": "m"}))
    print(json.dumps({"type": "result", "subtype": "success", "is_error": False, "result": "done", "num_turns": 1,
                      "session_id": "ses-1", "total_cost_usd": 0.5, "usage": {}, "modelUsage": {}}))
else:
    print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "key": os.environ.get("ANTHROPIC_API_KEY")}))
"""
EDITOR = "import json, os, sys\nprint(json.dumps([*sys.argv[1:], os.getcwd()]))\n"


@pytest.fixture
def ran(architect: Architect, checkout: Path) -> Path:
    """The worktree of the one worker of a run."""
    answer = architect("parallel", "echo 1 > f", "--backend", "shell", "--workers", "1", "--json")
    return Path(answer.json["results"][0]["worktree_path"])


def test_path_is_for_cd(architect: Architect, ran: Path) -> None:
    assert architect("path", "1").out == f"{ran}\n"
    assert architect("path").out == f"{ran}\n"  # the only worker needs no name
    assert architect("path", "architect/parallel-1", "--json").json["path"] == str(ran)
    unknown = architect("path", "2")
    assert (unknown.code, unknown.out) == (2, "")
    assert architect("clean", "--force").code == 0
    gone = architect("path", "1")
    assert (gone.code, gone.out) == (3, "")
    assert gone.err.splitlines() == [
        f"architect: worker 1 has no directory {ran}",
        "  try: architect undo (after a cleanup)",
    ]


def test_shell_has_the_environment_of_the_worker(architect: Architect, ran: Path) -> None:
    env = {"SHELL": "/bin/sh", "OPENAI_API_KEY": "secret-key"}
    answer = architect("shell", "1", stdin=b"pwd; git branch --show-current; env; exit 3\n", env=env)
    where, branch, *variables = answer.out.splitlines()
    assert (answer.code, where, branch) == (3, str(ran), "architect/parallel-1")
    assert f"GIT_CEILING_DIRECTORIES={ran.parent}" in variables
    assert "OPENAI_API_KEY=secret-key" not in variables  # the shell backend's agents do not get it either


def test_a_shell_ends_by_a_broken_pipe_as_it_does_everywhere(architect: Architect, ran: Path) -> None:
    """Python ignores the signal; a program that inherits this writes for ever to a reader that has gone."""
    blocked = architect("shell", "1", stdin=b"grep SigIgn /proc/self/status\n", env={"SHELL": "/bin/sh"}).out
    assert int(blocked.split()[1], 16) & (1 << 12) == 0


@pytest.mark.parametrize(
    ("env", "editor"), [({"VISUAL": "my-editor --wait", "EDITOR": "x"}, ["--wait"]), ({"EDITOR": "my-editor"}, [])]
)
def test_open_takes_the_users_editor(
    architect: Architect, ran: Path, tmp_path: Path, env: dict[str, str], editor: list[str]
) -> None:
    write_program(tmp_path / "my-editor", EDITOR)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert json.loads(architect("open", "1", env=env | path).out) == [*editor, str(ran), str(ran)]


def test_the_configured_editor_comes_first_but_not_from_a_cloned_repository(
    architect: Architect, ran: Path, tmp_path: Path, checkout: Path
) -> None:
    write_program(tmp_path / "chosen", EDITOR)
    (tmp_path / "c.yaml").write_text(f"ui: {{editor: '{tmp_path}/chosen -n'}}\n")
    opened = architect("open", "1", "-c", str(tmp_path / "c.yaml"), env={"VISUAL": "nope"})
    assert json.loads(opened.out) == ["-n", str(ran), str(ran)]
    (checkout / ".architect-parallel.yaml").write_text(f"ui: {{editor: '{tmp_path}/chosen'}}\n")
    refused = architect("open", "1", env={"VISUAL": "nope"})
    assert (refused.code, refused.out) == (3, "")
    assert refused.err.startswith("architect: there is no editor 'nope'\n")


def test_attach_opens_the_agents_own_session(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    write_program(tmp_path / "claude", CLAUDE)
    env = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "ANTHROPIC_API_KEY": "the-key"}
    ran = architect("parallel", "do it", "--backend", "claude", "--workers", "1", "--json", env=env)
    assert ran.code == 0, ran.err
    attached = json.loads(architect("attach", "1", env=env).out)
    worktree = ran.json["results"][0]["worktree_path"]
    assert attached == {"argv": ["--resume", "ses-1"], "cwd": worktree, "key": "the-key"}


def test_attach_needs_a_session_and_an_end(architect: Architect, ran: Path, checkout: Path) -> None:
    none = architect("attach", "1")
    assert (none.code, "worker 1 (shell) has no session to open" in none.err) == (4, True)
    process = architect.begin("parallel", "touch ../begun; sleep 60", "--backend", "shell", "--workers", "1")
    wait_until((checkout / "begun").exists, "the start")
    live = architect("attach", "1")
    assert (live.code, "worker 1 has not ended yet" in live.err) == (3, True)
    assert architect("path", "1").code == 0  # a look does no harm
    architect("cancel")
    architect.finish(process)
