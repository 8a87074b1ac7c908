"""Load the effective configuration: defaults, the user's file, the repository's file and the environment.

`defaults < ~/.config/architect-parallel/config.yaml < <repo>/.architect-parallel.yaml < ARCHITECT_*`. A file named
with `-c` takes the place of the repository's and is trusted, as the user's own is. Reads files, writes none. The same
bytes that are checked against the record of trust are the ones that are parsed. Every fault of every layer is
reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect_parallel.config.defaults import BUILT_IN_AGENTS
from architect_parallel.config.layers import (
    FaultList,
    Layer,
    Tree,
    environment_layer,
    file_layer,
    merge,
    plain,
)
from architect_parallel.config.paths import REPOSITORY_FILE, USER_FILE, user_config_dir
from architect_parallel.config.schema import ConfigFile
from architect_parallel.config.trust import is_trusted
from architect_parallel.config.yaml_source import Fault, Faulty, KeyPath, dotted, read_bytes, walk
from architect_parallel.domain import (
    AgentProfile,
    BackendSettings,
    InterfaceSettings,
    PortSettings,
    Price,
    ProviderSettings,
    RateLimit,
    SandboxSettings,
    Settings,
    WorktreeSettings,
)
from architect_parallel.options import RunOptions
from architect_parallel.text.suggest import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSource:
    """A configuration file, which may not exist."""

    path: Path
    kind: str
    """`user`, `repository` or `flag`."""
    exists: bool
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The effective configuration in both forms, and its sources."""

    settings: Settings
    document: Tree
    """Under the names of the configuration file. Durations are seconds, sizes are bytes."""
    sources: tuple[ConfigSource, ...]


def load(root: Path | None, config_file: Path | None, environ: Mapping[str, str], home: Path) -> Loaded:
    """Like `settings.load_settings`, with the document and sources that `config show` prints."""
    faults = FaultList()
    user_dir = user_config_dir(environ, home)
    layers = [_defaults()]
    sources: list[ConfigSource] = []
    files = [(user_dir / USER_FILE, "user")]
    if config_file is not None:
        files.append((config_file, "flag"))
    elif root is not None:
        files.append((root / REPOSITORY_FILE, "repository"))
    for path, kind in files:
        user = layers[1].data if len(layers) > 1 else {}
        source, layer = _file(path, kind, user_dir, faults, user)
        sources.append(source)
        layers += [layer] if layer else []
    layers.append(environment_layer(environ, faults))
    if not faults.lines:
        document, origins = _merged(layers)
        _check_together(document, origins, _names(layers, origins), faults)
    if faults.lines:
        raise faults.error()
    warnings = tuple(line for layer in layers for line in layer.warnings)
    settings = _settings(document, {dotted(path): origin for path, origin in origins.items()}, warnings)
    return Loaded(settings=settings, document=document, sources=tuple(sources))


def _file(path: Path, kind: str, user_dir: Path, faults: FaultList, user: Tree) -> tuple[ConfigSource, Layer | None]:
    try:
        content = read_bytes(path, pipe_allowed=kind == "flag")
        if content is None and kind == "flag":
            raise Faulty(Fault(None, "there is no such file"))
    except Faulty as error:
        faults.add(str(path), error.faults)
        return ConfigSource(path=path, kind=kind, exists=True, trusted=False), None
    if content is None:
        return ConfigSource(path=path, kind=kind, exists=False, trusted=kind != "repository"), None
    trusted = kind != "repository" or is_trusted(user_dir, path, content)
    own = kind == "user"
    layer = file_layer(path, content, trusted=trusted, faults=faults, is_own=own, user=user)
    return ConfigSource(path=path, kind=kind, exists=True, trusted=trusted), layer


def _defaults() -> Layer:
    """Every key that has a default. The entries of agents, backends and prices contain only what is set."""
    data = plain(ConfigFile(), only_set=False)
    data["agents"] = {name: dict(entry) for name, entry in BUILT_IN_AGENTS.items()}
    return Layer(data=data, origins={path: "default" for path, _ in walk(data)})


def _merged(layers: list[Layer]) -> tuple[Tree, dict[KeyPath, str]]:
    document: Tree = {}
    origins: dict[KeyPath, str] = {}
    for layer in layers:
        document = merge(document, layer.data)
        origins |= layer.origins
    # A file that is not trusted may hide more, and so must not replace what the user hides.
    hidden = [path for layer in layers for path in layer.data.get("sandbox", {}).get("hide", ())]
    document["sandbox"]["hide"] = tuple(dict.fromkeys(hidden))
    return document, {path: origins[path] for path, _ in walk(document) if path in origins}


def _names(layers: list[Layer], origins: Mapping[KeyPath, str]) -> dict[KeyPath, str]:
    """Leaf → its name as written in its source."""
    written = {(path, layer.origins[path]): name for layer in layers for path, name in layer.names.items()}
    return {path: written.get((path, origin), dotted(path)) for path, origin in origins.items()}


def _check_together(
    document: Tree, origins: Mapping[KeyPath, str], names: Mapping[KeyPath, str], faults: FaultList
) -> None:
    """Check what depends on several layers."""
    parallel = document["parallel_runs"]
    for key in ("workers", "max_parallel"):
        if parallel[key] is not None and parallel[key] > parallel["workers_ceiling"]:
            ceiling = f"workers_ceiling {parallel['workers_ceiling']} ({origins['parallel_runs', 'workers_ceiling']})"
            message = f"{names['parallel_runs', key]} is {parallel[key]}: more than {ceiling} allows"
            faults.add(origins["parallel_runs", key], [Fault(None, message)])
    if parallel["agent"] not in document["agents"]:
        agents = document["agents"]
        known = did_you_mean(parallel["agent"], agents) or f"; known: {', '.join(sorted(agents))}"
        message = f"{names['parallel_runs', 'agent']}: unknown agent {parallel['agent']!r}{known}"
        faults.add(origins["parallel_runs", "agent"], [Fault(None, message)])


def _settings(document: Tree, origins: Mapping[str, str], warnings: tuple[str, ...]) -> Settings:
    return Settings(
        parallel=RunOptions(**document["parallel_runs"]),
        agents={name: AgentProfile(name=name, **entry) for name, entry in document["agents"].items()},
        backends={name: BackendSettings(**entry) for name, entry in document["backends"].items()},
        prices={name: Price(**entry) for name, entry in document["prices"].items()},
        providers={name: _provider(entry) for name, entry in document["providers"].items()},
        worktrees=WorktreeSettings(**document["worktrees"] | {"ports": _ports(document["worktrees"]["ports"])}),
        ui=InterfaceSettings(**document["ui"]),
        on_finish=document["on_finish"],
        sandbox=SandboxSettings(**document["sandbox"]),
        origins=origins,
        warnings=warnings,
    )


def _provider(entry: Mapping[str, Any]) -> ProviderSettings:
    limit = entry.get("rate_limit")
    return ProviderSettings(rate_limit=None if limit is None else RateLimit(**limit))


def _ports(entry: Mapping[str, Any]) -> PortSettings:
    return PortSettings(first=entry["first"], count=entry["each"])
