"""The part of the launcher's environment that an agent sees, and the values in it that are secrets (`redaction`).

An allow-list, never a deny-list: the common names below and those of the backend. `PYTHONPATH` is left out on purpose:
it would make an agent's tests import the main checkout's code instead of the worktree's.

A command of the user (a check, a setup step, a shell task) also gets the variables that its text names (`$NAME`): the
user typed it and means them. If such a command fails, the variables that were not passed are named.

git's settings in `GIT_CONFIG_COUNT` are passed one by one (`GIT_SETTINGS`). A container declares `safe.directory` that
way, and a CI job the token of a server (`http.*.extraHeader`), which no agent gets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote, urlsplit

from architect_parallel.backends.base import Backend
from architect_parallel.text.quantities import show_count
from architect_parallel.text.sanitize import one_line

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY")

COMMON: tuple[str, ...] = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "TMPDIR", "TZ", "XDG_*"),
    *("LANG", "LANGUAGE", "LC_*", "TERM", "COLORTERM", "NO_COLOR", "CI"),
    *_PROXIES,
    *(name.lower() for name in _PROXIES),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("GIT_AUTHOR_*", "GIT_COMMITTER_*", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    "SSH_AUTH_SOCK",
    *("VIRTUAL_ENV", "JAVA_HOME", "GOPATH", "GOROOT", "GOPROXY", "CARGO_HOME", "RUSTUP_HOME", "NVM_DIR", "PNPM_HOME"),
    *("PYENV_ROOT", "RBENV_ROOT", "ASDF_DIR", "ASDF_DATA_DIR", "VOLTA_HOME", "NIX_PATH", "NIX_SSL_CERT_FILE"),
)
"""Names that every agent gets. A trailing `*` matches any rest."""

GIT_SETTINGS = (
    *("safe.*", "user.*", "author.*", "committer.*", "init.*", "advice.*", "protocol.*"),
    *("core.autocrlf", "core.eol", "core.filemode", "core.symlinks"),
)
"""git settings of the environment, in lower case, that are passed as well. None of them holds a credential."""

_NAME = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]*\b", re.ASCII)
_EXPANSION = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_NEVER_BY_TEXT = ("PYTHONPATH", "GIT_*", "ARCHITECT_*")
"""They would lead a command away from its worktree, to the main checkout or another repository."""
_UNREMARKABLE = (
    *(
        "_",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "PS1",
        "PS2",
        "PROMPT_*",
        "LS_COLORS",
        "MAKE*",
        "MFLAGS",
        "PIP_*",
        "LESS*",
        "PAGER",
        "EDITOR",
        "VISUAL",
        "HIST*",
    ),
    *(
        "MAIL",
        "COLUMNS",
        "LINES",
        "WINDOWID",
        "DISPLAY",
        "WAYLAND_*",
        "XAUTHORITY",
        "DBUS_*",
        "SSH_*",
        "TERM_*",
        "VTE_*",
    ),
    *("TMUX*", "STY", "INVOCATION_ID", "JOURNAL_STREAM", "MEMORY_PRESSURE_*", "GIT_*", "ARCHITECT_*"),
)
"""Variables that a shell, a terminal or this program sets by itself."""
_SHOWN_NAMES = 4

_LOOKS_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=(?P<value>[^\n]*)$", re.MULTILINE | re.ASCII)
_MOST_DOTENV_BYTES = 65536
_SHORTEST_SECRET = 6
"""A shorter value would redact ordinary words."""


def filtered_environment(backend: Backend, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environ` that an agent of `backend` gets."""
    return _passed(environ, (*COMMON, *backend.environment))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnvironment:
    """The part of the launcher's environment that the user's commands get."""

    environ: Mapping[str, str]
    """The launcher's."""
    base: tuple[str, ...] = COMMON
    """Names that are always passed."""
    names: tuple[str, ...] = ()
    """Names that the configuration adds. They are passed with any value."""
    keys: tuple[str, ...] = ()
    """Names of agents' keys. They are passed only if `names` has them."""
    added: Mapping[str, str] = field(default_factory=dict)
    """Further variables, which are not of the launcher's environment."""

    def of(self, command: str) -> dict[str, str]:
        """The variables of one command: the listed ones, those that its text names, and the added ones."""
        listed = _passed(self.environ, (*self.base, *self.names))
        return {name: self.environ[name] for name in self._meant(command)} | listed | dict(self.added)

    def secrets(self, command: str) -> tuple[str, ...]:
        """Values to redact in what the command prints, longest first."""
        values: set[str] = set()
        for name, value in self.of(command).items():
            if not _matches(name, COMMON):
                values |= {value} if _LOOKS_SECRET.search(name) or _matches(name, self.keys) else _password(value)
        return _longest_first(values)

    def held_back(self, command: str, output: str, setting: str) -> str | None:
        """For a command that failed, say which of the user's variables it did not get. `None` means none.

        Names, never values. Those that the command or its output mentions come first. Agents' keys are named only if
        they are mentioned.

        Args:
            setting: The configuration key that passes further variables.
        """
        passed, mentioned = self.of(command), {*_NAME.findall(f"{command}\n{output}")}
        held = [
            name
            for name in sorted(self.environ)
            if name not in passed and _NAME.fullmatch(name) and not _matches(name, _UNREMARKABLE)
            if name in mentioned or not _matches(name, self.keys)
        ]
        if not held:
            return None
        held.sort(key=lambda name: name not in mentioned)
        shown = ", ".join(held[:_SHOWN_NAMES]) + (", …" if len(held) > _SHOWN_NAMES else "")
        return (
            f"{show_count(len(held), 'variable')} of your shell did not reach {one_line(command, 60)!r} ({shown}); "
            f"to pass one: {setting}: [{held[0]}]"
        )

    def _meant(self, command: str) -> list[str]:
        names = dict.fromkeys(_EXPANSION.findall(command))
        return [name for name in names if name in self.environ and not _matches(name, (*self.keys, *_NEVER_BY_TEXT))]


def key_names(backends: Iterable[Backend]) -> tuple[str, ...]:
    """Names of the variables that hold a key of one of the backends, sorted."""
    return tuple(sorted({name for backend in backends for name in backend.secrets}))


def without_names(environ: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    """The variables whose name fits none of the patterns."""
    return {name: value for name, value in environ.items() if not _matches(name, patterns)}


def secret_values(backend: Backend, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values to redact, longest first.

    They are the backend's secrets, passed variables with a telling name, and passwords of proxies.
    """
    values: set[str] = set()
    for name, value in filtered_environment(backend, environ).items():
        if _matches(name, backend.secrets) or _LOOKS_SECRET.search(name):
            values.add(value)
        elif name.upper() in _PROXIES:
            values |= _password(value)
    return _longest_first(values)


def dotenv_secrets(paths: Iterable[Path]) -> tuple[str, ...]:
    """Values of secrets in `.env` files, longest first: those whose name says so, and passwords."""
    values: set[str] = set()
    for path in paths:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_DOTENV_BYTES:
            continue
        for match in _ASSIGNMENT.finditer(path.read_text(errors="replace")):
            value = match["value"].strip().strip("\"'")
            values |= {value} if _LOOKS_SECRET.search(match["name"]) else _password(value)
    return _longest_first(values)


def _longest_first(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=lambda item: (-len(item), item))
    )


def _passed(environ: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    passed = {name: value for name, value in environ.items() if _matches(name, patterns)}
    return _git_settings(environ) | passed


def _git_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The git settings of the environment that are among `GIT_SETTINGS`, numbered anew."""
    count = environ.get("GIT_CONFIG_COUNT", "")
    if not count.isdecimal():
        return {}
    settings: list[tuple[str, str]] = []
    for index in range(min(int(count), len(environ))):
        key, value = environ.get(f"GIT_CONFIG_KEY_{index}"), environ.get(f"GIT_CONFIG_VALUE_{index}")
        if key is not None and value is not None and _matches(key.lower(), GIT_SETTINGS):
            settings.append((key, value))
    variables = {"GIT_CONFIG_COUNT": str(len(settings))} if settings else {}
    for index, (key, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return variables


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name == pattern or ("*" in pattern and fnmatchcase(name, pattern)) for pattern in patterns)


def _password(url: str) -> set[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
