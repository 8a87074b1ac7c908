"""The hardened reader of YAML: data with places, or faults with places, whatever the bytes."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from architect_parallel.config.yaml_source import (
    DEEPEST,
    LARGEST_BYTES,
    Document,
    Faulty,
    Position,
    dotted,
    read_bytes,
    read_document,
    walk,
)


def faults(data: bytes | str) -> list[str]:
    """Every fault as `line:column message`; none for a good document."""
    try:
        document = read_document(data.encode() if isinstance(data, str) else data)
    except Faulty as error:
        found = error.faults
    else:
        found = document.faults
    return [f"{fault.place} {fault.message}" for fault in found]


def test_keys_and_list_items_have_places() -> None:
    document = read_document(b"a:\n  b: 1\n  c:\n    - x\n    - y\n")
    assert document.data == {"a": {"b": 1, "c": ["x", "y"]}}
    assert document.places[("a", "b")] == Position(2, 3)
    assert document.places[("a", "c", 1)] == Position(5, 7)


@pytest.mark.parametrize("text", ["", "\n", "# only words\n", "---\n", "~", "\ufeff", "{}"])
def test_nothing_is_an_empty_mapping(text: str) -> None:
    assert read_document(text.encode()) == Document({}, {})


def test_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    plain = read_document(b"a: 1\nb: [x]\n")
    windows = read_document(b"\xef\xbb\xbfa: 1\r\nb: [x]\r\n")
    assert windows.data == plain.data
    assert windows.places == plain.places


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-3", -3), ("1.5", 1.5), ("1e3", 1000.0), ("true", True), ("FALSE", False), ("null", None),
        ("~", None), ("no", "no"), ("on", "on"), ("12:30", "12:30"), ("1_000", "1_000"), ("2026-01-01", "2026-01-01"),
        ("0x10", "0x10"), ("'1'", "1"), ('"true"', "true"), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_plain_words_follow_yaml_1_2(text: str, value: object) -> None:
    found = read_document(f"a: {text}".encode()).data["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.INF", "1e999", "nan", "9" * 400])
def test_no_number_is_read_that_is_not_finite(text: str) -> None:
    found = read_document(f"a: {text}".encode()).data["a"]
    assert found == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1 duplicate key a (first in line 1)"),
        ("a: {b: 1, c: 2, b: 3}", "1:17 duplicate key a.b (first in line 1)"),
        ("a: &x 1", "1:4 anchor &x is not allowed; write the value out"),
        ("a: !!python/name:os.system", "1:4 tag 'tag:yaml.org,2002:python/name:os.system' is not allowed"),
        ("a: !!str 1", "1:4 tag 'tag:yaml.org,2002:str' is not allowed"),
        ("a: !mine {}", "1:4 tag '!mine' is not allowed"),
        ("a: 1\n---\nb: 2\n", "2:1 a second document begins here; only one is allowed"),
        ("[1, 2]", "1:1 must hold a mapping of keys to values"),
        ("words", "1:1 must hold a mapping of keys to values"),
        ("? [a]\n: 1", "1:3 a key must be a single word"),
        ("{{a: 1}: 2}", "1:2 a key must be a single word"),
    ],
)  # fmt: skip
def test_faults_name_line_and_column(text: str, fault: str) -> None:
    assert faults(text) == [fault]


@pytest.mark.parametrize(
    "text", ["a: [", "a: 'x", "a: b: c", "\ta: 1", "a: @", "%YAML 9.9\n---\n", "a: \x07", "a\x00: 1"]
)
def test_what_is_no_yaml_says_so(text: str) -> None:
    (fault,) = faults(text)
    assert "is not YAML" in fault


def test_every_fault_is_reported_not_the_first_alone() -> None:
    text = "a: &x 1\nb: &y 2\nc: !t 1\na: 2\n"
    assert [fault.split()[0] for fault in faults(text)] == ["1:4", "3:4", "4:1"]  # of the anchors one line is enough


def test_byte_that_is_not_utf_8_is_named_with_its_place() -> None:
    assert faults("a: 1\nb: é".encode() + b"\xff") == ["2:5 byte 0xff is not UTF-8"]
    assert faults("a: 1".encode("utf-16")) == ["1:1 byte 0xff is not UTF-8"]


BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])


def test_a_bomb_of_aliases_is_refused_and_pyyaml_alone_takes_it() -> None:
    assert faults(BOMB) == ["2:10 alias *a0 is not allowed; write the value out"]
    assert faults("a: &x 1\nb: !t 1\n*x : 2\nc: *x\n") == [
        "2:4 tag '!t' is not allowed",
        "3:1 alias *x is not allowed; write the value out",
    ]
    # The control: the usual way reads it, and 9**29 items wait for whoever walks them.
    naive = yaml.safe_load(BOMB)
    assert naive["a29"][0][0] is naive["a28"][0]


def test_duplicate_keys_are_lost_without_a_word_by_pyyaml_alone() -> None:
    text = "budget: 1\nbudget: 100\n"
    assert yaml.safe_load(text) == {"budget": 100}
    assert faults(text) != []


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "a:\n"])
def test_deep_nesting_ends_early(unit: str) -> None:
    if unit == "a:\n":
        text = "".join(f"{' ' * depth}a:\n" for depth in range(500))
    else:
        text = "a:\n " + unit * 50_000
    (fault,) = faults(text)
    assert f"nested deeper than {DEEPEST} levels" in fault


def test_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_bytes(tmp_path / "none.yaml") is None


def test_large_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * LARGEST_BYTES)
    assert read_bytes(file) is not None
    file.write_bytes(b"#" * (LARGEST_BYTES + 1))
    with pytest.raises(Faulty, match="larger than 1 MiB"):
        read_bytes(file)


def test_a_device_is_no_file_but_for_the_empty_one() -> None:
    for device in ("/dev/zero", "/dev/tty", "/dev/ptmx"):
        with pytest.raises(Faulty, match=r"is not a file|cannot be read"):
            read_bytes(Path(device), pipe_allowed=True)
    assert read_bytes(Path("/dev/null"), pipe_allowed=True) == b""


def test_pipe_is_no_file_unless_the_user_named_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for pipe_allowed in (False, True):  # without a writer, opening one the plain way would wait for ever
        with pytest.raises(Faulty, match="is not a file"):
            read_bytes(pipe, pipe_allowed=pipe_allowed)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(Faulty, match="cannot be read"):
            read_bytes(tmp_path / "socket", pipe_allowed=True)
    reader, writer = os.pipe()  # as the shell makes one for <(…)
    os.write(writer, b"a: 1\n")
    os.close(writer)
    try:
        assert read_bytes(Path(f"/dev/fd/{reader}"), pipe_allowed=True) == b"a: 1\n"
    finally:
        os.close(reader)


@pytest.mark.parametrize("pipe_allowed", [False, True])
def test_directory_is_no_file(tmp_path: Path, pipe_allowed: bool) -> None:
    with pytest.raises(Faulty, match="is not a file"):
        read_bytes(tmp_path, pipe_allowed=pipe_allowed)


def test_link_in_a_circle_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(Faulty, match="cannot be read"):
        read_bytes(tmp_path / "a")


YAML_LIKE = st.text(alphabet="ab:-[]{},&*!|>'\"#%@ \n\t~.1é\ufeff", max_size=80)


@given(
    st.one_of(
        st.binary(max_size=200), YAML_LIKE.map(str.encode), st.text().map(lambda text: text.encode("utf-8", "replace"))
    )
)
@settings(deadline=None, max_examples=300)
@example(b"&a: 1")
@example(b"? &a\n: *a")
@example(b"*a : 1")
@example(b"*a : *a")
def test_any_bytes_are_a_document_or_faults(data: bytes) -> None:
    with contextlib.suppress(Faulty):
        document = read_document(data)
        assert isinstance(document.data, dict)
        for path, _ in walk(document.data):
            assert dotted(path).isprintable()


WORDS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=100)
"""JSON writes other characters as pairs of surrogates, which YAML does not take; nor keys beyond 1024 characters."""
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(WORDS, PLAIN, max_size=4))
@settings(deadline=None)
def test_what_json_writes_is_read_back(data: dict[str, object]) -> None:
    import json

    text = json.dumps(data)
    assert read_document(text.encode()).data == json.loads(text)
