"""The worker repository: a whole git directory that belongs to one worktree while an agent or a check runs in it.

A linked worktree shares refs, configuration, hooks and objects with the user's repository. What `git commit` needs of
them is what lets an agent move branches, flip `core.bare` or plant programs that run later. So `lend` makes a git
directory with everything the agent needs. It borrows the common objects, and `.git` of the worktree names it. The
registration below `<common>/worktrees/` stays untouched meanwhile.

`take_back` reads what is in the worker repository as data. It copies the objects, moves the worker's branch, keeps
every other commit under `refs/architect/keep/`, carries index and HEAD over to the registration, and lets `.git` name
that again. Every step can be repeated. The directory goes last, so a launcher that is killed on the way leaves it, and
`settle` finishes the work for the next command. Pointers are relative: a repository that is moved or copied meanwhile
still works.

Layout: `<run dir>/repo/<name>` is the git directory, `<run dir>/repo/<name>.refs` the refs it began with.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import WorkerSpec
from architect_parallel.repository import heads, registry
from architect_parallel.repository.filters import STATE_DIRECTORIES
from architect_parallel.snapshots.baseline import OWN, is_real_directory
from architect_parallel.snapshots.keep_refs import keep
from architect_parallel.system.files import make_private_dir, replace_file
from architect_parallel.system.git import Git, Repository, copy_objects

DIRECTORY = "repo"
"""Name of the directory of worker repositories below a run's directory."""
UNPACK_LIMIT = 100
"""Up to so many objects are written one by one, more as one pack; the same number as git's `fetch.unpackLimit`."""
_LARGEST_REF_FILE = 4096
_NOT_LENT = ("refs/architect/", "refs/stash", "refs/bisect/", "refs/worktree/", "refs/rewritten/")
_NOT_TAKEN = (*_NOT_LENT, "refs/remotes/", "refs/prefetch/")
_OPERATION_FILES = (
    "MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "AUTO_MERGE", "SQUASH_MSG", "CHERRY_PICK_HEAD", "REVERT_HEAD",
    "REBASE_HEAD", "ORIG_HEAD", "BISECT_LOG", "BISECT_START", "BISECT_NAMES", "BISECT_TERMS",
)  # fmt: skip
_OPERATION_DIRS = ("rebase-merge", "rebase-apply", "sequencer")
_OID = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_ADMIN = b"# registration: "
"""Begins the line of the file of refs that names the directory of git's registration."""
_EMPTY_TREES = frozenset(
    {
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
    }
)
"""Ids of the tree without entries, with SHA-1 and with SHA-256."""
_BARE = re.compile(rb"(?im)^([ \t]*bare[ \t]*=[ \t]*).*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What `take_back` found beside the worker's branch."""

    warnings: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Keep refs it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRepository:
    """A place for one worker repository; whether there is one, the directory tells."""

    repository: Repository
    directory: Path
    worktree: Path
    admin_dir: Path | None
    """git's registration of the worktree. `None` means that it is gone; then only commits are taken."""
    branch: str = ""
    """Short name of the worker's branch. An empty name means that there is none."""

    @property
    def exists(self) -> bool:
        """Whether there is one; also where another user made it and it cannot be seen."""
        try:
            return self.directory.is_dir()
        except PermissionError:
            return True

    @property
    def _seed_file(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.refs")

    def lend(self) -> None:
        """Make the worker repository as the worktree is now, and let `.git` of the worktree name it.

        Raises:
            GitError: The repository cannot be read.
            EnvironmentProblem: The directory cannot be written.
        """
        with self._writable():
            self._lend()

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise registry.not_writable(Path(error.filename or self.directory), error) from error

    def _lend(self) -> None:
        assert self.admin_dir is not None
        place = self.directory.with_name(f"{self.directory.name}.new")
        for stale in (place, self.directory):
            registry.delete_tree(stale)
        make_private_dir(place)
        for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"):
            (place / name).mkdir(parents=True, exist_ok=True)
        common, admin = self.repository.common_dir, self.admin_dir
        objects = os.path.relpath(os.path.realpath(common / "objects"), os.path.realpath(place / "objects"))
        (place / "objects" / "info" / "alternates").write_bytes(os.fsencode(objects) + b"\n")
        self._write_refs(place)
        self._write_head(place)
        self._write_configuration(place)
        for name in ("info/exclude", "info/attributes", "shallow"):
            _copy_file(common / name, place / name)
        of_index = [name for name in registry.names(admin) if name == "index" or name.startswith("sharedindex.")]
        for name in ("config.worktree", "info/sparse-checkout", *of_index):
            _copy_file(admin / name, place / name)
        _copy_operations(admin, place)
        for name in registry.names(common / "hooks"):
            hook = common / "hooks" / name
            if hook.is_dir():
                shutil.copytree(hook, place / "hooks" / name, symlinks=True)
            elif hook.is_file() and not name.endswith(".sample"):  # also one that is a link to a script elsewhere
                shutil.copy2(hook, place / "hooks" / name)
        (admin / "modules").mkdir(exist_ok=True)
        os.symlink(os.path.relpath(os.path.realpath(admin / "modules"), os.path.realpath(place)), place / "modules")
        for name in STATE_DIRECTORIES:
            if (common / name).is_dir():
                os.symlink(os.path.relpath(os.path.realpath(common / name), os.path.realpath(place)), place / name)
        os.rename(place, self.directory)
        self._point_at(self.directory, relative=True)

    def _write_refs(self, place: Path) -> None:
        output = self.repository.store.run("for-each-ref", "--format=%(objectname) %(refname) %(symref)")
        packed = [b"# pack-refs with: sorted \n"]
        for line in output.stdout.split(b"\n")[:-1]:
            oid, ref, symbolic = line.split(b" ", 2)
            if os.fsdecode(ref).startswith(_NOT_LENT):
                continue
            if symbolic:
                file = place / os.fsdecode(ref)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"ref: " + symbolic + b"\n")
            else:
                packed.append(oid + b" " + ref + b"\n")
        (place / "packed-refs").write_bytes(b"".join(packed))
        assert self.admin_dir is not None
        self._seed_file.write_bytes(_ADMIN + os.fsencode(self.admin_dir.name) + b"\n" + b"".join(packed))

    def _write_head(self, place: Path) -> None:
        assert self.admin_dir is not None
        head = heads.read_head(self.admin_dir) or f"ref: refs/heads/{self.branch}"
        (place / "HEAD").write_bytes(os.fsencode(f"{head}\n"))

    def _write_configuration(self, place: Path) -> None:
        """A copy of the repository's configuration, with what is true of this directory in place of what is not."""
        common = self.repository.common_dir
        text = b""
        with contextlib.suppress(FileNotFoundError):
            text = (common / "config").read_bytes()
        text, replaced = _BARE.subn(rb"\1false", text)
        own = b"" if replaced else b"[core]\n\tbare = false\n"
        if shutil.which("git-lfs") and not self.repository.git.ok("config", "--get", "lfs.storage"):
            own += f"[lfs]\n\tstorage = {_quoted(os.path.realpath(common / 'lfs'))}\n".encode(errors="surrogateescape")
        config = place / "config"
        config.write_bytes(text + (b"" if not text or text.endswith(b"\n") else b"\n") + own)
        git = Git(cwd=place, git_dir=place)
        lower = text.lower()
        for key in ("core.worktree", "extensions.refstorage"):
            if key.rpartition(".")[2].encode() in lower:
                git.run("config", "--file", config, "--unset-all", key, check=False)
        if b"include" in lower:
            pattern = r"^include(if\..*)?\.path$"
            for field in git.run("config", "--file", config, "-z", "--get-regexp", pattern, check=False).fields:
                key, _, path = field.partition("\n")
                if path and not path.startswith(("/", "~")):
                    same = f"^{re.escape(path)}$"
                    git.run("config", "--file", config, "--replace-all", key, os.fspath(common / path), same)

    def take_back(self, run_id: str, number: int, *, label: str = "", follows: bool = True) -> Taken:
        """Take everything the agent put into the worker repository, and let `.git` name the registration again.

        Needs the processes gone that used it. Does nothing but mend `.git` where there is no worker repository.

        Args:
            number: The worker's, for keep refs.
            label: Comes first in the names of keep refs.
            follows: Move the worker's branch, HEAD and index as the agent did. Otherwise a branch that moved is kept
                like any other, and the worktree stays as it was before.

        Raises:
            GitError: The commits cannot be read. The worker repository stays and `.git` names it.
            EnvironmentProblem: Something cannot be written.
        """
        with self._writable():
            return self._take_back(run_id, number, label, follows)

    def _take_back(self, run_id: str, number: int, label: str, follows: bool) -> Taken:
        if not self.exists:
            self._point_back()
            return Taken()
        bring_objects(self.repository, self.directory / "objects")
        _take_shallow(self.repository, self.directory)
        seed, refs = _parsed(_content(self._seed_file, largest=None)), _read_refs(self.directory)
        taking = _Taking(self, run_id, number, label, seed, refs)
        taking.take(follows=follows)
        if self.admin_dir is not None and follows:
            self._carry_over(taking)
        self._point_back()
        if self.admin_dir is not None:
            with contextlib.suppress(OSError):
                (self.admin_dir / "modules").rmdir()
        self._forget()
        return Taken(warnings=tuple(taking.warnings), kept=tuple(taking.kept))

    def discard(self) -> None:
        """Remove the worker repository with all that is in it, and let `.git` name the registration again."""
        self._point_back()
        self._forget()

    def _forget(self) -> None:
        registry.delete_tree(self.directory)
        self._seed_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the last one; a second user of the repository need not wonder about it
            self.directory.parent.rmdir()

    def _carry_over(self, taking: _Taking) -> None:
        """HEAD, index and operations in progress become those of the registration; all of it is copied as data."""
        admin = self.admin_dir
        assert admin is not None
        if not admin.is_dir():
            return
        if taking.detached_at is not None:
            words = ("update-ref", "--no-deref", "HEAD", taking.detached_at)
            Git(cwd=self.repository.common_dir, git_dir=admin).run(*words, check=False)
        with contextlib.suppress(OSError):
            ours, theirs = (_stamp(place / "index") for place in (admin, self.directory))
            if theirs is not None and ours != theirs:
                for name in registry.names(self.directory):
                    if name.startswith("sharedindex."):
                        _copy_file(self.directory / name, admin / name)
                _copy_file(self.directory / "index", admin / "index")
        (admin / "info").mkdir(exist_ok=True)
        _copy_file(self.directory / "info" / "sparse-checkout", admin / "info" / "sparse-checkout")
        with contextlib.suppress(OSError):
            (admin / "info").rmdir()
        for name in (*_OPERATION_FILES, *_OPERATION_DIRS):
            registry.delete_tree(admin / name)
        _copy_operations(self.directory, admin)

    def _point_back(self) -> None:
        """Let `.git` name the registration, if it names this directory or is not there."""
        link = self.worktree / ".git"
        pointed = registry.admin_dir_from_dotgit(self.worktree)
        is_lent = pointed is not None and _same_place(pointed, self.directory)
        if self.admin_dir is None or not is_real_directory(self.worktree) or (os.path.lexists(link) and not is_lent):
            return
        relative = not os.path.isabs(os.fsdecode(_content(self.admin_dir / "gitdir")).strip() or "/")
        self._point_at(self.admin_dir, relative=relative)

    def _point_at(self, git_dir: Path, *, relative: bool) -> None:
        name = (
            os.path.relpath(os.path.realpath(git_dir), os.path.realpath(self.worktree))
            if relative
            else os.fspath(git_dir)
        )
        # One fixed name: after a kill in between, the next call takes it away by using it.
        unfinished = self.worktree / ".git.architect-new"
        unfinished.write_bytes(os.fsencode(f"gitdir: {name}\n"))
        os.replace(unfinished, self.worktree / ".git")


class _Taking:
    """One pass over the refs and reflogs of a worker repository whose objects are in the common store by now."""

    def __init__(
        self, place: WorkerRepository, run_id: str, number: int, label: str, seed: Mapping[str, str],
        refs: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._place = place
        self._store = place.repository.store
        self._run_id = run_id
        self._number = number
        self._label = f"{label}-" if label else ""
        self._seed = seed
        self._refs = refs
        self.detached_at: str | None = None
        """The commit that HEAD of the registration has to name. `None` means that HEAD stays on the branch."""
        self.warnings: list[str] = []
        self.kept: list[str] = []

    def take(self, *, follows: bool) -> None:
        own = f"refs/heads/{self._place.branch}" if self._place.branch else ""
        changed = {
            ref: oid for ref, oid in self._refs.items() if self._seed.get(ref) != oid and not ref.startswith(_NOT_TAKEN)
        }
        tip = changed.pop(own, None)
        head, on = self._head()
        wanted = [oid for oid in (tip, head) if oid is not None and oid not in self._seed.values()]
        if wanted and not self._is_whole(wanted):
            self.warnings.append("the agent's commits are damaged and not collected; its files are")
            tip = head = None
        if not follows or not own:
            self._keep_rest(changed | ({own: tip} if tip is not None else {}))
            return
        if tip is not None:
            self._move_branch(own, tip)
        if on != own and (on or head):
            shown = on.removeprefix("refs/heads/") if on else (head or "")[:12]
            self.detached_at = head
            self.warnings.append(f"HEAD was left at {shown}, not at {self._place.branch}")
        if own in self._seed and own not in self._refs:
            self.warnings.append(f"{self._place.branch} was deleted; it is made again")
        self._keep_rest(changed, {oid for oid in (tip, head) if oid is not None})

    def _head(self) -> tuple[str | None, str]:
        """The commit HEAD names, and the full name of the branch it is on (empty: none)."""
        text = os.fsdecode(_content(self._place.directory / "HEAD")).strip()
        if text.startswith("ref: refs/"):
            ref = text.removeprefix("ref: ")
            return self._refs.get(ref), ref
        return (text, "") if _OID.fullmatch(text) else (None, "")

    def _is_whole(self, commits: list[str]) -> bool:
        words = ("rev-list", "--objects", "--quiet", *commits, "--not", "--all")
        if self._store.run(*words, check=False).code == 0:
            return True
        return all(self._store.ok("cat-file", "-e", f"{commit}^{{tree}}") for commit in commits)

    def _move_branch(self, ref: str, tip: str) -> None:
        message = f"architect: commits of {self._run_id} worker {self._number}"
        before = self._seed.get(ref, "")
        words = ("update-ref", "--no-deref", "--create-reflog", "-m", message, ref, tip)
        moved = self._store.run(*words, before, check=False)
        if moved.code != 0 and self._store.resolve(ref) != tip:
            kept = self._keep(tip, "branch")
            reason = " ".join(moved.stderr.split())[:200]
            self.warnings.append(f"{self._place.branch} could not be moved ({reason}); the agent's commits are {kept}")

    def _keep_rest(self, changed: Mapping[str, str], taken: Set[str] = frozenset()) -> None:
        """Keep every commit that no ref of the repository, no remote of the agent's and no commit of `taken` holds."""
        directory = self._place.directory
        stashes = _reflog(directory / "logs" / "refs" / "stash")
        logs = [directory / "logs", *(admin / "logs" for admin in self._own_worktrees())]
        logged = {oid for log in logs for file in _files(log) for oid, _ in _reflog(file)}
        candidates = {*changed.values(), *logged} - {*self._seed.values(), *taken}
        if not candidates and not changed:
            return
        held = [oid for ref, oid in self._refs.items() if ref.startswith("refs/remotes/")] + list(taken)
        unsafe = self._unsafe(candidates, held)
        fetched = (directory / "FETCH_HEAD").exists()
        for ref, oid in sorted(changed.items()):
            kind = self._store.run("cat-file", "-t", oid, check=False).text
            is_tag = kind == "tag"
            commit = self._store.resolve(f"{oid}^{{commit}}") if is_tag else oid
            if commit in unsafe or (is_tag and not fetched) or kind in ("blob", "tree"):
                name = ref.removeprefix("refs/").replace("heads/", "branch-", 1).replace("tags/", "tag-", 1)
                where = f"{ref.removeprefix('refs/heads/')} was set to {oid[:12]}"
                self.warnings.append(f"while it ran, {where}; that is kept as {self._keep(oid, name)}")
        for oid, message in stashes:
            if oid in unsafe:
                kept = self._keep(oid, "stash")
                self.warnings.append(f"a stash was made while it ran ({message}); it is kept as {kept}")
        left = logged & self._unsafe(logged & unsafe, held)
        if left:
            self._keep_abandoned(left)

    def _own_worktrees(self) -> list[Path]:
        """Registrations of linked worktrees that the agent made; they go with its git directory."""
        parent = self._place.directory / "worktrees"
        found = [parent / name for name in registry.names(parent)]
        for admin in found:
            where = os.fsdecode(_content(admin / "gitdir")).strip().removesuffix("/.git")
            self.warnings.append(f"the agent made a worktree at {where}: its files stay, git does not know it any more")
        return found

    def _keep_abandoned(self, commits: Iterable[str]) -> None:
        """Keeps commits that only a reflog names, as parents of one commit."""
        found = sorted(commits)
        tips = self._store.run("merge-base", "--independent", *found, check=False).text.split() or found
        tree = self._store.run("hash-object", "-t", "tree", "-w", "--stdin").text
        parents = [word for tip in tips for word in ("-p", tip)]
        message = f"architect: commits that worker {self._number} of run {self._run_id} left behind\n".encode()
        self._keep(
            self._store.run("commit-tree", tree, *parents, "-F", "-", input=message, env=OWN.environment).text,
            "abandoned",
        )

    def _unsafe(self, candidates: Iterable[str], held: Iterable[str]) -> Set[str]:
        """Commits that the candidates reach and neither a ref of the repository nor a commit of `held` does."""
        wanted = set(candidates)
        if not wanted:
            return wanted
        lines = "".join(f"{oid}\n" for oid in (*wanted, *(f"^{oid}" for oid in held)))
        words = ("rev-list", "--ignore-missing", "--stdin", "--not", "--all")
        output = self._store.run(*words, input=lines.encode(), check=False)
        if output.code != 0:  # a ref of the user's is broken
            return {oid for oid in wanted if self._store.ok("cat-file", "-e", oid)}
        return set(output.text.split())

    def _keep(self, oid: str, name: str) -> str:
        words = re.sub("[^A-Za-z0-9_-]+", "-", f"{self._label}{name}")[:80].strip("-")
        self.kept.append(keep(self._place.repository, oid, self._run_id, self._number, words))
        return self.kept[-1]


def ceiling(worktree: Path) -> dict[str, str]:
    """Variables for what runs in a worktree: git without a `.git` there must not find the repository around it.

    https://git-scm.com/docs/git#Documentation/git.txt-GITCEILINGDIRECTORIES
    """
    above = {os.fspath(worktree.parent), os.path.realpath(worktree.parent)}
    return {"GIT_CEILING_DIRECTORIES": os.pathsep.join(sorted(above))}


def place_of(run_dir: Path, name: str) -> Path:
    """Where the worker repository `name` of a run is while there is one."""
    return run_dir / DIRECTORY / name


def of_worker(repository: Repository, run_dir: Path, spec: WorkerSpec) -> WorkerRepository:
    """The place of a worker's repository, with the registration as it is now."""
    worktree = Path(spec.worktree_path)
    directory = place_of(run_dir, f"worker-{spec.worker_id}")
    admin = registry.admin_dir_of(repository, worktree)
    if admin is None:  # the repository was moved or copied: git looks for the worktree elsewhere
        line = _content(directory.with_name(f"{directory.name}.refs"), largest=None).partition(b"\n")[0]
        name = os.fsdecode(line.removeprefix(_ADMIN)) if line.startswith(_ADMIN) else ""
        known = {admin.name: admin for admin in registry.admin_dirs(repository)}
        pointed = registry.admin_dir_from_dotgit(worktree)
        admin = known.get(name) if pointed is not None and _same_place(pointed, directory) else None
    return WorkerRepository(
        repository=repository, directory=directory, worktree=worktree, admin_dir=admin, branch=spec.branch
    )


def settle(repository: Repository, run_dir: Path, spec: WorkerSpec) -> tuple[str, ...]:
    """Take back what the launcher of `spec` left in the worker repository when it was killed; return the warnings.

    Raises:
        GitError, EnvironmentProblem: As `take_back`.
    """
    place = of_worker(repository, run_dir, spec)
    return place.take_back(spec.run_id, spec.number).warnings if place.exists else ()


def bring_objects(repository: Repository, objects: Path) -> None:
    """Copy every object of another object directory into the common one; each is checked by its content.

    Objects that the other directory borrows are left out, and so is what the common store has already.

    Raises:
        GitError: An object is damaged, or the common store cannot be written.
    """
    listed = _own_objects(repository, objects)
    if not listed:
        return
    source = Git(cwd=repository.common_dir, git_dir=repository.common_dir, object_directory=objects)
    words = ("cat-file", "--batch-check=%(objectname)", "--buffer")
    known = repository.store.run(*words, input="\n".join(listed).encode(), check=False)
    missing = [line.partition(" ")[0] for line in known.text.split("\n") if line.endswith(" missing")]
    missing += [oid for oid in listed if oid in _EMPTY_TREES]  # git says it knows this one where no store has it
    if known.code != 0:  # a partial clone cannot say what is missing without fetching it
        missing = listed
    promised = _promised(repository, objects)
    for oids, promisor in (([oid for oid in missing if oid not in promised], False),
                           ([oid for oid in missing if oid in promised], True)):  # fmt: skip
        if not oids:
            continue
        if len(oids) <= UNPACK_LIMIT and not promisor:
            receive: tuple[str, ...] = ("unpack-objects", "-q")
        else:
            receive = ("index-pack", "--stdin", "--fsck-objects", *(("--promisor",) if promisor else ()))
        copy_objects(source, oids, repository.store, *receive)


def _own_objects(repository: Repository, objects: Path) -> list[str]:
    """Ids of the objects in the directory itself, not of those that it borrows."""
    found = []
    for folder in registry.names(objects):
        if re.fullmatch("[0-9a-f]{2}", folder):
            found += [oid for name in registry.names(objects / folder) if _OID.fullmatch(oid := folder + name)]
    for name in registry.names(objects / "pack"):
        if name.endswith(".idx"):
            found += _packed(repository, objects / "pack" / name)
    return found


def _packed(repository: Repository, index: Path) -> list[str]:
    output = repository.store.run("show-index", input=_content(index, largest=None), check=False)
    return [words[1] for line in output.text.split("\n") if len(words := line.split()) > 1 and _OID.fullmatch(words[1])]


def _promised(repository: Repository, objects: Path) -> frozenset[str]:
    """Objects that came from a promisor remote, which may lack what they name."""
    packs = [name for name in registry.names(objects / "pack") if name.endswith(".promisor")]
    indexes = [objects / "pack" / f"{name.removesuffix('.promisor')}.idx" for name in packs]
    return frozenset(oid for index in indexes for oid in _packed(repository, index))


def _take_shallow(repository: Repository, directory: Path) -> None:
    """Add the ends of history that a shallow fetch of the agent's brought, if their parents are not here."""
    common = repository.common_dir / "shallow"
    known = _content(common).split()
    new = [
        line
        for line in _content(directory / "shallow").split()
        if line not in known and _OID.fullmatch(line.decode("ascii", "replace"))
    ]
    ends = []
    for line in new:
        parents = repository.store.run("cat-file", "commit", line.decode(), check=False)
        named = [
            head.split()[1].decode()
            for head in parents.stdout.split(b"\n\n")[0].split(b"\n")
            if head.startswith(b"parent ")
        ]
        if parents.code == 0 and not all(repository.store.ok("cat-file", "-e", parent) for parent in named):
            ends.append(line)
    if ends:
        replace_file(common, b"".join(line + b"\n" for line in (*known, *ends)))


def _read_refs(directory: Path) -> dict[str, str]:
    """The refs of a git directory, read as data: no symbolic ref and no link is followed."""
    if registry.names(directory / "reftable"):  # the agent changed the format: only git can read it
        output = Git(cwd=directory, git_dir=directory).run("for-each-ref", "--format=%(objectname) %(refname)")
        return _parsed(output.stdout)
    refs = _parsed(_content(directory / "packed-refs", largest=None))
    for file in _files(directory / "refs"):
        text = _content(file).decode("ascii", "replace").strip()
        if _OID.fullmatch(text):
            refs[os.path.relpath(file, directory)] = text
    return refs


def _parsed(packed: bytes) -> dict[str, str]:
    refs = {}
    for line in packed.split(b"\n"):
        oid, _, ref = os.fsdecode(line).partition(" ")
        if _OID.fullmatch(oid) and ref.startswith("refs/"):
            refs[ref] = oid
    return refs


def _reflog(file: Path) -> list[tuple[str, str]]:
    """(Commit, message) of each entry, oldest first: `<old> <new> <who> <time> <zone>\\t<message>`."""
    entries = []
    for line in _content(file, largest=None).split(b"\n"):
        head, _, message = line.partition(b"\t")
        words = head.split(b" ", 2)
        if len(words) == 3 and _OID.fullmatch(oid := words[1].decode("ascii", "replace")) and set(oid) != {"0"}:
            entries.append((oid, message.decode("utf-8", "replace")))
    return entries


def _files(directory: Path) -> Iterator[Path]:
    for here, _, names in os.walk(directory):
        for name in names:
            yield Path(here, name)


def _content(path: Path, largest: int | None = _LARGEST_REF_FILE) -> bytes:
    """Bytes of a regular file; nothing for a link, anything else, or a file larger than `largest` bytes."""
    try:
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and (largest is None or found.st_size <= largest):
            return path.read_bytes()
    except OSError:
        pass
    return b""


def _copy_operations(source: Path, target: Path) -> None:
    for name in _OPERATION_FILES:
        _copy_file(source / name, target / name)
    for name in _OPERATION_DIRS:
        for file in _files(source / name):
            place = target / os.path.relpath(file, source)
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy_file(file, place)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a regular file with its mode and times; anything else is left out."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISREG(source.lstat().st_mode):
            registry.delete_tree(target)
            shutil.copy2(source, target)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _same_place(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
