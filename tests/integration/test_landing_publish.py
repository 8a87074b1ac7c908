"""Pushes and pull requests come last; what fails there takes nothing back. A bare repository is the remote, a script
stands in for gh: nothing leaves the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.landing_runs import commit, ended_run, everything
from support.repositories import git

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.journal import Journal
from architect_parallel.landing import undo
from architect_parallel.landing.merge import MergeOutcome, Pick, execute, plan_merge
from architect_parallel.system.git import Repository


@pytest.fixture
def journal(repository: Repository) -> Iterator[Journal]:
    with Journal.open(repository.state_dir) as opened:
        yield opened


@pytest.fixture
def remote(checkout: Path) -> Path:
    """A bare remote named origin that has main."""
    place = checkout.parent / "remote.git"
    git(checkout, "clone", "-q", "--bare", checkout, place)
    git(checkout, "remote", "add", "origin", place)
    return place


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gh` on the PATH that writes its arguments, and the text it was given, to the returned file."""
    told, folder = tmp_path / "gh-was-told", tmp_path / "programs"
    folder.mkdir()
    program = folder / "gh"
    program.write_text(f"""#!/bin/sh
printf '%s\\n' "$@" > '{told}'
while [ "$1" != --body-file ]; do shift; done
cat "$2" >> '{told}'
[ -e '{tmp_path}/refuse' ] && {{ echo 'no permission' >&2; exit 1; }}
echo 'Warning: something' >&2
echo https://example.invalid/pull/7
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return told


def land(repository: Repository, journal: Journal, *workers: int, **options: object) -> MergeOutcome:
    plan = plan_merge(repository, journal, "run", *workers, **options)  # type: ignore[arg-type]  # passed on
    return execute(repository, journal, plan)


def test_push_goes_to_the_upstream_else_to_origin(
    checkout: Path, repository: Repository, journal: Journal, remote: Path
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    first = land(repository, journal, 1, push=True)
    assert first.published.pushed == "origin/main"
    assert git(remote, "rev-parse", "main") == first.commit
    git(checkout, "config", "branch.main.remote", "origin")
    git(checkout, "config", "branch.main.merge", "refs/heads/trunk")
    second = land(repository, journal, 2, push=True)
    assert second.published.pushed == "origin/trunk"
    assert git(remote, "rev-parse", "trunk") == second.commit
    plan = undo.plan_undo(repository, journal)
    assert "what was pushed to origin/trunk stays there" in plan.lines


def test_push_that_fails_leaves_the_merge(
    checkout: Path, repository: Repository, journal: Journal, remote: Path
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    ahead = git(remote, "commit-tree", "-p", "main", "-m", "theirs", "main^{tree}")
    git(remote, "update-ref", "refs/heads/main", ahead)
    outcome = land(repository, journal, 1, push=True)
    assert outcome.published.pushed is None
    assert "main could not be pushed to origin" in (outcome.published.problem or "")
    assert "\n" not in (outcome.published.problem or "")
    assert git(checkout, "rev-parse", "main") == outcome.commit
    assert git(remote, "rev-parse", "main") == ahead, "never by force"
    assert journal.operations()[0].finished


def test_pull_request_leaves_the_target_where_it_is(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, gh: Path
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"}, {"a.txt": "other\n"})
    (checkout / "README.md").write_text("being edited\n")  # the target's checkout is nobody's business then
    before = everything(checkout)
    outcome = land(repository, journal, pick=Pick.ALL, pull_request=True)
    assert outcome.published.pull_request == "https://example.invalid/pull/7"
    assert outcome.merged == (1, 2)
    told = gh.read_text()
    assert told.startswith("pr\ncreate\n--base\nmain\n--head\narchitect/merged-run\n--title\n")
    assert "- made by shell default in 1.0s for ?" in told
    assert "- worker 3 (conflict): <code>a.txt</code>" in told
    assert git(remote, "rev-parse", "architect/merged-run") == outcome.commit
    assert git(remote, "rev-parse", "main") == git(checkout, "rev-parse", "main") != outcome.commit
    undo.execute(repository, journal, undo.plan_undo(repository, journal))
    git(checkout, "update-ref", "-d", "refs/remotes/origin/architect/merged-run")  # what was pushed stays
    assert everything(checkout) == before


def test_pull_request_for_one_result(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, gh: Path
) -> None:
    run = ended_run(repository, journal, "run", {"a.txt": "a\n"})
    outcome = land(repository, journal, 1, pull_request=True)
    assert (outcome.branch, outcome.commit) == ("architect/merged-run", run.tip(1))
    assert "--title\nteach it ü\n" in gh.read_text()
    assert git(remote, "rev-parse", "architect/merged-run") == run.tip(1)


def test_pull_request_that_is_refused_leaves_the_branch(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, gh: Path
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    gh.with_name("refuse").touch()
    outcome = land(repository, journal, 1, pull_request=True)
    assert outcome.published.problem == (
        "architect/merged-run is pushed, but no pull request was opened: gh failed: no permission"
    )
    assert git(remote, "rev-parse", "architect/merged-run") == outcome.commit


def test_what_cannot_be_published_is_said_before_anything_moves(
    checkout: Path, repository: Repository, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    before = everything(checkout)
    with pytest.raises(EnvironmentProblem, match="there is no remote origin"):
        land(repository, journal, 1, push=True)
    with pytest.raises(EnvironmentProblem, match="gh is not installed"):
        land(repository, journal, 1, pull_request=True, environ={"PATH": "/nowhere"})
    assert everything(checkout) == before
    assert journal.operations() == []


def test_hooks_do_not_run_at_a_push(checkout: Path, repository: Repository, journal: Journal, remote: Path) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    hook = checkout / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{checkout.parent}/ran'\n")
    hook.chmod(0o755)
    assert land(repository, journal, 1, push=True).published.pushed == "origin/main"
    assert not (checkout.parent / "ran").exists()
    commit(checkout, {"b.txt": "b\n"})
    git(checkout, "push", "-q", "origin", "main")
    assert (checkout.parent / "ran").exists(), "the control: a push by hand runs it"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("remote.origin.url", "file:///elsewhere"),
        ("remote.origin.pushurl", "file:///elsewhere"),
        ("remote.origin.receivepack", "touch $HOME/ran; git-receive-pack"),
        ("remote.origin.vcs", "ext"),
        ("remote.origin.proxy", "http://elsewhere"),
        ("url.file:///elsewhere/.insteadOf", "/"),
        ("url.ext::sh -c touch% ran %.pushInsteadOf", "/"),
        ("core.sshCommand", "touch $HOME/ran; ssh"),
        ("core.askPass", "/elsewhere"),
        ("core.gitProxy", "/elsewhere"),
        ("credential.helper", "!touch $HOME/ran"),
        ("http.proxy", "http://elsewhere"),
        ("http.https://x/.extraHeader", "X: y"),
        ("lfs.url", "https://elsewhere"),
    ],
)
@pytest.mark.parametrize("scope", ["--local", "--global"])
def test_a_push_is_refused_where_its_settings_changed_while_agents_ran(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, home: Path, scope: str, key: str, value: str
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    with repository.programs.agents_running():
        git(checkout, "config", scope, key, value)
    before = everything(checkout)
    with pytest.raises(EnvironmentProblem, match="git's settings for pushes changed while agents ran") as raised:
        land(repository, journal, 1, push=True)
    assert key.rpartition(".")[0].lower() in raised.value.message.lower()
    assert raised.value.hint == "architect config trust"
    assert everything(checkout) == before
    assert journal.operations() == []
    assert not (home / "ran").exists()


def test_a_push_goes_out_once_its_settings_are_confirmed_or_taken_back(
    checkout: Path, repository: Repository, journal: Journal, remote: Path
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"}, {"b.txt": "b\n"})
    with repository.programs.agents_running():
        git(checkout, "config", "http.proxy", "http://elsewhere")
    git(checkout, "config", "--unset", "http.proxy")
    assert land(repository, journal, 1, push=True).published.pushed == "origin/main"
    with repository.programs.agents_running():
        git(checkout, "config", "remote.origin.pushurl", str(remote))
    repository.programs.confirm(repository.programs.unconfirmed())
    assert land(repository, journal, 2, push=True).published.pushed == "origin/main"


def test_a_program_that_came_during_the_run_is_no_receiver(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, tmp_path: Path
) -> None:
    """Not even where another run is live, so that the change is not judged yet."""
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    with repository.programs.agents_running():
        git(checkout, "config", "remote.origin.receivepack", f"touch {tmp_path}/ran; git-receive-pack")
        with pytest.raises(EnvironmentProblem, match=r"remote\.origin\.receivepack"):
            land(repository, journal, 1, push=True)
    assert not (tmp_path / "ran").exists()
    git(checkout, "push", "-q", "origin", "main:control")
    assert (tmp_path / "ran").exists()


@pytest.fixture
def lfs(checkout: Path, remote: Path) -> Path:
    """The repository with Git LFS for `*.dat`; the directory of the objects at the remote, a `file://` one."""
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    git(checkout, "lfs", "install", "--local")
    git(checkout, "config", "remote.origin.url", f"file://{remote}")
    return remote / "lfs" / "objects"


def stored(objects: Path) -> int:
    return sum(path.is_file() for path in objects.rglob("*"))


TRACKED = "*.dat filter=lfs diff=lfs merge=lfs -text\n"


def test_a_push_takes_the_lfs_objects_along(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, lfs: Path
) -> None:
    ended_run(repository, journal, "run", {".gitattributes": TRACKED, "x.dat": "x" * 500})
    outcome = land(repository, journal, 1, push=True)
    assert outcome.published.pushed == "origin/main"
    assert stored(lfs) == 1
    git(checkout.parent, "clone", "-q", f"file://{remote}", "clone")
    clone = checkout.parent / "clone"
    git(clone, "lfs", "install", "--local")
    git(clone, "lfs", "pull")
    assert (clone / "x.dat").read_text() == "x" * 500


def test_an_lfs_file_that_only_the_history_names_is_pushed_too(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, lfs: Path
) -> None:
    run = ended_run(repository, journal, "run", {".gitattributes": TRACKED, "x.dat": "x" * 500, "a.txt": "a\n"})
    commit(run.worktree(1), {".gitattributes": None, "x.dat": None})
    assert land(repository, journal, 1, push=True).published.pushed == "origin/main"
    assert stored(lfs) == 1


def test_a_pull_request_takes_the_lfs_objects_along(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, lfs: Path, gh: Path
) -> None:
    ended_run(repository, journal, "run", {".gitattributes": TRACKED, "x.dat": "x" * 500}, {"y.txt": "y\n"})
    assert land(repository, journal, 1, 2, pull_request=True).published.pull_request is not None
    assert stored(lfs) == 1


def test_lfs_objects_that_cannot_be_pushed_hold_the_branch_back(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, lfs: Path
) -> None:
    ended_run(repository, journal, "run", {".gitattributes": TRACKED, "x.dat": "x" * 500})
    (remote / "lfs").write_text("in the way")
    before = git(remote, "rev-parse", "main")
    outcome = land(repository, journal, 1, push=True)
    assert "main was not pushed to origin: its LFS objects could not be" in (outcome.published.problem or "")
    assert git(remote, "rev-parse", "main") == before
    assert git(checkout, "rev-parse", "main") == outcome.commit


def test_without_git_lfs_nothing_moves(
    checkout: Path,
    repository: Repository,
    journal: Journal,
    remote: Path,
    lfs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended_run(repository, journal, "run", {".gitattributes": TRACKED, "x.dat": "x" * 500})
    programs = tmp_path / "few"
    programs.mkdir()
    for name in ("git", "sh", "env"):
        (programs / name).symlink_to(shutil.which(name) or "")
    before = everything(checkout)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(programs))
        with pytest.raises(EnvironmentProblem, match="git-lfs is not installed"):
            land(repository, journal, 1, push=True)
    assert everything(checkout) == before
    assert journal.operations() == []


def test_a_result_does_not_choose_where_lfs_objects_go(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, lfs: Path
) -> None:
    redirected = "[lfs]\n\turl = https://elsewhere.invalid\n"
    ended_run(repository, journal, "run", {".gitattributes": TRACKED, "x.dat": "x" * 500, ".lfsconfig": redirected})
    with pytest.raises(EnvironmentProblem, match=r"changes \.lfsconfig"):
        land(repository, journal, 1, push=True)
    assert journal.operations() == []


def test_a_push_without_lfs_needs_no_git_lfs(
    checkout: Path, repository: Repository, journal: Journal, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_run(repository, journal, "run", {"a.txt": "a\n"})
    monkeypatch.setattr("architect_parallel.landing.publish._push_lfs", None)  # it would raise
    assert land(repository, journal, 1, push=True).published.pushed == "origin/main"
