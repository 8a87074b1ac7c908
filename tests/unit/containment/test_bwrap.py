"""The arguments of bubblewrap for the steps of a cage."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect_parallel.containment import bwrap
from architect_parallel.supervision.messages import Launch

STEPS = (
    ("unshare", 0x20000 | 0x20000000 | 0x08000000 | 0x40000000),
    ("listen", 3128),
    ("view",),
    ("hide", "/dev"),
    ("device", "/dev/null", "/dev/null"),
    ("link", "/proc/self/fd", "/dev/fd"),
    ("tmpfs", "/dev/shm"),
    ("terminals", "/dev/pts"),
    ("bind", "/s/tmp", "/tmp"),
    ("hide", "/home/u/.ssh"),
    ("read", "/s/empty", "/home/u/.netrc"),
    ("overlay", "/home/u/.cache", "/home/u/.cache", "/s/0.new", "/s/0.work", "empty"),
    ("overlay", "/home/u/.cargo", "/home/u/.cargo", "/s/1.new", "/s/1.work", "keep"),
    ("bind", "/dev/shm/repo", "/dev/shm/repo"),
    ("filter", "00"),
)


def argv(monkeypatch: pytest.MonkeyPatch, *steps: bwrap.Step) -> list[str]:
    monkeypatch.setattr(bwrap, "program", lambda: "/usr/bin/bwrap")
    launch = bwrap.wrapped(Launch(argv=("agent", "--", "x y"), cwd=Path("/w"), env={}), steps)
    assert launch.cage == bwrap.WRAPPED
    return list(launch.argv)


def test_each_step_is_an_option_and_the_rest_is_done_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    words = argv(monkeypatch, *STEPS)
    options, inside = words[: words.index("--")], words[words.index("--") + 1 :]
    text = " ".join(options)
    assert text.startswith("/usr/bin/bwrap --die-with-parent --cap-drop ALL")
    assert "--unshare-ipc --unshare-pid --unshare-net --ro-bind / / --dev /dev --proc /proc" in text
    assert text.endswith(
        "--perms 1777 --tmpfs /dev/shm --bind /s/tmp /tmp --tmpfs /home/u/.ssh --ro-bind /s/empty /home/u/.netrc"
        " --bind /s/0.new /home/u/.cache --bind /dev/shm/repo /dev/shm/repo --remount-ro /home/u/.ssh --chdir /w"
    )
    own = [bytes.fromhex(word).split(b"\0") for word in inside[5:7]]
    assert (inside[4], own) == ("2", [[b"listen", b"3128"], [b"filter", b"00"]])
    assert inside[7:] == ["agent", "--", "x y"]


def test_a_fresh_root_holds_only_what_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    words = argv(monkeypatch, ("unshare", 0), ("view",), ("root", "/s/root"), ("read", "/usr", "/usr"))
    text = " ".join(words)
    assert "--ro-bind / /" not in text
    assert "--ro-bind /usr /usr --remount-ro / --chdir" in text
