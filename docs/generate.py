"""Write the command reference, the manual page, the completion scripts, the JSON schemas and the example configuration.
`make docs` runs it.

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
from architect_parallel.cli.completion import SCRIPTS
from architect_parallel.cli.reference import as_man, as_markdown
from architect_parallel.config.schema import ALIASES, config_schema
from architect_parallel.config.task_schema import task_file_schema
from architect_parallel.options import KEYS, kind_of, show_value
from architect_parallel.specs.schema import spec_schema

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "config.example.yaml"
COMPLETION_FILES = {"bash": "architect.bash", "zsh": "_architect", "fish": "architect.fish"}
"""Shell → name of the file with its completion script."""


def documents() -> dict[Path, str]:
    """Every generated file with its content."""
    root: Any = typer.main.get_command(build_app())
    return {
        HERE / "cli.md": as_markdown(root),
        HERE / "man" / "architect.1": as_man(root),
        **{HERE / "completion" / name: SCRIPTS[shell] for shell, name in COMPLETION_FILES.items()},
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


def main() -> None:
    """Writes all documents."""
    for path, text in documents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
