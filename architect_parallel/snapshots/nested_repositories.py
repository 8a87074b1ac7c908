"""Keep the commits of repositories inside a worktree, submodules included, before the worktree is removed.

An agent clones, runs `git init`, or commits in a submodule. That history is in the worktree or in the worktree's own
git directory (`<admin>/modules/NAME`) and would be removed with it. Here it is copied as data. Refs are copied into a
temporary repository that borrows the objects of both sides. A pack is made there, git computes its object names anew,
and the destination gets objects and refs. No configuration of the inner repository is used, so git runs no program that
it names.

The destination of a submodule is the main checkout's `.git/modules/NAME` where that exists. Otherwise, and for any
other repository, it is this repository. The refs are `refs/architect/keep/<run>/<number>-nested-<k>/…`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.repository.git_dir_files import copy_regular_file, files_below, read_reflog
from architect_parallel.repository.objects import bring_reachable_objects
from architect_parallel.repository.registry import admin_dir_from_dotgit
from architect_parallel.snapshots.baseline import OWN
from architect_parallel.snapshots.keep_refs import KEEP
from architect_parallel.snapshots.private_git import PrivateGit
from architect_parallel.system.git import Git, Repository, make_state_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A repository inside a worktree."""

    name: str
    """The name of a submodule. For another repository, its path below the worktree."""
    location: str
    """Its path below the worktree. Without a checkout there, its name."""
    git_dir: Path
    """HEAD and index of its checkout."""
    common_dir: Path
    """Its refs and objects. The same as `git_dir` unless it is a linked worktree."""
    work_tree: Path | None
    """Its checkout. `None` means that it has none in the worktree."""
    submodule: bool
    """True if its git directory is the worktree's `<admin>/modules/NAME`."""
    inside: bool
    """True if its refs and objects are removed with the worktree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsaved:
    """The parts of a nested repository that are stored nowhere else."""

    commits: bool
    """Commits of its HEAD or branches that no remote-tracking ref of it and no ref of its destination has."""
    changes: tuple[str, ...]
    """Paths with uncommitted changes, below the worktree's top. Empty for what is no submodule."""


def find_nested(path: Path, admin_dir: Path) -> list[Nested]:
    """The repositories inside the worktree at `path`, at any depth, and the submodules in its git directory.

    Raises:
        OSError: A directory cannot be read.
    """
    path, modules = Path(os.path.realpath(path)), Path(os.path.realpath(admin_dir / "modules"))
    repositories: dict[Path, Nested] = {}

    def add(git_dir: Path, name: str, work_tree: Path | None) -> None:
        git_dir = Path(os.path.realpath(git_dir))
        if git_dir in repositories or not (git_dir / "HEAD").is_file():
            return
        common_dir = _common_dir(git_dir)
        submodule = git_dir.is_relative_to(modules)
        inside = common_dir.is_relative_to(modules) or common_dir.is_relative_to(path)
        repositories[git_dir] = Nested(
            name=str(git_dir.relative_to(modules)) if submodule else name,
            location=name,
            git_dir=git_dir,
            common_dir=common_dir,
            work_tree=work_tree,
            submodule=submodule,
            inside=inside,
        )
        for inner in _git_dirs(git_dir / "modules"):
            add(inner, f"{name}/{inner.name}", None)

    for checkout in _checkouts(path):
        link = checkout / ".git"
        git_dir = link if link.is_dir() else admin_dir_from_dotgit(checkout)
        if git_dir is not None:
            add(git_dir, str(checkout.relative_to(path)), checkout)
    for git_dir in _git_dirs(modules):
        add(git_dir, str(git_dir.relative_to(modules)), None)
    return sorted(repositories.values(), key=lambda nested: (nested.name, nested.git_dir))


def unsaved(repository: Repository, nested: Nested) -> Unsaved:
    """Find what would be lost with the worktree.

    Raises:
        EnvironmentProblem, GitError: It cannot be read.
    """
    with _sealed(repository, nested) as git:
        tips = {label: oid for label, oid in _tips(git, nested).items() if not label.startswith("tags/")}
        known = [*_oids(git, "refs/remotes" if nested.inside else "refs"), *_oids_at(_destination(repository, nested))]
        commits = bool(_new(git, tips.values(), known))
    changes: tuple[str, ...] = ()
    if nested.submodule and nested.work_tree is not None:
        with _private_git(repository, nested) as private:
            changes = tuple(f"{nested.location}/{change.path}" for change in private.write_tree().diff.files)
    return Unsaved(commits=commits, changes=changes)


def keep_nested(repository: Repository, nested: Nested, run_id: str, number: int) -> list[str]:
    """Put all commits of its HEAD, branches, tags and stashes that are nowhere else under keep refs.

    Uncommitted changes of a submodule are kept as a commit on its HEAD. Those of other repositories are part of the
    worktree's content.

    Returns:
        The refs, sorted. A ref in another git directory than the repository's begins with that path and a colon.

    Raises:
        EnvironmentProblem, GitError: It cannot be kept. Then nothing of it may be removed.
    """
    content = _commit_changes(repository, nested)
    destination = _destination(repository, nested)
    with _sealed(repository, nested) as git:
        tips = _tips(git, nested) | ({"uncommitted": content} if content else {})
        known = _oids_at(destination)
        if not nested.inside:
            known += _oids(git, "refs")
        elif not content and not _new(git, tips.values(), [*_oids(git, "refs/remotes"), *known]):
            return []
        new_tips = {label: oid for label, oid in tips.items() if _new(git, [oid], known)}
        if not new_tips:
            return []
        bring_reachable_objects(git, new_tips.values(), known, destination)
    _require_whole(repository, destination, new_tips.values(), known)
    return _create_refs(repository, destination, new_tips, run_id, number)


def keep_all_nested(repository: Repository, path: Path, admin_dir: Path, run_id: str, number: int) -> list[str]:
    """`keep_nested` for every repository inside the worktree."""
    try:
        repositories = find_nested(path, admin_dir)
        return [ref for nested in repositories for ref in keep_nested(repository, nested, run_id, number)]
    except OSError as error:
        raise EnvironmentProblem(
            f"the repositories in {path} cannot be kept: {error}", hint="move them away"
        ) from error


def _checkouts(path: Path) -> Iterator[Path]:
    """Directories below `path` that have a `.git`. `path` itself is left out."""

    def fail(error: OSError) -> None:
        raise error

    for directory, inner, files in os.walk(path, onerror=fail):
        if directory != os.fspath(path) and (".git" in inner or ".git" in files):
            yield Path(directory)
        inner[:] = [name for name in inner if name != ".git"]


def _git_dirs(modules: Path) -> Iterator[Path]:
    """Git directories of submodules below `modules`. Names may have slashes."""
    for directory, inner, _ in os.walk(modules):
        if "objects" in inner and (Path(directory) / "HEAD").is_file():
            yield Path(directory)
            inner[:] = []


def _common_dir(git_dir: Path) -> Path:
    with contextlib.suppress(OSError):
        text = os.fsdecode((git_dir / "commondir").read_bytes()).rstrip("\r\n")
        return Path(os.path.realpath(git_dir / text))
    return git_dir


def _destination(repository: Repository, nested: Nested) -> Path:
    home = repository.common_dir / "modules" / nested.name
    is_home = nested.submodule and (home / "objects").is_dir() and (home / "HEAD").is_file() and not home.is_symlink()
    return home if is_home else repository.common_dir


@contextlib.contextmanager
def _sealed(repository: Repository, nested: Nested) -> Iterator[Git]:
    """Yield git on a temporary copy of its refs, with its objects and those of the destination."""
    destination = _destination(repository, nested)
    hash_name = _object_format(destination)
    if _object_format(nested.common_dir) != hash_name:
        raise EnvironmentProblem(f"the repository {nested.name} has other object names than this one")
    with _temporary_repository(repository, hash_name, [nested.common_dir, destination]) as git:
        for name in ("packed-refs", "shallow"):
            copy_regular_file(nested.common_dir / name, git.cwd / name)
        copy_regular_file(nested.git_dir / "HEAD", git.cwd / "HEAD")
        for part in ("refs", "reftable"):
            for file in files_below(nested.common_dir / part):
                copy_regular_file(file, git.cwd / file.relative_to(nested.common_dir))
        if (git.cwd / "reftable").is_dir():
            git.run("config", "extensions.refStorage", "reftable")
        for number, (oid, _) in enumerate(read_reflog(nested.common_dir / "logs" / "refs" / "stash"), start=1):
            git.run("update-ref", f"refs/stashed/{number}", oid, check=False)
        yield git


@contextlib.contextmanager
def _temporary_repository(repository: Repository, hash_name: str, stores: Sequence[Path]) -> Iterator[Git]:
    with tempfile.TemporaryDirectory(prefix="nested-", dir=make_state_dir(repository.state_dir)) as name:
        git_dir = Path(name)
        (git_dir / "refs").mkdir()
        (git_dir / "objects" / "info").mkdir(parents=True)
        (git_dir / "objects" / "pack").mkdir()
        (git_dir / "HEAD").write_text("ref: refs/heads/none\n")
        (git_dir / "config").write_text(
            f"[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = {hash_name}\n"
        )
        lines = [os.fsencode(store / "objects").replace(b"\\", b"\\\\").replace(b'"', b'\\"') for store in stores]
        (git_dir / "objects" / "info" / "alternates").write_bytes(b"".join(b'"' + line + b'"\n' for line in lines))
        yield Git(cwd=git_dir, git_dir=git_dir, no_user_config=True)


def _object_format(git_dir: Path) -> str:
    """The object format of a repository, read from its configuration file alone, without includes."""
    words = ("config", "--no-includes", "--file", git_dir / "config", "--get", "extensions.objectformat")
    output = Git(cwd=Path("/"), no_user_config=True).run(*words, check=False)
    return output.text.lower() if output.code == 0 else "sha1"


def _tips(git: Git, nested: Nested) -> dict[str, str]:
    """HEAD and the refs that are no remote's, as label → object id. A label can be part of a ref's name."""
    tips = {}
    if (head := git.resolve("HEAD^{commit}")) is not None:
        tips["HEAD"] = head
    if not nested.inside:
        return tips
    for line in git.text("for-each-ref", "--format=%(objectname) %(refname)").splitlines():
        oid, _, ref = line.partition(" ")
        if not ref.startswith("refs/remotes/"):
            tips[ref.removeprefix("refs/")] = oid
    return tips


def _oids(git: Git, *patterns: str) -> list[str]:
    return git.text("for-each-ref", "--format=%(objectname)", *patterns).splitlines()


def _oids_at(git_dir: Path) -> list[str]:
    return _oids(Git(cwd=git_dir, git_dir=git_dir, no_user_config=True))


def _new(git: Git, oids: Iterable[str], known: Sequence[str]) -> list[str]:
    """The first commit that the objects reach and the known ones do not, or an empty list."""
    starts = [*oids]
    if not starts:
        return []
    lines = "".join(f"{line}\n" for line in [*starts, *(f"^{oid}" for oid in known)]).encode()
    return git.run("rev-list", "--ignore-missing", "--max-count=1", "--stdin", input=lines).text.split()


def _require_whole(repository: Repository, destination: Path, tips: Iterable[str], known: Sequence[str]) -> None:
    """Check that the destination alone has every object of the tips. A shallow or partial clone does not."""
    with _temporary_repository(repository, _object_format(destination), [destination]) as git:
        copy_regular_file(destination / "shallow", git.cwd / "shallow")
        lines = "".join(f"{line}\n" for line in [*tips, *(f"^{oid}" for oid in known)])
        git.run("rev-list", "--ignore-missing", "--objects", "--quiet", "--stdin", input=lines.encode())
        for oid in tips:
            git.run("cat-file", "-e", oid)


def _create_refs(
    repository: Repository, destination: Path, tips: dict[str, str], run_id: str, number: int
) -> list[str]:
    git = Git(cwd=destination, git_dir=destination)
    stem = f"{KEEP}/{run_id}/{number}-nested"
    existing = git.text("for-each-ref", "--format=%(refname)", f"{KEEP}/{run_id}/").splitlines()
    used = {ref.removeprefix(f"{stem}-").split("/")[0] for ref in existing if ref.startswith(f"{stem}-")}
    k = next(k for k in range(1, 10_000) if str(k) not in used)
    refs = {f"{stem}-{k}/{label}": oid for label, oid in tips.items()}
    git.run("update-ref", "--stdin", input="".join(f"create {ref} {oid}\n" for ref, oid in refs.items()).encode())
    prefix = "" if destination == repository.common_dir else f"{destination}:"
    return sorted(f"{prefix}{ref}" for ref in refs)


@contextlib.contextmanager
def _private_git(repository: Repository, nested: Nested) -> Iterator[PrivateGit]:
    assert nested.work_tree is not None
    inner = Repository(root=nested.work_tree, checkout=nested.work_tree, common_dir=nested.common_dir)
    with tempfile.TemporaryDirectory(prefix="nested-", dir=make_state_dir(repository.state_dir)) as name:
        yield PrivateGit.create(inner, Path(name) / "git", nested.work_tree)


def _commit_changes(repository: Repository, nested: Nested) -> str | None:
    """Commit a submodule's uncommitted changes into its own object store. `None` means that there are none."""
    if not nested.submodule or nested.work_tree is None:
        return None
    with _private_git(repository, nested) as private:
        snapshot = private.write_tree()
        if not snapshot.diff.files:
            return None
        message = f"architect: uncommitted state of the submodule {nested.name}\n"
        return private.commit(snapshot.tree, (private.base_commit,), message, identity=OWN)


def has_commit(repository: Repository, git_dir: Path, commit: str) -> bool | None:
    """Return whether a remote-tracking ref of the repository at `git_dir` reaches the commit.

    `None` means that the repository has no such commit.

    Raises:
        EnvironmentProblem, GitError: It cannot be read.
    """
    name = git_dir.name
    nested = Nested(
        name=name,
        location=name,
        git_dir=git_dir,
        common_dir=git_dir,
        work_tree=None,
        submodule=False,
        inside=True,
    )
    with _sealed(repository, nested) as git:
        if not git.ok("cat-file", "-e", f"{commit}^{{commit}}"):
            return None
        return not _new(git, [commit], _oids(git, "refs/remotes"))
