"""git's index file read as data: the times it holds of every file, to the nanosecond.

git itself compares whole seconds and then reads the file again, which for a path with a filter means running the
filter. Format: https://git-scm.com/docs/gitformat-index (versions 2 to 4, no split index).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.system.own_files import READ_BY_GIT, write_own

_STAT = struct.Struct(">10I")
"""ctime (seconds, nanoseconds), mtime (seconds, nanoseconds), device, inode, mode, user, group, size."""
_LOW = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class IndexFileEntry:
    """One path of an index."""

    mode: str
    oid: str
    is_plain: bool
    """The entry has no flag: it is neither assumed unchanged, skipped, nor only intended to be added."""
    stat: tuple[int, ...]
    """As in the file. Zeros where git knows nothing of the file's times."""
    offset: int

    def matches(self, file: os.stat_result) -> bool:
        """Return whether the file has the times, the inode and the size that the entry holds."""
        times, inode, size = self.stat[:4], self.stat[5], self.stat[9]
        return (*times, inode, size) == (*_times(file), file.st_ino & _LOW, _size(file)) and times != (0, 0, 0, 0)


def read_index(path: Path, hash_bytes: int) -> dict[str, IndexFileEntry]:
    """The entries of the index at `path` that are in no conflict.

    Args:
        hash_bytes: Length of an object id: 20, or 32 in a SHA-256 repository.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no index, or one of an unknown version.
    """
    return parse_index(path.read_bytes(), hash_bytes)


def parse_index(data: bytes, hash_bytes: int) -> dict[str, IndexFileEntry]:
    """As `read_index`."""
    entries = {}
    try:
        signature, version, count = struct.unpack_from(">4sII", data)
        if signature != b"DIRC" or version not in (2, 3, 4):
            raise ValueError("not a git index of version 2, 3 or 4")
        at, name = 12, b""
        for _ in range(count):
            start = at
            numbers = _STAT.unpack_from(data, at)
            oid = data[at + 40 : at + 40 + hash_bytes].hex()
            (flags,) = struct.unpack_from(">H", data, at + 40 + hash_bytes)
            at += 42 + hash_bytes
            extended = 0
            if flags & 0x4000:
                (extended,) = struct.unpack_from(">H", data, at)
                at += 2
            if version == 4:
                dropped, at = _varint(data, at)
                name = name[: len(name) - dropped]
                end = data.index(b"\0", at)
                name, at = name + data[at:end], end + 1
            else:
                end = data.index(b"\0", at)
                name = data[at:end]
                at = start + (end - start + 8) // 8 * 8
            if not flags & 0x3000:
                entries[os.fsdecode(name)] = IndexFileEntry(
                    f"{numbers[6]:06o}", oid, not flags & 0x8000 and not extended & 0x6000, numbers, start
                )
    except struct.error as error:
        raise ValueError("the index is cut short") from error
    return entries


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` as git encodes offsets, and where it ends."""
    byte = data[at]
    value, at = byte & 0x7F, at + 1
    while byte & 0x80:
        byte = data[at]
        value, at = ((value + 1) << 7) | (byte & 0x7F), at + 1
    return value, at


def enter_times(path: Path, files: Mapping[str, os.stat_result], hash_bytes: int) -> None:
    """Write the result of `lstat` into the entry of each file, as git does after it has read the file.

    git offers this only together with reading the file through its filter again.

    Raises:
        OSError: The index cannot be read or written.
        ValueError: It is no index.
    """
    data = bytearray(path.read_bytes())
    entries = parse_index(bytes(data), hash_bytes)
    for name, file in files.items():
        if name in entries:
            entry = entries[name]
            numbers = (
                *_times(file),
                file.st_dev & _LOW,
                file.st_ino & _LOW,
                entry.stat[6],
                file.st_uid & _LOW,
                file.st_gid & _LOW,
                _size(file),
            )
            _STAT.pack_into(data, entry.offset, *numbers)
    if any(data[-hash_bytes:]):  # zeros: `index.skipHash`
        data[-hash_bytes:] = hashlib.new("sha1" if hash_bytes == 20 else "sha256", data[:-hash_bytes]).digest()
    fresh = path.with_name(f"{path.name}.times")
    write_own(fresh, bytes(data), READ_BY_GIT)
    os.replace(fresh, path)


def _times(file: os.stat_result) -> tuple[int, int, int, int]:
    changed, modified = divmod(file.st_ctime_ns, 10**9), divmod(file.st_mtime_ns, 10**9)
    return changed[0] & _LOW, changed[1], modified[0] & _LOW, modified[1]


def _size(file: os.stat_result) -> int:
    """As git stores it: 32 bits, and never 0 for a file that is not empty (git 2.43)."""
    return file.st_size & _LOW or (0x80000000 if file.st_size else 0)
