"""The contract of a supervised process: what to start (`Launch`), and the messages that report what happens to it."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Stream = Literal["stdout", "stderr"]


class Gateway(Protocol):
    """The outer end of a contained program's network."""

    def serve(self, descriptors: Sequence[int]) -> None:
        """Take over the listening sockets that were made inside, and serve them in threads."""
        ...

    def close(self) -> None:
        """End everything that is served. May be called without `serve`, and again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A program to start, and how to stop it."""

    argv: tuple[str, ...]
    """A program without a slash is looked up in the `PATH` of `env`."""
    cwd: Path
    env: Mapping[str, str]
    """The whole environment. The cookie is added."""
    stdin_file: Path | None = None
    """`None` means /dev/null."""
    polite_signal: signal.Signals = signal.SIGTERM
    """Sent first, to the program's process group."""
    polite_wait_s: float = 2.0
    """Seconds from the polite signal to SIGTERM for every process. Counts towards the grace."""
    grace_s: float = 5.0
    """Seconds from the polite signal to the kill. Also used when the launcher dies."""
    cookie: str = field(default_factory=lambda: secrets.token_hex(16))
    nice: int = 5
    """Added to the niceness, so that a sweep outruns the processes that it sweeps."""
    cage: tuple[bytes, ...] = ()
    """The steps by which the program is contained (`child.cage`). Empty means that it is not contained."""
    scratch: Path | None = None
    """A directory that is removed when the tree is gone, also when the launcher is dead by then."""
    cgroup: Path | None = None
    """A control group that the program starts in. It is killed and removed at the end. `None` means none."""
    places: tuple[Path, ...] = ()
    """Directories whose files count as the program's, besides `cwd` and `scratch`."""
    gateway: Gateway | None = None
    """Serves the listening sockets that the steps of the cage make. `None` means that they make none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The program runs."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnFailed:
    """The program could not be started. Only `Gone` follows."""

    message: str
    """The error, in one line for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Bytes as they were printed. Cut anywhere."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The program itself ended. Processes that it started may live on until `Gone`."""

    exit_code: int
    """Negative means killed by that signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """No process of the tree is alive, and its output has been delivered.

    Without an `Exited` before it, the end of the program itself is unknown.
    """

    leaked: int | None
    """Number of processes alive after the program's own end, all killed. `None` means unknown."""
    survivors: int = 0
    """Number of processes that could not be killed in time (another user's, or stuck in a disk wait)."""
    proven: bool = True
    """True if the kernel vouches for the count. False after the supervisor was killed or silent, and on macOS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """The kernel killed the program because its control group was out of memory."""


Message = Output | Started | SpawnFailed | Exited | Exhausted | Gone
