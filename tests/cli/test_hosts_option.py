"""`--hosts` as users type it, over a real sshd on loopback."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.console import Architect, wait_until
from support.repositories import git
from support.sshd import SshHosts, host_processes, running_sshd


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshHosts]:
    with running_sshd(tmp_path / "sshd", monkeypatch) as server:
        yield server


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--hosts", "box1"), 2, "--hosts box1: not dask://HOST:PORT or ssh://HOST,HOST"),
        (("--hosts", "ftp://box1"), 2, "--hosts ftp://box1: not dask://HOST:PORT or ssh://HOST,HOST"),
        (("--hosts", "ssh://box", "--host-timeout", "soon"), 2, "--host-timeout"),
        (("--hosts", "ssh://box", "--insecure", "--tls-dir", "x"), 2, "--insecure and --tls-dir exclude each other"),
    ],
)
def test_a_wrong_word_is_one_line_and_nothing_is_recorded(
    checkout: Path, architect: Architect, words: tuple[str, ...], code: int, message: str
) -> None:
    answer = architect("parallel", "true", "--backend", "shell", *words)
    assert answer.code == code
    assert message in answer.err.splitlines()[0]
    assert "Traceback" not in answer.err
    assert not (checkout / ".git" / "architect" / "runs.db").exists()


def test_a_run_of_this_machine_is_not_resumed_elsewhere(checkout: Path, architect: Architect) -> None:
    assert architect("parallel", "false", "--backend", "shell").code == 1
    answer = architect("resume", "--hosts", "ssh://box")
    assert (answer.code, "has no other machines" in answer.err) == (2, True)


def test_two_machines_run_what_one_command_asks_for(hosts: SshHosts, checkout: Path, architect: Architect) -> None:
    task = "pwd | sed s,.*-,, > made.txt"
    answer = architect("parallel", task, "-n", "4", "--backend", "shell", "--hosts", hosts.url, "--json")
    assert answer.code == 0, answer.err
    results = answer.json["results"]
    assert [result["status"] for result in results] == ["success"] * 4
    assert {result["host"] for result in results} == {"box1", "box2"}
    for result in results:
        assert git(checkout, "show", f"{result['branch']}:made.txt") == str(result["worker_id"])
        assert not Path(checkout / f".architect-parallel-{result['worker_id']}").exists()
    assert "HOST" in architect("status", "latest").out
    assert architect("merge", "latest", "1").code == 0
    assert (checkout / "made.txt").read_text() == "1\n"
    assert architect("logs", "1").code == 0
    assert architect("parallel-cleanup").code == 0


def test_resume_takes_up_what_a_killed_launcher_left(
    hosts: SshHosts, checkout: Path, architect: Architect, tmp_path: Path
) -> None:
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    task = f"pwd | sed s,.*-,, >> '{starts}'; while [ ! -e '{gate}' ]; do sleep 0.05; done; echo x > new.txt"
    launcher = architect.begin("parallel", task, "-n", "3", "--backend", "shell", "--hosts", hosts.url)
    wait_until(lambda: starts.exists() and len(starts.read_text().split()) == 3, "three starts")
    launcher.kill()
    launcher.wait()
    status = architect("status", "latest", "--json")
    assert all("may still run on box" in result["error"] for result in status.json["results"])
    gate.touch()
    answer = architect("resume", "latest", "--json")
    assert answer.code == 0, answer.err
    assert [(result["status"], result["attempts"]) for result in answer.json["results"]] == [("success", 1)] * 3
    assert sorted(starts.read_text().split()) == ["1", "2", "3"]
    assert all("new.txt" in git(checkout, "ls-tree", result["branch"]) for result in answer.json["results"])


def test_a_killed_host_process_costs_its_workers_and_no_others(
    hosts: SshHosts, checkout: Path, architect: Architect, tmp_path: Path
) -> None:
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    task = f"echo x > new.txt; echo $PWD >> '{starts}'; while [ ! -e '{gate}' ]; do sleep 0.05; done"
    words = ("parallel", task, "-n", "4", "--backend", "shell", "--hosts", hosts.url, "--json")
    launcher = architect.begin(*words, "--host-timeout", "60s")
    wait_until(lambda: starts.exists() and len(starts.read_text().splitlines()) == 4, "four starts")
    psutil.Process(host_processes(hosts.root(0))[0]).send_signal(signal.SIGKILL)
    gate.touch()
    answer = architect.finish(launcher)
    assert answer.code == 1, answer.err
    ends: dict[str, set[tuple[str, str]]] = {"box1": set(), "box2": set()}
    for result in answer.json["results"]:
        ends[result["host"]].add((result["status"], result["reason"]))
    assert ends["box2"] == {("success", "completed")}
    assert ends["box1"] <= {("failed", "host_lost"), ("success", "completed")}
    assert len(starts.read_text().splitlines()) == 4
