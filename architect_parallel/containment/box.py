"""The box of one worker: its agent and its checks start in the same one."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex

from architect_parallel.backends.hosts import package_hosts
from architect_parallel.containment.logins import LentLogin, lend, links, take_back
from architect_parallel.containment.profile import CACHE_PLACES, ProfilePlaces, SandboxProfile, profile
from architect_parallel.containment.refusals import refused
from architect_parallel.containment.steps import contained, gateway_of
from architect_parallel.domain import DeniedHost, Mechanism, Sandbox, WorkerSpec
from architect_parallel.errors import EnvironmentProblem
from architect_parallel.supervision.messages import Launch
from architect_parallel.system.git import Repository
from architect_parallel.text.hosts import PACKAGES
from architect_parallel.text.quantities import show_count, summarize
from architect_parallel.text.sanitize import one_line

SEARCHED_BYTES = 1 << 20
"""The end of a log that is searched for refused paths."""
Contain = Callable[[Launch], Launch]
"""Turns the start of a program into its start in a box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The containment of the programs of one worker, judge or resolver."""

    sandbox: Sandbox
    repository: Repository | None
    """`None` means that the directory is in none."""
    run_dir: Path
    environ: Mapping[str, str]
    directory: Path
    """The worktree, or the directory that they work in."""
    name: str
    """Its name in the run's directory: of its repository, its home, its prompt."""
    home: Path | None = None
    """The home of the agent. `None` means that it is in the run's directory."""
    read: tuple[Path, ...] = ()
    """Further places of this program that they read."""
    write: tuple[Path, ...] = ()
    """Further places that they write."""
    lent: list[LentLogin] = field(default_factory=list)
    profiles: list[SandboxProfile] = field(default_factory=list)
    """Of the programs that were started."""
    denied: Counter[str] = field(default_factory=Counter)
    """Hosts that were refused so far."""

    def contain(self, launch: Launch) -> Launch:
        """`launch` as it starts in the box.

        Raises:
            EnvironmentProblem: Its directory for temporary files cannot be made.
        """
        own_repository, repository = self.run_dir / "repo" / self.name, self.repository
        launch = replace(launch, places=(self.directory, own_repository))
        if not self.sandbox.is_contained:
            return launch
        sandbox = self._with_packages()
        # Files of submodules and of git-lfs are kept elsewhere, so that they outlive the worker's repository.
        modules = Path(os.path.realpath(own_repository / "modules"))
        large_files = () if repository is None else (repository.common_dir / "lfs",)
        state = self.run_dir / "state"
        home = self.home or state / self.name
        self.lent.extend(lend(home))
        budget_files = [entry for entry in state.iterdir() if entry.is_file()] if state.is_dir() else []
        places = ProfilePlaces(
            home=Path(self.environ.get("HOME") or "/nonexistent"),
            directory=self.directory,
            checkout=None if repository is None else repository.main_checkout,
            architect_dir=None if repository is None else repository.state_dir,
            write=(own_repository, modules, *large_files, home, *budget_files, *self.write),
            read=(self.run_dir / "prompts" / f"{self.name}.txt", *links(home), *self.read),
            objects=() if repository is None else (repository.common_dir / "objects",),
            caches=tuple(Path(self.environ[name]) for name in CACHE_PLACES if self.environ.get(name)),
            scratch=self._scratch(),
        )
        self.profiles[:] = [profile(sandbox, places)]
        try:
            gateway = gateway_of(launch, sandbox, self.environ, self.denied)
            return replace(contained(launch, sandbox, self.profiles[0]), gateway=gateway)
        except OSError as error:
            raise EnvironmentProblem(f"{places.scratch} cannot be made: {error.strerror}") from error

    def _with_packages(self) -> Sandbox:
        if PACKAGES not in self.sandbox.hosts:
            return self.sandbox
        others = (host for host in self.sandbox.hosts if host != PACKAGES)
        return replace(self.sandbox, hosts=(*others, *package_hosts(self.environ)))

    def denied_hosts(self) -> tuple[DeniedHost, ...]:
        """The hosts that were refused, sorted."""
        return tuple(DeniedHost(host=host, count=count) for host, count in sorted(self.denied.items()))

    def _scratch(self) -> Path:
        if self.sandbox.mechanism is Mechanism.LANDLOCK:  # seen at its own path, and a socket's path is short
            return Path(tempfile.gettempdir()) / f"architect-{token_hex(8)}"
        return self.run_dir / f"scratch-{self.name}-{token_hex(4)}"

    def close(self, log: Path | None = None) -> list[str]:
        """Take the logins of an agent that has ended back. Return warnings, also about what was refused.

        Args:
            log: What the programs printed. `None` means that there is no log.
        """
        warnings = [warning for login in self.lent if (warning := take_back(login)) is not None]
        self.lent.clear()
        if self.denied:
            hosts = [f"{host.host} ({show_count(host.count, 'time')})" for host in self.denied_hosts()]
            first = next(iter(sorted(self.denied)))
            warnings.append(f"the sandbox refused {summarize(hosts, 4)}; to allow one: --allow-host {first}")
        return warnings + (self._refused_paths(log) if log is not None else [])

    def _refused_paths(self, log: Path) -> list[str]:
        """A warning for the paths that the sandbox keeps read-only, and one for those that it hides."""
        if not self.profiles:
            return []
        text = _end_of(log).decode(errors="replace")
        denies_writes = self.sandbox.mechanism is Mechanism.LANDLOCK
        paths = refused(text, self.profiles[-1], denies_writes=denies_writes)
        warnings = []
        for key, act in (("write", "keeps {} read-only"), ("show", "hides {}")):
            names = [one_line(path, 120) for path, allowed_by in paths.items() if allowed_by == key]
            if names:
                allowed = self._directory(Path(names[0])) if key == "write" else names[0]
                hint = f"sandbox: {{{key}: [{allowed}]}} in your configuration"
                warnings.append(f"the sandbox {act.format(summarize(names, 3))}; to allow it: {hint}")
        return warnings

    def _directory(self, path: Path) -> Path:
        """The directory to allow for a path. What is missing cannot be allowed, and the whole home is too much."""
        existing = next(place for place in (path, *path.parents) if os.path.isdir(place))
        return path if existing in (Path("/"), Path(self.environ.get("HOME", "/"))) else existing


def _end_of(log: Path) -> bytes:
    """The last part of a log. Empty means that it cannot be read."""
    try:
        descriptor = os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            file.seek(max(0, os.fstat(descriptor).st_size - SEARCHED_BYTES))
            return file.read(SEARCHED_BYTES)
    except OSError:
        return b""


def worker_box(spec: WorkerSpec, repository: Repository, run_dir: Path, environ: Mapping[str, str]) -> Box:
    """The box of a worker of a run."""
    return Box(
        sandbox=spec.sandbox,
        repository=repository,
        run_dir=run_dir,
        environ=environ,
        directory=Path(spec.worktree_path),
        name=f"worker-{spec.worker_id}",
    )
