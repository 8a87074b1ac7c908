"""`--network hosts`: what is named is reached, nothing else is, and what was refused is said."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest
from support.console import Architect
from support.mechanisms import needs_bwrap, needs_namespaces

from architect_parallel.containment.egress import Proxy
from architect_parallel.containment.probe import WITHOUT
from architect_parallel.text.hosts import Rule, read_rule

FETCH = """python3 - <<'END'
import socket, urllib.request
def attempt(name, act):
    try:
        print(name, act(), flush=True)
    except OSError as error:
        print(name, "failed:", error, flush=True)
def get(url):
    return urllib.request.urlopen(url, timeout=20).read().decode()
attempt("named", lambda: get("http://127.0.0.1:{named}/"))
attempt("other", lambda: get("http://127.0.0.1:{other}/"))
attempt("denied", lambda: get("http://registry.example/"))
attempt("tunnel", lambda: get("https://tunnel.example/"))
attempt("direct", lambda: str(socket.create_connection(("192.0.2.1", 80), timeout=5)))
END"""


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Two web servers of the user."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield servers[0].server_port, servers[1].server_port
    for server in servers:
        server.shutdown()
        server.server_close()


def lines(output: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in output.splitlines() if " " in line)


@pytest.mark.parametrize(
    "without",
    [pytest.param("", marks=needs_namespaces), pytest.param("namespaces", marks=needs_bwrap)],
    ids=["namespaces", "bwrap"],
)
def test_named_hosts_are_reached_and_no_others(
    architect: Architect, ports: tuple[int, int], without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WITHOUT, without)
    named, other = ports
    task = FETCH.replace("{named}", str(named)).replace("{other}", str(other))
    words = ("parallel", task, "--backend", "shell", "--workers", "1", "--sandbox", "write", "--json")
    answer = architect(*words, "--network", "hosts", "--allow-host", f"localhost:{named}")
    result = answer.json["results"][0]
    seen = lines(result["output"])
    assert seen["named"] == "hello"
    assert "refused" in seen["other"]
    assert "403" in seen["denied"]
    assert "403" in seen["tunnel"]
    assert "unreachable" in seen["direct"]
    assert result["sandbox"]["denied"] == [
        {"host": "registry.example", "count": 1},
        {"host": "tunnel.example", "count": 1},
    ]
    assert [warning for warning in result["warnings"] if "--allow-host registry.example" in warning] != []
    control = lines(architect(*words[:-3], "--sandbox", "off", "--json").json["results"][0]["output"])
    assert (control["named"], control["other"]) == ("hello", "hello")


@needs_namespaces
def test_with_no_network_a_service_of_this_machine_is_not_reached(architect: Architect, ports: tuple[int, int]) -> None:
    task = FETCH.replace("{named}", str(ports[0])).replace("{other}", str(ports[1]))
    words = ("parallel", task, "--backend", "shell", "--workers", "1", "--sandbox", "write", "--json")
    seen = lines(architect(*words, "--network", "none").json["results"][0]["output"])
    assert "refused" in seen["named"]
    assert all("failed" in outcome for outcome in seen.values())


@pytest.mark.parametrize(
    "word", ["https://api.example.com", "api.example.com/v1", "a@b", "*", "a.*.b", "host:0", "host:x", ""]
)
def test_a_host_that_is_something_else_is_refused(architect: Architect, word: str) -> None:
    answer = architect("parallel", "x", "--backend", "shell", "--network", "hosts", "--allow-host", word, "--dry-run")
    assert answer.code == 2
    assert "--allow-host" in answer.err


@pytest.mark.parametrize(
    ("rule", "host", "port", "allows"),
    [
        ("api.example.com", "api.example.com", 443, True),
        ("api.example.com", "evil-api.example.com", 443, False),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "example.com.evil.org", 443, False),
        ("API.example.com:8443", "api.example.com", 8443, True),
        ("api.example.com:8443", "api.example.com", 443, False),
        ("[::1]:5432", "::1", 5432, True),
    ],
)
def test_a_rule_allows_what_it_names(rule: str, host: str, port: int, allows: bool) -> None:
    assert read_rule(rule).allows(host, port) is allows


def asked(rules: list[Rule], request: bytes) -> tuple[bytes, Proxy]:
    """The answer of a proxy to one request."""
    from collections import Counter

    proxy = Proxy(rules=rules, forwards=(), environ={}, denied=Counter())
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    proxy.serve([listener.detach()])
    with socket.create_connection(address) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    proxy.close()
    return answer, proxy


def test_an_allowed_name_that_leads_to_this_machine_is_refused_without_its_port(ports: tuple[int, int]) -> None:
    request = b"GET http://localhost:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % ports[0]
    answer, proxy = asked([read_rule("localhost")], request)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert proxy.denied == {f"localhost:{ports[0]}": 1}
    answer, _ = asked([read_rule(f"localhost:{ports[0]}")], request)
    assert answer.endswith(b"hello")


def test_the_metadata_service_of_a_cloud_is_refused() -> None:
    answer, proxy = asked([read_rule("169.254.169.254")], b"GET http://169.254.169.254/ HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"--allow-host 169.254.169.254:80 allows it\n")  # without the port it is allowed already
    assert proxy.denied == {"169.254.169.254:80": 1}
