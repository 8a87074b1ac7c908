"""`system.programs`: what agents write into git's configuration runs nothing of ours, whichever command comes next."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import commit, ended_run
from support.repositories import git, make_repository

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal import Journal
from architect_parallel.landing import cleanup, undo
from architect_parallel.landing.compare import compare
from architect_parallel.landing.merge import Method, execute, plan_merge
from architect_parallel.system import git_settings
from architect_parallel.system.git import Git, Repository, open_repository
from architect_parallel.system.git_environment import scrubbed_environment
from architect_parallel.worktrees.create import add_worktree

LINES = "".join(f"line {number}\n" for number in range(20))
ATTRIBUTES = "*.txt filter=x merge=x diff=x\n"

PLANTED = {
    # Each is done to the shared configuration while an agent runs.
    "clean": 'git config -f "$COMMON/config" filter.x.clean "$TRAP"',
    "smudge": 'git config -f "$COMMON/config" filter.x.smudge "$TRAP"',
    "process": 'git config -f "$COMMON/config" filter.x.process "$TRAP"',
    "merge-driver": 'git config -f "$COMMON/config" merge.x.driver "$TRAP"',
    "text-conversion": 'git config -f "$COMMON/config" diff.x.textconv "$TRAP"',
    "diff-driver": 'git config -f "$COMMON/config" diff.x.command "$TRAP"',
    "external-diff": 'git config -f "$COMMON/config" diff.external "$TRAP"',
    "file-monitor": 'git config -f "$COMMON/config" core.fsmonitor "$TRAP"',
    "hooks": 'mkdir -p "$COMMON/hooks"; for hook in post-checkout post-merge reference-transaction; do '
    'cp "$TRAP" "$COMMON/hooks/$hook"; done',
    "hooks-path": 'mkdir "$COMMON/h"; cp "$TRAP" "$COMMON/h/post-merge"; '
    'git config -f "$COMMON/config" core.hooksPath "$COMMON/h"',
    "included": 'git config -f "$COMMON/more" filter.x.smudge "$TRAP"; '
    'git config -f "$COMMON/config" include.path more',
    "included-by-condition": 'git config -f "$COMMON/more" filter.x.smudge "$TRAP"; '
    'git config -f "$COMMON/config" includeIf.gitdir:/.path "$COMMON/more"',
    "worktree-configuration": 'git config -f "$COMMON/config" extensions.worktreeConfig true; '
    'git config -f "$COMMON/config.worktree" filter.x.smudge "$TRAP"',
    "the-user's-configuration": 'git config --global filter.x.smudge "$TRAP"',
    "attributes-of-the-repository": 'echo "* filter=y" > "$COMMON/info/attributes"; '
    'git config -f "$COMMON/config" filter.y.smudge "$TRAP"',
}  # fmt: skip


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "the-trap-was-run"


@pytest.fixture
def trap(tmp_path: Path, canary: Path) -> Path:
    """A program that leaves the canary and behaves as a filter that changes nothing."""
    program = tmp_path / "trap"
    program.write_text(f"#!/bin/sh\ntouch '{canary}'\nexec cat\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """`text.txt` with lines of which the result changes the first and main, later, the last."""
    return open_repository(make_repository(tmp_path / "repo", {"text.txt": LINES, ".gitattributes": ATTRIBUTES}))


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


def made_result(repository: Repository, journal: Journal, run_id: str = "run", first: int = 1) -> None:
    ended_run(repository, journal, run_id, {"text.txt": LINES.replace("line 0\n", f"{run_id}\n")}, first=first)
    commit(repository.root, {"text.txt": LINES.replace("line 19\n", "ours\n")})


def head(repository: Repository) -> str:
    return git(repository.root, "rev-parse", "HEAD")


def act(repository: Repository, script: str, trap: Path) -> None:
    """Runs what an agent does."""
    subprocess.run(
        ["sh", "-ec", script],
        cwd=repository.root,
        env={**os.environ, "COMMON": os.fspath(repository.common_dir), "TRAP": os.fspath(trap)},
        check=True,
    )


def plain_git_falls_for_it(root: Path, branch: str) -> None:
    """What a user would type, in a copy."""
    for words in (("merge", "--no-edit", branch), ("diff", "HEAD~1"), ("status",)):
        git(root, *words, check=False)
    (root / "text.txt").write_text("changed\n")
    git(root, "diff", check=False)


@pytest.mark.parametrize(
    ("planted", "method"),
    [
        *((planted, Method.MERGE) for planted in PLANTED),
        *((planted, method) for planted in ("merge-driver", "smudge") for method in (Method.SQUASH, Method.REBASE)),
    ],
)
def test_nothing_that_came_while_agents_ran_is_run(
    repository: Repository, journal: Journal, tmp_path: Path, trap: Path, canary: Path, planted: str, method: Method
) -> None:
    made_result(repository, journal)
    with repository.programs.agents_running():
        act(repository, PLANTED[planted], trap)
    copy = tmp_path / "copy"
    shutil.copytree(repository.root, copy, symlinks=True)
    plain_git_falls_for_it(copy, "architect/parallel-1")
    assert canary.exists(), "the trap does not work"
    canary.unlink()

    compare(repository, journal.result("run"))
    assert not canary.exists()
    execute(repository, journal, plan_merge(repository, journal, "run", 1, method=method))
    assert not canary.exists()
    assert (repository.root / "text.txt").read_text() == LINES.replace("line 0\n", "run\n").replace(
        "line 19\n", "ours\n"
    )
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert not canary.exists()
    add_worktree(
        repository, path=tmp_path / "next", branch="architect/parallel-2", base_commit=head(repository), run_id="next"
    )  # fmt: skip
    cleanup.execute(repository, journal, cleanup.plan_cleanup(repository, journal))
    assert not canary.exists()


def test_while_agents_run_git_reads_what_was_recorded(repository: Repository, trap: Path, canary: Path) -> None:
    """No look at the files precedes a use of them: what is written at any moment of a run has no effect."""
    root = repository.root
    with repository.programs.agents_running():
        for _ in range(2):  # the second time, what was there already is new to nobody
            act(repository, PLANTED["clean"], trap)
            (root / "text.txt").write_text("changed\n")
            Git(cwd=root).run("status", "--porcelain")
            Git(cwd=root).run("add", "text.txt")
            Git(cwd=root).run("reset", "--hard", "--quiet")
    assert not canary.exists()
    (root / "text.txt").write_text("changed again\n")
    git(root, "add", "text.txt")
    assert canary.exists()


def test_a_sealed_copy_that_an_agent_alters_is_restored(repository: Repository, trap: Path, canary: Path) -> None:
    with repository.programs.agents_running():
        Git(cwd=repository.root).run("status")
        for copy in (repository.state_dir / "programs").glob("*/config"):
            git(repository.root, "config", "-f", copy, "filter.x.clean", trap)
        (repository.root / "text.txt").write_text("changed\n")
        Git(cwd=repository.root).run("add", "text.txt")
    assert not canary.exists()


def test_programs_of_the_user_run_as_ever(repository: Repository, journal: Journal, trap: Path, canary: Path) -> None:
    """From before the run, and from after it; the same for what the agent wrote and the user has confirmed."""
    act(repository, PLANTED["smudge"], trap)
    made_result(repository, journal)
    canary.unlink(missing_ok=True)
    with repository.programs.agents_running() as changed:
        add_worktree(
            repository, path=repository.root.parent / "w", branch="architect/parallel-7", base_commit=head(repository),
            run_id="next",
        )  # fmt: skip
        assert canary.exists()
    assert changed == []

    git(repository.root, "config", "--unset", "filter.x.smudge")
    git(repository.root, "config", "filter.x.smudge", f"{trap} --now")
    canary.unlink()
    execute(repository, journal, plan_merge(repository, journal, "run", 1))
    assert canary.exists()

    with repository.programs.agents_running() as changed:
        git(repository.root, "config", "filter.x.smudge", f"{trap} --later")
    assert changed == ["filter.x.smudge"]
    canary.unlink()
    (repository.root / "text.txt").unlink()
    Git(cwd=repository.root).run("reset", "--hard", "--quiet")
    assert not canary.exists()
    waiting = repository.programs.unconfirmed()
    assert [(each.key, each.value, each.origin) for each in waiting.added] == [
        ("filter.x.smudge", f"{trap} --later", str(repository.common_dir / "config"))
    ]
    repository.programs.confirm(waiting)
    assert repository.programs.unconfirmed().keys == ()
    (repository.root / "text.txt").unlink()
    Git(cwd=repository.root).run("reset", "--hard", "--quiet")
    assert canary.exists()


def test_what_a_merge_lands_in_an_included_file_is_not_run(
    repository: Repository, journal: Journal, trap: Path, canary: Path
) -> None:
    """The user includes a file of the repository; no agent runs when the change of it arrives."""
    commit(repository.root, {"shared.gitconfig": ""})
    git(repository.root, "config", "include.path", "../shared.gitconfig")
    planted = f'[filter "x"]\n\tclean = {trap}\n\tsmudge = {trap}\n'
    ended_run(repository, journal, "run", {"shared.gitconfig": planted, "text.txt": "new\n"})
    commit(repository.root, {"other": ""})
    outcome = execute(repository, journal, plan_merge(repository, journal, "run", 1))
    assert any("filter.x.clean, filter.x.smudge" in warning for warning in outcome.warnings)
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    assert not canary.exists()
    git(repository.root, "merge", "architect/parallel-1")
    (repository.root / "text.txt").write_text("changed\n")
    git(repository.root, "add", "text.txt")
    assert canary.exists()


def test_a_launcher_that_was_killed_leaves_what_came_since_unconfirmed(
    repository: Repository, trap: Path, canary: Path
) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            running = repository.programs.agents_running()
            running.__enter__()
            act(repository, PLANTED["clean"], trap)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    (repository.root / "text.txt").write_text("changed\n")
    Git(cwd=repository.root).run("add", "text.txt")
    assert not canary.exists()
    assert repository.programs.unconfirmed().keys == ("filter.x.clean",)


def test_a_configuration_that_an_agent_broke_confirms_nothing(repository: Repository, trap: Path, canary: Path) -> None:
    config = repository.common_dir / "config"
    before = config.read_bytes()
    with repository.programs.agents_running():
        config.write_text("[core\n")
    config.write_bytes(before)
    act(repository, PLANTED["clean"], trap)
    (repository.root / "text.txt").write_text("changed\n")
    Git(cwd=repository.root).run("add", "text.txt")
    assert not canary.exists()
    assert repository.programs.unconfirmed().keys == ("filter.x.clean",)


def test_an_entry_that_was_removed_is_named_until_it_is_confirmed(repository: Repository) -> None:
    git(repository.root, "config", "http.sslVerify", "true")
    with repository.programs.agents_running() as changed:
        git(repository.root, "config", "--unset", "http.sslVerify")
    assert changed == ["http.sslverify"]
    waiting = repository.programs.unconfirmed()
    assert (waiting.added, waiting.removed) == ((), ("http.sslverify",))
    repository.programs.confirm(waiting)
    assert repository.programs.unconfirmed().keys == ()


def test_two_runs_at_once_confirm_nothing_for_each_other(repository: Repository, trap: Path) -> None:
    with repository.programs.agents_running() as outer:
        act(repository, PLANTED["clean"], trap)
        with repository.programs.agents_running() as inner:
            pass
        assert inner == []  # an agent of the first one still runs
    assert outer == ["filter.x.clean"]
    with repository.programs.agents_running() as third:
        assert repository.programs.unconfirmed().keys == ("filter.x.clean",)
    assert third == []


def test_worktrees_with_settings_of_their_own(repository: Repository, tmp_path: Path, trap: Path) -> None:
    """A sparse checkout keeps its patterns while agents run, and a program in such a file needs confirmation."""
    git(repository.root, "sparse-checkout", "set", "--no-cone", "/text.txt")
    commit(repository.root, {"text.txt": "sparse\n"})
    with repository.programs.agents_running() as changed:
        made = add_worktree(
            repository, path=tmp_path / "w", branch="architect/parallel-1", base_commit=head(repository), run_id="next"
        )
        assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [".git", "text.txt"]
        git(tmp_path / "w", "config", "--worktree", "filter.x.clean", trap)
        (tmp_path / "w" / "text.txt").write_text("changed\n")
        Git(cwd=tmp_path / "w").run("status")
        assert made.admin_dir.is_dir()
    assert changed == ["filter.x.clean"]


def test_secrets_of_the_configuration_are_private(repository: Repository) -> None:
    git(repository.root, "config", "http.extraHeader", "Authorization: hush")
    with repository.programs.agents_running():
        files = [path for path in repository.state_dir.rglob("*") if path.is_file() and b"hush" in path.read_bytes()]
        assert files
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert b"hush" not in (repository.state_dir / "programs.json").read_bytes()


def test_a_record_that_cannot_be_read_is_an_error_with_a_hint(repository: Repository) -> None:
    repository.state_dir.mkdir(exist_ok=True)
    (repository.state_dir / "programs.json").write_text("{}")
    with pytest.raises(EnvironmentProblem, match=r"programs\.json cannot be read") as raised:
        Git(cwd=repository.root).run("status")
    assert raised.value.hint == f"rm {repository.common_dir}/architect/programs.json"


@pytest.mark.parametrize(
    "key",
    [
        *("core.sshcommand", "core.askpass", "core.editor", "core.pager", "core.gitproxy", "core.hookspath"),
        *("filter.a.b.clean", "merge.x.driver", "diff.x.textconv", "diff.x.command", "diff.external"),
        *("credential.helper", "credential.https://x.helper", "gpg.program", "gpg.ssh.program", "http.proxy"),
        *("remote.o.url", "remote.o.uploadpack", "remote.o.vcs", "url.ssh://x/.insteadof", "protocol.ext.allow"),
        *("include.path", "includeif.gitdir:/.path", "trailer.x.cmd", "sendemail.smtpserver", "alias.lfs"),
        *("submodule.x.update", "ssh.variant", "lfs.url", "lfs.customtransfer.x.path", "lfs.extension.x.clean"),
    ],
)
def test_keys_that_run_or_redirect_something(key: str) -> None:
    assert git_settings.Setting(key=key, value="x", origin="", scope="local").is_program


@pytest.mark.parametrize("key", ["branch.main.remote", "user.name", "core.bare", "lfs.https://x.access", "merge.ff"])
def test_keys_that_do_not(key: str) -> None:
    assert not git_settings.Setting(key=key, value="x", origin="", scope="local").is_program


def test_a_sealed_copy_says_what_git_says(repository: Repository, home: Path) -> None:
    """Every odd value survives the writing: quotes, backslashes, newlines, no value, several values, sub-sections."""
    root = repository.root
    for key, value in [
        ("alias.odd", ' a "b" \\ c # d ; e\nf\tg '), ("x.y.Z", ""), ("http.https://a.b/c?d.extraHeader", "one"),
        ("http.https://a.b/c?d.extraHeader", "two"), ('branch.we"ird\\name.remote', "origin"), ("a.b", "ü"),
    ]:  # fmt: skip
        git(root, "config", "--add", key, value)
    with (repository.common_dir / "config").open("a") as file:
        file.write("[novalue]\n\tkey\n")
    (home / "more").write_text("[included]\n\tin = yes\n")
    git(root, "config", "--global", "include.path", str(home / "more"))
    outside = scrubbed_environment(os.environ)
    listing = ("git", "config", "--list", "-z")
    wanted = subprocess.run(listing, cwd=root, env=outside, capture_output=True, check=True).stdout.split(b"\0")
    with repository.programs.agents_running():
        _, environment = Git(cwd=root).command("status")
        found = subprocess.run(listing, cwd=root, env=environment, capture_output=True, check=True).stdout.split(b"\0")
    assert [each for each in found if not each.startswith(b"lfs.")] == [
        each for each in wanted if not each.startswith(b"include.path")
    ]
