"""The user's own pager and other programs in the foreground.

Only the user's own configuration and environment name them, never the configuration of a repository, where agents can
write. They start outside of the repository: a pager such as delta reads git's configuration where it starts.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from architect_parallel.system.git_command import Git
from architect_parallel.system.git_environment import USER_VARIABLES

NEUTRAL = Path("/")
"""The directory that programs start in."""
_NOT_FOUND = 127
_FALSE = ("false", "no", "off", "0")
_TRUE = ("true", "yes", "on", "1", "")


def user_pager(environ: Mapping[str, str]) -> str | None:
    """The command of the user's pager for differences, chosen as git does. `None` means no pager."""
    for_diff = _own_setting("pager.diff")
    if for_diff is not None and for_diff.lower() in _FALSE:
        return None
    configured = for_diff if for_diff is not None and for_diff.lower() not in _TRUE else None
    command = environ.get("GIT_PAGER")
    if command is None:
        command = configured or _own_setting("core.pager") or environ.get("PAGER", "less")
    return None if command.strip() in ("", "cat") else command


def show_paged(text: bytes, command: str, environ: Mapping[str, str]) -> bool:
    """Show `text` in a pager and wait for its end. Return false if there is no such program."""
    environment = {"LESS": "FRX", "LV": "-c", **own_environment(environ)}
    with _interrupts_ignored():
        pager = subprocess.Popen(("/bin/sh", "-c", command), cwd=NEUTRAL, env=environment, stdin=subprocess.PIPE)
        assert pager.stdin is not None
        with contextlib.suppress(BrokenPipeError), pager.stdin as stream:
            stream.write(text)
        return pager.wait() != _NOT_FOUND


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without variables that lead git to a repository."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("GIT_") or any(fnmatchcase(name, pattern) for pattern in USER_VARIABLES)
    }


def _own_setting(key: str) -> str | None:
    """A setting of the user's or the system's configuration of git."""
    for scope in ("--global", "--system"):
        output = Git(cwd=NEUTRAL).run("config", scope, "--includes", "--get", key, check=False)
        if output.code == 0:
            return output.text
    return None


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Leave Ctrl-C to the program in the foreground."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # an ignored signal would be inherited
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
