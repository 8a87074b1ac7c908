"""`architect serve`: live, on this machine, for who has the token; nobody can hold it up, and it ends at once."""

from __future__ import annotations

import contextlib
import http.client
import re
import shlex
import signal
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import Architect, wait_until, write_program
from support.landing_runs import MadeRun, begin_run
from support.leaks import nothing_left_open

from architect_parallel.api.serve import serve
from architect_parallel.journal import Journal
from architect_parallel.system import http_server
from architect_parallel.system.git import Repository
from architect_parallel.system.http_server import Loopback


@pytest.fixture
def live(repository: Repository) -> Iterator[MadeRun]:
    """A run at work."""
    with Journal.open(repository.state_dir) as journal:
        made = begin_run(repository, journal, "20260102-030405-abcd", workers=2)
        yield made
        made.die()


@pytest.fixture
def server(live: MadeRun) -> Iterator[Loopback]:
    with nothing_left_open(), serve(live.repository, live.journal, "latest", port=0) as found:
        yield found


def ask(server: Loopback, target: str | None = None, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    """Status and body; `target`: path and query, by default the address that was printed."""
    with asked("127.0.0.1", server.port, target or path_of(server), method, host) as answer:
        return answer.status, answer.read().decode()


@contextlib.contextmanager
def asked(
    name: str, port: int, target: str, method: str = "GET", host: str | None = None
) -> Iterator[http.client.HTTPResponse]:
    """An answer as it comes in."""
    connection = http.client.HTTPConnection(name, port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, target, headers={"Host": host or f"127.0.0.1:{port}"})
        with connection.getresponse() as answer:
            yield answer


def path_of(server: Loopback, path: str = "/") -> str:
    return f"{path}?{urllib.parse.urlsplit(server.address).query}"


def test_only_who_has_the_address_gets_the_page(server: Loopback) -> None:
    good = path_of(server)
    assert ask(server)[0] == 200
    assert ask(server, host=f"localhost:{server.port}")[0] == 200

    for target in ("/", "/events", "/?token=", good[:-1], good + "x", good + "&token=x", "/nothing"):
        assert ask(server, target)[0] == 403, target
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1", f"127.0.0.1:{server.port}.evil.example"):
        assert ask(server, host=host)[0] == 403, host
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        assert ask(server, method=method)[0] == 405, method
    assert ask(server, path_of(server, "/../../etc/passwd"))[0] == 404


def test_it_listens_on_this_machine_alone(server: Loopback) -> None:
    assert urllib.parse.urlsplit(server.address).hostname == "127.0.0.1"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", server.port), timeout=2)


def test_every_answer_has_strict_headers(server: Loopback) -> None:
    for target, status in ((path_of(server), 200), ("/", 403)):
        with asked("127.0.0.1", server.port, target) as answer:
            answer.read()
        assert answer.status == status
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


def test_the_stream_tells_when_the_run_went_on(server: Loopback, live: MadeRun) -> None:
    with asked("127.0.0.1", server.port, path_of(server, "/events")) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")

        def told() -> str:
            return next(line for line in iter(stream.readline, b"") if line.startswith(b"data:")).decode().strip()

        assert told() == "data: 1-live"
        live.start(1)
        while (said := told()) != "data: 3-live":
            assert said == "data: 2-live"
        assert "worktree" in ask(server)[1]
        live.finish(1)
        live.end()
        while (said := told()) != "data: 6-ended":
            assert said.endswith("-live")


def test_a_quiet_stream_stays_open(live: MadeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quiet for longer than a client may take for a request."""
    for name, seconds in (("CLIENT_TIMEOUT_S", 0.3), ("QUIET_S", 0.9), ("LOOK_S", 0.1)):
        monkeypatch.setattr(http_server, name, seconds)
    with (
        serve(live.repository, live.journal, "latest", port=0) as server,
        asked("127.0.0.1", server.port, path_of(server, "/events")) as stream,
    ):
        signs = [line for line in (stream.readline() for _ in range(9)) if line.startswith(b":")]
    assert signs == [b": still here\n"] * 2


def test_clients_that_do_not_read_or_ask_hold_up_nobody(server: Loopback) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    for number, each in enumerate(silent):
        each.sendall(b"GET / HT" if number % 2 else f"GET {path_of(server)} HTTP/1.1\r\nHost: 127.0.0.1:".encode())

    assert ask(server)[0] == 200

    server.close()  # waits for every thread; the fixture counts them
    for each in silent:
        each.close()


def test_nonsense_gets_an_answer_and_no_traceback(server: Loopback, capfd: pytest.CaptureFixture[str]) -> None:
    for request in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(request)
            with client.makefile("rb") as answer:
                assert re.match(rb"HTTP/1.0 (4\d\d|505) ", answer.readline()), request[:20]
    assert ask(server)[0] == 200
    assert capfd.readouterr() == ("", "")


def begin(architect: Architect, *args: str) -> tuple[subprocess.Popen[bytes], str]:
    process = architect.begin("serve", *args)
    assert process.stdout is not None
    return process, process.stdout.readline().decode().strip()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_stays_until_a_signal_ends_it(architect: Architect, number: signal.Signals, code: int) -> None:
    architect("parallel", "true", "--backend", "shell", "--workers", "1")
    process, address = begin(architect)
    parts = urllib.parse.urlsplit(address)
    assert parts.port is not None
    with asked("127.0.0.1", parts.port, f"/events?{parts.query}") as stream:
        stream.readline()  # somebody looks on while it ends
        process.send_signal(number)
        answer = architect.finish(process)
    assert (answer.code, answer.err) == (code, "Ctrl-C ends it\n")


def test_the_list_of_runs_leads_to_each_of_them(server: Loopback, live: MadeRun) -> None:
    other = begin_run(live.repository, live.journal, "20260102-040506-beef", workers=1)
    try:
        status, text = ask(server, path_of(server, "/runs"))
        addresses = re.findall(r'href="([^"]*)"', text)
        assert status == 200
        assert [address.partition("?")[0] for address in addresses] == [
            "/runs/20260102-040506-beef",
            "/runs/20260102-030405-abcd",
        ]
        status, page = ask(server, addresses[0])
        assert (status, 'content="/events/20260102-040506-beef?' in page) == (200, True)
        assert f'href="{path_of(server, "/runs")}"' in page
        assert "20260102-030405-abcd" in ask(server)[1], "the page of the run that was asked for"
        for nothing in ("/runs/20260102-999999-none", "/runs/", "/runs/../x", "/events/none"):
            assert ask(server, path_of(server, nothing))[0] == 404
        assert ask(server, "/runs")[0] == 403
    finally:
        other.die()


def test_the_browser_is_opened_on_request_and_its_command_line_has_no_token(
    architect: Architect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architect("parallel", "true", "--backend", "shell", "--workers", "1")
    write_program(
        tmp_path / "browser",
        "import pathlib, sys, urllib.request\n"
        f"place = pathlib.Path({str(tmp_path)!r})\n"
        "place.joinpath('page').write_bytes(urllib.request.urlopen(sys.argv[1]).read())\n"
        "place.joinpath('words').write_text(sys.argv[1])\n",
    )
    monkeypatch.setenv("BROWSER", f"{shlex.quote(str(tmp_path / 'browser'))} %s")

    process, address = begin(architect, "--open")
    wait_until((tmp_path / "words").exists, "the browser")
    process.send_signal(signal.SIGTERM)
    answer = architect.finish(process)

    assert (answer.code, answer.err) == (143, "Ctrl-C ends it\n")
    assert f"url={address}" in (tmp_path / "page").read_text()
    words = (tmp_path / "words").read_text()
    assert "token" not in words
    assert not Path(urllib.parse.urlsplit(words).path).exists()


def test_bad_input_is_one_line(architect: Architect, tmp_path: Path) -> None:
    assert (architect("serve").code, architect("serve", "nope").code) == (4, 4)
    assert architect("serve", "--port", "70000").code == 2
    architect("parallel", "true", "--backend", "shell", "--workers", "1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = architect("serve", "--port", str(taken.getsockname()[1]))
    assert answer.code == 3
    assert "is in use" in answer.err
    assert "Traceback" not in answer.err

    for output in (tmp_path, tmp_path / "none" / "report.html"):
        answer = architect("report", "latest", "--format", "html", "--output", output)
        assert answer.code == 3
        assert "cannot be written" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]


def test_a_report_is_written_though_logs_and_commits_are_gone(architect: Architect, checkout: Path) -> None:
    architect("parallel", "echo hello; echo more >> README", "--backend", "shell", "--workers", "2")
    file = checkout.parent / "report.html"
    logs = sorted((checkout / ".git" / "architect" / "runs").glob("*/logs/*.log"))
    logs[0].unlink()
    logs[1].write_bytes(b"\xff\x00half a li")
    for pack in (checkout / ".git" / "objects").glob("??/*"):
        pack.unlink()

    answer = architect("report", "latest", "--format", "html", "--output", file)

    assert (answer.code, answer.err) == (0, "")
    assert "no longer in this repository" in file.read_text()


def test_the_page_of_a_run_is_whole(architect: Architect, checkout: Path) -> None:
    file = checkout.parent / "report.html"
    architect("parallel", "echo hello; echo more >> README", "--backend", "shell", "--workers", "2")

    assert architect("report", "latest", "--format", "html", "--output", file).code == 0

    text = file.read_text()
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert text.count("<article") == 2
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert {link[:5] for link in re.findall(r'(?:src|href)="([^"]*)"', markup) if link[0] != "#"} == {"data:"}
