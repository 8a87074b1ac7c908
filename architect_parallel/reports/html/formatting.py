"""Numbers, states and names as the page shows them: pure functions, most of them filters of the templates."""

from __future__ import annotations

import re

from architect_parallel.domain import CheckChange, CheckResult, RunStatus, Status, Usage, WorkerResult, WorkerSpec
from architect_parallel.reports.text import STATUS_WORDS, reason_words
from architect_parallel.text.sanitize import one_line, plain_text

LABEL_CHARACTERS = 60
TONES: dict[Status | RunStatus, str] = {
    Status.SUCCESS: "good",
    Status.PARTIAL: "fair",
    Status.FAILED: "bad",
    Status.TIMEOUT: "bad",
    Status.CANCELED: "none",
    Status.SKIPPED: "none",
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
_INVISIBLE = re.compile(r"[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


def shown(text: str) -> str:
    r"""Remove terminal sequences, and spell out characters that are invisible or change the writing direction.

    >>> shown("\x1b[31mred\x1b[0m a\u202eb")
    'red a‹U+202E›b'
    """
    if not text.isascii():
        text = _INVISIBLE.sub(lambda match: f"‹U+{ord(match[0]):04X}›", text)
    return plain_text(text)


def cost(usd: float | None) -> str:
    """USD, with more digits for small amounts. `?` if unknown."""
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


def plural(number: int, noun: str) -> str:
    """`1 file`, `3 files`, `2 patches`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith(("ch", "ss")) else "s")


def size(characters: int) -> str:
    """`812 characters`, `12.3 kB`."""
    return plural(characters, "character") if characters < 1000 else f"{characters / 1000:,.1f} kB"


def label(spec: WorkerSpec, *, is_by_task: bool) -> str:
    """The worker's own name, else what tells it from others: its task, or its model or backend.

    Args:
        is_by_task: The workers have different tasks.
    """
    name = "" if spec.name in ("", f"worker-{spec.worker_id}") else spec.name
    task = (spec.first_prompt or spec.prompt) if is_by_task else ""
    return shown(one_line(name or task or spec.model or spec.backend, LABEL_CHARACTERS))


def thousands(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 as `75%`."""
    return f"{share:.{digits}%}"


def mebibytes(size: int | None) -> str:
    """`200 MiB`. Empty if unknown."""
    return f"{size / 2**20:,.0f} MiB" if size else ""


def tokens(usage: Usage) -> str:
    """`9,230 in, 6,528 cached, 320 out`, without unknown ones."""
    counts = ((usage.input_tokens, "in"), (usage.cached_tokens, "cached"), (usage.output_tokens, "out"))
    return ", ".join(f"{number:,} {kind}" for number, kind in counts if number)


def tone(status: Status | RunStatus) -> str:
    """The colour of a status, as a CSS class."""
    return TONES[status]


def status_name(status: Status) -> str:
    """A worker's status in a word."""
    return "success" if status is Status.SUCCESS else STATUS_WORDS[status].lower()


def failure_reason(result: WorkerResult) -> str:
    """The reason, if it says more than the status. Empty after a success."""
    is_known = result.status is Status.SUCCESS or str(result.reason) == str(result.status)
    return "" if is_known else reason_words(result)


def check_notes(check: CheckResult) -> list[str]:
    """The duration of a check, and what is unusual about its result."""
    notes = [duration(check.duration_seconds)]
    notes += [CHANGE_WORDS[check.change]] if check.change is not None else []
    notes += ["flaky"] if check.flaky else []
    notes += ["timed out"] if check.timed_out else []
    if not check.passed and not check.timed_out and check.exit_code is not None:
        notes.append(f"exit code {check.exit_code}")
    return [note for note in notes if note]


def check_counts(checks: list[CheckResult]) -> list[str]:
    """`1 newly broken`, `2 flaky`: what is unusual about a worker's checks."""
    changes = (CheckChange.NEWLY_BROKEN, CheckChange.MENDED, CheckChange.BROKEN_BEFORE)
    counts = [(sum(check.change is change for check in checks), CHANGE_WORDS[change]) for change in changes]
    counts.append((sum(check.flaky for check in checks), "flaky"))
    return [f"{number} {kind}" for number, kind in counts if number]


def sentence(text: str) -> str:
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]
