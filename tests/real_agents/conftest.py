"""The real agent CLIs, installed from the npm registry into a cache, and a loopback model for them to talk to."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from console import Architect
from model_server import ModelServer

from architect_parallel.system.files import locked

PACKAGES = {"claude": "@anthropic-ai/claude-code@2.1.329", "codex": "@openai/codex@0.169.0"}
KEY = "sk-loopback-0123456789"
# Tests get a home of their own; npm needs the user's for its configuration, and the cache outlives the test.
_ENVIRON = dict(os.environ)
_CACHE = Path(_ENVIRON.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "architect-parallel-tests"


@pytest.fixture(scope="session")
def agents_path() -> Path:
    """Directory with `claude` and `codex`; the tests are skipped where npm cannot provide them."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the real agents cannot be fetched")
    names = "-".join(package.rpartition("@")[2] for package in PACKAGES.values())
    place = _CACHE / f"agents-{names}"
    place.mkdir(parents=True, exist_ok=True)
    programs = place / "node_modules" / ".bin"
    with locked(place / "lock", timeout_s=900):
        if not (place / "complete").exists():
            _install(npm, place, programs)
            (place / "complete").touch()
    return programs


def _install(npm: str, place: Path, programs: Path) -> None:
    argv = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(place), *PACKAGES.values()]
    done = subprocess.run(argv, env=_ENVIRON, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm could not install the real agents: {done.stderr.strip()[-300:]}")
    if not _runs(programs / "claude"):
        # npm may hold install scripts back; this one only puts the native program in its place.
        script = place / "node_modules" / "@anthropic-ai" / "claude-code" / "install.cjs"
        subprocess.run(["node", script], cwd=script.parent, env=_ENVIRON, capture_output=True, timeout=300, check=False)
    for name in PACKAGES:
        if not _runs(programs / name):
            pytest.skip(f"{name} was installed but does not run on this machine")


def _runs(program: Path) -> bool:
    done = subprocess.run([program, "--version"], env=_ENVIRON, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


class Proxy:
    """Everything but loopback is sent here: it notes what it hears and refuses it."""

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
            with connection:
                connection.settimeout(5)
                try:
                    self.heard.append(connection.recv(200).split(b"\r\n")[0])
                except OSError as error:
                    self.heard.append(str(error).encode())


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


@pytest.fixture
def architect(
    agents_path: Path,
    checkout: Path,
    codex_home: Path,
    model: ModelServer,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Architect]:
    """`architect(*args)` in a small repository, where claude and codex are installed and ask the loopback model."""
    variables = {
        "PATH": f"{agents_path}{os.pathsep}{os.environ['PATH']}",
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": KEY,
        "OPENAI_API_KEY": KEY,
        "CLAUDE_CODE_MAX_RETRIES": "1",
    }
    for name, value in (variables | proxy.variables).items():
        monkeypatch.setenv(name, value)
    program = Architect(checkout)
    yield program
    program.end_all()
    assert proxy.heard == [], "an agent reached beyond loopback"
