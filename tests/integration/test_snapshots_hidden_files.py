"""Files that only the agent's own ignore rules hide are named and kept; what was ignored before is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.console import Architect
from support.repositories import git
from support.worksites import Worksite, make_worksite

from architect_parallel.snapshots import hidden_files
from architect_parallel.snapshots.hidden_files import Hidden, find_hidden


@pytest.fixture
def site(tmp_path: Path) -> Worksite:
    return make_worksite(tmp_path)


def kept(site: Worksite) -> list[str]:
    """Paths that the keep ref of hidden files adds to the base."""
    ref = "refs/architect/keep/20260101-abc/1-hidden"
    if git(site.repository.root, "rev-parse", "-q", "--verify", ref, check=False) == "":
        return []
    return git(site.repository.root, "diff", "--name-only", f"{ref}^", ref).split("\n")


HIDING = {
    "star": ("echo '*' > .gitignore; echo x > hidden.txt", ["hidden.txt"]),
    "a rule for the file": ("echo hidden.txt >> .gitignore; echo x > hidden.txt", ["hidden.txt"]),
    "a directory": ("mkdir d; echo d/ >> .gitignore; echo x > d/x; echo y > d/y", ["d/x", "d/y"]),
    "its own directory": ("mkdir d; echo '*' > d/.gitignore; echo x > d/x", ["d/.gitignore", "d/x"]),
    "an untracked rule": ("mkdir d; echo x > dir/n; echo n > dir/.gitignore; git add -A", ["dir/n"]),
}


@pytest.mark.parametrize(("script", "paths"), HIDING.values(), ids=HIDING.keys())
def test_what_new_rules_hide_is_named_and_kept(site: Worksite, script: str, paths: list[str]) -> None:
    site.act(script)

    collection = site.collect()

    assert collection.hides
    assert kept(site) == paths
    assert [all(repr(path) in warning for path in paths) for warning in collection.warnings if "hide" in warning] == [
        True
    ]
    tracked = git(site.worktree, "ls-files").split("\n")  # the control: git itself does not see them
    assert not set(paths) & set(tracked)


NOT_HIDING = {
    "nothing": "true",
    "ignored before": "echo x > a.log",
    "a rule for what is ignored anyway": "echo '*.log' >> .gitignore; echo x > a.log",
    "a rule without a file": "echo later.txt >> .gitignore",
    "a cache that says so": "mkdir c; echo '*' > c/.gitignore; echo x > c/x; "
    "echo 'Signature: 8a477f597d28d172789f06886806bc55' > c/CACHEDIR.TAG",
    "a visible file": "echo x > x",
}


@pytest.mark.parametrize("script", NOT_HIDING.values(), ids=NOT_HIDING.keys())
def test_what_was_ignored_before_is_not_the_agents_hiding(site: Worksite, script: str) -> None:
    site.act(script)

    assert not site.collect().hides
    assert kept(site) == []


def test_what_a_setup_command_hid_before_the_agent_is_not_either(tmp_path: Path) -> None:
    site = make_worksite(tmp_path)
    venv = site.worktree / "venv"
    venv.mkdir()
    (venv / ".gitignore").write_text("*\n")
    site.private.create(site.repository, site.private.directory, site.worktree)

    assert find_hidden(site.private.open(site.private.directory)) == Hidden()


def test_large_directories_are_counted(site: Worksite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_files, "MOST_FILES", 3)
    site.act("echo node_modules/ >> .gitignore; mkdir node_modules; cd node_modules; touch 1 2 3 4")

    collection = site.collect()

    assert (
        "ignore rules that the agent added hide node_modules/ (4 files) (only in the worktree)" in collection.warnings
    )
    assert kept(site) == []


def test_an_agent_that_hides_everything_has_not_changed_nothing(checkout: Path) -> None:
    answer = Architect(checkout)(
        "parallel", "echo '*' > .gitignore; echo x > work", "--backend", "shell", "--workers", "1", "--json"
    )

    (result,) = answer.json["results"]
    assert (result["status"], result["reason"]) == ("success", "completed")
    assert any("'work'" in warning for warning in result["warnings"])


def test_a_cleanup_leaves_many_hidden_files_alone_and_keeps_few(checkout: Path) -> None:
    architect = Architect(checkout)
    many = "echo node_modules/ >> .gitignore; mkdir node_modules; touch node_modules/$(seq -s ' node_modules/' 250)"
    architect(
        "parallel", "--task", many, "--task", "echo 'few.txt' >> .gitignore; echo few > few.txt", "--backend", "shell"
    )
    for number in (1, 2):
        architect("merge", "latest", str(number), "--squash")

    answer = architect("parallel-cleanup")

    assert (checkout / ".architect-parallel-1" / "node_modules" / "250").exists()
    assert "ignore rules of its agent hide node_modules/ (250 files)" in answer.out
    assert not (checkout / ".architect-parallel-2").exists()
    refs = git(checkout, "for-each-ref", "--format=%(refname)", "refs/architect/keep").split("\n")
    assert any(git(checkout, "show", f"{ref}:few.txt", check=False) == "few" for ref in refs)

    assert architect("parallel-cleanup", "--force").code == 0
    assert not (checkout / ".architect-parallel-1").exists()
