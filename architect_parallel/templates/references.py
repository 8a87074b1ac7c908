"""`{{ name }}`, `{{ results }}` and `{{ file(./path) }}` in the prompts of a spec. Pure.

The text between the braces is one of these three, by exact name. A prompt that is a shell command is not filled in: its
values go along as variables (`templates.shell`), so that no result can become a command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from architect_parallel.domain import Status, WorkerResult
from architect_parallel.templates import scanner
from architect_parallel.templates.scanner import Placeholder, fill, scan
from architect_parallel.text.quantities import show_count
from architect_parallel.text.sanitize import one_line

MOST_CHARACTERS = 50_000
"""The longest value: a prompt must fit into a model's context, and a variable into an environment."""
MOST_VARIABLE_BYTES = 100_000
"""Linux allows 128 KiB for one variable, its name included."""
RESULTS = "results"


def references(text: str) -> tuple[Placeholder, ...]:
    """Return the references of `text`, each once, in order.

    >>> [r.file or r.text for r in references("as in {{ design }}, {{file(./a b.md)}} and {{design}}")]
    ['design', './a b.md']
    """
    return tuple(dict.fromkeys(scan(text)))


def files(text: str) -> tuple[str, ...]:
    """Return the paths of the `file(…)` in `text` that lie in the repository, as written.

    >>> files("{{ file(./a.md) }} {{ file(../b.md) }} {{ c }}")
    ('./a.md',)
    """
    names = []
    for reference in references(text):
        if reference.file is not None:
            with contextlib.suppress(ValueError):
                inner_path(reference.file)
                names.append(reference.file)
    return tuple(names)


def inner_path(path: str) -> str:
    """Return the path of a `file(…)` from the top of the repository.

    Raises:
        ValueError: It leads out of it.

    >>> inner_path("./docs/../docs/a.md")
    'docs/a.md'
    """
    steps: list[str] = []
    for step in path.strip("\"'").split("/"):
        if step == ".." and steps:
            steps.pop()
        elif step == "..":
            raise ValueError("leads out of the repository")
        elif step not in ("", "."):
            steps.append(step)
    if path.startswith(("/", "~")) or not steps or "\0" in path:
        raise ValueError("must be a path inside the repository")
    return "/".join(steps)


def filled(text: str, value_of: Callable[[Placeholder], str]) -> str:
    """Replace every reference by its value, each cut to `MOST_CHARACTERS`."""
    return fill(text, lambda reference: cut(value_of(reference)))


def values(text: str, value_of: Callable[[Placeholder], str]) -> dict[str, str]:
    """Map each reference of a command, as it is written, to its value, cut to `MOST_CHARACTERS`."""
    return scanner.values(text, lambda reference: cut(value_of(reference)))


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Replace the other names of tasks in references by their own.

    >>> renamed("{{ 1 }} and {{ results }}", {"1": "design"})
    '{{ design }} and {{ results }}'
    """
    return fill(
        text,
        lambda placeholder: (
            f"{{{{ {names[placeholder.text]} }}}}" if placeholder.text in names else placeholder.written
        ),
    )


def cut(text: str) -> str:
    """Cut a text of more than `MOST_CHARACTERS`, and say so at its end."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n[cut: {len(text) - MOST_CHARACTERS} more characters]"


def cut_variable(text: str) -> str:
    """Cut like `cut`, and to `MOST_VARIABLE_BYTES`, since characters may take several bytes.

    >>> text = cut_variable("設" * 50_000)
    >>> len(text.encode()) <= MOST_VARIABLE_BYTES, text[-30:]
    (True, '設\\n[cut: 16700 more characters]')
    """
    data = text.encode(errors="surrogateescape")
    if len(text) <= MOST_CHARACTERS and len(data) <= MOST_VARIABLE_BYTES:
        return text
    kept = min(MOST_CHARACTERS, len(data[: MOST_VARIABLE_BYTES - 100].decode(errors="ignore")))
    return f"{text[:kept]}\n[cut: {len(text) - kept} more characters]"


def account(results: Sequence[WorkerResult]) -> str:
    """Return the text of `{{ results }}`: each result in words, then the files that several of them changed."""
    share = max(500, MOST_CHARACTERS // max(1, len(results)) - 500)
    parts = [_told(item, share) for item in results]
    owners: dict[str, list[str]] = {}
    for result in results:
        for path in result.files_modified:
            owners.setdefault(path, []).append(result.name)
    shared = [f"- {one_line(path, 200)}: {', '.join(names)}" for path, names in sorted(owners.items()) if names[1:]]
    if shared:
        parts.append("\n".join(["## Files changed by several", *shared[:50]]))
    return "\n\n".join(parts)


def missing(results: Sequence[WorkerResult]) -> str:
    """Return the end of the prompt for a task that goes on in spite of failed dependencies."""
    lines = ["", "", "Not everything this task builds on is there:"]
    for result in results:
        reason = f": {one_line(result.error, 300)}" if result.error else ""
        lines.append(f"- {result.name} ended as {_reason(result)}{reason}")
    return "\n".join([*lines, "Do what can be done without it, and say what cannot."])


def _told(result: WorkerResult, most: int) -> str:
    lines = [f"## {result.name}: {_reason(result)}"]
    if result.branch and result.status is not Status.SKIPPED:  # that was never made
        lines.append(f"Branch {result.branch}, {show_count(len(result.files_modified), 'file')} changed")
    lines += [f"- {one_line(path, 200)}" for path in result.files_modified[:20]]
    if result.error and result.status is not Status.SUCCESS:
        lines.append(f"Error: {one_line(result.error, 500)}")
    text = result.output.strip()
    if text:
        lines.append(text if len(text) <= most else f"{text[:most]} […]")
    return "\n".join(lines)


def _reason(result: WorkerResult) -> str:
    reason = f" ({str(result.reason).replace('_', ' ')})" if result.reason else ""
    return f"{result.status}{reason}"


def faults(text: str, known: Mapping[str, bool], *, near: Callable[[str], str]) -> list[str]:
    """Describe the faults of the references of a prompt.

    Args:
        known: Each name of the spec → whether this task comes after it.
        near: Offers a known name for an unknown one, as the end of a message.
    """
    problems = []
    for reference in references(text):
        if reference.file is not None:
            try:
                inner_path(reference.file)
            except ValueError as error:
                problems.append(f"{{{{ {reference.text} }}}} {error}")
        elif reference.text == RESULTS:
            continue
        elif reference.text not in known:
            problems.append(f"{{{{ {reference.text} }}}}: unknown task{near(reference.text)}")
        elif not known[reference.text]:
            problems.append(
                f"{{{{ {reference.text} }}}}: it is not among its dependencies, so its result may not be there yet"
            )
    return problems
