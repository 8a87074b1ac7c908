"""Templates of directories and branches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.text.names import read_branch
from architect_parallel.text.place_names import (
    as_glob,
    fill,
    number_pattern,
    read_branch_template,
    read_root_template,
    split_root,
    values_for,
)


@given(st.text(), st.text(), st.integers(1, 10**6), st.integers(1, 999))
def test_any_name_and_task_give_a_branch_and_one_part_of_a_path(
    name: str, prompt: str, number: int, count: int
) -> None:
    values = values_for(number=number, name=name, prompt=prompt, run_id="20260101-000000-ab12", count=count)
    for template in ("{name}", "architect/{slug}", "x/{name}/{n}", "{run}.{slug}"):
        read_branch(fill(read_branch_template(template), values))
    assert all(value and "/" not in value and value not in (".", "..") for value in values.values())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("architect/work", "each worker needs its own branch"),
        ("{nam}", "unknown placeholder {nam}"),
        ("{repo}/{n}", "unknown placeholder {repo}"),
        ("{n", "brace without its partner"),
        ("{n}..x", "cannot be a branch"),
        ("refs/heads/{n}", "leave out refs/heads/"),
        ("-{n}", "cannot be a branch"),
        ("a b{n}", "cannot be a branch"),
        ("{n}.lock", "cannot be a branch"),
    ],
)
def test_bad_branch_templates_are_refused(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_branch_template(template)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (" ", "one line"),
        ("a\nb", "one line"),
        ("{repo}/{x}", "unknown placeholder {x}"),
        ("~root/x", "must begin with ~/"),
        ("../{name}/../x", "must not contain .. after"),
    ],
)
def test_bad_root_templates_are_refused(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_root_template(template)


def test_a_root_without_a_worker_is_a_directory_of_worktrees() -> None:
    assert split_root("~/trees") == ("~/trees", ".architect-parallel-{n}")
    assert split_root("/t/{repo}/wt-{n}/work") == ("/t/{repo}", "wt-{n}/work")


def test_a_pattern_for_git_hides_what_the_template_names_and_no_more() -> None:
    assert as_glob("{repo}-[x]/wt-{name}", "a*b") == "a\\*b-\\[x]/wt-*"


def test_numbers_are_read_back_from_names() -> None:
    pattern = number_pattern("wt/{n}-{n}-{slug}", below=True)
    assert pattern is not None
    assert [bool(pattern.fullmatch(text)) for text in ("wt/7-7-x", "wt/7-7-x/y", "wt/07-7-x", "wt/x-7")] == [
        True,
        True,
        False,
        False,
    ]
    assert number_pattern("architect/{name}") is None
