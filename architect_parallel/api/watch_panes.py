"""Parts of the screen of `architect watch`: text with a search, and the windows that ask and help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Button, Static

KEYS = (
    ("↑ ↓  k j", "select a worker; in a log or a diff: scroll"),
    ("Enter  l", "go to the log of the selected worker"),
    ("d", "go to its diff"),
    ("Esc", "back to the list; without a search or filter"),
    ("/", "filter the list; in a log or a diff: search, n N next"),
    ("m", "merge its result into the current branch (asks first)"),
    ("o", "open its worktree in your editor"),
    ("r", "run an ended worker again from its base (asks first)"),
    ("s", "send an ended worker further instructions"),
    ("c", "cancel it (asks first); its work is kept"),
    ("Tab  Shift-Tab", "the run before, the run after"),
    ("?", "this help"),
    ("q", "leave; the run goes on"),
)

QUESTIONS = {
    "filter": "show workers with these words",
    "search": "search",
    "send": "what the worker is to do now; it goes on in its worktree, in the same session",
}
"""The use of the field at the end → the words in it while it is empty."""


class Lines(ScrollView, can_focus=True):
    """Lines of text that can be scrolled and searched. At the end it follows text that is added."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("g,home", "scroll_home", show=False),
        Binding("G,end", "scroll_end", show=False),
        Binding("space", "page_down", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: list[Text] = []
        self._words = ""
        self._match: int | None = None

    def show(self, lines: Sequence[Text], *, follows: bool, is_new: bool) -> None:
        """Show these lines instead of the present ones.

        Args:
            follows: The end is what people look at: begin there, and stay there while it is shown.
            is_new: It is another text, and not the same one with more lines: begin anew.
        """
        at_end = is_new or self.is_vertical_scroll_end
        self._lines = list(lines)
        width = max((line.cell_len for line in self._lines), default=0)
        self.virtual_size = Size(width, len(self._lines))
        if follows and at_end:
            self.scroll_end(animate=False)
        elif is_new:
            self.scroll_home(animate=False)
        self.refresh()

    def search(self, words: str, *, step: int = 0) -> str:
        """Go to the next line that contains `words`. Returns a message about the result.

        Args:
            words: Empty ends the search.
            step: 0 begins at the lines that are shown, 1 and -1 go from match to match.
        """
        self._words = words.casefold()
        matches = [place for place, line in enumerate(self._lines) if self._words in line.plain.casefold()]
        before, self._match = self._match, None
        if words and matches:
            self._match = self._next_match(matches, before if step and before is not None else None, step)
            self.scroll_to(y=max(0, self._match - self.size.height // 3), animate=False)
        self.refresh()
        if not words:
            return ""
        if self._match is None:
            return f"{words!r} is not here"
        return f"{matches.index(self._match) + 1} of {len(matches)} lines with {words!r}"

    def _next_match(self, matches: Sequence[int], before: int | None, step: int) -> int:
        """The match after `before`, or before it with a negative step. Around the end. `None` means the first shown."""
        if before is None:
            return next((place for place in matches if place >= self.scroll_offset.y), matches[0])
        if step < 0:
            return next((place for place in reversed(matches) if place < before), matches[-1])
        return next((place for place in matches if place > before), matches[0])

    def render_line(self, y: int) -> Strip:
        x, top = round(self.scroll_offset.x), round(self.scroll_offset.y)
        width, place = self.size.width, top + y
        if place >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[place].copy()
        line.end = ""
        if self._words:
            style = "black on bright_yellow" if place == self._match else "reverse"
            line.highlight_words([self._words], style=style, case_sensitive=False)
        strip = Strip(line.render(self.app.console))
        return strip.crop_extend(x, x + width, self.rich_style).apply_style(self.rich_style)


class YesOrNo(ModalScreen[bool]):
    """A question that is answered with yes or no."""

    DEFAULT_CSS = """
    YesOrNo { align: center middle; }
    YesOrNo > Vertical { width: auto; max-width: 76; height: auto; border: round $warning; padding: 0 2; }
    YesOrNo Static { width: auto; max-width: 70; margin: 1 0; }
    YesOrNo Horizontal { width: auto; height: auto; }
    YesOrNo Button { margin: 0 2 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)"),
        Binding("n,escape,q", "answer(False)"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._words, markup=False)
            with Horizontal():
                yield Button("y  yes", id="yes", variant="warning", compact=True)
                yield Button("n  no", id="no", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, is_yes: bool) -> None:
        self.dismiss(is_yes)


class KeyHelp(ModalScreen[None]):
    """The keys and what they do."""

    DEFAULT_CSS = """
    KeyHelp { align: center middle; }
    KeyHelp > Static { width: auto; max-width: 76; height: auto; border: round $primary; padding: 0 2; }
    """

    def compose(self) -> ComposeResult:
        width = max(len(names) for names, _ in KEYS)
        yield Static("\n".join(f"{names:<{width}}   {words}" for names, words in KEYS), markup=False)

    def on_key(self) -> None:
        self.dismiss()

    def on_click(self) -> None:
        self.dismiss()
