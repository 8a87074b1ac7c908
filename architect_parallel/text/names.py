"""Names that the program gives (branches, worktrees, runs) and names that it accepts (models, backends, agents). Pure.

Invariant: a valid name is safe as one argv word, as a part of a ref and in a terminal. A number read from a branch or
directory name gives exactly that name back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from architect_parallel.errors import UsageError
from architect_parallel.text.quantities import quoted

DEFAULT_MODEL = "default"
"""Shown if the backend chooses the model."""

SHORTEST_RUN_END = 4
"""Least characters of the end of a run id that select the run: the length of its random part."""

LABEL_PATTERN = "^(?!agent$|backend-)[A-Za-z][A-Za-z0-9._-]{0,63}$"
"""A label of a host. `agent` and `backend-NAME` are those that every host has."""

_MODEL = re.compile(r"[A-Za-z0-9._:/@+\[\]][A-Za-z0-9._:/@+\[\]-]{0,127}", re.ASCII)
_SESSION = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,127}", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_BRANCH = re.compile(r"architect/parallel-([1-9][0-9]{0,17})", re.ASCII)
_RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9]{4}", re.ASCII)
_NO_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{", re.ASCII)
_LONGEST_BRANCH = 200
"""Each part is a file name to git, with a suffix while it is locked."""
_FILE_UNSAFE = re.compile(r"(?:[^A-Za-z0-9._-]|\.{2,})+", re.ASCII)
_RANDOM = re.compile(r"[a-z0-9]{4}", re.ASCII)


def read_model(name: str) -> str:
    """Return `name` if it is a model's name.

    Raises:
        ValueError: With what is allowed.

    >>> read_model("openrouter/deepseek-chat:free")
    'openrouter/deepseek-chat:free'
    >>> read_model("x; rm -rf /")
    Traceback (most recent call last):
    ValueError: must be a model name: letters, digits and ._:/@+[]-, at most 128, not beginning with -
    """
    if not _MODEL.fullmatch(name):
        raise ValueError("must be a model name: letters, digits and ._:/@+[]-, at most 128, not beginning with -")
    return name


def read_identifier(name: str) -> str:
    """Return `name` if it can name a backend or an agent. Raises `ValueError` with what is allowed."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError("must be letters, digits and ._-, at most 64, beginning with a letter or digit")
    return name


def read_label(name: str) -> str:
    """Return `name` if a host can have it as a label and a task can need it.

    Raises:
        ValueError: With what is allowed.

    >>> read_label("gpu")
    'gpu'
    """
    if not re.search(LABEL_PATTERN, name) or name.endswith("\n"):
        raise ValueError(
            "must be the name of a label: letters, digits and ._-, not `agent`, not beginning with backend-"
        )
    return name


def read_branch(name: str) -> str:
    """Return `name` if it can be the short name of a branch: what `git check-ref-format` allows, and not a revision.

    Raises:
        ValueError: With what is wrong.

    >>> read_branch("architect/merged"), read_branch("größe/😀")
    ('architect/merged', 'größe/😀')
    >>> read_branch("refs/heads/main")
    Traceback (most recent call last):
    ValueError: cannot be a branch; leave out refs/heads/
    >>> read_branch("@{-1}")
    Traceback (most recent call last):
    ValueError: cannot be a branch
    """
    if name.startswith("refs/"):
        raise ValueError("cannot be a branch; leave out refs/heads/")
    parts = name.split("/")
    if (
        name in ("HEAD", "@")
        or name.startswith("-")
        or name.endswith(".")
        or _NO_BRANCH.search(name)
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    ):
        raise ValueError("cannot be a branch")
    if len(name.encode(errors="replace")) > _LONGEST_BRANCH:
        raise ValueError(f"is longer than {_LONGEST_BRANCH} bytes")
    return name


def read_session(text: str) -> str:
    """`text` when it can be the id of an agent's session: one argv word that is no option, and a part of a file name.

    Raises:
        ValueError: With what is allowed.

    >>> read_session("0197-a.b_c"), read_session("ses_1")
    ('0197-a.b_c', 'ses_1')
    >>> read_session("../x")
    Traceback (most recent call last):
    ValueError: must be a session id: letters, digits and ._-, at most 128, not beginning with -
    """
    if not _SESSION.fullmatch(text):
        raise ValueError("must be a session id: letters, digits and ._-, at most 128, not beginning with -")
    return text


def is_worker_number(text: str) -> bool:
    """Tell whether a word in the place of a run is a worker of the newest run: a number too short for a part of a run
    id.

    >>> is_worker_number("12"), is_worker_number("2026"), is_worker_number("latest")
    (True, False, False)
    """
    return text.isascii() and text.isdigit() and len(text) < SHORTEST_RUN_END


def split_models(csv: str, flag: str = "--models") -> tuple[str, ...]:
    """The models of a comma-separated list, trimmed, in order, repetitions kept.

    Raises:
        UsageError: For an empty entry or a name that is none.

    >>> split_models("gpt-4o, claude-sonnet-4-6")
    ('gpt-4o', 'claude-sonnet-4-6')
    """
    names = tuple(entry.strip() for entry in csv.split(","))
    for place, name in enumerate(names, start=1):
        if not name:
            raise UsageError(f"{flag} {quoted(csv)}: entry {place} is empty", hint=f"{flag} gpt-4o,claude-sonnet-4-6")
        try:
            read_model(name)
        except ValueError as error:
            raise UsageError(f"{flag} {quoted(name)}: {error}") from None
    return names


def split_agents(csv: str, flag: str = "--agents") -> tuple[tuple[str, str | None], ...]:
    """The backends of a comma-separated list, each with its model, in order, repetitions kept.

    Raises:
        UsageError: For an empty entry or a name that is none.

    >>> split_agents("claude, codex:gpt-5-codex,opencode:openai/gpt-5:high")
    (('claude', None), ('codex', 'gpt-5-codex'), ('opencode', 'openai/gpt-5:high'))
    """
    agents = []
    for place, entry in enumerate((entry.strip() for entry in csv.split(",")), start=1):
        backend, has_model, model = entry.partition(":")
        if not entry:
            raise UsageError(f"{flag} {quoted(csv)}: entry {place} is empty", hint=f"{flag} claude,codex:gpt-5-codex")
        try:
            agents.append((read_identifier(backend), read_model(model) if has_model else None))
        except ValueError as error:
            raise UsageError(f"{flag} {quoted(entry)}: {error}", hint=f"{flag} claude,codex:gpt-5-codex") from None
    return tuple(agents)


def parse_branch_number(branch: str) -> int | None:
    """The number in a branch name that has the default form. `None` means any other name.

    >>> parse_branch_number("architect/parallel-12")
    12
    >>> [parse_branch_number(f"architect/parallel-{end}") for end in ("experiment", "007", "7x", "0", "")]
    [None, None, None, None, None]
    """
    match = _BRANCH.fullmatch(branch)
    return int(match[1]) if match else None


def file_names(names: Sequence[str], *, taken: Sequence[str] = ("summary",)) -> tuple[str, ...]:
    """A file name (without ending) for each of `names`: one path component of letters, digits and `._-`, no two alike
    on any file system.

    >>> file_names(["review", "../../etc/passwd", "Review", "summary", "..."])
    ('review', 'etc-passwd', 'Review-2', 'summary-2', 'task')
    """
    used = {item.lower() for item in taken}
    paths = []
    for name in names:
        stem = _FILE_UNSAFE.sub("-", name).strip("-.")[:80] or "task"
        choice, count = stem, 1
        while choice.lower() in used:
            count += 1
            choice = f"{stem}-{count}"
        used.add(choice.lower())
        paths.append(choice)
    return tuple(paths)


def run_id(time: datetime, random_text: str) -> str:
    """The id of a run that starts at `time` (aware): UTC to the second and four random letters or digits.

    Sorts by time as text, is one path component and one ref component.

    >>> run_id(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), "ab12")
    '20260304-050607-ab12'
    """
    if not _RANDOM.fullmatch(random_text):
        raise ValueError("the random text of a run id is four of a-z and 0-9")
    return f"{time.astimezone(UTC):%Y%m%d-%H%M%S}-{random_text}"


def is_run_id(text: str) -> bool:
    """Tell whether `text` has the form of a complete run id.

    >>> is_run_id("20260304-050607-ab12"), is_run_id("latest")
    (True, False)
    """
    return _RUN_ID.fullmatch(text) is not None
