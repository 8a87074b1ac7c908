"""Templates for the directories of worktrees and the names of branches, and the values that fill them. Pure.

A template has placeholders in braces. `{n}` is the worker's number, `{name}` its name, `{slug}` the first words of its
task, and `{run}` the id of its run. In the template of a directory, `{repo}` at the start is the repository's root.
Elsewhere `{repo}` is the name of that directory.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from architect_parallel.text.names import read_branch

DEFAULT_ROOT = "{repo}"
DEFAULT_BRANCH = "architect/parallel-{n}"
DEFAULT_DIRECTORY = ".architect-parallel-{n}"
"""A worktree's directory below a root that has no placeholder of a worker."""

_OF_WORKER = ("n", "name", "run", "slug")
_COUNTED = ("name", "slug", "run")
"""Placeholders whose value gets a number at its end if the name is taken."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"(?:[^A-Za-z0-9._-]|\.{2,})+", re.ASCII)
_LONGEST_NAME = 80
_LONGEST_SLUG = 40
# At most nine digits: a longer number belongs to no worker, and would make every later number too long.
_NUMBER = r"([1-9][0-9]{0,8})"


def read_branch_template(text: str) -> str:
    """Return `text` if it can name the branches of workers.

    Raises:
        ValueError: With what is wrong.

    >>> read_branch_template("architect/{slug}")
    'architect/{slug}'
    >>> read_branch_template("architect/work")
    Traceback (most recent call last):
    ValueError: must contain {n}, {name}, {slug} or {run}: each worker needs its own branch
    """
    _require_known(text, _OF_WORKER)
    if not _PLACEHOLDER.search(text):
        raise ValueError("must contain {n}, {name}, {slug} or {run}: each worker needs its own branch")
    read_branch(_PLACEHOLDER.sub("1", text))
    return text


def read_root_template(text: str) -> str:
    """Return `text` without a slash at its end if it can name the directories of worktrees.

    Raises:
        ValueError: With what is wrong.

    >>> read_root_template("../{repo}.worktrees/{name}/")
    '../{repo}.worktrees/{name}'
    >>> read_root_template("~someone/trees")
    Traceback (most recent call last):
    ValueError: must begin with ~/ where it begins with ~
    """
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line that names a directory")
    _require_known(text, ("repo", *_OF_WORKER))
    if text.startswith("~") and text[1:2] not in ("", "/"):
        raise ValueError("must begin with ~/ where it begins with ~")
    if ".." in split_root(text)[1].split("/"):
        raise ValueError("must not contain .. after the first placeholder of a worker")
    return text.rstrip("/") or "/"


def split_root(template: str) -> tuple[str, str]:
    """The part of a directory's template that all workers share, and the rest.

    >>> split_root("../{repo}.worktrees/{name}"), split_root("{repo}")
    (('../{repo}.worktrees', '{name}'), ('{repo}', '.architect-parallel-{n}'))
    """
    parts = template.split("/")
    for place, part in enumerate(parts):
        if any(f"{{{name}}}" in part for name in _OF_WORKER):
            return "/".join(parts[:place]), "/".join(parts[place:])
    return template, DEFAULT_DIRECTORY


def values_for(*, number: int, name: str, prompt: str, run_id: str, count: int = 1) -> dict[str, str]:
    """The values of the placeholders of one worker.

    Args:
        count: From 2, a number that is appended to each text value, because the name without it is taken.

    >>> values_for(number=3, name="fix: Ünicode", prompt="Add a -v flag, please", run_id="r", count=2)
    {'n': '3', 'name': 'fix-Unicode-2', 'run': 'r-2', 'slug': 'add-a-v-flag-please-2'}
    """
    end = f"-{count}" if count > 1 else ""
    return {"n": str(number), "name": f"{_safe(name)}{end}", "run": f"{run_id}{end}", "slug": f"{_slug(prompt)}{end}"}


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders replaced, each once."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def is_counted(template: str) -> bool:
    """Tell whether the count of `values_for` changes the name. Otherwise only another number does."""
    return any(f"{{{name}}}" in template for name in _COUNTED)


def as_glob(template: str, repo: str) -> str:
    """The template as a pattern of `.gitignore`: a `*` for each placeholder but `{repo}`."""
    texts = _PLACEHOLDER.split(template)  # at odd places the names of placeholders
    return "".join(
        _escaped(text) if place % 2 == 0 else _escaped(repo) if text == "repo" else "*"
        for place, text in enumerate(texts)
    )


def number_pattern(template: str, repo: str = "", *, below: bool = False) -> re.Pattern[str] | None:
    """The pattern of names whose group is the number in them. `None` means that such names have no number.

    Args:
        below: Also match what is below such a name, because it makes the name impossible.

    >>> number_pattern("wt/{n}-{slug}").fullmatch("wt/12-add-x")[1]
    '12'
    """
    if "{n}" not in template:
        return None
    texts, pattern, has_number = _PLACEHOLDER.split(template), "", False
    for place, text in enumerate(texts):
        if place % 2 == 0:
            pattern += re.escape(text)
        elif text == "n":
            pattern += "[0-9]+" if has_number else _NUMBER
            has_number = True
        else:
            pattern += re.escape(repo) if text == "repo" else ".+"
    return re.compile(pattern + ("(?:/.*)?" if below else ""), re.DOTALL)


def _require_known(text: str, known: tuple[str, ...]) -> None:
    listed = ", ".join(f"{{{name}}}" for name in known)
    for name in _PLACEHOLDER.findall(text):
        if name not in known:
            raise ValueError(f"has the unknown placeholder {{{name}}}; known: {listed}")
    if set("{}") & set(_PLACEHOLDER.sub("", text)):
        raise ValueError(f"has a brace without its partner; placeholders are {listed}")


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _safe(name: str) -> str:
    """One part of a path and of a ref. git allows no part that ends in `.lock`."""
    text = _UNSAFE.sub("-", _ascii(name)).strip("-.")[:_LONGEST_NAME].rstrip("-.")
    return re.sub(r"(?:\.lock)+\Z", "", text) or "worker"


def _slug(prompt: str) -> str:
    """The first words of a task, in lower case."""
    words, slug = re.findall(r"[a-z0-9]+", _ascii(prompt.strip().partition("\n")[0]).lower()), ""
    for word in words:
        if len(slug) + len(word) >= _LONGEST_SLUG:
            break
        slug = f"{slug}-{word}" if slug else word
    return slug or (words[0][:_LONGEST_SLUG] if words else "task")


def _escaped(text: str) -> str:
    return re.sub(r"([\\*?\[])", r"\\\1", text)
