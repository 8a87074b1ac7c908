"""Attacks on the repository around a worker: what plain `git status` does not show, and git obeys later."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.repositories import git, make_repository

from architect_parallel import ParallelConfig, ParallelRunner
from architect_parallel.domain import Status, TripwireMode
from architect_parallel.system.git import open_repository
from architect_parallel.tripwire.checkout import MainCheckout
from architect_parallel.worktrees.places import exclude_from_status

SUBMODULE = ".git/modules/a/b"
DATED_BACK = "cp -p {0} keep; printf '#!/bin/sh\\nevil\\n' > {0}; touch -r keep {0}; rm keep"
ATTACKS = {
    "hook": ("echo x > .git/hooks/post-merge", ".git/hooks/post-merge"),
    "hook-made-executable": ("chmod +x .git/hooks/mine", ".git/hooks/mine"),
    "hook-dated-back": (DATED_BACK.format(".git/hooks/mine"), ".git/hooks/mine"),
    "hook-behind-a-link": ("ln -s /bin/true .git/hooks/pre-push", ".git/hooks/pre-push"),
    "hook-in-the-user's-directory": ("echo x > .hooks/pre-push", ".hooks/pre-push"),
    "hook-in-the-user's-directory-dated-back": (DATED_BACK.format(".hooks/mine"), ".hooks/mine"),
    "hooks-path": ("git config core.hooksPath /elsewhere", "config: core.hookspath"),
    "alias": ("git config alias.st '!evil'", "config: alias.st"),
    "pager": ("git config core.pager evil", "config: core.pager"),
    "editor": ("git config core.editor evil", "config: core.editor"),
    "ssh-command": ("git config core.sshCommand evil", "config: core.sshcommand"),
    "remote": ("git config remote.origin.url /elsewhere", "config: remote.origin.url"),
    "upstream-of-a-branch": ("git config branch.main.remote /elsewhere", "config: branch.main.remote"),
    "upstream-of-a-new-branch": ("git config branch.new.pushRemote https://x", "config: branch.new.pushremote"),
    "upstream-branch": ("git config branch.main.merge refs/heads/evil", "config: branch.main.merge"),
    "another-url": ("git config url./elsewhere/.insteadOf https://", "config: url./elsewhere/.insteadof"),
    "config-dated-back": (
        "cp -p .git/config keep; sed 's/value/evils/' keep > .git/config; touch -r keep .git/config; rm keep",
        "config: user.known",
    ),
    "config-by-include": ("git config include.path /elsewhere", "config: include.path"),
    "config-of-the-main-worktree": (
        "git config extensions.worktreeConfig true; git config -f .git/config.worktree core.pager evil",
        "config: core.pager",
    ),
    "config-of-the-user's-other-worktree": (
        "git config -f .git/worktrees/other/config.worktree core.fsmonitor evil",
        ".git/worktrees/other/config.worktree",
    ),
    "user's-own-configuration": ("git config --global core.editor evil", "config: core.editor"),
    "config-broken": ("echo '[core' > .git/config", "config"),
    "attributes": ("echo '* filter=x' > .git/info/attributes", ".git/info/attributes"),
    "excludes": ("echo '*.py' >> .git/info/exclude", ".git/info/exclude"),
    "grafts": ("git rev-parse HEAD > .git/info/grafts", ".git/info/grafts"),
    "sparse": ("echo '/*' > .git/info/sparse-checkout", ".git/info/sparse-checkout"),
    "shallow": ("git rev-parse HEAD > .git/shallow", ".git/shallow"),
    "alternates": ("echo /elsewhere > .git/objects/info/alternates", ".git/objects/info/alternates"),
    "replaced-object": ("git replace -f HEAD topic", "refs/replace/"),
    "submodule-config": (f"git config -f {SUBMODULE}/config core.fsmonitor evil", f"{SUBMODULE}/config"),
    "submodule-hook": (f"echo x > {SUBMODULE}/hooks/post-checkout", f"{SUBMODULE}/hooks/post-checkout"),
    "submodule-attributes": (f"echo '* filter=x' > {SUBMODULE}/info/attributes", f"{SUBMODULE}/info/attributes"),
    "submodule-alternates": (
        f"echo /elsewhere > {SUBMODULE}/objects/info/alternates",
        f"{SUBMODULE}/objects/info/alternates",
    ),
    "rebase": ("mkdir .git/rebase-merge; echo 'exec evil' > .git/rebase-merge/git-rebase-todo", ".git/rebase-merge"),
    "rebase-by-mail": ("mkdir .git/rebase-apply", ".git/rebase-apply"),
    "sequencer": ("mkdir .git/sequencer; echo 'pick HEAD' > .git/sequencer/todo", ".git/sequencer"),
    "merge-to-be-committed": ("git rev-parse topic > .git/MERGE_HEAD", ".git/MERGE_HEAD"),
    "cherry-pick-to-be-committed": ("git rev-parse topic > .git/CHERRY_PICK_HEAD", ".git/CHERRY_PICK_HEAD"),
    "branch-moved": ("git update-ref refs/heads/topic HEAD", "refs/heads/topic"),
    "branch-moved-and-packed": ("git update-ref refs/heads/topic HEAD; git pack-refs --all", "refs/heads/topic"),
    "tag-moved": ("git update-ref refs/tags/v1 topic", "refs/tags/v1"),
    "kept-work-removed": ("git update-ref -d refs/architect/keep/r/9", "refs/architect/keep/r/9"),
    "kept-work-replaced": ("git update-ref refs/architect/keep/r/9 topic", "refs/architect/keep/r/9"),
    "stash-dropped": ("git stash drop -q", "stash"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "repo", {"README": "hello\n", "a.py": "x = 1\n", ".gitignore": "/.hooks/\n"})
    git(root, "update-ref", "refs/heads/topic", git(root, "commit-tree", "-m", "alone", "HEAD^{tree}"))
    git(root, "tag", "v1")
    git(root, "worktree", "add", "-q", "--detach", tmp_path / "other")
    (root / "README").write_text("put away\n")
    git(root, "stash", "-q")
    git(root, "config", "user.known", "value")
    git(root, "config", "branch.main.remote", ".")
    git(root, "config", "branch.main.merge", "refs/heads/topic")
    git(root, "config", "core.hooksPath", ".hooks")
    git(root, "init", "-q", "--bare", SUBMODULE)
    git(root, "update-ref", "refs/architect/keep/r/9", "HEAD")
    for hook in (root / ".hooks" / "mine", root / ".git" / "hooks" / "mine"):
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nfine\n")
    exclude_from_status(open_repository(root))
    return root


@pytest.mark.parametrize("name", ATTACKS)
def test_the_repository_is_changed_behind_the_users_back(root: Path, tmp_path: Path, name: str) -> None:
    script, path = ATTACKS[name]
    before = git(root, "status", "--porcelain")
    watched = MainCheckout(open_repository(root), tmp_path / "private")
    subprocess.run(["sh", "-ec", script], cwd=root, check=True, capture_output=True)

    changed = [change.path for change in watched.changes()]

    assert any(change.startswith(path) for change in changed), changed
    after = git(root, "status", "--porcelain", check=False)
    assert after == before or name == "config-broken", "the control: git status shows nothing"


def test_control_a_touched_file_is_no_change(root: Path, tmp_path: Path) -> None:
    watched = MainCheckout(open_repository(root), tmp_path / "private")
    for name in ("config", "hooks/mine", "info/exclude", "packed-refs"):
        if (root / ".git" / name).exists():
            os.utime(root / ".git" / name)
    assert watched.changes() == []


@pytest.mark.parametrize("by", ["agent", "check"])
@pytest.mark.parametrize("mode", list(TripwireMode))
def test_a_planted_hook_passes_as_success(root: Path, by: str, mode: TripwireMode) -> None:
    """An agent plants a hook, or the check that it wrote does so."""
    hook = root / ".git" / "hooks" / "post-merge"
    plant = f"echo evil > '{hook}'"
    config = ParallelConfig(
        tasks=(plant if by == "agent" else f'echo "{plant}" > check.sh',),
        checks=("sh check.sh",) if by == "check" else (),
        backend="shell",
        workers=1,
        tripwire=str(mode),
    )
    result = ParallelRunner(config, workspace_root=root).execute()
    assert hook.exists()
    assert (result.results[0].status is Status.SUCCESS) == (mode is not TripwireMode.FAIL)
    assert (result.escaped is None) == (mode is TripwireMode.OFF), "the control: without it nobody knows"
