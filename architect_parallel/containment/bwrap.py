"""The second mechanism: bubblewrap, where it may make namespaces and this program may not (AppArmor of Ubuntu).

The same steps as for namespaces, as arguments of `bwrap`. What it cannot do is left to a small program that it starts
inside (`supervision/child/inside.py`): limits, the filter of system calls, the listeners of the network `hosts`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from architect_parallel.supervision.messages import Launch

Step = tuple[str | bytes | Path | int, ...]
"""A word and its arguments (`supervision.child.cage`)."""
GAPS = ("caches of build tools in your home are empty",)
WRAPPED = (b"wrapped",)
"""The step of a cage for a program that enters by itself."""
INSIDE = Path(__file__).resolve().parent.parent / "supervision" / "child" / "inside.py"
_BY_INSIDE = frozenset({"listen", "processes", "capabilities", "landlock", "filter"})
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETFCAP")
"""The names of `steps.ROOT_CAPABILITIES`."""
_UNSHARED = {0x08000000: "--unshare-ipc", 0x10000000: "--unshare-user", 0x20000000: "--unshare-pid"}
_NEW_NET = 0x40000000


def program() -> str | None:
    """The absolute path of `bwrap`. `None` means that it is not installed."""
    found = shutil.which("bwrap")
    return None if found is None else os.path.abspath(found)


def wrapped(launch: Launch, steps: Sequence[Step]) -> Launch:
    """`launch` as `bwrap` starts it with these steps."""
    own = [
        "\0".join(map(_text, step)).encode("utf-8", "surrogateescape").hex() for step in steps if step[0] in _BY_INSIDE
    ]
    inside = (sys.executable, "-I", "-S", str(INSIDE), str(len(own)), *own, *launch.argv)
    options = (*_options(steps), "--chdir", str(launch.cwd.absolute()))
    return replace(launch, argv=(program() or "bwrap", *options, "--", *inside), cage=WRAPPED)


def _options(steps: Sequence[Step]) -> Iterator[str]:
    yield from ("--die-with-parent", "--cap-drop", "ALL")
    if os.geteuid() == 0:
        yield from (word for name in _CAPABILITIES for word in ("--cap-add", f"CAP_{name}"))
    sealed = []
    for verb, *details in steps:
        words = [_text(detail) for detail in details]
        if verb == "unshare":
            flags = int(words[0])
            yield from (option for flag, option in _UNSHARED.items() if flags & flag)
            yield from ["--unshare-net"] * bool(flags & _NEW_NET)
    is_closed = any(step[0] == "root" for step in steps)
    if not is_closed:
        yield from ("--ro-bind", "/", "/")
    yield from ("--dev", "/dev", "--proc", "/proc")
    for verb, *details in steps:
        words = [_text(detail) for detail in details]
        place = words[1] if len(words) > 1 else words[0] if words else ""
        if verb == "keep":
            if os.path.exists(words[0]):
                yield from ("--ro-bind", words[0], words[0])
        elif verb == "tmpfs":
            yield from ("--perms", "1777", "--tmpfs", words[0])
        elif place in ("/proc", "/dev") or (verb == "link" and place.startswith("/dev/")):
            continue  # made by bwrap, like devices and terminals
        elif verb == "hide":
            yield from ("--tmpfs", words[0])
            sealed.append(words[0])
        elif verb == "bind":
            yield from ("--bind", words[0], place)
        elif verb == "read":
            yield from ("--ro-bind", words[0], place)
        elif verb == "link":
            yield from ("--symlink", words[0], place)
        elif verb == "overlay" and words[4] == "empty":
            yield from ("--bind", words[2], place)
    for path in [*sealed, *(["/"] if is_closed else [])]:
        yield from ("--remount-ro", path)


def _text(word: str | bytes | Path | int) -> str:
    return os.fsdecode(word) if isinstance(word, bytes) else str(word)
