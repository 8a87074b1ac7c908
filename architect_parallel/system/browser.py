"""The user's browser, for an address that others must not see."""

from __future__ import annotations

import contextlib
import html
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def browser(address: str) -> Iterator[bool]:
    """Open an address in the user's browser. Yields whether a browser was found.

    Other users of the machine can read the command lines of its processes, so the browser gets a private file that
    leads to the address. The file exists within the block.
    """
    with tempfile.NamedTemporaryFile("w", prefix="architect-", suffix=".html", encoding="utf-8") as page:
        page.write(
            '<!doctype html><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0;url={html.escape(address)}">'
        )
        page.flush()
        is_opened = False
        with contextlib.suppress(webbrowser.Error, OSError):
            is_opened = webbrowser.open(Path(page.name).as_uri())
        yield is_opened
