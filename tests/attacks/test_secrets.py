"""Attacks on keys: an agent puts the key that it was given into its result."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from support.console import Architect, write_program
from support.repositories import git
from support.worksites import BRANCH, make_worksite

from architect_parallel.backends.redaction import holds_secret
from architect_parallel.snapshots.secret_search import adds_secret

KEY = "sk-loopback-secret-0123456789"
ENCODED = base64.b64encode(KEY.encode()).decode()
PLACES = {
    "in-a-file": f"echo 'key = {KEY}' > config.ini",
    "in-a-changed-line": f"echo '{KEY}' >> change.txt",
    "in-base64": f"echo '{ENCODED}' > data.txt",
    "in-hex": f"echo '{KEY.encode().hex()}' > data.txt",
    "in-a-binary-file": f"printf '\\000\\001{KEY}\\000' > data.bin",
    "in-a-file-name": f"echo x > '{KEY}.txt'",
    "in-a-file-name-that-git-quotes": f"echo x > \"$(printf '{KEY[:9]}\\001{KEY[9:]}')\"",
    "in-a-directory-name": f"mkdir '{KEY}'; echo x > '{KEY}/file'",
    "in-a-link": f"ln -s '/{KEY}' link",
    "in-a-message": f"echo x > a; git add a; git commit -qm 'use {KEY}'",
    "in-an-author": f"echo x > a; git add a; git -c user.name='{KEY}' commit -qm x",
    "in-a-commit-that-is-taken-back": (
        f"echo {KEY} > a; git add a; git commit -qm a; git rm -q a; git commit -qm b; echo x > c"
    ),
    "in-a-merged-branch": (
        f"git switch -q -c side; echo {KEY} > a; git add a; git commit -qm a; git switch -q {BRANCH}; "
        "git merge -q --no-ff -m merged side"
    ),
    "over-two-lines": f"printf '{KEY[:12]}\\n{KEY[12:]}\\n' > a",
}


def holds(data: bytes) -> bool:
    return holds_secret(data, [KEY])


@pytest.mark.parametrize("name", PLACES)
def test_a_key_is_put_into_the_result(tmp_path: Path, name: str) -> None:
    site = make_worksite(tmp_path)
    site.act(PLACES[name])
    collection = site.collect()
    assert git(site.repository.root, "rev-parse", f"refs/heads/{BRANCH}") == collection.commit, "the control"
    assert adds_secret(site.private.git, site.private.base_commit, collection.commit, holds)


@pytest.mark.parametrize("work", ["echo x > a", "rm keep.txt", "true"])
def test_control_other_work_holds_none(tmp_path: Path, work: str) -> None:
    site = make_worksite(tmp_path, {"keep.txt": f"{KEY}\n", "change.txt": "x\n"})
    site.act(work)
    assert not adds_secret(site.private.git, site.private.base_commit, site.collect().commit, holds)


LEAK = """\
import os, subprocess
open("config.ini", "w").write("key = " + os.environ["MY_API_KEY"])
subprocess.run(["git", "add", "."], check=True)
subprocess.run(["git", "commit", "-qm", "config"], check=True)
open("more.txt", "w").write("more")
print("done")
"""


@pytest.mark.parametrize("allowed", [False, True], ids=["attack", "control"])
def test_a_key_in_a_result_lands(
    architect: Architect, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    program = tmp_path / "leak"
    write_program(program, LEAK)
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"backends": {"leak": {"command": [str(program)], "env": ["MY_API_KEY"]}}}))
    monkeypatch.setenv("MY_API_KEY", KEY)
    base = git(checkout, "rev-parse", "HEAD")

    flags = ("--allow-secrets",) if allowed else ()
    words = ("parallel", "x", "--backend", "leak", "--workers", "1", "--json", "-c", str(config), *flags)
    answer = architect(*words, "--artifacts", str(tmp_path / "artifacts"))

    result = answer.json["results"][0]
    kept = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep").splitlines()
    tip = git(checkout, "rev-parse", "refs/heads/architect/parallel-1")
    patches = [
        path for path in (tmp_path / "artifacts").rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    if allowed:
        assert result["status"] == "success"
        assert tip != base
        assert patches
    else:
        assert (result["status"], result["reason"]) == ("failed", "secret_in_result")
        assert kept[0] in result["error"]
        assert "--allow-secrets" in result["error"]
        assert tip == base
        assert patches == []
        assert git(checkout, "show", f"{kept[0]}:config.ini") == f"key = {KEY}"
        assert architect("merge", "latest", "1").code != 0
    assert KEY not in answer.err


def test_a_setup_command_prints_its_key(architect: Architect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"worktrees": {"setup": ["echo $MY_TOKEN; exit 1"]}}))
    monkeypatch.setenv("MY_TOKEN", KEY)
    answer = architect("parallel", "true", "--backend", "shell", "--workers", "1", "--json", "-c", str(config))
    assert "[redacted]" in answer.json["results"][0]["error"]
    assert KEY not in answer.out + answer.err


def test_an_agent_prints_a_key_of_a_copied_env_file(architect: Architect, checkout: Path, tmp_path: Path) -> None:
    (checkout / ".gitignore").write_text(".env*\n")
    git(checkout, "add", ".gitignore")
    git(checkout, "commit", "-qm", "ignore")
    (checkout / ".env").write_text(f'export DB_PASSWORD="{KEY}"\nMODE=development\n')
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"worktrees": {"copy": [".env"]}}))
    words = ("parallel", "cat .env", "--backend", "shell", "--workers", "1", "--json", "-c", str(config))
    output = architect(*words).json["results"][0]["output"]
    assert "development" in output
    assert KEY not in output


@pytest.mark.parametrize(("by", "entry"), [("copy", "apps/*/.env.local"), ("copy", "apps"), ("include", ".env.local")])
def test_an_agent_prints_a_key_of_an_env_file_that_is_copied_from_further_down(
    architect: Architect, checkout: Path, tmp_path: Path, by: str, entry: str
) -> None:
    (checkout / ".gitignore").write_text(".env*\n")
    if by == "include":
        (checkout / ".worktreeinclude").write_text(f"{entry}\n")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "ignore")
    (checkout / "apps" / "web").mkdir(parents=True)
    (checkout / "apps" / "web" / ".env.local").write_text(f"DB_PASSWORD={KEY}\nMODE=development\n")
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"worktrees": {"copy": [entry] if by == "copy" else []}}))
    words = ("parallel", "cat apps/web/.env.local", "--backend", "shell", "--workers", "1", "--json", "-c", str(config))
    output = architect(*words).json["results"][0]["output"]
    assert "development" in output
    assert KEY not in output
