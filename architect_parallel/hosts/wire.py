"""The plain data that travels between a launcher and a host, and its one encoding.

A message is a `dict` with text keys whose values are dicts, lists, texts, numbers, booleans, `None` and bytes. Its
encoding is JSON with the bytes behind it, so every link sends the same and nothing on the way can become an object.
The verbs of a host and the fields of their messages are in `hosts.service`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from architect_parallel.domain import Price, WorkerSpec, WorktreeSettings
from architect_parallel.event_json import from_plain, to_plain

PROTOCOL = 1
"""Version of verbs and messages. A host of another version is not used."""

LARGEST_MESSAGE = 64 << 20
"""Bytes of the largest message that is taken from a stream."""

REFUSED = "refused"
"""Key of a reply that says in words why the host did not do it. Nothing was started then."""

BUSY = "busy"
"""Key of a refusal that may not last: the same host may do it later."""

EARLIER = "earlier"
"""Key of a refusal: the order is for a process that has ended, and it never claimed it."""

AGENT = "agent"
"""The resource that each place is one of."""

Message = Mapping[str, Any]

_BYTES = "\0bytes"
_LENGTH = struct.Struct(">I")
_Data = TypeVar("_Data")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """A host as it describes itself: the reply to `hello`."""

    name: str
    host_id: str
    """Of its root directory. It stays when the process is started again."""
    incarnation: str
    """Of its process."""
    protocol: int
    version: str
    """Version of architect-parallel."""
    slots: int
    """Agents that may run at the same time."""
    resources: Mapping[str, int] = field(default_factory=dict)
    """All places and labels: `agent` (its slots), `backend-<name>` for each installed agent, and its `--label`s."""
    free: Mapping[str, int] = field(default_factory=dict)
    """The part of `resources` that no running order holds. A host that stops has no free place."""
    places: tuple[str, ...] = ()
    """Keys of the places whose orders run."""
    backends: Mapping[str, str] = field(default_factory=dict)
    """Name → the reason why it cannot be used here. An empty text means that it can."""
    python: str = ""
    git: str = ""
    system: str = ""
    proves_emptiness: bool = False
    """An agent's process tree is proven empty after its end."""
    sandbox_levels: tuple[str, ...] = ()
    """Containment that its own mechanism can hold."""
    free_memory_bytes: int | None = None
    free_disk_bytes: int | None = None
    undelivered: tuple[tuple[str, int], ...] = ()
    """Run and worker id of each result that no launcher has taken."""

    def meets(self, needs: Mapping[str, int]) -> bool:
        """The host has these resources, free or not."""
        return all(self.resources.get(name, 0) >= amount for name, amount in needs.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class GitFacts:
    """The facts of the launcher's repository and user that decide what a result looks like."""

    object_format: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """git settings that change how a tree is read or written."""
    exclude: str = ""
    """Content of `info/exclude`, after that of the user's global ignore file."""
    attributes: str = ""
    """Content of `info/attributes`."""
    author_name: str = ""
    author_email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One attempt of a worker for one process of one host. The same order again joins what runs."""

    origin: str
    """The launcher's repository: the hash of a random id in its state directory and of its path."""
    epoch: int
    """Number of launches of the run so far. A host refuses orders of an older one."""
    incarnation: str
    """The process it is for. Another process refuses it."""
    place: str
    """Key of the place that it holds."""
    needs: Mapping[str, int]
    spec: WorkerSpec
    git: GitFacts
    worktrees: WorktreeSettings = field(default_factory=WorktreeSettings)
    checks_env: tuple[str, ...] = ()
    prices: Mapping[str, Price] = field(default_factory=dict)
    allow_secrets: bool = False
    backend: Mapping[str, Any] | None = None
    """The description of a backend from the launcher's configuration. `None` means a built-in one."""

    @property
    def key(self) -> str:
        """Names the attempt within its run."""
        return f"{self.spec.worker_id}-{self.spec.attempt}"


def to_message(data: object) -> dict[str, Any]:
    """The plain form of a dataclass of this module."""
    plain: dict[str, Any] = to_plain(data)
    return plain


def from_message(kind: type[_Data], message: Any) -> _Data:
    """Reverse `to_message`.

    Raises:
        ValueError: The message does not fit the type.
    """
    try:
        data: _Data = from_plain(kind, message)
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"no {kind.__name__}: {error}") from error
    return data


def pack(message: Message) -> bytes:
    """Encode a message."""
    blobs: list[bytes] = []

    def plain(value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            blobs.append(bytes(value))
            return {_BYTES: len(blobs[-1])}
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    text = json.dumps(plain(message), separators=(",", ":")).encode()
    return b"".join((_LENGTH.pack(len(text)), text, *blobs))


def unpack(data: bytes) -> dict[str, Any]:
    """Decode the result of `pack`.

    Raises:
        ValueError: It is no message.
    """
    if len(data) < _LENGTH.size:
        raise ValueError("the message is cut off")
    position = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    try:
        message = json.loads(data[_LENGTH.size : position])
    except RecursionError as error:
        raise ValueError("the message is nested too deeply") from error

    def take(value: Any) -> Any:
        nonlocal position
        if isinstance(value, list):
            return [take(item) for item in value]
        if not isinstance(value, dict):
            return value
        if _BYTES not in value:
            return {key: take(item) for key, item in value.items()}
        size = value[_BYTES]
        if not isinstance(size, int) or size < 0 or position + size > len(data):
            raise ValueError("the message is cut off")
        position += size
        return data[position - size : position]

    whole = take(message)
    if not isinstance(whole, dict) or position != len(data):
        raise ValueError("the message is no object, or has more bytes than it says")
    return whole


def write_frame(stream: BinaryIO, data: bytes) -> None:
    """Write a packed message to a stream, with its length before it."""
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read the next packed message from a blocking stream. `None` means that the stream ended between two messages.

    Raises:
        ValueError: The stream ended within a message, or the message is larger than `LARGEST_MESSAGE`.
    """
    head = stream.read(_LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size:
        raise ValueError("the stream ended within a message")
    size = _LENGTH.unpack(head)[0]
    if size > LARGEST_MESSAGE:
        raise ValueError(f"a message of {size} bytes is too large")
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("the stream ended within a message")
    return data
