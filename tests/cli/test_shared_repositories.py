"""A repository that several users share, and one in which root worked once: nobody is locked out."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import Answer

ROOT = Path(__file__).resolve().parents[2]
OWNER, OTHER, GROUP = 3001, 3002, 2000
PARALLEL = ("parallel", "echo hi > b.txt", "--backend", "shell", "--workers", "1", "--quiet")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


class Users:
    """Runs programs as several users, in a place that all of them may enter."""

    def __init__(self, place: Path, python: str) -> None:
        self.place = place
        self.repository = place / "repo"
        self.python = python
        for user in (OWNER, OTHER, 0):
            home = place / f"home-{user}"
            home.mkdir()
            (home / ".gitconfig").write_text(
                f"[user]\n\tname = U{user}\n\temail = u@example.invalid\n[safe]\n\tdirectory = *\n"
            )
            os.chown(home, user, GROUP)

    def run(self, user: int, *argv: str, umask: int = 0o022, check: bool = False) -> Answer:
        """Runs `argv` in the repository."""
        environ = {
            "PATH": os.environ["PATH"], "HOME": str(self.place / f"home-{user}"), "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{ROOT}:{sysconfig.get_paths()['purelib']}",
        }  # fmt: skip
        done = subprocess.run(
            argv, cwd=self.repository, env=environ, user=user, group=GROUP if user else 0, extra_groups=[],
            umask=umask, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def architect(self, user: int, *words: str) -> Answer:
        return self.run(user, self.python, "-P", "-m", "architect_parallel", *words)

    def commit(self, user: int, name: str) -> Answer:
        return self.run(user, "sh", "-c", f"echo x > {name}; git add {name}; git commit -qm {name}", umask=0o002)

    def init(self, *options: str, mode: int = 0o2775) -> None:
        """Makes the owner's repository with one commit."""
        self.repository.mkdir()
        os.chown(self.repository, OWNER, GROUP)
        self.repository.chmod(mode)
        self.run(OWNER, "git", "init", "-q", *options, ".", check=True)
        assert self.commit(OWNER, "first").code == 0


@pytest.fixture
def users() -> Iterator[Users]:
    """Users, a place without any repository yet, and a Python that all of them may start."""
    place = Path(tempfile.mkdtemp(prefix="architect-users-"))
    place.chmod(0o755)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        found = Users(place, python)
        found.repository.mkdir()
        try:
            usable = found.run(OWNER, python, "-P", "-c", "import architect_parallel, pydantic, psutil").code == 0
        except OSError:
            usable = False
        found.repository.rmdir()
        if usable:
            yield found
            shutil.rmtree(place)
            return
        for home in place.iterdir():
            shutil.rmtree(home)
    shutil.rmtree(place)
    pytest.skip("there is no Python here that other users may start")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_two_users_of_a_group_work_in_a_shared_repository(users: Users) -> None:
    users.init("--shared=group")
    assert users.architect(OWNER, *PARALLEL).code == 0
    state = users.repository / ".git" / "architect"
    status = users.architect(OTHER, "status")
    assert (status.code, "success" in status.out) == (0, True), status.err
    assert users.architect(OTHER, *PARALLEL).code == 0
    assert users.architect(OTHER, "merge", "latest", "1").code == 0
    assert users.architect(OWNER, "parallel-cleanup").code in (0, 3)  # the other's worktree stays and is named
    assert users.architect(OWNER, "status").code == 0
    assert users.commit(OWNER, "second").code == 0  # the objects of both are for both
    assert mode(state) == 0o2770
    assert {mode(path) for path in state.glob("*.lock")} == {0o660}
    assert mode(state / "runs.db") == 0o660
    assert {mode(path) for path in (state / "runs").iterdir()} == {0o2770}
    assert {mode(path) & 0o777 for path in state.glob("runs/*/logs")} == {0o700}
    assert {mode(path) for path in state.glob("runs/*/prompts/*")} == {0o600}


def test_logs_of_another_user_are_named_as_private(users: Users) -> None:
    users.init("--shared=group")
    assert users.architect(OWNER, "parallel", "echo words", "--backend", "shell", "--workers", "1").code == 0
    answer = users.architect(OTHER, "logs", "latest")
    assert answer.code == 3
    assert f"are private to user {OWNER}" in answer.err
    report = users.place / f"home-{OTHER}" / "report.html"
    assert users.architect(OTHER, "report", "latest", "--format", "html", "--output", str(report)).code == 0
    assert report.is_file()


def test_a_worktree_of_another_user_stays_as_a_whole(users: Users) -> None:
    users.init("--shared=group")
    assert users.architect(OWNER, "parallel", "true", "--backend", "shell", "--workers", "1").code == 0
    answer = users.architect(OTHER, "parallel-cleanup")
    assert answer.code == 3
    assert ".architect-parallel-1 stays" in answer.out + answer.err
    assert (users.repository / ".architect-parallel-1" / "first").is_file()
    assert users.architect(OWNER, "parallel-cleanup").code == 0


def test_a_repository_that_is_not_shared_is_private_and_the_hint_says_how_to_share_it(users: Users) -> None:
    users.init()
    assert users.architect(OWNER, *PARALLEL).code == 0
    state = users.repository / ".git" / "architect"
    assert mode(state) & 0o077 == 0
    answer = users.architect(OTHER, "status")
    assert answer.code == 3
    assert "core.sharedRepository group" in answer.err
    users.run(OWNER, "git", "config", "core.sharedRepository", "group", check=True)
    users.run(OWNER, "chmod", "g+rwxs", ".git", check=True)
    assert users.architect(OWNER, "status").code == 0
    assert "success" in users.architect(OTHER, "status").out


def test_a_group_that_may_only_read_can_look(users: Users) -> None:
    users.init("--shared=0640", mode=0o2755)
    assert users.architect(OWNER, *PARALLEL).code == 0
    assert mode(users.repository / ".git" / "architect" / "runs.db") == 0o640
    assert "success" in users.architect(OTHER, "status").out
    answer = users.architect(OTHER, *PARALLEL)
    assert answer.code == 3
    assert "Traceback" not in answer.err


def test_root_locks_the_owner_out_of_nothing(users: Users) -> None:
    users.init()
    assert users.architect(0, *PARALLEL).code == 0
    owners = {path.lstat().st_uid for path in (users.repository / ".git").rglob("*")}
    owners |= {path.lstat().st_uid for path in (users.repository / ".architect-parallel-1").rglob("*")}
    assert owners == {OWNER}
    assert "success" in users.architect(OWNER, "status").out
    assert users.architect(OWNER, *PARALLEL).code == 0
    assert users.architect(OWNER, "merge", "latest", "1").code == 0
    assert users.architect(OWNER, "parallel-cleanup", "--force").code == 0
    assert not list(users.repository.glob(".architect-parallel-*"))


def test_a_journal_of_root_is_named_with_the_way_to_mend_it(users: Users) -> None:
    users.init()
    assert users.architect(OWNER, *PARALLEL).code == 0
    state = users.repository / ".git" / "architect"
    os.chown(state, 0, 0)  # as an earlier version left it
    answer = users.architect(OWNER, "status")
    assert answer.code == 3
    assert f'sudo chown -R "$(id -un)" {state}' in answer.err


def test_root_gives_nobody_a_file_with_a_second_name(users: Users) -> None:
    users.init()
    secret = users.place / "secret"
    secret.write_text("of root")
    (users.repository / ".git" / "planted").hardlink_to(secret)  # as without fs.protected_hardlinks
    assert users.architect(0, *PARALLEL).code == 0
    assert secret.stat().st_uid == 0
    users.run(0, "chown", "-R", f"{OWNER}:{GROUP}", ".git", check=True)  # the control: the naive way gives it away
    assert secret.stat().st_uid == OWNER


def test_root_changes_no_owner_by_looking(users: Users) -> None:
    users.init()
    assert users.architect(OWNER, *PARALLEL).code == 0
    kept = users.repository / ".git" / "kept-by-root"
    kept.touch()
    assert users.architect(0, "status").code == 0
    assert kept.stat().st_uid == 0
