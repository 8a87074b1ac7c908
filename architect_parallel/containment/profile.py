"""The profile of a contained program: what it may write, what is hidden, which caches are its own. Pure.

Nothing here looks at the disk. `steps` leaves out what does not exist.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.domain import Sandbox, SandboxLevel

CREDENTIALS = (
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".git-credentials", ".npmrc", ".pypirc"),
    *(".password-store", ".vault-token", ".terraform.d/credentials.tfrc.json", ".config/gh", ".config/gcloud"),
    *(".config/git/credentials", ".config/op", ".config/architect-parallel", ".config/hub", ".config/glab-cli"),
    *(".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".local/share/keyrings", ".config/rclone"),
    *(".mozilla", ".config/google-chrome", ".config/chromium", ".config/BraveSoftware", ".config/microsoft-edge"),
    *(".bash_history", ".zsh_history", ".python_history", ".node_repl_history", ".psql_history", ".mysql_history"),
    *(".local/share/fish/fish_history", ".pgpass", ".my.cnf", ".config/containers", ".local/share/containers"),
)
"""Paths below the home directory that hold credentials or what the user typed."""

AGENT_HOMES = (
    *(".claude", ".claude.json", ".codex", ".gemini", ".qwen", ".copilot", ".config/github-copilot"),
    *(".config/opencode", ".local/share/opencode", ".local/state/opencode", ".aider", ".aider.conf.yml", ".opencode"),
    *(".cursor", ".config/goose", ".local/share/goose", ".config/amp", ".codeium", ".local/state/architect-parallel"),
)
"""Homes of agents, below the home directory: settings, sessions and logins."""

CACHES = (
    *(".cache", ".npm", ".cargo", ".rustup", ".gradle", ".m2", ".yarn", ".bun", ".deno", ".nuget", ".ivy2", ".sbt"),
    *("go/pkg", ".local/share/pnpm", ".pnpm-store", ".bundle", ".composer", ".hex", ".mix", ".cabal", ".stack"),
)
"""Directories below the home directory that build tools fill. A worker's changes there are its own and dropped."""

CACHE_VARIABLES = {
    ".cache": ("XDG_CACHE_HOME", "{}"),
    ".npm": ("npm_config_cache", "{}"),
    ".cargo": ("CARGO_HOME", "{}"),
    "pkg": ("GOMODCACHE", "{}"),
    ".gradle": ("GRADLE_USER_HOME", "{}"),
    ".m2": ("MAVEN_OPTS", "-Dmaven.repo.local={}"),
}
"""The variable that moves a cache which the home directory does not have."""

WITH_PROGRAMS = (".cargo", ".rustup", ".bun", ".deno", "pnpm", ".bundle", ".composer", ".cabal", ".stack")
"""Names of caches with programs in them: an empty one would be worse than one that cannot be written."""

CACHE_PLACES = ("XDG_CACHE_HOME", "CARGO_HOME", "GOMODCACHE", "GRADLE_USER_HOME", "npm_config_cache")
"""Variables in which the user may name a cache."""

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/sys", "/proc")
"""With `closed`: the parts of the system that are seen. Everything else is absent unless it is named."""

TOOLCHAINS = (
    *(
        ".pyenv",
        ".nvm",
        ".volta",
        ".asdf",
        ".rbenv",
        ".sdkman",
        ".rustup",
        ".cargo/bin",
        ".bun/bin",
        ".deno/bin",
        ".local/bin",
    ),
    *(".local/share/uv", ".local/share/mise", ".local/share/fnm", ".gitconfig", ".config/git"),
)
"""With `closed`: tools and git's settings below the home directory."""

TOOL_VARIABLES = (
    *(
        "VIRTUAL_ENV",
        "JAVA_HOME",
        "GOROOT",
        "RUSTUP_HOME",
        "NVM_DIR",
        "PNPM_HOME",
        "PYENV_ROOT",
        "RBENV_ROOT",
        "ASDF_DIR",
    ),
    *("ASDF_DATA_DIR", "VOLTA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "GIT_CONFIG_GLOBAL"),
)
"""With `closed`: variables that name tools or their settings."""

SYSTEM_HIDDEN = ("/run", "/var/run")
"""Sockets of services: the container engine, the message bus, the agent of keys."""

SYSTEM_SHOWN = tuple(
    f"/run/{name}"
    for name in (
        *("systemd/resolve", "NetworkManager/resolv.conf", "NetworkManager/no-stub-resolv.conf", "resolvconf", "nscd"),
        *("current-system", "wrappers", "opengl-driver", "booted-system"),
    )
)
"""Parts of `/run` that name resolution and NixOS need."""

LOST_VARIABLES = ("SSH_AUTH_SOCK", "SSH_AGENT_PID", "DBUS_*", "DOCKER_HOST", "XDG_RUNTIME_DIR", "TMPDIR", "TMP", "TEMP")
"""Variables that a contained program does not get: they name what it cannot reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePlaces:
    """Where a program runs, and where this program keeps its own."""

    home: Path
    directory: Path
    """Its worktree, or the directory that it works in."""
    checkout: Path | None = None
    """The main checkout. `None` means a bare repository, or none."""
    architect_dir: Path | None = None
    """The directory of this program below git's common directory. `None` means that there is no repository."""
    write: tuple[Path, ...] = ()
    """Further places of this program that it writes: its repository, its home."""
    read: tuple[Path, ...] = ()
    """ProfilePlaces of this program that it reads: its prompt."""
    caches: tuple[Path, ...] = ()
    """Caches that the environment names."""
    objects: tuple[Path, ...] = ()
    """The objects that its repository borrows."""
    scratch: Path
    """A directory for its temporary files, which is removed at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxProfile:
    """The profile of one program. Paths are absolute. One that does not exist means nothing."""

    write: tuple[Path, ...]
    read: tuple[Path, ...]
    """Seen although something above it is hidden."""
    hidden: tuple[Path, ...]
    hidden_patterns: tuple[tuple[Path, str], ...]
    """Directory and pattern of the names in it that are hidden."""
    caches: tuple[Path, ...]
    scratch: Path
    system: tuple[Path, ...] | None = None
    """The parts of the system that are seen. `None` means all of it."""


def profile(sandbox: Sandbox, places: ProfilePlaces) -> SandboxProfile:
    """The profile of a program in `places` that is held to `sandbox`."""
    home = places.home
    shown = {expand(path, home) for path in sandbox.show}
    hidden = [
        *_below_home(home, (*CREDENTIALS, *AGENT_HOMES)),
        *map(Path, SYSTEM_HIDDEN),
        *(expand(path, home) for path in sandbox.hide),
    ]
    patterns = []
    if places.architect_dir is not None:
        hidden.append(places.architect_dir)
    if places.checkout is not None:
        patterns += [(places.checkout, ".env*"), (places.checkout, ".architect-parallel-*")]
    is_closed = sandbox.level is SandboxLevel.CLOSED
    named = (*places.objects, *_below_home(home, TOOLCHAINS), *(expand(path, home) for path in sandbox.read))
    own = () if sandbox.read_only else (places.directory,)
    return SandboxProfile(
        write=(*own, *places.write, *(expand(path, home) for path in sandbox.write)),
        read=(
            *places.read,
            *(named if is_closed else ()),
            *map(Path, SYSTEM_SHOWN),
            *_below(shown, hidden),
            *((places.directory,) * (not own)),
        ),
        hidden=tuple(path for path in hidden if path not in shown),
        hidden_patterns=tuple(patterns),
        system=tuple(map(Path, SYSTEM)) if is_closed else None,
        caches=() if is_closed else tuple(dict.fromkeys((*_below_home(home, CACHES), *places.caches))),
        scratch=places.scratch,
    )


@functools.lru_cache(maxsize=16)
def _below_home(home: Path, names: tuple[str, ...]) -> tuple[Path, ...]:
    """The same hundred paths for every worker."""
    return tuple(home / name for name in names)


def expand(path: str, home: Path) -> Path:
    """An absolute path as the user wrote it, `~` for the home directory."""
    if path == "~" or path.startswith("~/"):
        return home / path[2:]
    return Path(path)


def _below(shown: Iterable[Path], hidden: Iterable[Path]) -> list[Path]:
    above = set(hidden)
    return sorted(path for path in shown if path not in above and above.intersection(path.parents))
