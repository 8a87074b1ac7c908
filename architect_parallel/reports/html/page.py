"""The whole page: one file that needs nothing else, and a policy that lets it ask for nothing else.

The script and the style are part of the page and named in its policy by their hashes; nothing inline runs besides
them, whatever an agent managed to have printed. Whoever looks without scripts still has everything but the diffs and
the transcripts, which are packed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from architect_parallel.reports.html import chart, conflicts, figures, overview, workers
from architect_parallel.reports.html.changes import WorkerChanges, changes_of
from architect_parallel.reports.html.markup import Markup, base64_block, element, joined, json_block, shown
from architect_parallel.reports.html.present import Present
from architect_parallel.reports.html.transcripts import transcript
from architect_parallel.reports.material import Material

LOG_ROOM = 900_000
"""Characters of all packed transcripts together."""
SECTIONS = (("ranking", "Ranking"), ("timeline", "Timeline"), ("changes", "Changes"), ("conflicts", "Conflicts"),
            ("workers", "Workers"))  # fmt: skip
MODULES = (
    "dom",
    "preferences",
    "patch",
    "report_data",
    "file_changes",
    "lines",
    "files",
    "diff",
    "matrix",
    "transcripts",
    "shell",
    "live",
    "main",
)
"""The modules of the script, each after those that it imports."""
_MODULE_SYNTAX = re.compile(r"^(?:import .*\n|export )", re.MULTILINE)
"""Removed when the modules become one script: a page opened from a file cannot import modules."""
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='none' "
    "stroke='%234453d1' stroke-width='2.4' stroke-linecap='round' d='M3 14V2M8 14V6M13 14V9'/%3E%3C/svg%3E"
)


def render(material: Material) -> str:
    """The report of a run as one self-contained HTML document."""
    return page(material)


def page(material: Material, *, events: str | None = None, state: str = "") -> str:
    """The document.

    Args:
        events: Where the page hears that the run went on, on its own origin; `None`: it stands alone.
        state: Which state of the run this is, in the words of `events`.
    """
    present = Present(material)
    changes = changes_of(material.repository, material.result)
    run_dir = material.repository.state_dir / "runs" / material.result.run_id
    room = LOG_ROOM // max(1, len(present.result.planned))
    logs = {spec.worker_id: transcript(run_dir, spec.worker_id, room) for spec in present.result.planned}
    printed = {worker_id: size for worker_id, (_, size) in logs.items() if size}
    title = f"{present.common_task or present.result.run_id}"
    head = (
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(live=events is not None)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="architect-events", content=events, data_state=state) if events else None,
        element("link", rel="icon", href=Markup(ICON)),
        element("title", " ".join(shown(title).split())[:80]),
        element("style", Markup(_style())),
        element("script", Markup(_script())),
    )
    body = (
        element("a", "Skip to the report", href="#main", class_="skip"),
        _bar(),
        element("main", overview.heading(present), overview.notices(present), overview.ranking(present),
                chart.section(present), _changes(present, changes), conflicts.section(present),
                overview.baseline(present), workers.section(present, printed), id="main"),
        element("footer", element("p", "Written by architect-parallel for run ",
                                  element("code", present.result.run_id), ".")),
        element("div", id="announcements", class_="visually-hidden", role="status", aria_live="polite"),
        _blocks(present, changes, logs),
    )  # fmt: skip
    return f"<!doctype html>\n{element('html', element('head', head), element('body', body), lang='en')}"


def policy(*, live: bool) -> str:
    """What the page may do: run its own script, use its own style, and nothing else; live, also ask its own origin."""
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


def _bar() -> Markup:
    links = [element("li", element("a", words, href=f"#{name}")) for name, words in SECTIONS]
    return element(
        "nav",
        element("ul", links),
        element("button", "Dark", type="button", id="theme", title="Light or dark (t)", hidden=True),
        element(
            "button", "?", type="button", id="help", aria_label="Keyboard shortcuts", title="Shortcuts (?)", hidden=True
        ),
        class_="top",
        aria_label="Parts of the report",
    )


def _changes(present: Present, changes: list[WorkerChanges]) -> Markup:
    title = element("h2", "Changes", id="changes-title")
    problems = [
        element("p", figures.badge(each.worker_id), " ", each.problem, class_="muted")
        for each in changes
        if each.problem
    ]
    left_out = sum(each.left_out for each in changes)
    note = (
        element("p", f"{figures.count(left_out, 'patch')} did not fit into this page: "
                f"architect diff {present.result.run_id} N shows them.", class_="muted")
        if left_out
        else None
    )  # fmt: skip
    if not any(each.files for each in changes):
        words = "Nobody changed anything." if present.result.results else "Nothing has been collected yet."
        body = joined(element("p", words, class_="lead") if not problems else None, problems)
    else:
        plain = element("noscript", element("p", "The diffs need scripts; without: ",
                                            element("code", f"architect diff {present.result.run_id} N")))  # fmt: skip
        body = joined(problems, note, plain, element("div", id="diff"))
    return element("section", title, body, id="changes", aria_labelledby="changes-title")


def _blocks(present: Present, changes: list[WorkerChanges], logs: dict[int, tuple[str, int]]) -> Markup:
    comparison = present.material.comparison
    data = {
        "run": present.result.run_id,
        "base": shown(present.result.base_ref),
        "workers": [
            {"id": each.worker_id, "label": present.labels[each.worker_id], "files": each.files}
            for each in changes if each.files
        ],
        "pairs": [
            {"a": shown(pair.a) if isinstance(pair.a, str) else pair.a, "b": pair.b, "clean": pair.clean,
             "files": [shown(path) for path in pair.files]}
            for pair in (comparison.conflicts if comparison else ())
        ],
    }  # fmt: skip
    packed = [base64_block(f"patch-{each.worker_id}", each.packed) for each in changes if each.packed]
    packed += [base64_block(f"log-{worker_id}", text) for worker_id, (text, size) in logs.items() if size]
    return element("div", json_block("data", data), packed, id="blocks", hidden=True)
