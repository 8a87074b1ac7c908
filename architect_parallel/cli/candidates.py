"""The words that can follow on a command line, each with a description: what completion offers.

Nothing here writes, and no failure shows: where nothing can be read, nothing is offered.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect_parallel.errors import ArchitectParallelError

if TYPE_CHECKING:
    from architect_parallel.runs.workspace import Workspace

Candidate = tuple[str, str]
"""A word and its description, which may be empty."""
Values = Callable[[str], Iterable[Candidate]]
"""Returns the values of an option, given the beginning that is typed."""
FILES, DIRECTORIES = (":files", ""), (":directories", "")
"""The shell completes paths itself."""
MOST_RUNS = 50


def candidates_of(root: Any, line: str) -> list[Candidate]:
    """The candidates for the last word of a command line.

    Args:
        root: The command of the whole program.
        line: The command line up to the cursor, quoted as a shell reads it, the program included.
    """
    words = split_line(line)
    with contextlib.suppress(ArchitectParallelError, OSError):
        return _candidates(root, words) if len(words) > 1 else []
    return []


def _candidates(root: Any, words: Sequence[str]) -> list[Candidate]:
    *before, word = words[1:]
    command, option, given = _position(root, before)
    option_name, has_value, value = word.partition("=")
    if option is None and has_value and word.startswith("--"):
        named = _option(command, option_name)
        candidates = [] if named is None else _values(named.name, value)
        return [
            (f"{option_name}={text}" if text not in (":files", ":directories") else text, note)
            for text, note in candidates
        ]
    if option is not None:
        return _values(option.name, word)
    if word.startswith("-"):
        return _beginning(word, _options(command))
    if hasattr(command, "commands"):
        return _beginning(word, ((name, below.get_short_help_str(60)) for name, below in command.commands.items()))
    return _arguments(root, command, given, word)


def split_line(line: str) -> list[str]:
    """The words of a command line. The last one is incomplete, and empty after white space.

    >>> split_line("architect logs "), split_line("architect diff 'a b"), split_line("architect l")
    (['architect', 'logs', ''], ['architect', 'diff', 'a b'], ['architect', 'l'])
    """
    for closing in ("", "'", '"', "\\"):
        with contextlib.suppress(ValueError):
            words = shlex.split(line + closing)
            return [*words, ""] if line[-1:].isspace() and not closing else words
    return []


def _position(root: Any, words: Sequence[str]) -> tuple[Any, Any, list[str]]:
    """The command that these words lead to, the option that still needs a value, and the arguments given so far."""
    command, option, given = root, None, list[str]()
    left, options_end = 0, False
    for word in words:
        if left:
            left -= 1
        elif word == "--":
            options_end = True
        elif word.startswith("-") and len(word) > 1 and not options_end:
            option = _option(command, word.partition("=")[0])
            takes = 0 if option is None or option.is_flag or "=" in word else option.nargs
            left = takes
        elif hasattr(command, "commands") and word in command.commands:
            command = command.commands[word]
        else:
            given.append(word)
    return command, option if left else None, given


def _option(command: Any, name: str) -> Any:
    options = (parameter for parameter in command.params if parameter.param_type_name == "option")
    return next((option for option in options if name in (*option.opts, *option.secondary_opts)), None)


def _options(command: Any) -> Iterable[Candidate]:
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            for name in (*parameter.opts, *parameter.secondary_opts):
                yield name, parameter.help or ""
    yield "--help", "Show the help of this command."


def _arguments(root: Any, command: Any, given: Sequence[str], word: str) -> list[Candidate]:
    metavar = next(
        (parameter.metavar or "" for parameter in command.params if parameter.param_type_name == "argument"), ""
    )
    if "[RUN]" in metavar:
        return _beginning(word, _runs_and_workers(given, several="[N]..." in metavar or "N..." in metavar))
    if metavar == "[COMMAND]...":
        matched, _, rest = _position(root, given)
        return [] if rest else _beginning(word, ((name, "") for name in getattr(matched, "commands", {})))
    if given:
        return []
    if metavar in ("FILE", "DIR"):
        return [FILES if metavar == "FILE" else DIRECTORIES]
    choices = {"SHELL": ("bash", "zsh", "fish"), "FORMAT": ("config", "tasks", "spec")}.get(metavar, ())
    return _beginning(word, ((choice, "") for choice in choices))


def _values(option: str, word: str) -> list[Candidate]:
    """The values of an option, by the name of its parameter."""
    if option in _LISTS:
        before, comma, last = word.rpartition(",")
        candidates = _beginning(last, _LISTS[option](last))
        return [(f"{before}{comma}{value}", text) for value, text in candidates]
    if option in _PATHS:
        return [_PATHS[option]]
    return _beginning(word, _ONE[option](word)) if option in _ONE else []


def _beginning(word: str, candidates: Iterable[Candidate]) -> list[Candidate]:
    return [(value, text) for value, text in candidates if value.startswith(word)]


def _runs_and_workers(given: Sequence[str], *, several: bool) -> Iterable[Candidate]:
    """Workers of the selected run, and before one is selected the runs."""
    from architect_parallel.journal.selection import select
    from architect_parallel.runs.workspace import open_journal
    from architect_parallel.text.sanitize import one_line

    with open_journal(Path.cwd()) as (_, journal):
        runs = journal.run_ids()
        if not runs:
            return
        selection = select(journal, given)
        if selection.worker_ids and not several:
            return
        for spec in journal.planned(selection.run_id):
            if spec.worker_id in selection.worker_ids:
                continue
            task = one_line(spec.first_prompt or spec.prompt, 60)
            yield str(spec.worker_id), task
            if spec.name != f"worker-{spec.worker_id}":
                yield spec.name, task
        if given:
            return
        yield "latest", "the newest run"
        for run_id in runs[:MOST_RUNS]:
            workers = journal.plan(run_id).workers
            yield run_id, one_line(workers[0].prompt, 60) if workers else ""


def _here() -> Workspace:
    from architect_parallel.runs.workspace import load_workspace

    return load_workspace(Path.cwd())


def _backends(word: str) -> Iterable[Candidate]:
    here = _here()
    for name, backend in here.backends.items():
        yield name, "ready" if backend.availability(here.environ).ready else "not ready here"


def _profiles(word: str) -> Iterable[Candidate]:
    for name, profile in _here().settings.agents.items():
        yield name, (profile.system_prompt or "").partition(".")[0]


def _models(word: str) -> Iterable[Candidate]:
    """Configured models and those of the price list. Names with a provider come once a part of them is typed."""
    from architect_parallel.config.paths import home_dir
    from architect_parallel.config.settings import load_settings
    from architect_parallel.system.prices import known_models

    own = load_settings(None, None, os.environ, home_dir()).prices
    known = [(name, text) for name, text in known_models() if word or not {"/", "@"} & set(name)]
    return [*((name, "your price") for name in own), *known]


def _agents(last: str) -> Iterable[Candidate]:
    backend, colon, model = last.partition(":")
    return [(f"{backend}:{name}", text) for name, text in _models(model)] if colon else _backends(last)


def _branches(word: str) -> Iterable[Candidate]:
    from architect_parallel.system.git import open_repository

    names = open_repository(Path.cwd()).store.text("for-each-ref", "--format=%(refname:short)", "refs/heads")
    return [(name, "") for name in names.split("\n") if name]


def _runs(word: str) -> Iterable[Candidate]:
    return [(value, text) for value, text in _runs_and_workers((), several=True) if value == "latest" or "-" in value]


def _words(*words: str) -> Values:
    return lambda _: [(word, "") for word in words]


_ONE: Mapping[str, Values] = {
    "backend": _backends,
    "judge": _backends,
    "resolve": _backends,
    "agent": _profiles,
    "model": _models,
    "base": _branches,
    "into": _branches,
    "run": _runs,
    "continue_": _runs,
    "assign": _words("fill", "round-robin", "cross"),
    "tripwire": _words("auto", "fail", "warn", "off"),
    "score": _words("lexicographic", "weighted"),
    "format_": _words("text", "json", "markdown", "html", "junit"),
    "confirm_mode": _words("yolo", "confirm-sensitive", "confirm-all"),
    "color": _words("auto", "always", "never"),
}
"""Name of a parameter → its values."""
_LISTS: Mapping[str, Values] = {
    "models": _models,
    "backends": _backends,
    "agents": _agents,
}
"""Name of a parameter whose values are separated by commas → the values for the last one."""
_PATHS: Mapping[str, Candidate] = {
    **dict.fromkeys(("file", "prompt_file", "config", "output", "task_file"), FILES),
    **dict.fromkeys(("artifacts", "directory"), DIRECTORIES),
}
