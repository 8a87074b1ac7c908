"""`--hosts` as a user types it: two hosts by ssh and by Dask, and a launcher that is killed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.clusters import OverDask, OverSsh, two_hosts
from support.console import Architect, wait_until

TASKS = 4


class Commands:
    """A repository, two hosts with two places each, and agents that wait for a word."""

    def __init__(self, checkout: Path, place: Path, cluster: OverSsh | OverDask) -> None:
        self.architect = Architect(checkout)
        self.cluster = cluster
        self.starts = place / "starts"
        self.starts.touch()
        self.word = place / "word"
        agent = f'echo x >> "{self.starts}"; while [ ! -e "{self.word}" ]; do sleep 0.05; done; echo done > done.txt'
        tasks = [word for number in range(TASKS) for word in ("--task", f"{agent}; : {number}")]
        self.words = ("parallel", *tasks, "--backend", "shell", "--json", *cluster.words)

    def count(self) -> int:
        return len(self.starts.read_text().split())

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the command and wait until every agent runs."""
        launcher = self.architect.begin(*self.words)
        wait_until(lambda: self.count() >= TASKS or launcher.poll() is not None, "the start of all agents")
        assert launcher.poll() is None, self.architect.finish(launcher)
        return launcher


@pytest.fixture(params=["ssh", "dask"])
def commands(
    request: pytest.FixtureRequest, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Commands]:
    with two_hosts(request.param, tmp_path / "cluster", monkeypatch) as cluster:
        commands = Commands(checkout, tmp_path, cluster)
        yield commands
        commands.word.touch()
        commands.architect.end_all()


def test_a_run_on_other_machines_is_a_run_as_ever(commands: Commands) -> None:
    commands.word.touch()
    done = commands.architect(*commands.words)
    assert done.code == 0, done.err
    results = done.json["results"]
    assert {(result["status"], result["host"]) for result in results} == {("success", "box1"), ("success", "box2")}
    assert commands.count() == TASKS
    for result in results:
        assert "done.txt" in commands.architect("diff", "latest", str(result["worker_id"]), "--stat").out
        assert Path(result["log_path"]).is_file()


def test_after_the_launcher_was_killed_resume_takes_up_what_runs(commands: Commands) -> None:
    launcher = commands.begin()
    launcher.kill()
    launcher.communicate()
    commands.word.touch()
    done = commands.architect("resume", "latest", "--json")
    assert done.code == 0, done.err
    results = done.json["results"]
    assert ({result["status"] for result in results}, commands.count()) == ({"success"}, TASKS)
    assert {result["attempts"] for result in results} == {1}
