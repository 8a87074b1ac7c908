"""Write the command reference, the JSON schemas and the example configuration. `make docs` runs it.

`tests/rules/test_generated_docs.py` holds the files to what this would write, so they cannot drift from the code.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import typer.main

from architect_parallel.cli.app import build_app
from architect_parallel.config.schema import ALIASES, config_schema
from architect_parallel.config.task_schema import task_file_schema
from architect_parallel.options import KEYS, kind_of, show_value
from architect_parallel.specs.schema import spec_schema

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "config.example.yaml"
HEAD = """# Command reference

Generated from the program by `make docs`; do not edit. Durations are seconds or `30s`, `5m`, `1h`; sizes are bytes or
`512MiB`, `2GiB`. `RUN` is a run's id, the start of its id, at least four characters of its end, or `latest`; without
it, the newest run. `N` is a worker's number, name or branch; a number of up to three digits in the place of `RUN` is
a worker of the newest run.

Every command takes `--color auto|always|never` and `--wide`, before or after its name. A terminal shows tables in its
width, the most important columns first; `--wide` shows all columns and texts in full. A pipe gets one fixed form.
"""


def documents() -> dict[Path, str]:
    """Every generated file with its content."""
    return {
        HERE / "cli.md": command_reference(),
        HERE / "schema" / "config.json": json.dumps(config_schema(), indent=2, sort_keys=True) + "\n",
        EXAMPLE: example_configuration(),
        HERE / "schema" / "spec.json": json.dumps(spec_schema(), indent=2, sort_keys=True) + "\n",
        HERE / "schema" / "tasks.json": json.dumps(task_file_schema(), indent=2, sort_keys=True) + "\n",
    }


def example_configuration() -> str:
    """`config.example.yaml` with the section `parallel_runs` as the options are declared."""
    lines = []
    for name, declared in KEYS.items():
        null = declared.metadata["null"]
        sentences = [declared.metadata["text"], *([] if null is None else [f"null means {null}."])]
        sentences += [f"(other name: {path[-1]})" for path, own in ALIASES.items() if own == name]
        comment = {"initial_indent": "  # ", "subsequent_indent": "  # ", "break_on_hyphens": False}
        lines += textwrap.wrap(" ".join(sentences), 120, **comment)  # type: ignore[arg-type]  # keywords of wrap
        lines.append(f"  {name}: {show_value(declared.default, kind_of(declared))}")
    head, rest = re.split(r"(?<=\nparallel_runs:)(?=.*\n)", EXAMPLE.read_text())
    title, _, rest = rest.partition("\n")
    return head + title + "\n" + "\n".join(lines) + "\n" + rest[rest.index("\n# Agent profiles") :]


def command_reference() -> str:
    """All commands with their arguments and options, as Markdown."""
    root: Any = typer.main.get_command(build_app())
    parts = [HEAD]
    for name, command in sorted(root.commands.items()):
        for path, each in _leaves(name, command):
            parts.append(_section(path, each))
    return "\n".join(parts)


def _leaves(name: str, command: Any) -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(name, command)]
    return [leaf for below, each in sorted(inner.items()) for leaf in _leaves(f"{name} {below}", each)]


def _section(path: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    words = " ".join(
        [f"architect {path}", *(_metavar(each) for each in arguments), *(["[OPTIONS]"] if options else [])]
    )
    text = "\n".join(line.strip() for line in (command.help or "").splitlines())
    lines = [f"## `architect {path}`", "", "```", words, "```", "", text.strip(), ""]
    if arguments or options:
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{_metavar(each)}` | {_cell(each.help)} |" for each in arguments]
        lines += [f"| {_names(each)} | {_cell(each.help)} |" for each in options]
        lines.append("")
    return "\n".join(lines)


def _metavar(argument: Any) -> str:
    shown = argument.metavar or str(argument.name).upper()
    return shown if argument.required or shown.startswith("[") else f"[{shown}]"


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} `{option.metavar or 'TEXT'}`"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def main() -> None:
    """Writes all documents."""
    for path, text in documents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
