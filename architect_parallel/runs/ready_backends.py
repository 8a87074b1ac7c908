"""The agents that can be started here, and the one that is meant where none is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from architect_parallel.backends.base import Backend
from architect_parallel.errors import EnvironmentProblem, NoBackendChosen
from architect_parallel.runs.workspace import Workspace


def default_backend(here: Workspace, model: str | None) -> str:
    """The only agent that is ready here for `model`: the default where none is named or configured.

    Raises:
        NoBackendChosen: None is ready, or several are.
    """
    ready = ready_agents(here, model)
    if len(ready) == 1:
        return ready[0]
    if not ready and model is not None:
        return "architect"  # the one that can say what this model needs
    raise NoBackendChosen(ready)


def ready_agents(here: Workspace, model: str | None = None) -> tuple[str, ...]:
    """Names of the agents that can be started here for `model`, without those that run their prompt as a program."""
    agents = [backend for backend in here.backends.values() if not backend.capabilities.runs_its_prompt]
    return tuple(agent.name for agent in agents if agent.availability(here.environ, model=model).ready)


def require_all_ready(wanted: Iterable[tuple[Backend, str | None]], here: Workspace) -> None:
    """Check that every backend can be started here for every model that it is to run.

    Raises:
        EnvironmentProblem: Everything that is missing, each with its remedy.
    """
    models: dict[str, set[str | None]] = {}
    for backend, model in wanted:
        models.setdefault(backend.name, set()).add(model)
    problems = []
    for name, names_of_models in models.items():
        try:
            require_ready(here.backends, here.backends[name], names_of_models, here.environ)
        except EnvironmentProblem as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "\n".join(
            f"{problem.message} ({problem.hint})" if problem.hint else problem.message for problem in problems
        )
        raise EnvironmentProblem(f"{len(problems)} backends cannot run:\n{lines}", hint="architect backends")


def require_ready(
    backends: Mapping[str, Backend], backend: Backend, models: set[str | None], environ: Mapping[str, str]
) -> None:
    """Check that `backend` can be started here for every one of `models`.

    Raises:
        EnvironmentProblem: What is missing, its remedy and the backends that are ready.
    """
    for model in sorted(models, key=lambda name: name or ""):
        state = backend.availability(environ, model=model)
        if state.missing is not None:
            ready = [other.name for other in backends.values() if other.availability(environ).ready]
            others = [f"--backend {name} is ready here" for name in sorted(ready) if name != backend.name]
            hint = "; or ".join([*([state.remedy] if state.remedy else []), *others[:3]])
            raise EnvironmentProblem(f"backend {backend.name} cannot run: {state.missing}", hint=hint or None)
