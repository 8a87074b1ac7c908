"""The environment and the settings with which git runs.

An inherited `GIT_*` variable is dropped unless `USER_VARIABLES` lists it, because a hook or CI job that exports
`GIT_DIR` or `GIT_INDEX_FILE` must not redirect git. Nothing prompts, messages are in C.UTF-8, nothing is fetched and no
object is replaced by another. The settings given with `-c` switch off what could run a program of the repository
(hooks, fsmonitor) or rewrite the object store while workers run (gc). In git, `-c` has precedence over configuration by
environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

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


def scrubbed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with no `GIT_*` except `USER_VARIABLES`, and with variables that keep git from asking anything."""
    own = {
        name: value
        for name, value in environ.items()
        if not name.startswith("GIT_") or any(fnmatchcase(name, pattern) for pattern in USER_VARIABLES)
    }
    return own | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "C",
    }


def transport_variables(command: str) -> dict[str, str]:
    """Variables that decide whether git may connect to other repositories. git before 2.45 knows only the first."""
    if command in _FETCH or command in _FETCH_MISSING:
        return {"GIT_ALLOW_PROTOCOL": _PROTOCOLS}
    return {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
