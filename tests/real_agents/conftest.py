"""The real agent CLIs, installed from the npm registry into a cache, and a loopback model for them to talk to."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import Architect
from support.model_server import ModelServer

from architect_parallel.system.files import locked

PACKAGES = {
    "claude": "@anthropic-ai/claude-code@2.1.329",
    "codex": "@openai/codex@0.169.0",
    "gemini": "@google/gemini-cli@0.61.0",
    "opencode": "opencode-ai@1.18.33",
    "qwen": "@qwen-code/qwen-code@0.15.10",  # what npm takes for node 20
    "copilot": "@github/copilot@1.0.102",
}
ACP_PACKAGES = {
    "claude-agent-acp": "@zed-industries/claude-agent-acp@0.23.1",  # later ones want node 22
    "codex-acp": "@zed-industries/codex-acp@0.16.0",
}
"""Agents that speak ACP only, beside the ACP modes of the others."""
KEY = "sk-loopback-0123456789"
# Tests get a home of their own; npm needs the user's for its configuration, and the cache outlives the test.
_ENVIRON = dict(os.environ)
_CACHE = Path(_ENVIRON.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "architect-parallel-tests"


_MISSING: dict[str, str] = {}
"""Why npm could not provide an agent; asking again for each test would take a minute each."""


def require_agent(name: str) -> Path:
    """Directory with the program `name`, fetched at the first call; skips the test where npm cannot provide it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the real agents cannot be fetched")
    if name in _MISSING:
        pytest.skip(_MISSING[name])
    package = (PACKAGES | ACP_PACKAGES)[name]
    place = _CACHE / f"{name}-{package.rpartition('@')[2]}"
    programs = place / "node_modules" / ".bin"
    place.mkdir(parents=True, exist_ok=True)
    with locked(_CACHE / "lock", timeout_s=900):  # one after another: each is several hundred MB
        if not (place / "complete").exists():
            _install(npm, place, name, package, programs)
            (place / "complete").touch()
    return programs


def _install(npm: str, place: Path, name: str, package: str, programs: Path) -> None:
    argv = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(place), package]
    done = subprocess.run(argv, env=_ENVIRON, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        _MISSING[name] = f"npm could not install {name}: {done.stderr.strip()[-300:]}"
        pytest.skip(_MISSING[name])
    if name == "claude" and not _runs(programs / name):
        # npm may hold install scripts back; this one only puts the native program in its place.
        script = place / "node_modules" / "@anthropic-ai" / "claude-code" / "install.cjs"
        subprocess.run(["node", script], cwd=script.parent, env=_ENVIRON, capture_output=True, timeout=300, check=False)
    if name in PACKAGES and not _runs(programs / name):  # an agent of ACP alone has no --version
        pytest.skip(f"{name} was installed but does not run on this machine")


def _runs(program: Path) -> bool:
    with tempfile.TemporaryDirectory() as home:  # a version must not leave traces in the user's
        environ = _ENVIRON | {"HOME": home}
        done = subprocess.run([program, "--version"], env=environ, capture_output=True, timeout=120, check=False)
    return done.returncode == 0


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


class Proxy:
    """Everything but loopback is sent here: it notes what it hears and refuses it.

    qwen knows no NO_PROXY and sends loopback here too; that is let through.
    """

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def variables(self) -> dict[str, str]:
        address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        local = "127.0.0.1,localhost"
        return {each: address for name in names for each in (name, name.lower())} | {
            "NO_PROXY": local,
            "no_proxy": local,
        }

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            try:
                first = connection.recv(65536).split(b"\r\n")[0]
            except OSError as error:
                self.heard.append(str(error).encode())
                return
            local = re.match(rb"CONNECT (?:127\.0\.0\.1|localhost):(\d+) ", first)
            if local is None:
                self.heard.append(first[:200])
                return
            with socket.create_connection(("127.0.0.1", int(local[1]))) as inner:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                connection.settimeout(None)
                back = threading.Thread(target=_pour, args=(inner, connection), daemon=True)
                back.start()
                _pour(connection, inner)
                back.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def codex_home(home: Path, model: ModelServer) -> Path:
    """The user's codex configuration: the loopback model is its provider."""
    place = home / ".codex"
    place.mkdir()
    (place / "config.toml").write_text(
        'model_provider = "loopback"\n[model_providers.loopback]\nname = "loopback"\nwire_api = "responses"\n'
        f'base_url = "{model.url}/v1"\nenv_key = "OPENAI_API_KEY"\nrequest_max_retries = 1\nstream_max_retries = 1\n'
    )
    return place


def agent_variables(agent: str, model: ModelServer, home: Path) -> dict[str, str]:
    """What a user sets so that `agent` asks the loopback model."""
    match agent:
        case "claude":
            return {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_MAX_RETRIES": "1"}
        case "gemini":
            return {"GOOGLE_GEMINI_BASE_URL": model.url, "GEMINI_API_KEY": KEY}
        case "opencode":
            # Where a home's configuration was never used, it fetches its plugin package from npm, in the background and
            # whatever it is told; these two say that this was done.
            place = home / ".config" / "opencode"
            (place / "node_modules").mkdir(parents=True)
            lock = {"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
            (place / "package-lock.json").write_text(json.dumps(lock))
            options = {"options": {"baseURL": f"{model.url}/v1", "apiKey": KEY}}
            return {"OPENCODE_CONFIG_CONTENT": json.dumps({"provider": {"openai": options}})}
        case "qwen":
            return {"OPENAI_BASE_URL": f"{model.url}/v1", "OPENAI_API_KEY": KEY}
        case "copilot":
            # It unpacks 235 MB into the cache of every new home.
            unpacked = _CACHE / "copilot-unpacked"
            unpacked.mkdir(exist_ok=True)
            (home / ".cache").mkdir(exist_ok=True)
            (home / ".cache" / "copilot").symlink_to(unpacked)
            provider = {"BASE_URL": f"{model.url}/v1", "API_KEY": KEY, "MAX_PROMPT_TOKENS": "100000"}
            variables = {"COPILOT_OFFLINE": "true", "COPILOT_MODEL": "gpt-4o"}
            return {f"COPILOT_PROVIDER_{name}": value for name, value in provider.items()} | variables
        case _:
            return {"OPENAI_API_KEY": KEY}


@pytest.fixture(params=list(PACKAGES))
def agent(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def architect(
    agent: str,
    home: Path,
    checkout: Path,
    codex_home: Path,
    model: ModelServer,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Architect]:
    """`architect(*args)` in a small repository, where `agent` is installed and asks the loopback model."""
    variables = {"PATH": f"{require_agent(agent)}{os.pathsep}{os.environ['PATH']}"}
    for name, value in (variables | agent_variables(agent, model, home) | proxy.variables).items():
        monkeypatch.setenv(name, value)
    program = Architect(checkout)
    yield program
    program.end_all()
    assert proxy.heard == [], "an agent reached beyond loopback"
