"""The environment and the settings with which git runs.

A variable is inherited only if a list here has it. So no git process, and no filter, helper or driver that it starts,
holds the keys of agents. A hook or CI job that exports `GIT_DIR` cannot redirect git either. Nothing prompts, messages
are in C.UTF-8, nothing is fetched and no object is replaced by another. The settings given with `-c` switch off what
could run a program of the repository (hooks, fsmonitor) or rewrite the object store while workers run (gc). In git,
`-c` has precedence over configuration by environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from functools import cache

SAFE_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "submodule.recurse=false",
    "core.quotePath=false",
    "diff.external=",
    "log.showSignature=false",
)
_FETCH = frozenset({"clone", "fetch", "lfs", "ls-remote", "pull", "push", "remote"})
_FETCH_MISSING = frozenset({"checkout", "checkout-index", "merge", "merge-tree", "read-tree", "reset"})
"""Commands that write or merge files. In a partial clone they fetch the missing contents."""
_PROTOCOLS = "https:ssh:http:git:file"

USER_VARIABLES = (
    *("GIT_AUTHOR_*", "GIT_COMMITTER_*"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_ATTR_NOSYSTEM"),
    *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_*", "GIT_CONFIG_VALUE_*", "GIT_CONFIG_PARAMETERS"),
    *("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_ASKPASS", "GIT_PROXY_COMMAND", "GIT_ALLOW_PROTOCOL"),
    *("GIT_SSL_*", "GIT_PROXY_SSL_*", "GIT_HTTP_*"),
)
"""The `GIT_*` variables of the user that git gets: identity, configuration, and how to connect to a server.

None of them redirects git to another repository, index or object store, and none changes output.
"""
USER_CONFIGURATION = ("GIT_CONFIG_SYSTEM", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS")
"""The variables that add configuration. Git in a private git directory must not get them."""

_SURROUNDINGS = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "EMAIL", "TMPDIR", "TZ", "TERM", "XDG_*"),
    *("LD_LIBRARY_PATH", "DYLD_*", "NIX_*", "VIRTUAL_ENV", "PYTHONHOME", "JAVA_HOME", "NVM_DIR", "PYENV_ROOT"),
    *("GNUPGHOME", "GPG_TTY", "GPG_AGENT_INFO", "PASSWORD_STORE_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "KRB5*"),
    *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "SSH_ASKPASS*", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"),
)
"""The variables that git, its filters and its helpers need to work at all. None of them is a key."""
_CREDENTIALS = (
    *("GH_*", "GITHUB_*", "GITLAB_*", "CI_JOB_TOKEN", "CI_SERVER_*", "BITBUCKET_*", "GCM_*", "AZURE_DEVOPS_*"),
    "SYSTEM_ACCESSTOKEN",
)
"""The variables from which credential helpers take the key of a server. Only commands that connect get them."""


def scrubbed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The listed variables of `environ`, and variables that keep git from asking anything."""
    return chosen_variables(environ, (*_SURROUNDINGS, *USER_VARIABLES)) | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "C",
    }


def transport_variables(command: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that decide whether git may connect to other repositories, and with which credentials.

    git before 2.45 knows only `GIT_ALLOW_PROTOCOL`.
    """
    if command in _FETCH or command in _FETCH_MISSING:
        return chosen_variables(environ, _CREDENTIALS) | {"GIT_ALLOW_PROTOCOL": _PROTOCOLS}
    return {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}


def chosen_variables(environ: Mapping[str, str], patterns: tuple[str, ...]) -> dict[str, str]:
    """The variables whose name fits one of the patterns."""
    fits = _expression(patterns).match
    return {name: value for name, value in environ.items() if fits(name)}


@cache
def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))
