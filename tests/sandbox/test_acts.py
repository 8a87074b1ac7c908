"""The acts of `acts.py` at each level, as root and as an ordinary user, each with a control in which it succeeds."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.mechanisms import needs_bwrap, needs_landlock, needs_namespaces

from architect_parallel.containment import bwrap, landlock
from architect_parallel.containment.probe import WITHOUT

HERE = Path(__file__).resolve().parent
SOMEBODY = 54321
"""A user id that no account has."""
NETWORK = {"connect_loopback_service", "send_datagram"}
"""Acts that only `--network none` holds."""
READING = {"read_main_checkout", "read_file_at_home", "list_home"}
"""Acts that only the level `closed` holds."""
LANDLOCK_GAPS = (
    NETWORK
    | READING
    | {
        *("change_mode_outside", "change_times_outside", "set_attribute_outside", "see_processes"),
        *("connect_socket_in_tmp", "connect_socket_in_run", "write_shared_memory_file", "attach_shared_memory_segment"),
    }
)
"""Acts that Landlock does not know about. Each result names these gaps."""
LEAST = {"root": 70, "user": 55}
"""Acts that must succeed in the control: fewer would prove little."""

IDENTITIES = ["root", "user"] if os.geteuid() == 0 else ["user"]


@dataclass(frozen=True)
class Tried:
    """One run of all acts."""

    envelope: dict[str, Any]
    acts: Mapping[str, str]
    work: Mapping[str, str]

    def through(self) -> set[str]:
        return {name for name, outcome in self.acts.items() if outcome.startswith("through")}


@functools.cache
def tried(identity: str, *flags: str, without: str = "") -> Tried:
    """All acts in a world of its own. Outside of `/tmp`, so that nothing is hidden just because it is there."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="architect-acts-") as folder:
        os.chmod(folder, 0o755)
        place = Path(folder) / "world"
        place.mkdir()
        argv = [sys.executable, str(HERE / "worlds.py"), str(place), *flags]
        if os.geteuid() == 0 and identity == "user":
            os.chown(place, SOMEBODY, SOMEBODY)
            argv = as_somebody(argv, Path(folder))
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent.parent), "LANG": "C.UTF-8", WITHOUT: without}
        done = subprocess.run(argv, cwd="/", env=env, capture_output=True, text=True, check=False)
        shutil.rmtree(place, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["out"], report["err"]
    envelope = json.loads(report["out"])
    lines = [line.split(" ", 2) for line in envelope["results"][0]["output"].splitlines()]
    return Tried(
        envelope=envelope,
        acts={name: outcome for kind, name, outcome in lines if kind == "ACT"},
        work={name: outcome for kind, name, outcome in lines if kind == "WORK"},
    )


def as_somebody(argv: list[str], folder: Path) -> list[str]:
    """`argv` as an ordinary user, who can run this Python even if it lies in a home of root."""
    script = ["set -e", "mount --make-rprivate /"]
    prefix = Path(sys.base_prefix)
    closed = [path for path in prefix.parents if not path.stat().st_mode & stat.S_IXOTH]
    if closed:
        copy = shlex.quote(str(folder / "python"))
        script += [f"mkdir {copy}", f"mount --bind {shlex.quote(str(prefix))} {copy}"]
        script += [f"mount -t tmpfs -o mode=755 none {shlex.quote(str(closed[-1]))}"]
        script += [f"mkdir -p {shlex.quote(str(prefix))}", f"mount --bind {copy} {shlex.quote(str(prefix))}"]
    script.append(f"exec setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups {shlex.join(argv)}")
    return ["unshare", "--mount", "sh", "-c", "\n".join(script)]


@pytest.mark.parametrize("identity", IDENTITIES)
def test_every_act_succeeds_without_a_sandbox(identity: str) -> None:
    control = tried(identity, "--sandbox", "off")
    assert control.envelope["sandbox"]["level"] == "off"
    assert len(control.through()) >= LEAST[identity], {n: o for n, o in control.acts.items() if o != "through"}


@needs_namespaces
@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("network", ["open", "none"])
@pytest.mark.parametrize("level", ["write", "closed"])
def test_no_act_gets_through(identity: str, level: str, network: str) -> None:
    held = tried(identity, "--sandbox", level, "--network", network)
    assert held.envelope["sandbox"] == {
        "level": level, "mechanism": "namespaces", "network": network, "gaps": [], "denied": [],
    }  # fmt: skip
    assert held.through() == (NETWORK if network == "open" else set()) | (READING if level == "write" else set())
    assert held.acts.keys() == tried(identity, "--sandbox", "off").acts.keys()


@needs_bwrap
@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize(("level", "network"), [("write", "open"), ("closed", "none")])
def test_bwrap_holds_the_same(identity: str, level: str, network: str) -> None:
    held = tried(identity, "--sandbox", level, "--network", network, without="namespaces")
    assert held.envelope["sandbox"] == {
        "level": level, "mechanism": "bwrap", "network": network, "gaps": list(bwrap.GAPS), "denied": [],
    }  # fmt: skip
    assert held.through() == (NETWORK if network == "open" else set()) | (READING if level == "write" else set())
    broken = {name: outcome for name, outcome in held.work.items() if outcome != "done"}
    assert broken.keys() <= {"use_cache_at_home", "use_nested_sandbox"}, broken


@needs_landlock
@pytest.mark.parametrize("identity", IDENTITIES)
def test_landlock_holds_all_but_its_named_gaps(identity: str) -> None:
    held = tried(identity, "--sandbox", "write", without="namespaces,bwrap")
    assert held.envelope["sandbox"]["mechanism"] == "landlock"
    assert held.envelope["sandbox"]["gaps"] == list(landlock.gaps())
    assert held.through() - LANDLOCK_GAPS == set()
    assert {name: outcome for name, outcome in held.work.items() if outcome != "done"}.keys() <= {"use_nested_sandbox"}


@pytest.mark.parametrize("identity", IDENTITIES)
def test_without_any_mechanism_a_level_that_was_asked_for_is_refused(identity: str) -> None:
    with pytest.raises(AssertionError, match="--sandbox write cannot be had here: namespaces: switched off"):
        tried(identity, "--sandbox", "write", without="namespaces,bwrap,landlock")


@pytest.mark.parametrize("identity", IDENTITIES)
def test_without_any_mechanism_auto_says_so_once_and_works(identity: str) -> None:
    control = tried(identity, "--sandbox", "auto", without="namespaces,bwrap,landlock")
    assert control.envelope["sandbox"]["level"] == "off"
    assert sum("agents are not contained" in warning for warning in control.envelope["warnings"]) == 1


@needs_namespaces
@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("network", ["open", "none"])
@pytest.mark.parametrize("level", ["write", "closed"])
def test_ordinary_work_is_done(identity: str, level: str, network: str) -> None:
    held = tried(identity, "--sandbox", level, "--network", network)
    broken = {name: outcome for name, outcome in held.work.items() if outcome != "done"}
    assert broken.keys() == ({"use_cache_at_home"} if level == "closed" else set()), broken  # there is no such cache
    assert len(held.work) >= 10
    assert held.envelope["results"][0]["status"] == "success"
