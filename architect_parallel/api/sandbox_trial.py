"""`architect doctor --sandbox`: acts that a contained agent must not be able to do, tried here, each with a control."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from architect_parallel.containment.decision import Wanted, decide
from architect_parallel.containment.probe import prober
from architect_parallel.containment.profile import ProfilePlaces, profile
from architect_parallel.containment.steps import contained
from architect_parallel.domain import Network, Sandbox, SandboxLevel, SandboxSettings
from architect_parallel.supervision.consume import consume
from architect_parallel.supervision.messages import Launch, Started
from architect_parallel.supervision.output import Tail
from architect_parallel.supervision.process import start_supervised

ACTS: Mapping[str, str] = {
    "write a file in your home": 'echo x >> "$HOME/.bashrc"',
    "make a file in your home": 'echo x > "$HOME/new"',
    "write beside its worktree": 'echo x > "$PLACE/checkout"',
    "delete a file beside its worktree": 'rm "$PLACE/doomed"',
    "change the mode of a file of yours": 'chmod 600 "$PLACE/mode"',
    "read a key in ~/.ssh": 'grep -q secret "$HOME/.ssh/key"',
    "read a token in ~/.npmrc": 'grep -q secret "$HOME/.npmrc"',
    "read the login of another agent": 'grep -q secret "$HOME/.codex/auth.json"',
    "signal another process": 'kill -0 "$VICTIM" && grep -q "$VICTIM" "/proc/$VICTIM/stat"',
    "read the environment of another process": 'tr "\\0" "\\n" < "/proc/$VICTIM/environ" | grep -q secret',
    "write memory shared with others": 'echo x > "$SHARED"',
}
"""Name of an act → the shell command that does it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One act: whether it was done inside and, as a control, outside."""

    act: str
    inside: bool
    outside: bool


def try_acts(environ: Mapping[str, str], level: SandboxLevel) -> tuple[Sandbox, list[Trial]]:
    """Try every act in a scratch place, outside of any sandbox and inside one of `level`.

    Raises:
        EnvironmentProblem: The level cannot be had here.
    """
    sandbox = decide(Wanted(flag=level), SandboxSettings(network=Network.OPEN), prober(environ)).sandbox
    outcomes = [_outcomes(box, environ) for box in (Sandbox(), sandbox)]
    return sandbox, [Trial(act, inside=outcomes[1][act], outside=outcomes[0][act]) for act in ACTS]


def _outcomes(sandbox: Sandbox, environ: Mapping[str, str]) -> dict[str, bool]:
    """Each act, with true if it was done."""
    with tempfile.TemporaryDirectory(prefix="architect-doctor-") as folder:
        place = Path(os.path.realpath(folder))
        home, worktree = place / "home", place / "worktree"
        for name in (".ssh/key", ".npmrc", ".codex/auth.json", ".bashrc"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text("secret\n")
        worktree.mkdir()
        for name in ("checkout", "doomed", "mode"):
            (place / name).write_text("known\n")
        shared = Path("/dev/shm") / place.name
        shared.write_text("")
        other = Launch(argv=("sleep", "600"), cwd=place, env={"PATH": os.defpath, "ARCHITECT_TRIAL": "secret"})
        with start_supervised(other) as victim:
            pid = next((message.pid for message in victim.wait() if isinstance(message, Started)), 0)
            path = environ.get("PATH", os.defpath)
            variables = {"HOME": home, "PLACE": place, "VICTIM": pid, "SHARED": shared, "PATH": path}
            script = "; ".join(
                f"if ( {command} ) > /dev/null 2>&1; then echo done {shlex.quote(act)}; fi"
                for act, command in ACTS.items()
            )
            launch = Launch(
                argv=("/bin/sh", "-c", script),
                cwd=worktree,
                env={name: str(value) for name, value in variables.items()},
            )
            places = ProfilePlaces(home=home, directory=worktree, checkout=place, scratch=place / "scratch")
            tail = Tail()
            with start_supervised(contained(launch, sandbox, profile(sandbox, places))) as program:
                consume(program, lambda stream, data: tail.feed(data))
        shown = shared.read_text()
        shared.unlink()
    done = {act: f"done {act}" in tail.text.splitlines() for act in ACTS}
    # Inside there is another /dev/shm: what counts is what the user sees.
    done["write memory shared with others"] = shown != ""
    return done
