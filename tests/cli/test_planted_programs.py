"""An agent that plants programs in git's shared configuration, and every command that a user may type afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.console import Architect
from support.landing_runs import commit
from support.repositories import git

PLANT = """
config="git config -f $COMMON/config"
for program in filter.x.clean filter.x.smudge merge.x.driver diff.x.textconv diff.x.command core.fsmonitor \\
    diff.external core.sshCommand core.askPass core.editor core.pager gpg.program credential.helper core.gitProxy \\
    remote.origin.uploadpack; do
    $config $program "$TRAP"
done
$config core.hooksPath "$COMMON/planted"
mkdir -p "$COMMON/planted"
for hook in post-checkout post-merge pre-push reference-transaction post-index-change pre-commit; do
    cp "$TRAP" "$COMMON/planted/$hook"
done
echo '* filter=x merge=x diff=x' > .gitattributes
echo "theirs $1" >> README.md
"""


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "the-trap-was-run"


@pytest.fixture
def planted(architect: Architect, tmp_path: Path, canary: Path) -> Architect:
    """A run of two workers whose agents planted everything, and a main that went on."""
    root = architect.cwd
    remote = tmp_path / "remote.git"
    git(root, "clone", "-q", "--bare", root, remote)
    git(root, "remote", "add", "origin", remote)
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch '{canary}'\nexec cat\n")
    trap.chmod(0o755)
    (tmp_path / "plant").write_text(f"COMMON={root}/.git; TRAP={trap}\n{PLANT}")
    answer = architect(
        "parallel", f"sh {tmp_path}/plant one", "--task", f"sh {tmp_path}/plant two; exit 3", "--backend", "shell",
        "--tripwire", "warn", "-q",
    )  # fmt: skip
    assert answer.code == 1, answer
    assert "not used until `architect config trust`" in answer.err
    canary.unlink(missing_ok=True)  # an agent's own git may have run it
    return architect


def test_plain_git_runs_what_was_planted(planted: Architect, canary: Path) -> None:
    """The control."""
    git(planted.cwd, "merge", "--no-edit", "architect/parallel-1", check=False)
    assert canary.exists()


@pytest.mark.parametrize(
    "commands",
    [
        ("status latest", "diff latest 1", "compare latest", "report latest", "doctor"),
        ("resume latest", "parallel --continue latest 1 true"),
        ("merge latest 1 --push", "merge latest 1", "undo"),
        ("parallel true --backend shell --workers 1 -q", "parallel-cleanup --force", "undo"),
    ],
)
def test_no_command_runs_what_was_planted(planted: Architect, canary: Path, commands: tuple[str, ...]) -> None:
    for command in commands:
        answer = planted(*command.split())
        assert not canary.exists(), (command, answer)
        assert answer.code in (0, 1, 3), answer
        if command.endswith("--push"):
            assert answer.code == 3
            assert "core.sshcommand" in answer.err
            assert "architect config trust" in answer.err
        if command.startswith(("merge latest 1", "undo")) and not command.endswith("--push"):
            assert answer.code == 0, answer


def test_trust_shows_what_was_planted_and_lets_it_run(planted: Architect, canary: Path) -> None:
    shown = planted("config", "trust", "--dry-run")
    assert shown.code == 0, shown
    assert "filter.x.clean = " in shown.out
    assert f"({planted.cwd}/.git/config)" in shown.out
    assert planted("config", "trust", "--json").json["trusted"] is True
    again = planted("config", "trust")
    assert again.code == 4  # nothing waits any more, and there is no file to trust
    git(planted.cwd, "config", "core.fsmonitor", "false")
    assert planted("merge", "latest", "1").code == 0
    assert canary.exists()


def test_only_what_waits_in_gits_configuration_is_trusted_with_it(planted: Architect) -> None:
    """The file may have come from the same agent."""
    (planted.cwd / ".architect-parallel.yaml").write_text("worktrees: {setup: [make deps]}\n")
    first = planted("config", "trust")
    assert "filter.x.clean" in first.out
    assert "make deps" not in first.out
    assert "make deps" in planted("config", "trust").out


def test_a_configuration_of_the_users_own_needs_no_trust(architect: Architect, canary: Path) -> None:
    git(architect.cwd, "config", "filter.x.smudge", f"touch {canary}; cat")
    commit(architect.cwd, {".gitattributes": "* filter=x\n"})
    answer = architect("parallel", "echo x > mine", "--backend", "shell", "--workers", "1", "--json")
    assert answer.code == 0
    assert answer.json["warnings"] == []
    assert canary.exists()
    assert not os.path.exists(architect.cwd / ".git" / "architect" / "programs.json")
