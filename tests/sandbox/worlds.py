"""A user's machine in small: a home with keys, a repository, a process beside it, and runs of `acts.py` in it.

A program, because it has to run as somebody else too: `python worlds.py DIRECTORY FLAG...` prints JSON.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECRETS = (
    *(".ssh/id_ed25519", ".gnupg/secret", ".aws/credentials", ".netrc", ".npmrc", ".pypirc", ".git-credentials"),
    *(".config/gh/hosts.yml", ".cargo/credentials.toml", ".docker/config.json", ".kube/config", ".bash_history"),
    *(".mozilla/firefox/cookies.sqlite", ".claude/.credentials.json", ".codex/auth.json"),
)


def main(directory: Path, flags: list[str]) -> None:
    home, checkout = directory / "home", directory / "repo"
    for name in SECRETS:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("hunter2\n")
    (home / ".config/architect-parallel").mkdir()
    (home / ".config/architect-parallel/config.yaml").write_text("# hunter2\n")
    (home / ".cache").mkdir()
    (home / ".cache/known").write_text("x")
    for name in (".bashrc", ".profile"):
        (home / name).write_text("\n")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = A\n\temail = a@example.invalid\n[init]\n\tdefaultBranch = main\n"
    )
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SSH_AUTH_SOCK": "/run/none"}
    env |= {"XDG_CACHE_HOME": str(home / ".cache")}
    env |= {name: value for name, value in os.environ.items() if name.startswith("ARCHITECT_")}
    checkout.mkdir()

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=checkout, env=env, check=True, capture_output=True)

    git("init", "-q")
    (checkout / "README.md").write_text("# x\n")
    (directory / "known").write_text("hunter2\n")
    for name in ("doomed.txt", "doomed-too.txt"):
        (checkout / name).write_text("x\n")
    (checkout / "acts.py").write_text((HERE / "acts.py").read_text())
    (checkout / ".gitignore").write_text(".env\n")
    git("add", "-A")
    git("commit", "-qm", "first")
    (checkout / ".env").write_text("PASSWORD=hunter2\n")
    other = checkout / ".architect-parallel-90"
    git("worktree", "add", "-q", str(other), "-b", "other")
    (other / "secret").write_text("hunter2\n")
    victim = subprocess.Popen(
        [sys.executable, HERE / "victim.py", directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env | {"PASSWORD": "hunter2"},
    )
    assert victim.stdin is not None
    assert victim.stdout is not None
    world = json.loads(victim.stdout.readline())
    disks = [f"/dev/{name}" for name in sorted(os.listdir("/sys/block")) if os.path.exists(f"/dev/{name}")]
    world |= {"home": str(home), "checkout": str(checkout), "other": str(other), "disk": disks[0] if disks else ""}
    for place in ("home", "checkout"):
        status = os.stat(world[place])
        world[f"{place}_identity"] = [status.st_dev, status.st_ino]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "architect_parallel", "parallel", "--json", "--workers", "1", "--backend", "shell"),
            *("--tripwire", "off", *flags, "--", f"/usr/bin/env python3 acts.py {shlex.quote(json.dumps(world))}"),
        ],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    victim.stdin.close()
    victim.wait()
    print(
        json.dumps(
            {"exit": done.returncode, "out": done.stdout, "err": done.stderr, "left": sorted(os.listdir("/tmp"))}
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
