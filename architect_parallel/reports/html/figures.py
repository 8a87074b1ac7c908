"""Numbers, states and names as the page shows them."""

from __future__ import annotations

from architect_parallel.domain import CheckChange, CheckResult, RunStatus, Status, WorkerResult, WorkerSpec
from architect_parallel.planning.plain_text import one_line
from architect_parallel.reports.html.markup import Markup, element, hidden, joined, shown
from architect_parallel.reports.text import STATUS_WORDS

LABEL_CHARACTERS = 60
TONES = {
    Status.SUCCESS: "good",
    Status.PARTIAL: "fair",
    Status.FAILED: "bad",
    Status.TIMEOUT: "bad",
    Status.CANCELED: "none",
    Status.SKIPPED: "none",
}
RUN_TONES = {
    RunStatus.RUNNING: "live",
    RunStatus.SUCCESS: "good",
    RunStatus.PARTIAL: "fair",
    RunStatus.FAILED: "bad",
    RunStatus.CANCELED: "none",
    RunStatus.INTERRUPTED: "bad",
    RunStatus.ESCALATED: "fair",
}
CHANGE_WORDS = {
    CheckChange.NEWLY_BROKEN: "newly broken",
    CheckChange.MENDED: "mended",
    CheckChange.BROKEN_BEFORE: "broken before",
    CheckChange.UNCHANGED: "",
}


def cost(usd: float | None) -> str:
    """USD, precise where it is small; `?`: unknown."""
    if usd is None:
        return "?"
    return f"${usd:.2f}" if usd >= 10 or usd == 0 else f"${usd:.4f}" if usd < 0.1 else f"${usd:.3f}"


def duration(seconds: float) -> str:
    """`2.5 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: int, noun: str) -> str:
    """`1 file`, `3 files`, `2 patches`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith(("ch", "ss")) else "s")


def size(characters: int) -> str:
    """`812 characters`, `12.3 kB`."""
    return count(characters, "character") if characters < 1000 else f"{characters / 1000:,.1f} kB"


def label(spec: WorkerSpec) -> str:
    """What a worker is called: its own name, else its model, else its backend."""
    own = "" if spec.name in ("", f"worker-{spec.worker_id}") else spec.name
    return shown(one_line(own or spec.model or spec.backend, LABEL_CHARACTERS))


def badge(worker_id: int) -> Markup:
    """A worker's number."""
    return element("span", hidden("worker "), worker_id, class_="badge")


def pill(tone: str, words: str) -> Markup:
    """A state in a word or two."""
    return element("span", words, class_=f"pill {tone}")


def status_pill(result: WorkerResult) -> Markup:
    """How a worker ended."""
    return pill(TONES[result.status], STATUS_WORDS[result.status].lower().replace("ok", "success"))


def lines_changed(insertions: int, deletions: int) -> Markup:
    """`+12 −3`."""
    added = element("span", f"+{insertions:,}", class_="plus")
    return joined(added, " ", element("span", f"−{deletions:,}", class_="minus"))


def bar(share: float | None, tone: str = "") -> Markup | None:
    """A bar of a share of 1, none where there is nothing to show; not read out, the figure stands beside it."""
    if not share:
        return None
    width = f"{max(0.0, min(1.0, share)) * 100:.2f}%"
    rect = element("rect", class_=f"fill {tone}".strip(), width=width, height="100%", rx=2)
    return element("svg", element("rect", class_="rail", width="100%", height="100%", rx=2), rect,
                   class_="bar", aria_hidden="true")  # fmt: skip


def check_words(checks: list[CheckResult]) -> Markup:
    """All checks of a worker in a cell."""
    if not checks:
        return element("span", "none", class_="muted")
    passed = sum(check.passed for check in checks)
    words = [element("span", f"{passed}/{len(checks)}", class_="good" if passed == len(checks) else "bad")]
    for change in (CheckChange.NEWLY_BROKEN, CheckChange.MENDED, CheckChange.BROKEN_BEFORE):
        if number := sum(check.change is change for check in checks):
            words.append(element("small", f"{number} {CHANGE_WORDS[change]}"))
    if number := sum(check.flaky for check in checks):
        words.append(element("small", f"{number} flaky"))
    return joined([[word, " "] for word in words])


def scrolled(name: str, table: Markup) -> Markup:
    """A table that may be wider than the page: it scrolls by itself, with keys too."""
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=name)


def sentence(words: str) -> str:
    """`words` with a capital."""
    return words[:1].upper() + words[1:]
