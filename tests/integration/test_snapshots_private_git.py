"""`worktrees.snapshot`: the tree written is what is on disk, whatever an agent did to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.repositories import git, make_repository
from support.worksites import FILES, Worksite, content, make_worksite, on_disk

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.snapshots.keep_refs import keep, snapshot_dirty
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.git import GitError, open_repository


@pytest.fixture
def site(tmp_path: Path) -> Worksite:
    return make_worksite(tmp_path)


def written(site: Worksite) -> dict[str, tuple[str, bytes]]:
    """What a snapshot of the site holds; it had nothing to complain about."""
    found = site.private.write_tree()
    assert found.warnings == ()
    return content(site.repository.common_dir, found.tree)


def test_an_untouched_tree_is_the_base_and_needs_no_diff(site: Worksite) -> None:
    found = site.private.write_tree()
    assert found.diff.files == ()
    assert content(site.repository.common_dir, found.tree) == on_disk(site.worktree)


ODD_NAMES = [b"y z", b"line\nfeed", b"\xff\xfe", b'quo"te\\', b":(glob)*", b"-n"]
NAMES = [*ODD_NAMES, b"x", b"d/x", b"d/e/y", b"dir/inner.txt", b"keep.txt"]
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(NAMES), st.binary(max_size=40)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just(b"")),
        st.tuples(st.just("link"), st.sampled_from(NAMES), st.sampled_from([b"keep.txt", b"/etc", b"nowhere", b"d"])),
        st.tuples(st.just("execute"), st.sampled_from(NAMES), st.just(b"")),
        st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("stage"), st.sampled_from(NAMES), st.just(b"")),
        st.tuples(st.just("repository"), st.sampled_from([b"d", b"dir", b"d/e"]), st.just(b"")),
    ),
    max_size=12,
)


def operate(root: Path, operation: str, name: bytes, argument: bytes) -> None:
    """One file operation; one that is not possible is none."""
    path = os.path.join(os.fsencode(root), name)
    try:
        if operation == "write":
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.islink(path):
                with open(path, "wb") as file:
                    file.write(argument)
        elif operation == "delete":
            os.unlink(path)
        elif operation == "link":
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(argument, path)
        elif operation == "execute" and not os.path.islink(path):
            os.chmod(path, 0o755)
        elif operation == "rename":
            os.rename(path, os.path.join(os.fsencode(root), argument))
        elif operation == "stage":
            command = [b"git", b"--literal-pathspecs", b"add", b"--", name]
            subprocess.run(command, cwd=root, capture_output=True, check=False)
        elif operation == "repository":
            os.makedirs(path, exist_ok=True)
            subprocess.run([b"git", b"init", b"-q", path], cwd=root, capture_output=True, check=False)
    except OSError:
        return


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=OPERATIONS, second=OPERATIONS)
def test_the_tree_is_what_a_walk_of_the_disk_finds(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, bytes, bytes]],
    second: list[tuple[str, bytes, bytes]],
) -> None:
    directory = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp()))
    site = make_worksite(directory)
    for operations in (first, second):  # the second snapshot stands on the index the first one left
        for operation in operations:
            operate(site.worktree, *operation)
        found = site.private.write_tree()
        assert content(site.repository.common_dir, found.tree) == on_disk(site.worktree)
    shutil.rmtree(directory)


def test_same_size_changes_within_the_second_of_the_checkout_are_seen(site: Worksite) -> None:
    """Whether or not the clock's second ends in between: git's own comparison has only seconds."""
    for _ in range(3):
        (site.worktree / "change.txt").write_text("AFTER!\n")
        assert written(site)["change.txt"][1] == b"AFTER!\n"
        (site.worktree / "change.txt").write_text("before\n")
        assert written(site)["change.txt"][1] == b"before\n"


def test_a_change_that_hides_behind_an_old_date_is_seen(site: Worksite) -> None:
    path = site.worktree / "change.txt"
    found = path.stat()
    path.write_text("AFTER!\n")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert written(site)["change.txt"][1] == b"AFTER!\n"


def test_an_index_nobody_had_to_write_keeps_its_date(site: Worksite) -> None:
    """On the date depends which files are read again; a later one would hide changes made in between."""
    time.sleep(0.02)  # more than a tick of the clock files are dated by
    (site.worktree / "x").touch()
    site.private.write_tree()
    (site.worktree / "x").unlink()
    site.private.write_tree()  # written later than every file was
    before = site.private.index.stat().st_mtime_ns
    assert site.private.write_tree().diff.files == ()
    assert site.private.index.stat().st_mtime_ns == before


def test_ignored_files_stay_out_and_those_the_agent_added_come_in(site: Worksite) -> None:
    site.act("echo a > a.log; echo b > b.log; git add -f b.log; echo c > c.log; git add -f c.log; git commit -qm c")
    found = written(site)
    assert "a.log" not in found
    assert found["b.log"] == ("100644", b"b\n")
    assert found["c.log"] == ("100644", b"c\n")


def test_what_the_agent_untracked_and_ignored_is_gone_from_the_tree(site: Worksite) -> None:
    site.act("git rm -q --cached change.txt; echo change.txt >> .gitignore; git rm -q --cached keep.txt")
    found = written(site)
    assert "change.txt" not in found
    assert "keep.txt" in found, "not ignored, so it is like any new file"


def test_an_intent_to_add_is_a_file(site: Worksite) -> None:
    site.act("echo x > x; git add -N x")
    assert written(site)["x"] == ("100644", b"x\n")


def test_ignore_rules_of_the_user_count_as_they_were(tmp_path: Path, home: Path) -> None:
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("*.mine\n")
    site = make_worksite(tmp_path, before="echo '*.ours' >> .git/info/exclude")
    (home / ".config" / "git" / "ignore").write_text("")
    site.act("touch x.mine x.ours x")
    assert written(site).keys() - FILES.keys() == {"x"}


def test_line_endings_are_those_of_the_repository(tmp_path: Path) -> None:
    site = make_worksite(tmp_path, {"a.txt": "a\n"}, before="git config core.autocrlf true")
    assert (site.worktree / "a.txt").read_bytes() == b"a\r\n"
    (site.worktree / "b.txt").write_bytes(b"b\r\n")
    found = site.private.write_tree()
    assert [change.path for change in found.diff.files] == ["b.txt"]
    assert content(site.repository.common_dir, found.tree)["b.txt"][1] == b"b\n"


@pytest.mark.parametrize("options", [("--object-format=sha256",), ("--shared=group",)], ids=["sha256", "shared"])
def test_other_kinds_of_repository(tmp_path: Path, options: tuple[str, ...]) -> None:
    site = make_worksite(tmp_path, options=options)
    site.act("echo x > x")
    assert written(site) == on_disk(site.worktree)
    assert site.collect().commit == site.tip


def test_a_split_index_is_read(tmp_path: Path) -> None:
    site = make_worksite(tmp_path, before="git config core.splitIndex true")
    assert list(site.private.admin_dir.glob("sharedindex.*"))
    site.act("echo x > x; git add x; echo a > a.log; git add -f a.log")
    assert written(site) == on_disk(site.worktree)


def test_a_sparse_checkout_does_not_turn_into_deletions(tmp_path: Path) -> None:
    site = make_worksite(tmp_path, before="git sparse-checkout set --no-cone /keep.txt")
    if (site.worktree / "dir").exists():
        pytest.skip("this git does not carry the sparse checkout over to a new worktree")
    site.act("echo x > x; mkdir dir; echo y > dir/new")
    found = site.private.write_tree()
    assert [(change.path, change.status) for change in found.diff.files] == [("dir/new", "A"), ("x", "A")]


@pytest.mark.parametrize("index", ["full", "sparse"])
def test_a_sparse_checkout_the_agent_made_does_not_turn_into_deletions(site: Worksite, index: str) -> None:
    site.act(
        "mkdir in; echo i > in/i; git add in; git commit -qm i; echo j > dir/late; git add dir; git commit -qm late; "
        f"git sparse-checkout set {'--sparse-index' if index == 'sparse' else ''} in; echo n > in/n; test ! -e dir"
    )
    found = content(site.repository.common_dir, site.private.write_tree().tree)
    assert found["dir/inner.txt"] == ("100644", b"inner\n")
    assert found["dir/late"] == ("100644", b"j\n"), "also what was committed before and never was in the base"
    assert found["in/n"] == ("100644", b"n\n")
    site.act("git sparse-checkout disable; rm -r dir")
    assert not [path for path in content(site.repository.common_dir, site.private.write_tree().tree) if "dir/" in path]


def test_a_link_out_of_the_tree_is_a_link(site: Worksite, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "inner.txt").write_text("secret\n")
    site.act("rm -r dir; ln -s ../../secret dir")
    found = written(site)
    assert found["dir"] == ("120000", b"../../secret")
    assert "dir/inner.txt" not in found


def test_a_link_in_the_worktrees_place_is_not_followed(site: Worksite, tmp_path: Path) -> None:
    site.worktree.rename(tmp_path / "moved")
    site.worktree.symlink_to(tmp_path)
    with pytest.raises(EnvironmentProblem, match="not a directory"):
        site.private.write_tree()


def with_submodule(tmp_path: Path, *, populated: bool) -> Worksite:
    make_repository(tmp_path / "library", {"lib.txt": "lib\n"})
    add = "git -c protocol.file.allow=always submodule -q add ../library lib && git commit -qm lib"
    site = make_worksite(tmp_path, before=add)
    if populated:
        site.act("git -c protocol.file.allow=always submodule -q update --init")
    return site


@pytest.mark.parametrize("populated", [False, True])
def test_a_submodule_stays_a_link(tmp_path: Path, populated: bool) -> None:
    site = with_submodule(tmp_path, populated=populated)
    site.act("echo x > x")
    found = site.private.write_tree()
    assert [change.path for change in found.diff.files] == ["x"]
    assert bool(found.warnings) is populated


def test_a_submodules_new_commit_is_the_link_and_nothing_runs_in_it(tmp_path: Path) -> None:
    site = with_submodule(tmp_path, populated=True)
    site.act(
        'cd lib; echo more >> lib.txt; git commit -qam more; git config core.fsmonitor "$TRAP"; '
        'git config filter.x.clean "$TRAP"; echo "* filter=x" > .gitattributes; touch lib.txt'
    )
    site.canary.unlink(missing_ok=True)
    found = site.private.write_tree()
    assert not site.canary.exists()
    head = git(site.worktree / "lib", "-c", "core.fsmonitor=false", "rev-parse", "HEAD")
    assert git(site.repository.common_dir, "ls-tree", found.tree, "lib").split()[2] == head
    assert "'lib'" in " ".join(found.warnings)


@pytest.mark.parametrize(("script", "expected"), [("rm -rf lib", set()), ("rm -rf lib; echo f > lib", {"lib"}),
                                                  ("echo f > lib/f", {"lib/f"})])  # fmt: skip
def test_what_takes_a_submodules_place_is_taken(tmp_path: Path, script: str, expected: set[str]) -> None:
    site = with_submodule(tmp_path, populated=False)
    site.act(script)
    found = content(site.repository.common_dir, site.private.write_tree().tree)
    assert {path for path in found if path.startswith("lib")} == expected


def test_a_repository_inside_is_named_and_its_files_are_there(site: Worksite) -> None:
    site.act("git init -q in; cd in; echo a > a; echo '*.o' > .gitignore; touch a.o; git add a; git commit -qm a")
    found = site.private.write_tree()
    inside = {path for path in content(site.repository.common_dir, found.tree) if path.startswith("in/")}
    assert inside == {"in/a", "in/.gitignore"}
    assert any("'in' is a repository" in warning for warning in found.warnings)


UNREADABLE = """
import os, sys
from pathlib import Path
from architect_parallel.snapshots.private_git import PrivateGit
os.setgroups([])
os.setgid(65534)
os.setuid(65534)  # only now: the interpreter itself may be out of reach for others
found = PrivateGit.open(Path(sys.argv[1])).write_tree()
print(found.tree)
print(*found.warnings, sep="\\n")
"""


@pytest.fixture
def open_site() -> Iterator[Worksite]:
    """A worksite where other users may walk in: pytest's own directories are closed to them."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    directory = Path(tempfile.mkdtemp(prefix="architect-open-"))
    directory.chmod(0o755)
    yield make_worksite(directory)
    shutil.rmtree(directory)


def snapshot_as_nobody(site: Worksite, foreign: tuple[str, ...] = ()) -> list[str]:
    """A snapshot by somebody to whom modes mean something (root reads everything); lines: tree, warnings."""
    top = site.private.directory.parent.parent
    paths = [top, *top.rglob("*")]
    theirs = {site.worktree / name for name in foreign}
    for path in paths:
        os.chown(path, *((0, 0) if path in theirs else (65534, 65534)), follow_symlinks=False)
    command = [sys.executable, "-c", UNREADABLE, str(site.private.directory)]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/nonexistent"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, 0, 0, follow_symlinks=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


def test_what_the_agent_made_unreadable_is_read(open_site: Worksite) -> None:
    open_site.act("echo x > x; mkdir -p d/e; echo y > d/e/y; echo z > d/z; chmod 000 x d/z d/e d dir/run.sh dir")
    (tree,) = snapshot_as_nobody(open_site)
    assert content(open_site.repository.common_dir, tree).keys() == FILES.keys() | {"x", "d/e/y", "d/z"}


def test_what_cannot_be_read_is_named_and_the_rest_is_taken(open_site: Worksite) -> None:
    open_site.act("echo x > x; mkdir d; echo y > d/y; echo z > z; echo w > keep.txt; chmod 000 x d keep.txt")
    tree, *warnings = snapshot_as_nobody(open_site, ("x", "d", "keep.txt"))
    found = content(open_site.repository.common_dir, tree)
    assert found["z"] == ("100644", b"z\n")
    assert found["keep.txt"] == ("100644", b"keep\n"), "the last state known"
    assert {line.split("'")[1] for line in warnings} == {"x", "d", "keep.txt"}


def test_an_opened_private_git_is_the_created_one_and_nothing_planted_in_it_counts(site: Worksite) -> None:
    site.act("echo x > x; echo after > change.txt")
    directory = site.private.directory
    (directory / "config").write_text(f'[core]\n\tfsmonitor = "{site.canary.with_name("trap")}"\n')
    (directory / "info" / "exclude").write_text("*\n")
    (directory / "commondir").write_text("/nonexistent\n")
    (directory / "hooks").mkdir()
    again = PrivateGit.open(directory)
    assert again.facts == site.private.facts
    assert content(site.repository.common_dir, again.write_tree().tree) == on_disk(site.worktree)
    assert not site.canary.exists()


def test_a_snapshot_that_was_killed_midway_is_taken_again(site: Worksite, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.worktree / "change.txt").write_text("AFTER!\n")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # stands for SIGKILL right after staging
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            site.private.write_tree()
    again = PrivateGit.open(site.private.directory).write_tree()
    assert content(site.repository.common_dir, again.tree) == on_disk(site.worktree)


@pytest.mark.parametrize("damage", ["nothing there", "facts.json", "index", "{}"])
def test_a_damaged_private_git_is_one_clear_line(site: Worksite, damage: str) -> None:
    directory = site.private.directory
    if damage == "nothing there":
        shutil.rmtree(directory)
    elif damage == "{}":
        (directory / "facts.json").write_text("{}")
    else:
        (directory / damage).unlink()
    with pytest.raises(EnvironmentProblem, match="not a private git directory"):
        PrivateGit.open(directory)


def test_the_patch_rebuilds_the_result(site: Worksite, tmp_path: Path) -> None:
    site.act("printf '\\0\\1' > binary; echo after > change.txt; rm delete.txt; chmod +x keep.txt")
    site.act("mv dir/run.sh moved")
    found = site.private.write_tree()
    patch = tmp_path / "patch"
    patch.write_bytes(site.private.patch(site.spec.base_commit, found.tree, binary=True))
    git(site.repository.root, "apply", "--index", patch)
    assert git(site.repository.root, "write-tree") == found.tree
    renames = [change for change in found.diff.files if change.status == "R"]
    assert [(change.old_path, change.path) for change in renames] == [("dir/run.sh", "moved")]


def test_keep_never_moves_a_ref(site: Worksite) -> None:
    base, store = site.spec.base_commit, site.repository
    other = site.private.commit(git(store.root, "rev-parse", "HEAD^{tree}"), (base,), "other")
    assert keep(store, base, "run", 1) == "refs/architect/keep/run/1"
    assert keep(store, base, "run", 1) == "refs/architect/keep/run/1"
    assert keep(store, other, "run", 1) == "refs/architect/keep/run/1-2"
    assert keep(store, other, "run", 1, "stash") == "refs/architect/keep/run/1-stash"
    assert store.store.resolve("refs/architect/keep/run/1") == base
    with pytest.raises(GitError):
        keep(store, "1" * 40, "run", 2)


def test_the_dirty_checkout_becomes_a_commit_and_nothing_else_changes(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo", FILES)
    make_repository(root / "inner", {"f": "f"})
    (root / "change.txt").write_text("after\n")
    (root / "delete.txt").unlink()
    (root / "new").write_text("new\n")
    (root / "a.log").write_text("ignored\n")
    git(root, "add", "new")
    before = (git(root, "status", "--porcelain"), git(root, "for-each-ref"), (root / ".git" / "index").read_bytes())
    commit = snapshot_dirty(open_repository(root))
    index = (root / ".git" / "index").read_bytes()
    assert (git(root, "status", "--porcelain"), git(root, "for-each-ref"), index) == before
    assert git(root, "rev-parse", f"{commit}^") == git(root, "rev-parse", "HEAD")
    found = content(root, commit)
    assert found["new"] == ("100644", b"new\n")
    assert found["change.txt"] == ("100644", b"after\n")
    assert found.keys() == (FILES.keys() | {"new"}) - {"delete.txt"}


def test_a_clean_checkout_needs_no_commit_of_its_own(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo", FILES)
    assert snapshot_dirty(open_repository(root)) == git(root, "rev-parse", "HEAD")


def test_a_dirty_state_without_a_commit_below_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(EnvironmentProblem, match="no checkout with a commit"):
        snapshot_dirty(open_repository(tmp_path))
