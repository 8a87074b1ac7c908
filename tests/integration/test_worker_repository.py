"""A worker repository: what an agent does with git stays in it, and all it committed is taken over afterwards."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from support.console import Architect
from support.repositories import git, make_repository
from support.worksites import BRANCH, Worksite, make_worksite

from architect_parallel.system.git import GitError, open_repository
from architect_parallel.worktrees import worker_commits, worker_repository
from architect_parallel.worktrees.worker_repository import Taken, WorkerRepository


@pytest.fixture
def site(tmp_path: Path) -> Worksite:
    return make_worksite(tmp_path)


def place(site: Worksite) -> WorkerRepository:
    return worker_repository.of_worker(site.repository, site.repository.state_dir / "runs" / "r", site.spec)


def with_own_repository(site: Worksite, script: str) -> Taken:
    """Plays the agent as the launcher does: with a git directory of its own."""
    lent = place(site)
    lent.lend()
    site.act(script)
    taken = lent.take_back(site.spec.run_id, site.spec.number)
    assert not lent.exists
    return taken


def shared_state(site: Worksite) -> tuple[str, ...]:
    """What the user's repository consists of beside the worker's branch: refs, configuration, hooks, info, HEAD."""
    common = site.repository.common_dir
    refs = [
        ref for ref in git(common, "for-each-ref").split("\n") if BRANCH not in ref and "refs/architect/" not in ref
    ]
    files = [*common.glob("hooks/*"), *common.glob("info/*"), common / "config", common / "HEAD"]
    return (*refs, *(f"{path} {path.read_bytes()!r}" for path in sorted(files)))


def kept(site: Worksite) -> dict[str, str]:
    listed = git(site.repository.common_dir, "for-each-ref", "--format=%(refname) %(objectname)", "refs/architect/keep")
    return {ref.rpartition("/")[2]: oid for ref, oid in (line.split() for line in listed.split("\n") if line)}


def test_readers_of_git_directories_other_than_git_find_refs_and_objects(site: Worksite) -> None:
    """GitPython (aider) wants `peeled` in the header, which git must not believe, and alternates that are absolute."""
    git(site.repository.common_dir, "tag", "-a", "-m", "x", "annotated", "main")
    lent = place(site)
    lent.lend()
    header = (lent.directory / "packed-refs").read_text().split("\n")[0]
    assert header.startswith("# pack-refs with:")
    assert "peeled" in header
    assert "annotated^{}" in git(lent.directory, "show-ref", "-d", "--tags")
    alternates = (lent.directory / "objects" / "info" / "alternates").read_text().splitlines()
    assert str((site.repository.common_dir / "objects").resolve()) in alternates
    counted = git(lent.directory, "count-objects", "-v").splitlines()
    assert sum(line.startswith("alternate:") for line in counted) == 1
    lent.take_back(site.spec.run_id, site.spec.number)


SHARED_ACTS = {
    "flips core.bare": "git config core.bare true",
    "a git init under GIT_DIR": "GIT_DIR=$(git rev-parse --absolute-git-dir) git init -q",
    "a filter": "git config filter.x.clean evil",
    "a hook": "printf '#!/bin/sh\\n' > $(git rev-parse --git-common-dir)/hooks/pre-commit",
    "a hooks path": "git config core.hooksPath /evil",
    "moves main": "git update-ref refs/heads/main $(git commit-tree -m x HEAD^{tree} </dev/null)",
    "renames main": "git branch -m main trunk",
    "deletes main": "git update-ref -d refs/heads/main",
    "a tag": "git tag v9; git tag -a -m x v10",
    "a branch": "git branch feature",
    "a stash": "echo x > change.txt; git stash -q",
    "a note": "git notes add -m x",
    "a replacement": "git replace HEAD $(git commit-tree -m x HEAD^{tree} </dev/null)",
    "ignore rules": "echo '*' >> $(git rev-parse --git-path info/exclude)",
    "attributes": "echo '* filter=x' > $(git rev-parse --git-path info/attributes)",
    "a remote": "git remote add evil ext::evil",
    "worktree configuration": "git config extensions.worktreeConfig true; git config --worktree core.fsmonitor evil",
    "packs": "git pack-refs --all; git gc -q",
    "switches to main": "git switch -q --ignore-other-worktrees main; echo m > m; git add m; git commit -qm m",
}


@pytest.mark.parametrize("act", SHARED_ACTS.values(), ids=SHARED_ACTS.keys())
def test_what_an_agent_does_to_its_repository_does_not_reach_the_users(site: Worksite, act: str) -> None:
    before = shared_state(site)

    with_own_repository(site, act)

    assert shared_state(site) == before
    assert git(site.worktree, "rev-parse", "--git-dir") == str(site.private.admin_dir)
    assert git(site.repository.root, "status", "--porcelain") == ""


@pytest.mark.parametrize("act", [act for name, act in SHARED_ACTS.items() if name != "packs"],
                         ids=[name for name in SHARED_ACTS if name != "packs"])  # fmt: skip
def test_in_a_linked_worktree_it_would(site: Worksite, act: str) -> None:
    """The control: the same acts with the `.git` that `git worktree add` makes."""
    before = shared_state(site)

    site.act(act)

    assert shared_state(site) != before


def test_commits_land_on_the_branch_and_the_worktree_is_as_after_work_in_it(site: Worksite) -> None:
    taken = with_own_repository(
        site,
        "echo a > a; git add a; git commit -qm one; echo b > b; git add b; git commit -qm two; echo c > c; git add c",
    )

    assert taken == Taken()
    assert git(site.worktree, "log", "--format=%s", f"{site.spec.base_commit}..") == "two\none"
    assert git(site.worktree, "status", "--porcelain") == "A  c"
    assert git(site.worktree, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"
    assert git(site.worktree, "diff", "--cached", "--stat") != ""
    assert git(site.repository.root, "fsck", "--strict", "--no-dangling") == ""


def test_an_agent_finds_all_of_git_there(tmp_path: Path) -> None:
    before = (
        "git tag v0; git branch other; git remote add origin ..; git update-ref refs/remotes/origin/main HEAD; "
        "git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main; git config user.nickname nick; "
        "printf '#!/bin/sh\\ntouch hooked\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; "
        "echo hidden >> .git/info/exclude"
    )
    site = make_worksite(tmp_path, before=before)

    with_own_repository(
        site,
        'test -z "$(git status --porcelain)"; test "$(git describe)" = v0 || git describe --tags; git rev-parse other; '
        "test $(git rev-parse --abbrev-ref origin/HEAD) = origin/main; test $(git config user.nickname) = nick; "
        'touch hidden; test -z "$(git status --porcelain)"; echo x > x; git add x; git commit -qm x; test -e hooked; '
        "git fsck; git gc -q; git log --oneline; git stash list; git worktree list; git rebase -q HEAD~1; "
        "git checkout -q --detach; git checkout -q -; git reset -q --soft HEAD~1; git commit -qm again",
    )

    assert git(site.worktree, "log", "-1", "--format=%s") == "again"


def test_every_commit_the_agent_left_elsewhere_is_kept(site: Worksite) -> None:
    taken = with_own_repository(
        site,
        "echo 1 > f; git add f; git commit -qm amended; git commit -q --amend -m kept; "
        "git switch -qc feature; echo 2 > f; git commit -qam feature; "
        f"git switch -q {BRANCH}; echo 3 > f; git stash -q; git tag -a -m tagged mark; "
        "echo 4 > f; git commit -qam gone; git reset -q --hard HEAD~1",
    )

    everything = git(site.repository.common_dir, "log", "--all", "--format=%s").split("\n")
    assert {"amended", "kept", "feature", "gone"} <= set(everything)
    assert set(kept(site)) == {"1-branch-feature", "1-stash", "1-tag-mark", "1-abandoned"}
    assert [warning.split(";")[0] for warning in taken.warnings] == [
        f"while it ran, feature was set to {kept(site)['1-branch-feature'][:12]}",
        f"while it ran, refs/tags/mark was set to {kept(site)['1-tag-mark'][:12]}",
        f"a stash was made while it ran (WIP on {BRANCH}: {git(site.worktree, 'rev-parse', '--short', 'HEAD')} kept)",
    ]


def test_a_branch_the_agent_renamed_or_deleted_is_found(site: Worksite) -> None:
    taken = with_own_repository(site, "git branch -m mine; echo x > x; git add x; git commit -qm mine")

    assert taken.warnings == (f"HEAD was left at mine, not at {BRANCH}", f"{BRANCH} was deleted; it is made again")
    collection = site.collect()
    assert git(site.worktree, "log", "-1", "--format=%s", BRANCH) == "mine"
    assert collection.kept is None


def test_a_fetch_of_the_agents_brings_no_ref_and_its_merge_does(tmp_path: Path) -> None:
    upstream = make_repository(tmp_path / "upstream", {"u": "u\n"})
    git(upstream, "tag", "-a", "-m", "x", "v1")
    site = make_worksite(tmp_path, before=f"git remote add origin {upstream}")
    before = shared_state(site)

    taken = with_own_repository(
        site, "git fetch -q origin; git merge -q --allow-unrelated-histories origin/main -m merged"
    )

    assert (taken, shared_state(site), kept(site)) == (Taken(), before, {})
    assert git(site.worktree, "log", "-1", "--format=%s", BRANCH) == "merged"
    assert git(site.repository.root, "fsck", "--no-dangling") == ""


def test_what_is_staged_but_not_on_disk_is_still_there(site: Worksite) -> None:
    with_own_repository(site, "echo staged > s; git add s; echo disk > s")

    assert git(site.worktree, "show", ":s") == "staged"


def test_a_killed_launchers_work_is_settled_by_the_next_command(site: Worksite) -> None:
    place(site).lend()
    site.act("echo x > x; git add x; git commit -qm mine")
    run_dir = site.repository.state_dir / "runs" / "r"

    assert worker_repository.settle(site.repository, run_dir, site.spec) == ()
    assert worker_repository.settle(site.repository, run_dir, site.spec) == ()

    assert git(site.worktree, "log", "-1", "--format=%s") == "mine"
    assert not place(site).exists


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (worker_repository, "bring_shallow"),
        (worker_repository, "read_refs"),
        (worker_commits, "keep"),
        (worker_repository, "_copy_operations"),
    ],
)
def test_a_take_back_that_broke_off_anywhere_can_be_repeated(
    site: Worksite, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    lent = place(site)
    lent.lend()
    site.act("echo x > x; git add x; git commit -qm first; git commit -q --amend -m mine; git branch b")

    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(module, step, broken)  # stands for a kill at that very step
        with pytest.raises(RuntimeError):
            lent.take_back(site.spec.run_id, site.spec.number)
    assert git(site.worktree, "log", "-1", "--format=%s") == "mine"

    lent.take_back(site.spec.run_id, site.spec.number)

    assert git(site.worktree, "log", "-1", "--format=%s") == "mine"
    assert "first" in git(site.worktree, "log", "--all", "--format=%s")
    assert git(site.worktree, "status", "--porcelain") == ""


def test_a_copied_repository_settles_its_own_and_leaves_the_original(site: Worksite, tmp_path: Path) -> None:
    place(site).lend()
    site.act("echo x > x; git add x; git commit -qm mine; echo y > y")
    copy = tmp_path / "copy"
    shutil.copytree(site.repository.root, copy, symlinks=True)
    repository = open_repository(copy)
    spec = dataclasses.replace(site.spec, worktree_path=str(copy / ".architect-parallel-1"))

    worker_repository.settle(repository, repository.state_dir / "runs" / "r", spec)

    assert git(copy, "log", "-1", "--format=%s", BRANCH) == "mine"
    assert place(site).exists
    assert git(site.worktree, "log", "-1", "--format=%s") == "mine"
    git(copy, "worktree", "repair", ".architect-parallel-1")
    assert git(copy / ".architect-parallel-1", "status", "--porcelain") == "?? y"


def test_damaged_objects_stop_the_taking_and_leave_everything_in_place(site: Worksite) -> None:
    lent = place(site)
    lent.lend()
    site.act("echo x > x; git add x; git commit -qm mine")
    for file in lent.directory.glob("objects/??/*"):
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:-4])

    with pytest.raises(GitError):
        lent.take_back(site.spec.run_id, site.spec.number)

    assert lent.exists
    assert site.tip == site.spec.base_commit


def test_an_agent_that_replaced_its_git_loses_no_commit(site: Worksite) -> None:
    with_own_repository(site, "echo x > x; git add x; git commit -qm mine; rm .git; git init -q")

    assert git(site.repository.root, "log", "-1", "--format=%s", BRANCH) == "mine"
    assert (site.worktree / ".git").is_dir()


def test_symbolic_links_in_the_worker_repository_are_not_followed(site: Worksite, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a" * 40 + "\n")

    taken = with_own_repository(
        site,
        f"d=$(git rev-parse --git-dir); ln -s {secret} $d/refs/heads/link; rm $d/index; ln -s {secret} $d/index; "
        f"ln -s {secret} $d/MERGE_MSG; echo ref: refs/heads/main > $d/refs/heads/symbolic",
    )

    assert taken == Taken()
    assert not (site.private.admin_dir / "MERGE_MSG").exists()
    assert not (site.private.admin_dir / "index").is_symlink()


@pytest.mark.parametrize("options", [("--object-format=sha256",), ()], ids=["sha256", "sha1"])
def test_a_merge_left_in_the_middle_is_carried_over_and_back(tmp_path: Path, options: tuple[str, ...]) -> None:
    site = make_worksite(tmp_path, options=options)
    with_own_repository(
        site,
        "git switch -qc side; echo s > change.txt; git commit -qam s; "
        f"git switch -q {BRANCH}; echo m > change.txt; git commit -qam m; git merge -q side || true",
    )
    assert "You have unmerged paths" in git(site.worktree, "status")

    with_own_repository(site, "git add change.txt; git commit -qm merged; git gc -q")

    assert git(site.worktree, "rev-list", "--count", f"{site.spec.base_commit}..{BRANCH}") == "3"
    assert git(site.worktree, "status", "--porcelain") == ""


def test_sparse_partial_and_shallow_clones_work(tmp_path: Path) -> None:
    upstream = make_repository(tmp_path / "upstream", {"in/a": "a\n", "out/b": "b\n"})
    git(upstream, "commit", "--allow-empty", "-qm", "second")
    git(upstream, "config", "uploadpack.allowFilter", "true")
    git(upstream, "config", "uploadpack.allowAnySHA1InWant", "true")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--depth=1", "--sparse", f"file://{upstream}", clone)
    git(clone, "sparse-checkout", "set", "in")
    worktree = clone / ".architect-parallel-1"
    git(clone, "worktree", "add", "-q", "-b", BRANCH, worktree)
    repository = open_repository(clone)
    lent = WorkerRepository(
        repository=repository, directory=repository.state_dir / "runs/r/repo/worker-1", worktree=worktree,
        admin_dir=clone / ".git/worktrees/-architect-parallel-1", branch=BRANCH,
    )  # fmt: skip
    lent.lend()

    script = (
        "test -e in/a; test ! -e out; git show HEAD:out/b; echo n > in/n; git add in/n; git commit -qm mine; git status"
    )
    subprocess.run(["sh", "-ec", script], cwd=worktree, check=True, capture_output=True)
    taken = lent.take_back("run", 1)

    assert taken == Taken()
    assert git(clone, "log", "-1", "--format=%s", BRANCH) == "mine"
    assert git(worktree, "status", "--porcelain") == ""
    assert git(clone, "rev-parse", "--is-shallow-repository") == "true"


def test_submodules_are_where_git_keeps_them_for_a_linked_worktree(tmp_path: Path) -> None:
    library = make_repository(tmp_path / "lib")
    allow = "-c protocol.file.allow=always"
    before = f"git {allow} submodule --quiet add {library} vendor/lib; git commit -qm sub"
    site = make_worksite(tmp_path, before=before)

    with_own_repository(
        site,
        f"git {allow} submodule --quiet update --init; cd vendor/lib; echo n > n; git add n; git commit -qm n; "
        f"cd ../..; git commit -qam bump; git {allow} submodule --quiet add {library} second",
    )

    assert git(site.worktree / "vendor/lib", "log", "-1", "--format=%s") == "n"
    assert (site.private.admin_dir / "modules" / "second").is_dir()
    assert git(site.worktree, "submodule", "status").count("\n") == 1


def test_the_user_finds_the_real_repository_from_a_worktree_an_agent_works_in(site: Worksite) -> None:
    place(site).lend()

    assert open_repository(site.worktree).common_dir == site.repository.common_dir
    assert open_repository(site.worktree).root == site.repository.root


def test_an_agent_that_deleted_its_git_does_not_work_on_the_users(checkout: Path) -> None:
    (checkout / "inside").mkdir()
    assert git(checkout / "inside", "rev-parse", "--show-toplevel") == str(checkout)  # the control: git climbs
    task = "rm .git; git checkout -q --detach; git commit -q --allow-empty -m evil; git branch evil; echo work > work"
    before = git(checkout, "for-each-ref")

    answer = Architect(checkout)(
        "parallel", task, "--backend", "shell", "--workers", "1", "--check", "git status", "--json"
    )

    assert git(checkout, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert [line for line in git(checkout, "for-each-ref").split("\n") if "architect/" not in line] == before.split(
        "\n"
    )
    assert answer.json["results"][0]["files_modified"] == ["work"]


def test_in_a_repository_with_a_reftable_the_agent_has_a_git_of_its_own_too(reftable: Path, tmp_path: Path) -> None:
    site = make_worksite(tmp_path, options=("--ref-format=reftable",))
    refs = git(site.repository.root, "for-each-ref", "refs/heads/main", "refs/tags")

    taken = with_own_repository(
        site, "git branch -m mine; echo x > x; git add x; git commit -qm mine; git tag t; git config core.bare true"
    )

    assert taken.warnings[0] == f"HEAD was left at mine, not at {BRANCH}"
    assert site.collect().kept is None
    assert git(site.worktree, "log", "-1", "--format=%s", BRANCH) == "mine"
    assert git(site.worktree, "symbolic-ref", "HEAD") == f"refs/heads/{BRANCH}"
    assert git(site.repository.root, "for-each-ref", "refs/heads/main", "refs/tags") == refs
    assert git(site.repository.root, "status", "--porcelain") == ""


@pytest.mark.parametrize("options", [("--object-format=sha256",), ()], ids=["sha256", "sha1"])
def test_a_commit_that_deletes_everything_is_whole(tmp_path: Path, options: tuple[str, ...]) -> None:
    site = make_worksite(tmp_path, options=options)

    with_own_repository(site, "git rm -rqf .; git commit -qm nothing")

    assert git(site.repository.root, "ls-tree", BRANCH) == ""
    assert git(site.repository.root, "fsck", "--no-dangling") == ""
