"""The only module that writes to stdout (the answer) and stderr (everything else) for a command.

A stream that fails loses output and nothing more. An answer that cannot be written is an error of the machine after
everything is recorded. A note that cannot be written is left out. A stream that the caller closed is /dev/null.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from architect_parallel.errors import EnvironmentProblem
from architect_parallel.system import streams
from architect_parallel.text.display import Display, Style

if TYPE_CHECKING:
    from architect_parallel.reports.terminal import ProgressReport

STARTED_S = time.monotonic()
"""The start of this command, on the monotonic clock."""


class ReaderGone(Exception):
    """The reader of standard output has left (`architect logs 1 | head`)."""


def open_closed_streams() -> None:
    """Open /dev/null in place of each standard stream that the caller closed.

    Call it before any other file is opened: a file that got the number 1 or 2 would receive our output.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, errors="replace", closefd=False))


def settle_streams() -> None:
    """Write out what is buffered, or drop it: Python would end with exit code 120 when it fails to do so."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop(stream.fileno())


def choose_display(color: str | None, *, wide: bool) -> None:
    """Take the options of the command line for what is printed. No color means that the configuration decides."""
    streams.choose_display(color, wide=wide, configured=_configured_color)


def display(stream: TextIO | None = None) -> Display:
    """The surface that a stream writes to. `None` means standard output."""
    return streams.display(stream if stream is not None else sys.stdout)


def _configured_color() -> str:
    """`ui.color` of the configuration. Its faults are reported by the commands that need it."""
    from pathlib import Path

    from architect_parallel.config.paths import home_dir
    from architect_parallel.config.settings import load_settings
    from architect_parallel.errors import ArchitectParallelError

    with contextlib.suppress(ArchitectParallelError):
        here = Path.cwd()
        root = next((place for place in (here, *here.parents) if (place / ".git").exists()), None)
        own = {name: value for name, value in os.environ.items() if not name.startswith("ARCHITECT_")}
        return load_settings(root, None, own, Path(home_dir())).ui.color
    return "auto"


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show one line of progress on a terminal within the block. It replaces the one before, and goes at the end.

    Elsewhere nothing is shown.
    """
    from architect_parallel.system.terminal import shows_live
    from architect_parallel.text.display import shorten

    if not shows_live(sys.stderr):
        yield lambda line: None
        return

    def show(line: str) -> None:
        columns = shutil.get_terminal_size().columns
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\r{shorten(line, columns - 1)}\x1b[K")
            sys.stderr.flush()

    try:
        yield show
    finally:
        show("")


def progress_report(*, as_json: bool, quiet: bool) -> ProgressReport:
    """The live view of a run, in the colours that the user wants."""
    from architect_parallel.reports.terminal import ProgressReport

    return ProgressReport(as_json=as_json, quiet=quiet, has_colors=display(sys.stderr).color)


def answer(text: str) -> None:
    """A line (or more) of the answer, to stdout. Undecodable bytes of file names pass as they are.

    Raises:
        EnvironmentProblem: It cannot be written. A reader that has gone away is no error.
    """
    answer_bytes(_encoded(streams.harmless(text)))


def answer_prose(text: str) -> None:
    """A sentence of the answer, wrapped between words on a terminal. Raises as `answer`."""
    answer("\n".join(display().wrap(text, hanging="  ")))


def answer_bytes(data: bytes) -> None:
    """Raw bytes of the answer (a patch), to stdout. Raises as `answer`."""
    with contextlib.suppress(ReaderGone):
        answer_while_read(data)


def answer_line_while_read(text: str) -> None:
    """A line of an answer that continues until its reader leaves. Raises as `answer_while_read`."""
    answer_while_read(_encoded(streams.harmless(text)))


def answer_while_read(data: bytes) -> None:
    """A part of an answer that continues until its reader leaves.

    Raises:
        ReaderGone: The reader has left.
        EnvironmentProblem: It cannot be written.
    """
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError as error:
        _drop(sys.stdout.fileno())
        raise ReaderGone from error
    except OSError as error:
        raise EnvironmentProblem(f"cannot write to standard output: {error.strerror}") from error


def answer_json(value: Any) -> None:
    """The answer as one JSON object. Raises as `answer`."""
    from architect_parallel.reports.json import dumps

    text = dumps(value)
    if os.environ.get("CI"):
        text = text.replace("##", "#\\u0023")  # the same value, and no command for the CI service
    answer_bytes(_encoded(text))


def note(text: str) -> None:
    """A line of progress or a warning, to stderr. Left out when stderr fails."""
    with contextlib.suppress(OSError):
        sys.stderr.write(streams.harmless(text).encode("utf-8", "replace").decode() + "\n")
        sys.stderr.flush()


def warn(text: str) -> None:
    """A warning, to stderr."""
    surface = display(sys.stderr)
    for line in surface.wrap(f"warning: {text}", hanging="  "):
        note(surface.paint(line, Style.CAREFUL))


def _encoded(text: str) -> bytes:
    try:
        return (text + "\n").encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, from a model
        return (text + "\n").encode(errors="replace")


def _drop(descriptor: int) -> None:
    """Let further output go nowhere."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
