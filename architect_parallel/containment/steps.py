"""From a profile to the steps that a supervisor carries out (`supervision.child.cage`).

The disk is looked at here: a path that does not exist is left out, and a link stands for its target. Steps come in the
order of depth, so that what is mounted deeper is mounted later.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from architect_parallel.containment import bwrap, landlock
from architect_parallel.containment.bwrap import Step
from architect_parallel.containment.egress import Proxy
from architect_parallel.containment.filters import seccomp_filter
from architect_parallel.containment.profile import (
    CACHE_PLACES,
    CACHE_VARIABLES,
    LOST_VARIABLES,
    TOOL_VARIABLES,
    WITH_PROGRAMS,
    SandboxProfile,
)
from architect_parallel.domain import Mechanism, Network, Sandbox
from architect_parallel.supervision.cgroups import THREADS
from architect_parallel.supervision.messages import Launch
from architect_parallel.supervision.process import MOST_LISTENERS
from architect_parallel.system.files import make_private_dir
from architect_parallel.text.hosts import Rule, loopback_ports, read_rule

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x20000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
"""`CLONE_NEW*` of unshare(2)."""
ROOT_CAPABILITIES = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 31))
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETFCAP: what root needs for work on files."""
KEPT_IN_PROC = ("sys", "sysrq-trigger", "irq", "bus", "acpi", "scsi")
"""Entries of /proc that uid 0 may write without any capability."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
UNSIGNED = ("commit.gpgSign", "tag.gpgSign")
"""git settings that are off inside."""
PROXY_PORT = 3128
PRIVATE_PLACES = ("/tmp", "/var/tmp")


def contained(launch: Launch, sandbox: Sandbox, profile: SandboxProfile) -> Launch:
    """`launch` as it starts in the sandbox. Makes the scratch directory, which the supervisor removes.

    Raises:
        OSError: The scratch directory cannot be made.
    """
    if not sandbox.is_contained:
        return launch
    scratch = make_private_dir(profile.scratch)
    for name in ("tmp", "caches", "home", "root"):
        make_private_dir(scratch / name)
    os.chmod(scratch / "tmp", 0o1777)
    (scratch / "empty").touch(0o400)
    env = _environment(launch.env, profile)
    if sandbox.network is Network.HOSTS:
        env |= _proxy_environment(sandbox)
    if sandbox.mechanism is Mechanism.LANDLOCK:
        env = landlock.environment(env, CACHE_VARIABLES, os.path.realpath(scratch))
    launch = replace(launch, env=env, scratch=scratch)
    if sandbox.mechanism is Mechanism.BWRAP:
        launch = replace(launch, cage=bwrap.WRAPPED)
        return bwrap.wrapped(launch, tuple(_steps(launch, sandbox, profile)))
    make = _landlock_steps if sandbox.mechanism is Mechanism.LANDLOCK else _steps
    return replace(launch, cage=tuple(_encoded(step) for step in make(launch, sandbox, profile)))


def _encoded(step: Step) -> bytes:
    return b"\0".join(word if isinstance(word, bytes) else os.fsencode(str(word)) for word in step)


def _environment(env: Mapping[str, str], profile: SandboxProfile) -> dict[str, str]:
    """The variables without those that name what the program cannot reach, and with the places of missing caches."""
    kept = {name: value for name, value in env.items() if not any(fnmatchcase(name, lost) for lost in LOST_VARIABLES)}
    count = int(kept.get("GIT_CONFIG_COUNT") or 0)
    for number, key in enumerate(UNSIGNED, count):  # the keys are hidden: with them on, `git commit` would fail
        kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": "false"}
    kept["GIT_CONFIG_COUNT"] = str(count + len(UNSIGNED))
    for name in CACHE_PLACES:
        if name in kept and not os.path.isdir(kept[name]):
            kept[name] = f"/tmp/.cache-{name.lower()}"
    for cache in profile.caches:
        if cache.name in CACHE_VARIABLES and not cache.is_dir():
            name, form = CACHE_VARIABLES[cache.name]
            kept.setdefault(name, form.format(f"/tmp/{cache.name}"))
    return kept


def _steps(launch: Launch, sandbox: Sandbox, profile: SandboxProfile) -> Iterator[Step]:
    is_root = os.geteuid() == 0
    flags = NEW_MOUNTS | NEW_PIDS | NEW_IPC | (0 if is_root else NEW_USER)
    flags |= NEW_NET if sandbox.network is not Network.OPEN else 0
    yield ("unshare", flags)
    if sandbox.network is Network.HOSTS:
        yield ("listen", *_ports(sandbox))
    yield ("view",)
    if profile.system is not None:
        yield ("root", profile.scratch / "root")
    yield from sorted(_view(launch, profile), key=_order)
    if is_root:
        yield from (("keep", f"/proc/{name}") for name in KEPT_IN_PROC)
    if sandbox.processes is not None and not is_root:  # root has no such limit: the sampler counts
        yield ("processes", sandbox.processes * THREADS)
    yield ("capabilities", ROOT_CAPABILITIES if is_root else 0)
    if landlock.scopes():
        yield ("landlock", 0, landlock.scopes())
    yield from _filter()


def _landlock_steps(launch: Launch, sandbox: Sandbox, profile: SandboxProfile) -> Iterator[Step]:
    hidden = {os.path.realpath(path) for path in (*_hidden(profile), *map(Path, PRIVATE_PLACES))}
    written = {os.path.realpath(path) for path in (*profile.write, profile.scratch / "tmp") if path.exists()}
    read = {os.path.realpath(path) for path in profile.read if path.exists()} | _named(launch, profile)
    if os.geteuid() == 0:  # with CAP_SYS_PTRACE or CAP_PERFMON Landlock does not keep /proc/PID/environ shut
        yield ("capabilities", ROOT_CAPABILITIES)
    yield ("landlock", landlock.handled_rights(), landlock.scopes(), *landlock.rules(written, read, hidden))
    yield from _filter()


def _ports(sandbox: Sandbox) -> list[int]:
    """The ports of the listeners inside: the proxy's own first, then those of this machine's loopback."""
    forwards = loopback_ports(rules_of(sandbox))[: MOST_LISTENERS - 1]
    return [next(port for port in range(PROXY_PORT, PROXY_PORT + 100) if port not in forwards), *forwards]


def rules_of(sandbox: Sandbox) -> list[Rule]:
    """The rules of the network `hosts`."""
    return [read_rule(host) for host in sandbox.hosts]


def gateway_of(sandbox: Sandbox, environ: Mapping[str, str], denied: Counter[str]) -> Proxy | None:
    """The proxy of a program in the sandbox. `None` means that it needs none.

    Args:
        environ: The launcher's environment, which may name a proxy of the user.
        denied: Takes the refused hosts.
    """
    if sandbox.network is not Network.HOSTS:
        return None
    return Proxy(rules=rules_of(sandbox), forwards=_ports(sandbox)[1:], environ=environ, denied=denied)


def _proxy_environment(sandbox: Sandbox) -> dict[str, str]:
    proxy, local = f"http://127.0.0.1:{_ports(sandbox)[0]}", "localhost,127.0.0.1,::1"
    variables = {**dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy), "NO_PROXY": local}
    lower = {name.lower(): value for name, value in variables.items()}
    return {**variables, **lower, "NODE_USE_ENV_PROXY": "1"}


def _filter() -> Iterator[Step]:
    program = seccomp_filter()
    if program is not None:
        yield ("filter", program.hex())


def _order(step: Step) -> tuple[int, int]:
    """By depth of the place. What hides a place comes before what shows something at the same place."""
    place = step[2] if step[0] in ("bind", "read", "overlay", "device", "link") else step[1]
    covers = step[0] in ("hide", "tmpfs", "overlay")
    return str(place).rstrip("/").count("/"), 0 if covers else 1


def _view(launch: Launch, profile: SandboxProfile) -> Iterator[Step]:
    """The steps that change what is seen, in any order."""
    scratch = profile.scratch
    yield from _devices()
    for place in PRIVATE_PLACES:
        if os.path.isdir(place) and not os.path.islink(place):
            yield ("bind", scratch / "tmp", place)
    yield from _tools(launch, profile)
    covered: set[str] = set()
    seen = None if profile.system is None else tuple(f"{os.path.realpath(path)}/" for path in profile.read)
    for path in _hidden(profile):
        real = os.path.realpath(path)
        if real in covered or not os.path.exists(real) or (seen is not None and not real.startswith(seen)):
            continue
        covered.add(real)
        yield ("hide", real) if os.path.isdir(real) else ("read", scratch / "empty", real)
    written = {os.path.realpath(path) for path in profile.write if path.exists()}
    read = {os.path.realpath(path) for path in profile.read if path.exists()}
    caches = tuple(dict.fromkeys(map(os.path.realpath, profile.caches)))
    own = tuple(f"{path}/" for path in (*written, *caches))
    everywhere = _named(launch, profile) if profile.system is None else set()
    named = {path for path in everywhere if not f"{path}/".startswith(own)}
    yield from (("bind", path, path) for path in written)
    yield from (("read", path, path) for path in (read | named) - written)
    for number, real in enumerate(caches):
        if os.path.isdir(real) and real not in written and not os.fspath(scratch).startswith(f"{real}/"):
            changes, work = (make_private_dir(scratch / "caches" / f"{number}.{part}") for part in ("new", "work"))
            otherwise = "keep" if os.path.basename(real) in WITH_PROGRAMS else "empty"
            yield ("overlay", real, real, changes, work, otherwise)


def _tools(launch: Launch, profile: SandboxProfile) -> Iterator[Step]:
    """With `closed`: the system, the tools that the command line and the environment name, and an empty home."""
    if profile.system is None:
        return
    for path in profile.system:
        if path.is_symlink():
            yield ("link", os.readlink(path), path)
        elif path.exists():
            yield ("bind" if path.name == "proc" else "read", path, path)
    home = launch.env.get("HOME", "")
    if home.startswith("/"):
        yield ("bind", profile.scratch / "home", os.path.realpath(home))
    system = tuple(f"{path}/" for path in profile.system)
    kept = {os.path.realpath(home), "/", *map(os.path.realpath, PRIVATE_PLACES)}
    for tool in _tool_places(launch):
        real = os.path.realpath(tool)
        if os.path.exists(real) and real not in kept and not f"{tool}/".startswith(system):
            yield ("read", real, tool)


def _tool_places(launch: Launch) -> frozenset[str]:
    """The directories of the program, and of the tools that the environment names, with the libraries beside them."""
    named = tuple(launch.env.get(name, "") for name in TOOL_VARIABLES)
    tools = _tools_of(launch.argv[0], launch.env.get("PATH", ""), named)
    if launch.argv[0] == sys.executable or launch.cage == bwrap.WRAPPED:  # the embedded agent; what bwrap starts
        tools |= {sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(os.path.dirname(__file__)))}
    return tools


@functools.lru_cache(maxsize=64)
def _tools_of(argv0: str, search_path: str, named: tuple[str, ...]) -> frozenset[str]:
    """The places of a program and of tools. Found once: looking at every directory of `PATH` costs each worker more
    than its namespaces."""
    program = shutil.which(argv0, path=search_path or None)
    words = [*search_path.split(os.pathsep), *named]
    tools = {path for word in words if word.startswith("/") for path in _with_prefix(word)}
    if program is not None:
        first = os.path.dirname(os.path.abspath(program))
        tools |= {*_with_prefix(first), *_with_prefix(os.path.dirname(os.path.realpath(program)))}
    return frozenset(tools)


def _with_prefix(path: str) -> Iterator[str]:
    """A directory of programs, and what they bring: the libraries beside `bin`."""
    yield path
    real = os.path.realpath(path)
    yield os.path.dirname(real) if os.path.basename(real) == "bin" else real
    above, modules, _ = f"{real}/".partition("/node_modules/")
    if modules:  # what a package needs lies beside it
        yield f"{above}/node_modules"


def _devices() -> Iterator[Step]:
    yield ("hide", "/dev")
    for name in DEVICES:
        yield ("device", f"/dev/{name}", f"/dev/{name}")
    yield ("tmpfs", "/dev/shm")
    yield ("terminals", "/dev/pts")
    links = {
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
    }
    for name, target in {**links, "ptmx": "pts/ptmx"}.items():
        yield ("link", target, f"/dev/{name}")


def _hidden(profile: SandboxProfile) -> Iterator[Path]:
    yield from filter(os.path.lexists, profile.hidden)
    kept = {os.path.realpath(path) for path in (*profile.write, *profile.read)}
    for directory, pattern in profile.hidden_patterns:
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        paths = [directory / name for name in names if fnmatchcase(name, pattern)]
        yield from (path for path in paths if os.path.realpath(path) not in kept)


def _named(launch: Launch, profile: SandboxProfile) -> set[str]:
    """Paths in private places that the command line or the environment names: tools, settings, the repository.

    Without them a repository below `/tmp` would lose its main checkout, and a program below it its interpreter.
    """
    words: Iterable[str] = [
        *(part for value in launch.env.values() for part in value.split(os.pathsep)),
        *launch.argv,
        *_tool_places(launch),
        *(os.fspath(path.parent) for path in profile.write),
        *(os.fspath(path) for path, _ in profile.hidden_patterns),
    ]
    inside = tuple(f"{place}/" for place in PRIVATE_PLACES)
    real = {os.path.realpath(word) for word in words if word.startswith("/") and len(word) < 4096 and "\0" not in word}
    return {path for path in real if path.startswith(inside) and os.path.exists(path)}
