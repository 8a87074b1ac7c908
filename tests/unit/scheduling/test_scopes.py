"""Scopes: what a pattern covers, and whether two of them meet although no file is there yet."""

from __future__ import annotations

import itertools
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.repositories import git

from architect_parallel.scheduling.scopes import matches, outside, overlapping, overlaps, read_pattern

PATTERNS = (
    "src", "src/", "src/auth", "src/**", "src/*", "src/*.py", "src/**/*.py", "**/*.py", "*.py", "**", "**/auth/**",
    "s?c/a*", "src/[ab]*", "src/[!ab]*", "src/auth/log?n.py", "docs/**/x", "a**b", r"we\*ird", r"[]x]", "[a-c]/**", "*",
    "*/*", "**/**/x", "src/**/auth/**/x.py",
)  # fmt: skip
PATHS = (
    "src/a.py", "src/b.txt", "src/c.py", "src/auth/login.py", "src/auth/deep/er/x.py", "src/auth/x.py", "docs/x",
    "docs/a/b/x", "top.py", "aXXb", "we*ird", "weXird", "]", "x", "b/one", "d/one", ".hidden", "src/.hidden/auth/y",
    "srcs", "auth/z",
)  # fmt: skip


def test_a_pattern_covers_what_git_says(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    empty = git(tmp_path, "hash-object", "-w", "--stdin")
    listed = "".join(f"100644 {empty} 0\t{path}\n" for path in PATHS)
    subprocess.run(["git", "update-index", "--index-info"], cwd=tmp_path, input=listed.encode(), check=True)

    for pattern in PATTERNS:
        found = set(git(tmp_path, "ls-files", "-z", "--", f":(top,glob){pattern}").split("\0")) - {""}
        assert {path for path in PATHS if matches(path, pattern)} == found, pattern


def pattern_of(path: tuple[str, ...], dice: random.Random) -> str:
    """A pattern that covers `path`, made from it."""
    parts: list[str] = []
    at = 0
    while at < len(path):
        if dice.random() < 0.25:
            parts.append("**")
            at += dice.randint(0, len(path) - at)
            continue
        part = "".join(
            dice.choice([f"\\{letter}", letter, "?", "*", f"[{letter}q]", "[!q]", f"*{letter}"]) for letter in path[at]
        )
        parts.append(part + dice.choice(["", "*"]))
        at += 1
    return "/".join(parts)


PART = st.text("ab.é", min_size=1, max_size=4).filter(lambda part: part not in (".", ".."))
PATH = st.lists(PART, min_size=1, max_size=4).map(tuple)


@given(path=PATH, dice=st.randoms(use_true_random=True))
@settings(max_examples=400, deadline=None)
def test_patterns_that_cover_one_path_overlap(path: tuple[str, ...], dice: random.Random) -> None:
    one, other = pattern_of(path, dice), pattern_of(path, dice)
    assert matches("/".join(path), one)
    assert matches("/".join(path), other)
    assert overlaps(one, other)
    assert overlaps(other, one)


NAMES = ["".join(each) for length in (1, 2) for each in itertools.product("ac", repeat=length)]
WORLD = ["/".join(each) for depth in (1, 2, 3) for each in itertools.product(NAMES, repeat=depth)]
SMALL_PART = st.one_of(
    st.just("**"), st.lists(st.sampled_from(["a", "*", "?", "[!a]"]), min_size=1, max_size=2).map("".join)
)
SMALL = st.lists(SMALL_PART, min_size=1, max_size=2).map("/".join)


@given(one=SMALL, other=SMALL)
@settings(max_examples=300, deadline=None)
def test_patterns_overlap_only_where_a_path_proves_it(one: str, other: str) -> None:
    assert overlaps(one, other) == any(matches(path, one) and matches(path, other) for path in WORLD)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "empty"), ("  ", "empty"), ("/etc/x", "relative"), ("~/x", "relative"), ("a/../b", ".."), ("..", ".."),
        ("a//b", "empty part"), ("a/./b", "dot"), ("!a", "exclusions"), ("a[bc", "]"), ("a\\", "backslash"),
        ("[[:alpha:]]", "named class"), ("[z-a]", "no character"), ("a\0b", "NUL"),
    ],
)  # fmt: skip
def test_a_bad_pattern_says_what_is_wrong(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"must|has") as caught:
        read_pattern(pattern)
    assert words in str(caught.value)


def test_outside_is_sorted_and_empty_without_a_scope() -> None:
    assert outside(["z", "src/a", "b", "b"], ["src"]) == ["b", "z"]
    assert outside(["z"], []) == []


def test_owners_are_paired_once_in_their_order() -> None:
    scopes = {"c": ("docs/**",), "a": ("src/**", "x"), "b": ("x", "src/b/*"), "d": ("lib",)}

    found = [(each.one, each.other, each.patterns) for each in overlapping(scopes)]

    assert found == [("a", "b", ("x", "x"))] or found == [("a", "b", ("src/**", "src/b/*"))]


@given(
    scopes=st.dictionaries(st.integers(0, 5), st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3), max_size=6)
)
@settings(max_examples=100, deadline=None)
def test_the_short_cut_misses_no_pair(scopes: dict[int, list[str]]) -> None:
    pairs = {
        (one, other)
        for one, other in itertools.combinations(scopes, 2)
        if any(overlaps(mine, theirs) for mine in scopes[one] for theirs in scopes[other])
    }
    assert {(each.one, each.other) for each in overlapping(scopes)} == pairs


def test_what_is_known_as_a_file_has_nothing_below() -> None:
    assert overlaps("README", "**/x.py")
    assert not overlaps("README", "**/x.py", frozenset({"README"}))
    assert overlaps("README", "REA*", frozenset({"README"}))
    scopes = {1: ("README",), 2: ("**/x.py",)}
    assert len(list(overlapping(scopes))) == 1
    assert list(overlapping(scopes, files=frozenset({"README"}))) == []


def test_thousands_of_tasks_in_directories_of_their_own_are_no_work() -> None:
    """Each with each would be fifty million comparisons, and a timeout."""
    assert list(overlapping({number: (f"src/part{number}/**",) for number in range(10_000)})) == []
