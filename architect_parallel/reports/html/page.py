"""The whole page: one file that needs no other, and a policy that forbids it to load any.

The script and the style are part of the page, and the policy names them by their hashes. Nothing else inline runs,
whatever an agent printed. Without scripts the page lacks only the diffs and the transcripts, which are packed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from architect_parallel.domain import RunResult, Status
from architect_parallel.reports.html.changes import WorkerChanges, changes_of
from architect_parallel.reports.html.formatting import shown
from architect_parallel.reports.html.markup import environment, trusted
from architect_parallel.reports.html.page_model import TITLE_CHARACTERS, Present
from architect_parallel.reports.html.transcripts import transcript
from architect_parallel.reports.material import Material
from architect_parallel.text.sanitize import one_line

TRANSCRIPT_CHARACTERS = 900_000
"""Of all packed transcripts together, in base64."""
LIMITS = {"SHARED_FILES": 200, "OUTPUT_CHARACTERS": 20_000, "SCOPE_FILES": 50}
"""How many of each the page shows."""
MODULES = (
    *("dom", "preferences", "patch", "report_data", "file_changes", "lines", "files", "diff", "matrix"),
    *("transcripts", "shell", "live", "main"),
)
"""The modules of the script, each after those that it imports."""
_MODULE_SYNTAX = re.compile(r"^(?:import .*\n|export )", re.MULTILINE)
"""Removed when the modules become one script: a page opened from a file cannot import modules."""


def render(material: Material) -> str:
    """Return the report of a run as one self-contained HTML document."""
    return page(material)


def page(material: Material, *, events: str | None = None, index: str | None = None, state: str = "") -> str:
    """Return the document.

    Args:
        events: The address of the event stream on the page's own origin. `None` means a page that does not change.
        index: The address of the list of all runs, on the same origin. `None` means that there is none.
        state: The state of the run that the page shows, as the event stream names it.
    """
    present = Present(material)
    run = material.result
    changes = changes_of(material.repository, run)
    run_dir = material.repository.state_dir / "runs" / run.run_id
    limit = TRANSCRIPT_CHARACTERS // max(1, len(run.planned))
    transcripts = {spec.worker_id: transcript(run_dir, spec, limit) for spec in run.planned}
    blocks = {f"patch-{worker.worker_id}": worker.packed for worker in changes if worker.packed}
    blocks |= {f"log-{worker_id}": packed for worker_id, (packed, size) in transcripts.items() if size}
    return (
        environment()
        .get_template("page.html")
        .render(
            LIMITS,
            page=present,
            run=run,
            changes=changes,
            transcript_sizes={worker_id: size for worker_id, (_, size) in transcripts.items()},
            data=_script_data(present, changes),
            blocks={block_id: trusted(packed) for block_id, packed in blocks.items()},
            policy=policy(live=events is not None),
            style=trusted(_style()),
            script=trusted(_script()),
            events=events,
            index=index,
            state=state,
        )
    )


def runs_page(repository: str, runs: Mapping[str, RunResult], *, hidden: int) -> str:
    """Return the list of runs as a document without scripts.

    Args:
        runs: Address of the report → the run, in the order of the list.
        hidden: The number of older runs.
    """
    entries = [
        {
            "address": address,
            "run": run,
            "title": _title(run),
            "good": run.count(Status.SUCCESS),
        }
        for address, run in runs.items()
    ]
    template = environment().get_template("runs.html")
    return template.render(repository=repository, entries=entries, hidden=hidden, style=trusted(_style()))


def _title(run: RunResult) -> str:
    """The task of a run, or the first one with the number of all."""
    tasks = list(dict.fromkeys(spec.prompt for spec in run.planned))
    lead = f"{len(tasks)} tasks: " if len(tasks) > 1 else ""
    return one_line(lead + (tasks[0] if tasks else ""), TITLE_CHARACTERS)


def policy(*, live: bool) -> str:
    """Return the Content-Security-Policy: the page's own script and style. If `live`, also requests to its origin."""
    rules = [
        "default-src 'none'",
        f"script-src '{_hash(_script())}'",
        f"style-src '{_hash(_style())}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types architect-live" if live else "trusted-types 'none'",
    ]
    return "; ".join([*rules, "connect-src 'self'"] if live else rules)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _script() -> str:
    modules = "\n".join(_asset(f"{name}.js") for name in MODULES)
    return '"use strict";\n' + _MODULE_SYNTAX.sub("", modules)


@cache
def _style() -> str:
    return _asset("page.css")


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _script_data(present: Present, changes: list[WorkerChanges]) -> dict[str, Any]:
    """Return what the page's script needs to know."""
    comparison = present.material.comparison
    return {
        "run": present.result.run_id,
        "base": shown(present.result.base_ref),
        "workers": [
            {"id": worker.worker_id, "label": present.labels[worker.worker_id], "files": worker.files}
            for worker in changes
            if worker.files
        ],
        "pairs": [
            {
                "a": shown(pair.a) if isinstance(pair.a, str) else pair.a,
                "b": pair.b,
                "clean": pair.clean,
                "files": [shown(path) for path in pair.files],
            }
            for pair in (comparison.conflicts if comparison else ())
        ],
    }
