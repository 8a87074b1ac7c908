"""Attacks by what a clone brings along: result directories, things to copy; and by clients of `architect serve`."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support.repositories import git

from architect_parallel.errors import UsageError
from architect_parallel.reports.result_files import require_result_directory
from architect_parallel.system import http_server
from architect_parallel.system.git import open_repository
from architect_parallel.worktrees import prepare

VICTIM = "settings.json"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory of the user's, with a file that a task could be named after."""
    directory = tmp_path / ".claude"
    directory.mkdir()
    (directory / VICTIM).write_text("{}")
    return directory


OUTSIDE: dict[str, Callable[[Path, Path], Path]] = {
    "by-its-path": lambda checkout, victim: victim,
    "by-dots": lambda checkout, victim: checkout / ".." / victim.name,
    "through-a-link-in-the-clone": lambda checkout, victim: linked(checkout / "results", victim),
    "below-a-link-in-the-clone": lambda checkout, victim: linked(checkout / "results", victim.parent) / victim.name,
    "git's-hooks": lambda checkout, victim: checkout / ".git" / "hooks",
    "git's-directory": lambda checkout, victim: checkout / ".git",
    "git's-directory-through-a-link": lambda checkout, victim: linked(checkout / "results", checkout / ".git"),
}


def linked(link: Path, target: Path) -> Path:
    link.symlink_to(target)
    return link


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_task_file_writes_results_over_files_of_the_user(checkout: Path, victim: Path, name: str) -> None:
    directory = OUTSIDE[name](checkout, victim)
    with pytest.raises(UsageError, match="output_dir"):
        require_result_directory(directory, open_repository(checkout))
    assert os.access(directory, os.W_OK), "the control: nothing else would stop it"


@pytest.mark.parametrize("place", ["inside", "new", "empty", "of an earlier run"])
def test_control_results_go_where_nothing_is_lost(checkout: Path, tmp_path: Path, place: str) -> None:
    directory = checkout / "results" if place == "inside" else tmp_path / "results"
    if place != "new":
        directory.mkdir()
    if place == "inside":
        (directory / "other").touch()
    if place == "of an earlier run":
        (directory / "task-0.json").touch()
        (directory / "summary.json").write_text(json.dumps({"schema_version": 1, "run_id": "r", "results": []}))
    require_result_directory(directory, open_repository(checkout))


@pytest.mark.parametrize("copied", [prepare._copy_file, shutil.copyfile], ids=["attack", "control"])
def test_a_pipe_in_a_copied_directory_is_waited_for_for_ever(
    tmp_path: Path, copied: Callable[[str, str], object]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    if copied is shutil.copyfile:
        with pytest.raises(shutil.SpecialFileError):
            copied(str(tmp_path / "pipe"), str(tmp_path / "copy"))
    else:
        copied(str(tmp_path / "pipe"), str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("guarded", [True, False], ids=["attack", "control"])
def test_a_client_of_serve_holds_its_connection_with_a_byte_now_and_then(
    monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    monkeypatch.setattr(http_server, "CLIENT_TIMEOUT_S", 0.2)
    server = http_server.Loopback(port=0, page=lambda path: b"", state=lambda path: "", policy="", token="t")
    handler = server._server.RequestHandlerClass
    if not guarded:
        monkeypatch.setattr(handler, "handle_one_request", BaseHTTPRequestHandler.handle_one_request)
        monkeypatch.setattr(handler, "parse_request", BaseHTTPRequestHandler.parse_request)
    with server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(0.05)
        is_closed = False
        client.sendall(b"GET / HTTP/1.0\r\n")
        for _ in range(200 if guarded else 10):  # the control lasts twice the time limit
            try:
                client.sendall(b"X: y\r\n")
                is_closed = client.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                is_closed = True
            if is_closed:
                break
    assert is_closed == guarded


def test_control_a_client_that_asks_gets_its_answer() -> None:
    server = http_server.Loopback(port=0, page=lambda path: b"page", state=lambda path: "", policy="", token="t")
    with server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(f"GET /?token=t HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.endswith(b"page")


def test_copied_directories_leave_pipes_out(checkout: Path, tmp_path: Path) -> None:
    nested = checkout / "nested"
    git(checkout, "init", "-q", nested)
    os.mkfifo(nested / "pipe")
    (nested / "file").write_text("x")
    target = tmp_path / "target"
    target.mkdir()
    prepare._copy(checkout, target, "nested/", [])
    assert sorted(os.listdir(target / "nested")) == [".git", "file"]
