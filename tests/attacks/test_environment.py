"""Attacks on the keys in the launcher's environment, by a program that git starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.repositories import git

from architect_parallel.landing.publish import Publication, push
from architect_parallel.system.git import Git, open_repository

KEY = "sk-launcher-0123456789"
KEYS = (
    *("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY", "GEMINI_API_KEY", "DASHSCOPE_API_KEY"),
    *("AWS_SECRET_ACCESS_KEY", "NPM_TOKEN", "DATABASE_URL", "MY_COMPANY_PASSWORD"),
)
DUMP = "env > '{}'; cat"


@pytest.fixture
def dump(checkout: Path, tmp_path: Path) -> Path:
    """The file into which every program of the user's configuration writes its environment."""
    path = tmp_path / "stolen"
    program = tmp_path / "filter"
    program.write_text(f"#!/bin/sh\n{DUMP.format(path)}\n")
    program.chmod(0o755)
    git(checkout, "config", "--global", "filter.x.clean", str(program))
    git(checkout, "config", "--global", "filter.x.smudge", str(program))
    (checkout / ".gitattributes").write_text("*.txt filter=x\n")
    (checkout / "a.txt").write_text("a\n")
    return path


@pytest.mark.parametrize("words", [("add", "a.txt"), ("hash-object", "a.txt"), ("checkout-index", "-f", "a.txt")])
def test_a_replaced_filter_reads_the_launchers_keys(
    checkout: Path, dump: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    git(checkout, "add", "a.txt")
    os.utime(checkout / "a.txt", (1, 1))
    dump.unlink()
    for name in KEYS:
        monkeypatch.setenv(name, KEY)

    Git(cwd=checkout).run(*words)

    assert "PATH=" in dump.read_text()
    assert KEY not in dump.read_text()
    os.utime(checkout / "a.txt", (2, 2))
    git(checkout, *words)
    assert KEY in dump.read_text(), "the control: plain git hands it on"


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"])
def test_a_credential_helper_reads_the_keys_of_agents(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A push may read what the user's helper needs, but no key of an agent."""
    stolen = tmp_path / "stolen"
    git(tmp_path, "init", "--quiet", "--bare", "remote")
    git(checkout, "remote", "add", "origin", tmp_path / "remote")
    git(checkout, "config", "remote.origin.receivepack", f"env > '{stolen}'; git-receive-pack")
    monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("CI_DEPLOY_PASSWORD", "of-the-server")
    publication = Publication(remote="origin", ref="main", pull_request=False)

    pushed = push(open_repository(checkout), publication, git(checkout, "rev-parse", "HEAD"), os.environ)

    assert pushed.problem is None
    assert KEY not in stolen.read_text()
    assert "of-the-server" in stolen.read_text()
    git(checkout, "push", "--quiet", "origin", "HEAD:refs/heads/other")
    assert KEY in stolen.read_text(), "the control: plain git hands it on"
