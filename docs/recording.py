"""Make the README's recording: the program in a terminal, drawn as an animated SVG. `make recording` runs it.

The commands are real, the agents are those of `architect demo`: no network and no key. What differs between two
recordings is replaced (ids, times, pauses), all but the order in which the agents get on.
"""

from __future__ import annotations

import html
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import pyte

from architect_parallel.agent.demo import BUDGET_PER_WORKER_USD, CHECK, prepare_demo

TARGET = Path(__file__).resolve().parent / "recording.svg"
COLUMNS, ROWS = 96, 27
MODELS = "scripted:diligent,scripted:hasty,scripted:wanderer"
COMMANDS = {
    f'architect "fix the failing test" --check "{CHECK}" \\\n  --models {MODELS}': (0.7, 6.0),
    "architect diff 1": (0.1, 3.5),
    "architect merge --best": (0.1, 3.5),
    f"{CHECK}": (0.1, 2.5),
    "architect clean": (0.1, 3.5),
    "architect undo": (0.1, 3.0),
}
"""Command → seconds for each screen while it runs, and for its last screen."""
KEY_S, ENTER_S = 0.05, 0.4
"""Seconds for a typed character, and before a command starts."""
CELL, LINE, SIZE, MARGIN = 8.4, 18, 14, 14
"""Width of a character, height of a line, size of the font and margin, in pixels."""
FONTS = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace'
COLORS = {"red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341", "cyan": "#79c0ff", "blue": "#79c0ff"}
SAME_EVERY_TIME = (
    (r"\d{8}-\d{6}-[0-9a-f]{4}", "20260101-120000-c0de"),
    (r"\b(architect (?:diff|compare|merge|logs|resume|send|retry|status)) [0-9a-f]{4}\b", r"\1 c0de"),
    (r"\b[0-9a-f]{12}\b", "c0dec0dec0de"),
    (r"\b[0-9a-f]{7}\.\.[0-9a-f]{7}\b", "c0dec0d..dec0dec"),
    (r"\b\d\.\d+s\b", "3.2s"),
    (r"(Ran \d+ tests in) 3.2s", r"\1 0.001s"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-01 12:00:00"),
    (r"\b0:\d\d\b", "0:02"),
    (r"/tmp/architect-recording-\w+", "~"),
)
"""What differs between two recordings, as a pattern, and what is shown in its place."""

Run = tuple[str, str, bool, bool]
"""Text with its colour, bold, and faint."""
Row = tuple[Run, ...]


class Recorder:
    """A terminal whose screens are collected."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._parser = pyte.ByteStream(self.screen)
        self.frames: list[tuple[tuple[Row, ...], float]] = []

    def show(self, seconds: float) -> None:
        """Keep the screen as it is now. The same screen again is shown for longer."""
        rows = tuple(self._row(number) for number in range(ROWS))
        if self.frames and self.frames[-1][0] == rows:
            self.frames[-1] = (rows, max(self.frames[-1][1], seconds))
        else:
            self.frames.append((rows, seconds))

    def type(self, command: str) -> None:
        """Show a command as it is typed at a prompt on a clear screen."""
        self._parser.feed(b"\x1b[2J\x1b[H\x1b[32m$\x1b[0m ")
        for word in re.findall(r"\S+\s*", command):
            self._parser.feed(word.encode().replace(b"\n", b"\r\n>"))
            self.show(KEY_S * len(word))
        self.show(ENTER_S)
        self._parser.feed(b"\r\n")

    def run(self, command: str, live_s: float, cwd: Path, environ: Mapping[str, str]) -> None:
        """Run a command and show each of its screens for `live_s` seconds."""
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLUMNS))
        done = subprocess.Popen(
            shlex.split(command.replace("\\\n", "")),
            cwd=cwd,
            env=environ,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        for data in _chunks(master):
            self._parser.feed(data)
            if data.endswith(b"\n") or b"\x1b[" in data:
                self.show(live_s)
        os.close(master)
        done.wait()

    def _row(self, number: int) -> Row:
        line = self.screen.buffer[number]
        cells = [line[column] for column in range(COLUMNS)]
        runs = [
            ("".join(cell.data for cell in group), *style)
            for style, group in groupby(cells, key=lambda cell: (cell.fg, cell.bold, cell.fg == "brightblack"))
        ]
        return tuple((_the_same(text), color, bold, faint) for text, color, bold, faint in _without_end(runs))


def _chunks(descriptor: int) -> Iterator[bytes]:
    """What arrives in a terminal, together with what follows within a twentieth of a second, until nobody writes."""
    while True:
        try:
            data = os.read(descriptor, 65536)
            while data and select.select([descriptor], [], [], 0.05)[0]:
                data += os.read(descriptor, 65536)
        except OSError:  # EIO: the last writer has closed it
            return
        if not data:
            return
        yield data


def _without_end(runs: list[Run]) -> list[Run]:
    while runs and not runs[-1][0].strip():
        runs = runs[:-1]
    return runs


def _the_same(text: str) -> str:
    for pattern, instead in SAME_EVERY_TIME:
        text = re.sub(pattern, instead, text)
    return text


def drawing(frames: list[tuple[tuple[Row, ...], float]]) -> str:
    """The frames as an SVG: a film of all screens that moves one screen at a time. Equal lines are drawn once."""
    width, height = round(COLUMNS * CELL + 2 * MARGIN), ROWS * LINE + 2 * MARGIN
    lines: dict[Row, str] = {}
    film, steps, at = [], [], 0.0
    total = sum(seconds for _rows, seconds in frames)
    for number, (rows, seconds) in enumerate(frames):
        uses = [
            f'<use href="#{lines.setdefault(row, f"l{len(lines)}")}" y="{place * LINE}"/>'
            for place, row in enumerate(rows)
            if row
        ]
        film.append(f'<g transform="translate({number * width} 0)">{"".join(uses)}</g>')
        steps.append(f"{at / total:.3%}{{transform:translateX({-number * width}px)}}")
        at += seconds
    still = -(len(frames) - 1) * width
    defined = "".join(f'<g id="{name}">{_line(row)}</g>' for row, name in lines.items())
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<title>architect-parallel: three agents on one bug; the best result is merged</title>
<style>text{{font:{SIZE}px {FONTS};fill:#e6edf3;white-space:pre}}
.b{{font-weight:bold}}.f{{opacity:.6}}
#film{{animation:film {total:.1f}s steps(1,end) infinite}}
@keyframes film{{{"".join(steps)}}}
@media (prefers-reduced-motion:reduce){{#film{{animation:none;transform:translateX({still}px)}}}}</style>
<defs>{defined}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>
<svg x="{MARGIN}" y="{MARGIN}" width="{width - 2 * MARGIN}" height="{height - 2 * MARGIN}"><g id="film">
{chr(10).join(film)}
</g></svg></svg>
"""


def _line(row: Row) -> str:
    spans, column = [], 0
    for text, color, bold, faint in row:
        start = len(text) - len(text.lstrip())
        words = text.strip()
        if words:
            looks = " ".join(name for name, has in (("b", bold), ("f", faint)) if has)
            attributes = f' class="{looks}"' if looks else ""
            attributes += f' fill="{COLORS[color]}" style="fill:{COLORS[color]}"' if color in COLORS else ""
            place = f'x="{(column + start) * CELL:.1f}" y="{SIZE}" textLength="{len(words) * CELL:.1f}"'
            spans.append(f"<text {place}{attributes}>{html.escape(words)}</text>")
        column += len(text)
    return "".join(spans)


def main() -> None:
    """Record and write the SVG."""
    with tempfile.TemporaryDirectory(prefix="architect-recording-") as temporary:
        home, place = Path(temporary) / "home", Path(temporary) / "pricelist"
        (home / ".config" / "architect-parallel").mkdir(parents=True)
        settings = f"parallel_runs: {{backend: architect, budget_per_worker: {BUDGET_PER_WORKER_USD}}}\n"
        (home / ".config" / "architect-parallel" / "config.yaml").write_text(settings)
        (home / ".gitconfig").write_text("[user]\nname = You\nemail = you@example.com\n[core]\npager = cat\n")
        prepare_demo(place)
        environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home), "TERM": "xterm-256color",
            "LANG": "C.UTF-8", "TZ": "UTC",
        }  # fmt: skip
        recorder = Recorder()
        for command, (live_s, last_s) in COMMANDS.items():
            recorder.type(command)
            recorder.run(command, live_s, place, environ)
            recorder.show(last_s)
    TARGET.write_text(drawing(recorder.frames))
    sys.stdout.write(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB, {len(recorder.frames)} screens\n")


if __name__ == "__main__":
    main()
