"""Landlock as this kernel has it."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import NamedTuple

_CREATE_RULESET = 444


class _Scopes(NamedTuple):
    version: int = 6
    abstract_sockets: int = 1
    signals: int = 2


SCOPES = _Scopes()
"""Things that can be limited to the own domain, as bits, and the first version that knows them."""


@functools.cache
def landlock_version() -> int:
    """The version of Landlock's interface. 0 means that there is none."""
    if sys.platform != "linux":
        return 0
    version: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, 1)
    return max(0, version)
