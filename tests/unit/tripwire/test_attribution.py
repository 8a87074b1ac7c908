"""Who is suspected, who is blamed, and who is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect_parallel.tripwire.attribution import (
    ALONE,
    CLOCK_S,
    NAMED,
    CheckoutChange,
    Mention,
    RunInterval,
    WorkerText,
    blame,
    mention,
    running,
)

ROOT = "/home/u/repo"


@pytest.mark.parametrize(
    ("text", "path", "is_task", "expected"),
    [
        ("mend src/a.py please", "src/a.py", False, Mention.WORD),
        ("mend `src/a.py`.", "src/a.py", False, Mention.WORD),
        ("src/a.py:12: wrong", "src/a.py", False, Mention.WORD),
        ("mend lib/src/a.py", "src/a.py", False, Mention.NO),
        ("mend src/a.pyc", "src/a.py", False, Mention.NO),
        ("mend src/a.py.bak", "src/a.py", False, Mention.NO),
        ("mend src/a.py/b", "src/a.py", False, Mention.NO),
        (f"echo x > {ROOT}/src/a.py", "src/a.py", False, Mention.PLACE),
        (f"edited {ROOT}/.architect-parallel-1/src/a.py", "src/a.py", False, Mention.NO),
        ("echo x > ../src/a.py", "src/a.py", True, Mention.PLACE),
        ("import x from '../src/a.py'", "src/a.py", False, Mention.NO),
        (f"cd {ROOT} && make", "src/a.py", True, Mention.PLACE),
        (f"cd {ROOT}/ && make", "src/a.py", True, Mention.PLACE),
        (f"cd {ROOT}2 && make", "src/a.py", True, Mention.NO),
        (f"{ROOT}  abc123 [main]", "src/a.py", False, Mention.NO),
        (f"git -C {ROOT} stash", "stash", True, Mention.PLACE),
        ("git -C .. stash", "stash", True, Mention.PLACE),
        ("put it into the index, then HEAD", "index", True, Mention.NO),
        ("git branch sneaky", "refs/heads/sneaky", True, Mention.WORD),
        ("update refs/tags/v1", "refs/tags/v1", False, Mention.WORD),
        ("wrote (odd) [name]*.txt", "(odd) [name]*.txt", False, Mention.WORD),
    ],
)
def test_a_path_is_named_as_a_whole_word_or_as_a_place(text: str, path: str, is_task: bool, expected: Mention) -> None:
    assert mention(text, path, ROOT, is_task=is_task) is expected


@given(st.text(max_size=60), st.text(st.characters(blacklist_characters="\0"), min_size=1, max_size=20))
def test_any_text_and_any_path_have_an_answer(text: str, path: str) -> None:
    assert mention(text, path, ROOT) in Mention
    if not path.strip().endswith("/"):
        assert mention(f"{ROOT}/{path}", path, ROOT, is_task=True) in Mention


def test_only_who_ran_then_is_suspected() -> None:
    stretches = [
        RunInterval(worker_id=1, started_s=0.0, ended_s=5.0),
        RunInterval(worker_id=2, started_s=4.0, ended_s=9.0),
        RunInterval(worker_id=3, started_s=20.0),
    ]
    assert running(stretches, 4.5, 4.5) == (1, 2)
    assert running(stretches, 6.0, 6.0) == (2,)
    assert running(stretches, 10.0, 15.0) == ()  # the user's own edit between two workers
    assert running(stretches, 3.0, 30.0) == (1, 2, 3)
    assert running(stretches, 20.0 - CLOCK_S, 20.0 - CLOCK_S) == (3,)  # the file's clock lags behind


@given(
    st.lists(st.tuples(st.integers(1, 5), st.floats(0, 100), st.floats(0, 100))),
    st.floats(0, 100),
    st.floats(0, 100),
    st.floats(0, 50),
)
def test_a_wider_interval_never_has_fewer_suspects(
    runs: list[tuple[int, float, float]], earliest: float, length: float, more: float
) -> None:
    stretches = [RunInterval(worker_id=who, started_s=start, ended_s=start + took) for who, start, took in runs]
    narrow = running(stretches, earliest, earliest + length)
    assert set(narrow) <= set(running(stretches, earliest - more, earliest + length + more))


def said(*tasks: str, outputs: tuple[str, ...] = ()) -> dict[int, WorkerText]:
    more = (*outputs, *("" for _ in tasks))
    return {number: WorkerText(task=task, output=more[number - 1]) for number, task in enumerate(tasks, 1)}


def test_the_only_one_is_blamed_and_two_are_not() -> None:
    assert blame(1, "a.py", ROOT, (1,), said("x"), alone=True) == ALONE
    assert blame(1, "a.py", ROOT, (1,), said("x"), alone=False) == ""  # another run's agent may have done it
    assert blame(1, "a.py", ROOT, (1, 2), said("x", "y"), alone=True) == ""
    assert blame(2, "a.py", ROOT, (1,), said("x", "write a.py"), alone=True) == ""  # not a suspect at all


def test_who_names_it_is_blamed() -> None:
    assert blame(1, "a.py", ROOT, (1, 2), said("mend a.py", "y"), alone=True) == NAMED
    assert blame(1, "a.py", ROOT, (1, 2), said("x", "y", outputs=("wrote a.py",)), alone=True) == NAMED
    assert blame(2, "a.py", ROOT, (1, 2), said("mend a.py", "y"), alone=True) == ""


def test_a_name_all_of_them_use_says_nothing_but_a_place_does() -> None:
    both = said("mend a.py", "mend a.py")
    assert [blame(who, "a.py", ROOT, (1, 2), both, alone=True) for who in (1, 2)] == ["", ""]
    placed = said("mend a.py", "mend a.py", outputs=("", f"wrote {ROOT}/a.py"))
    assert [blame(who, "a.py", ROOT, (1, 2), placed, alone=True) for who in (1, 2)] == ["", NAMED]


def test_two_changes_of_a_path_are_one_from_the_first_to_the_last() -> None:
    one, two, three = ("100644", "1" * 40), ("100644", "2" * 40), ("100755", "3" * 40)
    first, second = CheckoutChange(path="a", before=one, after=two), CheckoutChange(path="a", before=two, after=three)
    both = first.followed_by(second)
    assert (both.before, both.after) == (one, three)
    # Taken back since: what it was stays on record.
    back = first.followed_by(CheckoutChange(path="a", before=two, after=one))
    assert (back.before, back.after) == (one, two)
