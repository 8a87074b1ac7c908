"""`open_repository`: GitPython on trees that agents had in their hands; plain GitPython is the control each time."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import git as gitpython
import pytest
from attacks.test_collecting import RUNS
from integration.test_configured_programs import ATTRIBUTES, LINES, PLANTED
from integration.test_worker_repository import place
from support.repositories import commit_all, git, make_repository
from support.worksites import make_worksite

from architect_parallel import open_repository
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.system.git import Repository
from architect_parallel.system.git import open_repository as find_repository

OPEN_WITH = {"ours": open_repository, "plain": gitpython.Repo}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def trap(tmp_path: Path, canary: Path) -> Path:
    """A program that leaves the canary and behaves as a filter that changes nothing."""
    program = tmp_path / "trap"
    program.write_text(f"#!/bin/sh\ntouch '{canary}'\nexec cat\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """`text.txt` with lines, of which the branch `side` changes the first and main, later, the last."""
    root = make_repository(tmp_path / "repo", {"text.txt": LINES, ".gitattributes": ATTRIBUTES})
    git(root, "switch", "-qc", "side")
    (root / "text.txt").write_text(LINES.replace("line 0\n", "theirs\n"))
    commit_all(root, "theirs")
    git(root, "switch", "-q", "main")
    (root / "text.txt").write_text(LINES.replace("line 19\n", "ours\n"))
    commit_all(root, "ours")
    return find_repository(root)


def act(repository: Repository, script: str, trap: Path) -> None:
    """Run what an agent does in the main checkout."""
    env = {**os.environ, "COMMON": os.fspath(repository.common_dir), "TRAP": os.fspath(trap)}
    subprocess.run(["sh", "-ec", script], cwd=repository.root, env=env, check=True)


ACTIONS: list[Callable[[gitpython.Repo], object]] = [
    lambda repo: repo.is_dirty(untracked_files=True),
    lambda repo: repo.untracked_files,
    lambda repo: repo.index.diff(None, create_patch=True),
    lambda repo: repo.head.commit.diff(None, create_patch=True),
    lambda repo: [
        commit.diff(commit.parents[0], create_patch=True) for commit in repo.iter_commits() if commit.parents
    ],
    lambda repo: [commit.stats.files for commit in repo.iter_commits()],
    lambda repo: repo.blame(None, file_of(repo)),
    lambda repo: repo.git.log("-p", "--all"),
    lambda repo: repo.git.diff("HEAD~1"),
    lambda repo: repo.git.diff(),
    lambda repo: repo.git.status(),
    lambda repo: repo.git.grep("--textconv", "line"),
    lambda repo: repo.git.cat_file("--textconv", f"HEAD:{file_of(repo)}"),
    lambda repo: repo.git.cat_file("--filters", f"HEAD:{file_of(repo)}"),
    lambda repo: repo.git.hash_object(file_of(repo)),
    lambda repo: repo.git.describe("--dirty", "--always"),
    lambda repo: repo.git.archive("HEAD", output_stream=io.BytesIO()),
    lambda repo: repo.submodules,
    lambda repo: repo.git.add("--all", "."),
    lambda repo: (repo.git.stash("push"), repo.git.stash("pop")),
    lambda repo: repo.index.commit("by GitPython"),
    lambda repo: repo.git.commit("-am", "by git"),
    lambda repo: repo.head.reset("HEAD", index=True, working_tree=True),
    lambda repo: Path(repo.working_dir, file_of(repo)).unlink(),
    lambda repo: repo.index.checkout(force=True),
    lambda repo: repo.create_head("new"),
    lambda repo: repo.git.checkout("-f", "new"),
    lambda repo: (repo.head.reset(working_tree=True), repo.git.merge("side")),
    lambda repo: (repo.head.reset(working_tree=True), repo.git.rebase("side")),
]
"""What makes git run a program on a tree with a changed file. Errors do not matter, programs that run do."""


def file_of(repo: gitpython.Repo) -> str:
    return next((name for name in ("text.txt", "change.txt") if Path(repo.working_dir, name).exists()), "gone")


def use(repo: gitpython.Repo) -> None:
    """Do everything with `repo`."""
    changed = Path(repo.working_dir, file_of(repo))
    for action in ACTIONS:
        if changed.exists():
            changed.write_text(changed.read_text() + "changed\n")
        with contextlib.suppress(Exception):  # on damaged trees GitPython raises whatever its parsers raise
            action(repo)
    repo.close()


@pytest.mark.parametrize("planted", PLANTED)
def test_programs_that_came_while_agents_ran_are_not_run(
    repository: Repository, tmp_path: Path, trap: Path, canary: Path, planted: str
) -> None:
    with repository.programs.agents_running():
        act(repository, PLANTED[planted], trap)
        copy = tmp_path / "copy"
        shutil.copytree(repository.root, copy, symlinks=True)
        use(gitpython.Repo(copy))
        assert canary.exists(), "the trap does not work"
        canary.unlink()

        use(open_repository(repository.root))
        assert not canary.exists()
    git(repository.root, "reset", "-q", "--hard", env={"GIT_CONFIG_GLOBAL": os.devnull})
    canary.unlink(missing_ok=True)
    use(open_repository(repository.root))
    assert not canary.exists()


def test_programs_of_the_user_run(repository: Repository, trap: Path, canary: Path) -> None:
    act(repository, PLANTED["clean"], trap)
    with repository.programs.agents_running():
        use(open_repository(repository.root))
    assert canary.exists()


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("opener", OPEN_WITH)
def test_what_an_agent_planted_from_its_worktree_is_not_run(name: str, opener: str, tmp_path: Path) -> None:
    site = make_worksite(tmp_path)
    with site.repository.programs.agents_running():
        site.act(f"{RUNS[name]}\nprintf 'after\\n' > change.txt")
    site.canary.unlink(missing_ok=True)
    use(OPEN_WITH[opener](site.worktree))
    assert site.canary.exists() == (opener == "plain")


@pytest.mark.parametrize("name", [name for name in RUNS if name != "lazy-fetch"])
def test_what_an_agent_planted_in_its_own_repository_is_not_run(name: str, tmp_path: Path) -> None:
    """`lazy-fetch` damages the registration, which is not where an agent's `.git` leads."""
    for opener in ("ours", "plain"):
        site = make_worksite(tmp_path / opener)
        lent = place(site)
        with site.repository.programs.agents_running():
            lent.lend()
            script = RUNS[name].replace("$COMMON", "$(git rev-parse --absolute-git-dir)")
            site.act(f"{script}\nprintf 'after\\n' > change.txt")
            site.canary.unlink(missing_ok=True)
            use(OPEN_WITH[opener](site.worktree))
            assert site.canary.exists() == (opener == "plain")


def test_every_action_works_where_no_trap_is(repository: Repository) -> None:
    """The control of `use`: what is refused or fails everywhere proves nothing."""
    repo = open_repository(repository.root)
    for action in ACTIONS:
        if Path(repo.working_dir, "text.txt").exists():
            Path(repo.working_dir, "text.txt").write_text(LINES.replace("line 10\n", "changed\n"))
        action(repo)
    assert "theirs" in [commit.message.strip() for commit in repo.iter_commits()]


@pytest.mark.parametrize(
    "replaced", ["git init -q", 'git init -q evil; printf "gitdir: %s/evil/.git\\n" "$PWD" > .git', "true"]
)
def test_a_worktree_belongs_to_the_repository_that_registered_it(tmp_path: Path, replaced: str) -> None:
    site = make_worksite(tmp_path)
    traps = 'git config filter.x.clean "$TRAP"; echo "*.txt filter=x" > .gitattributes; echo x > change.txt'
    site.act(f"rm .git; {replaced}; git config -l > /dev/null; [ ! -e .git ] || ({traps})")
    repo = open_repository(site.worktree / "dir")
    assert (repo.working_dir, repo.git_dir) == (str(site.worktree), str(site.private.admin_dir))
    assert repo.common_dir == str(site.repository.common_dir)
    assert repo.head.commit.hexsha == site.spec.base_commit
    use(repo)
    assert not site.canary.exists()
    if replaced == "git init -q":
        use(gitpython.Repo(site.worktree))
        assert site.canary.exists()


@pytest.mark.parametrize("registered", [True, False])
def test_a_repository_inside_runs_nothing_of_its_own_configuration(tmp_path: Path, registered: bool) -> None:
    site = make_worksite(tmp_path)
    with site.repository.programs.agents_running():
        if not registered:
            site.act('rm -rf "$ADMIN" .git')
        site.act(
            """git init -q in; cd in; echo a > change.txt; git add .; git commit -qm a
            git config filter.x.clean "$TRAP"; git config extensions.worktreeConfig true
            git config --worktree filter.y.clean "$TRAP"; printf '* filter=x\nchange.txt filter=y\n' > .gitattributes
            git worktree add -q --no-checkout more"""
        )
    site.canary.unlink(missing_ok=True)
    inside = site.worktree / "in"
    assert open_repository(inside).head.commit.message == "a\n"
    for directory in (inside, inside / "more"):
        use(open_repository(directory))
    assert not site.canary.exists()
    use(gitpython.Repo(inside))
    assert site.canary.exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "{}/.git", "GIT_WORK_TREE": "{}", "GIT_INDEX_FILE": "{}/.git/index"},
        {"GIT_OBJECT_DIRECTORY": "{}/.git/objects"},
        {"GIT_COMMON_DIR": "{}/.git"},
        {"GIT_EXTERNAL_DIFF": "false"},
    ],
)
def test_no_variable_redirects_it(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    def answers(opener: Callable[[Path], gitpython.Repo]) -> tuple[object, ...]:
        repo = opener(repository.root)
        tree = [blob.path for blob in repo.head.commit.tree]
        return tree, repo.git.ls_files(), repo.git.diff("HEAD~1"), repo.is_dirty(), repo.common_dir, repo.working_dir

    other = make_repository(tmp_path / "other", {"other.txt": "other\n"})
    expected = answers(gitpython.Repo)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(other))
    assert answers(open_repository) == expected
    with contextlib.suppress(gitpython.GitError, ValueError, OSError):
        assert answers(gitpython.Repo) != expected


def test_a_planted_alias_pager_transport_and_replacement(repository: Repository, trap: Path, canary: Path) -> None:
    head = git(repository.root, "rev-parse", "HEAD")
    script = """
        git config alias.hello '!"$TRAP" <'/dev/null; git config core.pager "$TRAP"; git config pager.log "$TRAP"
        git config core.sshCommand "$TRAP"; git config core.editor "$TRAP"; git config trailer.x.command "$TRAP"
        git config remote.origin.url ssh://nowhere.invalid/x; git config remote.origin.fetch '+refs/*:refs/*'
        git config remote.other.url "ext::$TRAP"; git config protocol.ext.allow always; git config gpg.program "$TRAP"
        git replace HEAD "$(git commit-tree -m replaced 'HEAD^{tree}' < /dev/null)"
    """
    trap.write_text(f"#!/bin/sh\ntouch '{canary}'\nexit 1\n")  # nothing waits for a transport that answers nothing
    with repository.programs.agents_running():
        act(repository, script, trap)
    actions: list[Callable[[gitpython.Repo], object]] = [
        lambda repo: repo.git.hello(),
        lambda repo: repo.git(paginate=True).log(),
        lambda repo: repo.git.fetch("origin"),
        lambda repo: repo.remote("origin").fetch(),
        lambda repo: repo.git.fetch("other"),
        lambda repo: repo.git.ls_remote("other", allow_unsafe_protocols=True),
        lambda repo: repo.git.commit("--amend"),
        lambda repo: repo.head.commit.trailers_list,
        lambda repo: repo.git.commit_tree("-S", "HEAD^{tree}", "-m", "signed"),
        lambda repo: repo.git.log("--format=%G?"),
    ]
    for opener, runs in (("ours", False), ("plain", True)):
        repo = OPEN_WITH[opener](repository.root)
        assert (repo.commit(head).message == "ours\n") == (opener == "ours")
        for action in actions:
            with contextlib.suppress(gitpython.GitError, UsageError, ValueError):
                action(repo)
        assert canary.exists() == runs


def test_only_git_is_started_and_only_there(repository: Repository) -> None:
    repo = open_repository(repository.root)
    calls: list[Callable[[], object]] = [
        lambda: repo.git.execute(["ls"]),
        lambda: repo.git.execute("git status"),
        lambda: repo.git.execute(["git", "status"], shell=True),
        lambda: repo.git(git_dir="/elsewhere").status(),
        lambda: repo.git(C="/elsewhere").status(),
        lambda: repo.git.execute(["git"]),
    ]
    for call in calls:
        with pytest.raises(UsageError):
            call()
    assert repo.git(c="core.abbrev=12").log("-1", "--format=%h") == repo.head.commit.hexsha[:12]
    with pytest.raises(EnvironmentProblem, match="not in a git repository"):
        open_repository("/")


def test_commands_can_be_streamed_timed_and_read_as_bytes(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "a $HOME ~ b", {"f\udcff*.txt": b"\xff\n", "g.txt": "g\n"})
    repo = open_repository(root)
    assert repo.git.cat_file("-p", "HEAD:g.txt", stdout_as_string=False) == b"g"
    assert repo.git.cat_file("-p", "HEAD:g.txt", strip_newline_in_stdout=False) == "g\n"
    assert repo.git.ls_files("-z", stdout_as_string=False).split(b"\0")[0] == b"f\xff*.txt"
    target = io.BytesIO()
    assert repo.git.archive("HEAD", output_stream=target) is target
    assert b"g.txt" in target.getvalue()
    process = repo.git.cat_file("--batch", as_process=True, istream=subprocess.PIPE)
    process.stdin.write(b"HEAD:g.txt\n")
    process.stdin.close()
    assert process.stdout.read().endswith(b" blob 2\ng\n\n")
    assert process.wait() == 0
    assert (repo.tree() / "g.txt").data_stream.read() == b"g\n"
    status, _, stderr = repo.git.rev_parse("--verify", "gone", with_extended_output=True, with_exceptions=False)
    assert (status, stderr) == (128, "fatal: Needed a single revision")
    with pytest.raises(gitpython.GitCommandError, match=r"took longer than 0\.2 s"):
        repo.git(c="alias.wait=!sleep 600").wait(kill_after_timeout=0.2)
    (root / "f*").write_text("new\n")
    repo.git.add("f*")
    assert [item.a_path for item in repo.index.diff("HEAD")] == ["f*"]
    (root / "h.txt").write_text("h\n")
    repo.git(no_literal_pathspecs=True).add("*.txt")
    assert sorted(item.a_path or "" for item in repo.index.diff("HEAD")) == ["f*", "h.txt"]


def test_what_a_script_makes_is_safe_too(repository: Repository, tmp_path: Path, trap: Path, canary: Path) -> None:
    git(repository.root, "config", "core.hooksPath", "hooks")
    hook = tmp_path / "template" / "hooks" / "pre-commit"
    hook.parent.mkdir(parents=True)
    shutil.copy(trap, hook)
    git(repository.root, "config", "--global", "init.templateDir", hook.parent.parent)
    repo = open_repository(repository.root)
    clone = repo.clone(tmp_path / "clone")
    assert clone.head.commit == repo.head.commit
    assert [info.name for info in clone.remote().fetch()] == ["origin/main", "origin/side"]
    made = type(repo).init(tmp_path / "made")
    for safe in (clone, made):
        Path(safe.working_dir, "new.txt").write_text("new\n")
        safe.index.add(["new.txt"])
        safe.index.commit("new")
        gitpython.IndexFile(safe).commit("again")
    assert not canary.exists()
    bare = open_repository(repo.clone(tmp_path / "bare", bare=True).git_dir)
    assert (bare.bare, bare.working_tree_dir, bare.head.commit) == (True, None, repo.head.commit)
    with repo.config_writer() as writer:
        writer.set_value("user", "name", "Written")
    assert repo.config_reader().get_value("user", "name") == "Written"
    assert repo.config_reader().get("core", "hooksPath") == os.devnull
    gitpython.Repo(tmp_path / "made").index.commit("plain")
    assert canary.exists()


def test_submodules_can_be_read_and_run_nothing(tmp_path: Path, trap: Path, canary: Path) -> None:
    root = make_repository(tmp_path / "repo")
    library = make_repository(tmp_path / "library", {"change.txt": "a\n"})
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, "sub")
    commit_all(root, "with a submodule")
    repository = find_repository(root)
    with repository.programs.agents_running():
        act(repository, 'git -C sub config filter.x.clean "$TRAP"; echo "* filter=x" > sub/.gitattributes', trap)
        act(repository, "git config -f .gitmodules submodule.sub.ignore none", trap)
    canary.unlink(missing_ok=True)
    repo = open_repository(root)
    (submodule,) = repo.submodules
    assert (submodule.path, submodule.module().head.commit.tree["change.txt"].size) == ("sub", 2)
    os.utime(root / "sub" / "change.txt", (1, 1))  # git has to read the file again, through its filter
    repo.is_dirty(untracked_files=True)
    repo.git.status()
    assert not canary.exists()
    gitpython.Repo(root).is_dirty()
    assert canary.exists()
    canary.unlink()
    (reached,) = (item for item in repo.tree().traverse() if isinstance(item, gitpython.Submodule))
    for module in (submodule.module(), reached.module(), open_repository(root / "sub")):
        (root / "sub" / "change.txt").write_text("changed\n")
        assert module.is_dirty()
        use(module)
    (root / "README").write_text("changed\n")
    calls: list[Callable[[], object]] = [
        submodule.update,
        repo.submodule_update,
        lambda: repo.create_submodule("x", "x", url=str(library)),
    ]
    for call in calls:
        with pytest.raises(UsageError):
            call()
    for name in ("add", "commit", "merge", "pull", "rebase", "stash", "submodule"):
        with pytest.raises(UsageError, match="runs programs of the submodules"):
            repo.git.execute(["git", name, "-q"])
    repo.index.add(["README"])
    repo.index.commit("changed")
    assert repo.git.diff("HEAD", "--name-only").split() == [".gitmodules", "sub"]
    assert not canary.exists()
    assert type(gitpython.Repo(root).submodules[0].module()) is gitpython.Repo
