"""`--issue` and `--from-issues`: tasks come from a forge, through `gh` or `glab`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.console import Architect, write_program
from support.repositories import git

FORGE = """
import json, os, sys
from pathlib import Path
place = Path(__file__).parent
with open(place / "asked", "a") as file:
    file.write(json.dumps([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
print("a newer version is there", file=sys.stderr)
answer = json.loads((place / "answer.json").read_text())
if isinstance(answer, str):
    sys.exit(answer)
print(json.dumps(answer))
"""
ISSUE = {"number": 12, "title": "Slugs lose umlauts", "body": "Steps:\r\n- `slug('ä')`\x1b[31m", "url": "https://f/12"}
UNKNOWN = "GraphQL: Could not resolve to an Issue with the number of 99. (repository.issue)"
NO_LOGIN = """\
To get started with GitHub CLI, please run:  gh auth login
Alternatively, populate the GH_TOKEN environment variable with a GitHub API authentication token."""
LIMITED = "HTTP 403: API rate limit exceeded for 10.0.0.1. (But here's the good news: Authenticated requests get more.)"
NO_NETWORK = "error connecting to api.github.com\ncheck your internet connection or https://githubstatus.com"
NO_HOST = """\
none of the git remotes configured for this repository point to a known GitHub host. \
To tell gh about a new GitHub host, please use `gh auth login`"""
"""What gh 2.23 prints."""
MORE = ("-b", "shell", "--dry-run", "--json")


class Forge:
    """A `gh` or `glab` that answers from a file and records what it was asked."""

    def __init__(self, place: Path, name: str) -> None:
        self.place = place
        write_program(place / name, FORGE)
        self.env = {"PATH": f"{place}{os.pathsep}/usr/bin:/bin"}

    def answers(self, answer: object) -> dict[str, str]:
        (self.place / "answer.json").write_text(json.dumps(answer))
        return self.env

    @property
    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.place / "asked").read_text().splitlines()]


@pytest.fixture
def gh(tmp_path: Path) -> Forge:
    (tmp_path / "bin").mkdir()
    return Forge(tmp_path / "bin", "gh")


def planned(answer: Any) -> list[tuple[str, str]]:
    assert answer.code == 0, answer.err
    return [(spec["name"], spec["prompt"]) for spec in answer.json["workers"]]


def test_an_issue_is_the_task(architect: Architect, gh: Forge) -> None:
    answer = architect("parallel", "--issue", "#12", "-n", "1", *MORE, env=gh.answers(ISSUE))
    assert planned(answer) == [("issue-12", "Slugs lose umlauts\n\nSteps:\n- `slug('ä')`")]
    assert gh.asked == [["gh", "issue", "view", "12", "--json", "number,title,body,url"]]
    twice = architect("parallel", "--issue", "12", "--attempts", "2", "--repo", "o/r", *MORE, env=gh.env)
    assert [name for name, _ in planned(twice)] == ["issue-12", "issue-12-2"]
    assert gh.asked[1][-2:] == ["--repo", "o/r"]


def test_the_issue_is_recorded_with_the_result(architect: Architect, gh: Forge) -> None:
    env = gh.answers(ISSUE | {"title": ":", "body": ""})
    ran = architect("parallel", "--issue", "12", "-b", "shell", "-n", "1", "--json", env=env)
    assert ran.json["results"][0]["meta"] == {"issue": {"number": 12, "url": "https://f/12"}}


def test_a_query_gives_every_issue_a_worker(architect: Architect, gh: Forge) -> None:
    issues = [ISSUE, {"number": 13, "title": "Docs", "body": None, "url": "https://f/13"}]
    answer = architect("parallel", "--from-issues", "label:agent", *MORE, env=gh.answers(issues))
    assert [name for name, _ in planned(answer)] == ["issue-12", "issue-13"]
    assert gh.asked[0][1:5] == ["issue", "list", "--search", "label:agent"]
    none = architect("parallel", "--from-issues", "label:agent", *MORE, env=gh.answers([]))
    assert (none.code, "no open issue matches 'label:agent'" in none.err) == (4, True)


def test_a_gitlab_remote_is_asked_with_glab(architect: Architect, checkout: Path, gh: Forge) -> None:
    git(checkout, "remote", "add", "origin", "https://gitlab.example/o/r.git")
    glab = Forge(gh.place, "glab")
    issue = {"iid": 4, "title": "T", "description": "D", "web_url": "https://g/4"}
    env = glab.answers([issue])
    assert planned(architect("parallel", "--from-issues", "label:agent slow", *MORE, env=env)) == [
        ("issue-4", "T\n\nD")
    ]
    words = ["--label", "agent", "--search", "slow", "--per-page", "100", "--output", "json"]
    assert glab.asked == [["glab", "issue", "list", *words]]


@pytest.mark.parametrize(
    ("words", "answer", "code", "message"),
    [
        (["--issue", "x"], ISSUE, 2, "--issue 'x': must be the number or the address of an issue"),
        (["--issue", "--help"], ISSUE, 2, "--issue '--help': must be the number"),
        (["--issue", "1", "--repo", "r"], ISSUE, 2, "--repo 'r': must be owner/name"),
        (["--issue", "99"], UNKNOWN, 2, "gh knows no issue '99'\n  try: gh issue list"),
        (["--issue", "99", "--repo", "o/r"], UNKNOWN, 2, "gh knows no issue '99' in o/r"),
        (["--issue", "1"], NO_LOGIN, 3, "the issue could not be read: gh is not logged in\n  try: gh auth login"),
        (
            ["--from-issues", "label:a"],
            LIMITED,
            3,
            "gh is rate limited: HTTP 403: API rate limit exceeded for 10.0.0.1",
        ),
        (["--issue", "1"], NO_NETWORK, 3, "gh reaches no server: error connecting to api.github.com"),
        (["--issue", "1"], NO_HOST, 3, "gh finds no remote of a known forge\n  try: --repo owner/name"),
        (["--issue", "1"], ["x"], 3, "the answer for '1' holds no issue"),
        (["also this", "--issue", "1"], ISSUE, 2, "tasks come from issues or from elsewhere, not both"),
        (["also this", "--repo", "o/r"], ISSUE, 2, "--repo is for --issue and --from-issues"),
    ],
)
def test_what_is_wrong_is_one_line(
    architect: Architect, gh: Forge, words: list[str], answer: object, code: int, message: str
) -> None:
    refused = architect("parallel", *words, *MORE, env=gh.answers(answer))
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
    assert "try: " in refused.err


def test_without_a_program_nothing_is_asked(architect: Architect, tmp_path: Path) -> None:
    refused = architect("parallel", "--issue", "1", *MORE, env={"PATH": "/usr/bin:/bin"})
    assert (refused.code, "gh is not installed: issues cannot be read" in refused.err) == (3, True)
