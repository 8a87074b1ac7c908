"""What every test stands on: nothing of this machine's user reaches it, and a small repository costs one copy."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.repositories import build_fixture_repository, make_repository, reftable_path

from architect_parallel.system.git import Repository, open_repository

FOREIGN_VARIABLES = (
    *("GIT_", "ARCHITECT_", "XDG_", "ANTHROPIC_", "OPENAI_", "CLAUDE", "CODEX_", "GEMINI_", "GOOGLE_"),
    *("OPENCODE_", "QWEN_", "DASHSCOPE_", "COPILOT_", "AIDER_"),
    *("LANGUAGE", "LC_", "PYTHON", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
)
"""Prefixes of variables that would let the machine's user, keys or settings into a test."""
# On a loaded machine an example takes as long as it takes; in CI the same examples come every time.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("tests")

IGNORABLE = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


@pytest.fixture(scope="session", autouse=True)
def _as_from_a_terminal() -> None:
    """Start children as a terminal does, even under `nohup` or a shell's `&`: no signal ignored, a usual umask.

    `exec` turns a handler into the default action, but an ignored signal stays ignored. The handlers do nothing, so
    what was ignored still does not end the tests themselves.
    """
    for number in IGNORABLE:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    os.umask(0o022)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of this test's own; git knows one made-up identity and no other setting."""
    place = tmp_path_factory.mktemp("home")
    # The stand-ins for agents write outside of their worktrees, so that tests see how far they are: without a sandbox.
    # `tests/sandbox` has its own words. ARCHITECT_TEST_SANDBOX=auto runs any part of the suite at another level.
    level = os.environ.get("ARCHITECT_TEST_SANDBOX", "off")
    for name in os.environ:
        if name.startswith(FOREIGN_VARIABLES):
            monkeypatch.delenv(name)
    (place / ".gitconfig").write_text(
        "[user]\n\tname = Test User\n\temail = test@example.invalid\n[init]\n\tdefaultBranch = main\n"
    )
    for name, value in {
        "HOME": place,
        "XDG_CONFIG_HOME": place / ".config",
        "XDG_CACHE_HOME": place / ".cache",
        "XDG_DATA_HOME": place / ".local" / "share",
        "XDG_STATE_HOME": place / ".local" / "state",
        "GIT_CONFIG_GLOBAL": place / ".gitconfig",
        "GIT_CONFIG_NOSYSTEM": "1",
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "ARCHITECT_SANDBOX": level,
    }.items():
        monkeypatch.setenv(name, str(value))
    for name in ("CI", "COLUMNS", "EMAIL", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return place


@pytest.fixture
def mount_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No other test mounts anything or looks at the mounts meanwhile."""
    with open(tmp_path_factory.getbasetemp().parent / "mount-table.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def small_disk(tmp_path: Path, mount_table: None) -> Iterator[Path]:
    """A file system of 100 MiB. Only root can mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            built[name] = build_fixture_repository(name, tmp_path_factory.mktemp("built") / name)
        return built[name]

    return build


@pytest.fixture
def fixture_repository(_built: Callable[[str], Path], tmp_path: Path, home: Path) -> Callable[..., Path]:
    """`fixture_repository("slugger", directory=…)`: a fresh copy of `fixtures/repos/<name>`, with its history."""

    def copy(name: str, directory: Path | None = None) -> Path:
        target = directory or tmp_path / name
        shutil.copytree(_built(name), target, symlinks=True)
        return target

    return copy


@pytest.fixture
def checkout(fixture_repository: Callable[..., Path], tmp_path: Path) -> Path:
    """Top directory of a fresh small repository on branch `main`, two commits, clean."""
    return fixture_repository("slugger", tmp_path / "repo")


@pytest.fixture
def repository(checkout: Path) -> Repository:
    """The same, opened."""
    return open_repository(checkout)


@pytest.fixture
def reftable(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Top directory of a small repository whose refs are in a reftable, on branch `main`, clean."""
    path = reftable_path(tmp_path / "probe")
    if path is None:
        pytest.skip("no git on PATH or in ARCHITECT_TEST_NEWGIT has reftables (2.45 or newer)")
    monkeypatch.setenv("PATH", path)
    return make_repository(tmp_path / "reftable", options=("--ref-format=reftable",))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the fuzz test first: it takes a minute, which would otherwise be added at the end by one worker alone."""
    items.sort(key=lambda item: "fuzz" not in item.nodeid)
