"""The things that all workers of a run on this machine share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from architect_parallel.backends import environment
from architect_parallel.backends.base import Backend
from architect_parallel.checks.checker import Checker
from architect_parallel.containment.metering import RunBudget
from architect_parallel.domain import SHELL, Price, WorkerSpec, WorktreeSettings
from architect_parallel.supervision.monitor import Sampler
from architect_parallel.supervision.stop import StopToken
from architect_parallel.system.git import Repository
from architect_parallel.tripwire.monitor import Tripwire
from architect_parallel.workers.agent_session import AgentSession
from architect_parallel.worktrees.checkout_cache import UnpackedBase
from architect_parallel.worktrees.prepare import copied_dotenv
from architect_parallel.worktrees.services import services


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """The repository, backends, environment and settings of a run's workers."""

    repository: Repository
    run_dir: Path
    """The run's directory below the git common directory: prompts, logs, private git directories, agents' homes."""
    backends: Mapping[str, Backend]
    environ: Mapping[str, str]
    """The launcher's environment. Each backend gets what its allow-list names."""
    worktrees: WorktreeSettings = field(default_factory=WorktreeSettings)
    checks_env: tuple[str, ...] = ()
    """Names of further variables that checks get."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    unpacked: UnpackedBase | None = None
    """The base commit's objects, quick to check out. `None` means that a cache is not worth it."""
    resolve_inputs: Callable[[WorkerSpec], WorkerSpec] = lambda spec: spec
    """Completes a worker's spec with the results of its dependencies, which have ended by then."""
    keeps_keys: bool = False
    """As in `AgentSession`."""
    run_budget: RunBudget = field(default_factory=RunBudget)
    allow_secrets: bool = False
    """Accept results that hold a key which the agent was given."""
    make_room: Callable[[], None] = lambda: None
    """Frees disk space for the work of an agent that filled the disk."""
    tripwire: Tripwire | None = None
    """Watches the main checkout while agents run. `None` means that nothing does."""

    def setup_environment(
        self, backend: Backend, variables: Mapping[str, str] | None = None
    ) -> environment.CommandEnvironment:
        """The environment of setup commands of a worker with this backend.

        Args:
            variables: Further variables of each command. `None` means none.
        """
        return replace(self.task_environment(backend), names=self.worktrees.setup_env, added=variables or {})

    def task_environment(self, backend: Backend) -> environment.CommandEnvironment:
        """The environment of a task that is itself a command."""
        return environment.CommandEnvironment(
            environ=self.environ,
            base=(*environment.COMMON, *backend.environment),
            keys=environment.key_names(self.backends.values()),
        )

    def secrets(self, backend: Backend, worktree: Path, prompt: str) -> tuple[str, ...]:
        """The values of secrets that an agent in the worktree and the setup commands get, longest first.

        A shell task also gets those that its prompt names.
        """
        setup = self.setup_environment(backend)
        values = {
            *environment.secret_values(backend, self.environ),
            *(self.task_environment(backend).secrets(prompt) if backend.name == SHELL else ()),
            *(value for command in self.worktrees.setup for value in setup.secrets(command)),
            *environment.dotenv_secrets((*worktree.glob(".env*"), *copied_dotenv(self.repository, self.worktrees))),
        }
        return tuple(sorted(values, key=lambda value: (-len(value), value)))

    def services(self, owner: str) -> AbstractContextManager[dict[str, str]]:
        """Ports and a name for the services of a worker, as variables."""
        return services(self.run_dir, owner, self.worktrees)

    def session(self, backend: Backend, sampler: Sampler) -> AgentSession:
        """The runs of an agent of a worker."""
        return AgentSession(
            backend=backend,
            environ=self.environ,
            prices=self.prices,
            sampler=sampler,
            keeps_keys=self.keeps_keys,
            run_budget=self.run_budget,
        )

    def checker(self, sampler: Sampler, stop_token: StopToken, variables: Mapping[str, str] | None = None) -> Checker:
        """A checker for a worker of the run, or for its base commit.

        Args:
            variables: Further variables of each check. `None` means none.
        """
        return Checker(
            repository=self.repository,
            run_dir=self.run_dir,
            environ=self.environ,
            checks_env=self.checks_env,
            variables=variables or {},
            keys=environment.key_names(self.backends.values()),
            sampler=sampler,
            stop_token=stop_token,
        )
