"""The version is that of the git tag, in a build of any kind of tree, and costs a start next to nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from support.repositories import commit_all, git

import architect_parallel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with what a build of the program reads, and one small module; its path has a space."""
    place = tmp_path / "a project"
    (place / "architect_parallel").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, place)
    shutil.copy(ROOT / "architect_parallel" / "__init__.py", place / "architect_parallel")
    git(place, "init", "--quiet")
    commit_all(place, "a project")
    return place


def hatchling(directory: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", *words], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_tag_is_the_version(project: Path) -> None:
    git(project, "tag", "v1.2.3")
    assert hatchling(project, "version") == "1.2.3"
    (project / "more").write_text("more\n")
    commit_all(project, "more", minute=1)
    assert hatchling(project, "version").startswith("1.2.4.dev1+g")


@pytest.mark.parametrize("tag", ["2026-11-30", "issue-10", "1.2.3", None])
def test_without_a_release_tag_the_version_is_below_every_release(project: Path, tag: str | None) -> None:
    if tag is not None:
        git(project, "tag", tag)
    assert hatchling(project, "version").startswith("0.0.1.dev1+g")


def test_an_exported_tree_builds(project: Path) -> None:
    shutil.rmtree(project / ".git")
    assert hatchling(project, "version") == "0.0.0"


def test_sdist_and_wheel_carry_the_version(project: Path, tmp_path: Path) -> None:
    git(project, "tag", "v1.2.3")
    hatchling(project, "build", "-d", str(tmp_path / "dist"))
    assert git(project, "status", "--porcelain") == ""

    with tarfile.open(tmp_path / "dist" / "architect_parallel-1.2.3.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / "architect_parallel-1.2.3"
    hatchling(unpacked, "build", "-t", "wheel", "-d", str(tmp_path / "again"))

    program = "import architect_parallel; print(architect_parallel.__version__)"
    for wheel in (tmp_path / "dist", tmp_path / "again"):
        installed = wheel / "architect_parallel-1.2.3-py3-none-any.whl"
        done = subprocess.run(
            [sys.executable, "-S", "-c", program],
            cwd=tmp_path,
            env={"PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "1.2.3\n", done.stderr


def test_the_version_is_that_of_the_installation() -> None:
    assert architect_parallel.__version__ == version("architect-parallel")


def test_the_version_needs_no_metadata() -> None:
    code = "import sys, architect_parallel; print(architect_parallel.__version__, 'importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False"
