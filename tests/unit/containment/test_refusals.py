"""A path that a tool was refused is found in its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.containment.profile import SandboxProfile
from architect_parallel.containment.refusals import refused

PROFILE = SandboxProfile(
    write=(Path("/w/tree"),),
    read=(),
    hidden=(Path("/home/u/.ssh"), Path("/run")),
    hidden_patterns=((Path("/w/repo"), ".env*"),),
    caches=(Path("/home/u/.cache"),),
    scratch=Path("/w/scratch"),
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("touch: cannot touch '/home/u/.m3/x': Read-only file system", {"/home/u/.m3/x": "write"}),
        ("bash: line 1: /home/u/a: Read-only file system", {"/home/u/a": "write"}),
        ("mkdir: cannot create directory ‘/home/u/.tool’: Read-only file system", {"/home/u/.tool": "write"}),
        ("OSError: [Errno 30] Read-only file system: '/home/u/.tool'", {"/home/u/.tool": "write"}),
        ("Error: EROFS: read-only file system, open '/home/u/.tool/lock'", {"/home/u/.tool/lock": "write"}),
        ("open /home/u/.tool/lock: read-only file system", {"/home/u/.tool/lock": "write"}),
        (r'{"content":"a\ntouch: /home/u/.tool: Read-only file system\nb /c"}', {"/home/u/.tool": "write"}),
        ("cat: /home/u/.ssh/id_rsa: Permission denied", {"/home/u/.ssh/id_rsa": "show"}),
        ("open /w/repo/.env.local: permission denied", {"/w/repo/.env.local": "show"}),
        # No matter of the sandbox:
        ("cat: /etc/shadow: Permission denied", {}),
        ("touch: /w/tree/a: Read-only file system", {}),
        ("touch: /proc/x: Read-only file system", {}),
        ("/home/u/.tool was built", {}),
        ("the docs speak of a Read-only file system", {}),
    ],
)
def test_a_refused_path_is_found(words: str, expected: dict[str, str]) -> None:
    assert refused(words, PROFILE, denies_writes=False) == expected


def test_landlock_says_permission_denied() -> None:
    words = "touch: cannot touch '/home/u/a': Permission denied"
    assert refused(words, PROFILE, denies_writes=True) == {"/home/u/a": "write"}
