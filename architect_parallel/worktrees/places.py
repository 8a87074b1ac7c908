"""The number, branch and directory of each worker: the one place that gives them.

The configuration has a template for the directories (`worktrees.root`) and one for the branches (`worktrees.branch`).
`text.place_names` reads and fills them. Nothing that exists is ever given: no branch, no path, no registration, and
nothing that a live run has planned. Callers hold the registration lock until the journal has what they were given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from architect_parallel.config.paths import home_dir
from architect_parallel.domain import Isolation, WorkerSpec, WorktreeSettings
from architect_parallel.errors import EnvironmentProblem, UsageError
from architect_parallel.repository.heads import is_taken
from architect_parallel.repository.registry import admin_dirs, registered_path, registration_lock
from architect_parallel.system.files import names, not_writable
from architect_parallel.system.git import Git, Repository
from architect_parallel.text import place_names
from architect_parallel.text.names import read_branch

MERGED_PREFIX = "architect/merged-"
"""Prefix of the branches on which several results are combined."""
DIRECTORY_PREFIX = ".architect-parallel-"
"""Prefix of the worktrees that are not a worker's, and of workers' worktrees by default."""
EXCLUDE_ENTRIES = (b"/.architect-parallel-*/", b"/.architect/")
_MOST_TRIED = 10_000


class Places:
    """Gives numbers, branches and directories to workers."""

    def __init__(
        self, repository: Repository, settings: WorktreeSettings, live: Iterable[WorkerSpec] = (), *, least: int = 1
    ) -> None:
        """Read what exists.

        Args:
            live: The workers of live runs. What they have is taken.
            least: The lowest number to give.

        Raises:
            EnvironmentProblem: A branch makes all names of the template impossible.
        """
        self._repository = repository
        self._settings = settings
        self._directory = shared_directory(repository, settings)
        self._pattern = place_names.split_root(settings.root)[1]
        self._taken: set[str] = set()
        """Full names of branches in lower case: a file system may not know upper case from lower case."""
        self._parents: set[str] = set()
        """Their directories. A branch and a branch below it exclude each other."""
        self._take(_branches(repository, settings.branch))
        self._paths = set(map(_comparable, registered_worktrees(repository)))
        live = list(live)
        self._take(f"refs/heads/{spec.branch}" for spec in live if spec.branch)
        self._paths |= {_comparable(spec.worktree_path) for spec in live if spec.isolation is Isolation.WORKTREE}
        numbers = [spec.number for spec in live]
        self._number = max(highest_number(repository, settings) + 1, *(number + 1 for number in numbers), least)

    def give(self, spec: WorkerSpec) -> WorkerSpec:
        """The worker with the next number and, unless it works in place, with a branch and a directory.

        Raises:
            EnvironmentProblem: A name is impossible or too long, or too many names are taken.
        """
        if spec.isolation is Isolation.NONE:
            self._number += 1
            return replace(spec, number=self._number - 1)
        count = 1
        for _ in range(_MOST_TRIED):
            values = place_names.values_for(
                number=self._number, name=spec.name, prompt=spec.prompt, run_id=spec.run_id, count=count
            )
            branch, path = self._filled(values)
            busy = [self._settings.branch] if not self._is_free_branch(branch) else []
            busy += [self._pattern] if not self._is_free_path(path) else []
            if not busy:
                self._number += 1
                self._take([f"refs/heads/{branch}"])
                self._paths.add(_comparable(path))
                return replace(spec, number=self._number - 1, branch=branch, worktree_path=str(path))
            count += any(map(place_names.is_counted, busy))
            self._number += not all(map(place_names.is_counted, busy))
        raise EnvironmentProblem(
            f"no name is free for {spec.name!r}: the last one tried was branch {branch} in {path}",
            hint="architect parallel-cleanup",
        )

    def is_free(self, branch: str, path: Path) -> bool:
        """Tell whether nothing has the branch or the path."""
        return self._is_free_branch(branch) and self._is_free_path(path)

    def _filled(self, values: dict[str, str]) -> tuple[str, Path]:
        branch = place_names.fill(self._settings.branch, values)
        try:
            read_branch(branch)
        except ValueError as error:
            hint = f"change worktrees.branch ({self._settings.branch}) or the worker's name"
            raise EnvironmentProblem(f"branch {branch!r} {error}", hint=hint) from None
        relative = place_names.fill(self._pattern, values | {"repo": self._repository.root.name})
        return branch, self._directory / relative

    def _is_free_branch(self, branch: str) -> bool:
        ref = f"refs/heads/{branch}"
        folded = ref.lower()
        if folded in self._taken or folded in self._parents or _parents(folded) & self._taken:
            return False
        return not is_taken(self._repository.common_dir, ref)

    def _take(self, refs: Iterable[str]) -> None:
        for ref in map(str.lower, refs):
            self._taken.add(ref)
            self._parents |= _parents(ref)

    def _is_free_path(self, path: Path) -> bool:
        return not os.path.lexists(path) and _comparable(path) not in self._paths


def shared_directory(repository: Repository, settings: WorktreeSettings) -> Path:
    """The directory that all worktrees of the program share. Worktrees of no worker are directly in it."""
    if settings.root == place_names.DEFAULT_ROOT:
        return repository.root
    return Path(os.path.realpath(_written_directory(repository, settings)))


def auxiliary_path(repository: Repository, settings: WorktreeSettings, name: str) -> Path:
    """The path of a worktree that is not a worker's, such as that of the baseline checks."""
    return shared_directory(repository, settings) / f"{DIRECTORY_PREFIX}{name}"


def require_root(repository: Repository, settings: WorktreeSettings) -> None:
    """Check that worktrees can be made where the configuration wants them. Nothing is made.

    Raises:
        UsageError: `worktrees.root` leads into a git directory, through a link and back, or hides tracked files.
        EnvironmentProblem: A file is in the way, or a directory cannot be written.
    """
    if settings.root == place_names.DEFAULT_ROOT:
        return
    where = f"worktrees.root {settings.root!r}"
    walked = Path("/")
    for part in Path(_written_directory(repository, settings)).parts[1:]:
        if part == ".." and walked.is_symlink():
            raise UsageError(f"{where}: {walked} is a link, so .. after it is ambiguous", hint="write its target")
        walked = walked.parent if part == ".." else walked / part
    place = shared_directory(repository, settings)
    common = Path(os.path.realpath(repository.common_dir))
    if place != repository.root and (place.is_relative_to(common) or ".git" in place.parts):
        raise UsageError(f"{where} is inside a git directory: {place}", hint="set it to ../{repo}.worktrees/{name}")
    existing = next(path for path in (place, *place.parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise EnvironmentProblem(f"{where}: {existing} is not a directory", hint=f"move {existing} away")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise EnvironmentProblem(f"{where}: {existing} cannot be written", hint=f"ls -ld {existing}")
    if (pattern := _pattern_in_checkout(repository, settings)) is None:
        return
    if set(pattern.split("/")[0]) == {"*"}:
        hint = f"set it to {{repo}}/.worktrees/{place_names.split_root(settings.root)[1]}"
        raise UsageError(f"{where} would hide every new directory of the checkout from git", hint=hint)
    pathspec = f":(top,glob){pattern}/**"
    listed = Git(cwd=repository.root).run("ls-files", "-z", "--", pathspec, env={"GIT_LITERAL_PATHSPECS": "0"})
    if listed.fields:
        raise UsageError(
            f"{where} would hide files of the repository from git: {listed.fields[0]}", hint="choose another directory"
        )


def highest_number(repository: Repository, settings: WorktreeSettings | None = None) -> int:
    """The highest N of a branch or a directory that is named as the configuration says, whoever made it.

    0 means that there is none.

    Args:
        settings: `None` means the default names, `architect/parallel-N` and `.architect-parallel-N`.

    Raises:
        EnvironmentProblem: A branch makes all names of the template impossible.
    """
    settings = settings or WorktreeSettings()
    matches: list[re.Match[str] | None] = []
    if branch := place_names.number_pattern(settings.branch, below=True):
        matches += [branch.fullmatch(ref.removeprefix("refs/heads/")) for ref in _branches(repository, settings.branch)]
    pattern = place_names.split_root(settings.root)[1]
    if directory := place_names.number_pattern(pattern.split("/")[-1], repository.root.name):
        present = names(shared_directory(repository, settings)) if "/" not in pattern else []
        present += [path.name for path in registered_worktrees(repository)]
        matches += [directory.fullmatch(name) for name in present]
    return max((int(match[1]) for match in matches if match), default=0)


def exclude_entries(repository: Repository, settings: WorktreeSettings) -> tuple[bytes, ...]:
    """The lines of `info/exclude` that hide the program's directories and links from `git status`."""
    # A rule such as `node_modules/` does not hide a link of that name.
    links = [os.fsencode(f"/{place_names.as_glob(os.path.normpath(name), '')}") for name in settings.link]
    if settings.root == place_names.DEFAULT_ROOT or (pattern := _pattern_in_checkout(repository, settings)) is None:
        return (*EXCLUDE_ENTRIES, *links)
    inside = os.path.relpath(shared_directory(repository, settings), os.path.realpath(repository.root))
    auxiliary = os.path.normpath(f"/{place_names.as_glob(inside, '')}/{DIRECTORY_PREFIX}*")
    entries = [*EXCLUDE_ENTRIES, os.fsencode(f"{auxiliary}/"), os.fsencode(f"/{pattern}/"), *links]
    return tuple(dict.fromkeys(entries))


def exclude_from_status(repository: Repository, settings: WorktreeSettings | None = None) -> None:
    """Add this program's directories to `<common>/info/exclude`, once. The other lines stay as they are.

    A new directory for worktrees inside the checkout also gets a `.gitignore`, for tools that read nothing else.

    Raises:
        EnvironmentProblem: The file is needed but cannot be written.
    """
    if repository.main_checkout is None:  # no checkout, no status
        return
    settings = settings or WorktreeSettings()
    file = repository.common_dir / "info" / "exclude"
    with registration_lock(repository):
        try:
            old = file.read_bytes() if file.exists() else b""
            present = {line.rstrip(b"\r \t") for line in old.split(b"\n")}
            entries = exclude_entries(repository, settings)
            missing = [entry for entry in entries if entry not in present]
            if missing:
                file.parent.mkdir(exist_ok=True)
                # Appended, not replaced: the file may be a link to the user's dotfiles.
                with file.open("ab") as stream:
                    stream.write(b"" if not old or old.endswith(b"\n") else b"\n")
                    stream.write(b"".join(entry + b"\n" for entry in missing))
        except OSError as error:
            raise not_writable(file, error) from error
        place = shared_directory(repository, settings)
        if place.is_relative_to(repository.root) and not os.path.lexists(place):
            try:
                place.mkdir(parents=True)
                (place / ".gitignore").write_text("# made by architect-parallel for its worktrees\n*\n")
            except OSError as error:
                raise not_writable(place, error) from error


def blocked(repository: Repository, branch: str) -> EnvironmentProblem | None:
    """The reason why no branch can have this name: a branch has the name of its directory. `None` means no reason."""
    parts = branch.split("/")
    for parent in ("/".join(parts[:place]) for place in range(1, len(parts))):
        if repository.store.resolve(f"refs/heads/{parent}") is not None:
            return EnvironmentProblem(
                f"a branch named {parent!r} in {repository.root} makes branches named {parent}/… impossible",
                hint=f"git branch -m {parent} {parent}-old",
            )
    return None


def _written_directory(repository: Repository, settings: WorktreeSettings) -> str:
    """The absolute path of the shared directory as written, `..` and links included."""
    shared = place_names.split_root(settings.root)[0]
    values = {"repo": repository.root.name}
    if shared == "~" or shared.startswith("~/"):
        return str(home_dir()) + place_names.fill(shared[1:], values)
    if shared.startswith("{repo}"):
        return str(repository.root) + place_names.fill(shared.removeprefix("{repo}"), values)
    absolute = settings.root.startswith("/")
    return os.path.join("/" if absolute else repository.root, place_names.fill(shared, values))


def _pattern_in_checkout(repository: Repository, settings: WorktreeSettings) -> str | None:
    """The pattern of `.gitignore` of the worktrees, from the checkout's top. `None` means that they are outside."""
    if repository.main_checkout is None:
        return None
    place, root = shared_directory(repository, settings), Path(os.path.realpath(repository.root))
    if not place.is_relative_to(root):
        return None
    inside = place_names.as_glob(os.path.relpath(place, root), "")
    pattern = place_names.as_glob(place_names.split_root(settings.root)[1], repository.root.name)
    return os.path.normpath(f"{inside}/{pattern}")


def _branches(repository: Repository, template: str) -> Iterator[str]:
    """Full names of the branches that can be in the way of the template's."""
    shared = template.partition("{")[0].rpartition("/")[0]
    if shared and (problem := blocked(repository, f"{shared}/")) is not None:
        raise problem
    top = f"refs/heads/{shared}".rstrip("/")
    yield from repository.store.text("for-each-ref", "--format=%(refname)", top).splitlines()
    # The loose files too: git does not list broken and dangling refs, yet they block the name.
    yield from (f"{top}/{name}" for name in names(repository.common_dir / top))


def _comparable(path: str | Path) -> str:
    return os.path.realpath(path).lower()


def _parents(ref: str) -> set[str]:
    return {ref[:place] for place, character in enumerate(ref) if character == "/"}


def registered_worktrees(repository: Repository) -> list[Path]:
    """The paths of all linked worktrees. They may be gone."""
    return [path for admin in admin_dirs(repository) if (path := registered_path(admin)) is not None]
