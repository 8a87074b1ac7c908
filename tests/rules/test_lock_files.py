"""The lock files fit the ranges in pyproject.toml, name no registry, and `make` installs from them or says why not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
BUILD: list[str] = PROJECT["dependency-groups"]["build"]


def ranges(*extras: str) -> Iterator[Requirement]:
    """What the program, some of its extras and its build declare."""
    listed = [*PROJECT["project"]["dependencies"], *BUILD, *(line for extra in extras for line in EXTRAS[extra])]
    requirements = map(Requirement, listed)
    return (requirement for requirement in requirements if requirement.name != PROJECT["project"]["name"])


def pins(name: str) -> dict[str, str]:
    """Package → version in a lock file, on this system and Python."""
    lines = re.findall(r"^[a-z0-9].*?(?= \\$)", (ROOT / name).read_text(), flags=re.MULTILINE)
    requirements = [Requirement(line) for line in lines]
    here = [each for each in requirements if each.marker is None or each.marker.evaluate()]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in here}


def test_the_lock_file_fits_the_ranges() -> None:
    locked = pins("requirements.lock")
    for declared in ranges(*EXTRAS):
        assert locked[canonicalize_name(declared.name)] in declared.specifier, f"{declared}: type make lock"


def test_the_lowest_versions_are_the_declared_ones() -> None:
    lowest = pins("requirements-lowest.lock")
    for declared in ranges("agent", "test"):
        (bound,) = (each.version for each in declared.specifier if each.operator == ">=")
        found = lowest[canonicalize_name(declared.name)]
        assert re.fullmatch(rf"{re.escape(bound)}(\.0)*", found), f"{declared}: {found} is tested; type make lock"


def test_what_builds_the_program_is_locked() -> None:
    assert set(PROJECT["build-system"]["requires"]) < set(BUILD)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-lowest.lock"])
def test_lock_files_have_hashes_and_name_no_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.findall(r"^[a-z0-9].*\n(?:    .*\n)+", text, flags=re.MULTILINE)

    assert len(entries) > 40
    assert all("--hash=sha256:" in entry for entry in entries)
    assert re.findall(r"://|^--?\w.*", text, flags=re.MULTILINE) == []


def test_without_a_registry_make_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a clone"
    shutil.copytree(ROOT / ".ci", place / ".ci")
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, place)
    for variable in [name for name in os.environ if name.startswith(("PIP_", "MAKE", "MFLAGS"))]:
        monkeypatch.delenv(variable)
    surroundings = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}

    done = subprocess.run(
        ["make", "demo"], cwd=place, env=os.environ | surroundings, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert re.fullmatch(
        r"Installing \d+ packages \(about \d+ MB\) and architect-parallel into \.venv \(once\) \.\.\.\n", done.stdout
    )
    said, hint, *_make = done.stderr.splitlines()
    assert said == "nothing was installed: no package registry can be reached"
    assert hint.startswith("  try: the same again with a network")
    assert not (place / ".venv" / ".installed-agent").exists()


BY_NAME = re.compile(r"install\s+(?:-\S+\s+)*['\"]?architect-parallel(?!\[agent\] @ )")
"""An install line for a package of a registry; `NAME @ URL` is none."""


def test_nothing_says_to_install_the_program_by_its_name() -> None:
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.yml")]
    texts += (ROOT / "architect_parallel").rglob("*.py")

    assert [path.name for path in texts if BY_NAME.search(path.read_text())] == []
    # The control.
    assert BY_NAME.search("pipx install 'architect-parallel[agent]'")
