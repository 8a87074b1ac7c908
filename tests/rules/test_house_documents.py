"""The documents for contributors say what is there: rooms, files, links, commands, commits, workflows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "architect_parallel"
ROOMS = (ROOT / "docs" / "design" / "0001-rooms.md").read_text()
DECISIONS = (ROOT / "docs" / "design" / "decisions.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
PLACES = ("", ".github", ".devcontainer", "architect_parallel", "benchmarks", "changelog.d", "docs")
DOCUMENTS = sorted(
    path
    for place in PLACES
    for path in (ROOT / place).glob("**/*.md" if place else "*.md")
    if "repository" not in path.parts
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def prose(text: str) -> str:
    """A Markdown text without its code blocks and code spans."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The fragment of each heading, as GitHub makes it."""
    headings = re.findall(
        r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path, text: str) -> Iterator[str]:
    """The relative links of a document that lead nowhere."""
    for link in re.findall(r"\[[^]]*\]\(([^)\s]+)\)", prose(text)):
        place, _, fragment = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = path.parent / place if place else path
        if not target.exists() or (fragment and fragment not in anchors(target.read_text())):
            yield link


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_relative_links_lead_somewhere(path: Path) -> None:
    assert list(broken_links(path, path.read_text())) == []


def test_a_broken_link_is_noticed() -> None:
    """The control."""
    text = "[a](README.md) [b](nothing.md) [c](README.md#nothing) `[d](no.md)` [e](https://x.example/no.md)"
    assert list(broken_links(ROOT / "X.md", text)) == ["nothing.md", "README.md#nothing"]
    assert len(DOCUMENTS) > 10


def test_the_map_has_every_room_on_its_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    floors = [set(layer.split(" | ")) for layer in layers if layer != "__main__"]
    shown = re.findall(r"^\| (\d+) \| `(\w+)` \|", ROOMS, flags=re.MULTILINE)

    assert [{room for floor, room in shown if int(floor) == number} for number in range(1, len(floors) + 1)] == floors
    assert len(ROOMS.splitlines()) <= 90


def modules(text: str) -> set[str]:
    """The modules that a text names by room and file."""
    rooms = "|".join(path.name for path in PACKAGE.iterdir() if path.is_dir())
    return {name for name in re.findall(rf"`((?:{rooms})/[\w/.]+\.py)`", text) if "NAME" not in name}


@pytest.mark.parametrize("text", [ROOMS, DECISIONS, CONTRIBUTING], ids=["rooms", "decisions", "contributing"])
def test_named_modules_exist(text: str) -> None:
    named = modules(text)

    assert named
    assert [name for name in sorted(named) if not (PACKAGE / name).is_file()] == []


def test_decisions_are_numbered_once_and_complete() -> None:
    notes = re.split(r"^### ", DECISIONS, flags=re.MULTILINE)[1:]
    numbers = [int(note.partition(".")[0]) for note in notes]

    assert len(set(numbers)) == len(numbers) > 40
    parts = ("**Context.**", "**Decision.**", "**Consequence.**")
    assert [note.partition("\n")[0] for note in notes if any(note.count(part) != 1 for part in parts)] == []


def make_targets(text: str) -> set[str]:
    """The targets of every `make` command in a text; words with `=` set variables."""
    text = re.sub(r'"[^"\n]*"', "", text)
    commands = re.findall(r"(?:^|[`\s])make((?: [a-z][a-z-]*| [A-Z_]+=\S*)+)", text)
    return {word for command in commands for word in command.split() if "=" not in word}


@pytest.mark.parametrize(
    "name", ["CONTRIBUTING.md", "README.md", "docs/releasing.md", ".github/pull_request_template.md"]
)
def test_documents_name_existing_make_targets(name: str) -> None:
    commands = "\n".join(
        re.findall(r"^```sh\n.*?^```|`[^`\n]*`", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    )

    assert make_targets(commands)
    assert make_targets(commands) - TARGETS == set()


def test_contributing_names_existing_commits_and_tests() -> None:
    commits = set(re.findall(r"`(?:git show )?([0-9a-f]{7})\b", CONTRIBUTING))
    assert len(commits) >= 5
    assert [
        name for name in re.findall(r"pytest (?:-\S+ \d+ )*(tests/\S+?)`", CONTRIBUTING) if not (ROOT / name).exists()
    ] == []
    # An exported tree and a shallow clone have no history to look into.
    if shutil.which("git") is None or not (ROOT / ".git").exists() or (ROOT / ".git" / "shallow").exists():
        pytest.skip("no history here")
    for commit in commits:
        subprocess.run(["git", "-C", ROOT, "cat-file", "-e", f"{commit}^{{commit}}"], check=True, capture_output=True)


def load(path: Path) -> Any:
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


CONFIGURATION = [
    *WORKFLOWS,
    *sorted((ROOT / ".github").rglob("ISSUE_TEMPLATE/*.yml")),
    *(ROOT / name for name in (".github/dependabot.yml", ".pre-commit-config.yaml", ".devcontainer/devcontainer.json")),
]


@pytest.mark.parametrize("path", CONFIGURATION, ids=[str(path.relative_to(ROOT)) for path in CONFIGURATION])
def test_configuration_parses(path: Path) -> None:
    assert isinstance(load(path), dict)


@pytest.mark.parametrize(
    "path", [path for path in CONFIGURATION if path.parent.name == "ISSUE_TEMPLATE" and path.stem != "config"]
)
def test_issue_forms_have_what_github_asks_for(path: Path) -> None:
    form = load(path)
    fields = [field for field in form["body"] if field["type"] != "markdown"]

    assert {"name", "description", "body"} <= form.keys()
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])
def test_workflows_call_make_with_few_rights_and_pinned_actions(path: Path) -> None:
    flow = load(path)
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    scripts = "\n".join(step["run"] for step in steps if "run" in step)

    assert flow["permissions"] == {"contents": "read"}
    assert make_targets(scripts)
    assert make_targets(scripts) - TARGETS == set()
    assert "${{" not in scripts, "an expression in a script is an injection"
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"] == {"persist-credentials": False, "fetch-depth": 0} for step in checkouts)


def test_ci_runs_every_python_that_the_program_allows() -> None:
    versions = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]

    assert lowest == f">={versions[0]}"
    assert versions == [f"3.{minor}" for minor in range(11, 11 + len(versions))]


def test_hooks_call_the_locked_tools() -> None:
    (repository,) = load(ROOT / ".pre-commit-config.yaml")["repos"]

    assert repository["repo"] == "local"
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repository["hooks"])
