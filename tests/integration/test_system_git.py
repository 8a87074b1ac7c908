"""`system.git.open_repository`: from every place a user may stand in."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest
from support.repositories import fake_git, git, make_repository

from architect_parallel.errors import EnvironmentProblem, ExitCode
from architect_parallel.system.git import Git, GitError, Repository, open_repository, version


def test_a_sub_directory_leads_to_the_root(checkout: Path) -> None:
    found = open_repository(checkout / "slugger")
    assert found == Repository(root=checkout, checkout=checkout, common_dir=checkout / ".git")
    assert found.state_dir == checkout / ".git" / "architect"


def test_inside_the_git_directory_is_as_in_its_checkout(checkout: Path) -> None:
    assert open_repository(checkout / ".git" / "refs") == open_repository(checkout)


def test_from_a_linked_worktree_the_root_is_the_main_checkout(checkout: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(checkout, "worktree", "add", "-q", "-b", "other", linked)
    (linked / "sub").mkdir()
    assert open_repository(linked / "sub") == Repository(root=checkout, checkout=linked, common_dir=checkout / ".git")


def test_inherited_git_variables_do_not_redirect(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert git(checkout, "rev-parse", "--show-toplevel") == str(other)  # control: plain git is redirected
    assert open_repository(checkout).root == checkout


def given_config(monkeypatch: pytest.MonkeyPatch, **pairs: str) -> None:
    """Puts settings into the environment; `__` in a name is a dot."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(pairs)))
    for index, (name, value) in enumerate(pairs.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{index}", name.replace("__", "."))
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{index}", value)


def test_configuration_by_environment_is_honoured(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_config(monkeypatch, user__name="Real Name")
    assert open_repository(checkout).git.text("config", "user.name") == "Real Name"


def test_a_configuration_file_named_by_environment_is_honoured(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[user]\n\tname = Real Name\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    assert open_repository(checkout).git.text("config", "user.name") == "Real Name"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_safe_directory_by_environment_opens_the_repository(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (checkout, checkout / ".git"):
        os.chown(place, 4711, 4711)
    with pytest.raises(EnvironmentProblem, match="belongs to another user"):  # the control
        open_repository(checkout)
    given_config(monkeypatch, safe__directory=str(checkout))
    assert open_repository(checkout).root == checkout


def test_safe_settings_win_over_configuration_by_environment(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = tmp_path / "hooks" / "pre-commit"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    given_config(monkeypatch, core__hooksPath=str(hook.parent))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.hookspath'='{hook.parent}'")
    open_repository(checkout).git.run("commit", "--allow-empty", "-qm", "ours")
    assert not (tmp_path / "ran").exists()
    git(checkout, "commit", "--allow-empty", "-qm", "theirs")  # the control: plain git runs the hook
    assert (tmp_path / "ran").exists()


def test_a_private_git_sees_no_configuration_by_environment(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_config(monkeypatch, x__y="count")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'x.z'='parameters'")
    own = Git(cwd=checkout, git_dir=checkout / ".git")
    assert own.text("config", "--get-regexp", "^x[.]") == "x.y count\nx.z parameters"  # the control
    assert not Git(cwd=checkout, git_dir=checkout / ".git", no_user_config=True).ok("config", "--get-regexp", "^x[.]")


@pytest.mark.parametrize("explicit", [False, True])
def test_a_bare_repository_is_its_own_root(checkout: Path, tmp_path: Path, home: Path, explicit: bool) -> None:
    bare = tmp_path / "bare.git"
    git(checkout, "clone", "-q", "--bare", checkout, bare)
    if explicit:
        git(home, "config", "--global", "safe.bareRepository", "explicit")
    found = open_repository(bare)
    assert found == Repository(root=bare, checkout=None, common_dir=bare, bare=True)
    assert found.git.resolve("HEAD") == git(checkout, "rev-parse", "HEAD")


def test_from_a_worktree_of_a_bare_repository_the_root_is_bare(checkout: Path, tmp_path: Path) -> None:
    bare, linked = tmp_path / "bare.git", tmp_path / "linked"
    git(checkout, "clone", "-q", "--bare", checkout, bare)
    git(bare, "worktree", "add", "-q", linked)
    assert open_repository(linked) == Repository(root=bare, checkout=linked, common_dir=bare, bare=True)


@pytest.mark.parametrize("setting", [("core.bare", "true"), ("core.worktree", "/nowhere"), ("core.worktree", "..")])
def test_a_checkout_that_a_setting_hides_is_refused(checkout: Path, tmp_path: Path, setting: tuple[str, str]) -> None:
    git(checkout, "worktree", "add", "-q", tmp_path / "linked")
    git(checkout, "config", *setting)
    if setting == ("core.worktree", ".."):  # which is where the checkout is
        assert open_repository(checkout).root == checkout
        return
    for place in (checkout, checkout / "slugger", checkout / ".git", tmp_path / "linked"):
        with pytest.raises(EnvironmentProblem) as caught:
            open_repository(place)
        assert str(checkout) in caught.value.message
        assert setting[0] in caught.value.message
    hint = caught.value.hint or ""
    git(tmp_path, *shlex.split(hint)[1:])
    assert open_repository(checkout).root == open_repository(tmp_path / "linked").root == checkout


def test_a_bare_repository_called_dot_git_gets_its_worktrees_beside_it(checkout: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    git(tmp_path, "clone", "-q", "--bare", checkout, project / ".git")
    git(project, "worktree", "add", "-q", "linked", "main")
    expected = Repository(root=project, checkout=project / "linked", common_dir=project / ".git", bare=True)
    assert open_repository(project / "linked") == expected
    # An index from before it was made a bare one is no checkout.
    shutil.copy(checkout / ".git" / "index", project / ".git" / "index")
    assert open_repository(project / "linked") == expected
    assert open_repository(project).main_checkout is None


def test_inside_a_submodule_is_the_submodule(checkout: Path, tmp_path: Path) -> None:
    outer = make_repository(tmp_path / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", checkout, "module")
    found = open_repository(outer / "module" / "slugger")
    expected = outer / ".git" / "modules" / "module"
    assert found == Repository(root=outer / "module", checkout=outer / "module", common_dir=expected)
    linked = tmp_path / "linked"
    git(outer / "module", "worktree", "add", "-q", "-b", "other", linked)
    # Control: git itself names the git directory as the main worktree of a submodule.
    assert git(linked, "worktree", "list", "--porcelain").splitlines()[0] == f"worktree {expected}"
    assert open_repository(linked).root == outer / "module"


def test_a_repository_inside_another_is_the_inner_one(checkout: Path) -> None:
    inner = make_repository(checkout / "build" / "inner")
    assert open_repository(inner).root == inner


def test_a_separate_git_directory_is_found(tmp_path: Path) -> None:
    work = make_repository(tmp_path / "work", options=(f"--separate-git-dir={tmp_path / 'store'}",))
    assert open_repository(work) == Repository(root=work, checkout=work, common_dir=tmp_path / "store")


def test_a_work_tree_elsewhere_is_named(checkout: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    git(checkout, "config", "core.worktree", elsewhere)
    with pytest.raises(EnvironmentProblem, match="elsewhere"):
        open_repository(checkout)


@pytest.mark.parametrize("name", ["a b", "it's", 'qu"ote', "ünï-çødé", "-dash", "$HOME;x", "back\\slash", "tab\there"])
def test_any_path_is_fine(checkout: Path, tmp_path: Path, name: str) -> None:
    odd = tmp_path / name
    shutil.copytree(checkout, odd, symlinks=True)
    assert open_repository(odd / "slugger").root == odd


def test_a_path_that_is_not_utf8_is_fine(checkout: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(checkout, odd, symlinks=True)
    assert open_repository(odd).root == odd


def test_a_newline_in_the_path_is_one_clear_line(checkout: Path, tmp_path: Path) -> None:
    odd = tmp_path / "two\nlines"
    shutil.copytree(checkout, odd, symlinks=True)
    with pytest.raises(EnvironmentProblem, match="newline") as caught:
        open_repository(odd)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.touch(), lambda path: path.mkdir()])
def test_no_repository_is_exit_3_and_named(tmp_path: Path, make: object) -> None:
    place = tmp_path / "nothing"
    assert callable(make)
    make(place)
    with pytest.raises(EnvironmentProblem, match="nothing") as caught:
        open_repository(place)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_broken_repository_is_told_from_none(checkout: Path) -> None:
    (checkout / ".git" / "config").write_text("[core\n")
    with pytest.raises(EnvironmentProblem, match="cannot use the repository"):
        open_repository(checkout)


def test_a_git_too_old_is_exit_3(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_git(tmp_path / "bin", "2.20.1"))
    with pytest.raises(EnvironmentProblem, match=r"git 2\.20 is too old"):
        open_repository(checkout)


def test_a_git_too_old_for_merge_is_enough(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert version() >= (2, 38)
    monkeypatch.setenv("PATH", fake_git(tmp_path / "bin", "2.34.1"))
    assert version() == (2, 34)
    assert open_repository(checkout).root == checkout


def test_no_git_is_exit_3(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="git is not installed"):
        open_repository(checkout)


def test_hooks_and_monitors_of_the_repository_do_not_run(checkout: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("post-checkout", "reference-transaction", "pre-commit", "monitor"):
        hook = checkout / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> '{ran}'\nexit 1\n")
        hook.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", checkout / ".git" / "hooks" / "monitor")
    here = Git(cwd=checkout)
    here.run("status")
    here.run("checkout", "-q", "-b", "x")
    assert not ran.exists()
    git(checkout, "status")  # control
    assert ran.exists()


def test_a_failure_carries_gits_words_in_one_line(checkout: Path) -> None:
    with pytest.raises(GitError, match=r"git checkout nowhere failed: .*nowhere") as caught:
        Git(cwd=checkout).run("checkout", "nowhere")
    assert caught.value.code == 1
    assert "\n" not in str(caught.value)


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    """A partial clone without checkout: no content is there yet."""
    origin = make_repository(tmp_path / "origin", {"big.txt": "big\n", "other.txt": "other\n"})
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{origin}", "partial")
    return tmp_path / "partial"


def test_a_partial_clone_fetches_at_a_checkout_and_at_nothing_else(partial: Path) -> None:
    blob = git(partial, "rev-parse", "HEAD:big.txt")
    repository = open_repository(partial)
    with pytest.raises(GitError):
        repository.git.run("cat-file", "-p", blob)
    with pytest.raises(GitError):
        repository.git.run("grep", "big", "HEAD")
    with repository.programs.agents_running():
        repository.git.run("reset", "--hard", "--quiet")
    assert (partial / "big.txt").read_text() == "big\n"
    assert repository.git.text("cat-file", "-p", blob) == "big"


def test_a_checkout_fetches_with_no_program_that_came_while_agents_ran(partial: Path, tmp_path: Path) -> None:
    repository = open_repository(partial)
    git(partial, "config", "protocol.ext.allow", "always")
    with repository.programs.agents_running():
        git(partial, "config", "remote.origin.uploadpack", f"touch {tmp_path}/ran; git-upload-pack")
    repository.git.run("reset", "--hard", "--quiet")
    assert (partial / "big.txt").read_text() == "big\n"
    assert not (tmp_path / "ran").exists()
    git(partial, "config", "--add", "remote.origin.fetch", "+refs/heads/x:refs/remotes/origin/x")
    git(partial, "fetch", "-q", "origin", "main")  # the control
    assert (tmp_path / "ran").exists()


def test_a_replaced_object_is_seen_as_it_is(checkout: Path) -> None:
    repository = open_repository(checkout)
    commit, parent = git(checkout, "rev-parse", "HEAD"), git(checkout, "rev-parse", "HEAD^")
    git(checkout, "replace", commit, parent)
    assert git(checkout, "log", "-1", "--format=%T", commit) != repository.store.text("rev-parse", f"{commit}^{{tree}}")
