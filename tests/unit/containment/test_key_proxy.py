"""The key proxy: it knows its tokens, adds the real key, counts what the provider says, and holds the budget."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from support.console import wait_until
from support.model_server import ModelServer

from architect_parallel.containment.key_proxy import KeyProxy, KeyTarget
from architect_parallel.containment.metering import Account, RunBudget
from architect_parallel.domain import CostBasis, Limits, Price, Reason, Usage

KEY, TOKEN = "sk-real-0123456789", "architect-0001"
PRICES = {"m": Price(input_per_mtok=1.0, output_per_mtok=10.0)}
REPLY_USD = (1200 * 1.0 + 50 * 10.0) / 1e6
COUNTED = Usage(
    input_tokens=1200, cached_tokens=200, cache_write_tokens=0, output_tokens=50, cost_basis=CostBasis.PROXY
)
PROMPT = [{"role": "user", "content": "MOCK:text one two"}]
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "messages": ("/v1/messages", "x-api-key", {"messages": PROMPT}),
    "chat": ("/v1/chat/completions", "authorization", {"messages": PROMPT, "stream_options": {"include_usage": True}}),
    "responses": ("/v1/responses", "authorization", {"input": "MOCK:text one two"}),
    "gemini": ("/v1beta/models/m:generateContent", "x-goog-api-key", {"contents": [{"parts": [{"text": "one"}]}]}),
}


class Agent:
    """A key proxy, and an agent that asks it."""

    def __init__(
        self,
        upstream: str,
        run: RunBudget | None = None,
        token: str = TOKEN,
        environ: dict[str, str] | None = None,
        **limits: Any,
    ) -> None:
        self.stops: list[Reason] = []
        self.token = token
        self.account = Account(
            Limits(**limits), PRICES, run or RunBudget(), lambda reason, detail: self.stops.append(reason)
        )
        self.proxy = KeyProxy({token: KeyTarget(key=KEY, upstream=upstream)}, self.account, environ or {})

    def ask(self, kind: str, *, token: str | None = None, **more: Any) -> tuple[int, bytes]:
        path, header, body = REQUESTS[kind]
        if kind == "gemini" and more.get("stream"):
            path = path.replace(":generateContent", ":streamGenerateContent") + "?alt=sse"
        return self.post(path, {"model": "m", **body, **more}, header, token)

    def post(self, path: str, body: Any, header: str = "x-api-key", token: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=30)
        key = token or self.token
        connection.request(
            "POST", path, json.dumps(body), {header: f"Bearer {key}" if header == "authorization" else key}
        )
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def agent(model: ModelServer) -> Iterator[Agent]:
    agent = Agent(model.url)
    yield agent
    agent.proxy.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", REQUESTS)
def test_tokens_are_the_providers_and_the_key_is_real(
    model: ModelServer, agent: Agent, kind: str, stream: bool
) -> None:
    status, content = agent.ask(kind, stream=stream)
    assert status == 200
    assert (b"data:" in content) is stream
    bill = agent.account.bill
    assert bill is not None
    assert (bill.usage, bill.model) == (COUNTED, "m")
    assert bill.cost == pytest.approx(REPLY_USD)
    assert model.keys == [KEY]
    assert KEY.encode() not in content


def test_a_chat_that_does_not_ask_for_its_usage_is_counted_and_sees_none(agent: Agent) -> None:
    _, content = agent.ask("chat", stream=True, stream_options=None)
    assert agent.account.bill is not None
    assert agent.account.bill.usage == COUNTED
    assert b'"prompt_tokens"' not in content
    assert content.endswith(b"data: [DONE]\n\n")
    assert b'"prompt_tokens"' in agent.ask("chat", stream=True)[1], "the control"


def test_an_agent_that_hangs_up_pays_all_the_same(agent: Agent) -> None:
    path, header, body = REQUESTS["messages"]
    connection = http.client.HTTPConnection("127.0.0.1", agent.proxy.port, timeout=30)
    connection.request("POST", path, json.dumps({"model": "m", "stream": True, **body}), {header: TOKEN})
    connection.close()
    wait_until(lambda: agent.account.bill is not None, "the bill")
    assert agent.account.bill is not None
    assert agent.account.bill.usage == COUNTED


def test_only_the_tokens_of_an_agent_that_runs_pass(model: ModelServer) -> None:
    first, second = Agent(model.url), Agent(model.url, token="architect-0002")
    assert first.ask("messages", token=second.token)[0] == 401
    assert first.ask("messages", token=KEY)[0] == 401, "the real key is no token either"
    assert second.ask("messages")[0] == 200
    for agent in (first, second):
        agent.proxy.close()
        with pytest.raises(OSError):
            agent.ask("messages")
    assert model.keys == [KEY]


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_over_the_budget_is_refused_in_words(model: ModelServer, kind: str) -> None:
    agent = Agent(model.url, budget_usd=REPLY_USD / 2)
    assert agent.ask(kind)[0] == 200
    status, content = agent.ask(kind)
    agent.proxy.close()
    assert status == 402
    assert json.loads(content)["error"]["message"] == "the budget is spent: $0.0017, limit $0.0008"
    assert agent.stops == [Reason.BUDGET]
    assert len(model.requests) == 1


def test_the_budget_of_a_run_is_that_of_all_its_agents(model: ModelServer) -> None:
    run = RunBudget(REPLY_USD * 1.5)
    first, second = Agent(model.url, run), Agent(model.url, run)
    assert [agent.ask("messages")[0] for agent in (first, second, first)] == [200, 200, 402]
    assert (first.stops, second.stops) == ([Reason.RUN_BUDGET], [])
    for agent in (first, second):
        agent.proxy.close()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/messages/batches", {"requests": []}, 403),
        ("/v1/images/generations", {"prompt": "x"}, 403),
        ("/v1/../admin/messages", {}, 403),
        ("/v1/responses", {"model": "m", "input": "x", "background": True}, 400),
        ("/v1/messages", ["no object"], 400),
    ],
)
def test_what_cannot_be_counted_does_not_pass(
    model: ModelServer, agent: Agent, path: str, body: Any, status: int
) -> None:
    assert agent.post(path, body)[0] == status
    assert model.requests == []


def test_a_refusal_of_the_provider_costs_nothing_and_arrives(agent: Agent) -> None:
    status, content = agent.ask("messages", messages=[{"role": "user", "content": "MOCK:error 429"}])
    assert status == 429
    assert b"rate_limit_error" in content
    assert agent.account.bill is None


def test_a_provider_that_cannot_be_reached_is_named() -> None:
    agent = Agent("http://127.0.0.1:1")
    status, content = agent.ask("messages")
    agent.proxy.close()
    assert status == 502
    assert b"127.0.0.1 cannot be reached" in content


def test_an_unknown_price_makes_the_cost_unknown(agent: Agent) -> None:
    agent.ask("messages", model="nobody-knows-this")
    assert agent.account.bill is not None
    assert (agent.account.bill.cost, agent.account.bill.usage.cost_basis) == (None, CostBasis.UNKNOWN)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of `localhost` that nobody trusts yet, with its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl makes the certificate")
    key, public = tmp_path / "key.pem", tmp_path / "public.pem"
    options = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2", "-nodes")
    command = (program, "req", "-x509", "-newkey", "rsa:2048", *options, "-keyout", key, "-out", public)
    subprocess.run(command, check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + public.read_bytes())
    return both


def copied(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # one side is gone
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def corporate_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a proxy that takes CONNECT, and the first lines of what it was asked."""
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        asked.append(client.recv(4096).split(b"\r\n")[0])
        server = socket.create_connection(("127.0.0.1", int(asked[-1].split(b":")[1].split()[0])))
        with client, server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=copied, args=(server, client))
            back.start()
            copied(client, server)
            back.join()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        thread.join()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_provider_is_reached_by_https(
    model: ModelServer, certificate: Path, corporate_proxy: tuple[str, list[bytes]], stream: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    model._server.socket = context.wrap_socket(model._server.socket, server_side=True)
    url = model.url.replace("http://127.0.0.1", "https://localhost")
    trusted = {"SSL_CERT_FILE": str(certificate)}
    proxy, asked = corporate_proxy
    for environ in (trusted, {**trusted, "HTTPS_PROXY": proxy}):
        agent = Agent(url, environ=environ)
        status, content = agent.ask("messages", stream=stream)
        agent.proxy.close()
        assert (status, b"two" in content) == (200, True)
        assert agent.account.bill is not None
        assert agent.account.bill.usage == COUNTED
    assert model.keys == [KEY, KEY]
    assert [line.split()[:2] for line in asked] == [[b"CONNECT", f"localhost:{url.rpartition(':')[2]}".encode()]]

    stranger = Agent(url)
    status, content = stranger.ask("messages")
    stranger.proxy.close()
    assert (status, b"CERTIFICATE_VERIFY_FAILED" in content or b"certificate verify failed" in content) == (502, True)
