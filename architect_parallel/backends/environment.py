"""What of the launcher's environment an agent gets to see, and how its secrets stay out of logs.

An allow-list, never a deny-list: the common names below, those of the backend, nothing else. `PYTHONPATH` is left out
on purpose: it would make an agent's tests import the main checkout's code instead of the worktree's.

git's settings in `GIT_CONFIG_COUNT` pass one by one (`GIT_SETTINGS`): a container declares `safe.directory` that way,
and a CI job the token of a server (`http.*.extraHeader`), which no agent gets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from architect_parallel.backends.base import Backend

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
"""Names every agent gets; a trailing `*` matches any rest."""

GIT_SETTINGS = (
    *("safe.*", "user.*", "author.*", "committer.*", "init.*", "advice.*", "protocol.*"),
    *("core.autocrlf", "core.eol", "core.filemode", "core.symlinks"),
)
"""git settings of the environment, in lower case, that pass as well. None of them holds a credential."""

_LOOKS_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 6
"""A shorter value would blank out ordinary words."""
BLANK = b"[redacted]"


def filtered_environment(backend: Backend, environ: Mapping[str, str]) -> dict[str, str]:
    """Those variables of `environ` that an agent of `backend` gets."""
    return _passed(environ, (*COMMON, *backend.environment))


def common_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Those variables of `environ` that a command of the user's gets (a check): the common ones, no agent's key."""
    return _passed(environ, COMMON)


def secret_values(backend: Backend, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values to redact, longest first: the backend's secrets, passed variables with a telling name, proxy passwords."""
    found: set[str] = set()
    for name, value in filtered_environment(backend, environ).items():
        if _matches(name, backend.secrets) or _LOOKS_SECRET.search(name):
            found.add(value)
        elif name.upper() in _PROXIES:
            found |= _password(value)
    return tuple(sorted((each for each in found if len(each) >= _SHORTEST_SECRET), key=lambda each: (-len(each), each)))


def redact(data: bytes, secrets: Iterable[str]) -> bytes:
    """`data` with every secret blanked out, as it is and as JSON would spell it."""
    for spelling in _spellings(secrets):
        data = data.replace(spelling, BLANK)
    return data


class Redactor:
    """`redact` for a stream: a secret cut by a chunk's end is found too. One per stream.

    At most the longest secret's length is held back; `finish` gives it out.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._spellings = _spellings(secrets)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be written now."""
        data = self._held + data
        for spelling in self._spellings:
            data = data.replace(spelling, BLANK)
        keep = self._unfinished(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def finish(self) -> bytes:
        """The rest, at the stream's end."""
        rest, self._held = self._held, b""
        return rest

    def _unfinished(self, data: bytes) -> int:
        """Length of the longest end of `data` that begins a secret."""
        longest = 0
        for spelling in self._spellings:
            for length in range(min(len(spelling) - 1, len(data)), longest, -1):
                if data.endswith(spelling[:length]):
                    longest = length
                    break
        return longest


def _passed(environ: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    passed = {name: value for name, value in environ.items() if _matches(name, patterns)}
    return _git_settings(environ) | passed


def _git_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Those of `GIT_SETTINGS` among git's settings of the environment, numbered anew."""
    count = environ.get("GIT_CONFIG_COUNT", "")
    if not count.isdecimal():
        return {}
    found: list[tuple[str, str]] = []
    for index in range(min(int(count), len(environ))):
        key, value = environ.get(f"GIT_CONFIG_KEY_{index}"), environ.get(f"GIT_CONFIG_VALUE_{index}")
        if key is not None and value is not None and _matches(key.lower(), GIT_SETTINGS):
            found.append((key, value))
    variables = {"GIT_CONFIG_COUNT": str(len(found))} if found else {}
    for index, (key, value) in enumerate(found):
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


def _spellings(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Longest first, so that a secret which holds another is blanked as a whole."""
    found: set[bytes] = set()
    for secret in secrets:
        found |= {secret.encode(errors="surrogateescape"), json.dumps(secret)[1:-1].encode()}
    return tuple(sorted(found - {b""}, key=lambda each: (-len(each), each)))
